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
# # How Stable Diffusion works: solutions
#
# Each with the reason. There are other ways to the same answers.

# %%
from sdlearn.exercises import check

# %% [markdown]
# **00.1** In each step the U-Net is asked twice, with the sentence and without it.

# %%
# solution 00.1
answer = 25 * 2
check("00.1", answer)

# %% [markdown]
# **00.2** Start from the answer without the sentence and go along the difference.

# %%
# solution 00.2


def guided(without, with_prompt, scale):
    return without + scale * (with_prompt - without)


check("00.2", guided)

# %% [markdown]
# **00.3** Count the numbers of both and divide.

# %%
# solution 00.3
answer = (512 * 512 * 3) / (64 * 64 * 4)
check("00.3", answer)

# %% [markdown]
# **00.4** Eight pixels a place along each side; four channels; height before width.

# %%
# solution 00.4
answer = (1, 4, 128 // 8, 192 // 8)
check("00.4", answer)

# %% [markdown]
# **00.5** The strength is the share of the steps that are run.

# %%
# solution 00.5
answer = round(0.3 * 20)
check("00.5", answer)

# %% [markdown]
# **00.6** x is picture + sigma · eps, and picture + sigma_next · eps is wanted. The difference is
# (sigma_next - sigma) · eps.

# %%
# solution 00.6


def step(x, eps, sigma, sigma_next):
    return x + (sigma_next - sigma) * eps


check("00.6", step)
