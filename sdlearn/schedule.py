"""How noisy each training timestep is.

A timestep t = 0 ... T-1 has a beta (the share of noise added there), an alpha_bar (the share of the picture
left after all of them; Ho et al. 2020, eq. 4) and a sigma, the noise level once the picture is kept at full
size: x = x0 + sigma * eps with sigma = sqrt((1 - alpha_bar) / alpha_bar) (Karras et al. 2022).
"""

from __future__ import annotations

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


def _per_image(sigma: float | Tensor, x: Tensor) -> float | Tensor:
    """Make a noise level broadcast over an image batch: (B,) -> (B, 1, 1, 1)."""
    if not isinstance(sigma, Tensor) or sigma.ndim == 0:
        return sigma
    return sigma.to(device=x.device, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))


def _root(value: float | Tensor) -> float | Tensor:
    return value.sqrt() if isinstance(value, Tensor) else math.sqrt(value)
