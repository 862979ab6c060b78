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
# # Latent diffusion: solutions
#
# Each with the reason. There are other ways to the same answers.

# %%
import torch

import sdlearn
from sdlearn.exercises import check
from sdlearn.image import to_tensor
from sdlearn.scenes import example, render

# %% [markdown]
# **05.1** A tensor of pictures has channels, rows, columns. The channels are those of the code; of rows and columns
# there is one for each 8 pixels.

# %%
# solution 05.1
width, height, block = 768, 512, 8
answer = [4, height // block, width // block]
check("05.1", answer)

# %% [markdown]
# **05.2** The sides shrink by 4, the places by 4 · 4, the pairs of places by the square of that.

# %%
# solution 05.2
places = 4 * 4
answer = places**2
check("05.2", answer)

# %% [markdown]
# **05.3** Into the U-Net's scaling, then the closed form. The noise has spread 1 already.

# %%
# solution 05.3


def shown_to_the_unet(latent, scale, kept, noise):
    return kept.sqrt() * (scale * latent) + (1 - kept).sqrt() * noise


check("05.3", shown_to_the_unet)

# %% [markdown]
# **05.4** The spread of the signal is five times too large, its variance the square of that. The noise is what it was.

# %%
# solution 05.4
spread = 1 / 0.2
answer = spread**2
check("05.4", answer)

# %% [markdown]
# **05.5** The encoder is not symmetric: its halvings look to the right and below (chapter 04), and its filters are as
# the training left them. A mirrored code is not the code of the mirrored picture:

# %%
vae = sdlearn.StableDiffusion.from_pretrained("scenes").vae
picture = to_tensor([render(example(0, 0)[0])])
with torch.no_grad():
    code, of_mirrored = (vae.encode(one).mean for one in (picture, picture.flip(3)))
print(f"they differ by {(code.flip(3) - of_mirrored).std() / code.std():.2f} of the code's own spread")

# %%
# solution 05.5
answer = "C"
check("05.5", answer)
