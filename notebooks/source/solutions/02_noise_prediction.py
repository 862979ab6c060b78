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
# # Noise prediction: solutions
#
# Each with the reason. There are other ways to the same answers.

# %%
import torch

from sdlearn.exercises import check

# %% [markdown]
# **02.1** Call the noises a and b. The mean of (a − b)² is the variance of a, plus that of b, minus twice the mean of
# their product. The two are independent, so the last is 0.

# %%
# solution 02.1
answer = 1 + 1
check("02.1", answer)

# %% [markdown]
# **02.2** Shapes are lined up from the last axis: (32,) below (32, 3, 32, 32) lands on the width. Nothing complains,
# and the network learns from pictures whose noise level changes from column to column.

# %%
# solution 02.2
answer = "D"
check("02.2", answer)

# %% [markdown]
# **02.3** The closed form, solved for the noise.

# %%
# solution 02.3


def noise_of(x, x0, kept):
    return (x - kept.sqrt() * x0) / (1 - kept).sqrt()


check("02.3", noise_of)

# %% [markdown]
# **02.4** Each of the 128 filters looks at 64 channels of 3 x 3 places, and has one bias.

# %%
# solution 02.4
answer = 128 * (64 * 3 * 3 + 1)
assert answer == sum(p.numel() for p in torch.nn.Conv2d(64, 128, 3).parameters())
check("02.4", answer)

# %% [markdown]
# **02.5** The first convolution gives one. Each of the four levels gives one a residual block, and all but the last
# give one more after halving.

# %%
# solution 02.5
levels, blocks = 4, 2
answer = 1 + levels * blocks + (levels - 1)
check("02.5", answer)

# %% [markdown]
# **02.6** The mean makes the squared differences smallest, and pure noise says nothing about which animal it was. So
# the best answer is the mean of all of them.

# %%
# solution 02.6
answer = "C"
check("02.6", answer)
