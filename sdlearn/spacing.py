"""Which timesteps, or which noise levels, a run of N steps visits: noisiest first.

The names are those of Lin et al. 2024, table 2. T is the number of training timesteps.
"""

from __future__ import annotations

import math

import numpy as np


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
