"""Samplers as figures: paths in the plane, noise levels of a run, errors against steps with their slopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from sdlearn.viz.figure import BAND, GAP, INK, LARGE, LINES, PALE, WIDTH, Plot, quiet, text

STYLES = (  # three more than LINES, as easy to tell apart
    *LINES,
    {"color": "#CC79A7", "marker": "D", "linestyle": "-."},
    {"color": "#000000", "marker": "v", "linestyle": (0, (5, 1, 1, 1, 1, 1))},
    {"color": "#56B4E9", "marker": "P", "linestyle": (0, (3, 1, 1, 1))},
)


def slope(steps: Sequence[float], errors: Sequence[float]) -> float:
    """The order of a method: p where errors fall like steps^-p, by least squares on both logarithms."""
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def paths(
    panels: Mapping[str, Sequence], landmarks: Sequence, *, reach: float, alt: str, columns: int = 4
) -> Plot:
    """Panels of points on their way in the plane: arrays (moments, points, 2), a line a point, its end a dot.

    With one moment only the dots are seen. Crosses are ``landmarks``, (k, 2). To ``alt`` is added how far from
    their nearest landmark the points end, in the mean.
    """
    if not panels:
        raise ValueError("paths needs at least one panel.")
    arrays = {name: np.asarray(moments, dtype=float) for name, moments in panels.items()}
    if wrong := [name for name, one in arrays.items() if one.ndim != 3 or one.shape[2] != 2]:
        raise ValueError(f"{wrong[0]!r}: paths are (moments, points, 2), got {arrays[wrong[0]].shape}.")
    marks = np.asarray(landmarks, dtype=float)
    columns = min(columns, len(arrays))
    size = min(320.0, (WIDTH - GAP) / columns - GAP)
    rows = -(-len(arrays) // columns)
    width, height = GAP + columns * (size + GAP), rows * (BAND + size + GAP)
    plot = Plot(width, height, f"{alt} {_ends(arrays, marks)}")
    for k, (name, moments) in enumerate(arrays.items()):
        left, top = GAP + k % columns * (size + GAP), k // columns * (BAND + size + GAP) + BAND
        text(plot, left, top - BAND / 2, name, ha="left", weight="bold")
        axes = plot.add_axes((left / width, 1 - (top + size) / height, size / width, size / height))
        _draw_paths(axes, moments, marks)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        axes.spines[:].set_color(PALE)
    return plot


def _draw_paths(axes: Axes, moments: np.ndarray, marks: np.ndarray) -> None:
    """Thin lines with a small dot a moment, where there are few points; starts hollow, ends filled.

    Many points would hide the crosses: there these lie on top.
    """
    few = moments.shape[1] <= 12
    axes.plot(*marks.T, "+", color=INK, markersize=11, markeredgewidth=1.6, zorder=1 if few else 5)
    if len(moments) > 1:
        for k in range(moments.shape[1]):
            colour = STYLES[k % len(STYLES)]["color"] if few else PALE
            axes.plot(
                *moments[:, k].T, color=colour, lw=1.1 if few else 0.6, marker="." if few else None, ms=4
            )
        axes.plot(
            *moments[0].T, "o", color="white", markeredgecolor=INK, markersize=6 if few else 3, zorder=3
        )
    dots = {"color": INK, "markersize": 6} if few else {"color": LINES[1]["color"], "markersize": 2.6}
    axes.plot(*moments[-1].T, "o", **dots, markeredgecolor="none", zorder=4)


def _ends(arrays: Mapping[str, np.ndarray], marks: np.ndarray) -> str:
    """How far the points end from their nearest landmark, in the mean, one panel after the other."""
    means = {
        name: np.linalg.norm(one[-1][:, None] - marks, axis=-1).min(axis=1).mean()
        for name, one in arrays.items()
    }
    return f"Mean distance to the nearest cross: {'; '.join(f'{n} {v:.2f}' for n, v in means.items())}."


def stairs(sigmas: Sequence[float], found: Mapping[str, Sequence[float]]) -> Plot:
    """The noise levels of one run as stairs, and noise levels that were measured, one a level, as marks.

    Left as they are, right on a logarithmic scale, where a last level of 0 is below the edge.
    """
    if len(found) > len(STYLES) or any(len(values) != len(sigmas) for values in found.values()):
        raise ValueError(f"stairs needs at most {len(STYLES)} measurements, each of {len(sigmas)} values.")
    off = {
        name: max(abs(value / s - 1) for value, s in zip(values, sigmas, strict=True) if s > 0)
        for name, values in found.items()
    }
    told = "".join(f" {name}: off by up to {100 * share:.0f} % of a level." for name, share in off.items())
    text = f"Stairs of {len(sigmas) - 1} steps from σ = {sigmas[0]:.3g} to {sigmas[-1]:.3g}.{told}"
    plot = Plot(WIDTH * 0.9, 310, text)
    numbers = np.arange(len(sigmas))
    for axes, title in zip(plot.subplots(1, 2), ("noise level σ", "the same, logarithmic"), strict=True):
        axes.step(numbers, sigmas, where="post", color=INK, lw=1.4, label="planned")
        for k, (style, (name, values)) in enumerate(zip(STYLES, found.items(), strict=False)):
            marks = {**style, "linestyle": "none", "fillstyle": "none" if k else "full"}  # all are to be seen
            axes.plot(numbers, values, label=name, markersize=6 + k, markeredgewidth=1.5, **marks)
        axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
        axes.set_xlabel("after step")
        quiet(axes, grid=True)
        axes.tick_params(labelsize=9)
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(yscale="log", ylim=(min(s for s in sigmas if s > 0) / 3, max(sigmas) * 2))
    axes.legend(fontsize=9, frameon=False)
    plot.tight_layout(pad=1.2)
    return plot


def noise_levels(schedules: Mapping[str, Sequence[float]]) -> Plot:
    """Named lists of noise levels as rows of dots on one logarithmic axis, noisiest first, beside their steps' share.

    Right: how much of its way each has gone after each step. A last level of 0 is drawn as an arrow.
    """
    if not 0 < len(schedules) <= len(STYLES):
        raise ValueError(f"noise_levels needs 1 to {len(STYLES)} schedules.")
    half = {name: sum(s < levels[0] / 2 for s in levels[1:]) for name, levels in schedules.items()}
    told = "; ".join(f"{name} {count} of {len(schedules[name]) - 1}" for name, count in half.items())
    plot = Plot(WIDTH, 340, f"How many steps end below half of the first noise level: {told}.")
    left, right = plot.subplots(1, 2, width_ratios=(3, 2))
    for row, (style, (name, levels)) in enumerate(zip(STYLES, schedules.items(), strict=False)):
        dots = np.array([s for s in levels if s > 0])
        left.plot(dots, np.full(len(dots), -row), **{**style, "linestyle": "-"}, markersize=6, lw=0.6)
        if levels[-1] == 0:
            left.annotate(
                "0", (dots.min(), -row), (26, 0), textcoords="offset points", va="center", fontsize=9,
                arrowprops={"arrowstyle": "<-", "color": style["color"]},
            )  # fmt: skip
        right.plot(range(len(levels)), 1 - np.array(levels) / levels[0], label=name, **style, markersize=4)
    left.set_yticks([-row for row in range(len(schedules))], list(schedules), fontsize=9)
    left.set(xscale="log", ylim=(0.6 - len(schedules), 0.6), xlabel="noise level σ (noise on the left)")
    left.invert_xaxis()
    left.margins(x=0.09)
    right.set_xlabel("after step")
    right.xaxis.get_major_locator().set_params(integer=True)
    right.set_title("share of the noise that is gone", fontsize=LARGE, color=INK, loc="left")
    for axes in (left, right):
        quiet(axes, grid=True)
        axes.tick_params(labelsize=9)
    plot.tight_layout(pad=1.2)
    return plot


def error_against_steps(
    panels: Mapping[str, Mapping[str, Sequence[float]]], steps: Sequence[int], fit_from: int = 0
) -> Plot:
    """Errors over steps on logarithmic scales, a panel a title, a line a method, labelled with its slope.

    The slope is fitted to the steps from place ``fit_from`` on, and drawn as a thin line through all of them.
    """
    if not panels or not all(0 < len(lines) <= len(STYLES) for lines in panels.values()):
        raise ValueError(f"error_against_steps needs at least one panel, each with 1 to {len(STYLES)} lines.")
    orders = {
        title: {name: slope(steps[fit_from:], errors[fit_from:]) for name, errors in lines.items()}
        for title, lines in panels.items()
    }
    told = [
        f"{title}: {', '.join(f'{n} {p:.2f}' for n, p in found.items())}" for title, found in orders.items()
    ]
    plot = Plot(min(WIDTH, 500 * len(panels)), 380, f"Slopes of the error. {'. '.join(told)}.")
    all_axes = plot.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    all_axes[0].set_ylabel("error", color=INK)
    for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
        for style, (name, errors) in zip(STYLES, lines.items(), strict=False):
            order = orders[title][name]
            height = np.exp(np.mean(np.log(errors[fit_from:]) + order * np.log(steps[fit_from:])))
            axes.plot(steps, height * np.array(steps, dtype=float) ** -order, color=style["color"], lw=0.7)
            axes.plot(steps, errors, label=f"{name}: slope {order:.2f}", **style, markersize=5, lw=1.5)
        axes.set(xscale="log", yscale="log", xlabel="steps")
        axes.set_xticks(steps, [str(number) for number in steps])
        axes.minorticks_off()
        axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
        axes.legend(fontsize=9, frameon=False, loc="lower left")
        quiet(axes, grid=True)
        axes.tick_params(labelsize=9)
    plot.tight_layout(pad=1.2)
    return plot
