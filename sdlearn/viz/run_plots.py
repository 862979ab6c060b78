"""Runs as figures, after the run: the film of one, and several compared at the same noise levels.

What ``decode`` and ``which`` may be is said in sdlearn.viz.recorded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdlearn.schedule import Schedule
from sdlearn.trace import Step
from sdlearn.viz.figure import (
    BAND,
    GAP,
    SEQUENTIAL,
    SIGNED,
    Plot,
    box,
    cell_size,
    cells,
    colour_key,
    listed,
    picture,
    spread,
    text,
)
from sdlearn.viz.plots import false_colours
from sdlearn.viz.recorded import Decode, Run, decoded, resemblance, steps_of, tiled

ROWS = {
    "picture": "x, what the sampler holds, decoded",
    "x0": "x₀, what the network believes the finished picture to be, decoded",
    "noise": "ε, what the network takes for noise, three channels as red, green, blue",
    "channels": "x, channel by channel",
}
LEAST = 560  # pixels of width: room for the titles of rows


def film_strip(
    steps: Run,
    decode: Decode | Tensor,
    rows: Sequence[str] = ("picture", "x0", "noise", "channels"),
    number: int = 8,
    which: int = 0,
) -> Plot:
    """At most ``number`` steps of a run, evenly spaced, from left to right; ``rows`` in the order given.

    x is shown in the scaling of the papers (Schedule.to_vp), as the network gets it.
    """
    run = steps_of(steps, which)
    unknown = [row for row in rows if row not in ROWS]
    if not rows or unknown:
        raise ValueError(
            f"rows must be some of {listed(ROWS)}; got {listed(unknown) if unknown else 'none'}."
        )
    if number < 1:
        raise ValueError(f"number must be at least 1, got {number}.")
    shown = [run[place] for place in spread(len(run), number)]
    states = torch.cat([Schedule.to_vp(step.x[which, None], step.sigma) for step in shown])
    contents = {
        "picture": lambda: decoded(decode, states),
        "x0": lambda: decoded(decode, torch.cat([step.pred.x0[which, None] for step in shown])),
        "noise": lambda: false_colours(torch.cat([step.pred.eps[which, None] for step in shown])),
        "channels": lambda: [tiled(state) for state in states],
    }
    width, height = cell_size(len(shown), states.shape[-1] / states.shape[-2])
    alt = _film_alt(run, shown, rows, states, which)
    plot = Plot(max(LEAST, GAP + len(shown) * (width + GAP)), BAND + len(rows) * (2 * BAND + height), alt)
    _titles(plot, [f"step {step.i + 1}, σ {step.sigma:.3g}" for step in shown], width)
    for k, row in enumerate(rows):
        top = BAND + k * (2 * BAND + height)
        name = ROWS[row].replace("decoded", "in fitted colours") if isinstance(decode, Tensor) else ROWS[row]
        text(plot, GAP, top + BAND * 0.8, name, weight="bold")
        if row == "channels":
            reach = float(states.abs().max()) or 1.0
            _maps(plot, contents[row](), top + 1.5 * BAND, width, height, (-reach, reach))
        else:
            _pictures(plot, contents[row](), top + 1.5 * BAND, width)
    return plot


def compare_runs(runs: Mapping[str, Run], decode: Decode | Tensor, number: int = 8, which: int = 0) -> Plot:
    """What the network believes (x0) in several runs, at the noise levels of the first one and at the end.

    A run that starts from the first one's noise also shows where its pictures differ; others differ everywhere.
    """
    if len(runs) < 2:
        raise ValueError(f"compare_runs needs two or more runs, got {len(runs)}.")
    found = {name: steps_of(run, which) for name, run in runs.items()}
    first = next(iter(found))
    levels = [found[first][place].sigma for place in spread(len(found[first]), number)]
    chosen = {
        name: [*(_nearest(run, level) for level in levels[:-1]), run[-1]] for name, run in found.items()
    }
    pictures = {
        name: decoded(decode, torch.cat([step.pred.x0[which, None] for step in steps]))
        for name, steps in chosen.items()
    }
    differences = {
        name: [_difference(*pair) for pair in zip(pictures[first], pictures[name], strict=True)]
        for name, run in found.items()
        if name != first and _same_start(found[first][0], run[0], which)
    }
    image = pictures[first][0]
    width, height = cell_size(len(levels), image.width / image.height)
    line = 2 * BAND + height
    alt = _comparison_alt(found, chosen, differences)
    plot = Plot(
        max(LEAST, GAP + len(levels) * (width + GAP)),
        BAND + len(found) * line + len(differences) * (line + BAND / 2),
        alt,
    )
    same = len({tuple(step.i for step in steps) for steps in chosen.values()}) == 1
    titles = [f"step {step.i + 1}, " * same + f"σ {step.sigma:.3g}" for step in chosen[first]]
    _titles(plot, titles if same else [*titles[:-1], "last step"], width)
    reach = max((float(one.max()) for ones in differences.values() for one in ones), default=0) or 1.0
    top = BAND
    for name, steps in chosen.items():
        numbers = "" if same else f" (steps {listed([step.i + 1 for step in steps])} of {len(found[name])})"
        text(plot, GAP, top + BAND * 0.8, name + numbers, weight="bold")
        _pictures(plot, pictures[name], top + 1.5 * BAND, width)
        top += line
        if name in differences:
            text(plot, GAP, top + BAND * 0.8, f"difference from {first}", weight="bold")
            _maps(plot, differences[name], top + 1.5 * BAND, width, height, (0, reach), SEQUENTIAL, " %")
            for k, one in enumerate(differences[name]):
                middle = GAP + k * (width + GAP) + width / 2
                text(plot, middle, top + 2 * BAND + height, f"mean {one.mean():.1f} %", ha="center")
            top += line + BAND / 2
    return plot


def _titles(plot: Plot, titles: Sequence[str], width: int) -> None:
    for k, title in enumerate(titles):
        text(plot, GAP + k * (width + GAP) + width / 2, BAND * 0.6, title, ha="center")


def _pictures(plot: Plot, images: Sequence[Image.Image], top: float, width: int) -> None:
    for k, image in enumerate(images):
        picture(plot, image, GAP + k * (width + GAP), top, width / image.width)


def _maps(
    plot: Plot,
    maps: Sequence[np.ndarray],
    top: float,
    width: int,
    height: int,
    reach: tuple[float, float],
    colours: str = SIGNED,
    unit: str = "",
) -> None:
    """Maps on one scale, whose colour bar stands above them on the right."""
    for k, values in enumerate(maps):
        axes = box(plot, GAP + k * (width + GAP), top, width, height)
        shown = cells(axes, values, *reach, colours)
    right = GAP + len(maps) * (width + GAP) - GAP
    colour_key(plot, shown, max(right, LEAST - GAP), top - BAND * 0.7, unit=unit)


def _nearest(steps: Sequence[Step], level: float) -> Step:
    """The step whose noise level is nearest, as a ratio."""
    return min(steps, key=lambda step: abs(math.log(max(step.sigma, 1e-9) / max(level, 1e-9))))


def _same_start(one: Step, other: Step, which: int) -> bool:
    """Whether two runs begin with the same noise, however loud."""
    a, b = (Schedule.to_vp(step.x[which], step.sigma).cpu() for step in (one, other))
    return a.shape == b.shape and torch.allclose(a, b, atol=0.05)


def _difference(a: Image.Image, b: Image.Image) -> np.ndarray:
    """Two pictures of a size -> (H, W), how far apart their colours are on average, in percent of black to white."""
    both = [np.asarray(image.convert("RGB"), dtype=np.float32) for image in (a, b)]
    return np.abs(both[0] - both[1]).mean(axis=-1) / 255 * 100


def _film_alt(run: list[Step], shown: list[Step], rows: Sequence[str], states: Tensor, which: int) -> str:
    alike = [resemblance(step.pred.x0[which], run[-1].x_next[which]) for step in (shown[0], shown[-1])]
    channels = f" The channels lie between {states.min():.1f} and {states.max():.1f}." * ("channels" in rows)
    return (
        f"Film strip of a run of {len(run)} steps, at step {listed([step.i + 1 for step in shown])}. The noise level σ "
        f"goes from {shown[0].sigma:.3g} to {shown[-1].sigma:.3g}. Rows: {'; '.join(ROWS[row] for row in rows)}. "
        f"x₀ and the finished latents are alike by {alike[0]:.2f} at the first of these steps, "
        f"by {alike[-1]:.2f} at the last.{channels}"
    )


def _comparison_alt(
    found: Mapping[str, list[Step]],
    chosen: Mapping[str, list[Step]],
    differences: Mapping[str, list[np.ndarray]],
) -> str:
    first, *others = found
    levels = [f"{step.sigma:.3g}" for step in chosen[first]]
    runs = listed([f"{name} ({len(steps)} steps)" for name, steps in found.items()])
    told = [
        f"What the network believes the finished picture to be, in {len(found)} runs one under another: {runs}."
    ]
    told.append(f"Columns: noise level σ {listed(levels)}; the last column is each run's last step.")
    for name in others:
        if name in differences:
            means = [float(one.mean()) for one in differences[name]]
            told.append(
                f"{name} differs from {first} by {means[0]:.1f} percent on average in the first column, by "
                f"{means[-1]:.1f} in the last, most ({max(means):.1f}) at σ {levels[int(np.argmax(means))]}."
            )
        else:
            told.append(f"{name} starts from other noise than {first}.")
    return " ".join(told)
