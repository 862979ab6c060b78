"""A figure of what is in a file of weights."""

from __future__ import annotations

from collections.abc import Mapping

from sdlearn.viz.figure import INK, LINES, SMALL, Plot, quiet, text

ROW, LEGEND, AXIS = 46, 30, 45  # pixels of a bar with its gap, of the names above, of the axis below
LEFT, INNER = 190, 700  # pixels of the names beside the bars, and of the longest bar's room
NARROW = 0.08  # of the longest bar: a part below it has no room for its number


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
