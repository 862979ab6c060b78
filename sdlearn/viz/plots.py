"""Pictures in strips, heat maps and curves, as figures that carry a description of what they show."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdlearn.viz.figure import BAND, GAP, INK, LARGE, LINES, PALE, SIGNED, SMALL, WIDTH, Plot, squares
from sdlearn.viz.figure import picture as _picture
from sdlearn.viz.figure import quiet as _quiet
from sdlearn.viz.figure import text as _text

LETTER, LINE = 6.5, 15  # pixels that a letter of a title and a further line of it take, about


def strip(
    rows: Mapping[str, Sequence[Image.Image]], columns: Sequence[object] = (), *, alt: str, zoom: float = 2.0
) -> Plot:
    """Rows of pictures, each under its name, with a title over each column; at most ``zoom`` times as large.

    Pictures may differ in size; those of one row hang from one line.
    """
    if not rows or not all(rows.values()):
        raise ValueError("a strip needs at least one row, and at least one picture in each row.")
    number = max(map(len, rows.values()))
    if columns and len(columns) != number:
        raise ValueError(f"{len(columns)} column titles for {number} columns; give one a column, or none.")
    widths = [max(row[k].width for row in rows.values() if k < len(row)) for k in range(number)]
    zoom = min(zoom, (WIDTH - GAP * (number + 1)) / sum(widths))
    lefts = [round(GAP + sum(widths[:k]) * zoom + k * GAP) for k in range(number)]
    headings = [_folded(str(title), width * zoom) for title, width in zip(columns, widths, strict=False)]
    titles = max((BAND + LINE * heading.count("\n") for heading in headings), default=0)
    tops, y = [], float(GAP)  # of each row's pictures, from the upper edge
    for name, row in rows.items():
        y += (BAND if name else 0) + (0 if tops else titles)
        tops.append(round(y))
        y += max(picture.height for picture in row) * zoom + GAP
    plot = Plot(round(lefts[-1] + widths[-1] * zoom + GAP), round(y), alt)
    for top, (name, row) in zip(tops, rows.items(), strict=True):
        label = top - (titles if top == tops[0] else 0) - BAND / 2
        _text(plot, GAP, label, name, ha="left", weight="bold")
        for left, picture in zip(lefts, row):
            _picture(plot, picture, left, top, zoom)
    for left, width, heading in zip(lefts, widths, headings, strict=False):
        _text(plot, left + width * zoom / 2, tops[0] - titles / 2, heading, ha="center")
    return plot


def _folded(title: str, width: float) -> str:
    """A title in as many lines as it needs above a picture of ``width`` pixels; no word is cut."""
    return textwrap.fill(title, max(int(width / LETTER), 1), break_long_words=False)


def false_colours(latents: Tensor, size: int = 128, reach: float = 2.5) -> list[Image.Image]:
    """Latents (n, channels >= 3, h, w) as n pictures: channels 1 to 3 as red, green, blue, -reach ... reach.

    The colours mean nothing; each square is one place of the latents. The shorter side has ``size`` pixels.
    """
    levels = (latents[:, :3].detach().float().cpu() / reach).clamp(-1, 1) / 2 + 0.5  # (n, 3, h, w), 0 ... 1
    pixels = (levels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()  # (n, h, w, 3)
    return squares([Image.fromarray(one.numpy()) for one in pixels], size)


def heat_maps(rows: Mapping[str, Tensor], *, alt: str, size: int = 150) -> Plot:
    """Each (channels, h, w) tensor as a row of maps, one a channel, all on one scale around zero."""
    if len({tuple(values.shape) for values in rows.values()}) != 1:
        raise ValueError("heat_maps needs one or more tensors (channels, h, w) of the same shape.")
    arrays = {name: values.detach().float().cpu().numpy() for name, values in rows.items()}
    channels, h, w = next(iter(arrays.values())).shape
    limit = max(np.abs(values).max() for values in arrays.values())
    step_x, step_y, bar = size * w / h + GAP, size + GAP, 70
    width, height = channels * step_x + bar, BAND + len(arrays) * (step_y + BAND)
    plot = Plot(width, height, alt)
    for i, (name, values) in enumerate(arrays.items()):
        top = BAND + i * (step_y + BAND) + BAND
        _text(plot, GAP, top - BAND / 2, name, ha="left", weight="bold")
        for k in range(channels):
            box = (GAP + k * step_x, height - top - size, size * w / h, size)
            axes = plot.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
            shown = axes.imshow(values[k], cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color(PALE)
            if i == 0:
                _text(plot, box[0] + box[2] / 2, BAND / 2, f"channel {k + 1}", ha="center")
    middle = plot.add_axes(((width - bar + 14) / width, 0.2, 12 / width, 0.6))
    plot.colorbar(shown, cax=middle).ax.tick_params(labelsize=SMALL, colors=INK)
    return plot


def vectors(values: Tensor, names: Sequence[str], *, alt: str, title: str = "") -> Plot:
    """A matrix (rows, width) as coloured stripes, one named row a vector, on a scale around zero.

    The scale covers 99 of 100 numbers; the few beyond have its end colours.
    """
    if values.ndim != 2 or len(values) != len(names):
        raise ValueError(f"values must be ({len(names)}, width), one row a name; got {tuple(values.shape)}.")
    array = values.detach().float().cpu().numpy()
    limit = float(np.quantile(np.abs(array), 0.99)) or 1.0
    height = 17 * len(names) + 70
    plot = Plot(WIDTH * 0.9, height, alt)
    axes = plot.add_axes((0.12, 40 / height, 0.78, 1 - 70 / height))
    shown = axes.imshow(array, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(names)), names, family="monospace", parse_math=False)
    axes.set_xlabel("place in the vector")
    axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
    _quiet(axes)
    middle = plot.add_axes((0.92, 40 / height, 0.012, 1 - 70 / height))
    plot.colorbar(shown, cax=middle, extend="both").ax.tick_params(labelsize=SMALL, colors=INK)
    return plot


def curves(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    x: Sequence[object],
    x_label: str,
    *,
    alt: str,
    even: bool = False,
) -> Plot:
    """One panel a title, in each one named line a series of len(x) numbers; all panels start at zero.

    ``even`` spaces the x evenly, whatever their values: for settings such as 1, 2, 4, 8.
    """
    if not panels or not all(0 < len(lines) <= len(LINES) for lines in panels.values()):
        raise ValueError(f"curves needs at least one panel, each with 1 to {len(LINES)} lines.")
    places = range(len(x)) if even else x
    plot = Plot(420 * len(panels) if len(panels) > 1 else 560, 290, alt)
    all_axes = plot.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
        for style, (name, y) in zip(LINES, lines.items(), strict=False):
            axes.plot(places, y, label=name, markersize=4, linewidth=1.6, **style)
        if even:
            axes.set_xticks(places, [str(value) for value in x])
        axes.set_ylim(bottom=min(0, *(min(y) for y in lines.values())))
        axes.set_xlabel(x_label)
        axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
        if len(lines) > 1:
            axes.legend(fontsize=SMALL, frameon=False)
        _quiet(axes, grid=True)
    plot.tight_layout(pad=1.2)
    return plot
