"""Speed as figures: work beside time, layers below a machine's roof, changes one by one, and the rates of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
from matplotlib.axes import Axes

from sdlearn.viz.figure import INK, LARGE, LINES, PALE, SMALL, WIDTH, Plot, box, listed, quiet

KINDS = (*LINES, {"color": "#CC79A7", "marker": "D", "linestyle": "-."}, {"color": "#56B4E9", "marker": "v"})
NAMES = 215  # pixels for the names of rows
ROW = 34  # pixels

Points = Sequence[tuple[float, float]]


def work_and_time(panels: Mapping[str, Mapping[str, tuple[float, float]]]) -> Plot:
    """For each panel rows of two bars: a part's share of the FLOPs, and its share of the time; both from 0 to 1."""
    if not panels or not all(panels.values()):
        raise ValueError("work_and_time needs at least one panel, and a row in each.")
    most = max(len(rows) for rows in panels.values())
    told = ". ".join(
        f"{title}: "
        + listed(
            [
                f"{name} {100 * w:.0f} % of the FLOPs, {100 * t:.0f} % of the time"
                for name, (w, t) in rows.items()
            ]
        )
        for title, rows in panels.items()
    )
    plot = Plot(WIDTH, 100 + most * 1.4 * ROW, f"Bars of two kinds. {told}.")
    width = WIDTH / len(panels)
    for k, (title, rows) in enumerate(panels.items()):
        axes = box(plot, k * width + 125, 34, width - 165, len(rows) * 1.4 * ROW)
        for place, (work, seconds) in enumerate(rows.values()):
            for up, share, look, hatch in ((-0.2, work, LINES[0], ""), (0.2, seconds, LINES[1], "//")):
                axes.barh(place + up, 100 * share, 0.38, color=look["color"], hatch=hatch, edgecolor="white")
                axes.text(
                    100 * share + 1, place + up, f"{100 * share:.0f}", va="center", fontsize=SMALL, color=INK
                )
        axes.set_yticks(range(len(rows)), rows, parse_math=False)
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 112), xlabel="%")
        axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
        quiet(axes)
    bars = [axes.containers[0], axes.containers[1]]
    plot.legend(
        bars,
        ["share of the FLOPs", "share of the time"],
        fontsize=SMALL,
        frameon=False,
        loc="lower right",
        ncols=2,
    )
    return plot


def roofline(matmul: float, copy: float, panels: Mapping[str, Mapping[str, Points]]) -> Plot:
    """Layers as points of (FLOPs a byte, FLOP/s) below the roof of a machine, one panel beside the other.

    ``matmul`` is the machine's FLOP/s, ``copy`` its bytes/s. The roof is the lower of the two limits.
    """
    points = [point for kinds in panels.values() for kind in kinds.values() for point in kind]
    if not points:
        raise ValueError("roofline needs at least one point.")
    ridge = matmul / copy
    names = list(dict.fromkeys(name for kinds in panels.values() for name in kinds))
    looks = dict(zip(names, KINDS, strict=False))
    x = np.array([min(0.05, *(x for x, _ in points)) / 2, max(2000.0, *(x for x, _ in points)) * 2])
    low = min(y for _, y in points) / 2
    told = ". ".join(
        f"{title}: "
        + listed(
            [
                f"{name} at {_middle(kind, 0):.3g} FLOPs a byte, {_middle(kind, 1) / 1e9:.3g} GFLOP/s"
                for name, kind in kinds.items()
            ]
        )
        for title, kinds in panels.items()
    )
    plot = Plot(
        WIDTH,
        400,
        f"Points below a roof that rises with {copy / 1e9:.0f} GB/s and is level at {matmul / 1e9:.0f} GFLOP/s from "
        f"{ridge:.2g} FLOPs a byte on. Medians: {told}.",
    )
    width = (WIDTH - 40) / len(panels)
    for k, (title, kinds) in enumerate(panels.items()):
        axes = box(plot, 60 + k * width, 34, width - 50, 280)
        roof = np.array([x[0], ridge, x[1]])
        axes.plot(roof, np.minimum(matmul, copy * roof) / 1e9, color=INK, linewidth=1.6)
        for name, kind in kinds.items():
            style = {"color": looks[name]["color"], "marker": looks[name]["marker"]}
            axes.plot(
                *zip(*((a, b / 1e9) for a, b in kind), strict=True),
                linestyle="",
                markersize=5,
                alpha=0.65,
                label=name,
                **style,
            )
        axes.set(
            xscale="log",
            yscale="log",
            xlim=x,
            ylim=(low / 1e9, 2.5 * max(matmul, *(y for _, y in points)) / 1e9),
        )
        axes.set(xlabel="FLOPs for each byte read or written", ylabel="GFLOP/s" if k == 0 else "")
        axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
        quiet(axes, grid=True)
    marks = {name: line for axes in plot.axes for line in axes.lines[1:] if (name := line.get_label())}
    plot.legend(marks.values(), marks, fontsize=SMALL, frameon=False, loc="lower center", ncols=len(KINDS))
    return plot


def intensities(kinds: Mapping[str, Sequence[float]], ridges: Mapping[str, float]) -> Plot:
    """A stroke for each layer at its FLOPs a byte, a row for each kind, and a line where each machine's roof bends."""
    if not kinds or not all(kinds.values()):
        raise ValueError("intensities needs at least one kind, and a layer in each.")
    rows = [f"{name} from {min(each):.3g} to {max(each):.3g}" for name, each in kinds.items()]
    lines = [f"{name} at {ridge:.3g}" for name, ridge in ridges.items()]
    plot = Plot(
        WIDTH, 110 + ROW * len(kinds), f"FLOPs a byte of each layer: {listed(rows)}. Ridges: {listed(lines)}."
    )
    axes = box(plot, 125, 36, WIDTH - 165, ROW * len(kinds))
    for place, (each, look) in enumerate(zip(kinds.values(), KINDS, strict=False)):
        axes.plot(each, [place] * len(each), "|", color=look["color"], markersize=18, markeredgewidth=1.5)
    for k, (name, ridge) in enumerate(ridges.items()):
        axes.axvline(ridge, color=INK, linewidth=1.4, linestyle=("-", "--")[k % 2])
        axes.text(ridge, -0.62, name, ha="center", va="bottom", fontsize=SMALL, color=INK)
    axes.set_yticks(range(len(kinds)), kinds, parse_math=False)
    axes.set(xscale="log", ylim=(len(kinds) - 0.5, -0.5), xlabel="FLOPs for each byte read or written")
    quiet(axes, grid=True)
    return plot


def improvements(seconds: Mapping[str, Sequence[float]], unit: str = "milliseconds") -> Plot:
    """A bar for the median of each way, a stroke for each of its runs, and how many times quicker than the first it is.

    A ``unit`` that begins with "seconds" is drawn as given.
    """
    if not seconds:
        raise ValueError("improvements needs at least one way.")
    first = median(next(iter(seconds.values())))
    middles = {name: median(each) for name, each in seconds.items()}
    scale = 1 if unit.startswith("seconds") else 1000
    told = "; ".join(
        f"{name}: {scale * each:.3g}, {first / each:.2f} times" for name, each in middles.items()
    )
    plot = Plot(
        WIDTH, 70 + ROW * len(seconds), f"Bars of time in {unit}, and how many times quicker: {told}."
    )
    axes = box(plot, NAMES, 10, WIDTH - NAMES - 90, ROW * len(seconds))
    top = scale * max(max(np.percentile(each, 90), middles[name]) for name, each in seconds.items())
    for place, (name, each) in enumerate(seconds.items()):
        axes.barh(place, scale * middles[name], 0.6, color=LINES[0]["color"], alpha=0.6)
        if len(each) > 1:
            axes.plot([scale * s for s in each], [place] * len(each), "|", color=INK, markersize=8)
        axes.text(1.12 * top, place, f"x {first / middles[name]:.2f}", va="center", fontsize=SMALL, color=INK)
    axes.set_yticks(range(len(seconds)), seconds, parse_math=False)
    axes.set(
        ylim=(len(seconds) - 0.5, -0.5),
        xlim=(0, 1.1 * top),
        xlabel=unit
        + " (bars: medians, strokes: single runs)" * any(len(each) > 1 for each in seconds.values()),
    )
    quiet(axes, grid=True)
    return plot


def rates(rows: Mapping[str, tuple[float, float]], mine: Sequence[str] = ()) -> Plot:
    """What each machine reaches, a dot, and what it could at most, a stroke: (FLOP/s, FLOP/s), on a log scale."""
    if not rows:
        raise ValueError("rates needs at least one row.")
    told = "; ".join(
        f"{name}: {reached / 1e12:.3g} of {peak / 1e12:.3g}" for name, (reached, peak) in rows.items()
    )
    plot = Plot(WIDTH, 70 + 26 * len(rows), f"TFLOP/s reached, and the machine's peak: {told}.")
    axes = box(plot, 330, 10, WIDTH - 330 - 70, 26 * len(rows))
    for place, (name, (reached, peak)) in enumerate(rows.items()):
        look = LINES[1] if name in mine else LINES[0]
        axes.plot([reached / 1e12, peak / 1e12], [place, place], color=PALE, linewidth=1.4, zorder=1)
        axes.plot([peak / 1e12], [place], "|", color=INK, markersize=12, markeredgewidth=2)
        axes.plot(
            [reached / 1e12], [place], linestyle="", color=look["color"], marker=look["marker"], markersize=8
        )
        _share(axes, place, reached / peak)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    ends = [each / 1e12 for row in rows.values() for each in row]
    axes.set(xscale="log", ylim=(len(rows) - 0.5, -0.5), xlim=(min(ends) / 2, max(ends) * 2))
    axes.set(xlabel="TFLOP/s (dots: reached, strokes: the machine's peak; right: their share)")
    quiet(axes, grid=True)
    return plot


def _share(axes: Axes, place: int, share: float) -> None:
    """A percentage to the right of a row."""
    where = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": SMALL, "color": INK}
    axes.text(1.02, place, f"{100 * share:.0f} %", **where)


def _middle(points: Points, which: int) -> float:
    return median(point[which] for point in points)
