"""Guidance as figures: measured shares with their intervals, and the network's answers as arrows in one plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from sdlearn.trace import Step
from sdlearn.viz.figure import INK, LARGE, LINES, SMALL, Plot, quiet
from sdlearn.viz.recorded import steps_of

ROUNDING = 1e-9  # how far a value may lie outside its interval
Triple = tuple[float, float, float]  # a value, and the ends of its interval


def with_intervals(
    panels: Mapping[str, Mapping[str, Sequence[Triple]]], x: Sequence[object], x_label: str, *, alt: str
) -> Plot:
    """One panel a title, in each one named line a series: a (value, low, high) for each setting in ``x``.

    The settings stand evenly spaced, the lines a little beside one another. All panels start at zero.
    """
    if not panels or not all(0 < len(lines) <= len(LINES) for lines in panels.values()):
        raise ValueError(f"with_intervals needs at least one panel, each with 1 to {len(LINES)} lines.")
    every = [values for lines in panels.values() for values in lines.values()]
    if not len(x) or any(list(map(len, values)) != [3] * len(x) for values in every):
        raise ValueError(
            f"with_intervals needs settings, and a (value, low, high) for each; there are {len(x)} settings."
        )
    value, low, high = np.asarray(every, dtype=float).reshape(-1, 3).T
    inside = (low <= value + ROUNDING) & (value <= high + ROUNDING) & (value >= 0)
    if not (inside & np.isfinite(low) & np.isfinite(high)).all():
        raise ValueError("with_intervals needs low <= value <= high and value >= 0, all of them finite.")
    plot = Plot(330 * len(panels) if len(panels) > 1 else 560, 290, f"{alt} {_told(panels, x)}")
    all_axes = plot.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
        for k, (style, (name, values)) in enumerate(zip(LINES, lines.items(), strict=False)):
            value, low, high = np.asarray(values, dtype=float).T  # (len(x),) each
            places = np.arange(len(x)) + 0.1 * (k - (len(lines) - 1) / 2)
            around = np.clip([value - low, high - value], 0, None)
            axes.errorbar(
                places, value, around, label=name, markersize=4, lw=1.6, capsize=3, elinewidth=1, **style
            )
        axes.set_xticks(range(len(x)), [str(one) for one in x], parse_math=False)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(x_label, parse_math=False)
        axes.set_title(title, fontsize=LARGE, color=INK, loc="left", parse_math=False)
        if len(lines) > 1:
            for label in axes.legend(fontsize=SMALL, frameon=False).get_texts():
                label.set_parse_math(False)
        quiet(axes, grid=True)
    plot.tight_layout(pad=1.2)
    return plot


def _told(panels: Mapping[str, Mapping[str, Sequence[Triple]]], x: Sequence[object]) -> str:
    """Where each line begins and ends, and where it is highest."""
    found = []
    for title, lines in panels.items():
        for name, values in lines.items():
            heights = [value for value, _, _ in values]
            most = x[int(np.argmax(heights))]
            which = f"{title}, {name}" if name else title
            found.append(f"{which}: {heights[0]:.2g} at {x[0]}, {heights[-1]:.2g} at {x[-1]}, most at {most}")
    return f"{'; '.join(found)}."


def guidance_arrows(step: Step, scales: Sequence[float], which: int = 0) -> Plot:
    """A step's answers as arrows: C without the prompt, B with it; and dots at C + scale * (B - C) for each scale.

    C and B span a plane, and everything that guidance makes lies in it: nothing is left out of the picture. C points
    to the right; lengths are root mean squares.
    """
    pred = steps_of([step], which)[0].pred
    if pred.eps_cond is None or pred.eps_uncond is None:
        raise ValueError(
            "this step was asked only once: record a run with a guidance_scale other than 0 and 1."
        )
    if not pred.eps_uncond[which].any():
        raise ValueError("the answer without the prompt, C, is zero: it points nowhere.")
    b, c = _in_one_plane(pred.eps_cond[which], pred.eps_uncond[which])
    ends = {f"scale {scale:g}": c + scale * (b - c) for scale in scales}
    told = ", ".join(f"{name} {np.hypot(*end):.2f}" for name, end in ends.items())
    plot = Plot(
        620,
        400,
        f"Arrows at step {step.i + 1}, σ {step.sigma:.3g}: C, of length {np.hypot(*c):.2f}, to the right; B, "
        f"{np.hypot(*b):.2f} long, {np.degrees(np.arctan2(b[1], b[0])):.0f} degrees away from it. On the line from C "
        f"through B, with their lengths: {told}.",
    )
    axes = plot.add_axes((0.1, 0.12, 0.86, 0.85))
    last = max(ends.values(), key=lambda end: abs(end - c).sum(), default=b)
    axes.plot(*np.array([c, last]).T, color=LINES[2]["color"], lw=1.2, ls=":", label="D, prolonged", zorder=1)
    for (name, end), style in zip({"C without the prompt": c, "B with it": b}.items(), LINES, strict=False):
        arrow = {"arrowstyle": "-|>", "color": style["color"], "lw": 2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, (0, 0), arrowprops=arrow)
        axes.plot([], [], color=style["color"], lw=2, label=name)
    for name, end in ends.items():
        axes.plot(*end, "o", color=INK, ms=4)
        axes.annotate(name, end, (8, -3), textcoords="offset points", fontsize=SMALL, color=INK)
    points = np.array([(0, 0), c, b, *ends.values()])
    low, high = points.min(axis=0), points.max(axis=0)
    room = 0.07 * (high - low).max()
    axes.set(xlim=(low[0] - room, high[0] + 3 * room), ylim=(low[1] - room, high[1] + room), aspect="equal")
    axes.set(xlabel="along C", ylabel="across")
    axes.legend(fontsize=SMALL, frameon=False, loc="best")
    quiet(axes, grid=True)
    return plot


def _in_one_plane(b: Tensor, c: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """B and C as points in the plane that they span, C on the first axis, in root mean squares."""
    b, c = (one.detach().double().cpu().flatten() / one.numel() ** 0.5 for one in (b, c))
    length = c.norm()
    along = b @ c / length
    across = (b - along * c / length).norm()
    return np.array([float(along), float(across)]), np.array([float(length), 0.0])
