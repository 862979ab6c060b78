"""What contrastive training does: matrices of likeness as they change, and a map of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from sdlearn.viz.figure import (
    BAND,
    GAP,
    INK,
    LARGE,
    LINES,
    PALE,
    SMALL,
    WIDTH,
    Plot,
    box,
    cells,
    colour_key,
    quiet,
    text,
)

LARGEST = 300  # pixels, side of one matrix
LABEL = 54  # pixels left of the first matrix, for the blocks' names


def similarity_run(matrices: Mapping[str, Tensor], blocks: Sequence[str], *, rows: str, columns: str) -> Plot:
    """Square matrices side by side, one a title, all on one scale around zero. Row k and column k belong together.

    ``blocks`` are the names of equally long runs of rows; ``rows`` and ``columns`` say what stands there.
    """
    arrays = {name: values.detach().float().cpu().numpy() for name, values in matrices.items()}
    shapes = {array.shape for array in arrays.values()}
    side = next(iter(shapes), (0, 0))[0]
    if len(shapes) != 1 or shapes != {(side, side)} or not blocks or side % len(blocks):
        raise ValueError(
            f"similarity_run needs square matrices of one size that {len(blocks)} blocks divide; got "
            f"{sorted(shapes)}."
        )
    reach = max(np.abs(array).max() for array in arrays.values())
    size = min(LARGEST, (WIDTH - LABEL - GAP) // len(arrays) - GAP)
    width = max(300, LABEL + len(arrays) * (size + GAP) + GAP)
    plot = Plot(width, size + 3.5 * BAND, _run_alt(arrays, rows, columns))
    text(plot, GAP, BAND * 0.6, f"rows: {rows}, columns: {columns}")
    run = side // len(blocks)
    for k, (name, array) in enumerate(arrays.items()):
        left = LABEL + k * (size + GAP)
        text(plot, left, BAND * 1.8, name, weight="bold")
        axes = box(plot, left, BAND * 2.4, size, size)
        shown = cells(axes, array, -reach, reach)
        for edge in range(run, side, run):
            axes.axhline(edge - 0.5, color=PALE, linewidth=0.5)
            axes.axvline(edge - 0.5, color=PALE, linewidth=0.5)
        middles = [run * (i + 0.5) - 0.5 for i in range(len(blocks))]
        axes.set_xticks(middles, blocks, fontsize=SMALL, color=INK, parse_math=False)
        if k == 0:
            axes.set_yticks(middles, blocks, fontsize=SMALL, color=INK, parse_math=False)
        axes.tick_params(length=0)
    colour_key(plot, shown, width - GAP, BAND * 0.6)
    return plot


def _run_alt(arrays: Mapping[str, np.ndarray], rows: str, columns: str) -> str:
    told = []
    for name, array in arrays.items():
        own = float(np.trace(array) / len(array))
        others = float((array.sum() - np.trace(array)) / max(array.size - len(array), 1))
        told.append(f"{name}: {own:.2f} on the diagonal, {others:.2f} beside it")
    return f"Matrices of likeness, {rows} in rows, {columns} in columns. Means: {'; '.join(told)}."


def word_map(points: Mapping[str, Tensor], *, title: str = "") -> Plot:
    """Points in the plane (n, 2), one group a name, which stands beside the group and tells it from the others."""
    arrays = {name: values.detach().float().cpu().numpy() for name, values in points.items()}
    if not arrays or any(array.ndim != 2 or array.shape[1] != 2 for array in arrays.values()):
        raise ValueError("word_map needs one or more groups of points (n, 2).")
    if not all(len(array) and np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("word_map needs one or more points in each group, all of them finite.")
    middles = {name: array.mean(axis=0) for name, array in arrays.items()}
    plot = Plot(WIDTH, 460, _map_alt(middles))
    axes = plot.add_axes((0.07, 0.11, 0.91, 0.81))
    every = np.concatenate(list(arrays.values()))
    for name, array in arrays.items():
        axes.scatter(*array.T, color=LINES[0]["color"], s=26, alpha=0.75)
        right = middles[name][0] > every[:, 0].min() + 0.8 * np.ptp(every[:, 0])
        edge = array[:, 0].min() if right else array[:, 0].max()
        axes.annotate(
            name,
            (edge, middles[name][1]),
            xytext=(-9 if right else 9, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            fontsize=SMALL,
            color=INK,
            parse_math=False,
        )
    axes.set_xlabel("first direction of largest spread")
    axes.set_ylabel("second direction")
    axes.set_title(title, fontsize=LARGE, color=INK, loc="left", parse_math=False)
    quiet(axes, grid=True)
    return plot


def _map_alt(middles: Mapping[str, np.ndarray]) -> str:
    """Each group's middle, and its nearest neighbour."""
    told = []
    for name, place in middles.items():
        others = {other: np.linalg.norm(place - there) for other, there in middles.items() if other != name}
        near = f", next to {min(others, key=others.get)}" if others else ""
        told.append(f"{name} at ({place[0]:.2f}, {place[1]:.2f}){near}")
    return f"Map of {len(middles)} groups of points. {'; '.join(told)}."
