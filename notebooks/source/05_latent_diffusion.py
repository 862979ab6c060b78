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
# # Latent diffusion
#
# Chapter 02 taught a network to hear noise in pictures of 32 pixels. Chapter 04 built an autoencoder that makes a
# picture small and brings it back. Now put the two together: change one line of the training, and the same kind of
# network learns to draw pictures 4 times as wide, on a laptop.
#
# | | |
# |---|---|
# | **You will build** | `training/latents.py`: frozen latents, the noise in them, the loss; and the loop that draws |
# | **You need** | chapter 02 (the four training steps), 03 (samplers), 04 (encoder, decoder, scaling factor) |
# | **Your time** | {reading} minutes of reading; {seconds} seconds of computing on {cores} CPU cores |
# | **Memory** | {megabytes} MB, no graphics card, no network connection |

# %% [markdown]
# ## 1 · What does a pixel cost?
#
# The first good diffusion models worked on pixels (DDPM, Ho et al. 2020). That is costly: at each step of the
# training and of the drawing the network looks at every pixel. Rombach et al. (2022) put an autoencoder around it.
# The encoder runs once before, the decoder once after, and everything between happens on *latents*.

# %%
import math
import time
from itertools import pairwise
from random import Random

import numpy as np
import torch
from PIL import Image

import sdlearn
from sdlearn import viz
from sdlearn.config import UNetConfig
from sdlearn.evaluate import Share
from sdlearn.exercises import check
from sdlearn.image import to_images
from sdlearn.samplers import dpmpp_2m, euler  # chapter 03
from sdlearn.scenes import BACKGROUNDS, Thing, arrange, example, render
from sdlearn.trace import Prediction
from sdlearn.unet import UNet  # chapter 02

PROMPT, SEED = "an orange cat standing on a red castle", 7
pipe = sdlearn.StableDiffusion.from_pretrained("scenes")
vae, schedule = pipe.vae, pipe.schedule
alpha_bar = schedule.alpha_bar.float()  # (1000,)
in_pixels, in_latents = (3, 128, 128), (4, 16, 16)
print(f"{math.prod(in_pixels)} numbers a picture, {math.prod(in_latents)} in its latents:", end=" ")
print(f"{math.prod(in_pixels) // math.prod(in_latents)} times fewer")

# %% [markdown]
# ### Guess before you read on
#
# We build the same U-Net twice, once for pixels and once for latents. Each learns from one batch. To learn, a network
# must keep what its layers gave until the gradients are known. **How many times less has it to keep, with latents?**
#
# * **A**: 48 times. There are so many times fewer numbers.
# * **B**: 64 times. There are so many times fewer places, each of 8 x 8 pixels.
# * **C**: 8 times. A latent picture is 8 times narrower.
#
# Write down your guess, then run the cell. It counts the bytes that are kept for the gradients, weights left out, and
# takes the time of a whole training step.

# %%
guess = "?"  # A, B or C


def small_unet(channels_in, seed=0):
    """A U-Net of chapter 02 with three levels, no attention; its first answer is nearly 0."""
    torch.manual_seed(seed)
    config = UNetConfig(
        in_channels=channels_in,
        out_channels=channels_in,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        attention_levels=(False,) * 3,
        mid_attention=False,
        norm_num_groups=16,
    )
    unet = UNet(config).to(memory_format=torch.channels_last)
    torch.nn.init.zeros_(unet.conv_out.weight)
    return unet


# %%
def cost(shape, batch=2):
    """(seconds, bytes kept) of one training step: the faster of two."""
    network, kept_bytes = small_unet(shape[0]), {}
    weights = {weight.data_ptr() for weight in network.parameters()}
    optimizer = torch.optim.AdamW(network.parameters())

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            kept_bytes[tensor.data_ptr()] = tensor.nbytes
        return tensor

    x, t, times = torch.randn(batch, *shape), torch.full((batch,), 500), []
    for _ in range(2):
        kept_bytes.clear()
        clock = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = (network(x, t) - x).square().mean()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - clock)
    return min(times), sum(kept_bytes.values())


# %%
slow, large = cost(in_pixels)
fast, small = cost(in_latents)
print(f"a pixel step:  {1000 * slow:6.0f} ms, {large / 1e6:6.1f} MB kept for the gradients")
print(f"a latent step: {1000 * fast:6.0f} ms, {small / 1e6:6.1f} MB")
print(f"ratio:         {slow / fast:6.0f}      {large / small:6.1f}")
for name, factor in {"A": 48, "B": 64, "C": 8}.items():
    print(f"{name}: {factor} times less{'  <- your guess' if name == guess else ''}")

# %% [markdown]
# It is B, or nearly. After its first layer a U-Net does not care whether a place had three colours or four latent
# channels. It has its own 32 channels at each *place*, and there are 64 times fewer places. (What does not belong to
# a place does not shrink.)
#
# The time falls less than the memory: each layer has a fixed cost, however small its input is. But with attention,
# where each place looks at each other (chapter 08), it is the *pairs* of places that count:

# %%
places, fewer = 128 * 128, 16 * 16
print(f"places: {places} against {fewer}, {places // fewer} times fewer")
print(f"pairs of places: {(places // fewer) ** 2} times fewer")

# %% [markdown]
# ## 2 · One line
#
# Here is our material: 300 pictures of an orange cat, drawn with four backgrounds. The last 50 are a test and never
# learnt from.

# %%
NUMBER, UNSEEN = 300, 50
scenes = [arrange([Thing("cat", "orange")], "alone", BACKGROUNDS[k % 4], Random(k)) for k in range(NUMBER)]
pictures = np.stack([np.asarray(render(scene)) for scene in scenes])  # (300, 128, 128, 3)
pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1  # (300, 3, 128, 128), -1 … 1
viz.strip(
    {"": [Image.fromarray(one) for one in pictures[:7]]},
    zoom=1,
    alt="Seven drawings of an orange cat, by day, at night, on a beach, in the snow, in different places and sizes.",
)

# %% [markdown]
# The training loop of chapter 02 began with pictures, chosen at random. This is the line to change:
#
# ```diff
# - x0 = pictures[chosen]
# + z0 = scaling_factor * encode(pictures[chosen]).sample(noise_z)
# ```
#
# Everything below it (timestep, noise, mixing, guess) stays as it was, and so could the loss. (Section 3 adds two
# things to the loss that latents do not ask for: a weight, and room for words.) The autoencoder is *frozen*: it has
# been trained before, and no gradient reaches it.


# %%
@torch.no_grad()
def latents_of(chosen, noise_z):
    """The one line: some pictures -> a draw from their latents, scaled."""
    return vae.config.scaling_factor * vae.encode(pixels[chosen]).sample(noise_z)  # (B, 4, 16, 16)


generator = torch.Generator().manual_seed(0)
chosen = torch.arange(32)
noise_z = torch.randn(32, *in_latents, generator=generator)
z = latents_of(chosen, noise_z)
print(f"scaling factor {vae.config.scaling_factor}")
print(
    f"spread of the encoder's own latents {(z / vae.config.scaling_factor).std():.2f}, scaled {z.std():.2f}"
)

# %% [markdown]
# Recall chapter 04: the encoder answers with a mean and a spread for each latent number, and we draw from that. The
# *scaling factor* makes the latents' spread about 1. The noise has spread 1 as well, and the schedule of chapter 01
# counts on both.
#
# Now the flaw. How long does this one line take, compared with the step of the network that it serves?

# %%
times = []
for _ in range(3):
    clock = time.perf_counter()
    latents_of(chosen[:2], noise_z[:2])
    times.append(time.perf_counter() - clock)
print(f"encoding 2 pictures: {1000 * min(times):.0f} ms; the network's whole step: {1000 * fast:.0f} ms")

# %% [markdown]
# The line that was to save time takes about as long as all the rest, or longer. And each picture is encoded again
# whenever its turn comes, always with the same answer: the encoder is frozen.
#
# So we encode each picture *once*, before the training. What do we keep? Not a draw, but what it is drawn *from*:
# mean and spread. Then each step can still have fresh latents, as if the encoder had run.

# %%
# -> sdlearn/training/latents.py
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from sdlearn.training.data import pixels_of
from sdlearn.vae import AutoencoderKL


@dataclass(frozen=True)
class FrozenLatents:
    """The autoencoder's answer to every training picture, kept in half precision: mean and spread, (n, 4, h, w)."""

    mean: Tensor
    std: Tensor

    def draw(self, indices: Tensor, noise: Tensor) -> Tensor:
        """Fresh latents of the chosen pictures, already scaled to about unit variance: (B, 4, h, w)."""
        return self.mean[indices].float() + self.std[indices].float() * noise


@torch.no_grad()
def encode_all(vae: AutoencoderKL, pictures: np.ndarray, batch_size: int = 32) -> FrozenLatents:
    """Run the encoder once over all pictures, so that no training step has to."""
    device = next(vae.parameters()).device
    mean, std = [], []
    for indices in tqdm(torch.arange(len(pictures)).split(batch_size), desc="encoding", disable=None):
        with torch.autocast(device.type, torch.bfloat16):
            posterior = vae.encode(pixels_of(pictures, indices).to(device))
        mean.append((posterior.mean.float() * vae.config.scaling_factor).half().cpu())
        std.append((posterior.logvar.float().mul(0.5).exp() * vae.config.scaling_factor).half().cpu())
    return FrozenLatents(torch.cat(mean), torch.cat(std))


# %%
clock = time.perf_counter()
frozen = encode_all(vae, pictures)
once = time.perf_counter() - clock
difference = frozen.draw(chosen, noise_z) - z
print(f"encoding all {NUMBER} pictures once: {once:.1f} s")
print(
    f"looked up against encoded: they differ by {difference.std():.4f} where the latents spread by {z.std():.2f}"
)
assert difference.std() < 0.02
room = frozen.mean.nbytes + frozen.std.nbytes
print(
    f"kept: {room / 1e6:.1f} MB; the same pictures as pixels, a byte a number: {pictures.nbytes / 1e6:.1f} MB"
)
print(f"the encoder's doubt: draws for one picture spread by {frozen.std.float().mean():.3f}", end="")
print(f", latents of all pictures by {frozen.mean.float().std():.2f}")

# %% [markdown]
# They agree, up to the short numbers that we compute and keep with (half of the usual length). What is saved we count
# below.
#
# Look at the last line. The encoder is almost certain of its latents here, so a fresh draw changes little. It would
# make little difference to keep the mean alone, in half of the room. We keep both because the model is defined so.
# What you could *not* do any more is to change a picture at random before each step: to mirror it, say, as many
# trainings do. Each such picture would have to be encoded as well.

# %% [markdown]
# ## 3 · The loss, with words and without
#
# The rest of the step, as it stands in the package. First the mixing of chapter 01. The latents take the place of
# the picture in it, and nothing else changes.

# %%
# -> sdlearn/training/latents.py


def noised(clean: Tensor, timesteps: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Pictures or latents (B, C, h, w), each at its own timestep (B,) (Ho et al. 2020, equation 4)."""
    kept = alpha_bar[timesteps].reshape(-1, 1, 1, 1)  # (B,) -> (B, 1, 1, 1)
    return kept.sqrt() * clean + (1 - kept).sqrt() * noise


def min_snr_weight(snr: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) / SNR for noise prediction: almost clean latents count less (Hang et al. 2023, section 3.4)."""
    return torch.where(snr > gamma, snr.clamp(max=gamma) / snr, 1.0)  # at SNR 0 as well


# %% [markdown]
# The second function is new. Chapter 02 saw that the error of the noise is largest at small t, where the eye sees
# least. So our training lets these timesteps count less. SNR is the signal-to-noise ratio ᾱ / (1 − ᾱ) of chapter 01:

# %%
for t in (0, 30, 100, 300, 600):
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    print(f"t = {t:3d}: SNR {snr:7.1f}, weight {min_snr_weight(snr, 5.0):.3f}")

# %% [markdown]
# The weight is ours, and younger than Stable Diffusion's first version, which was trained without. With
# `gamma=math.inf` all weights are 1.

# %% [markdown]
# Chapter 02's network could not be told *what* to draw. The U-Net of Stable Diffusion gets a third thing besides
# noisy latents and timestep: the text. The **conditional objective** of latent diffusion (Rombach et al. 2022, eq. 3)
# is chapter 02's loss with a y in it:
#
# $$L = \mathbb{E}\,\big\| \varepsilon - \varepsilon_\theta(z_t,\, t,\, \tau(y)) \big\|^2 , \qquad
# z_t = \sqrt{\bar\alpha_t}\,z_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon$$
#
# $z_0$ are the *scaled* latents, y is the caption, and τ the text encoder that makes vectors of it (chapter 07 builds
# it). How the U-Net listens to them is the subject of chapter 08. The loss need not know.

# %%
# -> sdlearn/training/latents.py


def denoising_loss(
    network: Callable[[Tensor, Tensor, Tensor], Tensor],
    clean: Tensor,
    timesteps: Tensor,
    noise: Tensor,
    context: Tensor,
    alpha_bar: Tensor,
    gamma: float = 5.0,
) -> dict[str, Tensor]:
    """How well ``network(noisy, timesteps, context)`` guesses the noise (Rombach et al. 2022, equation 3).

    ``mse`` is the mean squared error; ``loss``, which training makes small, weighs it by ``min_snr_weight``.
    ``context`` are the text vectors, (B, length, width). They lie where the network is; the rest may lie elsewhere.
    """
    noisy = noised(clean, timesteps, noise, alpha_bar).to(
        context.device, memory_format=torch.channels_last
    )  # as convolutions like it
    guess = network(noisy, timesteps.to(context.device), context)
    error = F.mse_loss(guess.float(), noise.to(context.device), reduction="none").mean(dim=(1, 2, 3))  # (B,)
    kept = alpha_bar[timesteps]
    weight = min_snr_weight(kept / (1 - kept), gamma).to(context.device)
    return {"loss": (weight * error).mean(), "mse": error.mean()}


# %% [markdown]
# Do the words help to guess the noise? We ask the shipped U-Net about the 50 unseen cats, each at a timestep of its
# own. Three times the same noisy latents, each time with another text. The differences are taken picture by picture,
# and ± is twice their standard error.

# %%
test = torch.arange(NUMBER - UNSEEN, NUMBER)
test_t = torch.arange(0, 1000, 20)  # (50,)
test_noise = torch.randn(UNSEEN, *in_latents, generator=generator)
test_z = frozen.draw(test, torch.randn(UNSEEN, *in_latents, generator=generator))
nothing = pipe.encode_prompt([""]).expand(UNSEEN, -1, -1)  # (50, tokens, width)


@torch.no_grad()
def unseen_errors(network, context=nothing, latents=test_z, t=test_t):
    """The mean squared error of the noise in each picture of the fixed test: (50,)."""
    noisy = noised(latents, t, test_noise, alpha_bar).to(memory_format=torch.channels_last)
    return (network(noisy, t, context) - test_noise).square().mean(dim=(1, 2, 3))


told_nothing = unseen_errors(pipe.unet)
print(f"told nothing: error {told_nothing.mean():.4f}")
for text in ("a picture of a cat", "a picture of a blue boat"):
    found = unseen_errors(pipe.unet, pipe.encode_prompt([text]).expand(UNSEEN, -1, -1))
    more = found - told_nothing
    print(f"told {text!r}: error {found.mean():.4f}, ", end="")
    print(f"difference {more.mean():+.4f} ± {2 * more.std() / UNSEEN**0.5:.4f}")

# %% [markdown]
# The right words make the error smaller, wrong words make it larger. That is all the reason why a network learns to
# listen: nobody orders it to obey the text. The text helps to hear the noise. (In training one caption in ten was the
# empty one. Chapter 09 tells what that is good for.)

# %% [markdown]
# ## 4 · A live run
#
# Now train. Our small U-Net is chapter 02's, without ears: it gets the text vectors and ignores them. So this is
# again the four steps, with the one line changed. The marks say which step is which.


# %%
def train(network, steps=220, batch=8, learning_rate=4e-3):
    """Change the network, in place; returns the mean squared error of each step."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters())
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    errors = []
    for _ in range(steps):
        chosen = torch.randint(NUMBER - UNSEEN, (batch,), generator=generator)
        z0 = frozen.draw(chosen, torch.randn(batch, *in_latents, generator=generator))  # 1. the changed line
        t = torch.randint(len(alpha_bar), (batch,), generator=generator)  # 2.
        noise = torch.randn(z0.shape, generator=generator)
        found = denoising_loss(network, z0, t, noise, nothing[:batch], alpha_bar)  # 3. and 4.
        optimizer.zero_grad()
        found["loss"].backward()
        optimizer.step()
        pace.step()
        errors.append(found["mse"].item())
    return errors


live = small_unet(channels_in=4)
clock = time.perf_counter()
errors = train(live)
print(f"{len(errors)} steps, {time.perf_counter() - clock:.0f} seconds")
draws = 8 * len(errors)
print(
    f"pictures used: {draws}; encoded {NUMBER}, so {draws / NUMBER:.1f} times fewer than without keeping them"
)
print(f"time of encoding saved: {once / NUMBER * (draws - NUMBER):.0f} seconds")
curve = viz.loss_curves({"the live run": errors})
curve.axes[0].set_title("mse (log scale): each step pale, a running mean strong", loc="left", fontsize=10)
curve

# %% [markdown]
# The figure shows the plain mean squared error. What is made small is the weighted loss. The time saved is the
# encoder's, had it run in the loop.
#
# What has been learnt? First the numbers, on unseen cats. Then the *beliefs*: the latents that are left without the
# guessed noise (chapter 02), decoded.

# %%
print(f"error of saying nothing {unseen_errors(lambda z, t, c: torch.zeros_like(z)).mean():.3f}")
print(
    f"the live run {unseen_errors(live).mean():.3f}, the shipped U-Net {unseen_errors(pipe.unet).mean():.3f}"
)
shown, levels = slice(0, 1), (100, 300, 500, 700, 900)
for t in (100, 500, 900):
    at_t, counts_for = torch.full((UNSEEN,), t), (1 - alpha_bar[t]) / alpha_bar[t]
    ours, theirs = unseen_errors(live, t=at_t).mean(), unseen_errors(pipe.unet, t=at_t).mean()
    print(f"t = {t}: live run and shipped U-Net, noise {ours:.3f} and {theirs:.3f};", end=" ")
    print(f"times {counts_for:.2f} is the belief {counts_for * ours:.3f} and {counts_for * theirs:.3f}")


@torch.no_grad()
def believed(network, t):
    """What a network takes the first unseen picture for, at timestep t: latents (1, 4, 16, 16)."""
    z_t = noised(test_z[shown], torch.tensor([t]), test_noise[shown], alpha_bar)
    guess = network(z_t, torch.tensor([t]), nothing[shown])
    return (z_t - (1 - alpha_bar[t]).sqrt() * guess) / alpha_bar[t].sqrt()


noisy = torch.cat([noised(test_z[shown], torch.tensor([t]), test_noise[shown], alpha_bar) for t in levels])
rows = {"noisy latents, decoded": pipe.decode(noisy)}
for name, network in {"belief of the live run": live, "belief of the shipped U-Net": pipe.unet}.items():
    rows[name] = pipe.decode(torch.cat([believed(network, t) for t in levels]))
viz.strip(
    rows,
    [f"t = {t}" for t in levels],
    zoom=1,
    alt="A cat on a beach at five noise levels. Noisy latents decode to the scene at t = 100 and to coloured "
    "patches later. The live run's beliefs show the cat up to t = 500, blotched at 700, and patches at "
    "900. The shipped U-Net's are clean up to 500, a blotched figure at 700, a pale veil over the beach "
    "at 900.",
)

# %% [markdown]
# ### Sampling is unchanged, too
#
# DDPM, DDIM and all the others of chapter 03 do not know what they work on. So the drawing procedure is: noise in the
# *latents'* shape, the sampler as it is, and one decoding at the end.


# %%
@torch.no_grad()
def sample(network, start, steps=12):
    """Noise of unit variance (B, 4, h, w) -> latents, by DDIM, which is Euler's method; no words."""
    sigmas = [*schedule.sigma(np.linspace(999, 0, steps)).tolist(), 0.0]

    def denoise(x, sigma):
        t = torch.full((len(x),), schedule.sigma_to_t(sigma))
        eps = network(schedule.to_vp(x, sigma), t, nothing[: len(x)])
        return Prediction(x0=x - sigma * eps, eps=eps)

    *_, last = euler(denoise, start * math.hypot(1, sigmas[0]), sigmas)
    return last.x_next


start = torch.randn(6, *in_latents, generator=generator)
viz.strip(
    {
        "drawn by the live run": pipe.decode(sample(live, start)),
        "by the shipped U-Net, without words": pipe.decode(sample(pipe.unet, start)),
    },
    zoom=1,
    alt="Six pictures each. The live run's are blotched: heaps of orange or red, some with ears, over broken "
    "backgrounds, and one without. The shipped network's show clean backgrounds and things of all kinds.",
)

# %% [markdown]
# Let us be honest about the live run. At each of the three timesteps its error is about three times that of the
# shipped network. What this does to a belief depends on t, as the belief is *computed* from the guess: an error
# counts (1 − ᾱ) / ᾱ times. At t = 100 it hardly counts, and even a poor guess looks good. At t = 900 it is magnified,
# the live run falls to pieces, and this is where drawing begins. So its pictures are poor: backgrounds break into
# patches, and cats are heaps, or missing. And it knows nothing but cats. The shipped U-Net is larger and has learnt
# for much longer, from pictures of all kinds. Without words it draws what it likes.
#
# Its belief at t = 900 is pale, and that is no fault. So much noise fits many pictures, and the guess with the
# smallest error is their mean.
#
# Edges and stripes are the decoder's work. The U-Net only has to say what is where.

# %% [markdown]
# ## 5 · Looking on while it draws
#
# In pixel space one can watch a picture grow. Here the sampler holds latents. To look at them we must decode, at each
# step. What does that cost? Chapter 04 fitted a cheap substitute by least squares: a small matrix that turns the
# latents of each place, 4 numbers and a constant, into its mean colour. We fit it on 48 scenes of all kinds, and take
# the time of a step of the U-Net, too.

# %%
varied = [render(example(3, k)[0]) for k in range(48)]
codes = encode_all(vae, np.stack([np.asarray(one) for one in varied])).mean.float()  # (48, 4, 16, 16)
matrix = viz.fit_latent_to_rgb(codes, varied)
run = pipe.txt2img(PROMPT, seed=SEED, num_inference_steps=16)
seen = run.steps[::3]
beliefs = [step.pred.x0 for step in seen]
clock = time.perf_counter()
decoded = [pipe.decode(x0)[0] for x0 in beliefs]
full = time.perf_counter() - clock
clock = time.perf_counter()
cheap = [viz.latent_to_rgb(matrix, x0)[0] for x0 in beliefs]
quick = time.perf_counter() - clock
clock = time.perf_counter()
with torch.no_grad():  # twice, as a run with words asks twice at each step
    pipe.unet(beliefs[0].repeat(2, 1, 1, 1), torch.tensor([500, 500]), nothing[:2])
step_time = time.perf_counter() - clock
print(f"the matrix: {tuple(matrix.shape)}, {matrix.numel()} numbers")
print(f"decoding a belief: {1000 * full / len(seen):.1f} ms; by the matrix {1000 * quick / len(seen):.1f} ms")
print(f"the decoder takes {full / quick:.0f} times as long; the U-Net {1000 * step_time:.0f} ms a step")
viz.strip(
    {"x₀, decoded": decoded, "x₀ by the matrix": cheap},
    [f"step {step.i + 1}" for step in seen],
    zoom=1.1,
    alt="Six beliefs of one run. Decoded: a blur of orange over red, then a cat on a castle. By the matrix: the same "
    "in coarse squares, bright at first, brown and grey at the end.",
)

# %% [markdown]
# To decode each belief would take longer than the steps themselves. The matrix costs next to nothing, but its squares
# are coarse, and in the end the colours are poor: red and orange turn to brown. A place of the latents holds more
# than its mean colour, and a matrix cannot tell these things apart. But early on one sees where the things will be,
# and whether the picture is worth waiting for. (The background may still change: the sand of step 1 is snow in the
# end.) Mind *what* is shown: x₀, the belief, and not x, which is noise until late. (Both are latents here.)
#
# While the notebook is running, every step of this run stands under a slider:

# %%
from sdlearn.viz import widgets

widgets.run_explorer(run, pipe=pipe)

# %% [markdown]
# ## 6 · The size of the picture
#
# In which argument did we say how large the picture is to be? In none: the noise has a shape, and everything follows
# it. (Sides are multiples of 8, as a latent stands for so many pixels.) Convolutions do not mind how wide their input
# is: the same filter is used at every place (chapter 02).
#
# **Guess:** the model has only ever seen square pictures with one or two things. We ask for "a cat in the snow", and
# make the noise twice as wide. **One wide landscape with a cat? One stretched cat? Two cats?** And what if we keep
# the square and *write* that the picture is to be wide?

# %%
SNOW, SEEDS = "a cat in the snow", list(range(8))


def drawn(width, height, prompt=SNOW, seeds=SEEDS):
    """One picture a seed, from noise of the shape (4, height / 8, width / 8)."""
    noise = torch.stack(
        [torch.randn(4, height // 8, width // 8, generator=torch.Generator().manual_seed(k)) for k in seeds]
    )
    return pipe.txt2img(
        [prompt] * len(seeds),
        latents=noise,
        width=width,
        height=height,
        num_inference_steps=8,
        guidance_scale=4,
    ).images


shapes = {"square": (128, 128), "wide": (256, 128), "tall": (128, 256)}
sizes = {name: drawn(*shape) for name, shape in shapes.items()}
told = drawn(128, 128, "a wide picture of a cat in the snow", SEEDS[:4])
for name, ones in [*sizes.items(), ("square, told to be wide", told)]:
    print(f"{name}: {ones[0].width} x {ones[0].height} pixels")

# %%
viz.strip(
    {"square": sizes["square"], "square, told to be wide": told, "tall": sizes["tall"]},
    zoom=1,
    alt="Square: one cat in each of eight pictures. Square, told to be wide: square, and one cat. Tall: in "
    "two of eight pictures one cat, in the others two or three, most often one of them in the air.",
)

# %%
viz.strip(
    {"wide": sizes["wide"][:4]},
    zoom=0.9,
    alt="Wide: two cats side by side in each of four pictures.",
)

# %% [markdown]
# The size follows the latents, not the words. And there are two cats. The background goes on as it should, the cat
# comes again. This is the **"two heads"** problem: the first Stable Diffusion has learnt from pictures of 512 x 512,
# and a portrait that is much taller may get a second head on top of the first.
#
# Let us count. In the snow only the cat is warm: red exceeds blue by far. So we count connected warm regions, first
# in drawn scenes, where we know the answer.


# %%
def cats_in(picture, least=120):
    """How many connected warm regions of at least that many pixels? Two cats that touch count as one."""
    red, _, blue = np.asarray(picture).astype(int).transpose(2, 0, 1)
    warm = torch.from_numpy(red - blue > 60)
    names = torch.arange(1.0, warm.numel() + 1).reshape(warm.shape) * warm  # a name of its own for each pixel
    while True:  # the largest name of its surroundings spreads over a region
        spread_on = F.max_pool2d(names[None, None], 5, 1, 2)[0, 0] * warm
        if torch.equal(spread_on, names):
            return int((names[warm].unique(return_counts=True)[1] >= least).sum())
        names = spread_on


truth = []
for k in range(20):
    for number, relation in ((1, "alone"), (2, "left_of")):
        cats = [Thing("cat", "orange", ("small", "big")[k % 2])] * number
        truth.append(cats_in(render(arrange(cats, relation, "snow", Random(k)))) == number)
print(f"true scenes counted right: {sum(truth)} of {len(truth)}")
counts = {name: [cats_in(one) for one in ones] for name, ones in sizes.items()}
for name, found in counts.items():
    several = Share(sum(number > 1 for number in found), len(found))  # with a 95 % interval
    print(f"{name:7s} cats {found}, two or more in {several}")

# %% [markdown]
# At the trained size there is one cat in each picture. Twice as wide, there are two in all of them. In tall ones
# there are often two or more, and mostly one of them sits in the air. (In brackets: the 95 % interval. Eight pictures
# are few.) The counter says too little: cats that touch are one to it, as in the second and the fourth tall picture,
# and a white cat is none, as in the sixth.
#
# Why? A convolution hardly knows *where* it is. The padding at the border gives the edges away (Islam et al. 2021),
# which may be why the ground lies right. A likely reason for the cats, not tested either: the network has learnt that
# so much of a picture has a cat in it, and here are two such pieces. The parts that see far (the deepest level, and
# attention) have never met a picture of this size.

# %% [markdown]
# ## 7 · What helps
#
# What is where in a picture is decided early, while the noise is large. So: let this happen at the size that the
# model knows. Draw small, make the picture larger by other means, add *some* noise, and let the model finish the
# rest. This is image to image (Meng et al. 2021); chapter 11 builds it. Its `strength` says how large the noise is:
# at 1 hardly anything of the picture is left.
#
# First the wide landscape. We take six square pictures, repeat their left and right edges outwards, and try two
# strengths.

# %%
canvas = [
    Image.fromarray(np.pad(np.asarray(one), ((0, 0), (64, 64), (0, 0)), mode="edge"))
    for one in sizes["square"][:6]
]
finished = {"the canvas": canvas}
for strength in (0.8, 1.0):
    again = pipe.img2img(
        canvas, [SNOW] * 6, strength=strength, seed=SEEDS[:6], num_inference_steps=8, guidance_scale=4
    )
    finished[f"strength {strength}"] = again.images
print(f"at strength 1 the canvas is left with {alpha_bar[-1].sqrt():.0%} of its contrast")
for name, ones in finished.items():
    found = [cats_in(one) for one in ones]
    several = Share(sum(number > 1 for number in found), len(found))
    print(f"{name:13s} cats {found}, two or more in {several}")
viz.strip(
    {name: ones[:3] for name, ones in finished.items()},
    zoom=1,
    alt="Three wide pictures in three rows. The canvas: one cat. At strength 0.8: the same cat before an "
    "uneven horizon. At 1: two or three cats.",
)

# %% [markdown]
# Snow and sky are so plain that the crude canvas is nearly good. What counts is what does *not* come: at 0.8 there is
# much noise, and still one cat in each picture. At 1 most have two or more again. (Hardly anything is not nothing:
# the cats of the canvas may still show.)
#
# The usual advice: draw at the trained size, *enlarge*, then image to image (many tools call this "hires fix"). Does
# that help as well? We enlarge two kinds to 256 pixels, both with the first three seeds: cats of the usual size, and
# cats that were asked for as small.


# %%
def enlarged(ones, side):
    return [one.resize((side, side), Image.Resampling.BICUBIC) for one in ones]


small_ones = drawn(128, 128, "a small cat in the snow", seeds=[0, 1, 2])
rows = {}
for name, ones in {"usual cats": sizes["square"][:3], "small cats": small_ones}.items():
    before = enlarged(ones, 256)
    after = pipe.img2img(
        before, [SNOW] * 3, strength=0.5, seed=[0, 1, 2], num_inference_steps=8, guidance_scale=4
    )
    rows[f"{name}, twice as large: 256 pixels"] = [*before, *after.images]
viz.strip(
    rows,
    [*["enlarged"] * 3, *["after image to image"] * 3],
    zoom=0.8,
    alt="Two rows. A usual cat, enlarged twice, has become a heap of three or four cats after image to image. "
    "Small cats, enlarged twice: the first, pink and orange, has become two on top of each other, two "
    "have stayed one.",
)

# %% [markdown]
# Canvas, strength and text are the same; the size of the cat differs, and it matters. A usual cat, enlarged, is
# larger than any that the model has seen. It becomes a heap of cats of the usual size. None comes in the empty sky,
# so it is not the canvas alone. The small ones land at a size that it knows, and the second and third stay one. The
# first, a muddle of colours from the start, becomes two. (Three pictures a row are few.) Stable Diffusion has seen
# things from near and from far, and may fare better.

# %% [markdown]
# ## 8 · Your loop in place of the pipeline
#
# Time for the sentence of the course, with this chapter's means: noise in latents' shape, the shipped U-Net, a
# sampler of chapter 03, the latents divided by the scaling factor, the decoder. Two things are taken as given: the
# text vectors (chapter 07) and the line that mixes the answers with and without the text (chapter 09). The noise
# levels are those of the pipeline's own run.


# %%
@torch.no_grad()
def draw(prompt, seed, sigmas, timesteps, scale=7.5):
    """The sentence, as latents in the U-Net's scaling (1, 4, 16, 16)."""
    both = torch.cat([pipe.encode_prompt([""]), pipe.encode_prompt([prompt])])  # (2, tokens, width)

    def denoise(x, sigma):
        t = torch.full((2,), timesteps[sigmas.index(sigma)])
        without, given = pipe.unet(schedule.to_vp(torch.cat([x, x]), sigma), t, both).chunk(2)
        eps = without + scale * (given - without)
        return Prediction(x0=x - sigma * eps, eps=eps)

    noise = torch.randn(1, *in_latents, generator=torch.Generator().manual_seed(seed))
    *_, last = dpmpp_2m(denoise, math.hypot(1, sigmas[0]) * noise, sigmas)
    return last.x_next


@torch.no_grad()
def as_picture(latents):
    """Out of the U-Net's scaling, through the decoder."""
    return to_images(vae.decode(latents / vae.config.scaling_factor))[0]


# %%
expected = pipe.txt2img(PROMPT, seed=SEED)
levels_visited = [*(step.sigma for step in expected.steps), expected.steps[-1].sigma_next]
z_end = draw(PROMPT, SEED, levels_visited, [step.timestep for step in expected.steps])
yours = as_picture(z_end)
gap = np.abs(np.asarray(yours).astype(int) - np.asarray(expected.images[0])).max()
print(f"latents differ by at most {(z_end - expected.latents).abs().max():.0e}, pixels by {gap} of 255")
assert torch.allclose(z_end, expected.latents, atol=1e-4) and gap <= 1
viz.strip(
    {"": [expected.images[0], yours]},
    ["the pipeline", "your loop"],
    zoom=1.2,
    alt="Two equal pictures: an orange cat on a red castle.",
)

# %% [markdown]
# And the training? One step of the shipped model's, written out, against the package's function:

# %%
import sdlearn.training.latents as package

captions = pipe.encode_prompt(["a cat"] * UNSEEN)
with torch.no_grad():
    kept_part = alpha_bar[test_t].reshape(-1, 1, 1, 1)  # (50,) -> (50, 1, 1, 1)
    mixed = kept_part.sqrt() * test_z + (1 - kept_part).sqrt() * test_noise
    answer = pipe.unet(mixed.to(memory_format=torch.channels_last), test_t, captions)
    own = (answer - test_noise).square().mean(dim=(1, 2, 3))
    snr = (kept_part / (1 - kept_part)).flatten()
    own_loss = (own * snr.clamp(max=5) / snr).mean()
    theirs = package.denoising_loss(pipe.unet, test_z, test_t, test_noise, captions, alpha_bar)["loss"]
print(f"yours {own_loss:.8f}, the package's {theirs:.8f}")
assert abs(own_loss - theirs) < 1e-7

# %% [markdown]
# ## 9 · Spot the bug
#
# Somebody has written the two ends of latent diffusion anew, and tested them: picture in, picture out.


# %%
@torch.no_grad()
def to_latents(some_pixels, noise):
    return vae.encode(some_pixels).sample(noise)


@torch.no_grad()
def from_latents(latents):
    return to_images(vae.decode(latents))


def psnr(a, b):
    """How alike two pictures are, in decibels: more is better."""
    error = np.square(np.asarray(a).astype(float) - np.asarray(b)).mean()
    return 10 * math.log10(255**2 / error)


there = to_latents(pixels[test], torch.zeros(UNSEEN, *in_latents))
back = from_latents(there[:2])
print("there and back:", *(f"{psnr(one, pictures[k]):.1f} dB" for one, k in zip(back, test[:2].tolist())))

# %% [markdown]
# The test is passed. Then the two functions are used. The left column is as it should be. In the right one the U-Net
# and the noise are the same, and *one* end is new. Above: the end of a drawing. Below: an unseen picture, noised to
# t = 500, and the shipped U-Net's belief.

# %%
with torch.no_grad():
    half_way = torch.tensor([500])
    z_t = noised(there[shown], half_way, test_noise[shown], alpha_bar)
    guess_then = pipe.unet(z_t, half_way, nothing[shown])
    belief_then = (z_t - (1 - alpha_bar[500]).sqrt() * guess_then) / alpha_bar[500].sqrt()
wrong = from_latents(z_end)[0]
contrast = {name: np.asarray(one).std() for name, one in {"right": yours, "with the bug": wrong}.items()}
print("contrast of the drawn picture:", ", ".join(f"{name} {value:.0f}" for name, value in contrast.items()))
for t in (100, 500, 900):
    at_t = torch.full((UNSEEN,), t)
    fed_right, fed_new = (
        unseen_errors(pipe.unet, t=at_t).mean(),
        unseen_errors(pipe.unet, latents=there, t=at_t).mean(),
    )
    print(f"error of the noise at t = {t}: right {fed_right:.3f}, with the bug {fed_new:.3f}")
viz.strip(
    {
        "from_latents after the U-Net": [yours, wrong],
        "to_latents before the U-Net": [
            pipe.decode(believed(pipe.unet, 500))[0],
            from_latents(belief_then)[0],
        ],
    },
    ["right", "with the bug"],
    zoom=2,
    alt="Left, a cat on a castle and a cat on a beach, in full colours. Right, with the bug, the same outlines in "
    "pale, broken colours: the castle is spotted with pink and violet, the cats with yellow and white.",
)

# %% [markdown]
# No error, no warning, and a round trip as good as ever. **What is wrong, and which single number would have shown
# it?** Print what you like about `there`.

# %%
# your prints

# %% [markdown]
# Think before you scroll.
#
# ...
#
# The scaling factor is forgotten, *twice*: `to_latents` does not multiply, `from_latents` does not divide. The two
# mistakes cancel in the round trip. They do not cancel in between, where the U-Net is, nor against the
# package's own ends:

# %%
print(f"spread of the latents: {there.std():.2f}; the U-Net was trained on {z.std():.2f}")
with torch.no_grad():
    own_end = vae.config.scaling_factor * vae.encode(pixels[test[:1]]).mean
for name, crossed in {
    "new to_latents, the package's decoder": pipe.decode(there[:1]),
    "the package's encoder, new from_latents": from_latents(own_end),
}.items():
    print(f"{name}: {psnr(crossed[0], pictures[test[0]]):.1f} dB")
ours, theirs_sd = 1 / vae.config.scaling_factor**2, 1 / 0.18215**2
print(
    f"signal-to-noise ratio too large by a factor of {ours:.1f}; with Stable Diffusion's 0.18215 by {theirs_sd:.0f}"
)

# %% [markdown]
# Each end spoils something else. In the upper picture the U-Net was right, and the decoder got latents that were too
# small: outlines survive where colours do not. In the lower one the U-Net was shown latents larger than any it had
# seen. At t = 100 its error is more than twice that of saying nothing (section 4). At t = 900 it is small still,
# though several times what it should be. Worse, whoever *trains* with this bug will not see much of it. The network
# learns with the latents that it gets, and both ends agree. Only the schedule is another one than it says: at each
# timestep more of the picture is left.
#
# It has happened in well-known places. MONAI's inferer had to be taught to divide before decoding (pull request
# `#214`). So had a pipeline of diffusers (issue `#5166`); later a published model gave "weird images" there, until a
# user took a line out again (issue `#6725`). It may have been trained without the factor: the factor belongs to the
# weights. The team of a large video model forgot to *multiply* in training, for the pictures that its videos start
# from. Programs that run it need a switch: finetrainers issue `#101` quotes the comment in diffusers that says so.
#
# So test each end against something outside. `assert 0.8 < z.std() < 1.25` on what the U-Net is fed finds the missing
# multiplication. It is blind to the missing division. That is found by decoding what the package's encoder gives: the
# picture comes back with far fewer decibels.

# %% [markdown]
# ## 10 · Your turn
#
# Replace each `...`, run the cell, read what it says.
#
# **05.1** Stable Diffusion is to draw a picture 768 pixels wide and 512 high. Its autoencoder makes one place of
# 8 x 8 pixels, with 4 channels. What is the shape of the starting noise? Give `[channels, height, width]`.

# %%
answer = [..., ..., ...]  # for 768 wide, 512 high
check("05.1", answer)

# %% [markdown]
# **05.2** In pixel space, self-attention on the full picture compares each place with each. How many times fewer pairs
# are there on the latents of an autoencoder that makes the picture *4* times narrower and lower?

# %%
answer = ...
check("05.2", answer)


# %% [markdown]
# **05.3** Write what the U-Net is shown in training. `latent` are the autoencoder's own latents of *one* picture,
# (4, h, w), `noise` has the same shape; `scale` is its scaling factor and `kept` is ᾱ, one number each.


# %%
def shown_to_the_unet(latent, scale, kept, noise):
    return ...


check("05.3", shown_to_the_unet)

# %% [markdown]
# **05.4** An autoencoder's own latents have a spread of 5. Somebody forgets the scaling factor, 0.2, in training. By
# which factor is the signal-to-noise ratio at each timestep too large?

# %%
answer = ...  # spread 5, scaling factor 0.2
check("05.4", answer)

# %% [markdown]
# **05.5** You have precomputed latents, and now want each picture to be mirrored at random, half of the time. What is
# exact, and still runs no encoder during the training?
#
# * **A**: mirror the latents, `z.flip(3)`.
# * **B**: mirror the noise instead.
# * **C**: encode the mirrored pictures as well, once, and choose between the two.
# * **D**: mirror the pictures that the model draws.

# %%
answer = ...
check("05.5", answer)

# %% [markdown]
# ## 11 · All of it on one screen
#
# The training step and the drawing, as short as they get, and a check that they are the long ones.


# %%
def step_loss(network, mean, std, t, context, noise_z, noise, gamma=5.0):
    z0 = mean + std * noise_z  # encoded once, times the scaling factor; a fresh draw
    kept = alpha_bar[t].reshape(-1, 1, 1, 1)
    guess = network(kept.sqrt() * z0 + (1 - kept).sqrt() * noise, t, context)
    snr = (kept / (1 - kept)).flatten()
    return ((guess - noise).square().mean(dim=(1, 2, 3)) * snr.clamp(max=gamma) / snr).mean()


def draw_shortly(network, noise, steps=12):
    sigmas = [*schedule.sigma(np.linspace(999, 0, steps)).tolist(), 0.0]
    x = noise * math.hypot(1, sigmas[0])
    for sigma, after in pairwise(sigmas):
        t = torch.full((len(x),), schedule.sigma_to_t(sigma))
        x = x + (after - sigma) * network(x / math.hypot(1, sigma), t, nothing[: len(x)])
    return vae.decode(x / vae.config.scaling_factor)


with torch.no_grad():
    batch = torch.arange(8)
    noise, noise_z = torch.randn(2, 8, *in_latents, generator=generator)
    t = torch.arange(100, 900, 100)
    short = step_loss(live, frozen.mean[:8], frozen.std[:8], t, nothing[:8], noise_z, noise)
    long = denoising_loss(live, frozen.draw(batch, noise_z), t, noise, nothing[:8], alpha_bar)["loss"]
    print(f"loss: short {short:.6f}, long {long:.6f}")
    gap = draw_shortly(pipe.unet, start[:1]) - vae.decode(
        sample(pipe.unet, start[:1]) / vae.config.scaling_factor
    )
    print(f"pictures differ by at most {gap.abs().max():.0e} of 2")
assert abs(short - long) < 1e-5 and gap.abs().max() < 1e-2

# %% [markdown]
# Encode once, scale, and forget the pixels. Train and sample as before. Divide, decode. The picture is as large as
# the noise, and beyond the trained size things come twice. The next chapters give the network its ears: tokens, text
# vectors, attention.

# %% [markdown]
# ## Sources
#
# * R. Rombach, A. Blattmann, D. Lorenz, P. Esser, B. Ommer: *High-Resolution Image Synthesis with Latent Diffusion
#   Models* (2022), [arXiv:2112.10752](https://arxiv.org/abs/2112.10752). The conditional objective: equation 3; the
#   scaling of latents: appendix G, and what it does to the signal-to-noise ratio: appendix D.1.
# * J. Ho, A. Jain, P. Abbeel: *Denoising Diffusion Probabilistic Models* (2020),
#   [arXiv:2006.11239](https://arxiv.org/abs/2006.11239). The closed form: equation 4; training: algorithm 1.
# * T. Hang et al.: *Efficient Diffusion Training via Min-SNR Weighting Strategy* (2023),
#   [arXiv:2303.09556](https://arxiv.org/abs/2303.09556). The weight: section 3.4, with γ = 5.
# * J. Song, C. Meng, S. Ermon: *Denoising Diffusion Implicit Models* (2020),
#   [arXiv:2010.02502](https://arxiv.org/abs/2010.02502). The sampler of section 4.
# * C. Meng et al.: *SDEdit* (2021), [arXiv:2108.01073](https://arxiv.org/abs/2108.01073). Image to image, as used in
#   section 7.
# * M. A. Islam et al.: *Position, Padding and Predictions* (2021), [arXiv:2101.12322](https://arxiv.org/abs/2101.12322).
# * Where 0.18215 comes from, told by one of the authors:
#   [diffusers 437](https://github.com/huggingface/diffusers/issues/437).
# * The bug of section 9: [MONAI 214](https://github.com/Project-MONAI/GenerativeModels/pull/214), diffusers
#   [5166](https://github.com/huggingface/diffusers/issues/5166) and
#   [6725](https://github.com/huggingface/diffusers/issues/6725),
#   [finetrainers 101](https://github.com/huggingface/finetrainers/issues/101).
