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
# # Noise prediction
#
# Chapter 01 drowned a picture in noise. In this chapter a network learns to say which part of a noisy picture is
# noise. You build it from a single filter up to a U-Net, train it while you watch, and then let it dream.
#
# | | |
# |---|---|
# | **You will build** | `blocks.py` and `unet.py`: the clock, the residual block, the U-Net; and its training |
# | **You need** | chapter 01 (ᾱ and the closed form); what a convolution and a gradient step are |
# | **Your time** | {reading} minutes of reading; {seconds} seconds of computing on {cores} CPU cores |
# | **Memory** | {megabytes} MB, no graphics card, no network connection |

# %% [markdown]
# ## 1 · Where is it hardest?
#
# Our world is small here: pictures of one cat or one dog, 32 pixels wide. No text, no latents. The network works
# on the pixels themselves, like the models with which such pictures first became good (Ho et al. 2020).

# %%
import torch

import sdlearn
from sdlearn import viz
from sdlearn.checkpoint import load_pixel_model
from sdlearn.exercises import check
from sdlearn.image import to_images
from sdlearn.scenes.cats_and_dogs import cats_and_dogs

PROMPT, SEED = "an orange cat standing on a red castle", 7


def as_tensor(images):
    """uint8 (n, 32, 32, 3) -> (n, 3, 32, 32) in -1 … 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


images, animals = cats_and_dogs(600, seed=2)  # for learning
pictures = as_tensor(images)
unseen_images, unseen_animals = cats_and_dogs(100, seed=1)  # never for learning
unseen = as_tensor(unseen_images)
viz.strip(
    {"": to_images(pictures[:10])},
    zoom=2.8,
    alt="Ten small drawings, each of one cat or one dog by day, in different colours.",
)

# %% [markdown]
# A finished network comes with the course: what you are about to build, trained for longer. It is given a noisy
# picture and the timestep t, and answers with the noise. We take three timesteps of chapter 01's linear schedule:

# %%
finished, schedule = load_pixel_model("cats_and_dogs")
alpha_bar = schedule.alpha_bar.float()  # (1000,)
generator = torch.Generator().manual_seed(0)


def mix(x0, t, noise):
    """Noisy pictures by the closed form of chapter 01; t is (B,), one timestep a picture."""
    kept = alpha_bar[t].reshape(-1, 1, 1, 1)  # (B,) -> (B, 1, 1, 1)
    return kept.sqrt() * x0 + (1 - kept).sqrt() * noise


def at(t, x0):
    """The same timestep for each picture: (B,)."""
    return torch.full((len(x0),), t)


test_noise = torch.randn(unseen.shape, generator=generator)
options = {"A": 10, "B": 300, "C": 999}
viz.strip(
    {"": [to_images(mix(unseen[:1], at(t, unseen[:1]), test_noise[:1]))[0] for t in options.values()]},
    [f"{name}: t = {t}" for name, t in options.items()],
    zoom=4,
    alt="One picture with hardly any noise, with so much that little more than its colours is left, and as pure noise.",
)

# %% [markdown]
# **At which of them is its answer the worst?**
#
# * **A**: where there is hardly any noise.
# * **B**: half-way, where picture and noise are mixed.
# * **C**: where there is nothing but noise.
#
# The noise has variance 1, whatever t is, and the answer is compared with it pixel by pixel: the mean of the
# squared differences. Who answers 0 everywhere has an error of about 1. Write down your guess, then run the cell.

# %%
guess = "C"


@torch.no_grad()
def error_at(network, t):
    """The mean squared error of a network's answers on unseen pictures, all at one timestep."""
    return float(
        (network(mix(unseen, at(t, unseen), test_noise), at(t, unseen)) - test_noise).square().mean()
    )


for name, t in options.items():
    mark = "  <- your guess" if name == guess else ""
    print(f"{name}: t = {t:3d}   error of the noise {error_at(finished, t):.4f}{mark}")

# %% [markdown]
# It is A, and by far. At C the task is trivial: everything is noise, so the answer is the input. At A the noise is a
# whisper behind a loud picture. Who wants to hear it must know the *picture* to the last hair.
#
# Keep this in mind: to predict the noise well is to know what pictures look like. That is why such a strange
# task makes a network that can draw.

# %% [markdown]
# ## 2 · Training in four steps
#
# 1. Take some pictures.
# 2. For each, draw a timestep and some noise, and mix them.
# 3. Show the noisy pictures and the timesteps to the network, which answers with a guess of the noise.
# 4. Compare the guess with the noise, and change the network so that it errs a little less.
#
# We made the noise ourselves, so we know the right answer, and nobody has to label anything. (Why not ask for the
# picture? One can. Exercise 02.3 shows that the two answers hold the same.) As a formula
# (Ho et al. 2020, eq. 14):
#
# $$L = \mathbb{E}\,\big\| \varepsilon - \varepsilon_\theta(x_t, t) \big\|^2 , \qquad
# x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon$$
#
# with the picture $x_0$, the noise ε, and the network $\varepsilon_\theta$. And as a program, nearly line by line
# their algorithm 1:

# %%
BATCH = 32


def train(network, steps, learning_rate=3e-3, seed=0):
    """Change the network, in place; returns the loss of each step (Ho et al. 2020, algorithm 1, eq. 14)."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters())
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)  # up, then down
    losses = []
    for step in range(steps):
        x0 = pictures[torch.randint(len(pictures), (BATCH,), generator=generator)]  # 1. (B, 3, 32, 32)
        t = torch.randint(len(alpha_bar), (BATCH,), generator=generator)  # 2. (B,)
        noise = torch.randn(x0.shape, generator=generator)
        guess = network(mix(x0, t, noise), t)  # 3.
        loss = (guess - noise).square().mean()  # 4.
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pace.step()
        losses.append(loss.item())
        if (step + 1) % (steps // 2) == 0:
            print(f"step {step + 1}: mean loss of the last 20 {sum(losses[-20:]) / 20:.3f}")
    return losses


# %% [markdown]
# What is a good loss? Two answers that need no network give us a scale: "there is no noise", and "all of it is
# noise". For this, and for everything that follows, we use one fixed test: unseen pictures, each with a timestep of
# its own.

# %%
test_t = torch.randint(len(alpha_bar), (len(unseen),), generator=generator)
test_noisy = mix(unseen, test_t, test_noise)


@torch.no_grad()
def unseen_error(network):
    """The loss on the fixed test."""
    return float((network(test_noisy, test_t) - test_noise).square().mean())


print(f"no noise at all: {unseen_error(lambda x, t: torch.zeros_like(x)):.3f}")
print(f"all of it noise: {unseen_error(lambda x, t: x):.3f}")
print(f"the finished network: {unseen_error(finished):.3f}")

# %% [markdown]
# ## 3 · The smallest networks
#
# The smallest network that looks at pictures is one convolution: for each colour of the answer one filter, which
# looks at 3 x 3 places of all three colours. It has no use for t.


# %%
class OneConvolution(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, t):
        return self.conv(x)


torch.manual_seed(0)
one = OneConvolution()
train(one, 200, learning_rate=0.03)
print(f"{sum(p.numel() for p in one.parameters())} numbers to learn; test error {unseen_error(one):.3f}")

# %% [markdown]
# To *see* the flaw, we take the guessed noise out again. Solve the closed form for the picture (Ho et al. 2020,
# eq. 15), and you get the picture that the network *believes* in, as chapter 00 called it:
#
# $$\hat x_0 = \frac{x_t - \sqrt{1-\bar\alpha_t}\;\varepsilon_\theta}{\sqrt{\bar\alpha_t}}$$


# %%
def belief(x, guess, kept):
    """The picture that is left without the guessed noise (Ho et al. 2020, eq. 15); kept is ᾱ at the timestep."""
    return (x - (1 - kept).sqrt() * guess) / kept.sqrt()


@torch.no_grad()
def beliefs(networks, shown=(50, 150, 300), k=1):
    """Rows for a strip: one unseen picture at some timesteps, and what each network believes."""
    x0, noise = unseen[k : k + 1], test_noise[k : k + 1]
    noisy = {t: mix(x0, at(t, x0), noise) for t in shown}
    rows = {"noisy": [to_images(x)[0] for x in noisy.values()]}
    for name, network in networks.items():
        rows[name] = [to_images(belief(x, network(x, at(t, x)), alpha_bar[t]))[0] for t, x in noisy.items()]
    return rows, [f"t = {t}" for t in shown]


viz.strip(
    *beliefs({"belief of one convolution": one, "belief of the finished network": finished}),
    zoom=3.5,
    alt="One picture at three noise levels. The belief of one convolution is grey and blotched, the more the noisier; "
    "the finished network's is clean at each of them.",
)

# %% [markdown]
# One filter cannot tell an ear from a speck. It knows the pixel and its neighbours. And it does the same at each
# noise level: too little here, too much there.
#
# ### Does it need to know the time?
#
# Let us first mend the second flaw. How do we tell a network the timestep? As a number, t / 1000, beside all the
# others? Then 10 and 20 are nearly the same to it, although the noise of one is far from that of the other. We
# want something that is fine *and* coarse.
#
# Clocks have solved this: a fast hand for the seconds, slow ones for minutes and hours. From all hands together one
# can read any moment. A hand is a cosine and a sine (Vaswani et al. 2017, section 3.5). (As in chapter 01, a cell
# that begins with `# ->` holds code of the package, word for word.)

# %%
# -> sdlearn/blocks.py
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def timestep_embedding(timesteps: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """Clock hands of different speeds: (B,) timesteps -> (B, width), cosines first, then sines.

    The frequencies fall from 1 to almost 1 / max_period (Vaswani et al. 2017, section 3.5; with the order
    [cos, sin] of Stable Diffusion's code). ``width`` must be even.
    """
    if width % 2:
        raise ValueError(f"timestep_embedding: width must be even, got {width}.")
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    frequencies = torch.exp(-math.log(max_period) * exponents)  # (half,)
    angles = timesteps[:, None].float() * frequencies[None, :]  # (B, half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)  # (B, width)


class TimestepEmbedding(nn.Module):
    """Two linear layers that let the network make of the clock hands what it needs: (B, width) -> (B, out)."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.linear_1 = nn.Linear(width, out)
        self.linear_2 = nn.Linear(out, out)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(embedding)))


# %%
moments = [0, 10, 20, 500, 999]
hands = timestep_embedding(torch.tensor(moments), 32)  # (5, 32): sixteen hands
print(
    f"t / 1000: 10 and 20 are {(20 - 10) / 1000:.2f} apart; clock hands: {(hands[2] - hands[1]).norm():.2f}"
)
viz.clock_hands(hands, moments, hands=[0, 2, 4, 6, 8, 10, 12])

# %% [markdown]
# Compare the rows of 10 and 20: the fast hands on the left are far apart. Now 20 and 999: the fast hands say little,
# but the slow ones on the right have moved. Two linear layers (`TimestepEmbedding`) make of the hands what a network
# needs.
#
# Now the experiment. Two convolutions, once without and once with the clock. Between them stands SiLU, a soft switch:
# it lets large numbers pass and holds small ones back. What the clock says is *added* just before the switch, one
# number per channel. So it can open one channel and shut another.


# %%
class TwoConvolutions(nn.Module):
    def __init__(self, hears_time, channels=24):
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        self.clock = TimestepEmbedding(32, channels) if hears_time else None
        self.conv_out = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x, t):
        h = self.conv_in(x)  # (B, channels, 32, 32)
        if self.clock is not None:
            h = h + self.clock(timestep_embedding(t, 32))[:, :, None, None]  # (B, channels, 1, 1)
        return self.conv_out(F.silu(h))


torch.manual_seed(0)
deaf, hearing = TwoConvolutions(hears_time=False), TwoConvolutions(hears_time=True)
for name, network in {"without the clock": deaf, "with the clock": hearing}.items():
    train(network, 300, learning_rate=0.02)
    print(f"{name}: test error {unseen_error(network):.3f}")

# %%
moments = [3, 10, 30, 100, 300, 999]
viz.error_by_timestep(
    {
        "error of the noise": {
            "one convolution": [error_at(one, t) for t in moments],
            "two, without the clock": [error_at(deaf, t) for t in moments],
            "two, with the clock": [error_at(hearing, t) for t in moments],
        }
    },
    moments,
)

# %% [markdown]
# Without the clock a network must find one compromise for all noise levels. It happens to fit where the two curves
# meet. With the clock, one and the same network can act differently at each level, and gains on both sides. (At the
# smallest t both are too small to be of use.) Larger networks can guess the noise level from the picture, and then
# the clock gains less. We will use it all the same, as everybody does.

# %% [markdown]
# ## 4 · A way around
#
# Two convolutions are not enough to know what a cat is. Stack ten, then? Here is what a fresh stack, with random
# weights, does to its input, and what becomes of it if each layer has a *way around*: it does not replace what it
# was given, it adds to it (He et al. 2015).


# %%
def resemblance(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


torch.manual_seed(0)
layers = [nn.Sequential(nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 32, 3, padding=1)) for _ in range(10)]
with torch.no_grad():
    first = nn.Conv2d(3, 32, 3, padding=1)(unseen[:8])  # (8, 32, 32, 32)
    plain = around = first
    for layer in layers:
        plain, around = layer(plain), around + layer(around)
print(f"after ten layers: resemblance with the input {resemblance(first, plain):5.2f}")
print(f"each with a way around it:                   {resemblance(first, around):5.2f}")

# %% [markdown]
# The plain stack has forgotten its input before it has learnt anything. With ways around, a part of it is still there
# after ten random layers, and learning means to add what is missing. This is the **residual block**. Here it is with
# the clock between its two convolutions, and with a group normalisation before each, which keeps the numbers at one
# size (Wu and He 2018):

# %%
# -> sdlearn/blocks.py


class ResnetBlock(nn.Module):
    """Two convolutions with a way around them: (B, C_in, H, W) -> (B, C_out, H, W) (He et al. 2015).

    In the U-Net the time embedding is added between the two, one number per channel, so the same weights
    can act differently on a noisy and on an almost clean latent. The autoencoder passes no time.
    """

    def __init__(self, in_channels: int, out_channels: int, time_width: int | None, groups: int, eps: float):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        if time_width is not None:
            self.time_emb_proj = nn.Linear(time_width, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        if time is not None:
            h = h + self.time_emb_proj(time)[:, :, None, None]  # (B, C) -> (B, C, 1, 1)
        h = self.conv2(F.silu(self.norm2(h)))
        around = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return around + h


# %% [markdown]
# ## 5 · The U-Net
#
# Ten layers of 3 x 3 see ten pixels far. A cat is larger. So we shrink the picture: after one halving a filter sees
# twice as far, and costs a quarter. For the way back there is an enlargement.

# %%
# -> sdlearn/blocks.py


class Downsample(nn.Module):
    """Half the height and width by a convolution of stride 2.

    The U-Net pads all four sides by one pixel. The autoencoder's encoder pads only right and bottom
    (``symmetric=False``): the same shape, other numbers, and a picture shifted by 8 pixels if confused.
    """

    def __init__(self, channels: int, symmetric: bool = True):
        super().__init__()
        self.symmetric = symmetric
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1 if symmetric else 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self.symmetric else F.pad(x, (0, 1, 0, 1)))  # left, right, top, bottom


class Upsample(nn.Module):
    """Double height and width: repeat each pixel, then smooth by a convolution.

    A side of 9 was halved to 5, and twice 5 is 10. So the U-Net says which ``size`` (height, width) it needs.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        height, width = x.shape[-2:]
        return self.conv(F.interpolate(x, size=size or (2 * height, 2 * width), mode="nearest"))


# %% [markdown]
# But halving has a price. What is lost at 8 x 8 does not come back by enlarging:

# %%
small = F.avg_pool2d(unseen[:6], 4)  # (6, 3, 8, 8)
viz.strip(
    {
        "before": to_images(unseen[:6]),
        "halved twice, doubled twice": to_images(F.interpolate(small, size=32)),
    },
    zoom=3,
    alt="Six animals; below, the same ones as coarse mosaics of eight by eight squares, without eyes or edges.",
)

# %% [markdown]
# We need both: far sight *and* the last pixel. The trick is in the name (Ronneberger et al. 2015):
#
# ```
#  noisy picture ─► 32 x 32 ──────────── skip ───────────► 32 x 32 ─► noise
#                        └► 16 x 16 ──── skip ──► 16 x 16 ─┘
#                                └► 8 x 8 ─► 8 x 8 ─┘
#                            clock: to every block
# ```
#
# Down the left side the picture shrinks, up the right side it grows. And each result of the left is handed across, by
# a *skip connection*, so that the right side never has to remember details.
#
# Two helpers and the bottom first. `transformers` is a hole that we leave open: there chapter 08 puts the parts that
# listen to a text. Our networks of this chapter have none.

# %%
# -> sdlearn/unet.py
from sdlearn.config import UNetConfig


def transformers(count: int, level: int, config: UNetConfig) -> nn.ModuleList:
    """``count`` transformers for a level: with them the places of the latent look at each other and at the text.

    Chapter 08 builds them. A U-Net without text has none, and needs nothing of this.
    """
    from sdlearn.attention import SpatialTransformer

    channels, heads = config.block_out_channels[level], config.num_heads[level]
    return nn.ModuleList(SpatialTransformer(channels, heads, config) for _ in range(count))


def time_resnet(in_channels: int, out_channels: int, config: UNetConfig) -> ResnetBlock:
    """A residual block that hears the time, as wide as the U-Net's time embedding."""
    time_width = 4 * config.block_out_channels[0]
    return ResnetBlock(in_channels, out_channels, time_width, config.norm_num_groups, config.norm_eps)


class MidBlock(nn.Module):
    """The bottom of the U: residual block, transformer (where there is text), residual block."""

    def __init__(self, config: UNetConfig):
        super().__init__()
        channels = config.block_out_channels[-1]
        self.resnets = nn.ModuleList(time_resnet(channels, channels, config) for _ in range(2))
        last = len(config.block_out_channels) - 1
        self.attentions = transformers(1, last, config) if config.mid_attention else None

    def forward(self, h: Tensor, time: Tensor, context: Tensor | None) -> Tensor:
        h = self.resnets[0](h, time)
        if self.attentions is not None:
            h = self.attentions[0](h, context)
        return self.resnets[1](h, time)


# %% [markdown]
# The bottom only works. A level of the left side works, *keeps* each result, and halves.


# %%
# -> sdlearn/unet.py
class DownBlock(nn.Module):
    """One level of the left side: residual blocks (each with its transformer), then half the size."""

    def __init__(self, in_channels: int, level: int, config: UNetConfig):
        super().__init__()
        channels, layers = config.block_out_channels[level], config.layers_per_block
        self.resnets = nn.ModuleList(
            time_resnet(channels if j else in_channels, channels, config) for j in range(layers)
        )
        self.attentions = transformers(layers, level, config) if config.attention_levels[level] else None
        last = level == len(config.block_out_channels) - 1
        self.downsamplers = None if last else nn.ModuleList([Downsample(channels)])

    def forward(self, h: Tensor, time: Tensor, context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for j, resnet in enumerate(self.resnets):
            h = resnet(h, time)
            if self.attentions is not None:
                h = self.attentions[j](h, context)
            skips.append(h)
        if self.downsamplers is not None:
            h = self.downsamplers[0](h)
            skips.append(h)
        return h, skips


# %% [markdown]
# A level of the right side takes the kept results back, the newest first, and lays each beside its own channels:
# `torch.cat`. So its blocks have wide inputs.


# %%
# -> sdlearn/unet.py
class UpBlock(nn.Module):
    """One level of the right side: each residual block also receives a skip from the left side."""

    def __init__(self, in_channels: int, level: int, config: UNetConfig):
        super().__init__()
        channels, layers = config.block_out_channels[level], config.layers_per_block + 1
        # The last skip of a level comes from the level above it (or from conv_in at the very top).
        above = config.block_out_channels[max(level - 1, 0)]
        self.resnets = nn.ModuleList(
            time_resnet(
                (channels if j else in_channels) + (channels if j < layers - 1 else above), channels, config
            )
            for j in range(layers)
        )
        self.attentions = transformers(layers, level, config) if config.attention_levels[level] else None
        self.upsamplers = nn.ModuleList([Upsample(channels)]) if level > 0 else None

    def forward(
        self,
        h: Tensor,
        skips: list[Tensor],
        time: Tensor,
        context: Tensor | None,
        size: tuple[int, int] | None,
    ) -> Tensor:
        for j, resnet in enumerate(self.resnets):
            h = resnet(torch.cat([h, skips[-1 - j]], dim=1), time)
            if self.attentions is not None:
                h = self.attentions[j](h, context)
        return h if self.upsamplers is None else self.upsamplers[0](h, size)


# %% [markdown]
# And the whole. `forward` reads like the drawing: clock, down, bottom, up.


# %%
# -> sdlearn/unet.py
class UNet(nn.Module):
    """(B, C, H, W) noisy latents, (B,) timesteps, (B, S, D) text vectors -> (B, C_out, H, W) prediction.

    Without text (no level has attention) it needs no ``context``. Any size will do: an odd side is rounded up on its
    way down, and cut to its skip's size on the way up. Whether it predicts the noise or v, only its weights know.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        channels = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(channels[0], 4 * channels[0])
        self.down_blocks = nn.ModuleList(
            DownBlock(channels[max(level - 1, 0)], level, config) for level in range(len(channels))
        )
        self.mid_block = MidBlock(config)
        self.up_blocks = nn.ModuleList(
            UpBlock(channels[min(level + 1, len(channels) - 1)], level, config)
            for level in reversed(range(len(channels)))
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[0], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(channels[0], config.out_channels, 3, padding=1)

    def forward(self, sample: Tensor, timesteps: Tensor, context: Tensor | None = None) -> Tensor:
        time = timestep_embedding(timesteps, self.config.block_out_channels[0]).to(sample.dtype)
        time = F.silu(self.time_embedding(time))  # (B, 4 * C_0)
        h = self.conv_in(sample)
        skips = [h]
        for block in self.down_blocks:
            h, new = block(h, time, context)
            skips = skips + new
        h = self.mid_block(h, time, context)
        for block in self.up_blocks:
            count = len(block.resnets)
            here, skips = skips[-count:], skips[:-count]
            size = skips[-1].shape[-2:] if skips else None  # of the level above
            h = block(h, here, time, context, size)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


# %% [markdown]
# We make a small one, and watch the shapes on their way down and up.

# %%
CONFIG = UNetConfig(
    in_channels=3,
    out_channels=3,
    sample_size=32,
    block_out_channels=(16, 32, 64),  # three levels
    layers_per_block=1,
    attention_levels=(False, False, False),
    mid_attention=False,
    norm_num_groups=8,
)


def new_unet(seed=0):
    torch.manual_seed(seed)
    return UNet(CONFIG)


live = new_unet()
print(f"{sum(p.numel() for p in live.parameters()):,d} numbers to learn")
with torch.no_grad():
    h, time = live.conv_in(unseen[:1]), live.time_embedding(timestep_embedding(torch.tensor([500]), 16))
    skips = [h]
    for block in live.down_blocks:
        h, new = block(h, time, None)
        skips = skips + new
for number, skip in enumerate(skips, start=1):
    print(f"skip {number}: {skip.shape[1]} channels of {skip.shape[2]} x {skip.shape[3]}")

# %% [markdown]
# Do the skips matter? We train two copies for a short while: one as it is, and one whose right side gets zeros where
# the skips should be. All else is equal: weights at the start, pictures, noise.


# %%
def forget(block, inputs):
    """Replaces the skips by zeros just before an UpBlock is run."""
    h, skips, *rest = inputs
    return h, [torch.zeros_like(skip) for skip in skips], *rest


without_skips = new_unet()
for block in without_skips.up_blocks:
    block.register_forward_pre_hook(forget)

print("without skips")
losses_without = train(without_skips, 45)
print("with skips")
losses_with = train(live, 45)
print(f"test error without {unseen_error(without_skips):.3f}, with {unseen_error(live):.3f}")

# %%
viz.loss_curves({"without skips": losses_without, "with skips": losses_with}, window=10)

# %%
viz.strip(
    *beliefs({"without skips": without_skips, "with skips": live}),
    zoom=3.5,
    alt="What both believe after the same short training. Without skips it is the noisy picture, unchanged. "
    "With skips it is smoother and paler.",
)

# %% [markdown]
# Without skips it has not even begun: its loss is that of the answer 0. (At t = 50 its belief looks better: it is the
# noisy picture, from which nothing was taken, neither noise nor picture.) The bottom has room enough for all numbers of
# a picture. But noise is *all* detail, and the network would first have to learn to pack every speck of it into the
# bottom and to unpack it again. The skips hand it over for nothing.

# %% [markdown]
# ## 6 · The live run
#
# Now the one with skips goes on learning. This is the longest cell of the chapter, up to a minute.

# %%
losses_live = losses_with + train(live, 150, seed=1)
print(f"test error {unseen_error(live):.3f}; the finished network: {unseen_error(finished):.3f}")
viz.loss_curves({"the live run": losses_live}, window=30)

# %% [markdown]
# Remember this curve when you train something of your own: it falls steeply, then slowly, and it *keeps
# jumping*. A batch with small timesteps is simply harder. So single steps say nothing; only a mean over many does. And
# whether the pictures get better, it does not say at all. One has to look at them.
#
# ## 7 · What do they see?
#
# The finished network has the same parts, twice as many channels (so about four times the numbers), and more
# training. Here is its answer beside the truth: the same picture with the same noise at five timesteps, one of the
# three colours.

# %%
moments = [3, 30, 150, 500, 999]
with torch.no_grad():
    x0, noise = unseen[:1].expand(5, -1, -1, -1), test_noise[:1].expand(5, -1, -1, -1)  # (5, 3, 32, 32)
    answers = finished(mix(x0, torch.tensor(moments), noise), torch.tensor(moments))
viz.noise_and_guess(noise[:, 0], answers[:, 0], moments)

# %% [markdown]
# Look at the lowest row on the left. The difference is not just specks: one can make out where the animal is, its face
# and its edges. What the network did not know of the picture, it took for noise. That is the answer of section 1 as a
# picture. Further right there is nothing left to see.
#
# Is it *good* at t = 999, then? That depends on what you ask. Let us measure the error of the noise, and the error of
# the belief, at the same timesteps.


# %%
@torch.no_grad()
def errors_at(network, t):
    """The mean squared errors of the noise, and of the believed picture, cut to the range that pixels have."""
    x = mix(unseen, at(t, unseen), test_noise)
    guess = network(x, at(t, unseen))
    found = belief(x, guess, alpha_bar[t]).clamp(-1, 1)
    return [float((guess - test_noise).square().mean()), float((found - unseen).square().mean())]


moments = [3, 10, 30, 100, 300, 999]
both = {"the live run": live, "the finished one": finished}
errors = {name: torch.tensor([errors_at(network, t) for t in moments]).T for name, network in both.items()}
viz.error_by_timestep(
    {
        "error of the noise": {name: pair[0].tolist() for name, pair in errors.items()},
        "error of the believed picture": {name: pair[1].tolist() for name, pair in errors.items()},
    },
    moments,
)

# %% [markdown]
# The two run against each other. With much noise the noise is easy to name and the picture is a riddle. With little
# noise it is the other way round. (By the formula for the belief, one error is the other times σ² = (1 − ᾱ) / ᾱ, as
# long as nothing is cut.) "Which t is hardest?" was a trick question: hard for whom?

# %% [markdown]
# ## 8 · Dreams
#
# Now the other direction. We begin with noise alone and *tell* the network that it is a noisy picture. In each step we
# ask for the noise, take it out, and have a belief. At first it is poor. So we do not trust it: we mix it again, with
# the noise we found, to a slightly *smaller* timestep.
#
# Take this loop as given. Chapter 03 builds it, and better ones (Song et al. 2021).


# %%
@torch.no_grad()
def dream(network, noise, steps=24):
    """All states from noise to picture, and the belief at each: lists of (B, 3, 32, 32). See chapter 03."""
    times = torch.linspace(len(alpha_bar) - 1, 0, steps).round().long()
    levels = [*alpha_bar[times], torch.tensor(1.0)]  # at the end all of the variance is picture
    states, seen = [noise], []
    for t, kept, kept_next in zip(times, levels, levels[1:]):
        x = states[-1]
        x0 = belief(x, network(x, at(t, x)), kept).clamp(-1, 1)  # no pixel is whiter than white
        found = (x - kept.sqrt() * x0) / (1 - kept).sqrt()
        states.append(kept_next.sqrt() * x0 + (1 - kept_next).sqrt() * found)
        seen.append(x0)
    return states, seen


start = torch.randn(64, 3, 32, 32, generator=generator)
from_live = dream(live, start[:10])[0][-1]
states, seen = dream(finished, start)
dreams = states[-1]
viz.strip(
    {"the live run": to_images(from_live), "the finished one, same noise": to_images(dreams[:10])},
    zoom=2.8,
    alt="Ten dreams each. The live run's are blotches, darker in the middle. The finished network's are "
    "cats and dogs, often in the same colour as the blotch above.",
)

# %% [markdown]
# A minute of training gives what a minute can give: something green below, something blue above, and a blotch where
# an animal would be. The finished one shows where it leads. The same noise has often become the same colour in both.
# Why? Perhaps a noise has a faint tint of its own. We compare the mean colours of the noises with those of the
# dreams, and watch one of them grow.

# %%
tint_of_noise, tint_of_dream = start.mean(dim=(2, 3)), dreams.mean(dim=(2, 3))  # (64, 3) each
print(f"resemblance of the mean colours: {resemblance(tint_of_noise, tint_of_dream):.2f}")
shown = [0, 5, 9, 14, 18, 23]
viz.strip(
    {
        "the state": [to_images(states[k][:1])[0] for k in shown],
        "the belief": [to_images(seen[k][:1])[0] for k in shown],
    },
    [f"step {k + 1}" for k in shown],
    zoom=3.5,
    alt="The first dream as a film. The state: noise that slowly clears. The belief: first gaudy specks or a ghost, "
    "then an animal, long before the state shows one.",
)

# %% [markdown]
# A tint that no eye can see in the noise goes a long way towards deciding the colour. The noise knows of no animal. But
# the loop always makes the same of the same noise, and it carries the tint along.
#
# The first beliefs are worth little: there σ is so large that a small error of the noise becomes a large one of the
# picture, which ends at the limits of white and black. Then comes a ghost, the *mean* of all animals that would still
# fit, since the mean makes the squared error smallest. Then it makes up its mind. Only now does the state follow.

# %% [markdown]
# ### "A cat, please"
#
# **Guess:** you want a cat. What can you do? Look at what the network is given: a noisy picture and t. There is
# no place for a wish. `UNet` has a third input, the text; let us say it there, with chapter 00's text encoder.

# %%
pipe = sdlearn.StableDiffusion.from_pretrained("scenes")  # of chapter 00
wishes = pipe.encode_prompt(["a cat", "a dog"])  # (2, tokens, width)
with torch.no_grad():
    t = at(500, start[:1])
    answers = [finished(start[:1], t, wish[None]) for wish in wishes]
print("a cat, a dog: the very same answer:", torch.equal(*answers))

# %% [markdown]
# It has no part that could listen. So we get what the noise brings. How many cats is that? A judge, as simple as
# can be: it looks for the nearest of our training pictures, pixel by pixel, and says what that one is.
# What is further away than every unseen true picture is, it calls neither. That rejects specks, not blur: whether a
# dream is an animal at all, your eyes say better; the judge only says which. Does it know cats? First the true
# pictures:

# %%
distances = torch.cdist(unseen.flatten(1), pictures.flatten(1))  # (100, 600)
is_dog, limit = torch.from_numpy(animals), distances.amin(dim=1).max()
right = is_dog[distances.argmin(dim=1)] == torch.from_numpy(unseen_animals)
print(f"the judge is right about {100 * right.float().mean():.1f} % of {len(unseen)} unseen pictures")

to_dreams = torch.cdist(dreams.flatten(1), pictures.flatten(1))  # (64, 600)
near, nearest = to_dreams.min(dim=1)
verdicts = ["neither" if d > limit else ("cat", "dog")[k] for d, k in zip(near, is_dog[nearest])]
print(
    f"{len(dreams)} dreams:",
    ", ".join(f"{verdicts.count(kind)} {kind}" for kind in ("cat", "dog", "neither")),
)
viz.strip(
    {
        "dreams": to_images(dreams[:12]),
        "the nearest training picture of each": to_images(pictures[nearest[:12]]),
    },
    verdicts[:12],
    zoom=2.2,
    alt="Twelve dreams and under each the most similar training picture. Where the dream is an animal they agree "
    "in animal and colour, but not in every pixel.",
)

# %% [markdown]
# A lottery. The training pictures were half cats and half dogs, and the dreams inherit that, more or less. (Are they
# copies? The judge knows only a part of what the finished network has learnt from, so it cannot tell.) Nobody can
# choose. To be told what to draw, a network must *hear* it, at every step: in chapter 08 text joins the two
# things that this one is given.
#
# What can be kept is a ticket that has won. The loop uses no chance, so the same noise gives the same animal:

# %%
again = dream(finished, start[:8])[0][-1]
print(f"largest difference of a pixel: {(again - dreams[:8]).abs().max():.1e}")

# %% [markdown]
# ### Play
#
# And what lies *between* two tickets? Blend two noises. (With a cosine and a sine as weights, whose squares add up to
# 1, the blend has variance 1 again: else the network would not take it for noise.) Change the two numbers and look for
# a cat that becomes a dog.

# %%
left, right = 0, 1
angles = torch.linspace(0, math.pi / 2, 9).reshape(-1, 1, 1, 1)  # (9, 1, 1, 1)
between = dream(finished, angles.cos() * start[left] + angles.sin() * start[right])[0][-1]
viz.strip(
    {f"from dream {left} to dream {right}": to_images(between)},
    zoom=3,
    alt="Nine dreams in a row: the first and the last are two of those above. Between them they change in jumps.",
)

# %% [markdown]
# ## 9 · Your U-Net in Stable Diffusion
#
# The U-Net of chapter 00 is this one. Only its config differs: four channels in and out, and transformers at some
# levels. So we build it with *your* classes, fill it with the shipped weights, and draw.

# %%
expected = pipe.txt2img(PROMPT, seed=SEED).images[0]
yours = UNet(pipe.unet.config)
print(yours.load_state_dict(pipe.unet.state_dict()))
pipe.unet = yours.eval().to(memory_format=torch.channels_last)  # the order of numbers that pipe uses
picture = pipe.txt2img(PROMPT, seed=SEED).images[0]
print("the same picture, byte by byte:", picture.tobytes() == expected.tobytes())
viz.strip(
    {"": [expected, picture]},
    ["before", "with your U-Net"],
    zoom=1,
    alt="Two equal pictures: a cat on a castle.",
)

# %% [markdown]
# The same network again and again, at every step of every picture: it only reads another clock.

# %% [markdown]
# ## 10 · Spot the bug
#
# Somebody has written the parts of the U-Net anew. All weights load without complaint, shapes are right, no error.
# But the dreams look like this:


# %%
def another_embedding(timesteps, width, max_period=10_000.0):
    half = width // 2
    frequencies = torch.exp(-math.log(max_period) * torch.arange(half) / half)
    angles = timesteps[:, None].float() * frequencies[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class AnotherUNet(UNet):
    def forward(self, sample, timesteps, context=None):
        time = F.silu(self.time_embedding(another_embedding(timesteps, self.config.block_out_channels[0])))
        h = self.conv_in(sample)
        skips = [h]
        for block in self.down_blocks:
            h, new = block(h, time, context)
            skips = skips + new
        h = self.mid_block(h, time, context)
        for block in self.up_blocks:
            count = len(block.resnets)
            here, skips = skips[-count:], skips[:-count]
            h = block(h, here, time, context, skips[-1].shape[-2:] if skips else None)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


another = AnotherUNet(finished.config)
another.load_state_dict(finished.state_dict())
print(
    f"test error {unseen_error(another):.3f}, of the same weights in your U-Net {unseen_error(finished):.3f}"
)
wrong = dream(another, start[:10])[0][-1]
viz.strip(
    {"as it should be": to_images(dreams[:10]), "with the bug": to_images(wrong)},
    zoom=2.8,
    alt="Above, the dreams from before. Below, from the same noise and the same weights, the same animals, but all of "
    "them in one dull green.",
)

# %% [markdown]
# **Find it before you read on.** A hint: which line, changed back, makes the errors equal? Which part of a network can
# be wrong in such a way that everything still fits?
#
# ---
#
# Sine and cosine have changed places. Both orders are fine *for training*: the code of Ho et al. puts all sines
# first, Stable Diffusion's all cosines, and Vaswani et al. let them alternate. But weights remember the order they
# were trained with. With the hands swapped, each hand is mirrored, and the clock shows a time that does not exist.
# This has happened in several well-known projects. Here the shapes survive and the colours are lost; a video model
# kept its sharp details and lost its composition (the sources link to both cases). So do not look for a symptom. The
# test that finds it is the one of section 9: the same numbers as a trusted program, not only the same shapes.

# %% [markdown]
# ## 11 · Exercises
#
# `check` says whether an answer is right, and if not, which idea it looks like.
#
# **02.1** A network answers with *random noise of its own*, of variance 1, whatever it is shown. What is its loss, on
# average? (Section 2 has measured the answer 0.)

# %%
answer = ...
check("02.1", answer)

# %% [markdown]
# **02.2** In `mix` somebody forgets `.reshape(-1, 1, 1, 1)`. The batch has 32 pictures, and they are 32 pixels wide.
# What happens?
#
# * **A**: an error message about shapes.
# * **B**: nothing; PyTorch finds the batch axis by itself.
# * **C**: all pictures get one noise level.
# * **D**: each column of pixels gets a noise level of its own.

# %%
answer = ...
check("02.2", answer)

# %% [markdown]
# **02.3** There are networks that answer with the *picture* instead of the noise. Write what turns such an answer into
# a noise: `x` is the noisy picture, `x0` the answered one, `kept` is ᾱ (a tensor).


# %%
def noise_of(x, x0, kept): ...


check("02.3", noise_of)

# %% [markdown]
# **02.4** How many numbers does `nn.Conv2d(64, 128, 3)` learn, its biases included? First with pen and paper.

# %%
answer = ...
check("02.4", answer)

# %% [markdown]
# **02.5** The U-Net of Stable Diffusion 1.5 has four levels with two residual blocks each. How many skips go from its
# left to its right side? (Ours has three levels with one block each, and section 5 has listed its skips.)

# %%
answer = ...  # for Stable Diffusion 1.5
check("02.5", answer)

# %% [markdown]
# **02.6** In step 4 somebody writes `(guess - x0)` for `(guess - noise)`. The training runs and the loss falls. Then
# this network is given pure noise, with t = 999. What does it answer?
#
# * **A**: a new cat or a new dog.
# * **B**: the training picture that is nearest to the noise.
# * **C**: a blur, the mean of all animals.
# * **D**: noise.

# %%
answer = ...
check("02.6", answer)

# %% [markdown]
# ## 12 · All of it on one screen
#
# ```python
# # the clock                                  cos and sin of t at many speeds, then two linear layers
# time = silu(time_embedding(timestep_embedding(t, width)))
#
# # the residual block                         add, do not replace
# h = conv1(silu(norm1(x))) + project(time)
# x = x + conv2(silu(norm2(h)))
#
# # the U-Net                                  far sight and the last pixel
# h = conv_in(x);      skips = [h]
# for block in down:   h, new = block(h, time);  skips = skips + new
# h = middle(h, time)
# for block in up:     h = block(h, skips taken from the end, time)
# noise = conv_out(silu(norm(h)))
#
# # the training                               four steps
# for ever:
#     x0, t, noise = some pictures, some timesteps, some noise
#     guess = network(ᾱ[t].sqrt() * x0 + (1 - ᾱ[t]).sqrt() * noise, t)
#     loss = (guess - noise).square().mean()
#     learn from it
#
# # the dream                                  believe, and mix again with less noise
# x0 = (x - (1 - ᾱ[t]).sqrt() * network(x, t)) / ᾱ[t].sqrt()
# ```
#
# One network, one number to make small, no labels. It learns what pictures look like, because without this it could
# not hear the noise. But nobody can tell it what to draw, and the loop that draws was taken on trust. The next chapter
# opens the loop.

# %% [markdown]
# ## Sources
#
# * J. Ho, A. Jain, P. Abbeel: *Denoising Diffusion Probabilistic Models* (2020),
#   [arXiv:2006.11239](https://arxiv.org/abs/2006.11239). Algorithm 1, the four steps of training; eq. 14, the loss; eq.
#   15, the belief; section 4, the linear schedule and a U-Net with time embedding.
# * O. Ronneberger, P. Fischer, T. Brox: *U-Net: Convolutional Networks for Biomedical Image Segmentation* (2015),
#   [arXiv:1505.04597](https://arxiv.org/abs/1505.04597). Down, up, and across.
# * K. He, X. Zhang, S. Ren, J. Sun: *Deep Residual Learning for Image Recognition* (2015),
#   [arXiv:1512.03385](https://arxiv.org/abs/1512.03385). The way around.
# * A. Vaswani et al.: *Attention Is All You Need* (2017), [arXiv:1706.03762](https://arxiv.org/abs/1706.03762). Section
#   3.5: sines and cosines of many speeds, with wavelengths from 2π towards 10,000 · 2π.
# * Y. Wu, K. He: *Group Normalization* (2018), [arXiv:1803.08494](https://arxiv.org/abs/1803.08494).
# * J. Song, C. Meng, S. Ermon: *Denoising Diffusion Implicit Models* (2021),
#   [arXiv:2010.02502](https://arxiv.org/abs/2010.02502). The loop of section 8.
# * The bug of section 10: [flashinfer 3819](https://github.com/flashinfer-ai/flashinfer/pull/3819),
#   [diffusers 1369](https://github.com/huggingface/diffusers/pull/1369).
