"""Which noise levels a run visits, and the table of the samplers' names.

One name of a spacing means different formulas in different samplers of diffusers. Those that the course does not
teach are told apart here: "open" ones stop one step before t = 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from torch import Tensor

from sdlearn import samplers, samplers_more, spacing
from sdlearn.samplers import Denoise, Noise
from sdlearn.schedule import Schedule
from sdlearn.trace import Step

SPACINGS = ("leading", "trailing", "linspace", "karras", "exponential")
DISTILLED_STEPS = 50


@dataclass(frozen=True)
class Sampler:
    """What a name stands for: the method, and which noise levels it visits on a checkpoint's schedule."""

    method: Callable[..., Iterator[Step]]
    scheduler: str  # the class of diffusers that does the same
    spacings: dict[str, Callable]  # what "leading", "trailing" and "linspace" mean for it
    usual_spacing: str  # where the checkpoint's settings do not name one
    stochastic: bool = False  # the method draws noise on the way
    ends_at_first_timestep: bool = False  # at sigma of t = 0, unless the settings say set_alpha_to_one
    settings: tuple[tuple[str, object], ...] = ()  # of the class in diffusers, where its own are others
    sigma_range: str = (
        ""  # of "karras" and "exponential": the "whole" table's, or that of the "visited"; "" for none
    )
    unit_start: bool = True  # starts from sqrt(sigma^2 + 1) * noise; False: from sigma * noise

    def run(
        self,
        denoise: Denoise,
        x: Tensor,
        sigmas: Sequence[float],
        noise: Noise,
        done: Sequence[Step] = (),
        eta: float | None = None,
    ) -> Iterator[Step]:
        """The steps of this sampler from x at noise level sigmas[0]; only stochastic ones call ``noise``.

        ``eta`` scales the fresh noise of those that know it; None is the method's own.
        """
        if eta is not None:  # 0 is euler, 1 is euler_ancestral; see ``check_eta``
            return samplers.euler_ancestral(denoise, x, sigmas, noise, done, eta)
        if self.stochastic:
            return self.method(denoise, x, sigmas, noise, done)
        return self.method(denoise, x, sigmas, done)

    @property
    def knows_eta(self) -> bool:
        """Whether fresh noise can be scaled: DDIM and those that it becomes."""
        return (
            self.method in (samplers.euler, samplers.euler_ancestral)
            and self.scheduler != "EulerDiscreteScheduler"
        )


def rounded_linspace(steps: int, train_steps: int, offset: int = 0) -> np.ndarray:
    """``linspace`` moved to whole timesteps: 999, 979 ... 0."""
    return spacing.linspace(steps, train_steps).round()


def open_linspace(steps: int, train_steps: int, offset: int = 0) -> np.ndarray:
    """N + 1 whole points from T - 1 to 0, without the 0: 999, 979 ... 20. Repeated ones are visited once."""
    return np.unique(np.linspace(0, train_steps - 1, steps + 1).round()[1:])[::-1]


def open_leading(steps: int, train_steps: int, offset: int = 0) -> np.ndarray:
    """Multiples of T // (N + 1), N of them down to the first, plus an offset: 951, 932 ... 20 for N = 50."""
    stride = max(train_steps // (steps + 1), 1)
    offset = min(offset, train_steps - 1 - steps * stride)
    return np.arange(1, steps + 1)[::-1] * stride + float(offset)


def distilled(steps: int, train_steps: int, offset: int = 0) -> np.ndarray:
    """N of the 50 timesteps that consistency models are taught: 999, 759, 499, 259 for N = 4 (Luo et al. 2023)."""
    if steps > DISTILLED_STEPS:
        raise ValueError(f"lcm visits at most {DISTILLED_STEPS} timesteps, not {steps}: take 1 to 8 steps.")
    taught = np.arange(DISTILLED_STEPS, 0, -1) * (train_steps // DISTILLED_STEPS) - 1.0
    return taught[np.linspace(0, DISTILLED_STEPS, steps, endpoint=False).astype(int)]


WHOLE = {"leading": spacing.leading, "trailing": spacing.trailing, "linspace": rounded_linspace}
BETWEEN = {"leading": spacing.leading, "trailing": spacing.trailing, "linspace": spacing.linspace}
OPEN = {"leading": open_leading, "trailing": spacing.trailing, "linspace": open_linspace}
DISTILLED = dict.fromkeys(WHOLE, distilled)
KARRAS, SDE = ("use_karras_sigmas", True), ("algorithm_type", "sde-dpmsolver++")

SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(samplers.euler_ancestral, "DDPMScheduler", WHOLE, "leading", stochastic=True),
    "ddim": Sampler(samplers.euler, "DDIMScheduler", WHOLE, "leading", ends_at_first_timestep=True),
    "euler": Sampler(
        samplers.euler, "EulerDiscreteScheduler", BETWEEN, "linspace", sigma_range="visited", unit_start=False
    ),
    "euler_a": Sampler(
        samplers.euler_ancestral,
        "EulerAncestralDiscreteScheduler",
        BETWEEN,
        "linspace",
        stochastic=True,
        unit_start=False,
    ),
    "heun": Sampler(
        samplers.heun, "HeunDiscreteScheduler", BETWEEN, "linspace", sigma_range="visited", unit_start=False
    ),
    "pndm": Sampler(samplers.pndm, "PNDMScheduler", WHOLE, "leading", ends_at_first_timestep=True),
    "lms": Sampler(
        samplers_more.lms,
        "LMSDiscreteScheduler",
        BETWEEN,
        "linspace",
        sigma_range="visited",
        unit_start=False,
    ),
    "dpmpp_2m": Sampler(
        samplers.dpmpp_2m, "DPMSolverMultistepScheduler", OPEN, "linspace", sigma_range="whole"
    ),
    "dpmpp_2m_karras": Sampler(
        samplers.dpmpp_2m,
        "DPMSolverMultistepScheduler",
        OPEN,
        "linspace",
        settings=(KARRAS,),
        sigma_range="whole",
    ),
    "dpmpp_2m_sde": Sampler(
        samplers_more.dpmpp_2m_sde,
        "DPMSolverMultistepScheduler",
        OPEN,
        "linspace",
        stochastic=True,
        settings=(SDE,),
        sigma_range="whole",
    ),
    "unipc": Sampler(samplers_more.unipc, "UniPCMultistepScheduler", OPEN, "linspace", sigma_range="whole"),
    "lcm": Sampler(samplers_more.lcm, "LCMScheduler", DISTILLED, "leading", stochastic=True),
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
        near = get_close_matches(re.sub(r"[ -]", "_", str(name).lower().replace("++", "pp")), SAMPLERS, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown sampler {name!r}; use one of {', '.join(SAMPLERS)}.{meant}")
    return SAMPLERS[name]


def default_sampler(scheduler: str, algorithm_type: str | None = None) -> str:
    """The name of the sampler that does what this class of diffusers does: "pndm" for PNDMScheduler."""
    for name, sampler in SAMPLERS.items():
        kind = dict(sampler.settings).get("algorithm_type")
        if sampler.scheduler == scheduler and kind == (
            None if algorithm_type == "dpmsolver++" else algorithm_type
        ):
            return name
    known = ", ".join(dict.fromkeys(sampler.scheduler for sampler in SAMPLERS.values()))
    like = f" with {algorithm_type!r}" if algorithm_type else ""
    raise ValueError(
        f"no sampler does what {scheduler!r}{like} does; known are {known}. Name a sampler instead."
    )


def choose_spacing(name: str, sampler: Sampler, schedule: Schedule, asked: str | None) -> tuple[str, str]:
    """(spacing of timesteps, "karras", "exponential" or ""): as asked, else as the checkpoint's settings say.

    Raises ValueError for one that does not exist, or that this sampler does not know.
    """
    config = schedule.config
    if asked is not None and asked not in SPACINGS:
        raise ValueError(f"spacing {asked!r} is unknown; use one of {', '.join(SPACINGS)}.")
    base = config.timestep_spacing or sampler.usual_spacing
    base = asked if asked in sampler.spacings else base
    if base not in sampler.spacings:
        raise ValueError(f"timestep_spacing {base!r} is unknown; use one of {', '.join(sampler.spacings)}.")
    if KARRAS in sampler.settings and asked not in (None, "karras"):
        raise ValueError(f"spacing {asked!r} is not for {name}, which has its own; take dpmpp_2m.")
    curve = asked if asked in ("karras", "exponential") else ""
    if curve and not sampler.sigma_range:
        able = ", ".join(other for other, one in SAMPLERS.items() if one.sigma_range)
        raise ValueError(
            f"spacing {curve!r} is not for {name}, which visits whole timesteps; it is for {able}."
        )
    if asked is None and sampler.sigma_range:
        by_settings = "karras" if config.use_karras_sigmas else ""
        curve = by_settings or ("exponential" if config.use_exponential_sigmas else "")
    if KARRAS in sampler.settings and not curve:
        curve = "karras"
    return base, curve


def make_plan(
    sampler: Sampler, schedule: Schedule, steps: int, asked: str | None = None, name: str = ""
) -> Plan:
    """Noise levels and timesteps of a run of ``steps`` steps, from the checkpoint's scheduler settings.

    ``asked`` is one of ``SPACINGS``, None for what the settings say.
    """
    config = schedule.config
    base, curve = choose_spacing(name or sampler.scheduler, sampler, schedule, asked)
    if sampler.method is samplers.pndm and not config.skip_prk_steps:
        raise ValueError("skip_prk_steps is false, but pndm has no Runge-Kutta start; name another sampler.")
    timesteps = sampler.spacings[base](steps, config.num_train_timesteps, config.steps_offset)
    sigmas = schedule.sigma(timesteps)
    if curve:
        visited = sigmas if sampler.sigma_range == "visited" else schedule.sigmas.flip(0)
        ends = float(visited[-1]), float(visited[0])
        sigmas = (spacing.karras if curve == "karras" else spacing.exponential)(*ends, steps)
        timesteps = [schedule.sigma_to_t(sigma) for sigma in sigmas]
        if sampler.sigma_range == "whole" and curve == "karras":  # as in diffusers
            timesteps = [round(t) for t in timesteps]
    ends_early = sampler.ends_at_first_timestep and not config.set_alpha_to_one
    final = float(schedule.sigmas[0]) if ends_early else 0.0
    # Picture plus noise has variance 1 + sigma^2. Where the first timestep is T - 1, the k-diffusion family
    # takes the picture for drowned and starts from the noise alone.
    first = float(sigmas[0])
    start = math.sqrt(first**2 + 1) if sampler.unit_start or base == "leading" else first
    return Plan((*map(float, sigmas), final), tuple(map(float, np.asarray(timesteps))), start)
