"""Noise as figures: clouds that spread, schedules side by side, histograms and measurements against theory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from sdlearn.schedule import Schedule
from sdlearn.viz.figure import BAND, GAP, INK, LARGE, LINES, PALE, WIDTH, Plot, picture, quiet, text

BARS = "#a9c0d6"  # of a histogram, light behind a line


@dataclass(frozen=True)
class Measured:
    """A curve of theory, y over x, and what was measured at some places, give or take an interval."""

    x: Sequence[float]
    y: Sequence[float]
    places: Sequence[float]
    values: Sequence[float]
    interval: Sequence[float]  # half of its width


def clouds(
    rows: Mapping[str, Sequence[Mapping[str, Sequence]]],
    columns: Sequence[object],
    *,
    reach: float,
    alt: str,
    size: int = 190,
) -> Plot:
    """Rows of scatter plots. Each holds named clouds, arrays (n, 2); what is beyond ``reach`` is not seen."""
    if not rows or any(len(row) != len(columns) for row in rows.values()):
        raise ValueError(f"each row needs {len(columns)} plots, one a column title.")
    width = GAP + len(columns) * (size + GAP)
    height = BAND + len(rows) * (BAND + size + GAP)
    plot = Plot(width, height, alt)
    for i, (name, row) in enumerate(rows.items()):
        top = BAND + i * (BAND + size + GAP) + BAND
        text(plot, GAP, top - BAND / 2, name, ha="left", weight="bold")
        for k, groups in enumerate(row):
            left = GAP + k * (size + GAP)
            axes = plot.add_axes((left / width, 1 - (top + size) / height, size / width, size / height))
            for style, (group, points) in zip(LINES, groups.items(), strict=False):
                x, y = np.asarray(points).T
                axes.scatter(
                    x, y, s=6, color=style["color"], marker=style["marker"], alpha=0.4, lw=0, label=group
                )
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
            axes.axhline(0, color=PALE, linewidth=0.6, zorder=0)
            axes.axvline(0, color=PALE, linewidth=0.6, zorder=0)
            axes.spines[:].set_color(PALE)
            if i == 0:
                text(plot, left + size / 2, BAND / 2, str(columns[k]), ha="center")
            if i == k == 0 and len(groups) > 1:
                axes.legend(fontsize=9, frameon=False, markerscale=2.5, loc="lower left", handletextpad=0)
    return plot


def noise_schedules(
    schedules: Mapping[str, Schedule],
    t: int,
    pictures: Sequence[Image.Image],
    *,
    steps: Sequence[int] = (),
) -> Plot:
    """One to three schedules side by side: beta, alpha_bar, sigma and log-SNR, with a line at timestep t.

    ``pictures`` are noised to t, one a schedule. The timesteps that a run visits, ``steps``, are marked.
    """
    if not 0 < len(schedules) <= len(LINES) or len(pictures) != len(schedules):
        raise ValueError(f"noise_schedules needs 1 to {len(LINES)} schedules, and a picture for each.")
    side, height = 146, 540
    plot = Plot(WIDTH, height, _schedules_alt(schedules, t, steps))
    panels = plot.subplots(
        2, 2, gridspec_kw={"left": 0.055, "right": 0.8, "bottom": 0.09, "top": 0.94, "hspace": 0.34}
    )
    tables = {
        "β, the share of noise that a step adds": lambda one: one.betas,
        "ᾱ, the share of the picture that is left": lambda one: one.alpha_bar,
        "σ, the noise on a picture of full size": lambda one: one.sigmas,
        "log-SNR, picture against noise": lambda one: -2 * one.sigmas.log(),
    }
    for axes, (title, table) in zip(panels.flat, tables.items(), strict=True):
        for style, (name, schedule) in zip(LINES, schedules.items(), strict=False):
            _schedule_line(axes, table(schedule).numpy(), t, steps, style, name)
        axes.axvline(t, color=INK, linewidth=0.8)
        axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
        quiet(axes, grid=True)
        axes.tick_params(labelsize=9)
    flat = panels.flat
    flat[0].text(t, 0.5, f" t = {t} ", ha="left" if t < 700 else "right", fontsize=9, color=INK)
    flat[0].set(yscale="log", ylim=(2e-5, 1.5))  # the cosine's last ones are near 1
    flat[2].set(yscale="log", ylim=(0.005, 1e5), xlabel="timestep t")  # the cosine's last one is 20291
    flat[3].set(ylim=(-22, 12), xlabel="timestep t")
    flat[3].axhline(0, color=INK, linewidth=0.8, linestyle=":")
    flat[1].legend(fontsize=9, frameon=False)
    for k, ((name, schedule), noisy) in enumerate(zip(schedules.items(), pictures, strict=True)):
        top = 32 + k * (side + BAND + GAP)
        text(plot, 815, top - BAND / 2, f"{name}, σ = {float(schedule.sigmas[t]):.3g}", ha="left")
        picture(plot, noisy, 815, top, side / noisy.width)
    return plot


def _schedule_line(
    axes: Axes, y: np.ndarray, t: int, steps: Sequence[int], style: Mapping[str, str], name: str
) -> None:
    """A table over its timesteps, marked at ``steps``, with a large mark at t."""
    axes.plot(y, label=name, linewidth=1.4, markersize=3, markevery=list(steps), **style)
    axes.plot([t], y[t], color=style["color"], marker=style["marker"], markersize=7, markeredgecolor="white")


def _schedules_alt(schedules: Mapping[str, Schedule], t: int, steps: Sequence[int]) -> str:
    found = [
        f"{name}: β {float(one.betas[t]):.2g}, ᾱ {float(one.alpha_bar[t]):.2g}, "
        f"σ {float(one.sigmas[t]):.3g}, at the end σ {float(one.sigmas[-1]):.3g}"
        for name, one in schedules.items()
    ]
    marked = f" {len(steps)} visited timesteps are marked." if len(steps) else ""
    return (
        f"Four panels of curves over the timesteps, and one picture a schedule, noised to t = {t}. "
        f"There, {'; '.join(found)}.{marked}"
    )


def densities(
    panels: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    edges: Sequence[float],
    x: Sequence[float],
    *,
    alt: str,
    curve: str = "exact",
) -> Plot:
    """Histograms of numbers with a density over them, named ``curve``: a panel is (numbers, density at each x)."""
    if not panels:
        raise ValueError("densities needs at least one panel.")
    plot = Plot(min(WIDTH, 250 * len(panels) + 40), 260, alt)
    all_axes = plot.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    edges = np.asarray(edges)
    for axes, (title, (numbers, density)) in zip(all_axes, panels.items(), strict=True):
        counts = np.histogram(np.asarray(numbers), edges)[0]
        bars = counts / (len(numbers) * np.diff(edges))
        axes.stairs(bars, edges, fill=True, color=BARS, label="histogram")
        axes.plot(x, density, color=LINES[1]["color"], linewidth=1.6, label=curve)
        axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
        quiet(axes)
        axes.tick_params(labelsize=9)
    all_axes[-1].legend(fontsize=9, frameon=False)
    plot.tight_layout(pad=1.0)
    return plot


def against_theory(
    panels: Mapping[str, Mapping[str, Measured]], x_label: str, *, alt: str = "", bottom: float = 0.0
) -> Plot:
    """One panel a title: lines of theory, and marks with the intervals in which 95 of 100 marks should lie.

    Measurements of one and the same theory share one grey line, and stand side by side on it. To ``alt`` is added
    how many intervals hold the line.
    """
    if not panels or not all(0 < len(lines) <= len(LINES) for lines in panels.values()):
        raise ValueError(f"against_theory needs at least one panel, each with 1 to {len(LINES)} lines.")
    within, number = 0, 0
    for one in (one for lines in panels.values() for one in lines.values()):
        expected = np.interp(one.places, one.x, one.y)
        within += int((np.abs(np.asarray(one.values) - expected) <= np.asarray(one.interval)).sum())
        number += len(one.places)
    plot = Plot(
        460 * len(panels) if len(panels) > 1 else 640,
        320,
        f"{alt} {within} of {number} measured intervals hold the line of theory.",
    )
    all_axes = plot.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
        handles = _measured(axes, lines)
        lowest = min(min(one.y) for one in lines.values())
        axes.set_ylim(bottom=bottom if lowest >= bottom else None)
        axes.set_xlabel(x_label)
        axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
        title = None if "theory" in handles else "line: theory; mark: measured"
        axes.legend(
            handles.values(),
            handles,
            fontsize=9,
            frameon=False,
            title=title,
            title_fontsize=9,
            alignment="left",
        )
        quiet(axes, grid=True)
        axes.tick_params(labelsize=9)
    plot.tight_layout(pad=1.2)
    return plot


def _measured(axes: Axes, lines: Mapping[str, Measured]) -> dict[str, object]:
    """Draw lines and marks of a panel; what the legend shows for each name, a line with its mark if they differ."""
    first = next(iter(lines.values()))
    shared = all((one.x, one.y) == (first.x, first.y) for one in lines.values())
    apart = 0.018 * (max(first.x) - min(first.x)) if shared else 0
    handles: dict[str, object] = {}
    if shared:
        handles["theory"] = axes.plot(first.x, first.y, color=INK, alpha=0.5, lw=1.4)[0]
    for k, (style, (name, one)) in enumerate(zip(LINES, lines.items(), strict=False)):
        places = np.asarray(one.places) + apart * (k - (len(lines) - 1) / 2)
        marks = axes.errorbar(
            places, one.values, one.interval, fmt=style["marker"], color=style["color"], markersize=4.5,
            capsize=4, lw=1.2,
        )  # fmt: skip
        handles[name] = marks
        if not shared:
            line = axes.plot(one.x, one.y, color=style["color"], linestyle=style["linestyle"], lw=1.4)[0]
            handles[name] = (line, marks)
    return handles
