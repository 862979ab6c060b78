"""What is saved against what it costs: quality over time, a numbered point for each setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from sdlearn.viz.figure import INK, LARGE, LINES, PALE, SMALL, Plot, box, quiet, text

WAYS = {  # what a setting changes -> how its points look
    "the full run": {"color": INK, "marker": "*"},
    "guidance for some steps": LINES[0],
    "reuse of deep features": LINES[1],
    "fewer steps": LINES[2],
    "two together": {"color": "#CC79A7", "marker": "D"},
}
CHANGED = {  # argument -> the way that it is a part of
    "guidance_interval": "guidance for some steps",
    "cache_interval": "reuse of deep features",
    "num_inference_steps": "fewer steps",
    "sampler": "fewer steps",
}


def quality_against_time(rows: Mapping[str, dict[str, Any]]) -> Plot:
    """Left the share of right pictures with its interval, right the likeness to the full run, over the time taken.

    ``rows`` are those of sdlearn.savings, the full run first; time is a share of its time.
    """
    if len(rows) < 2:
        raise ValueError("quality_against_time needs the full run and at least one other setting.")
    first = next(iter(rows.values()))["asked"]
    told = "; ".join(
        f"{k} {name}: time {row['time']:.2f}, right {100 * row['right']['both']['share']:.1f} %, "
        f"{row['psnr'][1]:.1f} dB"
        for k, (name, row) in enumerate(rows.items(), 1)
    )
    tall = max(380, 160 + 18 * len(rows))
    plot = Plot(
        1000, tall, f"Quality against time, beside that of {first['num_inference_steps']} steps. {told}."
    )
    left, right = (box(plot, x, 34, 310, tall - 80) for x in (45, 415))
    ways: list[str] = []
    marks: tuple[dict[int, tuple[float, float, str]], ...] = ({}, {})
    for k, (name, row) in enumerate(rows.items(), 1):
        way = way_of(row["asked"], first)
        both = row["right"]["both"]
        low, high = (100 * end for end in both["interval"])
        left.plot([row["time"]] * 2, [low, high], color=PALE, linewidth=1, zorder=1)
        _point(left, row["time"], 100 * both["share"], way, way not in ways)
        marks[0][k] = (row["time"], 100 * both["share"], way)
        if k > 1:  # the full run is as like itself as can be
            _point(right, row["time"], row["psnr"][1], way, False)
            marks[1][k] = (row["time"], row["psnr"][1], way)
        ways = [*ways, way]
        text(plot, 775, 10 + 18 * k, str(k), ha="right", color=WAYS[way]["color"])
        text(plot, 785, 10 + 18 * k, name, color=WAYS[way]["color"])
    left.set_title("right in all, % of the pictures", fontsize=LARGE, color=INK, loc="left")
    right.set_title("PSNR to the full run's pictures, dB", fontsize=LARGE, color=INK, loc="left")
    for axes, points in zip((left, right), marks, strict=True):
        _numbers(axes, points)
        axes.set(xlim=(0, 1.08), xlabel="time, as a share of the full run's")
        quiet(axes, grid=True)
    plot.legend(fontsize=SMALL, frameon=False, loc="lower left", bbox_to_anchor=(0.755, 0.0))
    return plot


def way_of(asked: Mapping[str, Any], full: Mapping[str, Any]) -> str:
    """Which of ``WAYS`` a setting's arguments are, beside those of the full run."""
    ways = {way for name, way in CHANGED.items() if asked.get(name) != full.get(name)}
    return "the full run" if not ways else ways.pop() if len(ways) == 1 else "two together"


def _point(axes: Axes, x: float, y: float, way: str, named: bool) -> None:
    """A mark, in the legend if it is the first of its way."""
    look = {key: WAYS[way][key] for key in ("color", "marker")}
    axes.plot(x, y, linestyle="", markersize=7, label=way if named else None, **look)


def _numbers(axes: Axes, points: Mapping[int, tuple[float, float, str]]) -> None:
    """Each point's number beside it: on the side away from marks that lie close."""
    axes.margins(y=0.1)
    low, high = axes.get_ylim()
    for number, (x, y, way) in points.items():
        near = [
            (a, b)
            for k, (a, b, _) in points.items()
            if k != number and abs(a - x) < 0.08 and abs(b - y) < 0.1 * (high - low)
        ]
        left = any(a > x for a, _ in near)
        below = any(b > y for _, b in near)
        axes.annotate(
            str(number),
            (x, y),
            (-5 if left else 5, -13 if below else 4),
            ha="right" if left else "left",
            textcoords="offset points",
            fontsize=SMALL,
            color=WAYS[way]["color"],
        )
