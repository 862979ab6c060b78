"""What a noise predictor can do: errors by timestep, clock hands, noise beside its guess. Losses: loss_plots.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from sdlearn.viz.figure import (
    BAND,
    GAP,
    INK,
    LARGE,
    LINES,
    PALE,
    SIGNED,
    SMALL,
    Plot,
    box,
    cells,
    quiet,
    text,
)


def error_by_timestep(
    panels: Mapping[str, Mapping[str, Sequence[float]]], timesteps: Sequence[int], *, alt: str = ""
) -> Plot:
    """One panel a title, in each the mean squared errors of some predictors at the timesteps; both on log scales.

    So neither may be 0.
    """
    if not panels or not all(0 < len(lines) <= len(LINES) for lines in panels.values()):
        raise ValueError(f"error_by_timestep needs at least one panel, each with 1 to {len(LINES)} lines.")
    told = [
        f"{title}, {name}: {y[0]:.3g} at t = {timesteps[0]}, {y[-1]:.3g} at t = {timesteps[-1]}."
        for title, lines in panels.items()
        for name, y in lines.items()
    ]
    plot = Plot(
        480 * len(panels), 320, alt or "Errors over the timesteps, on logarithmic scales. " + " ".join(told)
    )
    for axes, (title, lines) in zip(
        plot.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for style, (name, y) in zip(LINES, lines.items(), strict=False):
            axes.plot(timesteps, y, label=name, markersize=5, linewidth=1.8, **style)
        axes.set(xscale="log", yscale="log", xlabel="timestep t")
        axes.set_xticks(timesteps, list(map(str, timesteps)))
        axes.minorticks_off()
        axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
        axes.legend(fontsize=SMALL, frameon=False)
        quiet(axes, grid=True)
    plot.tight_layout(pad=1.2)
    return plot


def clock_hands(embedding: Tensor, timesteps: Sequence[int], hands: Sequence[int]) -> Plot:
    """Each row of a time embedding, (n, width) with cosines first, as dials.

    Hand k is the cosine at place k and the sine half a width further; ``hands`` are the k to show, one dial each.
    """
    n, width = embedding.shape
    if n != len(timesteps) or not hands or not all(0 <= k < width // 2 for k in hands):
        raise ValueError(f"clock_hands needs one timestep a row ({n}) and hands from 0 to {width // 2 - 1}.")
    size, left, top = 64, 90, BAND + GAP
    plot = Plot(
        left + len(hands) * (size + GAP),
        top + n * (size + GAP),
        f"A table of dials: a row for each of the timesteps {', '.join(map(str, timesteps))}, a column for each of "
        f"{len(hands)} hands. In the left columns the hand points somewhere else in each row; in the right columns it "
        "hardly moves.",
    )
    for j, k in enumerate(hands):
        text(plot, left + j * (size + GAP) + size / 2, BAND / 2, f"hand {k}", ha="center")
    for i, t in enumerate(timesteps):
        y = top + i * (size + GAP)
        text(plot, left - GAP, y + size / 2, f"t = {t}", ha="right")
        for j, k in enumerate(hands):
            x = left + j * (size + GAP)
            cosine, sine = float(embedding[i, k]), float(embedding[i, k + width // 2])
            _dial(box(plot, x, y, size, size), cosine, sine, LINES[0]["color"])
    return plot


def _dial(axes: Axes, cosine: float, sine: float, colour: str) -> None:
    """A circle with one hand that points up at angle 0 and turns clockwise."""
    around = np.linspace(0, 2 * math.pi, 90)
    axes.plot(np.cos(around), np.sin(around), color=PALE, linewidth=1)
    axes.plot([0, sine], [0, cosine], color=colour, linewidth=2.5, solid_capstyle="round")
    axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal")
    axes.axis("off")


def noise_and_guess(noise: Tensor, guess: Tensor, timesteps: Sequence[int], size: int = 150) -> Plot:
    """True noise, predicted noise and their difference, (n, h, w) each: one column a timestep, all on one scale.

    Below each column stands the mean squared error; the description lists them, too.
    """
    if not noise.shape == guess.shape or noise.ndim != 3 or len(noise) != len(timesteps):
        raise ValueError("noise_and_guess needs two tensors (n, h, w) of the same shape, and n timesteps.")
    rows = {"true noise": noise, "predicted": guess, "difference": guess - noise}
    errors = (guess - noise).square().mean(dim=(1, 2)).tolist()
    told = ", ".join(f"{error:.2g} at t = {t}" for error, t in zip(errors, timesteps, strict=True))
    left, top, bar = 90, BAND, 70
    width, height = left + len(noise) * (size + GAP) + bar, top + 3 * (size + GAP) + BAND
    plot = Plot(width, height, f"Maps of true noise, predicted noise and their difference. Errors: {told}.")
    limit = float(noise.abs().max())
    for i, (name, values) in enumerate(rows.items()):
        y = top + i * (size + GAP)
        text(plot, left - GAP, y + size / 2, name, ha="right", weight="bold")
        for j, t in enumerate(timesteps):
            x = left + j * (size + GAP)
            array = values[j].detach().float().cpu().numpy()
            shown = cells(box(plot, x, y, size, size), array, -limit, limit, SIGNED)
            if i == 0:
                text(plot, x + size / 2, BAND / 2, f"t = {t}", ha="center")
                text(plot, x + size / 2, height - BAND / 2, f"error {errors[j]:.2g}", ha="center")
    middle = plot.add_axes(((width - bar + 14) / width, 0.2, 12 / width, 0.6))
    plot.colorbar(shown, cax=middle).ax.tick_params(labelsize=SMALL, colors=INK)
    return plot
