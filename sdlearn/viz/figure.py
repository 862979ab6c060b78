"""What all figures share: size and description, letters and colours, and the way to put a picture in its place.

Signed numbers are orange below and purple above zero, shares run from dark to light, lines differ in colour, mark
and dashes: all of it can be told apart with any kind of colour vision, and in print.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from PIL import Image

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
PALE = "#bbbbbb"  # frames, and what is not meant to catch the eye
SEQUENTIAL = "viridis"  # from dark, little, to light, much: grey print keeps the order
SMALL, LARGE = 9, 10  # points, of labels and of titles: a projector shows no smaller letters


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


def text(plot: Plot, x: float, y: float, words: str, **style: object) -> Text:
    """Words whose middle is y pixels below the upper edge, letter by letter: a dollar sign is a dollar sign."""
    width, height = plot.get_size_inches() * DPI
    style = {"va": "center", "fontsize": SMALL, "color": INK, "parse_math": False} | style
    return plot.text(x / width, 1 - y / height, words, **style)


def box(plot: Plot, left: float, top: float, width: float, height: float) -> Axes:
    """Axes in a place given in pixels from the upper left corner."""
    w, h = plot.get_size_inches() * DPI
    return plot.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def picture(plot: Plot, image: Image.Image, left: float, top: float, zoom: float) -> None:
    """An image whose upper left corner is at (left, top), in pixels."""
    axes = box(plot, left, top, image.width * zoom, image.height * zoom)
    axes.imshow(np.asarray(image), aspect="auto", interpolation="nearest" if zoom == 1 else "bicubic")
    axes.axis("off")


def cell_size(columns: int, aspect: float, largest: int = 150) -> tuple[int, int]:
    """Pixels for each of ``columns`` pictures side by side, of width / height ``aspect``."""
    width = min(largest * max(aspect, 1), (WIDTH - GAP * (columns + 1)) // columns)
    width = min(width, round(2 * largest * aspect))
    return round(width), round(width / aspect)


def cells(axes: Axes, values: np.ndarray, low: float, high: float, colours: str = SIGNED) -> AxesImage:
    """A matrix as coloured squares from ``low`` to ``high``, in a pale frame, without ticks."""
    shown = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(PALE)
    return shown


def colour_key(
    plot: Plot, shown: AxesImage, right: float, y: float, width: float = 90, unit: str = ""
) -> None:
    """The colours of ``shown`` as a lying bar between its lowest and highest number, ending at ``right``."""
    low, high = shown.get_clim()
    last = text(plot, right, y, f"{high:.2g}{unit}".replace("-", "−"), ha="right")
    left = right - 7.5 * len(last.get_text()) - 6 - width
    text(plot, left - 5, y, f"{low:.2g}".replace("-", "−"), ha="right")
    axes = box(plot, left, y - 5, width, 10)
    axes.set_facecolor("#808080")  # below a veil: middle grey, as a pale picture is on average
    bar = cells(axes, np.linspace(low, high, 64)[None], low, high, shown.get_cmap())
    bar.set(norm=shown.norm, alpha=shown.get_alpha())


def quiet(axes: Axes, grid: bool = False) -> None:
    """Small grey letters and no frame: the data are what one sees."""
    axes.tick_params(labelsize=SMALL, colors=INK, length=2)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=SMALL, color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if grid:
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)


def squares(images: Sequence[Image.Image], size: int) -> list[Image.Image]:
    """Small images enlarged until the shorter side has ``size`` pixels: each pixel becomes a square."""
    return [
        image.resize(
            tuple(round(side * size / min(image.size)) for side in image.size), Image.Resampling.NEAREST
        )
        for image in images
    ]


def spread(number: int, most: int = 8) -> list[int]:
    """At most ``most`` of the places 0 ... number - 1, evenly spaced, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, number - 1, min(number, most))})


def listed(words: Sequence[object]) -> str:
    """a, b and c."""
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last
