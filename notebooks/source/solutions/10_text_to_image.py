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
# # Text to image: solutions

# %%
import math

import torch

from sdlearn.exercises import check

# %% [markdown]
# **10.1** Three prompts with four pictures each; ten steps; with the prompt, and without it.

# %%
# solution 10.1
answer = 3 * 4 * 10 * 2
check("10.1", answer)

# %% [markdown]
# **10.2** The first cat has the seed of the call. Three further is the first dog, and one more the second.

# %%
# solution 10.2
answer = 20 + 3 + 1
check("10.2", answer)

# %% [markdown]
# **10.3** A generator a picture.


# %%
# solution 10.3
def starting_noise(seeds, shape):
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators])


check("10.3", starting_noise)

# %% [markdown]
# **10.4** A share of a quarter turn.


# %%
# solution 10.4
def walk_to(a, b, share):
    angle = share * math.pi / 2
    return math.cos(angle) * a + math.sin(angle) * b


check("10.4", walk_to)

# %% [markdown]
# **10.5** Into a copy, never into what was given.


# %%
# solution 10.5
def poke(noise, other, row, column, size):
    square = (..., slice(row, row + size), slice(column, column + size))
    result = noise.clone()
    result[square] = other[square]
    return result


check("10.5", poke)
