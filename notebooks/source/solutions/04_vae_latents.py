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
# # A VAE and its latents: solutions
#
# Each with the reason. There are other ways to the same answers.

# %%
import math

import torch

from sdlearn.exercises import check

# %% [markdown]
# **04.1** Four sheets, an eighth of the height, an eighth of the width.

# %%
# solution 04.1
answer = 4 * (768 // 8) * (512 // 8)
check("04.1", answer)

# %% [markdown]
# **04.2** Pixels from −1 to 1 have the range 2, so the square of the largest difference is 4.

# %%
# solution 04.2
answer = 10 * math.log10(2**2 / 0.0016)
check("04.2", answer)

# %% [markdown]
# **04.3** The formula of section 4, with σ² as the square of the width. Its logarithm is twice that of the width.

# %%
# solution 04.3


def price(mean, std):
    return 0.5 * (mean**2 + std**2 - 1 - torch.log(std**2))


check("04.3", price)

# %% [markdown]
# **04.4** The point is 2 − 0.5 = 1.5, the slope of its square there is twice that. The mean moves the point as it moves
# itself, the width moves it by the noise.

# %%
# solution 04.4
mean, std = torch.tensor(2.0, requires_grad=True), torch.tensor(0.5, requires_grad=True)
(mean + std * -1.0).square().backward()
answer = [mean.grad, std.grad]
check("04.4", answer)

# %% [markdown]
# **04.5** The U-Net's latents are the encoder's, times the factor. The decoder wants the encoder's.

# %%
# solution 04.5


def for_the_decoder(z, scaling_factor):
    return z / scaling_factor


check("04.5", for_the_decoder)

# %% [markdown]
# **04.6** One place at each halving: 1, 2, 4 and 8 pixels of the picture.

# %%
# solution 04.6
answer = 1 + 2 + 4 + 8
check("04.6", answer)
