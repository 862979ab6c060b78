"""Pictures in strips, heat maps and curves, as figures that carry a description of what they show.

Signed numbers are orange below and purple above zero, lines differ in colour, mark and dashes: all of it can
be told apart with any kind of colour vision, and in print.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

DPI = 100
WIDTH = 1000  # pixels, about what a notebook shows in full
GAP = 6  # pixels between pictures
BAND = 20  # pixels for a line of text
COLOURS = 256  # of a saved figure, chosen for it: the difference is hardly seen, the file about half as large
SIGNED = "PuOr"  # white at zero
LINES = (  # colours of Okabe and Ito, 2008
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    {"color": "#009E73", "marker": "^", "linestyle": ":"},
)
INK = "#333333"


class Plot(Figure):
    """A figure with a description, ``alt``, that notebooks save beside the picture."""

    def __init__(self, width: float, height: float, alt: str):
        """``width`` and ``height`` in pixels."""
        super().__init__(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        if not alt.strip():
            raise ValueError("alt is empty; describe the figure for a reader who cannot see it.")
        self.alt = " ".join(alt.split())

    def png(self) -> bytes:
        """The picture, the same bytes for the same figure."""
        raw, small = io.BytesIO(), io.BytesIO()
        self.savefig(raw, format="png", dpi=DPI)
        image = Image.open(raw).convert("RGB").quantize(COLOURS, kmeans=1, dither=Image.Dither.NONE)
        image.save(small, format="png", optimize=True)
        return small.getvalue()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        """What Jupyter shows and saves."""
        png = base64.b64encode(self.png()).decode()
        return {"image/png": png, "text/plain": self.alt}, {"image/png": {"alt": self.alt}}


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
    titles = BAND if columns else 0
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
    for left, width, title in zip(lefts, widths, columns):
        _text(plot, left + width * zoom / 2, tops[0] - BAND / 2, str(title), ha="center")
    return plot


def _text(plot: Plot, x: float, y: float, text: str, **style: str) -> None:
    """Text whose middle is y pixels below the upper edge."""
    width, height = plot.get_size_inches() * DPI
    plot.text(x / width, 1 - y / height, text, va="center", fontsize=9, color=INK, **style)


def _picture(plot: Plot, picture: Image.Image, left: float, top: float, zoom: float) -> None:
    width, height = plot.get_size_inches() * DPI
    w, h = picture.width * zoom, picture.height * zoom
    axes = plot.add_axes((left / width, 1 - (top + h) / height, w / width, h / height))
    axes.imshow(np.asarray(picture), aspect="auto", interpolation="nearest" if zoom == 1 else "bicubic")
    axes.axis("off")


def false_colours(latents: Tensor, size: int = 128, reach: float = 2.5) -> list[Image.Image]:
    """Latents (n, channels >= 3, h, w) as n pictures: channels 1 to 3 as red, green, blue, -reach ... reach.

    The colours mean nothing; each square is one place of the latents. The shorter side has ``size`` pixels.
    """
    levels = (latents[:, :3].detach().float().cpu() / reach).clamp(-1, 1) / 2 + 0.5  # (n, 3, h, w), 0 ... 1
    pixels = (levels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()  # (n, h, w, 3)
    factor = size / min(latents.shape[-2:])
    shape = (round(latents.shape[-1] * factor), round(latents.shape[-2] * factor))
    return [Image.fromarray(one.numpy()).resize(shape, Image.Resampling.NEAREST) for one in pixels]


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
            axes.spines[:].set_color("#bbbbbb")
            if i == 0:
                _text(plot, box[0] + box[2] / 2, BAND / 2, f"channel {k + 1}", ha="center")
    middle = plot.add_axes(((width - bar + 14) / width, 0.2, 12 / width, 0.6))
    plot.colorbar(shown, cax=middle).ax.tick_params(labelsize=8, colors=INK)
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
    axes.set_yticks(range(len(names)), names, family="monospace")
    axes.set_xlabel("place in the vector")
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    _quiet(axes)
    middle = plot.add_axes((0.92, 40 / height, 0.012, 1 - 70 / height))
    plot.colorbar(shown, cax=middle, extend="both").ax.tick_params(labelsize=8, colors=INK)
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
        axes.set_title(title, fontsize=10, color=INK, loc="left")
        if len(lines) > 1:
            axes.legend(fontsize=8, frameon=False)
        _quiet(axes, grid=True)
    plot.tight_layout(pad=1.2)
    return plot


def _quiet(axes: Axes, grid: bool = False) -> None:
    """Small grey letters and no frame: the data are what one sees."""
    axes.tick_params(labelsize=8, colors=INK, length=2)
    axes.xaxis.label.set(fontsize=9, color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if grid:
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
