"""What a run leaves behind, as plain data: a Prediction of the network, a Step of the sampler, a Generation.

Nothing here is ever changed in place, so every picture of a run can be drawn after the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """What the network thinks of a noisy x = x0 + sigma * eps: x0 and eps, both shaped like x.

    With guidance, ``eps_cond`` and ``eps_uncond`` are the two opinions that ``eps`` was mixed from.
    """

    x0: Tensor
    eps: Tensor
    eps_cond: Tensor | None = None
    eps_uncond: Tensor | None = None
    timestep: float | None = None  # the number that told the network how noisy x is


@dataclass(frozen=True)
class Step:
    """One interval of a sampler: from ``x`` at noise level ``sigma`` to ``x_next`` at ``sigma_next``."""

    i: int
    sigma: float
    sigma_next: float
    timestep: float | None
    x: Tensor  # in sigma coordinates, x = x0 + sigma * eps; Schedule.to_vp gives the papers' scaling
    pred: Prediction  # the prediction at (x, sigma), the first one where a method needs several
    x_next: Tensor


@dataclass(frozen=True)
class Generation:
    """The result of a call: pictures, final latents in diffusers' scaling, every step, and the settings."""

    images: list[Image]
    latents: Tensor  # (n, channels, height / factor, width / factor)
    steps: list[Step] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)  # what was asked for
    drawing: Any = None  # the checked request (sdlearn.wishes.Drawing), with which a run can be resumed
    flagged: list[bool] | None = None  # by the safety checker: True where a picture was blacked out
