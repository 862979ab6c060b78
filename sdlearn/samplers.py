"""From noise to picture: samplers as generators of Step, and the table of their names.

All of them follow dx = eps(x, sigma) dsigma from a large sigma down to nearly zero (Song et al. 2021, eq. 13,
in the coordinates of Karras et al. 2022, eq. 1). They differ in how they guess eps between noise levels, in
whether they add fresh noise on the way, and in which noise levels they visit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from sdlearn import schedule as spacing
from sdlearn.schedule import Schedule
from sdlearn.trace import Prediction, Step

Denoise = Callable[[Tensor, float], Prediction]
Noise = Callable[[], Tensor]


def euler(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Iterator[Step]:
    """Straight lines along eps. In the papers' scaling this is DDIM (Song, Meng, Ermon 2020, eq. 12)."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        pred = denoise(x, sigma)
        x_next = x + (sigma_next - sigma) * pred.eps
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


def euler_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 1.0
) -> Iterator[Step]:
    """Go down too far, then add fresh noise up to sigma_next: DDPM (Ho et al. 2020, eq. 7) when eta = 1.

    ``eta`` scales the fresh noise (Song, Meng, Ermon 2020, eq. 16); ``noise()`` draws one like x a step.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        pred = denoise(x, sigma)
        up = eta * sigma_next * math.sqrt(max(sigma**2 - sigma_next**2, 0.0)) / sigma
        down = math.sqrt(max(sigma_next**2 - up**2, 0.0))
        x_next = x + (down - sigma) * pred.eps
        if up > 0:
            x_next = x_next + up * noise()
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


def heun(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Iterator[Step]:
    """An Euler step to try, then again with the mean of both ends' eps (Karras et al. 2022, algorithm 1).

    Two evaluations a step; the step to sigma = 0, where eps is not defined, stays Euler.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        pred = denoise(x, sigma)
        x_next = x + (sigma_next - sigma) * pred.eps
        if sigma_next > 0:
            mean = (pred.eps + denoise(x_next, sigma_next).eps) / 2
            x_next = x + (sigma_next - sigma) * mean
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


ADAMS_BASHFORTH = (  # weights of eps, newest first, by the number of evaluations known
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def pndm(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Iterator[Step]:
    """Extrapolate eps from up to four earlier evaluations (PLMS; Liu et al. 2022).

    The weights of Adams and Bashforth, as if for equal steps. Without anything to look back on,
    the first step is a Heun step, so N steps cost N + 1 evaluations.
    """
    history: list[Tensor] = []
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
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


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Iterator[Step]:
    """DPM-Solver++(2M): linear part exact, x0 extrapolated in lambda = -log(sigma) (Lu et al. 2022, alg. 2).

    First order at the start (nothing to look back on) and to sigma = 0 (lambda is infinite, x becomes x0).
    """
    x0_last, h_last = None, None
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        pred = denoise(x, sigma)
        x_next, h = pred.x0, math.inf
        if sigma_next > 0:
            x0, h = pred.x0, math.log(sigma / sigma_next)
            if x0_last is not None:
                x0 = x0 + (h / (2 * h_last)) * (x0 - x0_last)
            x_next = (sigma_next / sigma) * x - math.expm1(-h) * x0
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x, x0_last, h_last = x_next, pred.x0, h


@dataclass(frozen=True)
class Sampler:
    """What a name stands for: the method, and which noise levels it visits on a checkpoint's schedule."""

    method: Callable[..., Iterator[Step]]
    scheduler: str  # the class of diffusers that does the same
    spacings: dict[str, Callable]  # what "leading", "trailing" and "linspace" mean for it
    usual_spacing: str  # where the checkpoint's settings do not name one
    stochastic: bool = False  # the method draws noise on the way
    ends_at_first_timestep: bool = False  # at sigma of t = 0, unless the settings say set_alpha_to_one
    karras: bool = False  # noise levels by Karras et al., timesteps rounded
    unit_start: bool = True  # starts from sqrt(sigma^2 + 1) * noise; False: from sigma * noise

    def run(self, denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Iterator[Step]:
        """The steps of this sampler from x at noise level sigmas[0]; only stochastic ones call ``noise``."""
        return self.method(denoise, x, sigmas, noise) if self.stochastic else self.method(denoise, x, sigmas)


WHOLE = {"leading": spacing.leading, "trailing": spacing.trailing, "linspace": spacing.rounded_linspace}
BETWEEN = {"leading": spacing.leading, "trailing": spacing.trailing, "linspace": spacing.linspace}
OPEN = {"leading": spacing.open_leading, "trailing": spacing.trailing, "linspace": spacing.open_linspace}

SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(euler_ancestral, "DDPMScheduler", WHOLE, "leading", stochastic=True),
    "ddim": Sampler(euler, "DDIMScheduler", WHOLE, "leading", ends_at_first_timestep=True),
    "euler": Sampler(euler, "EulerDiscreteScheduler", BETWEEN, "linspace", unit_start=False),
    "euler_a": Sampler(
        euler_ancestral,
        "EulerAncestralDiscreteScheduler",
        BETWEEN,
        "linspace",
        stochastic=True,
        unit_start=False,
    ),
    "heun": Sampler(heun, "HeunDiscreteScheduler", BETWEEN, "linspace", unit_start=False),
    "pndm": Sampler(pndm, "PNDMScheduler", WHOLE, "leading", ends_at_first_timestep=True),
    "dpmpp_2m": Sampler(dpmpp_2m, "DPMSolverMultistepScheduler", OPEN, "linspace"),
    "dpmpp_2m_karras": Sampler(dpmpp_2m, "DPMSolverMultistepScheduler", OPEN, "linspace", karras=True),
}


@dataclass(frozen=True)
class Plan:
    """Which noise levels a run visits, and what it tells the network there."""

    sigmas: tuple[float, ...]  # N + 1, falling; the last one is where the run ends
    timesteps: tuple[float, ...]  # N, belonging to sigmas[:-1]
    start: float  # the run starts from start * (noise of unit variance)

    def timestep(self, sigma: float) -> float:
        """The timestep that belongs to one of the plan's noise levels."""
        return self.timesteps[self.sigmas.index(sigma)]

    def after(self, skipped: int) -> Plan:
        """The plan without its first ``skipped`` steps: image to image starts so, at x0 + sigmas[0] * n."""
        return Plan(self.sigmas[skipped:], self.timesteps[skipped:], self.start)


def get_sampler(name: str) -> Sampler:
    """The sampler of that name, or a ValueError that lists the names."""
    if not isinstance(name, str) or name not in SAMPLERS:
        raise ValueError(f"unknown sampler {name!r}; use one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def default_sampler(scheduler: str, karras: bool = False) -> str:
    """The name of the sampler that does what this class of diffusers does: "pndm" for PNDMScheduler."""
    for name, sampler in SAMPLERS.items():
        if sampler.scheduler == scheduler and sampler.karras == karras:
            return name
    known = ", ".join(dict.fromkeys(sampler.scheduler for sampler in SAMPLERS.values()))
    raise ValueError(f"no sampler does what {scheduler!r} does; known are {known}. Name a sampler instead.")


def make_plan(sampler: Sampler, schedule: Schedule, steps: int) -> Plan:
    """Noise levels and timesteps of a run of ``steps`` steps, from the checkpoint's scheduler settings."""
    config = schedule.config
    name = config.timestep_spacing or sampler.usual_spacing
    if name not in sampler.spacings:
        raise ValueError(f"timestep_spacing {name!r} is unknown; use one of {', '.join(sampler.spacings)}.")
    if sampler.method is pndm and not config.skip_prk_steps:
        raise ValueError("skip_prk_steps is false, but pndm has no Runge-Kutta start; name another sampler.")
    timesteps = sampler.spacings[name](steps, config.num_train_timesteps, config.steps_offset)
    sigmas = schedule.sigma(timesteps)
    if sampler.karras:
        sigmas = spacing.karras(float(schedule.sigmas[0]), float(schedule.sigmas[-1]), steps)
        timesteps = [round(schedule.sigma_to_t(sigma)) for sigma in sigmas]
    ends_early = sampler.ends_at_first_timestep and not config.set_alpha_to_one
    final = float(schedule.sigmas[0]) if ends_early else 0.0
    # Picture plus noise has variance 1 + sigma^2. Where the first timestep is T - 1, the k-diffusion family
    # takes the picture for drowned and starts from the noise alone.
    first = float(sigmas[0])
    start = math.sqrt(first**2 + 1) if sampler.unit_start or name == "leading" else first
    return Plan((*map(float, sigmas), final), tuple(map(float, timesteps)), start)
