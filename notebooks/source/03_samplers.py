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
# # Samplers
#
# > *How do you get from noise to a picture, if all you have is a network that guesses?*
#
# In chapter 02 a network learnt to say which part of a noisy picture is noise. That is a guess, not yet a
# picture. The rule that turns many guesses into a picture is called a *sampler*. You will build six of them,
# and see that they are nearly the same few lines.
#
# | | |
# |---|---|
# | **You will build** | DDPM, DDIM, Euler, Heun, PLMS, DPM-Solver++, and the lists of noise levels they visit |
# | **You need** | chapters 01 and 02: ᾱ, σ, and what ε is; a little calculus for section 8 |
# | **Your time** | {reading} minutes of reading; {seconds} seconds of computing on {cores} CPU cores |
# | **Memory** | {megabytes} MB, no graphics card, no network connection |

# %% [markdown]
# ## 1 · A perfect network, and one step
#
# Pictures are hard to measure. So we begin in a world where everything is known: points in the plane. The
# "data" are six islands on a ring. Each is a round cloud with a spread of 0.15.

# %%
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import sdlearn
from sdlearn import viz
from sdlearn.schedule import Schedule  # chapter 01
from sdlearn.trace import Prediction, Step

SPREAD, NUMBER = 0.15, 1000
angles = (torch.arange(6, dtype=torch.float64) + 0.5) * math.pi / 3
islands = 1.4 * torch.stack([angles.cos(), angles.sin()], dim=1)  # (6, 2)
generator = torch.Generator().manual_seed(3)


def normal():
    return torch.randn(NUMBER, 2, generator=generator, dtype=torch.float64)


data = islands[torch.arange(NUMBER) % 6] + SPREAD * normal()

# %% [markdown]
# For this world we need no training. The best possible answer can be written down: given a noisy point x,
# how likely is each island, and where on it did x come from? The mean over all possible origins is x₀, the
# *belief*. The rest of x is noise, σ · ε.
#
# On one island the origin is a weighted mean of the point and the island's middle: the larger σ, the less the
# point counts. The islands are weighted by how well they explain x (`softmax`). `Prediction` is just a pair, x0 and
# eps.


# %%
def perfect(x, sigma):
    """The best possible denoiser of this world: x0 is the mean of all points that x may come from."""
    variance = SPREAD**2 + sigma**2
    likely = torch.softmax(-(torch.cdist(x, islands) ** 2) / (2 * variance), dim=1)  # (points, 6)
    x0 = (SPREAD**2 * x + sigma**2 * likely @ islands) / variance
    return Prediction(x0=x0, eps=(x - x0) / sigma)


# %% [markdown]
# ### Guess before you read on
#
# We start from 1000 points of pure noise. The network is perfect. **We remove all the noise that it sees, in
# one step. Where do the points land?**
#
# * **A**: on the islands, each point on one of them.
# * **B**: all over the plane: it is still noise.
# * **C**: all in about the same place, where there is no data at all.

# %%
schedule = Schedule()
largest = float(schedule.sigmas[-1])
pure = math.sqrt(1 + largest**2) * normal()  # what data look like at the largest sigma
jump = perfect(pure, largest).x0
viz.paths(
    {
        "the data": data[None],
        "pure noise (made smaller)": pure[None] / largest,
        "after one jump": jump[None],
    },
    islands,
    reach=2.6,
    alt="Left: six round islands on a ring. Middle: one large round cloud. Right: all points in the very middle "
    "of the ring, where there is no island.",
)

# %% [markdown]
# It is C. A perfect network gave a useless answer, because of the question. In pure noise nothing can be
# seen, so every island is possible, and the *mean* of all islands lies in the empty middle.
#
# The shipped model does the same. One step, four seeds, without exaggeration (guidance 1):

# %%
PROMPT = "an orange cat standing on a red castle"
SEED = 7
pipe = sdlearn.StableDiffusion.from_pretrained("scenes")


def one_step(prompt):
    return pipe.txt2img(prompt, num_inference_steps=1, guidance_scale=1, num_images_per_prompt=4, seed=1)


viz.strip(
    {PROMPT: one_step(PROMPT).images, "no words at all": one_step("").images},
    zoom=1,
    alt="Two rows of four pictures, each after one step: blots. With the words an orange blot over a red one, "
    "without them scraps of no thing. Backgrounds and places differ from seed to seed.",
)

# %% [markdown]
# Blots. The model works on latents, coded pictures (a later chapter). A mean of latents is no latent of any picture, so
# the decoder scribbles. But see the colours: orange above red. (The background is guessed already: the colour of a
# whole sky can be made out even in strong noise.) So the belief must not be trusted at once. But the *direction* is
# good: away from the noise, towards the data. We take a small step and ask again.
#
# ## 2 · Believe a little, ask again
#
# First attempt. Jump to the belief, then put noise back, fresh noise, but less of it than before. Ask
# again. In the scaling of the papers a point at level ᾱ is √ᾱ x₀ + √(1 − ᾱ) ε (chapter 01).


# %%
def evenly(steps):
    """ᾱ at evenly spaced timesteps, most noise first; at the end 1: no noise."""
    timesteps = (np.arange(steps, 0, -1) * 1000 / steps).round() - 1
    return [*schedule.alpha_bar[timesteps.astype(int)].tolist(), 1.0]


def belief(x, alpha_bar):
    """(x0, eps) of points in the scaling of the papers."""
    found = perfect(x / alpha_bar**0.5, ((1 - alpha_bar) / alpha_bar) ** 0.5)
    return found.x0, found.eps


def start_over(x, alpha_bars):
    for here, there in pairwise(alpha_bars):
        x0, _ = belief(x, here)
        x = there**0.5 * x0 + (1 - there) ** 0.5 * normal()
    return x


# %% [markdown]
# The points do find the islands. To see the flaw, measure the spread on the islands. It should be 0.15.


# %%
def spread(points):
    """Distance to the nearest island: root of the mean square, along one axis."""
    return float((torch.cdist(points, islands).amin(dim=1) ** 2).mean() / 2) ** 0.5


first_noise = normal()
print(f"data: {spread(data):.3f}")
for steps in (50, 200, 1000):
    too_small = start_over(first_noise, evenly(steps))
    print(f"start over, {steps:4d} steps: {spread(too_small):.3f}")

# %% [markdown]
# The islands come out too small, and **a thousand steps do not help**. Each jump goes to a mean, and a mean
# lies nearer to the middle than the points it is made of. By taking wholly fresh noise we forget what x
# itself knew.
#
# The cure is to keep a part of x. How large a part follows from the forward process: if noise was added by
# the rules of chapter 01, where was x one step before? The answer is a Gaussian, and its mean and variance
# are the sampler **DDPM** (mean and variance: the equations are in the sources; Ho et al. 2020). With β = 1 − ᾱ/ᾱ′,
# the share of noise that the step had added, also where timesteps are left out (Nichol and Dhariwal 2021):
#
# $$x' = \frac{1}{\sqrt{1-\beta}}\Big(x - \frac{\beta}{\sqrt{1-\bar\alpha}}\,\varepsilon\Big)
# + \sqrt{\beta\,\frac{1-\bar\alpha'}{1-\bar\alpha}}\;n, \qquad n \sim \mathcal N(0, 1)$$
#
# The prime means: after our step. There is less noise then, so ᾱ′ > ᾱ; in the forward process x′ came *earlier*. (We
# skip the algebra.)


# %%
def ddpm(x, alpha_bars, noise):
    for here, there in pairwise(alpha_bars):
        _, eps = belief(x, here)
        beta = 1 - here / there
        mean = (x - beta / (1 - here) ** 0.5 * eps) / (1 - beta) ** 0.5
        x = mean + (beta * (1 - there) / (1 - here)) ** 0.5 * noise()
    return x


for steps in (50, 200, 1000):
    by_ddpm = ddpm(first_noise, evenly(steps), normal)
    print(f"DDPM, {steps:4d} steps: {spread(by_ddpm):.3f}")
viz.paths(
    {"the data": data[None], "start over, 1000 steps": too_small[None], "DDPM, 1000 steps": by_ddpm[None]},
    islands,
    reach=2.1,
    alt="Six islands three times. Those of the data and of DDPM are equally large, those of starting over smaller.",
)

# %% [markdown]
# Now more steps help. But it takes very many, and two runs from the same start end in different places. Is
# the fresh noise needed at all?
#
# ## 3 · The same without chance
#
# **DDIM** (equation 12 of Song, Meng, Ermon 2020) says no. The network has told us both parts of x: belief and
# noise. Put them together again, in the proportion of the next level. The noise is not fresh. It is the one
# that was seen.


# %%
def ddim(x, alpha_bars):
    for here, there in pairwise(alpha_bars):
        _, eps = belief(x, here)
        x0 = (x - (1 - here) ** 0.5 * eps) / here**0.5
        x = there**0.5 * x0 + (1 - there) ** 0.5 * eps
    return x


for steps in (50, 200, 1000):
    print(f"DDIM, {steps:4d} steps: {spread(ddim(first_noise, evenly(steps))):.3f}")

# %% [markdown]
# No better, at the same number of steps. But the way now has *one* right end, which the start decides, and better
# methods (section 8) can come near it in fewer steps. And why do these islands not shrink as those of the first
# attempt? Because ε remembers where on its island x was.
#
# ## 4 · One line apart
#
# Both formulas are full of roots. Most of them belong to the scaling, not to the idea. So divide x by √ᾱ, and
# write σ for √((1 − ᾱ)/ᾱ): the scaling x₀ + σ ε of chapter 01. Then DDIM's line says: *x₀ + σ ε becomes
# x₀ + σ′ ε*. That is
#
# $$x' = x + (\sigma' - \sigma)\,\varepsilon$$
#
# You have seen this before, outside of this course. ε is a slope, σ′ − σ is the length of a step. It is
# **Euler's method** for the equation dx/dσ = ε(x, σ) (equation 1 of Karras et al. 2022).
#
# And DDPM? It goes down *too far*, to a level σ↓ below σ′, and adds fresh noise to come up again. Variances add, so
# σ↓² + σ↑² = σ′². How much is σ↑? σ↑² is the variance of DDPM's last term in this scaling: put β and ᾱ = 1/(1 + σ²)
# in, divide by ᾱ′, and σ↑ = σ′ √(σ² − σ′²)/σ comes out. Here are both, as they stand in the package. A sampler is a
# *generator*: it hands out each step as it is taken, with all that belongs to it.

# %%
# -> sdlearn/samplers.py
Denoise = Callable[[Tensor, float], Prediction]
Noise = Callable[[], Tensor]


def euler(denoise: Denoise, x: Tensor, sigmas: Sequence[float], done: Sequence[Step] = ()) -> Iterator[Step]:
    """Straight lines along eps. In the papers' scaling this is DDIM (Song, Meng, Ermon 2020, eq. 12)."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        x_next = x + (sigma_next - sigma) * pred.eps
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


def euler_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise: Noise,
    done: Sequence[Step] = (),
    eta: float = 1.0,
) -> Iterator[Step]:
    """Go down too far, then add fresh noise up to sigma_next: DDPM (Ho et al. 2020, eq. 7) when eta = 1.

    ``eta`` scales the fresh noise (Song, Meng, Ermon 2020, eq. 16); ``noise()`` draws one like x a step.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        up = eta * sigma_next * math.sqrt(max(sigma**2 - sigma_next**2, 0.0)) / sigma
        down = math.sqrt(max(sigma_next**2 - up**2, 0.0))
        x_next = x + (down - sigma) * pred.eps
        if up > 0:
            x_next = x_next + up * noise()
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


# %% [markdown]
# (`done` matters only to a run that is resumed, and to samplers that look back; `eta` goes from Euler at 0 to
# DDPM at 1.) Do they agree with the papers' formulas? Same start, same noise, every digit:


# %%
def rolled(seed):
    """Noise that can be drawn a second time."""
    own = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(NUMBER, 2, generator=own, dtype=torch.float64)


def end(steps):
    """Where a run ends."""
    *_, last = steps
    return last.x_next


alpha_bars = evenly(15)
sigmas = [((1 - level) / level) ** 0.5 for level in alpha_bars]
start = first_noise / alpha_bars[0] ** 0.5
same = {
    "DDIM and Euler": ddim(first_noise, alpha_bars) - end(euler(perfect, start, sigmas)),
    "DDPM and ancestral Euler": ddpm(first_noise, alpha_bars, rolled(5))
    - end(euler_ancestral(perfect, start, sigmas, rolled(5))),
}
for name, difference in same.items():
    print(f"{name:25s} differ by at most {difference.abs().max():.0e}")
    assert difference.abs().max() < 1e-9

# %% [markdown]
# They are the same algorithms. Two papers, one line apart.
#
# ### Just enough noise
#
# A sampler makes a promise: after each step just the noise of the next level is left. The network will be *told* that
# level. Let us check. How noisy is a cloud? Noise cannot be seen, only the distance to the nearest island. So we add
# known noise to the data until they lie equally far away; that σ is the reading. And let us break the promise, by
# removing only 80 % of what Euler removes, or 120 %.


# %%
def greedy(x, sigmas, factor):
    """Euler's method that takes ``factor`` times the step: all clouds on the way."""
    clouds = [x]
    for sigma, sigma_next in pairwise(sigmas):
        clouds.append(clouds[-1] + factor * (sigma_next - sigma) * perfect(clouds[-1], sigma).eps)
    return torch.stack(clouds)  # (levels, points, 2)


known = np.linspace(0, 1.1 * largest, 400)
far = [spread(data + sigma * first_noise) for sigma in known]
clouds = {f"{100 * factor:.0f} %": greedy(start, sigmas, factor) for factor in (1.0, 0.8, 1.2)}
found = {name: [np.interp(spread(one), far, known) for one in ones] for name, ones in clouds.items()}
viz.stairs(sigmas, found)

# %%
viz.paths(
    {f"{name} of each step": ones[-1:] for name, ones in clouds.items()},
    islands,
    reach=2.3,
    alt="Where the points end. With all of each step: on the islands. With 80 %: in wide clouds. With 120 %: on "
    "islands that are too small, and on thin lines between them.",
)

# %% [markdown]
# This is a noise schedule of 15 steps. Euler's circles stay on the stairs. Who removes less stays above them, and ends
# with noise in the picture. Who removes more falls below, and ends on a skeleton of the data: details are lost. (At
# the end its triangles only seem to come back to the stairs: points that are still between the islands count as noise.
# Some stay there in any case, 15 steps are few.)
#
# ## 5 · Drift and chance
#
# Here are the paths, in the scaling of the papers, so that they fit on the page. First twelve points; then *one*
# starting point (the circle), three times with Euler, three times with ancestral Euler.


# %%
def path(steps):
    """All moments of a run in the scaling of the papers: (levels, points, 2)."""
    steps = list(steps)
    last = schedule.to_vp(steps[-1].x_next, steps[-1].sigma_next)
    return torch.stack([*(schedule.to_vp(step.x, step.sigma) for step in steps), last])


def fresh():
    return torch.randn(3, 2, generator=generator, dtype=torch.float64)


fine = [((1 - level) / level) ** 0.5 for level in evenly(40)]
twelve, one = start[:12], start[5:6].expand(3, 2)
viz.paths(
    {
        "Euler, twelve starts": path(euler(perfect, twelve, fine)),
        "Euler, one start": path(euler(perfect, one, fine)),
        "ancestral, one start": path(euler_ancestral(perfect, one, fine, fresh)),
    },
    islands,
    reach=2.6,
    alt="Paths from noise to the islands. Euler: smooth curves that never cross. Euler from one start: one and "
    "the same curve. Ancestral from one start: jagged paths to several islands.",
)

# %%
one_run = list(euler_ancestral(perfect, start, fine, normal))
drift = sum(step.x_next - step.x for step in euler(perfect, start, fine))
zigzag = sum((step.x_next - step.x).norm(dim=1) for step in one_run)
straight = (one_run[-1].x_next - start).norm(dim=1)
print(f"ancestral: {zigzag.mean() / straight.mean():.1f} times as long as the straight way")
smooth = sum((step.x_next - step.x).norm(dim=1) for step in euler(perfect, start, fine))
print(f"Euler:     {smooth.mean() / drift.norm(dim=1).mean():.2f} times")

# %% [markdown]
# Euler's paths are only *drift*: the start decides the end. Ancestral paths are drift plus random motion. The noise
# that comes in on the way can carry a point to any island. Both give the right clouds if the steps are many; they
# are two ways to undo the same diffusion.
#
# Which is better? Chance is said to correct errors (Karras et al. 2022, section 4). Let us make one: the whole cloud of
# pure noise is moved, by half of σ. Where do its points end now? Fair shares are 166 or 167 on each island.

# %%
moved = start + largest / 2
finer = [((1 - level) / level) ** 0.5 for level in evenly(200)]
both_ways = {
    "Euler": euler(perfect, moved, finer),
    "ancestral": euler_ancestral(perfect, moved, finer, rolled(5)),
}
for name, steps in both_ways.items():
    nearest = torch.cdist(end(steps), islands).argmin(dim=1)
    print(f"{name:9s} points on each island:", torch.bincount(nearest, minlength=6).tolist())
print("fair shares: between", NUMBER // 6, "and", NUMBER // 6 + 1)

# %% [markdown]
# Euler carries the error to the end. Fresh noise has covered it. But with chance a path has no *one* right end, and
# errors could not be measured. So we follow the drift from here on.
#
# ## 6 · A network becomes a denoiser
#
# A sampler knows only `denoise(x, sigma)`. A network is more particular. It wants x at unit variance, it wants
# a timestep instead of σ, and it may answer with something else than ε. Some models answer with
# v = √ᾱ ε − √(1 − ᾱ) x₀ (Salimans and Ho 2022). All of that ends here:

# %%
# -> sdlearn/denoise.py
Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def from_epsilon(x: Tensor, sigma: float, eps: Tensor) -> tuple[Tensor, Tensor]:
    """(x0, eps) when the network answers with the noise: x0 = x - sigma * eps."""
    return x - sigma * eps, eps


def from_v(x: Tensor, sigma: float, v: Tensor) -> tuple[Tensor, Tensor]:
    """(x0, eps) when the network answers with v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0.

    Salimans and Ho 2022, appendix D; here with alpha_bar = 1 / (1 + sigma^2).
    """
    root = math.sqrt(1 + sigma**2)
    return x / root**2 - v * (sigma / root), v / root + x * (sigma / root**2)


def to_v(x0: Tensor, eps: Tensor, sigma: float) -> Tensor:
    """The v that belongs to x0 and eps: the training target of a v-prediction network."""
    return (eps - sigma * x0) / math.sqrt(1 + sigma**2)


PREDICTION_TYPES = {"epsilon": from_epsilon, "v_prediction": from_v}


# %%
# -> sdlearn/denoise.py
@dataclass(frozen=True)
class Denoiser:
    """``denoise(x, sigma, context)`` around ``network(x_in, timesteps, context)``.

    x is (B, C, H, W) in sigma coordinates; the network gets it at unit variance, x / sqrt(sigma^2 + 1), and
    one float32 timestep an image. ``timestep`` says which belongs to a sigma (by default the schedule's).
    """

    network: Network
    schedule: Schedule
    prediction_type: str = "epsilon"
    timestep: Callable[[float], float] | None = None

    def __post_init__(self):
        if self.prediction_type not in PREDICTION_TYPES:
            allowed = ", ".join(PREDICTION_TYPES)
            raise ValueError(f"prediction_type {self.prediction_type!r} is unknown; use one of {allowed}.")

    def __call__(self, x: Tensor, sigma: float, context: Tensor | None = None) -> Prediction:
        t = (self.timestep or self.schedule.sigma_to_t)(sigma)
        timesteps = torch.full((len(x),), t, dtype=torch.float32, device=x.device)
        output = self.network(self.schedule.to_vp(x, sigma), timesteps, context)
        x0, eps = PREDICTION_TYPES[self.prediction_type](x, sigma, output)
        return Prediction(x0=x0, eps=eps, timestep=t)


# %% [markdown]
# With guidance around it, the shipped network is a `denoise` like `perfect` (why guidance works is a later
# chapter; here it is one line). The same `euler` now draws pictures.

# %%
plain = Denoiser(pipe.predict, pipe.schedule)
words = pipe.encode_prompt(["", PROMPT])  # (2, tokens, width)
latent_noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(SEED))


@torch.no_grad()
def guided(x, sigma):
    both = plain(torch.cat([x, x]), sigma, words)
    without, with_words = both.eps.chunk(2)
    eps = without + 7.5 * (with_words - without)
    return Prediction(x0=x - sigma * eps, eps=eps, timestep=both.timestep)


seen = perfect(start, largest)
x0, eps = from_v(start, largest, to_v(seen.x0, seen.eps, largest))
print(f"from_v undoes to_v, up to {max((x0 - seen.x0).abs().max(), (eps - seen.eps).abs().max()):.0e}")

# %% [markdown]
# ## 7 · Which levels?
#
# Fifteen steps; where to put them? **Guess:** equal steps in σ, or large steps first and small ones at the end?
#
# These are the lists in use. Three choose timesteps, two choose noise levels. (`offset` moves `leading` up; Stable
# Diffusion's checkpoints ask for 1.)


# %%
# -> sdlearn/spacing.py
def leading(steps: int, train_steps: int, offset: int = 0) -> np.ndarray:
    """Multiples of T // N plus an offset: 981, 961 ... 21, 1 for N = 50, T = 1000, offset 1; never T - 1."""
    stride = train_steps // steps
    offset = min(offset, train_steps - 1 - (steps - 1) * stride)  # N = T leaves no room for an offset
    return np.arange(steps)[::-1] * stride + float(offset)


def trailing(steps: int, train_steps: int, offset: int = 0) -> np.ndarray:
    """Multiples of T / N counted down from the end: 999, 979 ... 39, 19 for N = 50, T = 1000."""
    return np.round(np.arange(steps, 0, -1) * (train_steps / steps)) - 1


def linspace(steps: int, train_steps: int, offset: int = 0) -> np.ndarray:
    """N evenly spaced points from T - 1 to 0, both included, mostly between whole ones: 999, 978.6 ... 0."""
    return np.linspace(0, train_steps - 1, steps)[::-1]


def karras(sigma_min: float, sigma_max: float, steps: int, rho: float = 7.0) -> np.ndarray:
    """N noise levels from sigma_max to sigma_min, even in sigma^(1/rho) (Karras et al. 2022, eq. 5)."""
    ramp = np.linspace(0, 1, steps)
    first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return (first + ramp * (last - first)) ** rho


def exponential(sigma_min: float, sigma_max: float, steps: int) -> np.ndarray:
    """N noise levels from sigma_max to sigma_min, even in log(sigma)."""
    return np.exp(np.linspace(math.log(sigma_max), math.log(sigma_min), steps))


# %%
smallest = float(schedule.sigmas[0])


def karras_list(steps):
    return [*karras(smallest, largest, steps).tolist(), 0.0]


fifteen = {
    "equal in σ": np.linspace(largest, 0, 16).tolist(),
    "leading": [*schedule.sigma(leading(15, 1000, 1)).tolist(), 0.0],
    "trailing": [*schedule.sigma(trailing(15, 1000)).tolist(), 0.0],
    "linspace": [*schedule.sigma(linspace(15, 1000)).tolist(), 0.0],
    "karras": karras_list(15),
    "exponential": [*exponential(smallest, largest, 15).tolist(), 0.0],
}
viz.noise_levels(fifteen)

# %%
chosen = {name: fifteen[name] for name in ("equal in σ", "trailing", "karras")}
root = latent_noise * math.sqrt(1 + largest**2)
viz.paths(
    {name: end(euler(perfect, start, levels))[None] for name, levels in chosen.items()},
    islands,
    reach=2.3,
    alt="Where fifteen Euler steps end. Equal steps in σ: points between and inside the islands, far too wide. "
    "Trailing and karras: six islands.",
)

# %%
short = [
    np.linspace(largest, 0, 7).tolist(),
    [*schedule.sigma(trailing(6, 1000)).tolist(), 0.0],
    karras_list(6),
]
drawn = {
    "15 steps": pipe.decode(torch.cat([end(euler(guided, root, levels)) for levels in chosen.values()])),
    "6 steps": pipe.decode(torch.cat([end(euler(guided, root, levels)) for levels in short])),
}
viz.strip(
    drawn,
    list(chosen),
    zoom=1.6,
    alt="Two rows of three pictures by Euler steps. Equal steps: the castle is partly orange after fifteen steps; "
    "after six the whole is patched in wrong colours. The other two lists: clean shapes; after six steps the cat of "
    "karras is yellow.",
)

# %% [markdown]
# Same network, same number of steps. The islands show it plainly. In the pictures of 15 steps, only one side of the
# left castle has the wrong colour. With six, equal steps tear the cat; but the other lists are not right either:
# karras' cat is yellow.
#
# The equal steps are nearly all spent where everything is still noise. The last one then jumps from σ of about one to
# zero: the jump of section 1. Front-loaded lists take large steps where little happens, and small ones where the
# picture is decided. (Lists of timesteps are front-loaded too: the schedule itself is, in σ.)
#
# `leading` starts below the largest σ: pure noise is handed to the network as if a little picture were in it.
# `trailing` ends with a long step. Details like these explain why "the same sampler" differs between programs
# (Lin et al. 2024).
#
# ## 8 · Curves instead of straight lines
#
# Euler takes the slope at the beginning of a step and walks straight on. The true path bends. **Guess:** with
# twice as many steps, how much smaller does Euler's error get? And can one do better?
#
# **Heun** tries an Euler step, looks at the slope *there*, and takes the mean of both. It costs two
# evaluations a step.


# %%
# -> sdlearn/samplers.py
def heun(denoise: Denoise, x: Tensor, sigmas: Sequence[float], done: Sequence[Step] = ()) -> Iterator[Step]:
    """An Euler step to try, then again with the mean of both ends' eps (Karras et al. 2022, algorithm 1).

    Two evaluations a step; the step to sigma = 0, where eps is not defined, stays Euler.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        x_next = x + (sigma_next - sigma) * pred.eps
        if sigma_next > 0:
            mean = (pred.eps + denoise(x_next, sigma_next).eps) / 2
            x_next = x + (sigma_next - sigma) * mean
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


# %% [markdown]
# **PLMS** (pseudo linear multistep; Liu et al. 2022; in the package `pndm`, after the paper) costs one: it looks back.
# A polynomial goes through the last four slopes; its continuation is integrated over the next step. It is the method
# of Adams and Bashforth, more than a century old. Stable Diffusion's published checkpoints name this sampler as
# theirs.

# %%
# -> sdlearn/samplers.py
ADAMS_BASHFORTH = (  # weights of eps, newest first, by the number of evaluations known
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def pndm(denoise: Denoise, x: Tensor, sigmas: Sequence[float], done: Sequence[Step] = ()) -> Iterator[Step]:
    """Extrapolate eps from up to four evaluations (PLMS; Liu et al. 2022).

    The weights of Adams and Bashforth, as if for equal steps. Without anything to look back on,
    the first step is a Heun step, so N steps cost N + 1 evaluations.
    """
    history = [step.pred.eps for step in reversed(done[-3:])]
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        history = [pred.eps, *history[:3]]
        weights = ADAMS_BASHFORTH[len(history) - 1]
        slope = sum(weight * eps for weight, eps in zip(weights, history, strict=True))
        x_next = x + (sigma_next - sigma) * slope
        if i == 0 and len(sigmas) > 2:
            mean = (pred.eps + denoise(x_next, sigma_next).eps) / 2
            x_next = x + (sigma_next - sigma) * mean
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


# %% [markdown]
# **DPM-Solver++(2M)** (second order, multistep; Lu et al. 2022) looks back once. It writes the slope as (x − x₀)/σ. If
# the belief x₀ stood still, the way to σ′ would be known exactly: x′ = (σ′/σ) x + (1 − σ′/σ) x₀. (This is Euler's step
# once more.) The belief does move, but slowly. So 2M extrapolates *it*, along log σ, to the middle of the step. In the
# code `-expm1(-h)` is 1 − σ′/σ.


# %%
# -> sdlearn/samplers.py
def extrapolated(pred: Prediction, h: float, last: Step | None) -> Tensor:
    """x0 in the middle of the next step of length h in lambda = -log(sigma), along the line from the last x0."""
    if last is None:
        return pred.x0
    h_last = math.log(last.sigma / last.sigma_next)
    return pred.x0 + (h / (2 * h_last)) * (pred.x0 - last.pred.x0)


def dpmpp_2m(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], done: Sequence[Step] = ()
) -> Iterator[Step]:
    """DPM-Solver++(2M): linear part exact, x0 extrapolated in lambda = -log(sigma) (Lu et al. 2022, alg. 2).

    First order at the start (nothing to look back on) and to sigma = 0 (lambda is infinite, x becomes x0).
    """
    last = done[-1] if done else None
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        x_next = pred.x0
        if sigma_next > 0:
            h = math.log(sigma / sigma_next)
            x_next = (sigma_next / sigma) * x - math.expm1(-h) * extrapolated(pred, h, last)
        last = Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        yield last
        x = x_next


# %% [markdown]
# Where do 55, −59, 37, −9 come from? The last four slopes were seen at 0, −1, −2, −3 steps; the next step goes
# from 0 to 1. For each of the four take the polynomial that is 1 there and 0 at the other three (Lagrange), and
# integrate it from 0 to 1. That is its weight.


# %%
def lagrange_weights(number):
    weights = []
    for place in range(number):
        others = [-other for other in range(number) if other != place]
        bump = np.polynomial.Polynomial.fromroots(others) if others else np.polynomial.Polynomial([1.0])
        area = bump.integ()
        weights.append((area(1) - area(0)) / bump(-place))
    return weights


for number, published in enumerate(ADAMS_BASHFORTH, start=1):
    assert np.allclose(lagrange_weights(number), published, atol=1e-12)
print("four slopes, in 24ths:", *(f"{24 * weight:.0f}" for weight in lagrange_weights(4)))

# %% [markdown]
# ### The order of a method
#
# Now the measurement. The reference is a PLMS run of 1000 equal steps. We measure on the part of the way from σ = 3 to
# σ = 0.3, where the points find their island. If the error falls like steps to the power −p, it is a straight line
# on logarithmic paper. Its steepness p is the *order* of the method. Thin lines are fits to the last three
# points. On the left all steps are equal in σ; on the right the levels are Karras'.


# %%
METHODS = {"Euler": euler, "Heun": heun, "PLMS": pndm, "DPM-Solver++ 2M": dpmpp_2m}
COUNTS = [10, 20, 40, 80, 160, 320]
GRIDS = {
    "equal steps in σ": lambda steps: np.linspace(3, 0.3, steps + 1).tolist(),
    "karras spacing": lambda steps: karras(0.3, 3, steps + 1).tolist(),
}
begin = math.sqrt(1 + 3**2) * first_noise[:300]
reference = end(pndm(perfect, begin, GRIDS["equal steps in σ"](1000)))


def error(method, sigmas):
    return float((end(method(perfect, begin, sigmas)) - reference).norm(dim=1).mean())


errors = {
    title: {name: [error(method, grid(steps)) for steps in COUNTS] for name, method in METHODS.items()}
    for title, grid in GRIDS.items()
}
for title, lines in errors.items():
    print(
        title, *(f"{name} {viz.slope(COUNTS[3:], line[3:]):.2f}" for name, line in lines.items()), sep="   "
    )
plms = errors["equal steps in σ"]["PLMS"]
climbing = [viz.slope(COUNTS[k : k + 2], plms[k : k + 2]) for k in range(len(COUNTS) - 1)]
print("PLMS with equal steps, from point to point:", *(f"{one:.2f}" for one in climbing))
viz.error_against_steps(errors, COUNTS, fit_from=3)

# %% [markdown]
# Euler's error halves with twice the steps: order 1. Heun and 2M divide it by four: order 2.
#
# PLMS is the surprise. With equal steps its slope climbs from point to point towards 4, the number of slopes that it
# looks at. (The first steps have less to look back on, but their errors are tiny here.) With Karras' spacing it is 2,
# which is also what Liu et al. prove: the weights were derived *for equal steps*, and on the right they are used for
# unequal ones. With weights for the steps as they are, it is called LMS (linear multistep,
# `sdlearn/samplers_more.py`).
#
# Order is not everything. It says how fast the error *falls*, not how large it is. Look at the left end of the
# lines, where pictures are drawn.
#
# ## 9 · One sheet
#
# Back to pictures: same seed, same Karras levels, only the sampler differs. The error is measured against a run
# of many steps.

# %%
SHEET = {"Euler": euler, "Heun": heun, "PLMS": pndm, "2M": dpmpp_2m}
STEPS = [4, 8, 16, 24]
best = end(dpmpp_2m(guided, root, karras_list(60)))
ends, seconds = {}, {}
for name, method in SHEET.items():
    for steps in STEPS:
        clock = time.perf_counter()
        ends[name, steps] = end(method(guided, root, karras_list(steps)))
        seconds[name, steps] = time.perf_counter() - clock
latent_error = {name: [float((ends[name, steps] - best).std()) for steps in STEPS] for name in SHEET}
for name, line in latent_error.items():
    cost = ", ".join(f"{seconds[name, steps]:.1f}" for steps in STEPS)
    print(f"{name:6s} error {', '.join(f'{value:.3f}' for value in line)}   seconds {cost}")


# %%
def latent_chance():
    return torch.randn(1, 4, 16, 16, generator=chance)


names = [*SHEET, "ancestral", "ancestral, other noise"]
for name, noise_seed in zip(names[-2:], (3, 5), strict=True):
    chance = torch.Generator().manual_seed(noise_seed)
    for steps in STEPS:
        ends[name, steps] = end(euler_ancestral(guided, root, karras_list(steps), latent_chance))
rows = {name: pipe.decode(torch.cat([ends[name, steps] for steps in STEPS])) for name in names}
viz.strip(
    rows,
    [f"steps: {steps}" for steps in STEPS],
    zoom=1,
    alt="Six rows, four numbers of steps. After four steps Euler shows a cat on a castle, Heun, PLMS and 2M blots, "
    "ancestral a castle under a glaring blot. After 24 steps the four without chance show nearly the same picture, "
    "only the cat of PLMS is yellow. The two ancestral rows differ from them and from each other.",
)

# %% [markdown]
# More steps are better and slower. The four without chance come to *the same* picture: they follow one path, better or
# worse. (PLMS is last: its cat is still yellow.) Ancestral goes its own way, with every noise another.
#
# Read the first column too. With four steps the simplest sampler is the best. Heun trusts the slope at the end of a
# step that is far too long; PLMS and 2M extrapolate. PLMS stays behind even with 16: in section 8 we began at σ = 3,
# here at 14.6, and with guidance.
#
# What is best for equal *cost*? Compare Heun's 8 steps, which ask the network 15 times, with 16 steps of the others.
# One seed says little, so here are three more. The reference is Heun's this time, lest 2M be its own judge.

# %%
for seed in (1, 2, 3):
    other = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed)) * math.hypot(1, largest)
    true = end(heun(guided, other, karras_list(40)))
    off = {}
    for name, method in SHEET.items():
        steps = 8 if name == "Heun" else 16
        off[name] = float((end(method(guided, other, karras_list(steps))) - true).std())
    print(f"seed {seed}:", *(f"{name} {value:.3f}" for name, value in off.items()))

# %% [markdown]
# 2M has the least error each time, in this model and for this prompt. It is the pipeline's default.
#
# ## 10 · Play
#
# Two runs of the pipeline, without and with fresh noise, recorded. What does the network believe on the way?

# %%
runs = {
    name: pipe.txt2img(PROMPT, seed=SEED, num_inference_steps=18, sampler=sampler)
    for name, sampler in {"euler": "euler", "ancestral": "euler_a"}.items()
}
film = {name: pipe.decode(torch.cat([step.pred.x0 for step in run.steps[::3]])) for name, run in runs.items()}
viz.strip(
    film,
    [f"step {step.i + 1}" for step in runs["euler"].steps[::3]],
    zoom=1.1,
    alt="Two film strips of beliefs. Both begin with a blur of an orange thing on a red one and become a cat on a "
    "castle.",
)

# %% [markdown]
# While the notebook is running, both runs stand under one slider, with every step:

# %%
from sdlearn.viz import widgets

widgets.run_explorer(runs["euler"], runs["ancestral"], pipe=pipe, names=["euler", "ancestral"])

# %% [markdown]
# ## 11 · Your samplers in the pipeline
#
# The pipeline finds samplers by name in a table. For a moment we put the functions of *this notebook* into it. Is it
# still the same picture, bit for bit?

# %%
from dataclasses import replace
from unittest.mock import patch

from sdlearn.plan import SAMPLERS, get_sampler

OURS = {
    "ddpm": euler_ancestral,
    "ddim": euler,
    "euler": euler,
    "heun": heun,
    "pndm": pndm,
    "dpmpp_2m": dpmpp_2m,
}
table = {name: replace(get_sampler(name), method=method) for name, method in OURS.items()}


def draw(name, steps):
    return pipe.txt2img(PROMPT, seed=SEED, sampler=name, num_inference_steps=steps).images[0]


shipped = {name: draw(name, 5) for name in OURS} | {"picture": draw("dpmpp_2m", 25)}
with patch.dict(SAMPLERS, table):
    assert all(get_sampler(name).method is method for name, method in OURS.items())
    ours = {name: draw(name, 5) for name in OURS} | {"picture": draw("dpmpp_2m", 25)}
for name in OURS:
    print(f"{name:9s} every pixel equal: {np.array_equal(shipped[name], ours[name])}")
assert all(np.array_equal(shipped[name], ours[name]) for name in shipped)
viz.strip(
    {"": [shipped["picture"], ours["picture"]]},
    ["the pipeline's sampler", "yours"],
    zoom=1.2,
    alt="Two equal pictures: an orange cat on a red castle.",
)

# %% [markdown]
# ## 12 · Spot the bug
#
# Here is DDIM once more, as many programs write it: with timesteps. For years it was right, because everybody used
# `leading`. Then other spacings came.


# %%
def alpha_bar_at(t):
    return float(schedule.alpha_bar[t]) if t >= 0 else 1.0


def ddim_with_a_bug(denoise, x, timesteps):
    """All clouds on the way, each in the scaling x0 + sigma * eps, and the end."""
    moments, steps = [], len(timesteps)
    for t in timesteps.round().astype(int).tolist():
        here, there = alpha_bar_at(t), alpha_bar_at(t - 1000 // steps)
        moments.append(x / here**0.5)
        eps = denoise(moments[-1], ((1 - here) / here) ** 0.5).eps
        x0 = (x - (1 - here) ** 0.5 * eps) / here**0.5
        x = there**0.5 * x0 + (1 - there) ** 0.5 * eps
    return torch.stack([*moments, x])


# %% [markdown]
# Eight steps and another seed. The same code with two spacings, and `linspace` again with the bug mended. Look at the
# sky; below, a part of it with more contrast. (`leading` starts too low, section 7, so its picture differs a little in
# any case.)

# %%
visited = linspace(8, 1000).round()
eight = [*schedule.sigma(visited).tolist(), 0.0]
other_noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(4))
strange = {
    "leading": ddim_with_a_bug(guided, other_noise, leading(8, 1000))[-1],
    "linspace": ddim_with_a_bug(guided, other_noise, visited)[-1],
    "linspace, mended": end(euler(guided, other_noise * math.hypot(1, eight[0]), eight)),
}
pictures = pipe.decode(torch.cat(list(strange.values())))
skies = [np.asarray(picture)[:24, 40:104].astype(float) for picture in pictures]  # (24, 64, 3)
uneven = [
    sky - np.median(sky, axis=1, keepdims=True) for sky in skies
]  # without what changes from top to bottom
for name, rest in zip(strange, uneven, strict=True):
    print(f"{name:17s} unevenness of the sky: {rest.std():.1f} of 255")
contrast = [
    Image.fromarray(np.clip(128 + 5 * rest, 0, 255).astype(np.uint8)).resize((128, 48)) for rest in uneven
]
viz.strip(
    {"": pictures, "the sky above the ears, enlarged, 5 times the contrast": contrast},
    list(strange),
    zoom=1.7,
    alt="Three pictures of eight steps, below each its sky with more contrast. With leading the sky is nearly even. "
    "With linspace there are dark and light blotches in it. Mended, it is nearly even again.",
)

# %% [markdown]
# No error, no warning, and a decent picture. The check of section 4 is more severe. Does the sampler
# keep its promise?

# %%
promised = [*schedule.sigma(linspace(15, 1000).round()).tolist(), 0.0]
with_bug = ddim_with_a_bug(perfect, first_noise, linspace(15, 1000))
mended = greedy(first_noise * math.hypot(1, promised[0]), promised, 1.0)
print(
    f"spread of the data {spread(data):.3f}, mended {spread(mended[-1]):.3f}, with the bug {spread(with_bug[-1]):.3f}"
)
viz.stairs(
    promised,
    {
        name: [np.interp(spread(one), far, known) for one in ones]
        for name, ones in {"mended": mended, "with the bug": with_bug}.items()
    },
)

# %% [markdown]
# At the end noise is left over, several times as much as the network is told, and it stays in the picture. That is
# what you saw in the sky. **Which line is it, and why is `leading` safe?** Print
# for each step the level at which x is left, and the level that the network is told next.

# %%
# your prints

# %% [markdown]
# Think before you scroll.
#
# ...
#
# The line with `t - 1000 // steps`: it *computes* the next timestep instead of looking it up. That is the next
# one of `leading`, whose stride is T // N. In `linspace` the stride is longer. So each step stops too early, at a
# noisier level than the one that the network is told next. diffusers has had this line in `DDIMScheduler`
# (issues `#9261`, `#11347`, `#12633`). In σ notation the bug cannot be written: a step is a pair of neighbours
# in one list.

# %% [markdown]
# ## 13 · Your turn
#
# Replace each `...`, run the cell, read what it says.

# %%
from sdlearn.exercises import check

# %% [markdown]
# **03.1** A point x = 2 at σ = 0.4, and the network says ε = 3. The last step goes to σ = 0. Where does Euler end?

# %%
answer = ...
check("03.1", answer)

# %% [markdown]
# **03.2** A run of 10 steps that ends at σ = 0. How often does Heun ask the network?

# %%
answer = ...
check("03.2", answer)

# %% [markdown]
# **03.3** A method of second order has an error of 0.08 with 10 steps. What do you expect with 40 steps?

# %%
answer = ...  # with 10 steps it is 0.08
check("03.3", answer)

# %% [markdown]
# **03.4** Ancestral Euler steps from σ = 5 to σ′ = 4, η = 1. To which level σ↓ does it go down, and with which
# strength σ↑ is fresh noise added? Give `[down, up]`.

# %%
answer = [..., ...]
check("03.4", answer)


# %% [markdown]
# **03.5** DDIM in the scaling of the papers, for a network that answers with v = √ᾱ ε − √(1 − ᾱ) x₀. First find x₀ and
# ε from x and v.


# %%
def ddim_step(x, v, alpha_bar, alpha_bar_next):
    return ...  # x at alpha_bar_next


check("03.5", ddim_step)

# %% [markdown]
# **03.6** Invent a sampler, the *midpoint method*: an Euler step to the middle between σ and σ′, ask there, and take
# that slope for the whole step.


# %%
def midpoint_step(denoise, x, sigma, sigma_next):
    return ...  # x at sigma_next; denoise(x, sigma).eps is a slope


check("03.6", midpoint_step)

# %% [markdown]
# ## 14 · All of it on one screen
#
# Five samplers in one loop. Each is a line or three; the rest is common.


# %%
def sample(name, denoise, x, sigmas, noise=None):
    slopes, last = [], None
    for sigma, after in pairwise(sigmas):
        pred = denoise(x, sigma)
        slopes = [pred.eps, *slopes[:3]]
        new = x + (after - sigma) * pred.eps  # Euler, DDIM
        if name == "ancestral" and after > 0:  # DDPM
            up = after * math.sqrt(sigma**2 - after**2) / sigma
            new = x + (math.sqrt(after**2 - up**2) - sigma) * pred.eps + up * noise()
        if after > 0 and (name == "heun" or (name == "plms" and last is None)):
            new = x + (after - sigma) * (pred.eps + denoise(new, after).eps) / 2
        elif name == "plms":
            new = x + (after - sigma) * sum(w * e for w, e in zip(ADAMS_BASHFORTH[len(slopes) - 1], slopes))
        elif name == "2m" and last is not None and after > 0:
            ahead = math.log(sigma / after) / (2 * math.log(last[0] / sigma))
            x0 = pred.x0 + ahead * (pred.x0 - last[1])
            new = after / sigma * x + (1 - after / sigma) * x0
        last, x = (sigma, pred.x0), new
    return x


pairs = {
    "euler": euler(perfect, start, sigmas),
    "ancestral": euler_ancestral(perfect, start, sigmas, rolled(5)),
    "heun": heun(perfect, start, sigmas),
    "plms": pndm(perfect, start, sigmas),
    "2m": dpmpp_2m(perfect, start, sigmas),
}
for name, steps in pairs.items():
    gap = (sample(name, perfect, start, sigmas, rolled(5)) - end(steps)).abs().max()
    print(f"{name:9s} differs from the one above by at most {gap:.0e}")

# %% [markdown]
# A perfect network gives a mean, so we go in small steps. A step leaves just enough noise for the next level. DDIM is
# Euler, DDPM is Euler with fresh noise. Higher orders pay once the steps are small, and the steps belong where the
# picture is decided.

# %% [markdown]
# ## Sources
#
# * J. Ho, A. Jain, P. Abbeel: *Denoising Diffusion Probabilistic Models* (2020),
#   [arXiv:2006.11239](https://arxiv.org/abs/2006.11239). DDPM: the mean is equation 11, the variance equation 7;
#   algorithm 2.
# * J. Song, C. Meng, S. Ermon: *Denoising Diffusion Implicit Models* (2020),
#   [arXiv:2010.02502](https://arxiv.org/abs/2010.02502). DDIM: equation 12; η: equation 16.
# * A. Nichol, P. Dhariwal: *Improved Denoising Diffusion Probabilistic Models* (2021),
#   [arXiv:2102.09672](https://arxiv.org/abs/2102.09672). Fewer steps than the training had: section 4.
# * Y. Song et al.: *Score-Based Generative Modeling through Stochastic Differential Equations* (2021),
#   [arXiv:2011.13456](https://arxiv.org/abs/2011.13456). One equation with chance, and one without: equation 13.
# * T. Karras, M. Aittala, T. Aila, S. Laine: *Elucidating the Design Space of Diffusion-Based Generative Models*
#   (2022), [arXiv:2206.00364](https://arxiv.org/abs/2206.00364). The σ notation: equation 1; spacing: equation 5;
#   Heun: algorithm 1.
# * T. Salimans, J. Ho: *Progressive Distillation for Fast Sampling of Diffusion Models* (2022),
#   [arXiv:2202.00512](https://arxiv.org/abs/2202.00512). v: appendix D.
# * L. Liu, Y. Ren, Z. Lin, Z. Zhao: *Pseudo Numerical Methods for Diffusion Models on Manifolds* (2022),
#   [arXiv:2202.09778](https://arxiv.org/abs/2202.09778). PNDM and PLMS.
# * C. Lu et al.: *DPM-Solver++* (2022), [arXiv:2211.01095](https://arxiv.org/abs/2211.01095). 2M: algorithm 2.
# * S. Lin, B. Liu, J. Li, X. Yang: *Common Diffusion Noise Schedules and Sample Steps Are Flawed* (2024),
#   [arXiv:2305.08891](https://arxiv.org/abs/2305.08891). Spacings: table 2.
# * F. Bashforth, J. C. Adams: *An Attempt to Test the Theories of Capillary Action* (1883). The weights.
# * diffusers, issues [9261](https://github.com/huggingface/diffusers/issues/9261),
#   [11347](https://github.com/huggingface/diffusers/issues/11347),
#   [12633](https://github.com/huggingface/diffusers/issues/12633). The bug of section 12.
