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
# # A VAE and its latents
#
# > *Why paint every pixel, when most of them can be guessed from their neighbours?*
#
# So far a network worked on the pixels, 32 a side. Stable Diffusion draws pictures of 512, and its U-Net never sees one
# of them. It works on *latents*: a short code, from which a second network paints the pixels. The two make a
# **variational autoencoder**, a VAE. You build one, and look at what its code keeps and loses, and how its space is
# made.
#
# | | |
# |---|---|
# | **You will build** | `vae.py`: encoder, decoder, the cloud of latents between them; a short training |
# | **You need** | chapter 02 (residual block, halving, doubling); what a normal distribution is |
# | **Your time** | {reading} minutes of reading; {seconds} seconds of computing on {cores} CPU cores |
# | **Memory** | {megabytes} MB, no graphics card, no network connection |

# %% [markdown]
# ## 1 · 48 times fewer numbers
#
# The scenes of this course have 128 x 128 pixels of three colours. Their latents are four sheets of 16 x 16 numbers,
# one place for each square of 8 x 8 pixels. Stable Diffusion's are larger, in the same proportion:

# %%
import copy
import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import sdlearn
from sdlearn import viz
from sdlearn.image import to_images, to_tensor
from sdlearn.scenes import example, render

PROMPT, SEED = "an orange cat standing on a red castle", 7
pipe = sdlearn.StableDiffusion.from_pretrained("scenes")
usual = pipe.txt2img(PROMPT, seed=SEED)  # the sentence's picture, for later
for name, side in {"scenes": 128, "Stable Diffusion 1": 512}.items():
    pixels, latents = 3 * side * side, 4 * (side // 8) ** 2
    print(
        f"{name}: {pixels:,d} numbers in pixels, {latents:,d} in latents: {pixels / latents:.0f} times fewer"
    )

# %% [markdown]
# ### Guess before you read on
#
# An encoder makes the latents, a decoder paints the picture from them. Both were trained on 59,500 scenes without a
# single letter. Now we write three lines of small text into the sky, and send the picture there and back. **What comes
# back?**
#
# * **A**: letters and things, all blurred alike.
# * **B**: the things nearly as sharp as before; the letters gone, as if nothing had been written.
# * **C**: the things nearly as sharp as before; where the letters were, something else.
#
# The scenes are *held out*: drawn from the same world, never trained on.

# %%
FIRST_UNSEEN, NUMBER = 59_500, 64  # training saw the 59,500 scenes before these
scenes = [example(1, FIRST_UNSEEN + k)[0] for k in range(NUMBER)]
drawn = [render(scene) for scene in scenes]
pictures = to_tensor(drawn)  # (64, 3, 128, 128) in -1 … 1
LINES = ("small words", "are hard to", "read again")


def write(image, size=11):
    """The picture with three lines of writing, and where they are: (1, 128, 128), true in their boxes."""
    image, boxes = image.copy(), Image.new("L", image.size)
    ink, mark, font = ImageDraw.Draw(image), ImageDraw.Draw(boxes), ImageFont.load_default(size)
    for k, line in enumerate(LINES):
        place = (6, 4 + k * (size + 3))
        ink.text(place, line, fill=(25, 25, 60), font=font)
        mark.rectangle(ink.textbbox(place, line, font=font), fill=255)
    return image, torch.from_numpy(np.asarray(boxes) > 0)[None]


@torch.no_grad()
def there_and_back(vae, x):
    return vae.decode(vae.encode(x).mode())  # mode: the code itself, without the noise of section 4


by_day = [k for k, scene in enumerate(scenes) if scene.background != "night"]  # dark ink needs a bright sky
bright = by_day[:12]
written, boxes = zip(*[write(drawn[k]) for k in bright], strict=True)
written, boxes = to_tensor(written), torch.stack(boxes)  # (12, 3, 128, 128), (12, 1, 128, 128)
written_back = there_and_back(pipe.vae, written)
viz.strip(
    {"before": to_images(written[:5]), "after": to_images(written_back[:5])},
    zoom=1.2,
    alt="Five scenes with three lines of small text. After the round trip the things look nearly the same, but each "
    "line has become a smeared, coloured bar in which no letter can be read.",
)

# %% [markdown]
# It is C, though things lose their finest lines: look at the pink cat's whiskers and stripes. The letters became
# coloured bars: the decoder paints what it knows, and it knows no letters. (The snowflakes are gone, too. Size is not
# the reason: the stars in section 7 come back. But white on pale costs the loss hardly anything.)
#
# How much is lost where? The **PSNR** (peak signal-to-noise ratio) compares the mean squared error with the square of
# the largest possible difference, on a logarithmic scale, in decibels. Ten decibels more mean a tenth of the squared
# error. Our pixels run from −1 to 1. We bring them to 0 … 1 first, as is usual, where the largest difference is 1:
#
# $$\mathrm{PSNR} = 10 \, \log_{10} \frac{1}{\mathrm{mean}\,(a-b)^2}$$


# %%
def psnr(a, b, where=None):
    """Decibels between pictures in -1 … 1; with ``where`` (B, 1, H, W), only of the pixels that it marks."""
    error = ((a.clamp(-1, 1) - b.clamp(-1, 1)) / 2).square()  # as if both ran from 0 to 1
    error = error if where is None else error[where.expand_as(error)]
    return -10 * math.log10(error.mean())


def edges(x):
    """Pixels whose neighbours differ strongly: outlines, eyes, windows. (B, 3, H, W) -> (B, 1, H, W)."""
    grey = torch.nn.functional.pad(x.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across, down = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2], grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
    return across.abs() + down.abs() > 0.3


unseen = pictures[:24]
back = there_and_back(pipe.vae, unseen)
sharp = edges(unseen)
errors = (back.clamp(-1, 1) - unseen).square().mean(dim=1, keepdim=True)
print(f"whole pictures, held out:   {psnr(back, unseen):.1f} dB")
print(f"edges:                      {psnr(back, unseen, sharp):.1f} dB")
print(f"the rest:                   {psnr(back, unseen, ~sharp):.1f} dB")
share = sharp.float().mean(), errors[sharp].sum() / errors.sum()
print("edges are {:.0%} of the pixels, with {:.0%} of the error".format(*share))
print(f"in the boxes of small text: {psnr(written_back, written, boxes):.1f} dB")
plain = pictures[bright]
print(f"had the letters vanished:   {psnr(plain, written, boxes):.1f} dB")
print(f"same boxes without text:    {psnr(there_and_back(pipe.vae, plain), plain, boxes):.1f} dB")
assert psnr(back, unseen) >= 28

# %% [markdown]
# Most of the error sits at edges. Inside small text it is by far the worst. This is one reason why writing in generated
# pictures looks strange: even a perfect U-Net could not say it, the code has no word for it.
#
# ## 2 · The smallest autoencoder
#
# Can it be done without a network? Here is the best *linear* code of single squares. Cut the pictures into squares of 8
# x 8 pixels: 192 numbers each. Find the four directions in which squares differ most (the largest eigenvectors of their
# covariance: principal components). Keep the four coordinates: 48 times fewer numbers again.

# %%
from torch.nn import functional as F

learn = to_tensor([render(example(1, k)[0]) for k in range(100)])  # other scenes


def squares(x):
    """(B, 3, 128, 128) -> (B, 256, 192): each square of 8 x 8 pixels as a row."""
    return F.unfold(x, 8, stride=8).transpose(1, 2)


rows = squares(learn).flatten(0, 1)  # (100 * 256, 192)
middle = rows.mean(dim=0)
basis = torch.linalg.eigh((rows - middle).T @ (rows - middle)).eigenvectors[:, -4:]  # (192, 4)
code = (squares(unseen) - middle) @ basis  # (24, 256, 4)
linear = F.fold((code @ basis.T + middle).transpose(1, 2), 128, 8, stride=8)
print(f"{code[0].numel():,d} numbers a picture")
print(f"linear {psnr(linear, unseen):.1f} dB, the VAE {psnr(back, unseen):.1f} dB")
viz.strip(
    {"before": drawn[:5], "four numbers a square, linear": to_images(linear[:5])},
    zoom=1,
    alt="Five scenes, and below the same as mosaics of shaded squares: colours are right, faces and outlines are gone.",
)

# %% [markdown]
# A mosaic. Each square is coded alone, and a sum of four fixed patterns draws no eye. We want filters that look around,
# and layers that bend (chapter 02).
#
# ## 3 · Encoder and decoder
#
# The parts are those of the U-Net: residual blocks, halvings, doublings. But there are **no skips**: everything has to
# pass through the latents. And no clock: there is no noise level.
#
# One part is new. At the smallest size a square may look at all others, near or far. It asks a *question* (a vector q),
# every square offers a *key* k and a *value* v, and the answer is a mean of the values, weighted by how well question
# and key agree: $\mathrm{softmax}(q\,k^\top/\sqrt{C})\,v$. This is **attention**, here in its smallest form. Chapter 08
# is about it.

# %%
# -> sdlearn/vae.py
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.blocks import Downsample, ResnetBlock, Upsample
from sdlearn.config import VAEConfig


def vae_resnet(in_channels: int, out_channels: int, config: VAEConfig) -> ResnetBlock:
    """A residual block that hears no time."""
    return ResnetBlock(in_channels, out_channels, None, config.norm_num_groups, config.norm_eps)


class VAEAttention(nn.Module):
    """Every place of the smallest feature map looks at all others: (B, C, H, W) -> (B, C, H, W).

    softmax(q kᵀ / √C) v (Vaswani et al. 2017, equation 1) with a single head, and a way around it.
    """

    def __init__(self, channels: int, config: VAEConfig):
        super().__init__()
        self.group_norm = nn.GroupNorm(config.norm_num_groups, channels, eps=config.norm_eps)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList(
            [nn.Linear(channels, channels)]
        )  # a list, because published names say to_out.0

    def forward(self, x: Tensor) -> Tensor:
        h = self.group_norm(x).flatten(2).transpose(1, 2)[:, None]  # (B, C, H, W) -> (B, 1, H*W, C)
        h = F.scaled_dot_product_attention(self.to_q(h), self.to_k(h), self.to_v(h))
        h = self.to_out[0](h)[:, 0].transpose(1, 2)  # (B, 1, H*W, C) -> (B, C, H*W)
        return x + h.unflatten(2, x.shape[-2:])  # (B, C, H*W) -> (B, C, H, W)


class MidBlock(nn.Module):
    """Residual block, attention, residual block at the smallest size."""

    def __init__(self, channels: int, config: VAEConfig):
        super().__init__()
        self.resnets = nn.ModuleList(vae_resnet(channels, channels, config) for _ in range(2))
        self.attentions = nn.ModuleList([VAEAttention(channels, config)])

    def forward(self, h: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](h)))


# %% [markdown]
# torch has this formula built in. By hand, on random numbers:

# %%
torch.manual_seed(0)
look = VAEAttention(16, VAEConfig(norm_num_groups=4))
x = torch.randn(2, 16, 5, 6)
with torch.no_grad():
    h = look.group_norm(x).flatten(2).transpose(1, 2)  # (2, 16, 5, 6) -> (2, 30, 16)
    agree = look.to_q(h) @ look.to_k(h).transpose(1, 2) / 16**0.5  # (2, 30, 30)
    h = look.to_out[0](agree.softmax(dim=-1) @ look.to_v(h))  # (2, 30, 16)
    by_hand = x + h.transpose(1, 2).unflatten(2, (5, 6))  # (2, 30, 16) -> (2, 16, 5, 6)
    print(f"by hand and by torch differ by at most {(by_hand - look(x)).abs().max():.0e}")

# %% [markdown]
# Now the levels. The encoder works and halves, the decoder works and doubles. Here the halving pads right and bottom
# only (`symmetric=False`).


# %%
# -> sdlearn/vae.py
class EncoderLevel(nn.Module):
    """Residual blocks, then half the size (but not at the last level)."""

    def __init__(self, in_channels: int, channels: int, last: bool, config: VAEConfig):
        super().__init__()
        self.resnets = nn.ModuleList(
            vae_resnet(channels if j else in_channels, channels, config)
            for j in range(config.layers_per_block)
        )
        self.downsamplers = None if last else nn.ModuleList([Downsample(channels, symmetric=False)])

    def forward(self, h: Tensor) -> Tensor:
        for resnet in self.resnets:
            h = resnet(h)
        return h if self.downsamplers is None else self.downsamplers[0](h)


class DecoderLevel(nn.Module):
    """Residual blocks (one more than in the encoder), then double the size (but not at the last level)."""

    def __init__(self, in_channels: int, channels: int, last: bool, config: VAEConfig):
        super().__init__()
        self.resnets = nn.ModuleList(
            vae_resnet(channels if j else in_channels, channels, config)
            for j in range(config.layers_per_block + 1)
        )
        self.upsamplers = None if last else nn.ModuleList([Upsample(channels)])

    def forward(self, h: Tensor) -> Tensor:
        for resnet in self.resnets:
            h = resnet(h)
        return h if self.upsamplers is None else self.upsamplers[0](h)


# %% [markdown]
# Four levels, three halvings: 128, 64, 32, 16. The encoder's last layer gives *eight* sheets, not four. The next
# section tells why.


# %%
# -> sdlearn/vae.py
class Encoder(nn.Module):
    """(B, 3, H, W) pixels -> (B, 2 * latent_channels, H/f, W/f): means and log-variances, before quant_conv."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        channels = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            EncoderLevel(channels[max(i - 1, 0)], channels[i], i == len(channels) - 1, config)
            for i in range(len(channels))
        )
        self.mid_block = MidBlock(channels[-1], config)
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[-1], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(channels[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down_blocks:
            h = level(h)
        h = self.mid_block(h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class Decoder(nn.Module):
    """(B, latent_channels, H/f, W/f) latents -> (B, 3, H, W) pixels, about -1 … 1."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        channels = tuple(reversed(config.block_out_channels))
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.mid_block = MidBlock(channels[0], config)
        self.up_blocks = nn.ModuleList(
            DecoderLevel(channels[max(i - 1, 0)], channels[i], i == len(channels) - 1, config)
            for i in range(len(channels))
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[-1], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(channels[-1], config.out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            h = level(h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


# %% [markdown]
# ## 4 · A cloud, not a point
#
# A plain autoencoder may put its codes anywhere, one of them a thousand times as far away as another. So the encoder
# does not name a point. It names a **cloud**: four sheets of means μ and four of widths σ (as logarithms of the
# variance σ², so that any number is allowed). The decoder gets a random point of the cloud, and has to paint all of its
# points alike.
#
# But how can a network learn through a random draw? Here are two ways to draw one latent with mean 2 and width 0.5. We
# ask for the gradient of the drawn point:

# %%
for name in ("torch.normal", "mean + std * noise"):
    mean, std = torch.tensor(2.0, requires_grad=True), torch.tensor(0.5, requires_grad=True)
    noise = torch.randn((), generator=torch.Generator().manual_seed(0))
    point = torch.normal(mean, std) if name == "torch.normal" else mean + std * noise
    point.backward()
    print(f"{name:18s} gradient of the mean {mean.grad:.1f}, of the width {std.grad:.2f}")
print(f"{'':18s} this noise was {noise:.2f}")

# %% [markdown]
# `torch.normal` lets `backward()` pass and answers 0: silent, and useless for learning. In the second the noise comes
# from *outside*. What is left is a sum and a product. This is the **reparameterisation trick** (Kingma and Welling
# 2014, section 2.4).
#
# What stops the encoder from making each cloud a point, or from moving the clouds far apart? A price. The
# **Kullback-Leibler divergence** says how far a cloud is from the standard normal distribution, which has mean 0 and
# width 1 (their appendix B):
#
# $$\mathrm{KL} = \tfrac12 \sum \big(\mu^2 + \sigma^2 - 1 - \ln \sigma^2\big)$$


# %%
# -> sdlearn/vae.py
@dataclass(frozen=True)
class DiagonalGaussian:
    """A normal distribution for each latent number on its own: ``mean`` and ``logvar``, both (B, C, H, W)."""

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        return torch.exp(0.5 * self.logvar)

    def mode(self) -> Tensor:
        """The most likely latent: the mean."""
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """mean + std * noise, with the noise from outside: the draw stays differentiable and repeatable."""
        return self.mean + self.std * noise

    def kl(self) -> Tensor:
        """Distance to the standard normal, summed over each picture: (B,) (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (self.mean**2 + self.logvar.exp() - 1 - self.logvar).sum(dim=(1, 2, 3))


# %% [markdown]
# The divergence is *defined* as a mean: how much more likely is a point of the cloud under the cloud than under the
# standard normal, as a logarithm. So it can be measured:

# %%
cloud = DiagonalGaussian(torch.full((1, 1, 1, 1), 0.8), torch.full((1, 1, 1, 1), 2 * math.log(0.5)))
points = cloud.mean + cloud.std * torch.randn(200_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
inside, standard = torch.distributions.Normal(cloud.mean, cloud.std), torch.distributions.Normal(0, 1)
measured = (inside.log_prob(points) - standard.log_prob(points)).mean()
print(f"formula {cloud.kl().item():.3f}, measured {measured:.3f}")

# %% [markdown]
# And the whole autoencoder. `quant_conv` and `post_quant_conv` mix the sheets once more on each side of the gap.


# %%
# -> sdlearn/vae.py
class AutoencoderKL(nn.Module):
    """Pixels in -1 … 1 to a distribution of latents, and back.

    The latents here are the autoencoder's own. The U-Net works on ``config.scaling_factor`` times them, about unit
    variance; :meth:`encode` and :meth:`decode` never apply that factor, their callers do, once each way.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(2 * config.latent_channels, 2 * config.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.latent_channels, config.latent_channels, 1)

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """(B, 3, H, W) in -1 … 1, sides multiples of ``config.factor`` -> distribution over (B, 4, H/f, W/f)."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return DiagonalGaussian(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, z: Tensor) -> Tensor:
        """(B, 4, h, w) unscaled latents -> (B, 3, h*f, w*f) pixels, not clamped."""
        return self.decoder(self.post_quant_conv(z))


# %% [markdown]
# ## 5 · Train it, with and without the price
#
# The loss is the squared error of the pixels plus a weight times KL, both per number of the picture. What does the
# weight do? We train two small autoencoders on the cats and dogs of chapter 02, 32 pixels a side. Two levels of halving
# make 8 x 8 places of four numbers. Both get the same pictures, noises and first weights. (`initialise` and `Muon`, an
# optimiser for matrices, help short trainings. They come from the package.)

# %%
from sdlearn.scenes.cats_and_dogs import cats_and_dogs
from sdlearn.training.muon import Muon, split
from sdlearn.training.vae import initialise

CONFIG = VAEConfig(block_out_channels=(16, 32, 32), layers_per_block=1, norm_num_groups=8, sample_size=32)


def animals(number, seed):
    return torch.from_numpy(cats_and_dogs(number, seed)[0]).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


known, fresh = animals(500, seed=2), animals(64, seed=1)  # (n, 3, 32, 32)


def train(weight, steps=60, batch=16):
    """A new autoencoder, trained for a short while."""
    torch.manual_seed(0)
    vae, generator = AutoencoderKL(CONFIG), torch.Generator().manual_seed(0)
    initialise(vae)
    matrices, rest = split(vae)
    optimizers = torch.optim.AdamW(rest, lr=5e-3), Muon(matrices, 1e-2, 0.0, torch.float32)
    for step in range(steps):
        x = known[torch.randint(len(known), (batch,), generator=generator)]
        posterior = vae.encode(x)
        noise = torch.randn(posterior.mean.shape, generator=generator)
        error = (vae.decode(posterior.sample(noise)) - x).square().mean()
        loss = error + weight * posterior.kl().mean() / x[0].numel()
        vae.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] *= 1 if step < steps // 2 else 0.95  # calm down at the end
            optimizer.step()
    return vae.eval()


WEIGHTS = (0, 3)
small = {weight: train(weight) for weight in WEIGHTS}

# %% [markdown]
# Do the pictures come back? And are neighbours alike: how much changes when we leave a code by a small step in a random
# direction? Steps are shares of the codes' **spread**, their standard deviation.

# %%
STEPS = (0.02, 0.1, 0.3, 1.0)  # of the spread


@torch.no_grad()
def after_steps(model, z):
    """PSNR between the picture of z and those of places further and further away."""
    step = torch.randn(z.shape, generator=torch.Generator().manual_seed(2)) * z.std()
    first = model.decode(z)
    return [psnr(model.decode(z + share * step), first) for share in STEPS]


again, invented = {}, {}
for weight, trained in small.items():
    with torch.no_grad():
        cloud = trained.encode(fresh)
        again[weight] = trained.decode(cloud.mean)
        invented[weight] = trained.decode(torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(1)))
    spread, width = cloud.mean.std(), cloud.std.mean()
    print(f"weight {weight}: {psnr(again[weight], fresh):.1f} dB")
    print(f"   spread of the codes {spread:.2f}, width of a cloud {width:.2f}: {width / spread:.0%} of that")
    steps = zip(STEPS, after_steps(trained, cloud.mean), strict=True)
    print("   steps:", ", ".join(f"{share:.0%} {decibels:.0f} dB" for share, decibels in steps))
viz.strip(
    {"unseen animals": to_images(fresh[:6])}
    | {f"there and back, weight {weight}": to_images(again[weight][:6]) for weight in WEIGHTS}
    | {f"from random latents, weight {weight}": to_images(invented[weight]) for weight in WEIGHTS},
    zoom=3,
    alt="Six animals. There and back with weight 0: blurred, without faces, in their own colours. With weight 3: more "
    "blurred and paler, pink and white ones nearly alike. From random latents with weight 0: blotches of all colours. "
    "With weight 3: one reddish patch between a blue sky and a green ground.",
)

# %% [markdown]
# Both are blurred. The training was short, and the squared error likes blur: who cannot tell on which pixel a whisker
# lies does best with the mean of all places. With the price more is lost, and colours fade (look at pink and white).
# The clouds are now wider than the codes are spread: a point may stand for many animals, and the decoder paints their
# mean. In return, a random latent gives a patch between sky and ground, as its animals are. That is the bargain:
# reconstruction against order.
#
# And the neighbours? *Without* a price the clouds are nearly points, and still a small step changes little. So it is
# not the clouds that make neighbours alike: a network of filters bends smoothly by itself. (With the price the same
# step changes less, but its pictures differ less, too.) What the price surely buys is a modest, common scale.
#
# Stable Diffusion's price is about a millionth; the order is left to the U-Net. Against blur its loss has two more
# terms (section 3.1 of Rombach et al. 2022). A *perceptual* one compares what a trained network sees in both pictures.
# An *adversarial* one is a network that learns to tell painted patches from real ones. Both prefer one sharp answer to
# a mean, so its decoder invents texture. The course's counts absolute differences and edges, at a small price.
#
# ## 6 · The scaling factor
#
# The shipped autoencoder is the same code, larger, trained for longer. We give its weights to *our* class, and look at
# its latents.

# %%
vae = AutoencoderKL(pipe.vae.config).eval()
vae.load_state_dict(pipe.vae.state_dict())  # strict: each name and shape must fit
with torch.no_grad():
    clouds = vae.encode(pictures)
latents = clouds.mode()  # (64, 4, 16, 16)
print(f"{sum(p.numel() for p in vae.parameters()):,d} numbers learnt")
print("channel means: ", *(f"{value:5.2f}" for value in latents.mean(dim=(0, 2, 3))))
print("channel spread:", *(f"{value:5.2f}" for value in latents.std(dim=(0, 2, 3))))
print(f"spread of all: {latents.std():.2f}; width of a cloud: {clouds.std.mean():.2f}")
print(f"1 / spread of all: {1 / latents.std():.3f}; config.scaling_factor: {vae.config.scaling_factor}")
print(f"Stable Diffusion 1: {VAEConfig().scaling_factor}")

# %% [markdown]
# The latents spread over about two, and the clouds are about a hundredth of that wide: nearly a plain autoencoder. But
# the schedule of chapter 01 adds noise of spread 1 and counts on data of spread 1. So the spread was measured once
# (here on a thousand training scenes), and 1 / spread written into the config: the **scaling factor**. The U-Net works
# on *latents × factor*, the decoder gets *latents / factor*. Stable Diffusion's famous 0.18215 (the default of
# `VAEConfig`) is the same, measured on its own latents (appendix G of Rombach et al. 2022). (No shift: the fourth sheet
# keeps its mean, and the U-Net lives with it.)
#
# ## 7 · Where the pictures live
#
# Why can 48 times fewer numbers be enough? Draw every pixel by lot, as often as you like: no cat will come. Real
# pictures lie on a thin, bent sheet in the space of all pixels. That is the *manifold hypothesis*. A test: what lies on
# the sheet of *this* autoencoder should survive a round trip.

# %%
generator = torch.Generator().manual_seed(0)
random_pixels = torch.rand(4, 3, 128, 128, generator=generator) * 2 - 1
middles, spreads = latents.mean(dim=(0, 2, 3), keepdim=True), latents.std(dim=(0, 2, 3), keepdim=True)
random_latents = middles + spreads * torch.randn(4, 4, 16, 16, generator=generator)
moved = latents[:4].flatten(2)[:, :, torch.randperm(256, generator=generator)].unflatten(2, (16, 16))
with torch.no_grad():
    rows = {
        "random pixels": random_pixels,
        "random pixels, there and back": there_and_back(vae, random_pixels),
        "random latents, decoded": vae.decode(random_latents),
        "real latents, their places exchanged": vae.decode(moved),
        "real latents": vae.decode(latents[:4]),
    }
print(f"random pixels against plain grey: {psnr(torch.zeros_like(random_pixels), random_pixels):.1f} dB")
print("What is left of them after a round trip through the autoencoder:")
for name, x in rows.items():
    print(f"  {name:37s} {psnr(there_and_back(vae, x.clamp(-1, 1)), x):.1f} dB")
viz.strip(
    {name: to_images(x) for name, x in rows.items()},
    zoom=1,
    alt="Five rows. Random pixels are grey snow. Sent there and back they become small blobs, green, blue and dark. "
    "Random latents give larger blobs in the colours of the scenes, with outlines. Real latents with their places "
    "exchanged give sky with scraps of things. Real latents give scenes.",
)

# %% [markdown]
# Random pixels are off the sheet. The code cannot hold them; plain grey would be nearer. What the decoder paints from
# random latents survives better. It has the palette, the outlines, even something like eyes, but no thing and no
# ground: locally right, the whole wrong. Real latents with exchanged places are nearer, real ones nearly on the sheet.
# So the autoencoder takes care of the *look*, and somebody else has to know what belongs where. That will be the
# U-Net's work.
#
# ## 8 · Neighbours
#
# Are neighbours among the latents alike in what they show? We look up for each picture the nearest other one by pixels
# and by latents, and ask whether the two share the background, or a kind of thing. Chance is what *all* pairs have in
# common:

# %%
from sdlearn.evaluate import Share


def nearest(codes):
    """For each row its nearest other row: (n,)."""
    apart = torch.cdist(codes.flatten(1), codes.flatten(1))
    return apart.fill_diagonal_(math.inf).argmin(dim=1)


def in_common(pairs):
    """How many pairs of scenes share the background, and how many a kind of thing."""
    ground = sum(a.background == b.background for a, b in pairs)
    things = sum(bool({t.kind for t in a.things} & {t.kind for t in b.things}) for a, b in pairs)
    return ground, things


every = [(a, b) for i, a in enumerate(scenes) for b in scenes[:i]]
print(
    "chance:  same background {:.0%}, a thing in common {:.0%}".format(
        *(n / len(every) for n in in_common(every))
    )
)
print("in brackets: 95 % intervals")
by = {"pixels": nearest(pictures), "latents": nearest(latents)}
for name, places in by.items():
    ground, things = in_common([(scenes[i], scenes[j]) for i, j in enumerate(places.tolist())])
    print(
        f"nearest by {name}: same background {Share(ground, NUMBER)}, a thing in common {Share(things, NUMBER)}"
    )
viz.strip(
    {"the picture": drawn[:7]}
    | {f"nearest by {name}": [drawn[k] for k in places[:7]] for name, places in by.items()},
    zoom=0.8,
    alt="Seven scenes, and the nearest of each. By pixels and by latents: the same background, bright and dark in the "
    "same places, but mostly other things.",
)

# %% [markdown]
# Both always find the same background. But a thing in common they find no more often than chance, as far as so few
# pictures can tell: chance lies in both intervals. And latents are no better than pixels. This code says *what it looks
# like, and where*; it does not say *cat*. Meaning is the text's affair (chapter 07).
#
# And how smooth is the large model's space? The steps of section 5 again:

# %%
for share, decibels in zip(STEPS, after_steps(vae, latents[:4]), strict=True):
    print(f"a step of {share:4.0%} of the spread: {decibels:.0f} dB")

# %% [markdown]
# Small steps, small changes: no cliff, though these clouds are thin. A U-Net that errs a little spoils little.
#
# ## 9 · Walking
#
# If neighbours are alike, one can walk. Half-way between two pictures: in pixels, in latents along a straight line, and
# in latents along a *sphere*. A straight line between two points on a ball cuts through the inside; the arc (often
# called slerp; Shoemake 1985) stays on the surface.


# %%
def straight(a, b, share):
    return (1 - share) * a + share * b


def sphere(a, b, share):
    angle = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


SHARES = (0, 0.25, 0.5, 0.75, 1)


def walk(way, a, b):
    return torch.cat([way(a, b, share) for share in SHARES])


one, other = 3, 0  # the places of two held-out scenes
ways = {"latents, straight": straight, "latents, on the sphere": sphere}
with torch.no_grad():
    stops = {"pixels": walk(straight, pictures[[one]], pictures[[other]])}
    stops |= {name: vae.decode(walk(way, latents[[one]], latents[[other]])) for name, way in ways.items()}
viz.strip(
    {name: to_images(x) for name, x in stops.items()},
    [f"{share:.0%}" for share in SHARES],
    zoom=1,
    alt="From a dog and a cat by day to a mushroom on a house in the snow. In pixels: two transparent scenes on top of "
    "each other. In latents, both ways nearly alike: faint ghosts of the other scene, and half-way patches of solid "
    "colour: a white mushroom on a purple and orange house beside a grey cat.",
)

# %% [markdown]
# Pixels give a double exposure. In latents, ghosts of the other picture still shine through early and late; in the
# middle many places take a colour of their own, with an outline. Half-way is no scene that anyone would draw.  These
# latents are tied to places, so a mean of two lies off the sheet. That latents make a walk *meaningful* is often said;
# here it is half true. And the sphere changes little.
#
# For *noise* there is a reason to walk on a sphere. Sheets of independent noise all have nearly the same length, and
# two of them are nearly at right angles. Half-way on the straight line is only 1/√2 of the strength that the U-Net
# expects. We walk between two *noises*, and let the pipeline draw from each stop:

# %%
from sdlearn.viz import widgets


def draw(noise):
    return pipe.txt2img(PROMPT, latents=noise, num_inference_steps=16, record=False).images


noises = [torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in (SEED, 11)]
for name, way in {"straight": straight, "along the sphere": sphere}.items():
    print(f"{name}: strengths", *(f"{stop.std():.2f}" for stop in walk(way, *noises)))
explorer = widgets.latent_walk(*noises, draw, number=5)
explorer.static()

# %% [markdown]
# The same under a slider, while the notebook is running:

# %%
explorer

# %% [markdown]
# The U-Net leads each noise back to a scene. In the middle the straight way is too weak, and there this model draws a
# beach, which neither end has. On the sphere the strength stays right, yet at three quarters the moon is in shards: the
# right strength promises no good picture. (One pair of noises; other pairs take other ways.)
#
# ## 10 · Another decoder: "VAE files"
#
# People also pass around *VAE files*, said to mend eyes and faces. What is in them? The U-Net speaks in latents. While
# the *encoder* stays, latents keep their meaning, and anybody may train another painter. The best known, sd-vae-ft-mse,
# is Stable Diffusion's decoder trained further with more weight on squared error. The course ships such a file, too:
# the last levels of our decoder, trained further on crops about things and on letters drawn by lot, with a loss that
# counts edges more. Does it help?

# %%
from sdlearn.checkpoint import swap_decoder

detail = swap_decoder(pipe.vae, "scenes_detail")
shipped = pipe.vae.state_dict()
changed = [name for name, value in detail.state_dict().items() if not torch.equal(value, shipped[name])]
assert all(name.startswith("decoder.") for name in changed)
print(f"{len(changed)} tensors differ, all of them in the decoder")
detail_back, detail_written = there_and_back(detail, unseen), there_and_back(detail, written)
regions = {
    "whole pictures": (back, detail_back, unseen, None),
    "edges": (back, detail_back, unseen, sharp),
    "the rest": (back, detail_back, unseen, ~sharp),
    "small text": (written_back, detail_written, written, boxes),
}
for name, (before, after, truth, where) in regions.items():
    print(
        f"{name:15s} {psnr(before, truth, where):.1f} dB, with the other decoder {psnr(after, truth, where):.1f} dB"
    )


# %%
def close(x, k, left, top, size=48):
    return to_images(x[k : k + 1, :, top : top + size, left : left + size])[0].resize((144, 144))


spots = [(0, 0, 30, 42), (0, 3, 20, 60), (0, 6, 40, 36), (1, 0, 0, 0), (1, 2, 0, 0)]
rows = {
    "true": (unseen, written),
    "shipped decoder": (back, written_back),
    "other decoder": (detail_back, detail_written),
}
viz.strip(
    {name: [close(both[text], *spot) for text, *spot in spots] for name, both in rows.items()},
    zoom=1,
    alt="Details three times: true, by the shipped decoder, by the other one. A mushroom's, a dog's, a star's face: "
    "both decoders are near the truth, and nearly alike. Small text: from the one blue bars, from the other pale grey "
    "bars; no letter in either.",
)

# %% [markdown]
# A little more at edges, a little less where it is flat. Eyes and faces: no visible gain here, and the star's smile is
# smeared by both. Where letters stood, the figure rises most, and still nobody can read them. What the encoder did not
# write down, no decoder can paint. This one puts a grey bar there, which is nearer to the truth on average than a blue
# one.

# %%
detailed = sdlearn.StableDiffusion(pipe.unet, detail, pipe.text_encoder, pipe.tokenizer, pipe.schedule.config)
other_paint = detailed.decode(usual.latents)[0]  # the same latents
apart = np.abs(np.asarray(usual.images[0]).astype(int) - np.asarray(other_paint).astype(int))
print(f"the two differ by {apart.mean():.1f} of 255 on average, by at most {apart.max()}")
viz.strip(
    {"": [usual.images[0], other_paint, Image.fromarray((8 * apart).clip(0, 255).astype(np.uint8))]},
    ["shipped decoder", "other decoder", "difference × 8"],
    zoom=1.5,
    alt="Twice an orange cat on a red castle, alike to the eye. Their difference, eight times "
    "enlarged, is black but for outlines, whiskers and the line between cat and castle.",
)

# %% [markdown]
# ## 11 · Latents without a decoder
#
# A preview at each step of a drawing should cost nothing. How much of the decoder is a mere change of colours? We fit a
# matrix: four latents and a constant in, red, green and blue out, the same for every place. Least squares finds the
# best one.

# %%
places = (
    torch.cat([latents, torch.ones(NUMBER, 1, 16, 16)], dim=1).permute(0, 2, 3, 1).flatten(0, 2)
)  # (n * 256, 5)
colours = (
    F.avg_pool2d(pictures, 8).permute(0, 2, 3, 1).flatten(0, 2)
)  # (n * 256, 3): mean colour of each square
half = len(places) // 2  # fit on one half of the pictures, judge by the other
matrix = torch.linalg.lstsq(places[:half], colours[:half]).solution  # (5, 3)
missed, all_of_it = colours[half:] - places[half:] @ matrix, colours[half:] - colours[half:].mean(dim=0)
print(matrix.numpy().round(2))
print(f"of the variance of colours it explains {1 - missed.square().sum() / all_of_it.square().sum():.0%}")
known_matrix = viz.fit_latent_to_rgb(latents[: NUMBER // 2], drawn[: NUMBER // 2])
print(f"viz.fit_latent_to_rgb differs by at most {(known_matrix - matrix).abs().max():.3f}")
viz.strip(
    {
        "latents by the matrix": viz.latent_to_rgb(matrix, latents[-6:]),
        "the pictures": drawn[-6:],
    },
    zoom=0.9,
    alt="Six mosaics of 16 by 16 coloured squares, and the scenes that they belong to. Things and backgrounds are "
    "found by their place and brightness; many colours are wrong.",
)

# %% [markdown]
# Fifteen numbers find ground, sky and things in their places, light or dark. But reds turn brown and the green dog
# nearly black: the encoder bends, and a matrix cannot bend back. True colours, eyes, edges are what the decoder is for.
#
# ## 12 · Your autoencoder in the pipeline
#
# The class of *this notebook*, with the shipped weights, in the place of the package's. Drawing from text needs the
# decoder only. So we test more: the **encoder** on held-out scenes, then `img2img`, which encodes a picture, adds
# noise, and draws on from there with another text (chapter 11). It gets the sentence's own picture.

# %%
mine = sdlearn.StableDiffusion(pipe.unet, vae, pipe.text_encoder, pipe.tokenizer, pipe.schedule.config)
assert type(mine.vae) is AutoencoderKL and type(pipe.vae) is not AutoencoderKL
with torch.no_grad():
    yours, theirs = mine.vae.encode(unseen[:8]), pipe.vae.encode(unseen[:8])
for name in ("mean", "logvar"):
    far = (getattr(yours, name) - getattr(theirs, name)).abs().max()
    print(f"encoder, {name:6s} largest difference {far:.0e} (allowed: 1e-4)")
    assert far <= 1e-4


def redraw(model):
    prompt, how = "a blue cat standing on a red castle", dict(strength=0.8, num_inference_steps=12, seed=SEED)
    return model.img2img(usual.images[0], prompt, record=False, **how).images[0]


pairs = {
    "txt2img": [usual.images[0], mine.txt2img(PROMPT, seed=SEED).images[0]],
    "img2img": [redraw(pipe), redraw(mine)],
}
for name, (one_picture, same) in pairs.items():
    far = np.abs(np.asarray(one_picture).astype(int) - np.asarray(same).astype(int)).max()
    print(f"{name}: largest difference of a pixel {far} of 255 (allowed: 1)")
    assert far <= 1
viz.strip(
    {"": pairs["txt2img"] + pairs["img2img"]},
    ["txt2img, package's", "txt2img, yours", "img2img, package's", "img2img, yours"],
    zoom=1.5,
    alt="Twice the same orange cat on a red castle, then twice the same blue cat on it.",
)

# %% [markdown]
# ## 13 · Spot the bug
#
# Somebody wrote the encoder again, in another language. All shapes agree, all weights load, text to image works (it
# asks no encoder). Then a picture is sent there and back. Here is the halving, as they wrote it:


# %%
class HalvingWithABug(nn.Module):
    def __init__(self, right):
        super().__init__()
        self.conv = right.conv

    def forward(self, x):
        return F.conv2d(x, self.conv.weight, self.conv.bias, stride=2, padding=1)


broken = copy.deepcopy(vae)
for level in broken.encoder.down_blocks:
    if level.downsamplers is not None:
        level.downsamplers[0] = HalvingWithABug(level.downsamplers[0])
strange = there_and_back(broken, unseen)
print(f"right {psnr(back, unseen):.1f} dB, with the bug {psnr(strange, unseen):.1f} dB")
viz.strip(
    {"right": to_images(back[:5]), "with the bug": to_images(strange[:5])},
    zoom=1.2,
    alt="Five scenes, right and with the bug. With the bug everything is a little further down and to the right, and "
    "at the upper and left edge there is a strip of wrong colour.",
)

# %% [markdown]
# Sharp pictures, right colours, and a terrible PSNR. **What has happened, by how much, and why?** Compare, and print a
# few numbers.

# %%
# your prints

# %% [markdown]
# Think before you scroll.
#
# ...
#
# Here is the answer as a measurement.

# %%
by_shift = {}
for shift in range(11):
    size = 128 - shift
    original, seen = unseen[..., :size, :size], strange[..., shift:, shift:]  # (24, 3, size, size)
    by_shift[shift] = psnr(seen[..., 8:-8, 8:-8], original[..., 8:-8, 8:-8])
best = max(by_shift, key=by_shift.get)
print(f"moved by {best} pixels it fits best: {by_shift[best]:.1f} dB inside")
print(f"right, inside: {psnr(back[..., 8:-8, 8:-8], unseen[..., 8:-8, 8:-8]):.1f} dB")
viz.curves(
    {"PSNR inside, in dB": {"with the bug": list(by_shift.values())}},
    list(by_shift),
    "the original moved down and right, in pixels",
    alt=f"PSNR against the shift: it rises to a sharp peak at {best} pixels and falls again.",
)

# %% [markdown]
# The picture has moved, by 1 + 2 + 4 pixels, and that was nearly all. The line is `padding=1`: it pads all four sides,
# while the encoder was trained with `F.pad(x, (0, 1, 0, 1))`, right and bottom only (`Downsample(symmetric=False)` of
# chapter 02). Both give the same shape. But the filters stand one place further left and up, at each of three halvings,
# and one place is one, two, four pixels of the picture. The first row and column see zeros that they never learnt: the
# strip.
#
# Real programs had it: KerasCV (issue `#1172`), stable-diffusion-pytorch (issue `#8`), stable-diffusion.cpp (pull
# request `#1132`). Users spoke of eight pixels, the width of the strip. In an early diffusers (pull request `#156`) the
# same padding was not passed on at all, and no test saw it: the tests' tiny model never halved. A test with two levels,
# compared with the original's numbers, finds both; so does the PSNR of one round trip.

# %% [markdown]
# ## 14 · Your turn
#
# Replace each `...`, run the cell, read what it says.

# %%
from sdlearn.exercises import check

# %% [markdown]
# **04.1** Stable Diffusion draws a picture 768 pixels high and 512 wide. How many numbers do its latents have?

# %%
answer = ...  # 768 high, 512 wide
check("04.1", answer)

# %% [markdown]
# **04.2** Two pictures whose pixels run from −1 to 1 have a mean squared error of 0.0016. What is their PSNR, in dB?

# %%
answer = ...  # 0.0016, pixels from -1 to 1
check("04.2", answer)


# %% [markdown]
# **04.3** The price of one latent: the divergence of a cloud with this mean and this *width* σ (a number each) from the
# standard normal. Compare with section 4's measurement.


# %%
def price(mean, std):
    return ...  # one number


check("04.3", price)

# %% [markdown]
# **04.4** One latent: mean 2, width 0.5, and the noise happens to be −1. The loss is the square of the drawn point.
# What are the gradients of the loss with respect to the mean and to the width? Give `[of_mean, of_std]`.

# %%
answer = [..., ...]
check("04.4", answer)


# %% [markdown]
# **04.5** You have the last latents of the U-Net, `z`, and want the picture. What does `vae.decode` have to get?


# %%
def for_the_decoder(z, scaling_factor):
    return ...


check("04.5", for_the_decoder)

# %% [markdown]
# **04.6** An encoder with *four* halvings has the bug of section 13 in all of them. By how many pixels does the picture
# move, down and to the right?

# %%
answer = ...  # four halvings
check("04.6", answer)

# %% [markdown]
# ## 15 · All of it on one screen
#
# The autoencoder without classes: the weights are a dictionary, the network is a few short functions.

# %%
weights = {name: value for name, value in vae.state_dict().items()}


def conv(x, name, **how):
    return F.conv2d(x, weights[name + ".weight"], weights[name + ".bias"], **how)


def norm(x, name):
    return F.group_norm(
        x, vae.config.norm_num_groups, weights[name + ".weight"], weights[name + ".bias"], 1e-6
    )


def residual(x, name):
    h = conv(F.silu(norm(x, f"{name}.norm1")), f"{name}.conv1", padding=1)
    h = conv(F.silu(norm(h, f"{name}.norm2")), f"{name}.conv2", padding=1)
    return h + (conv(x, f"{name}.conv_shortcut") if f"{name}.conv_shortcut.weight" in weights else x)


def attend(x, name):
    h = norm(x, f"{name}.group_norm").flatten(2).transpose(1, 2)  # (B, H*W, C)
    q, k, v = (F.linear(h, weights[f"{name}.to_{a}.weight"], weights[f"{name}.to_{a}.bias"]) for a in "qkv")
    h = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
    h = F.linear(h, weights[f"{name}.to_out.0.weight"], weights[f"{name}.to_out.0.bias"])
    return x + h.transpose(1, 2).unflatten(2, x.shape[-2:])


def middle(h, side):
    h = residual(h, f"{side}.mid_block.resnets.0")
    return residual(attend(h, f"{side}.mid_block.attentions.0"), f"{side}.mid_block.resnets.1")


# %%
def encode(x):
    h = conv(x, "encoder.conv_in", padding=1)
    for i in range(4):
        h = residual(h, f"encoder.down_blocks.{i}.resnets.0")
        if i < 3:
            h = conv(F.pad(h, (0, 1, 0, 1)), f"encoder.down_blocks.{i}.downsamplers.0.conv", stride=2)
    h = F.silu(norm(middle(h, "encoder"), "encoder.conv_norm_out"))
    return conv(conv(h, "encoder.conv_out", padding=1), "quant_conv").chunk(2, dim=1)  # mean, logvar


def decode(z):
    h = middle(conv(conv(z, "post_quant_conv"), "decoder.conv_in", padding=1), "decoder")
    for i in range(4):
        for j in range(2):
            h = residual(h, f"decoder.up_blocks.{i}.resnets.{j}")
        if i < 3:
            h = conv(F.interpolate(h, scale_factor=2), f"decoder.up_blocks.{i}.upsamplers.0.conv", padding=1)
    return conv(F.silu(norm(h, "decoder.conv_norm_out")), "decoder.conv_out", padding=1)


with torch.no_grad():
    mean, logvar = encode(unseen[:4])
    point = mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    long_mean = vae.encode(unseen[:4]).mean
    print(f"means differ by at most {(mean - long_mean).abs().max():.0e}")
    print(f"pixels differ by at most {(decode(point) - vae.decode(point)).abs().max():.0e}")
    assert (decode(point) - vae.decode(point)).abs().max() < 1e-3

# %% [markdown]
# An encoder names a cloud, a decoder paints any point of it. The noise comes from outside, so the two can learn. The
# price, KL, keeps the latents at a modest scale; where it is small, the clouds stay thin. The scaling factor makes the
# spread 1. The code has no words for what it never saw.

# %% [markdown]
# ## Sources
#
# * D. P. Kingma, M. Welling: *Auto-Encoding Variational Bayes* (2014),
#   [arXiv:1312.6114](https://arxiv.org/abs/1312.6114). The trick: section 2.4; KL of normal distributions: appendix
#   B.
# * R. Rombach, A. Blattmann, D. Lorenz, P. Esser, B. Ommer: *High-Resolution Image Synthesis with Latent Diffusion
#   Models* (2022), [arXiv:2112.10752](https://arxiv.org/abs/2112.10752). The autoencoder: section 3.1; the scaling
#   factor: appendix G.
# * A. Vaswani et al.: *Attention Is All You Need* (2017), [arXiv:1706.03762](https://arxiv.org/abs/1706.03762).
#   Attention: equation 1.
# * K. He, X. Zhang, S. Ren, J. Sun: *Deep Residual Learning for Image Recognition* (2015),
#   [arXiv:1512.03385](https://arxiv.org/abs/1512.03385). The way around.
# * K. Jordan et al.: *Muon* (2024), [kellerjordan.github.io/posts/muon](https://kellerjordan.github.io/posts/muon/).
# * K. Shoemake: *Animating Rotation with Quaternion Curves* (SIGGRAPH 1985). The arc between two points of a sphere.
# * The decoder sd-vae-ft-mse: [its model card](https://huggingface.co/stabilityai/sd-vae-ft-mse).
# * The bug of section 13: keras-cv, issue [1172](https://github.com/keras-team/keras-cv/issues/1172);
#   stable-diffusion-pytorch, issue [8](https://github.com/kjsman/stable-diffusion-pytorch/issues/8);
#   stable-diffusion.cpp, pull request [1132](https://github.com/leejet/stable-diffusion.cpp/pull/1132). Its relative:
#   diffusers, pull request [156](https://github.com/huggingface/diffusers/pull/156).
