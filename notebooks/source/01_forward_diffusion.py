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
# # Forward diffusion
#
# A picture drowns in noise. In this chapter you build the rule by which it drowns. It looks like vandalism, and it
# is half of the invention: a network that is to *remove* noise must know exactly how much of it there is.
#
# | | |
# |---|---|
# | **You will build** | `schedule.py`: how noisy each of a thousand timesteps is, and the jump to any of them |
# | **You need** | chapter 00; Python; mean, variance and standard deviation, and what a normal distribution is |
# | **Your time** | {reading} minutes of reading; {seconds} seconds of computing on {cores} CPU cores |
# | **Memory** | {megabytes} MB, no graphics card, no network connection |

# %% [markdown]
# ## 1 · A guess about snow
#
# One cat, one dog. Same colour, same place, same sky. In chapter 00 a drawing began with noise of strength σ =
# 14.6. Here is so much noise on each of them.

# %%
from dataclasses import replace

import torch
from torch.nn.functional import avg_pool2d

import sdlearn
from sdlearn import viz
from sdlearn.exercises import check
from sdlearn.image import to_images, to_tensor
from sdlearn.scenes import Scene, Thing, render

PROMPT, SEED = "an orange cat standing on a red castle", 7  # the picture of chapter 00

pictures = to_tensor([render(Scene((Thing(kind, "orange"),))) for kind in ("cat", "dog")])  # (2, 3, 128, 128)
generator = torch.Generator().manual_seed(1)
noise = torch.randn(pictures.shape, generator=generator)
snow = (pictures + 14.6 * noise) / (1 + 14.6**2) ** 0.5  # made as loud as the noise alone, for our eyes
viz.strip(
    {"clean": to_images(pictures), "with noise, σ = 14.6": to_images(snow)},
    ["cat", "dog"],
    zoom=1.2,
    alt="Above, a drawn cat and a drawn dog in the same place. Below, two squares of coloured snow.",
)

# %% [markdown]
# Somebody tosses a coin, takes the cat or the dog, and adds fresh noise of this strength. A program has both clean
# drawings and must say which one it was. **How often is it right?**
#
# * **A**: 50 %. Nothing is left; it can only toss a coin, too.
# * **B**: 75 %. There is a trace.
# * **C**: 95 %. It nearly always knows.
#
# Write your guess into the next cell, then run it. The program is the simplest there is: to which of the two
# drawings is the noisy one *nearer*? (For this noise no other program does better.)

# %%
guess = "A"
options = {"A": 50, "B": 75, "C": 95}


def hit_rate(pair, sigma, trials, generator):
    """The share of noisy pictures, in percent, that are nearer to what they were made of. pair: (2, ...)."""
    hits = 0
    for k in range(trials):
        noisy = pair[k % 2] + sigma * torch.randn(pair[0].shape, generator=generator)
        own, other = (noisy - pair[k % 2]).square().sum(), (noisy - pair[1 - k % 2]).square().sum()
        hits += int(own < other)
    return 100 * hits / trials


measured = hit_rate(pictures, 14.6, 1000, generator)
print(f"your guess: {options[guess]} %")
print(f"measured:   {measured:.0f} % of 1000 noisy pictures are recognised")
print(f"a picture has {pictures[0].numel():,d} numbers")

# %% [markdown]
# It is C. To us it is snow. But each of the 49,152 numbers carries a tiny hint, and a program can add up hints.
#
# So "drowned" needs a measure, and the noise a plan. By the end of the chapter you can compute this percentage in
# one line, and say under which plan it would be 50.

# %% [markdown]
# ## 2 · One step
#
# Think of ink in water. A drop is a cloud of particles. In every moment each particle is pushed a little, in a
# random direction. Nothing else happens, and yet the drop dissolves (an idea from physics: Sohl-Dickstein et al.
# 2015).
#
# Our ink: dots in a plane. Two drops, in two places. The push is normally distributed with variance β (beta). The
# simplest step adds it.

# %%
BETA, STEPS = 0.01, 1000
drops = torch.tensor([[-2.0, 1.0], [2.0, -1.0]], dtype=torch.float64)
ink = drops[:, None] + 0.2 * torch.randn(2, 400, 2, generator=generator, dtype=torch.float64)  # (2, 400, 2)


def add(x, beta, noise):
    """The simplest step."""
    return x + beta**0.5 * noise


def walk(x, step, betas):
    """All states on the way, the first one included: a list of len(betas) + 1."""
    states = [x]
    for beta in betas:
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        states.append(step(states[-1], beta, noise))
    return states


added = walk(ink, add, [BETA] * STEPS)
for t in (0, 10, 100, 1000):
    print(f"after {t:4d} steps: variance of the left drop {added[t][0].var(dim=0).mean():5.2f}, its middle at x = "
          f"{added[t][0, :, 0].mean():5.2f}")  # fmt: skip

# %% [markdown]
# Two flaws. The variance grows without end: a network would have to cope with numbers of every size. And the
# middle of the drop stays where it was: however long we wait, the cloud is still centred on its past.
#
# Both have one remedy. Before the push, pull each dot a little towards zero:
#
# $$x_t = \sqrt{1-\beta}\; x_{t-1} + \sqrt{\beta}\; \varepsilon$$
#
# with a fresh ε (epsilon), normally distributed with variance 1 (Ho et al. 2020, eq. 2). Why just √(1 − β)? A
# factor in front of a variable acts on its variance by its square. If the variance was 1 before the step, it is (1
# − β) · 1 + β after it: 1 again. If it was less than 1, as in our drops, it grows; if more, it shrinks: its distance
# from 1 is multiplied by 1 − β at each step.

# %%


def mix(x, beta, noise):
    """One step of forward diffusion: shrink, then push."""
    return (1 - beta) ** 0.5 * x + beta**0.5 * noise


mixed = walk(ink, mix, [BETA] * STEPS)
for t in (0, 10, 100, 1000):
    print(f"after {t:4d} steps: variance of the left drop {mixed[t][0].var(dim=0).mean():5.2f}, its middle at x = "
          f"{mixed[t][0, :, 0].mean():5.2f}")  # fmt: skip
shown = (0, 10, 100, 1000)
viz.clouds(
    {
        name: [{"left drop": states[t][0], "right drop": states[t][1]} for t in shown]
        for name, states in {"add only": added, "shrink, then add": mixed}.items()
    },
    [f"after {t} steps" for t in shown],
    reach=7,
    alt="Two drops of ink in a plane, one orange, one blue. Upper row, noise only added: the clouds grow until they "
    "leave the frame. Lower row, shrunk at each step: both become the same cloud of fixed size about the middle.",
)

# %% [markdown]
# In the lower row the clouds end as one: same place, same size, whatever they were in the beginning. *That* is
# what we want. Drawing will run this film backwards, and it must know where to begin.
#
# Each step has two parts: a *drift* towards the middle and a *random motion*. The film that runs backwards may have
# both, too. Only there the drift must lead back to the drop. For pictures no formula knows the way: a network has to
# learn it.
#
# A picture is a dot, too: one in a space with as many axes as it has numbers. Cats are a cloud in that space, dogs
# are another. Everything here happens to them in the same way.

# %% [markdown]
# ## 3 · The flaw of a fixed β
#
# Which β is right for pictures? **Guess** what three of them do to the cat within a thousand steps: 0.0001, 0.005
# and 0.3.

# %%
cat = avg_pool2d(pictures[:1], 2)  # (1, 3, 64, 64): half the size, to save time
fixed = {beta: walk(cat, mix, [beta] * STEPS) for beta in (0.0001, 0.005, 0.3)}
shown = (1, 10, 100, 300, 1000)
print("the share of its variance that the picture keeps")
print("steps done  ", *(f"{t:7d}" for t in shown))
for beta in fixed:
    print(f"β = {beta:<6}  ", *(f"{100 * (1 - beta) ** t:5.1f} %" for t in shown))
viz.strip(
    {f"β = {beta}": [to_images(states[t])[0] for t in shown] for beta, states in fixed.items()},
    [f"after {t}" for t in shown],
    zoom=2,
    alt="Three rows of one cat. Smallest beta: the cat is clear after a thousand steps. Largest: it is gone after "
    "ten. The middle one: it fades slowly, can be guessed at three hundred, and is gone at a thousand.",
)

# %% [markdown]
# The small one takes forever. The large one kills the picture before you can watch. The middle one arrives, so
# what is wrong with it? Look at *where* its steps go. Stable Diffusion keeps the share 0.00466 of the picture's
# variance after a thousand steps (we compute it in section 5). Take the fixed β that ends there, and count.

# %%
even = 1 - 0.00466 ** (1 / STEPS)
kept = torch.cumprod(torch.full((STEPS,), 1 - even, dtype=torch.float64), dim=0)
noise_to_picture = ((1 - kept) / kept).sqrt()
print(f"fixed β = {even:.5f}")
print(f"the first step alone: noise of {noise_to_picture[0]:.3f} of the picture's strength")
print(f"the same in Stable Diffusion, which begins with β = 0.00085: {(0.00085 / (1 - 0.00085)) ** 0.5:.3f}")
print(f"steps with less noise than picture: {int((noise_to_picture < 1).sum())} of {STEPS}")
print(f"steps with more than three times as much: {int((noise_to_picture > 3).sum())}")
print(f"variance of the cat: {cat.var():.2f}")

# %% [markdown]
# For a picture of variance 1, only in the first 129 steps is the picture stronger than the noise. (Our cat has less,
# it drowns sooner.) More than half of the thousand stir snow into snow. And the first step is coarse: 0.073, where
# Stable Diffusion's is 0.029. When the film runs backwards, it is the last stroke of the brush.
#
# Better: small steps while there is detail to lose, larger ones later.

# %% [markdown]
# ## 4 · A schedule
#
# So give every timestep its own β. The list of them is called the *noise schedule*. Three are in common use:
#
# * **linear**: β grows in a straight line (Ho et al. 2020, section 4);
# * **scaled linear**: √β grows in a straight line; this is Stable Diffusion's (in the program of Rombach et al.
#   2022);
# * **cosine**: says directly how much of the picture shall be left at t, and computes the β from it (Nichol and
#   Dhariwal 2021, eq. 17).
#
# A cell that begins with `# ->` holds code of the package, word for word. A test compares the two. (`alpha_bar` is
# the share of the picture's variance that is left; section 5. 0.008 keeps the first β from being too small.
# `squaredcos_cap_v2` is diffusers' name for cosine.)

# %%
# -> sdlearn/schedule.py
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sdlearn.config import ScheduleConfig

MAX_BETA = 0.999  # of the cosine schedule, whose last beta would be 1 and leave nothing of the picture


def make_betas(config: ScheduleConfig) -> Tensor:
    """The T betas, float64. ``scaled_linear`` is linear in sqrt(beta), the schedule of latent diffusion."""
    first, last, number = config.beta_start, config.beta_end, config.num_train_timesteps
    if config.beta_schedule == "linear":  # Ho et al. 2020, section 4
        return torch.linspace(first, last, number, dtype=torch.float64)
    if config.beta_schedule == "scaled_linear":
        return torch.linspace(math.sqrt(first), math.sqrt(last), number, dtype=torch.float64) ** 2
    if config.beta_schedule == "squaredcos_cap_v2":  # Nichol and Dhariwal 2021, eq. 17
        time = torch.arange(number + 1, dtype=torch.float64) / number
        alpha_bar = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=MAX_BETA)
    allowed = "linear, scaled_linear, squaredcos_cap_v2"
    raise ValueError(f"beta_schedule {config.beta_schedule!r} is unknown; use one of {allowed}.")


# %% [markdown]
# Beware of the names. In the original program of Stable Diffusion the scaled linear schedule is called "linear",
# and the linear one "sqrt_linear". Readers of that code have stumbled over it ever since.
#
# `ScheduleConfig()` holds the settings of Stable Diffusion 1.5. How much of the cat is left on the way?

# %%
config = ScheduleConfig()
betas = make_betas(config)
states = walk(cat, mix, betas.tolist())
shown = (0, 100, 200, 300, 400, 600, 1000)
print(f"{config.beta_schedule}: β from {betas[0]:.5f} to {betas[-1]:.3f}")
viz.strip(
    {"Stable Diffusion's schedule": [to_images(states[t])[0] for t in shown]},
    [f"after {t}" for t in shown],
    zoom=2,
    alt="A cat that gets noisier from left to right; a trace of it can be seen at six hundred.",
)

# %% [markdown]
# ## 5 · One jump instead of a thousand steps
#
# That was a loop. Training a network needs noisy pictures at random timesteps, millions of them. Nobody wants to
# walk a thousand steps for each.
#
# Write out two steps, with $\alpha_t = 1 - \beta_t$ (alpha) for what a step keeps:
#
# $$x_2 = \sqrt{\alpha_2 \alpha_1}\; x_0 + \sqrt{\alpha_2 \beta_1}\; \varepsilon_1 + \sqrt{\beta_2}\; \varepsilon_2$$
#
# Two independent normal noises added up are one normal noise. Their *variances* add:
#
# $$\alpha_2 (1 - \alpha_1) + (1 - \alpha_2) = 1 - \alpha_1 \alpha_2$$
#
# So two steps are one step that keeps the product of the two. And so on. With the product of all of them, ᾱ (alpha
# bar), any number of steps is one jump (Ho et al. 2020, eq. 4):
#
# $$x_t = \sqrt{\bar\alpha_t}\; x_0 + \sqrt{1 - \bar\alpha_t}\; \varepsilon, \qquad
# \bar\alpha_t = \alpha_1 \alpha_2 \cdots \alpha_t$$

# %%
alpha_bar = torch.cumprod(1 - betas, dim=0)


def jump(x0, noise, alpha_bar):
    """From the clean picture to a noisy one, at once."""
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


print(f"ᾱ falls from {alpha_bar[0]:.5f} over {alpha_bar[499]:.3f} (half of the steps) to {alpha_bar[-1]:.5f}")

# %% [markdown]
# Do a thousand steps and a jump agree? First *exactly*. Keep all noises of a walk, and combine them with the
# weights that the product leaves of each. Their sum is the one ε of the jump.

# %%
noises = torch.randn(STEPS, *ink.shape, generator=generator, dtype=torch.float64)  # (1000, 2, 400, 2)
x = ink
for beta, noise in zip(betas, noises):
    x = mix(x, beta, noise)

weights = (betas * alpha_bar[-1] / alpha_bar).sqrt()  # the noise of step s is shrunk by all steps after s
together = torch.einsum("s,s...->...", weights, noises) / (1 - alpha_bar[-1]).sqrt()
print(f"squares of the weights {weights.square().sum():.6f}, 1 - ᾱ is {1 - alpha_bar[-1]:.6f}")
give = 1.96 * math.sqrt(2 / (together.numel() - 1))  # of the variance of so many normal numbers
print(
    f"variance of the combined noise: {together.var():.3f}; from {together.numel()} numbers, 1 ± {give:.2f} is usual"
)
print(f"largest difference between walk and jump: {(x - jump(ink, together, alpha_bar[-1])).abs().max():.0e}")

# %% [markdown]
# Now *in distribution*, with fresh noise for each. Put 2000 walkers on the one number 1.5. At some timesteps,
# compare their mean and variance with √ᾱ · 1.5 and 1 − ᾱ. The same for 2000 jumps. A measured mean is never exact.
# Behind each ± stands the interval that holds the truth in 95 of 100 cases.

# %%
N, START = 2000, 1.5
walkers = walk(torch.full((N,), START, dtype=torch.float64), mix, betas.tolist())
shown = (50, 150, 300, 450, 600, 800, 1000)  # steps done; timestep t is reached after t + 1 of them
means, variances = alpha_bar.sqrt() * START, 1 - alpha_bar
print("steps       mean: theory  walk   jump    ±       variance: theory  walk   jump    ±")
rows = []
for done in shown:
    mean, variance = means[done - 1], variances[done - 1]
    jumped = jump(START, torch.randn(N, generator=generator, dtype=torch.float64), alpha_bar[done - 1])
    give = (1.96 * (variance / N).sqrt(), 1.96 * variance * math.sqrt(2 / (N - 1)))
    rows.append([walkers[done].mean(), jumped.mean(), give[0], walkers[done].var(), jumped.var(), give[1]])
    found = "  ".join(f"{value:.3f}" for value in rows[-1][:3])
    spread = "  ".join(f"{value:.3f}" for value in rows[-1][3:])
    print(f"{done:5d}             {mean:.3f}  {found}              {variance:.3f}  {spread}")

# %% [markdown]
# All of it as a figure, and the intervals counted:

# %%
table = torch.tensor(rows).T  # (6, timesteps)
truth = torch.stack([torch.stack([means, means, variances, variances])[:, done - 1] for done in shown], dim=1)
outside = (table[[0, 1, 3, 4]] - truth).abs() > table[[2, 2, 5, 5]]
print(f"intervals that miss the theory: {int(outside.sum())} of {outside.numel()}")

line = range(1, STEPS + 1)


def compared(theory, measured, interval):
    return viz.Measured(line, theory.tolist(), shown, measured.tolist(), interval.tolist())


viz.against_theory(
    {
        "mean": {"walk": compared(means, table[0], table[2]), "jump": compared(means, table[1], table[2])},
        "variance": {
            "walk": compared(variances, table[3], table[5]),
            "jump": compared(variances, table[4], table[5]),
        },
    },
    "steps done",
    alt="The mean falls from 1.5 to near 0, the variance rises from 0 to 1, both in an S. The marks of walk and jump "
    "lie on the lines.",
)

# %% [markdown]
# The marks lie on the lines, walk and jump side by side, to be told apart. (An interval may miss: one in twenty does,
# by its very meaning. That holds for all intervals of this chapter.)

# %% [markdown]
# ## 6 · Not only mean and variance
#
# A world of pictures is more than a mean. Let us take the smallest world with "cats" and "dogs": numbers on a
# line, in two heaps. The left one is at −1.2, the right one, somewhat larger, at 0.8.
#
# A heap is a normal distribution. The jump shrinks it by √ᾱ and adds variance 1 − ᾱ, so it stays one. Hence we can
# write down the *exact* density at every timestep. **Guess:** at which step can one no longer see two heaps?

# %%
SHARE, MIDDLE = torch.tensor([0.4, 0.6]).double(), torch.tensor([-1.2, 0.8]).double()
WIDTH = 0.2
normal = torch.distributions.Normal


def heaps(alpha_bar):
    """The two heaps after a jump, as normal distributions."""
    return normal(alpha_bar.sqrt() * MIDDLE, (alpha_bar * WIDTH**2 + 1 - alpha_bar).sqrt())


def density(x, alpha_bar):
    """Of both together, at each x (n,)."""
    return (SHARE * heaps(alpha_bar).log_prob(x[:, None]).exp()).sum(dim=1)


# %% [markdown]
# Now jump with twenty thousand numbers, and count how many land in each bar of a histogram. A bar that expects n
# of them misses by about √n by pure chance: that is its *sampling error*, and we measure in this unit.

# %%
N = 20_000
which = torch.multinomial(SHARE, N, replacement=True, generator=generator)
numbers = MIDDLE[which] + WIDTH * torch.randn(N, generator=generator, dtype=torch.float64)
edges = torch.linspace(-3.5, 3.5, 71, dtype=torch.float64)
grid = torch.linspace(-3.5, 3.5, 281, dtype=torch.float64)
panels = {}
for done in (1, 100, 300, 1000):
    level = alpha_bar[done - 1]
    x = jump(numbers, torch.randn(N, generator=generator, dtype=torch.float64), level)
    area = (SHARE * heaps(level).cdf(edges[:, None])).sum(dim=1).diff()  # of each bar
    error = (torch.histogram(x, edges).hist - N * area) / (N * area * (1 - area)).sqrt()
    error = error[N * area > 5]  # bars that expect hardly anything say nothing
    panels[f"after {done}"] = (x, density(grid, level))
    print(f"after {done:4d} steps: the {len(error)} bars are off by {error.square().mean().sqrt():.2f} expected "
          f"sampling errors (root mean square), the worst by {error.abs().max():.1f}")  # fmt: skip
viz.densities(
    panels,
    edges,
    grid,
    alt="Four histograms with the exact density over them. Two narrow heaps become wide, run into each other, and "
    "end as one bell about zero. Bars and lines agree.",
)

# %% [markdown]
# About 1 is what pure chance gives. The histograms *are* the densities, up to sampling. Now the guess: how long
# does the exact density have two tops?

# %%
fine = torch.linspace(-3, 3, 6001, dtype=torch.float64)


def tops(alpha_bar):
    """How often the density rises and then falls."""
    rising = density(fine, alpha_bar).diff() > 0
    return int((rising[:-1] & ~rising[1:]).sum())


two = [done for done in range(1, STEPS + 1) if tops(alpha_bar[done - 1]) == 2]
print(f"steps with two tops: {two[0]} to {two[-1]}, {len(two)} in number")

# %% [markdown]
# Until step 287. Then one heap is only a shoulder of the other.
#
# In the end the two are one bell, the same for every world we might have started with. That is why drawing can
# begin from plain noise.

# %% [markdown]
# ## 7 · σ: the same thing with a full-size picture
#
# √ᾱ shrinks the picture, √(1 − ᾱ) scales the noise: two numbers for one fact. Divide by √ᾱ, and one number is
# left:
#
# $$\frac{x_t}{\sqrt{\bar\alpha_t}} = x_0 + \sigma_t\, \varepsilon, \qquad
# \sigma_t = \sqrt{\frac{1 - \bar\alpha_t}{\bar\alpha_t}}$$
#
# This is the σ of chapter 00 (Karras et al. 2022). It is the "add only" of section 2, come back as book-keeping:
# the variance does explode, but we know by how much, and one division brings it back. The two scalings are called
# *variance exploding* and *variance preserving* (VP).
#
# The *signal-to-noise ratio* compares variances: SNR = ᾱ / (1 − ᾱ) = 1 / σ² (Kingma et al. 2021). At SNR 1 there
# is as much noise as picture, if pictures have variance 1. (Ours have less; latents come close: section 9.)

# %%
# -> sdlearn/schedule.py


def _per_image(sigma: float | Tensor, x: Tensor) -> float | Tensor:
    """Make a noise level broadcast over an image batch: (B,) -> (B, 1, 1, 1)."""
    if not isinstance(sigma, Tensor) or sigma.ndim == 0:
        return sigma
    return sigma.to(device=x.device, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))


def _root(value: float | Tensor) -> float | Tensor:
    return value.sqrt() if isinstance(value, Tensor) else math.sqrt(value)


# %% [markdown]
# And here is the whole schedule. `sigma(t)` may be asked between two timesteps; samplers will do so.

# %%
# -> sdlearn/schedule.py


class Schedule:
    """The tables ``betas``, ``alpha_bar`` and ``sigmas`` (float64, (T,)) and what follows from them."""

    def __init__(self, config: ScheduleConfig | None = None):
        self.config = config or ScheduleConfig()
        self.betas = make_betas(self.config)
        self.alpha_bar = torch.cumprod(1 - self.betas, dim=0)
        self.sigmas = ((1 - self.alpha_bar) / self.alpha_bar).sqrt()

    def sigma(self, t: float | Sequence[float] | Tensor) -> float | Tensor:
        """Noise level at timestep t, linear in sigma between whole timesteps. A float, or float64 like t."""
        found = np.interp(t, np.arange(len(self.sigmas)), self.sigmas.numpy())
        return float(found) if found.ndim == 0 else torch.from_numpy(found)

    def sigma_to_t(self, sigma: float) -> float:
        """The timestep, whole or between, with noise level sigma: linear in log(sigma), within 0 ... T-1."""
        log_sigmas = self.sigmas.log().numpy()
        return float(np.interp(math.log(max(sigma, 1e-10)), log_sigmas, np.arange(len(log_sigmas))))

    def snr(self, t: float | Sequence[float] | Tensor) -> float | Tensor:
        """Signal-to-noise ratio alpha_bar / (1 - alpha_bar) = 1 / sigma^2 at t (Kingma et al. 2021)."""
        return 1 / self.sigma(t) ** 2

    @staticmethod
    def add_noise(x0: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
        """x0 + sigma * noise: forward diffusion in one line. sigma is one number, or one an image (B,)."""
        return x0 + _per_image(sigma, x0) * noise

    @staticmethod
    def to_vp(x: Tensor, sigma: float | Tensor) -> Tensor:
        """x / sqrt(1 + sigma^2) = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps: the scaling of the papers.

        It keeps the variance at 1 ("variance preserving"), which is what networks are fed with.
        """
        return x / _root(1 + _per_image(sigma, x) ** 2)

    @staticmethod
    def from_vp(x: Tensor, sigma: float | Tensor) -> Tensor:
        """The inverse of ``to_vp``."""
        return x * _root(1 + _per_image(sigma, x) ** 2)


# %% [markdown]
# Why does to_vp divide by √(1 + σ²)? Because that is 1 / √ᾱ: put σ² = (1 − ᾱ) / ᾱ in. Do both roads lead to the
# same place?

# %%
schedule = Schedule(config)
print("    t      ᾱ       σ        SNR")
for t in (0, 100, 350, 500, 999):
    print(f"{t:5d}  {schedule.alpha_bar[t]:.5f}  {schedule.sigma(t):7.4f}  {schedule.snr(t):9.4f}")

eps = torch.randn(ink.shape, generator=generator, dtype=torch.float64)
exploding = schedule.add_noise(ink, eps, schedule.sigma(500))
preserving = jump(ink, eps, schedule.alpha_bar[500])
print(
    f"to_vp:   {(schedule.to_vp(exploding, schedule.sigma(500)) - preserving).abs().max():.0e} off the jump"
)
print(
    f"from_vp: {(schedule.from_vp(preserving, schedule.sigma(500)) - exploding).abs().max():.0e} off x0 + σ ε"
)

# %% [markdown]
# From here on the timestep t counts from 0, as in the package: at t = 0 there is one step's noise already. (The
# papers count from 1.) The last one, t = 999, has the σ of section 1.

# %% [markdown]
# ## 8 · Play: three schedules, side by side
#
# Choose a timestep; look what the three do with it. The marks are 15 timesteps that a drawing might visit, evenly
# spaced. (Log-SNR is the logarithm of the SNR: above 0 there is more picture, below 0 more noise.)

# %%
t = 400  # 0 ... 999
schedules = {
    "linear": Schedule(
        replace(config, beta_schedule="linear", beta_start=0.0001, beta_end=0.02)
    ),  # Ho et al.
    "scaled linear": Schedule(config),  # Stable Diffusion
    "cosine": Schedule(replace(config, beta_schedule="squaredcos_cap_v2")),
}
visited = torch.linspace(0, 999, 15).round().int().tolist()
whole = pictures[:1]
eps = torch.randn(whole.shape, generator=generator)


def at(schedule, t):
    """The cat with the noise of timestep t."""
    sigma = schedule.sigma(t)
    return to_images(schedule.to_vp(schedule.add_noise(whole, eps, sigma), sigma))[0]


viz.noise_schedules(schedules, t, [at(one, t) for one in schedules.values()], steps=visited)

# %% [markdown]
# Change `t` and run the cell again. Or drag the slider that the next cell shows while the notebook is running. On a
# page that is only read, the figure above stands for it.

# %%
from sdlearn.viz import widgets

widgets.schedule_explorer(to_images(whole)[0], schedules)

# %% [markdown]
# Where does each of them begin and end, and where do its steps go?

# %%
for name, one in schedules.items():
    few = int((one.sigmas < 1).sum())
    print(
        f"{name:13s}  σ from {one.sigmas[0]:.4f} to {one.sigmas[-1]:9.1f}; {few} of {STEPS} timesteps have σ < 1"
    )

# %% [markdown]
# Compare with the fixed β of section 3: each of the three spends more of its steps where there is a picture to
# see, the cosine most. It also goes furthest: its last σ is enormous.
#
# Now look at σ from the right to the left, the direction of drawing. **Guess:** is the same amount of noise
# removed at every step?

# %%
# Levels of sigma from the first step to the last, which removes all that is left. Other spacings: chapter 03.
levels = [*schedule.sigma(visited[::-1]).tolist(), 0.0]
even_levels = torch.linspace(levels[0], 0, len(levels)).tolist()
spacings = {"evenly spaced timesteps": levels, "evenly spaced σ": even_levels}
removed = {name: [a - b for a, b in zip(one, one[1:])] for name, one in spacings.items()}
for name, chips in removed.items():
    print(
        f"{name}: the first three of {len(chips)} steps remove {100 * sum(chips[:3]) / levels[0]:.0f} % of the noise"
    )
begins, chips = visited[::-1][-5:], removed["evenly spaced timesteps"][-5:]
print(
    "the last five of evenly spaced timesteps begin at t =",
    *begins,
    "and remove",
    *(f"{chip:.3f}" for chip in chips),
)
viz.curves(
    {
        "σ before each step": {name: one[:-1] for name, one in spacings.items()},
        "noise removed by a step": removed,
    },
    range(1, 16),
    "step of the drawing",
    alt="Left: with evenly spaced timesteps sigma falls steeply at first, then slowly; with evenly spaced sigma in a "
    "straight line. Right: the noise removed falls from step to step, but for a small bump before the last, against a "
    "constant amount.",
)

# %% [markdown]
# No: it is *front-loaded*. The first steps take off a lot, the later ones less and less, but for a bump at the end:
# between t = 71 and t = 0 this list has a long step. Chapter 03 mends that. (A sampler removes just as much noise as
# brings it to the next σ of its list.)

# %% [markdown]
# ## 9 · When do cat and dog become the same?
#
# Back to the guess. Call d the distance of the two clean pictures (the root of the summed squares of their
# differences). Only the noise along the line from one to the other can mislead the program, and along any line it
# is a normal number with standard deviation σ. It errs when that noise carries the picture over the middle,
# further than d / 2. So it is right with probability
#
# $$\Phi\!\left(\frac{d}{2\sigma}\right)$$
#
# where Φ is the normal distribution function. What counts is d, measured in units of σ. We try it with three
# sheets: the pixels, the latents of chapter 00, and a thumbnail of 8 × 8 pixels.

# %%
pipe = sdlearn.StableDiffusion.from_pretrained("scenes")
sheets = {
    "pixels, 128 × 128": pictures,
    # The encoder adds a little noise of its own, which it is given: zeros, so none.
    "latents, 16 × 16": pipe.encode_image(pictures, torch.zeros(2, 4, 16, 16)),
    "thumbnail, 8 × 8": avg_pool2d(pictures, 16),
}


def chance(pair, sigma):
    """How often the best program is right, in percent."""
    return 100 * normal(0.0, 1.0).cdf((pair[0] - pair[1]).norm() / (2 * torch.as_tensor(sigma)))


TRIALS, places = 1000, (100, 300, 500, 700, 850, 999)
lines = {}
for name, pair in sheets.items():
    measured = torch.tensor([hit_rate(pair, schedule.sigma(t), TRIALS, generator) for t in places])
    expected = chance(pair, schedule.sigma(places))
    give = 1.96 * (expected * (100 - expected) / TRIALS).sqrt()
    lines[name] = viz.Measured(
        range(STEPS), chance(pair, schedule.sigmas).tolist(), places, measured.tolist(), give.tolist()
    )
    print(
        f"{name:18s} standard deviation {pair.std():.2f}, d = {(pair[0] - pair[1]).norm():4.1f}; right at t = 999: "
        f"{measured[-1]:.1f} % ± {give[-1]:.1f} %, by the formula {expected[-1]:.1f} %"
    )
viz.against_theory(
    {"right answers, in percent": lines},
    "timestep t",
    bottom=45,
    alt="Three falling curves. The thumbnail's cat and dog are soon confused, down to coin tossing; the latents' late; "
    "the pixels' hardly ever.",
)

# %% [markdown]
# So they do become the same: *how soon* depends on the sheet. A large picture repeats its message in many pixels
# and needs more noise to forget it (Hoogeboom et al. 2023). Schedules are made for a size. That of Stable
# Diffusion is made for latents.
#
# And even there something is left at the last timestep. What do the other schedules leave?

# %%
for name, one in schedules.items():
    rates = ", ".join(f"{sheet} {chance(pair, one.sigmas[-1]):.1f} %" for sheet, pair in sheets.items())
    print(f"{name:13s}  {rates}")

# %% [markdown]
# With the cosine schedule the last sheet is noise for everybody: 50 %. The linear one of Ho et al. comes close. Stable
# Diffusion's leaves a clear trace. Drawing, however, begins with *pure* noise, which its model has never quite seen.
# This is a known flaw: it has trouble with very dark and very bright pictures, because the last trace of training
# pictures is their brightness (Lin et al. 2024).

# %% [markdown]
# ## 10 · Your schedule in the running pipeline
#
# Put the `Schedule` of this notebook in the place of the shipped one. Does the cat still stand on its castle?

# %%
shipped = pipe.txt2img(PROMPT, seed=SEED).images[0]
theirs = pipe.schedule
pipe.schedule = Schedule(theirs.config)
print("the schedule comes from", type(theirs).__module__, "-> now from", type(pipe.schedule).__module__)
ours = pipe.txt2img(PROMPT, seed=SEED).images[0]
print("every pixel equal:", np.array_equal(shipped, ours))

strangers = []
for kind in ("linear", "squaredcos_cap_v2"):
    pipe.schedule = Schedule(replace(theirs.config, beta_schedule=kind))
    strangers.append(pipe.txt2img(PROMPT, seed=SEED).images[0])
    off = np.abs(np.asarray(shipped, float) - np.asarray(strangers[-1], float)).mean() / 255
    print(f"{kind}: the pixels are {100 * off:.1f} % off")
pipe.schedule = theirs
viz.strip(
    {"": [shipped, ours, *strangers]},
    ["the package's", "yours", "linear, same ends", "cosine"],
    zoom=1.2,
    alt="Four results for the sentence about the cat on the castle. The first two are equal, the third "
    "hardly differs, the fourth is a dark blur.",
)

# %% [markdown]
# Bit for bit the same with yours. With another schedule the network is told a timestep that does not belong to the
# noise it sees. If the two are as different as cosine and scaled linear, the picture is lost. If they are nearly
# the same, the picture is slightly off, and *nobody notices*: no error, no warning. That is why the names of
# section 4 are dangerous, and why a check with numbers is worth more than a look.

# %% [markdown]
# ## 11 · Spot the bug
#
# This forward process is from a published tutorial, in our words. It runs without complaint. Upper row: its
# pictures. Lower row: how they should be. **Find the mistake.** Do not read the code first: what do the pictures
# say, and the standard deviations?

# %%


def forward_process(x, betas, generator):
    """All noisy versions of x, from clean to the last timestep."""
    states = [x]
    for beta in betas:
        noise = torch.randn(x.shape, generator=generator)
        states.append((1 - beta) ** 0.5 * states[-1] + beta * noise)
    return states


suspect = forward_process(cat, betas.tolist(), generator)
shown = (0, 200, 400, 600, 800, 1000)
for name, row in {"suspect": suspect, "right": states}.items():
    print(f"{name:8s} standard deviation", *(f"{row[t].std():6.3f}" for t in shown))
viz.strip(
    {"suspect": [to_images(suspect[t])[0] for t in shown], "right": [to_images(states[t])[0] for t in shown]},
    [f"after {t}" for t in shown],
    zoom=2,
    alt="Upper row: the cat fades into an even grey, hardly any noise is seen. Lower row: it drowns in noise.",
)

# %% [markdown]
# Think before you scroll.
#
# ...
#
# The picture fades as it should, so the first factor is right. The noise is missing. β is a *variance*, and
# `beta*noise` takes it for a standard deviation. β = 0.012 is small, its root is nine times as large. It should be
# `beta**0.5*noise`.
#
# A network trained in this way would learn to remove hardly any noise from grey pictures, and then be given pure
# noise to draw from. The bug was reported for the `forward_process` of a tutorial, and the same slip in the words
# of another course, "noise scaled by beta" (both threads are among the sources). What finds it is a check of one
# line: the variance at the end must be 1.

# %% [markdown]
# ## 12 · Exercises
#
# Replace the dots, run the cell. A wrong answer tells you what it looks like; try as often as you like.
#
# **01.1** A schedule has three steps with β = 0.1, 0.2 and 0.5. What is ᾱ after the third? (On paper.)

# %%
answer = ...
check("01.1", answer)

# %% [markdown]
# **01.2** Turn the jump round. Given are the noisy x (in the scaling with variance 1), the very ε that is in it,
# and ᾱ (a tensor with one number). Which clean picture was it? (In the next chapter a network will be asked for
# the ε.)

# %%


def clean(x, eps, alpha_bar):
    return ...


check("01.2", clean)

# %% [markdown]
# **01.3** At some timestep ᾱ is 0.2. What are σ and the SNR there?

# %%
sigma, snr = ..., ...
check("01.3", [sigma, snr])

# %% [markdown]
# **01.4** A picture holds noise of σ = 3, so it is x0 + 3 ε. It shall hold noise of σ = 5. How strong (which
# standard deviation) must the fresh noise be that you add to it?

# %%
answer = ...
check("01.4", answer)

# %% [markdown]
# **01.5** The schedule of Ho et al. (2020) is linear, from β = 0.0001 to β = 0.02. At which timestep t is there
# more noise than picture (SNR below 1) for the first time? `replace(config, ...)` makes the settings.

# %%
# beta_start=0.0001, beta_end=0.02
answer = ...
check("01.5", answer)

# %% [markdown]
# **01.6** You hold a noisy x at level ᾱ = `now` (in the scaling with variance 1) and have lost the clean picture.
# Jump on to a later, noisier level ᾱ = `later` with one fresh ε.

# %%


def go_on(x, eps, now, later):
    return ...


check("01.6", go_on)

# %% [markdown]
# ## 13 · All of it on one screen

# %%
betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2  # noise of each step
alpha_bar = torch.cumprod(1 - betas, dim=0)  # what is left of the picture's variance after all steps up to t
sigmas = ((1 - alpha_bar) / alpha_bar).sqrt()  # the noise on a picture of full size
snr = 1 / sigmas**2


def step(x, t, eps):
    """From t - 1 to t."""
    return (1 - betas[t]).sqrt() * x + betas[t].sqrt() * eps


x0, eps, t = cat, torch.randn(cat.shape, generator=generator), 400
closed_form = alpha_bar[t].sqrt() * x0 + (1 - alpha_bar[t]).sqrt() * eps  # from 0 to t
exploding = x0 + sigmas[t] * eps  # the same in the other scaling
preserving = exploding / (1 + sigmas[t] ** 2).sqrt()  # to_vp

print(f"the two scalings differ by {(preserving - closed_form).abs().max():.0e}")
print("equal to the package's tables:", torch.equal(sigmas, sdlearn.schedule.Schedule().sigmas))

# %% [markdown]
# A network comes next: it gets such a noisy picture and t, and shall say what ε was.

# %% [markdown]
# ## Sources
#
# * J. Sohl-Dickstein, E. Weiss, N. Maheswaranathan, S. Ganguli: *Deep Unsupervised Learning using Nonequilibrium
#   Thermodynamics* (2015), [arXiv:1503.03585](https://arxiv.org/abs/1503.03585). Diffusion as a model of data.
# * J. Ho, A. Jain, P. Abbeel: *Denoising Diffusion Probabilistic Models* (2020),
#   [arXiv:2006.11239](https://arxiv.org/abs/2006.11239). Eq. 2 the step, eq. 4 the jump, section 4 the linear
#   schedule.
# * A. Nichol, P. Dhariwal: *Improved Denoising Diffusion Probabilistic Models* (2021),
#   [arXiv:2102.09672](https://arxiv.org/abs/2102.09672). Eq. 17 the cosine schedule; 0.999 as the largest β.
# * D. Kingma, T. Salimans, B. Poole, J. Ho: *Variational Diffusion Models* (2021),
#   [arXiv:2107.00630](https://arxiv.org/abs/2107.00630). The signal-to-noise ratio.
# * R. Rombach, A. Blattmann, D. Lorenz, P. Esser, B. Ommer: *High-Resolution Image Synthesis with Latent Diffusion
#   Models* (2022), [arXiv:2112.10752](https://arxiv.org/abs/2112.10752). 0.00085, 0.012 and the scaled linear
#   schedule are in the settings and the code of their program.
# * T. Karras, M. Aittala, T. Aila, S. Laine: *Elucidating the Design Space of Diffusion-Based Generative Models*
#   (2022), [arXiv:2206.00364](https://arxiv.org/abs/2206.00364). σ as the one coordinate.
# * E. Hoogeboom, J. Heek, T. Salimans: *simple diffusion* (2023),
#   [arXiv:2301.11093](https://arxiv.org/abs/2301.11093). Larger pictures need more noise.
# * S. Lin, B. Liu, J. Li, X. Yang: *Common Diffusion Noise Schedules and Sample Steps are Flawed* (2024),
#   [arXiv:2305.08891](https://arxiv.org/abs/2305.08891). What the last timestep leaves.
# * The bug of section 11, in a tutorial's code:
#   [acids-ircam/diffusion_models, issue 1](https://github.com/acids-ircam/diffusion_models/issues/1), comment of 2022.
# * The same slip in a course's words:
#   [diffusion-models-class, issue 63](https://github.com/huggingface/diffusion-models-class/issues/63), 2023.
# * The names of the schedules:
#   [CompVis/stable-diffusion, issue 314](https://github.com/CompVis/stable-diffusion/issues/314), 2022,
#   and [ComfyUI, issue 1998](https://github.com/Comfy-Org/ComfyUI/issues/1998), 2023.
