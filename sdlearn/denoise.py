"""A network becomes ``denoise(x, sigma) -> Prediction``: the only thing that samplers know.

Networks differ in what they are trained to answer (the noise, or "velocity" v) and they are told the noise
level as a timestep. Here both peculiarities end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sdlearn.schedule import Schedule
from sdlearn.trace import Prediction

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
