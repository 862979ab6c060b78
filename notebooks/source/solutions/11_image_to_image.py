# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Image to image and inpainting: solutions

# %%
from torch.nn import functional as F

from sdlearn.exercises import check

# %% [markdown]
# **11.1** The last int(N · s) of N steps are walked. The number of the first of them is the number of those skipped.

# %%
# solution 11.1
answer = 40 - int(40 * 0.35)
check("11.1", answer)

# %% [markdown]
# **11.2** The picture, with the noise of the level that the first step is told.


# %%
# solution 11.2
def begin(known, noise, sigmas, k):
    return known + sigmas[k] * noise


check("11.2", begin)

# %% [markdown]
# **11.3** The largest of a cell's numbers is 1 if any of them is.


# %%
# solution 11.3
def generous_cells(mask, factor):
    return F.max_pool2d(mask, factor)


check("11.3", generous_cells)

# %% [markdown]
# **11.4** The painted part from the step; the known part with the noise of the same level.


# %%
# solution 11.4
def known_again(x_next, known, noise, mask, sigma_next):
    return mask * x_next + (1 - mask) * (known + sigma_next * noise)


check("11.4", known_again)

# %% [markdown]
# **11.5** Variances add, so what stands before the noises are the roots of the shares.


# %%
# solution 11.5
def variation(a, b, w):
    return (1 - w) ** 0.5 * a + w**0.5 * b


check("11.5", variation)

# %% [markdown]
# **11.6** Filters, times new channels (the mask, and four of the picture with its hole), times the places of a filter.

# %%
# solution 11.6
answer = 320 * (1 + 4) * 3 * 3
check("11.6", answer)
