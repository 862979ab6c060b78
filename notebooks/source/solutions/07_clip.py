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
# # CLIP: solutions
#
# Each with the reason. There are other ways to the same answers.

# %%
import math

import torch

from sdlearn.clip import CLIPTextModel, EncoderLayer, causal_mask, contrastive_loss
from sdlearn.config import CLIPTextConfig
from sdlearn.exercises import check

# %% [markdown]
# **07.1** Behind the first place lie 31, behind the second one less, and so on: 31 · 32 / 2.

# %%
# solution 07.1
answer = 31 * 32 // 2
assert answer == causal_mask(32, torch.float32, torch.device("cpu")).isinf().sum()
check("07.1", answer)

# %% [markdown]
# **07.2** A softmax of 128 equal numbers gives each the share 1/128, in both directions.

# %%
# solution 07.2
answer = -math.log(1 / 128)
same = torch.ones(128, 1)
assert math.isclose(answer, contrastive_loss(same, same, 14.0), rel_tol=1e-5)
check("07.2", answer)

# %% [markdown]
# **07.3** Row i of the matrix belongs to picture i. Along the row the shares sum to 1, and its own caption stands on
# the diagonal.

# %%
# solution 07.3


def own_share(image, text, scale):
    return (scale * image @ text.T).softmax(dim=1).diagonal()


check("07.3", own_share)

# %% [markdown]
# **07.4** Of several equal values argmax returns the first.

# %%
# solution 07.4


def end_vector(hidden, ids, eos):
    first = (ids == eos).int().argmax(dim=1)  # (B,)
    return hidden[torch.arange(len(ids)), first]


check("07.4", end_vector)

# %% [markdown]
# **07.5** The causal mask hides what comes later. The padding comes last, so nothing is hidden from it. With any
# weights at all, another word changes it:

# %%
# solution 07.5
torch.manual_seed(0)
size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
tower = CLIPTextModel(CLIPTextConfig(**size, vocab_size=9, max_position_embeddings=6))
one, other = tower(torch.tensor([[7, 1, 2, 8, 8, 8], [7, 1, 3, 8, 8, 8]]))
print("changed places:", (one != other).any(dim=1).tolist())
answer = "C"
check("07.5", answer)

# %% [markdown]
# **07.6** Four layers from 128 to 128, one from 128 to 512 and one back, each with its bias; two norms with a factor
# and a bias. The number of heads does not matter.

# %%
# solution 07.6
answer = 4 * (128 * 128 + 128) + (128 * 512 + 512) + (512 * 128 + 128) + 2 * (128 + 128)
layer = EncoderLayer(CLIPTextConfig(hidden_size=128, intermediate_size=512, num_attention_heads=4))
assert answer == sum(p.numel() for p in layer.parameters())
check("07.6", answer)
