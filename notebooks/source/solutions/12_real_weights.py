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
# # Real weights: solutions
#
# Each with the reason. There are other ways to the same answers.

# %%
import math

import torch

from sdlearn.exercises import check

# %% [markdown]
# **12.1** Eight bytes for the length, the text, and two bytes for each number.

# %%
# solution 12.1
answer = 8 + 1000 + 2 * math.prod([320, 4, 3, 3])
check("12.1", answer)

# %% [markdown]
# **12.2** The first number is `conv_in`. From there, each block takes one number a residual block, and one more. (The
# last block has no downsampler, but nothing comes after it, either.)

# %%
# solution 12.2


def down_place(n, layers):
    return divmod(n - 1, layers + 1)


check("12.2", down_place)

# %% [markdown]
# **12.3** Keys and values of cross-attention are matrices times text vectors: `attn2.to_k.weight` has as many columns
# as a text vector has numbers. Heads cut these matrices, ε and v have one shape, and the schedule is no part of the
# U-Net.

# %%
# solution 12.3
answer = "C"
check("12.3", answer)

# %% [markdown]
# **12.4** x and v are x0 and ε, turned by an angle; turned back by it, they are x0 and ε again.

# %%
# solution 12.4


def belief(x, v, alpha_bar):
    return alpha_bar.sqrt() * x - (1 - alpha_bar).sqrt() * v


check("12.4", belief)

# %% [markdown]
# **12.5** In binary 257 has nine digits. Its neighbours with eight digits are 256 and 258, as near as one another; then
# the one wins whose last kept digit is a zero.

# %%
# solution 12.5
answer = (torch.tensor(256, dtype=torch.bfloat16) + 1).item()
print(f"{256:b} {257:b} {258:b}")
check("12.5", answer)

# %% [markdown]
# **12.6** A class that is known is no reason to let the file call anything. The same numbers exist without a program.

# %%
# solution 12.6
answer = "B"
check("12.6", answer)
