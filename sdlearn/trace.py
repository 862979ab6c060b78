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
    """What the network thinks of a noisy x = x0 + sigma * eps.

    x0: the latents it believes in, (n, channels, h, w); ``pipe.decode(step.pred.x0)`` shows them as pictures
    eps: the noise it sees in x, of the same shape
    eps_cond, eps_uncond: with guidance the two opinions that eps was mixed from, with the prompt and without; else None
    timestep: the number that told the network how noisy x is
    """

    x0: Tensor
    eps: Tensor
    eps_cond: Tensor | None = None
    eps_uncond: Tensor | None = None
    timestep: float | None = None

    def __repr__(self) -> str:
        return f"Prediction({_shape(self.x0)}, timestep {self.timestep})"


@dataclass(frozen=True)
class Step:
    """One interval of a sampler: from x at noise level sigma to x_next at sigma_next.

    i: its number, from 0
    sigma, sigma_next: the noise levels, falling
    timestep: the number that told the network the first of them
    x: in sigma coordinates, x = x0 + sigma * eps, (n, channels, h, w); Schedule.to_vp gives the papers' scaling
    pred: the prediction at (x, sigma), the first one where a method needs several
    x_next: where the step ends, shaped like x
    """

    i: int
    sigma: float
    sigma_next: float
    timestep: float | None
    x: Tensor
    pred: Prediction
    x_next: Tensor

    def __repr__(self) -> str:
        return f"Step({self.i}, sigma {self.sigma:.4g} to {self.sigma_next:.4g}, {_shape(self.x)})"


@dataclass(frozen=True)
class Generation:
    """The result of a call. A notebook shows its pictures.

    images: n PIL pictures
    latents: the last ones, (n, channels, height / factor, width / factor); ``pipe.decode`` makes pictures of them
    steps: every Step of the run; empty with record=False
    settings: what was asked for, under the names of the arguments; see ``settings_of``
    drawing: the checked request (sdlearn.wishes.Drawing), with which ``pipe.resume`` goes on
    flagged: by a safety checker, True where it blacked out a picture; None without one
    """

    images: list[Image]
    latents: Tensor
    steps: list[Step] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    drawing: Any = None
    flagged: list[bool] | None = None

    def settings_of(self, k: int) -> dict[str, Any]:
        """The settings that draw picture ``k`` alone: its own prompt, negative prompt and seed, for ``save_png``.

        Raises IndexError where there is no such picture.
        """
        number = len(self.latents)
        if not 0 <= k < number:
            raise IndexError(f"there is no picture {k}: the pictures are 0 to {number - 1}.")
        own = {
            name: value[k * len(value) // number]  # a prompt stands for several pictures, one after the other
            for name, value in self.settings.items()
            if name in ("prompt", "negative_prompt", "seed") and isinstance(value, list)
        }
        return {**self.settings, **own, "num_images_per_prompt": 1}

    def __repr__(self) -> str:
        number = len(self.latents)
        size = f" of {self.images[0].width}x{self.images[0].height}" if self.images else ", not finished"
        prompt, seed = (self.settings.get(name) for name in ("prompt", "seed"))
        asked = f"{prompt!r:.60}, seed {seed!r:.40}, {len(self.steps)} steps recorded"
        return f"Generation({number} picture{'s' * (number != 1)}{size}: {asked})"

    def _repr_png_(self) -> bytes | None:
        """The pictures side by side, for a notebook's last line."""
        if not self.images:
            return None
        from io import BytesIO

        from sdlearn.image import grid

        file = BytesIO()
        grid(self.images).save(file, format="PNG")
        return file.getvalue()


def _shape(x: Tensor) -> str:
    """Latents in few words: "latents 1x4x16x16"."""
    return "latents " + "x".join(map(str, x.shape))
