"""The benchmark as a figure: our time beside that of diffusers, and how it grows with steps, batch and size."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from matplotlib.axes import Axes

from sdlearn.viz.figure import INK, LARGE, LINES, SMALL, WIDTH, Plot, box, quiet

OURS, THEIRS = LINES[0], LINES[1]
BAR = 46  # pixels for a pair of bars
LEFT, TOP, PANEL = 210, 44, 210  # pixels: room for names, for a title, and a panel's height


def benchmark(results: Mapping[str, Any]) -> Plot:
    """What ``sdlearn bench`` measured: a bar for each thing (two, with diffusers), and curves where it was scaled."""
    bars = _bars(results)
    below = TOP + 8 + len(bars) * BAR + 30
    scaling = results.get("scaling")
    height = below + (TOP + PANEL + 50 if scaling else 10)
    plot = Plot(WIDTH, height, f"{results['machine']}. {_told(bars)} {_told_scaling(scaling)}")
    axes = box(plot, LEFT, TOP, WIDTH - LEFT - 130, len(bars) * BAR)
    _draw_bars(axes, bars)
    axes.set_title(results["machine"], fontsize=LARGE, color=INK, loc="left")
    for k, (title, x, y) in enumerate(_panels(scaling)):
        width = (WIDTH - 4 * 70) / 4
        panel = box(plot, 60 + k * (width + 70), below + TOP, width, PANEL)
        panel.plot(x, y, markersize=4, linewidth=1.6, **OURS)
        panel.set_ylim(bottom=0)
        panel.set_xlim(left=0)
        panel.set_title(title, fontsize=LARGE, color=INK, loc="left")
        quiet(panel, grid=True)
    return plot


def _bars(results: Mapping[str, Any]) -> list[tuple[str, float, float | None, float | None]]:
    """(name, our seconds, those of diffusers, median ratio): the pairs, or what was timed alone."""
    if results["pairs"]:
        return [
            (
                f"{pair['name']} x {pair['batch']}\n({pair['way']})",
                median(pair["ours"]),
                median(pair["theirs"]),
                pair["ratio"],
            )
            for pair in results["pairs"]
        ]
    return [(f"{row['name']} x {row['batch']}", row["median"], None, None) for row in results["rows"]]


def _draw_bars(axes: Axes, bars: list[tuple[str, float, float | None, float | None]]) -> None:
    """Lying bars on a logarithmic scale, ours above theirs, the ratio at their end."""
    for place, (_, ours, theirs, ratio) in enumerate(bars):
        pair = theirs is not None
        axes.barh(place - 0.2 * pair, ours, height=0.36, color=OURS["color"])
        if pair:
            axes.barh(place + 0.2, theirs, height=0.36, color=THEIRS["color"], hatch="//", edgecolor="white")
        label = f" {ratio:.2f} x" if pair else f" {ours:.3g} s"
        axes.text(max(ours, theirs or 0), place, label, va="center", fontsize=SMALL, color=INK)
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars], parse_math=False)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set(
        xscale="log", xlabel="seconds" + (": plain bars sdlearn, hatched ones diffusers" if pair else "")
    )
    quiet(axes, grid=True)


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


def _told(bars: list[tuple[str, float, float | None, float | None]]) -> str:
    """The bars in words."""
    told = []
    for name, ours, theirs, ratio in bars:
        beside = f", diffusers {theirs:.3g} s, ratio {ratio:.2f}" if theirs is not None else ""
        told.append(f"{name.replace(chr(10), ' ')}: {ours:.3g} s{beside}.")
    return " ".join(told)


def _told_scaling(scaling: Mapping[str, Any] | None) -> str:
    """The ends of the curves in words."""
    return " ".join(
        f"{title}: {y[0]:.3g} at {x[0]}, {y[-1]:.3g} at {x[-1]}." for title, x, y in _panels(scaling)
    )
