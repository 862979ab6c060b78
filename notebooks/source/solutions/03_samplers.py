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
# # Samplers: solutions

# %%
import math

from sdlearn.exercises import check

# %% [markdown]
# **03.1** A step to σ = 0 removes all the noise that is seen: x + (0 − σ) ε.

# %%
# solution 03.1
answer = 2 + (0 - 0.4) * 3
check("03.1", answer)

# %% [markdown]
# **03.2** Two evaluations a step; the last one ends at σ = 0, where ε is not defined, and stays Euler's.

# %%
# solution 03.2
answer = 2 * 10 - 1
check("03.2", answer)

# %% [markdown]
# **03.3** Four times the steps, and the order is the exponent.

# %%
# solution 03.3
answer = 0.08 / (40 / 10) ** 2
check("03.3", answer)

# %% [markdown]
# **03.4** The fresh noise first; what is left of the variance of the next level belongs to the old noise.

# %%
# solution 03.4
up = 4 * math.sqrt(5**2 - 4**2) / 5
down = math.sqrt(4**2 - up**2)
answer = [down, up]
check("03.4", answer)

# %% [markdown]
# **03.5** x and v are x₀ and ε, turned by an angle whose cosine is √ᾱ. Turn back; then DDIM.


# %%
# solution 03.5
def ddim_step(x, v, alpha_bar, alpha_bar_next):
    x0 = alpha_bar**0.5 * x - (1 - alpha_bar) ** 0.5 * v
    eps = (1 - alpha_bar) ** 0.5 * x + alpha_bar**0.5 * v
    return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next) ** 0.5 * eps


check("03.5", ddim_step)

# %% [markdown]
# **03.6** Half a step to see where the path bends to, then the whole step from where we were.


# %%
# solution 03.6
def midpoint_step(denoise, x, sigma, sigma_next):
    middle = (sigma + sigma_next) / 2
    half_way = x + (middle - sigma) * denoise(x, sigma).eps
    return x + (sigma_next - sigma) * denoise(half_way, middle).eps


check("03.6", midpoint_step)
