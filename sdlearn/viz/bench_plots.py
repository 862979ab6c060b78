"""The benchmark as a figure: our time beside that of diffusers, and how it grows with steps, batch and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes

from sdlearn.viz.figure import INK, LARGE, LINES, SMALL, WIDTH, Plot, box, quiet

OURS, THEIRS = LINES[0], LINES[1]
BAR = 46  # pixels for a pair of bars
LEFT, TOP, PANEL = 210, 44, 210  # pixels: room for names, for a title, and a panel's height


def benchmark(results: Mapping[str, Any]) -> Plot:
    """What ``sdlearn bench`` measured: shares of diffusers' time, or seconds; curves where it was scaled."""
    rows = len(results["pairs"] or results["rows"])
    below = TOP + 8 + rows * BAR + 30
    scaling = results.get("scaling")
    height = below + (TOP + PANEL + 50 if scaling else 10)
    plot = Plot(WIDTH, height, f"{results['machine']}. {_told(results)} {_told_scaling(scaling)}")
    axes = box(plot, LEFT, TOP, WIDTH - LEFT - 40, rows * BAR)
    _draw_shares(axes, results["pairs"]) if results["pairs"] else _draw_seconds(axes, results["rows"])
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_title(results["machine"], fontsize=LARGE, color=INK, loc="left")
    quiet(axes, grid=True)
    for k, (title, x, y) in enumerate(_panels(scaling)):
        width = (WIDTH - 4 * 70) / 4
        panel = box(plot, 60 + k * (width + 70), below + TOP, width, PANEL)
        panel.plot(x, y, markersize=4, linewidth=1.6, **OURS)
        panel.set_ylim(bottom=0)
        panel.set_xlim(left=0)
        panel.set_title(title, fontsize=LARGE, color=INK, loc="left")
        quiet(panel, grid=True)
    return plot


def _draw_shares(axes: Axes, pairs: Sequence[Mapping[str, Any]]) -> None:
    """A bar for our time as a share of theirs, a dot for each pair, a line where both are equal."""
    for place, pair in enumerate(pairs):
        axes.barh(place, pair["ratio"], height=0.5, color=OURS["color"], alpha=0.75)
        axes.plot(pair["ratios"], [place] * len(pair["ratios"]), "o", color=INK, markersize=3)
        seconds = " and ".join(f"{median(pair[whose]):.3g}" for whose in ("ours", "theirs"))
        words = f" {pair['ratio']:.2f} x  ({seconds} s)"
        axes.text(0, place, words, va="center", fontsize=SMALL, color="white")
    axes.axvline(1, color=THEIRS["color"], linewidth=1.6, linestyle="--")
    axes.set_yticks(range(len(pairs)), [_name(pair) for pair in pairs], parse_math=False)
    axes.set_xlim(0, max(1.1, *(ratio for pair in pairs for ratio in pair["ratios"])) + 0.05)
    axes.set(xlabel="our time over that of diffusers (dashed: equal); bars: medians, dots: single pairs")


def _draw_seconds(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Seconds as points on a logarithmic scale."""
    for place, row in enumerate(rows):
        axes.plot([row["median"]], [place], "o", color=OURS["color"], markersize=8)
        axes.text(row["median"], place, f"   {row['median']:.3g} s", va="center", fontsize=SMALL, color=INK)
    names = [f"{row['name']} x {row['batch']}" for row in rows]
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    times = [row["median"] for row in rows]
    axes.set(xscale="log", xlabel="seconds", xlim=(min(times) / 2, max(times) * 4))


def _name(pair: Mapping[str, Any]) -> str:
    return f"{pair['name']} x {pair['batch']}\n({pair['way']})"


def _panels(scaling: Mapping[str, Any] | None) -> list[tuple[str, list, list]]:
    """(title, x, y) of each curve."""
    if not scaling:
        return []
    steps, batch, size = scaling["steps"], scaling["batch"], scaling["size"]
    panels = [
        ("s a picture, by steps", steps["steps"], steps["seconds"]),
        ("s a step and picture, by batch", batch["batch"], batch["seconds a picture"]),
        ("s a step, by side in pixels", size["pixels"], size["seconds"]),
    ]
    if None not in size["peak memory"]:
        memory = [number / 1e9 for number in size["peak memory"]]
        panels.append(("peak GB, by side in pixels", size["pixels"], memory))
    return panels


def _told(results: Mapping[str, Any]) -> str:
    """The bars or points in words."""
    if not results["pairs"]:
        return " ".join(f"{row['name']} x {row['batch']}: {row['median']:.3g} s." for row in results["rows"])
    return " ".join(
        f"{_name(pair).replace(chr(10), ' ')}: {median(pair['ours']):.3g} s, diffusers "
        f"{median(pair['theirs']):.3g} s, ratio {pair['ratio']:.2f}."
        for pair in results["pairs"]
    )


def _told_scaling(scaling: Mapping[str, Any] | None) -> str:
    """The ends of the curves in words."""
    return " ".join(
        f"{title}: {y[0]:.3g} at {x[0]}, {y[-1]:.3g} at {x[-1]}." for title, x, y in _panels(scaling)
    )
