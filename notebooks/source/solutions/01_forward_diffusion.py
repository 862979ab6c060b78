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
# # Forward diffusion: solutions
#
# Each with the reason. There are other ways to the same answers.

# %%
from dataclasses import replace

from sdlearn.config import ScheduleConfig
from sdlearn.exercises import check
from sdlearn.schedule import Schedule

# %% [markdown]
# **01.1** Each step keeps the share 1 − β of the variance that it finds. Shares of shares are multiplied.

# %%
# solution 01.1
answer = (1 - 0.1) * (1 - 0.2) * (1 - 0.5)
check("01.1", answer)

# %% [markdown]
# **01.2** Solve x = √ᾱ x0 + √(1 − ᾱ) ε for x0: first take the noise off, then undo the shrinking.

# %%
# solution 01.2


def clean(x, eps, alpha_bar):
    return (x - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5


check("01.2", clean)

# %% [markdown]
# **01.3** Dividing by √ᾱ leaves x0 + √((1 − ᾱ) / ᾱ) ε. The SNR compares variances.

# %%
# solution 01.3
alpha_bar = 0.2
sigma, snr = ((1 - alpha_bar) / alpha_bar) ** 0.5, alpha_bar / (1 - alpha_bar)
check("01.3", [sigma, snr])

# %% [markdown]
# **01.4** Variances of independent noises add up: 3² + s² = 5². The old noise is not taken out and put in again.

# %%
# solution 01.4
answer = (5**2 - 3**2) ** 0.5
check("01.4", answer)

# %% [markdown]
# **01.5** Count the timesteps with SNR of 1 or more: the first one after them has that number, as t begins at zero.

# %%
# solution 01.5
config = replace(ScheduleConfig(), beta_schedule="linear", beta_start=0.0001, beta_end=0.02)
answer = int((Schedule(config).snr(range(1000)) >= 1).sum())
check("01.5", answer)

# %% [markdown]
# **01.6** ᾱ is a product over all steps. What the steps *between* the two levels keep is later / now, and the jump
# with that share goes on from x as the closed form goes on from a clean picture.

# %%
# solution 01.6


def go_on(x, eps, now, later):
    kept = later / now
    return kept**0.5 * x + (1 - kept) ** 0.5 * eps


check("01.6", go_on)
