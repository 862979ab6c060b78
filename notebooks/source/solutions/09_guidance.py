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
# # Guidance: solutions

# %%
from sdlearn.exercises import check

# %% [markdown]
# **09.1** D = B − C, number by number; then from C three times along it.

# %%
# solution 09.1
answer = [c + 3 * (b - c) for b, c in ((2, 1), (1, 3))]
check("09.1", answer)

# %% [markdown]
# **09.2** What stands before ε(c) must be the same: 1 + w = s.

# %%
# solution 09.2
answer = 7.5 - 1
check("09.2", answer)

# %% [markdown]
# **09.3** Inside the interval two questions a step, outside one.

# %%
# solution 09.3
answer = 8 * 2 + (20 - 8) * 1
check("09.3", answer)

# %% [markdown]
# **09.4** The guided score is score + scale · slope; ε is −√(1 − ᾱ) times a score.


# %%
# solution 09.4
def guided_eps(eps, slope, alpha_bar, scale):
    return eps - scale * (1 - alpha_bar) ** 0.5 * slope


check("09.4", guided_eps)

# %% [markdown]
# **09.5** Three directions, all of them differences from C.


# %%
# solution 09.5
def two_negatives(b, c, n1, n2, s, p, q):
    return c + s * (b - c) - p * (n1 - c) - q * (n2 - c)


check("09.5", two_negatives)

# %% [markdown]
# **09.6** E = (1 − s) · C + s · B. So take s · B away and divide.


# %%
# solution 09.6
def without_prompt(e, b, scale):
    return (e - scale * b) / (1 - scale)


check("09.6", without_prompt)
