"""Figures of what is in a file of weights, and of what a network answers with."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi, sin

from sdlearn.viz.figure import INK, LINES, SMALL, Plot, quiet, text

ROW, LEGEND, AXIS = 46, 30, 45  # pixels of a bar with its gap, of the names above, of the axis below
LEFT, INNER = 190, 700  # pixels of the names beside the bars, and of the longest bar's room
NARROW = 0.06  # of the longest bar: a part below it has no room for its number
V_LENGTH = 0.4  # of v beside x_t, which is as long as its own circle


def stacked_bars(rows: Mapping[str, Mapping[str, float]], unit: str, *, alt: str) -> Plot:
    """A lying bar a row, in coloured parts with the same names in each; the axis begins at zero.

    ``rows`` is {row: {part: amount}}, with at most three parts.
    """
    parts = list(next(iter(rows.values()), {}))
    if not 0 < len(parts) <= len(LINES) or any(list(row) != parts for row in rows.values()):
        raise ValueError(f"stacked_bars needs 1 to {len(LINES)} parts, the same in each row.")
    height = LEGEND + ROW * len(rows) + AXIS
    plot = Plot(LEFT + INNER + 40, height, alt)
    axes = plot.add_axes(
        (LEFT / (LEFT + INNER + 40), AXIS / height, INNER / (LEFT + INNER + 40), 1 - (LEGEND + AXIS) / height)
    )
    longest = max(sum(row.values()) for row in rows.values())
    for place, row in enumerate(rows.values()):
        start = 0.0
        for (_, amount), style in zip(row.items(), LINES, strict=False):
            axes.barh(place, amount, left=start, height=0.6, color=style["color"], edgecolor="white")
            if amount > NARROW * longest:
                axes.text(start + amount / 2, place, f"{amount:.2f}", ha="center", va="center", color="white",
                          fontsize=SMALL, weight="bold")  # fmt: skip
            start += amount
        axes.text(start + longest / 100, place, f"{start:.2f}", va="center", fontsize=SMALL, color=INK)
    for k, (part, style) in enumerate(zip(parts, LINES, strict=False)):
        text(plot, LEFT + k * 170, LEGEND / 2, f"■ {part}", ha="left", color=style["color"], weight="bold")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(xlim=(0, 1.1 * longest), ylim=(len(rows) - 0.5, -0.5), xlabel=unit)
    quiet(axes)
    return plot


def turning(angles: Mapping[str, float], *, alt: str) -> Plot:
    """A quarter of a circle from x0 to ε; at each named angle the noisy picture x_t, and v, shortened, at its end."""
    if not 0 < len(angles) <= len(LINES) or not all(0 <= angle <= pi / 2 for angle in angles.values()):
        raise ValueError(f"turning needs 1 to {len(LINES)} angles, each from 0 to half of pi.")
    plot = Plot(480, 405, alt)
    axes = plot.add_axes((0.02, 0.02, 0.96, 0.96))
    around = [k * pi / 200 for k in range(101)]
    axes.plot([cos(k) for k in around], [sin(k) for k in around], color=INK, lw=0.8, ls=":")
    for name, place in (("x0", (1.0, -0.07)), ("ε", (-0.02, 1.08))):
        axes.text(*place, name, ha="center", va="center", fontsize=SMALL, color=INK, weight="bold")
    for (name, angle), style in zip(angles.items(), LINES, strict=False):
        x, y = cos(angle), sin(angle)
        tip = x - V_LENGTH * y, y + V_LENGTH * x
        for begin, to, width in (((0, 0), (x, y), 2.2), ((x, y), tip, 1.4)):
            arrow = {"arrowstyle": "-|>", "color": style["color"], "lw": width, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", to, begin, arrowprops=arrow)
        middle = 0.68 * x + 0.05 * y, 0.68 * y - 0.05 * x
        axes.text(*middle, f"x_t, {name}", va="center", fontsize=SMALL, color=style["color"])
        axes.text(
            1.06 * tip[0], 1.06 * tip[1], "v", ha="center", va="center", fontsize=SMALL, color=style["color"]
        )
    axes.set(xlim=(-0.45, 1.15), ylim=(-0.15, 1.2), aspect="equal")
    axes.axis("off")
    return plot
