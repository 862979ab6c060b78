"""What guidance does in one step: the network's two answers, their difference, and the exaggeration."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdlearn.arguments import check_guidance_scale
from sdlearn.trace import Step
from sdlearn.viz.figure import BAND, GAP, LARGE, Plot, box, cell_size, cells, colour_key, picture, text
from sdlearn.viz.recorded import Decode, decoded, resemblance, steps_of, tiled


def guidance_split(step: Step, decode: Decode | Tensor | None, scale: float, which: int = 0) -> Plot:
    """A step's two answers, B with the prompt, C without; D = B - C; and E = C + scale * D, which guidance makes.

    Above as noise, channel by channel, D on a scale of its own. Below the pictures that each leaves, x - sigma * noise
    decoded (``decode`` and ``which`` as in sdlearn.viz.recorded); with ``decode`` None only the first.
    """
    scale = check_guidance_scale(scale)
    pred = steps_of([step], which)[0].pred
    if pred.eps_cond is None or pred.eps_uncond is None:
        raise ValueError(
            "this step was asked only once: record a run with a guidance_scale other than 0 and 1."
        )
    b, c = (eps[which].detach().float().cpu() for eps in (pred.eps_cond, pred.eps_uncond))
    split = {"B": b, "C": c, "D": b - c, "E": c + scale * (b - c)}
    titles = {"B": "with the prompt", "C": "without it", "D": "= B − C", "E": f"= C + {scale:g} · D"}
    width, height = cell_size(4, b.shape[-1] / b.shape[-2], 230)
    line = 2 * BAND + height
    plot = Plot(
        GAP + 4 * (width + GAP),
        BAND + line * (1 if decode is None else 2) + GAP,
        _alt(step, split, scale),
    )
    common = max(float(split[name].abs().max()) for name in "BCE")
    for k, (name, values) in enumerate(split.items()):
        left = GAP + k * (width + GAP)
        text(
            plot,
            left + width / 2,
            BAND * 0.7,
            f"{name} {titles[name]}",
            ha="center",
            fontsize=LARGE,
            weight="bold",
        )
        limit = float(values.abs().max()) if name == "D" else common
        _signed(plot, "noise", tiled(values), left, BAND, width, height, limit)
    if decode is not None:
        _leaves(
            plot, step.x[which].detach().float().cpu(), step.sigma, split, decode, BAND + line, width, height
        )
    return plot


def _leaves(
    plot: Plot,
    x: Tensor,
    sigma: float,
    split: dict[str, Tensor],
    decode: Decode | Tensor,
    top: float,
    width: int,
    height: int,
) -> None:
    """The pictures that B, C and E leave of x, and how the first differs from the second."""
    images = dict(zip("BCE", decoded(decode, torch.stack([x - sigma * split[name] for name in "BCE"]))))
    for k, name in enumerate(split):
        left = GAP + k * (width + GAP)
        if name == "D":
            change = _brightness(images["B"]) - _brightness(images["C"])
            limit = float(np.abs(change).max())
            _signed(plot, "brightness", change, left, top, width, height, limit, " %")
        else:
            text(plot, left, top + BAND, "the picture that it leaves")
            picture(plot, images[name], left, top + 2 * BAND, width / images[name].width)


def _signed(
    plot: Plot,
    name: str,
    values: np.ndarray,
    left: float,
    top: float,
    width: int,
    height: int,
    limit: float,
    unit: str = "",
) -> None:
    """A map around zero, under its name and its colours."""
    limit = limit or 1.0
    text(plot, left, top + BAND, name)
    shown = cells(box(plot, left, top + 2 * BAND, width, height), values, -limit, limit)
    colour_key(plot, shown, left + width, top + BAND, 50, unit)


def _brightness(image: Image.Image) -> np.ndarray:
    """(H, W), in percent of white."""
    return np.asarray(image.convert("L"), dtype=np.float32) / 255 * 100


def _alt(step: Step, split: dict[str, Tensor], scale: float) -> str:
    """How large the answers are, in root mean squares, and how alike."""
    b, c, d, e = (float(values.square().mean().sqrt()) for values in split.values())
    return (
        f"Guidance at step {step.i + 1}, noise level σ {step.sigma:.3g}. The network's answers with the prompt (B) and "
        f"without it (C) are alike by {resemblance(split['B'], split['C']):.3f}. Sizes (root mean square): B {b:.2f}, "
        f"C {c:.2f}, their difference D {d:.3f}, {d / b if b else 0:.1%} of B; E = C + {scale:g} · D {e:.2f}."
    )
