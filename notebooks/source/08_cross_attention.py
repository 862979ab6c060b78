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
# # Cross-attention
#
# > *How do words get into a picture, and how does the blue get to the cat?*
#
# Chapter 07 made a list of vectors from a prompt. Chapter 02 built a network that predicts noise. Between the two
# stands one operation: *attention*. You build it from a dictionary look-up, put it into the U-Net, listen to it while
# it draws, and then interfere.
#
# | | |
# |---|---|
# | **You will build** | `attention.py`: attention, feed-forward, the spatial transformer, a way to edit it |
# | **You need** | chapters 02 and 03; of 07, that a token's vector knows the tokens *before* it (causal mask) |
# | **Your time** | {reading} minutes of reading; {seconds} seconds of computing on {cores} CPU cores |
# | **Memory** | {megabytes} MB, no graphics card, no network connection |

# %% [markdown]
# ## 1 · Whose colour?
#
# The U-Net predicts noise from three things: the noisy latent, a step number, and the prompt's text vectors.
# Chapter 02 used the first two. Here the third joins, and the loss stays what it was (equation 3 of Rombach et
# al. 2022). Here τ is the text encoder and y the prompt:
#
# $$\mathbb E\,\lVert \varepsilon - \varepsilon_\theta(z_t, t, \tau(y))\rVert^2$$
#
# The start, the words and the end have a vector each; the rest of the places is padding.

# %%
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sdlearn
from sdlearn import viz
from sdlearn.config import UNetConfig
from sdlearn.denoise import Denoiser
from sdlearn.evaluate import Share
from sdlearn.samplers import dpmpp_2m
from sdlearn.scenes.oracle import Oracle
from sdlearn.spacing import karras

PROMPT, SEED = "an orange cat standing on a red castle", 7
pipe = sdlearn.StableDiffusion.from_pretrained("scenes")
oracle = Oracle.load()
ours, theirs = "a blue cat left of a red ball", "a red cat left of a blue ball"
vectors, other_vectors = pipe.encode_prompt([ours, theirs])  # each (32, 128)
names = ["start", *(token.removesuffix("</w>") for token in pipe.tokenizer.tokenize(ours)), "end"]
print(tuple(vectors.shape), list(enumerate(names)))

# %% [markdown]
# To draw we take Denoiser, levels and sampler of chapter 03, eight steps, and no exaggeration of the prompt (guidance
# is chapter 09). Every picture has its own seed. Because we hand over text *vectors*, not words, we can tamper with
# them. `read` asks the *oracle*, a small network that names a picture's things and colours. It errs at times.

# %%
plain = Denoiser(pipe.predict, pipe.schedule, pipe.schedule.config.prediction_type)
low, high = float(pipe.schedule.sigmas[0]), float(pipe.schedule.sigmas[-1])
LEVELS = [*karras(low, high, 8).tolist(), 0.0]


def noise(seeds):
    each = [torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.cat(each) * math.hypot(1, high)


@torch.no_grad()
def draw(texts, seeds=None):
    """One picture for each of the text vectors (n, 32, 128)."""
    x = noise(range(len(texts)) if seeds is None else seeds)
    *_, last = dpmpp_2m(lambda x, sigma: plain(x, sigma, texts), x, LEVELS)
    return pipe.decode(last.x_next)


def read(pictures):
    return oracle.read(np.stack([np.asarray(one) for one in pictures]))


# %% [markdown]
# ### Guess before you read on
#
# The prompt is *"a blue cat left of a red ball"*. We take the two vectors at the places of **blue** and **red** and put
# there those of *"a red cat left of a blue ball"*. All other vectors stay. **What is drawn?**
#
# * **A**: a red cat and a blue ball.
# * **B**: a blue cat and a red ball, as before.
# * **C**: both purple, or one colour on both.

# %%
tampered = vectors.clone()
tampered[[2, 7]] = other_vectors[[2, 7]]
rows = {
    name: draw(text.expand(5, -1, -1)) for name, text in {"as it was": vectors, "exchanged": tampered}.items()
}
for name, pictures in rows.items():
    print(
        name,
        Counter(" and ".join(f"{colour} {kind}" for kind, colour, _ in one.things) for one in read(pictures)),
    )
viz.strip(
    rows,
    zoom=1,
    alt="Two rows of five pictures. In both a blue cat sits left of a red ball; the rows can hardly be told apart.",
)

# %% [markdown]
# It is B, at least in these five. The vector of *blue* is not what makes this cat blue. Then what is? To find out, we
# must know how the network asks for words.
#
# ## 2 · A dictionary that always answers
#
# A Python dictionary has keys and values. A *query* must equal a key, or there is an error. A softer one: query and
# keys are vectors, and we measure how well they fit, by their scalar product. The best fit wins (*hard*). Or each value
# gets a share, by softmax (*soft*). Let a query turn once round a circle on which three keys lie. Upwards stands each
# key's share.

# %%
angles = torch.linspace(0, 2 * math.pi, 73)
queries = 4 * torch.stack([angles.cos(), angles.sin()], dim=1)  # (73, 2); longer is harder
key_angles = torch.tensor([0.5, 2.5, 4.6])
keys = torch.stack([key_angles.cos(), key_angles.sin()], dim=1)  # (3, 2)
fits = queries @ keys.T  # (73, 3)
shares = {
    "hard: the best key takes all": F.one_hot(fits.argmax(dim=1), 3).float(),
    "soft": fits.softmax(dim=1),
}
viz.curves(
    {name: {f"key {k + 1}": share[:, k].tolist() for k in range(3)} for name, share in shares.items()},
    (angles * 180 / math.pi).round().int().tolist(),
    "direction of the query, in degrees",
    alt="Share of three keys as the query turns. Hard: each share is 0 or 1 and jumps. Soft: three smooth hills that "
    "cross each other.",
)

# %% [markdown]
# The hard one jumps, and between the jumps nothing changes: there is no slope to learn from. The soft one has a slope
# everywhere. What comes back is the values' mean, weighted by the shares.
#
# In attention the queries come from the places of the picture, the keys and values from the words. (This is
# *cross*-attention. In *self*-attention all three come from the picture.) Here it is, written as two loops.


# %%
def two_loops(q, k, v):
    answers = []
    for query in q:
        fits = torch.stack([(query * key).sum() for key in k]) / math.sqrt(q.shape[1])
        shares = (fits - fits.max()).exp()  # the maximum only guards against overflow
        shares = shares / shares.sum()
        answers.append(sum(share * value for share, value in zip(shares, v, strict=True)))
    return torch.stack(answers)


# %% [markdown]
# Why the root of the width? The scalar product of two random vectors is a sum of products, one for each number: its
# spread grows with the root of their count. Without the root, softmax becomes hard as vectors become wide:

# %%
generator = torch.Generator().manual_seed(0)
for width in (4, 64, 1024):
    q, k = torch.randn(2, 500, width, generator=generator)
    scores = q @ k.T  # (500, 500)
    hard, soft = (
        scores.softmax(dim=1).amax(dim=1).mean(),
        (scores / math.sqrt(width)).softmax(dim=1).amax(dim=1).mean(),
    )
    print(f"width {width:4d}: spread {scores.std():5.1f}, largest share {hard:.2f}, with the root {soft:.2f}")

# %% [markdown]
# Now faster. All scores are one matrix product, all answers a second one: `matmul`. And PyTorch has it as one
# function, `F.scaled_dot_product_attention` (SDPA). It works in blocks and need not keep the whole matrix of shares,
# on a CPU, too (Dao et al. 2022). Each is checked against the one before.


# %%
def matmul(q, k, v):
    return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v


def sdpa(q, k, v):
    return F.scaled_dot_product_attention(q[None, None], k[None, None], v[None, None])[0, 0]


def seconds(function, *arguments):
    """The least of three."""
    times = []
    for _ in range(3):
        clock = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - clock)
    return min(times)


q, k, v = torch.randn(3, 64, 24, generator=generator)
print(f"matmul differs from the loops by {(matmul(q, k, v) - two_loops(q, k, v)).abs().max():.0e}")
print(f"SDPA differs from matmul by {(sdpa(q, k, v) - matmul(q, k, v)).abs().max():.0e}")
print(
    f"64 places: the loops take {round(seconds(two_loops, q, k, v) / seconds(matmul, q, k, v), -2):.0f} times as long"
)


# %%
def kept(function, *arguments):
    """How many numbers PyTorch keeps for the gradient; one that two operations share counts once."""
    sizes = {}

    def note(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        function(*(one.clone().requires_grad_() for one in arguments))
    return sum(sizes.values())


long = torch.randn(3, 4096, 24, generator=generator)  # the places of a 512 x 512 picture in Stable Diffusion
ratio = seconds(matmul, *long) / seconds(sdpa, *long)
print(f"4096 places: matmul takes about {ratio:.0f} times as long as SDPA")
print(f"and in training it keeps {kept(matmul, *long) / kept(sdpa, *long):.0f} times as many numbers")
print(f"they differ by {(matmul(*long) - sdpa(*long)).abs().max():.0e}")

# %% [markdown]
# The values agree. (Times differ from run to run.) What must be kept for the gradient is mostly the matrix of shares:
# it grows with the *square* of the places.
#
# ## 3 · Heads
#
# One softmax, one mean: a place can look for one thing only. So the vectors are cut into *heads*. Each has its own
# shares, and the answers are put side by side again. This is *multi-head* attention (Vaswani et al. 2017). Linear
# layers make queries, keys and values, and a last one mixes the heads.
#
# `forward` uses SDPA. `weights` gives the shares that SDPA never shows, and `gather` uses shares that somebody hands
# in. (`upcast`: Stable Diffusion 2.1 multiplies queries and keys in float32, because its scores overflow in half
# precision.)


# %%
# -> sdlearn/attention.py
class Attention(nn.Module):
    """Multi-head attention: (B, L, width) -> (B, L, width).

    ``context`` (B, S, context_width) supplies keys and values; None means self-attention. Query, key and value
    have a bias only where a checkpoint has one (``bias=True``: the autoencoder and CLIP).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        bias: bool = False,
        upcast: bool = False,
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"Attention: width {width} is not a multiple of the number of heads {heads}.")
        self.heads = heads
        self.upcast = upcast
        context_width = width if context_width is None else context_width
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(context_width, width, bias=bias)
        self.to_v = nn.Linear(context_width, width, bias=bias)
        # A list of one, because published names say `to_out.0` (entry 1 was a dropout of probability 0).
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(Q K^T / sqrt(d)) V, without ever storing the weights: (B, heads, L, d) -> (B, heads, L, d)."""
        return F.scaled_dot_product_attention(q, k, v)

    def _split(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)  # (B, heads, L, d)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        q, k, v = self._split(self.to_q(x)), self._split(self.to_k(context)), self._split(self.to_v(context))
        if self.upcast:  # scores overflow in half precision in SD 2.1 at 768 pixels
            q, k, v = q.float(), k.float(), v.float()
        h = self.attend(q, k, v)  # (B, heads, L, d)
        h = h.transpose(1, 2).flatten(2).to(x.dtype)  # (B, L, width)
        return self.to_out[0](h)

    def weights(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Who looks at whom: (B, heads, L, S), every row sums to 1. ``forward`` never needs to store it."""
        context = x if context is None else context
        q, k = self._split(self.to_q(x)).float(), self._split(self.to_k(context)).float()
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # (B, heads, L, S)
        return scores.softmax(dim=-1)

    def gather(self, weights: Tensor, context: Tensor) -> Tensor:
        """What each place gets when it looks so: (B, heads, L, S), (B, S, context_width) -> (B, L, width)."""
        v = self._split(self.to_v(context)).to(weights.dtype)  # (B, heads, S, d)
        h = (weights @ v).transpose(1, 2).flatten(2)  # (B, L, width)
        return self.to_out[0](h.to(context.dtype))


# %% [markdown]
# Does each head do what section 2 did? And do `weights` and `gather` together make `forward`?

# %%
layer = Attention(96, 4, 128)
x, context = torch.randn(1, 64, 96, generator=generator), vectors[None]
with torch.no_grad():
    made = layer.to_q(x)[0], layer.to_k(context)[0], layer.to_v(context)[0]  # (64, 96), (32, 96), (32, 96)
    heads = [two_loops(*(part.chunk(4, dim=1)[head] for part in made)) for head in range(4)]
    by_loops = layer.to_out[0](torch.cat(heads, dim=1))
    print(f"loops, head by head: {(layer(x, context)[0] - by_loops).abs().max():.0e}")
    print(
        f"weights and gather:  {(layer(x, context) - layer.gather(layer.weights(x, context), context)).abs().max():.0e}"
    )
assert torch.allclose(layer(x, context)[0], by_loops, atol=1e-5)

# %% [markdown]
# ## 4 · A transformer on a picture
#
# Attention lets places exchange. What a place does with the news, it does alone, in a *feed-forward* part: widen four
# times, narrow again. Between the two stands a gate, *GEGLU*: the widening is made twice, and one half, through the
# smooth step GELU, opens and closes the other (Shazeer 2020).
#
# A block has three parts: look at the picture (self-attention), look at the words (cross-attention), think. Each
# *adds* to what was there, as the residual block of chapter 02 did: who has nothing to say adds nothing. Before each,
# LayerNorm brings a place's numbers to mean 0 and spread 1.


# %%
# -> sdlearn/attention.py
class GEGLU(nn.Module):
    """A linear layer whose second half opens and closes the first (Shazeer 2020): (…, C) -> (…, out)."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.proj = nn.Linear(width, 2 * out)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Widen four times, gate, narrow again: the part of a transformer that treats each place alone."""

    def __init__(self, width: int):
        super().__init__()
        # Entry 1 was a dropout of probability 0 in training; it keeps the published name `net.2`.
        self.net = nn.ModuleList([GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


class TransformerBlock(nn.Module):
    """Look at the picture, look at the words, think; each with a way around it."""

    def __init__(self, width: int, heads: int, context_width: int, upcast: bool):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads, upcast=upcast)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, heads, context_width, upcast=upcast)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x))  # self-attention
        x = x + self.attn2(self.norm2(x), context)  # cross-attention
        return x + self.ff(self.norm3(x))


# %% [markdown]
# A picture is not a list, so the *spatial transformer* makes one: each place becomes a token of as many numbers as
# there are channels. It does not know where a place lies; the convolutions around it can tell, by their zero borders.
# (`use_linear_projection`: Stable Diffusion 2 stores its first and last layer as linear layers, the small model and
# 1.x as 1×1 convolutions; the sums are the same.)


# %%
# -> sdlearn/attention.py
class SpatialTransformer(nn.Module):
    """A transformer block on a picture: each place is a token. (B, C, H, W) -> (B, C, H, W).

    SD 1.x projects in and out by 1x1 convolutions, SD 2.x by linear layers; the arithmetic is the same, the
    shapes of the weights are not. The norm's eps is 1e-6 here, 1e-5 in the residual blocks.
    """

    def __init__(self, channels: int, heads: int, config: UNetConfig):
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_num_groups, channels, eps=1e-6)
        self.linear = config.use_linear_projection
        projection = nn.Linear if self.linear else lambda i, o: nn.Conv2d(i, o, 1)
        self.proj_in = projection(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            [TransformerBlock(channels, heads, config.cross_attention_dim, config.upcast_attention)]
        )
        self.proj_out = projection(channels, channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        h = self.norm(x)
        if not self.linear:
            h = self.proj_in(h)
        h = h.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, H*W, C)
        if self.linear:
            h = self.proj_in(h)
        for block in self.transformer_blocks:
            h = block(h, context)
        if self.linear:
            h = self.proj_out(h)
        h = h.transpose(1, 2).unflatten(2, (height, width))  # (B, H*W, C) -> (B, C, H, W)
        if not self.linear:
            h = self.proj_out(h)
        return x + h


# %% [markdown]
# ## 5 · Where it sits
#
# Which part of a U-Net is that? We count: in the small model, and in Stable Diffusion 1.5 (the config's defaults),
# built on the device `meta`, where tensors have a shape and no numbers.

# %%
from sdlearn.unet import UNet

with torch.device("meta"):
    large = UNet(UNetConfig())


def numbers(modules):
    return sum(p.numel() for module in modules for p in module.parameters())


for title, unet in {"small model": pipe.unet, "SD 1.5": large}.items():
    parts = dict(unet.named_modules())
    found = {key: [m for name, m in parts.items() if name.endswith(key)] for key in ("attn1", "attn2", ".ff")}
    found["all transformers"] = [m for m in parts.values() if hasattr(m, "transformer_blocks")]
    print(f"{title}: {numbers([unet]):,} parameters, {len(found['all transformers'])} transformers")
    print("  of the parameters: ", {key: f"{numbers(m) / numbers([unet]):.0%}" for key, m in found.items()})
    down = [len(block.attentions or []) for block in unet.down_blocks]
    up = [len(block.attentions or []) for block in unet.up_blocks]
    print(f"  by level: down {down}, bottom {len(unet.mid_block.attentions)}, up {up}")

# %% [markdown]
# From left to right: down the U, the bottom, up again. The finest level of the small model has none: that saves time.
# Stable Diffusion has them at each level but the coarsest, and at the bottom. And time? A clock at the door of each
# transformer:


# %%
@torch.no_grad()
def time_in_transformers(unet, repeats=10):
    spent, began = [], []
    hooks = []
    for module in unet.modules():
        if hasattr(module, "transformer_blocks"):
            hooks.append(module.register_forward_pre_hook(lambda *_: began.append(time.perf_counter())))
            hooks.append(
                module.register_forward_hook(lambda *_: spent.append(time.perf_counter() - began.pop()))
            )
    clock = time.perf_counter()
    for _ in range(repeats):
        unet(torch.zeros(4, 4, 16, 16), torch.full((4,), 500.0), vectors.expand(4, -1, -1))
    whole = time.perf_counter() - clock
    for hook in hooks:
        hook.remove()
    return sum(spent) / whole


print(f"share of the small U-Net's time: {time_in_transformers(pipe.unet):.0%}")

# %% [markdown]
# ## 6 · Listening, and interfering
#
# Nothing needs to be added to the network to hear it. PyTorch lets us hang a *hook* on a layer: a function that sees
# what goes in and comes out, and may hand on something else. That is enough to listen *and* to interfere: `edit` gets
# the shares, and what it returns is used.


# %%
# -> sdlearn/attention.py
@contextmanager
def editing(network: nn.Module, edit: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside ``with``: each cross-attention layer's weights (B, heads, L, S) pass through ``edit`` before their use.

    The layers are found by their published name, ``attn2``. Afterwards the network is as it was. It does not nest:
    of two edits the inner one alone is used. Whoever listens beside it hears the weights as they were before ``edit``.
    """

    def edited(layer: nn.Module, arguments: tuple[Tensor, Tensor], answer: Tensor) -> Tensor:
        x, context = arguments
        return layer.gather(edit(layer.weights(x, context)), context)

    layers = [layer for name, layer in network.named_modules() if name.rpartition(".")[2] == "attn2"]
    if not layers:
        raise ValueError("editing: this network has no cross-attention layer (attn2) to edit.")
    hooks = [layer.register_forward_hook(edited) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# %%
def listen(texts, x, sigma):
    """The shares of all cross-attention layers: a list of (n, heads, places, tokens)."""
    heard = []

    def note(weights):
        heard.append(weights)
        return weights

    with torch.no_grad(), editing(pipe.unet, note):
        plain(x, sigma, texts)
    return heard


def as_map(weights):
    """(places, tokens) -> (tokens, 8, 8), the coarser ones enlarged."""
    side = math.isqrt(len(weights))
    return F.interpolate(weights.T.reshape(1, -1, side, side), size=(8, 8), mode="bilinear")[
        0
    ]  # (tokens, 8, 8)


one = vectors[None]
*steps, last = dpmpp_2m(lambda x, sigma: torch.no_grad()(plain)(x, sigma, one), noise([3]), LEVELS)
steps = [*steps, last]
picture = pipe.decode(last.x_next)[0]
heard = [listen(one, step.x, step.sigma) for step in steps]  # step, then layer
maps = torch.stack([torch.stack([as_map(w[0].mean(dim=0)) for w in layers]).mean(dim=0) for layers in heard])
print(tuple(maps.shape), f"the shares of a place sum to {maps.sum(dim=1).mean():.3f}")

# %% [markdown]
# (Steps, tokens, height, width), the mean of heads and layers. First all tokens, start, end and padding included, on
# one scale. A map that is stretched to its own largest value would make each word look important.

# %%
shown = maps.mean(dim=0)  # (32, 8, 8)
shown = torch.cat([shown[:10], shown[10:].sum(dim=0, keepdim=True)])  # the padding together
viz.attention_by_word([*names, "all padding"], shown, picture)

# %% [markdown]
# The start token and the first *a* take most. They stand before *cat* and *ball*, so they know nothing of them: a place
# that has nothing to ask must look *somewhere*, since shares sum to 1. (Colours follow the root of a share.) The words
# of the things again, on a scale of their own; mind the key:

# %%
some = [2, 3, 4, 7, 8]
viz.attention_by_word([names[k] for k in some], maps.mean(dim=0)[some], picture)

# %% [markdown]
# The cat's places turn to *cat*, but also to *left*; the ball's to *ball*, and, above, to the padding. (Padding is
# not masked, neither here nor in Stable Diffusion: the text encoder may store something there.) But a share is
# not yet an effect (Jain and Wallace 2019). A value may be short. So also measure what a word *hands over*: its shares
# times its values, through the output layer. Last layer, step 4, mean of the cat's places:

# %%
attn2 = pipe.unet.up_blocks[1].attentions[1].transformer_blocks[0].attn2
on_cat = torch.zeros(8, 8, dtype=torch.bool)
on_cat[4:7, 1:3] = True  # rows 5 to 7, columns 2 and 3
WORDS = {"start": [0], "a": [1], "blue": [2], "cat": [3], "left of a": [4, 5, 6], "red": [7], "ball": [8]}
WORDS["end, padding"] = list(range(9, 32))
for name, group in WORDS.items():
    part = torch.zeros_like(heard[3][-1])
    part[..., group] = heard[3][-1][..., group]  # (1, heads, 64, 32)
    handed = (attn2.gather(part, one) - attn2.to_out[0].bias)[0][on_cat.flatten()]
    share = part[0].sum(dim=-1)[:, on_cat.flatten()].mean()
    print(f"{name:13s} share {share:5.1%}   length of what it hands over {handed.norm(dim=1).mean():.2f}")

# %% [markdown]
# On the cat, *cat* and the words after it hand over by far the most. *Blue* hands over about as little as the start
# token. Keep that in mind.
#
# A mean hides much. Here is *cat* alone, three times, each on its own scale. First the heads of the last layer, at
# step 4:

# %%
middle = heard[3]
by_head = torch.stack([as_map(middle[-1][0, head])[3] for head in range(4)])
viz.attention_by_word([f"head {k + 1}" for k in range(4)], by_head, picture)

# %% [markdown]
# The layers at step 4, in the order in which they work (where two stand side by side, their mean):

# %%
LAYERS = {"down, 8 × 8": [0], "down, 4 × 4": [1], "bottom": [2], "up, 4 × 4": [3, 4], "up, 8 × 8": [5, 6]}
by_layer = [
    as_map(torch.stack([middle[k][0].mean(dim=0) for k in ks]).mean(dim=0))[3] for ks in LAYERS.values()
]
viz.attention_by_word(list(LAYERS), torch.stack(by_layer), picture)

# %% [markdown]
# And the steps (mean of heads and layers):

# %%
chosen = [0, 1, 3, 5, 7]
viz.attention_by_word([f"step {k + 1} of 8" for k in chosen], maps[chosen, 3], picture)

# %% [markdown]
# Heads do different work: the second sees nearly the whole cat and little else. So do layers. Over the steps the map is
# first broad, over both things, and then settles, mostly on the cat.
#
# **Play:** draw the sentence of the course, press a word, move the slider. The still picture comes first. The scale is
# cut, so that an overbright word such as *an* does not darken the others. Start and padding are left out, and the maps
# are smoothed.

# %%
from sdlearn.viz import widgets

run = pipe.txt2img(PROMPT, seed=SEED, num_inference_steps=12, guidance_scale=1.0)
assert [thing[:2] for thing in read(run.images)[0].things] == [("cat", "orange"), ("castle", "red")]
explorer = widgets.attention_explorer(run, pipe)
explorer.static()

# %%
explorer

# %% [markdown]
# ### What places look at
#
# Self-attention asks the same of other places. We take four places of the finer level, on the cat, on the ball, in the
# sky and on the ground, and see whom they look at.

# %%
block = pipe.unet.up_blocks[1].attentions[1].transformer_blocks[0]
caught = []
hook = block.attn1.register_forward_hook(lambda layer, given, answer: caught.append(layer.weights(*given)))
with torch.no_grad():
    plain(steps[3].x, steps[3].sigma, one)
hook.remove()
looks = caught[0][0].mean(dim=0)  # (64, 64), mean of the heads
places = {"cat": int(shown[3].argmax()), "ball": int(shown[8].argmax()), "sky": 8 + 3, "ground": 56 + 4}
areas = torch.zeros(8, 8, dtype=torch.long)  # 0: the sky
areas[5:], areas[4:7, 4:], areas[on_cat] = 3, 2, 1  # by eye, from the picture
parts = [(areas == k).flatten() for k in (1, 2, 0, 3)]
even = [f"{name} {part.float().mean():4.0%}" for name, part in zip(places, parts, strict=True)]
print("an even spread would give:", *even, sep="  ")
for name, place in places.items():
    told = [f"{to} {looks[place][part].sum():4.0%}" for to, part in zip(places, parts, strict=True)]
    print(f"from {name:6s} (row {place // 8 + 1}, column {place % 8 + 1}):", *told, sep="  ")
viz.attention_by_word(
    [f"from {n}" for n in places], looks[list(places.values())].unflatten(1, (8, 8)), picture
)

# %% [markdown]
# The cat's place gives the cat nearly four times its even part, the ball's place the ball about twice. Sky and ground
# are closer to even. So places of one thing *can* agree on what they are. (One layer, one step, one picture. The mean
# above a map is even by construction.)
#
# ## 7 · Who carries the colour?
#
# Back to the guess. In the prompt each token looks at itself and at those before it (chapter 07). So *cat* may know
# that it is blue, and so may every word after it. Only the words before cannot. Let us exchange other places'
# vectors, twelve seeds each, and count.

# %%
GROUPS = {
    "none": [],
    "blue, red": [2, 7],
    "cat": [3],
    "left of a": [4, 5, 6],
    "cat left of a": [3, 4, 5, 6],
    "ball": [8],
    "end, padding": list(range(9, 32)),
    "ball, end, padding": list(range(8, 32)),
}


def colour_of(reading, kind):
    return next((colour for one, colour, _ in reading.things if one == kind), "none")


dozen = {}
for name, group in GROUPS.items():
    text = vectors.clone()
    text[group] = other_vectors[group]
    dozen[name] = draw(text.expand(12, -1, -1))
    told = []
    for kind in ("cat", "ball"):
        found = Counter(colour_of(one, kind) for one in read(dozen[name]))
        told.append(
            f"{kind}s: {found['blue']:2d} blue {found['red']:2d} red {12 - found['blue'] - found['red']:2d} other"
        )
    print(f"{name:19s}", *told, sep="  ")

# %%
viz.strip(
    {name: dozen[name][:5] for name in ("none", "cat left of a", "ball, end, padding")},
    zoom=1,
    alt="Three rows of five pictures. As it was: blue cats and red balls. With the vectors of 'cat left of a' from the "
    "other prompt: red cats and red balls. With those of 'ball', end and padding: blue cats and blue balls.",
)

# %% [markdown]
# *Other* is a third colour, or a thing that the oracle does not find. *Cat* alone, or *left of a* alone, turns few
# cats. Together they turn nearly all: the colour stands in the noun *and in the words after it*, those that hand over
# most. After *ball* come only end and padding. The noun alone turns some balls, end and padding alone turn some, all of
# these nearly every ball. They come after *blue cat*, too, but hardly touch the cat: on it they hand over little. (One
# pair of prompts, a dozen seeds, one small model. And with *blue, red* a few balls change: little is not nothing.)
#
# So this is the way of "a man with blue eyes": self-attention in the prompt pairs *blue* with *eyes*, and writes it
# into the vectors from there on; cross-attention carries these into the picture. And why do not all colours
# end up everywhere? Perhaps because a place asks with its own query, and looks at *its* thing's words.
#
# ## 8 · Binding, counted
#
# That guess can be tested: let the places look at the *wrong* words. `editing` exchanges the maps of two columns. With
# *cat* and *ball* exchanged, the cat's places look at "ball". Section 7 predicts: the kinds change sides, and the
# colours go along only in part, since other words carry them, too. We take 32 pairs of things and colours by lot, one
# seed each. Right is a picture in which the oracle finds both things, each in its colour; `by_side` looks at each side.

# %%
from sdlearn.scenes.world import COLOURS, KINDS

lot = Random(8)
cases = [tuple(zip(lot.sample(sorted(COLOURS), 2), lot.sample(KINDS, 2), strict=True)) for _ in range(32)]


def with_article(colour, kind):
    return f"{'an' if colour == 'orange' else 'a'} {colour} {kind}"


prompts = [" left of ".join(with_article(*thing) for thing in case) for case in cases]
many = pipe.encode_prompt(prompts)
assert all(len(pipe.tokenizer.tokenize(prompt)) == 8 for prompt in prompts)  # same places for all


def exchange(first, second):
    order = list(range(32))
    for one, other in zip(first, second, strict=True):
        order[one], order[other] = other, one
    return lambda weights: weights[..., order]


def verdict(reading, case):
    (colour, kind), (other_colour, other_kind) = case
    seen = {one: hue for one, hue, _ in reading.things}
    if seen.keys() != {kind, other_kind}:
        return "other things"
    drawn, asked = [seen[kind], seen[other_kind]], [colour, other_colour]
    return "right" if drawn == asked else "exchanged" if drawn == asked[::-1] else "another colour"


def by_side(readings):
    """Of pictures with two things side by side: (stayed on its side, came from the other) of kinds, of colours."""
    stayed, came = Counter(), Counter()
    for reading, case in zip(readings, cases, strict=True):
        if len(reading.things) == 2 and reading.relation == "left_of":
            for (kind, colour, _), own, other in zip(reading.things, case, case[::-1], strict=True):
                stayed.update(kinds=kind == own[1], colours=colour == own[0])
                came.update(kinds=kind == other[1], colours=colour == other[0])
    return {what: (stayed[what], came[what]) for what in ("kinds", "colours")}


# %%
# 128 pictures: the slowest cell
EDITS = {
    "as it is": exchange([], []),
    "maps of colours exchanged": exchange([2], [7]),
    "maps of nouns exchanged": exchange([3], [8]),
    "maps of nouns and colours": exchange([2, 3], [7, 8]),
}
VERDICTS = ("right", "exchanged", "another colour", "other things")
bound, verdicts = {}, {}
for name, edit in EDITS.items():
    with editing(pipe.unet, edit):
        bound[name] = draw(many)
    readings = read(bound[name])
    verdicts[name] = [verdict(*both) for both in zip(readings, cases, strict=True)]
    counts = Counter(verdicts[name])
    print(f"{name}: right {Share(counts['right'], 32)}")  # with its 95 % interval
    pairs = Counter(
        (was == "right", now == "right")
        for was, now in zip(verdicts["as it is"], verdicts[name], strict=True)
    )
    print(f"    right to wrong {pairs[True, False]}, wrong to right {pairs[False, True]};", end=" ")
    print(", ".join(f"{one} {counts[one]}" for one in VERDICTS))
    for what, (stayed, came) in by_side(readings).items():
        print(f"    {what} on the side asked for: {stayed}, on the other: {came}")

# %%
viz.strip(
    {name: pictures[:5] for name, pictures in bound.items()},
    [prompt.replace(" left of ", ", ") for prompt in prompts[:5]],
    zoom=1,
    alt="Four rows of five pictures with two things each, the prompts above. First row: things and colours as asked. "
    "Second row: nearly the same, but a pink cat and a red dog have turned orange. Third row: two orange hearts, a "
    "pink dog left of a cat in pink and orange, two birds, a red cat on the right, two pink things. "
    "Fourth row: much like the third, but the dog is red, one cat is pink and one orange.",
)

# %% [markdown]
# In brackets stands the 95 % interval (Wilson 1927). The small model binds well. Where it fails, it
# loses a thing, or takes another colour. In Stable Diffusion, too, things
# go missing, and colours land on the wrong thing (Chefer et al. 2023).
#
# All rows have the same prompts and seeds, so compare picture with picture. Exchanged maps of the *colour words* turn a
# few from right to wrong and none back: a third colour comes in. So that place matters, but not much.
#
# With the maps of the *nouns* exchanged the binding breaks. Most kinds come from the other side, or one stands twice.
# The colours mostly stay. Exchange the colour words' maps as well, and as many colours move as stay. That fits: the
# noun's map takes the kind along, and a part of the colour. And the words after it? Try
# `exchange([3, 4, 5, 6], [8, 9, 10, 11])`, and see what is lost.
#
# ## 9 · Editing a picture
#
# Change one word of a prompt, keep the seed: often the whole picture changes. Hertz et al. (2022) keep it together:
# the maps decide the *layout*, they say, the values the content. So draw both prompts at once, and let the second use
# the maps of the first (*prompt-to-prompt*; theirs keeps them for a part of the steps, ours for all).


# %%
def keep_maps(weights):
    """A batch of two halves: the second looks where the first looks."""
    old, new = weights.chunk(2)
    return torch.cat([old, old])


OLD, NEW = "an orange cat on a red castle", "an orange dog on a red castle"
texts = pipe.encode_prompt([OLD, NEW]).repeat_interleave(12, dim=0)
dogs = draw(texts[12:])
with editing(pipe.unet, keep_maps):
    both = draw(texts, [*range(12)] * 2)
cats, kept_dogs = both[:12], both[12:]


def change(pictures):
    """Mean change of a pixel against the cats, for each picture."""
    one, other = (np.stack(ones).astype(float) for ones in (pictures, cats))
    return np.abs(one - other).max(axis=-1).mean(axis=(1, 2))  # (12,)


for name, pictures in {"dogs": dogs, "dogs with the cats' maps": kept_dogs}.items():
    orange = sum(one.things[0][:2] == ("dog", "orange") for one in read(pictures))
    print(
        f"{name}: orange dogs {orange} of 12; change of a pixel: median {np.median(change(pictures)):.1f},",
        end=" ",
    )
    print(f"largest {change(pictures).max():.1f}")
print(f"nearer to the cat with its maps: {Share(int((change(kept_dogs) < change(dogs)).sum()), 12)}")

# %%
viz.strip(
    {"a cat": cats[:5], "a dog": dogs[:5], "a dog, the cat's maps": kept_dogs[:5]},
    zoom=1,
    alt="Three rows of five pictures of animals on castles. From column two on the second and third row are much "
    "alike; in column one the dog stands in daylight, and with the cat's maps in the night of the cat.",
)

# %% [markdown]
# There are as many orange dogs, and most pictures come nearer to the cat's, but only a little: here the seed alone
# fixes most of the layout. One picture makes the difference, that of the first column: the new word had turned night
# into day, and with the old maps it stays night. Not everything is kept: self-attention and convolutions hear the new
# word, too.
#
# **Re-weighting.** The same paper makes a word stronger or weaker by a factor on its map. (The shares then no longer
# sum to 1, there as here.) Section 7 predicts what this does to *blue*, and to *cat left of a*. There is another dial:
# mix the text vectors of a prompt with the colour and of one without, *"a big cat …"*.


# %%
def scaled(places, factor):
    factors = torch.ones(32)
    factors[places] = factor
    return lambda weights: weights * factors


def told(pictures):
    blue = sum(colour_of(one, "cat") == "blue" for one in read(pictures))
    some = sum(colour_of(one, "cat") != "none" for one in read(pictures))
    return f"{blue:2d} blue of {some:2d} cats"


print("factor 1:", told(dozen["none"][:8]))
for name, places, factor in [("blue", [2], 0), ("blue", [2], 2), ("cat left of a", [3, 4, 5, 6], 0)]:
    with editing(pipe.unet, scaled(places, factor)):
        print(f"factor {factor} on the maps of {name}:", told(draw(vectors.expand(8, -1, -1))))
big = pipe.encode_prompt(["a big cat left of a red ball"])[0]
for factor in (0, 0.5, 2):
    print(f"factor {factor} on the vectors:", told(draw((big + factor * (vectors - big)).expand(8, -1, -1))))

# %% [markdown]
# The map of *blue* hardly matters, not even with factor 0. Without the maps of *cat left of a* the oracle finds no cat
# at all. The mixture works by degrees: without the difference no cat is blue, at half some are, and twice of it gains
# nothing that so few pictures could show. (*Big* stands in the place of *blue*, so sizes may change along.)
#
# ## 10 · Swap
#
# Your own classes in the shipped U-Net. It asks for its transformers by name when it is built, so we give it yours,
# then load the shipped weights.

# %%
from unittest.mock import patch

expected = pipe.txt2img(PROMPT, seed=SEED).images[0]
with patch("sdlearn.attention.SpatialTransformer", SpatialTransformer):
    yours = UNet(pipe.unet.config)
assert sum(type(module) is Attention for module in yours.modules()) == 14
yours.load_state_dict(pipe.unet.state_dict())
shipped, pipe.unet = pipe.unet, yours.eval().to(memory_format=torch.channels_last)
result = pipe.txt2img(PROMPT, seed=SEED).images[0]
difference = np.abs(np.asarray(result).astype(int) - np.asarray(expected)).max()
print(f"largest difference of a pixel: {difference} (tolerance: 1 of 255)")
assert difference <= 1
assert [thing[:2] for thing in read([result])[0].things] == [("cat", "orange"), ("castle", "red")]
viz.strip(
    {"": [expected, result]},
    ["the shipped U-Net", "with your transformers"],
    zoom=1.2,
    alt="Two equal pictures: an orange cat on a red castle.",
)

# %% [markdown]
# ## 11 · Spot the bug
#
# Somebody wrote attention anew. Shapes fit, weights load, no error. One line of `forward` is wrong:


# %%
def another_forward(self, x, context=None):
    context = x if context is None else context
    q, k, v = self._split(self.to_q(x)), self._split(self.to_k(context)), self._split(self.to_v(context))
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, heads, L, S)
    shares = scores.softmax(dim=2)
    caught.append(shares)
    return self.to_out[0]((shares @ v).transpose(1, 2).flatten(2))


caught = []
assert any(type(layer) is Attention for layer in pipe.unet.modules()), (
    "run section 10 first: it puts your classes in"
)
with patch.object(Attention, "forward", another_forward):
    wrong = draw(vectors.expand(12, -1, -1))
both = {"as it should be": dozen["none"], "with the bug": wrong}
for name, pictures in both.items():
    met = sum(verdict(one, (("blue", "cat"), ("red", "ball"))) == "right" for one in read(pictures))
    print(f"{name}: a blue cat and a red ball in {met} of 12")
viz.strip(
    {name: pictures[:5] for name, pictures in both.items()},
    zoom=1,
    alt="Above, five pictures of a blue cat and a red ball. Below, from the same noise, blotched skies, "
    "animals in wrong colours, things in the air; the balls are still red.",
)

# %% [markdown]
# The maps tell more. Same step, same layer, same words, each row on its own scale. First right, then with the bug:

# %%
with torch.no_grad(), patch.object(Attention, "forward", another_forward):
    caught.clear()
    plain(steps[3].x, steps[3].sigma, one)
bad = next(shares for shares in reversed(caught) if shares.shape[-1] == 32)[0].mean(dim=0)  # (64, 32)
good = heard[3][-1][0].mean(dim=0)
some = [0, 1, 2, 3, 8]
viz.attention_by_word([names[k] for k in some], as_map(good)[some], picture)

# %%
viz.attention_by_word([f"{names[k]}, bug" for k in some], as_map(bad)[some], picture)

# %% [markdown]
# **Which line is it, and what do the maps say that gives it away?** Print what you like.

# %%
# your prints

# %% [markdown]
# Think before you scroll.
#
# ...

# %%
for name, weights in {"right": good, "with the bug": bad}.items():
    print(
        f"{name:13s} sum over tokens: {weights.sum(dim=1).min():.2f} to {weights.sum(dim=1).max():.2f}, "
        f"over places: {weights.sum(dim=0).min():.2f} to {weights.sum(dim=0).max():.2f}"
    )

# %% [markdown]
# `softmax(dim=2)` runs over the *places*. Now places compete for a word, where words should compete for a place. Each
# word is used as much as every other, start and padding, too; and a place may get far more than one whole answer, or
# nearly none. In self-attention places compete in the same way for a place that is looked at.
#
# A well-known collection of annotated papers had exactly this in its diffusion U-Net; its author called it "a typo and
# a big bug". The reporter trained with and without and saw *no difference* in quality: a network that is trained with
# the bug learns to live with it. It shows when weights come from elsewhere, as ours. So do not trust a picture.
# Test that rows sum to 1, and compare with SDPA.
#
# ## 12 · Your turn
#
# Replace each `...`, run the cell, read what it says.

# %%
from sdlearn.exercises import check

# %% [markdown]
# **08.1** Two keys. The query's scores are 0 and ln 3, the values `10` and `20`. What does the soft look-up return?

# %%
answer = ...
check("08.1", answer)


# %% [markdown]
# **08.2** Attention in three lines: q is (L, d), k is (S, d), v is (S, d). No SDPA.


# %%
def attend(q, k, v):
    return ...  # (L, d)


check("08.2", attend)

# %% [markdown]
# **08.3** A layer of *self*-attention in Stable Diffusion 1.5: 8 heads, width `320`, 64 × 64 places. How many numbers
# are its shares, for one picture? Give the exact number.

# %%
answer = ...
check("08.3", answer)

# %% [markdown]
# **08.4** You exchange two columns of the shares, and leave the values as they are. What else would have had the same
# effect?
#
# * **A**: only exchanging the two *keys*.
# * **B**: only exchanging the two *values*.
# * **C**: either of the two.
# * **D**: exchanging keys *and* values together.

# %%
answer = ...
check("08.4", answer)


# %% [markdown]
# **08.5** `weights` is (2n, heads, places, tokens): n pictures of the old prompt, then n of the new one. Return what
# keeps the old maps for the new pictures.


# %%
def my_edit(weights):
    return ...


check("08.5", my_edit)

# %% [markdown]
# **08.6** How many parameters has the cross-attention `Attention(320, 8, 768)`?

# %%
answer = ...
check("08.6", answer)

# %% [markdown]
# ## 13 · All of it on one screen
#
# Query, fit, share, mean. The whole transformer as one function of the weights' names, against the long version:


# %%
def on_one_screen(t, x, context, heads, groups):
    """``t``: the state dict of a SpatialTransformer."""

    def linear(name, h):
        weight = t[f"{name}.weight"]
        return F.linear(h, weight.flatten(1), t.get(f"{name}.bias"))

    def attend(name, h, source):
        q, k, v = (
            linear(f"{name}.to_{letter}", o).unflatten(2, (heads, -1)).transpose(1, 2)
            for letter, o in zip("qkv", (h, source, source))
        )
        shares = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1)  # (B, heads, L, S)
        return linear(f"{name}.to_out.0", (shares @ v).transpose(1, 2).flatten(2))

    def norm(k, h):
        return F.layer_norm(h, h.shape[-1:], t[f"{b}.norm{k}.weight"], t[f"{b}.norm{k}.bias"])

    b = "transformer_blocks.0"
    h = F.group_norm(x, groups, t["norm.weight"], t["norm.bias"], eps=1e-6)
    h = linear("proj_in", h.flatten(2).transpose(1, 2))  # (B, places, C)
    h = h + attend(f"{b}.attn1", norm(1, h), norm(1, h))  # look at the picture
    h = h + attend(f"{b}.attn2", norm(2, h), context)  # look at the words
    value, gate = linear(f"{b}.ff.net.0.proj", norm(3, h)).chunk(2, dim=-1)
    h = h + linear(f"{b}.ff.net.2", value * F.gelu(gate))  # think
    return x + linear("proj_out", h).transpose(1, 2).unflatten(2, x.shape[-2:])


transformer = yours.up_blocks[1].attentions[1]
x = torch.randn(1, 96, 8, 8, generator=generator)
with torch.no_grad():
    mine = on_one_screen(transformer.state_dict(), x, one, 4, transformer.norm.num_groups)
    gap = (mine - transformer(x, one)).abs().max()
print(f"differs from the class by at most {gap:.0e}")
assert gap < 1e-4

# %% [markdown]
# A place asks, words answer, and shares sum to 1. A share alone is no effect: the values count, too. In this model
# the cat's colour stood mostly behind its word: the text encoder had carried it on.

# %% [markdown]
# ## Sources
#
# * A. Vaswani et al.: *Attention Is All You Need* (2017), [arXiv:1706.03762](https://arxiv.org/abs/1706.03762).
#   Attention with its root: equation 1; heads: section 3.2.2.
# * R. Rombach et al.: *High-Resolution Image Synthesis with Latent Diffusion Models* (2022),
#   [arXiv:2112.10752](https://arxiv.org/abs/2112.10752). Cross-attention in the U-Net: section 3.3.
# * N. Shazeer: *GLU Variants Improve Transformer* (2020), [arXiv:2002.05202](https://arxiv.org/abs/2002.05202). GEGLU.
# * T. Dao et al.: *FlashAttention* (2022), [arXiv:2205.14135](https://arxiv.org/abs/2205.14135). Attention in blocks.
# * R. Tang et al.: *What the DAAM* (2022), [arXiv:2210.04885](https://arxiv.org/abs/2210.04885). Maps of words: sums
#   over heads, layers and steps.
# * S. Jain and B. C. Wallace: *Attention is not Explanation* (2019), [arXiv:1902.10186](https://arxiv.org/abs/1902.10186).
# * A. Hertz et al.: *Prompt-to-Prompt Image Editing with Cross Attention Control* (2022),
#   [arXiv:2208.01626](https://arxiv.org/abs/2208.01626). Keeping and re-weighting maps.
# * H. Chefer et al.: *Attend-and-Excite* (2023), [arXiv:2301.13826](https://arxiv.org/abs/2301.13826). Things that get
#   lost, and colours on the wrong thing, in Stable Diffusion.
# * E. B. Wilson: *Probable Inference, the Law of Succession, and Statistical Inference* (1927). The interval.
# * labml.ai, annotated papers, issue
#   [146](https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146). The bug of section 11,
#   and training with it.
