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
# # Cross-attention: solutions
#
# Each with the reason. There are other ways to the same answers.

# %%
import math

import torch

from sdlearn.attention import Attention
from sdlearn.exercises import check

# %% [markdown]
# **08.1** e to the power of 0 is 1, of ln 3 it is 3. Of the sum, the first has a quarter, the second three quarters.

# %%
# solution 08.1
answer = 1 / 4 * 10 + 3 / 4 * 20
assert math.isclose(
    torch.tensor([0, math.log(3)]).softmax(0) @ torch.tensor([10.0, 20.0]), answer, rel_tol=1e-5
)
check("08.1", answer)

# %% [markdown]
# **08.2** The keys compete for each query: the softmax runs over the last axis, and each row sums to 1.

# %%
# solution 08.2


def attend(q, k, v):
    scores = q @ k.T / math.sqrt(q.shape[-1])  # (L, S)
    return scores.softmax(dim=-1) @ v  # (L, d)


check("08.2", attend)

# %% [markdown]
# **08.3** Each of 64 × 64 places has a share for each of 64 × 64 places, in each of 8 heads. The width does not matter.

# %%
# solution 08.3
answer = 8 * (64 * 64) ** 2
check("08.3", answer)

# %% [markdown]
# **08.4** The output is w₁v₁ + w₂v₂ + …. To exchange w₁ and w₂ gives the same two products as to exchange v₁ and v₂.
# And a column of the shares comes from a key: exchanged keys give exchanged columns. If both move, the products are
# the old ones.

# %%
# solution 08.4


def answers(q, k, v):
    return (q @ k.T / math.sqrt(8)).softmax(dim=-1) @ v


q, k, v = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
order = [1, 0, 2, 3, 4]
columns = (q @ k.T / math.sqrt(8)).softmax(dim=-1)[:, order] @ v
assert torch.allclose(columns, answers(q, k[order], v), atol=1e-6)
assert torch.allclose(columns, answers(q, k, v[order]), atol=1e-6)
assert torch.allclose(answers(q, k, v), answers(q, k[order], v[order]), atol=1e-6)
answer = "C"
check("08.4", answer)

# %% [markdown]
# **08.5** The old half stays as it is, and is used a second time.

# %%
# solution 08.5


def my_edit(weights):
    old, new = weights.chunk(2)
    return torch.cat([old, old])


check("08.5", my_edit)

# %% [markdown]
# **08.6** Queries and the output are 320 wide at both ends; keys and values come from vectors of 768. Only the last
# layer has a bias.

# %%
# solution 08.6
answer = 2 * 320 * 320 + 2 * 768 * 320 + 320
assert answer == sum(p.numel() for p in Attention(320, 8, 768).parameters())
check("08.6", answer)
