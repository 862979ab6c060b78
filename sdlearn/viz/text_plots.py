"""Texts and what networks make of them: likeness of texts or pictures, the tokens of a text, attention to each word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from sdlearn.bpe import END_OF_WORD, byte_symbols
from sdlearn.tokenizer import TokenizerWork
from sdlearn.viz.figure import (
    BAND,
    DPI,
    GAP,
    INK,
    LARGE,
    PALE,
    SEQUENTIAL,
    SIGNED,
    SMALL,
    Plot,
    box,
    cell_size,
    cells,
    colour_key,
    text,
)

MOST_NUMBERS = 144  # cells of a matrix that carry their number
SLANT = 0.75  # how far right, and up, a label at 45 degrees reaches, of its width
TINTS = (
    "#cfe3f1",
    "#fbdcc4",
    "#c9ebdf",
    "#f3d6e5",
    "#faf3b8",
)  # of Okabe and Ito's colours, light behind letters
MOST_COLUMNS = 6  # maps side by side
VEIL = 0.7  # how much of a picture a map laid over it hides
GREY = "#eeeeee"
LOST, LOST_EDGE = "#a03c00", "#d55e00"  # vermilion: what is cut off
PLATE, LINE = 26, 54  # pixels: the height of a piece, and with its id and room below
TABLE = 760  # pixels: where the tokens of a text go on in the next line
MOST_CUT = 60  # pieces cut off that are shown


def similarity_matrix(values: Tensor, rows: Sequence[str], columns: Sequence[str]) -> Plot:
    """A matrix (rows, columns) as coloured cells, with the numbers in them where they are few; each row's largest bold.

    Around zero where there are negative values; else from the smallest to the largest.
    """
    if tuple(values.shape) != (len(rows), len(columns)) or not values.numel():
        raise ValueError(
            f"values must be ({len(rows)}, {len(columns)}), a number a pair; got {tuple(values.shape)}."
        )
    array = values.detach().float().cpu().numpy()
    if not np.isfinite(array).all():
        raise ValueError("values hold NaN or infinity.")
    signed = array.min() < 0
    reach = (-np.abs(array).max(), np.abs(array).max()) if signed else (array.min(), array.max())
    numbers = array.size <= MOST_NUMBERS
    side = 56 if numbers else max(10, min(40, 700 // max(array.shape)))
    left = GAP + max(map(wide, rows)) + GAP
    lengths = [wide(name) for name in columns]
    slanted = max(lengths) > side
    top = 2 * BAND + (SLANT * max(lengths) if slanted else BAND)
    height = side * (0.7 if numbers else 1)
    ends = [SLANT * length + side * (k + 0.5) for k, length in enumerate(lengths)] if slanted else []
    plot = Plot(
        max(left + max([side * len(columns), *ends]) + GAP, 260),
        top + height * len(rows) + GAP,
        _matrix_alt(array, rows, columns),
    )
    axes = box(plot, left, top, side * len(columns), height * len(rows))
    shown = cells(axes, array, *reach, SIGNED if signed else SEQUENTIAL)
    style = {"fontsize": SMALL, "color": INK, "parse_math": False}
    axes.set_yticks(range(len(rows)), rows, **style)
    turned = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(len(columns)), columns, **style, **turned)
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    if numbers:
        _write_numbers(axes, array, shown)
    colour_key(plot, shown, max(left + side * len(columns), 250), BAND * 0.7)
    return plot


def wide(words: str, size: float = SMALL) -> float:
    """How many pixels a label takes, its letters ``size`` points large."""
    label = Figure(dpi=DPI).text(0, 0, words, fontsize=size, parse_math=False)
    return label.get_window_extent().width


def _write_numbers(axes: Axes, array: np.ndarray, shown: AxesImage) -> None:
    """Each number in its cell, in black or white, whichever is seen; the largest of a row bold."""
    digits = 2 if np.abs(array).max() < 10 else 1
    for i, row in enumerate(array):
        for k, value in enumerate(row):
            light = np.dot(shown.to_rgba(value)[:3], (0.299, 0.587, 0.114)) > 0.42
            weight = "bold" if value == row.max() else "normal"
            label = f"{value:.{digits}f}".replace("-", "−")
            axes.text(
                k,
                i,
                label,
                ha="center",
                va="center",
                fontsize=SMALL,
                weight=weight,
                color="black" if light else "white",
            )


def _matrix_alt(array: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> str:
    """Size, range, and which column is each row's nearest (with the row's own name left out)."""
    told = []
    for name, row in list(zip(rows, array))[:12]:
        others = [k for k, column in enumerate(columns) if column != name]
        if others:
            best = max(others, key=lambda k: row[k])
            told.append(f"{name}: {columns[best]} ({row[best]:.2f})")
    rest = f" and {len(rows) - 12} more rows" if len(rows) > 12 else ""
    own = ", apart from itself" if set(rows) & set(columns) else ""
    return (
        f"Matrix of {len(rows)} rows and {len(columns)} columns, values from {array.min():.2f} to {array.max():.2f}. "
        f"Largest of each row{own}: {'; '.join(told)}{rest}."
    )


def token_table(work: TokenizerWork) -> Plot:
    """What a text becomes (``tokenizer.encode_and_show_work``): its pieces, the id below each, one colour a word.

    A word's last piece ends in a dot, which is part of the token. Pieces that find no room are struck
    through in red, at the end.
    """
    if not all(
        hasattr(work, name) for name in ("words", "kept", "cut", "ids")
    ):  # a reader's own class will do
        raise TypeError(f"token_table needs tokenizer.encode_and_show_work(text), not {type(work).__name__}.")
    pieces = _pieces(work)
    widths = [max(30, max(wide(name, LARGE), wide(number)) + 14) for name, number, _ in pieces]
    places, x, y = [], float(GAP), BAND * 1.5
    for width in widths:
        if x + width > TABLE - GAP and x > GAP:
            x, y = float(GAP), y + LINE
        places.append((x, y))
        x += width + 4
    plot = Plot(TABLE if y > 2 * BAND else max(420, x + GAP), y + LINE, _tokens_alt(work))
    used = len(work.kept) + 2
    head = f"{used} of {len(work.ids)} places used" + (
        f", {len(work.cut)} pieces cut off" if work.cut else ""
    )
    text(plot, GAP, BAND * 0.7, f"{head}; below each piece its id", weight="bold")
    for (left, top), width, (name, number, colour) in zip(places, widths, pieces):
        _piece(plot, left, top, width, name, number, colour)
    return plot


def _pieces(work: TokenizerWork) -> list[tuple[str, str, str | None]]:
    """(piece, id, colour) in reading order; colour None where the piece is cut off."""
    tints = [TINTS[number % len(TINTS)] for number, word in enumerate(work.words) for _ in word.tokens]
    number = len(work.kept)
    found = [("start", str(work.ids[0]), GREY)]
    found += [(readable(one), str(id_), tint) for one, id_, tint in zip(work.kept, work.ids[1:], tints)]
    found.append(("end", str(work.ids[number + 1]), GREY))
    if padding := work.ids[number + 2 :]:
        found.append((f"padding × {len(padding)}", str(padding[0]), GREY))
    found += [(readable(token), "cut", None) for token in work.cut[:MOST_CUT]]
    if len(work.cut) > MOST_CUT:
        found.append((f"and {len(work.cut) - MOST_CUT} more", "cut", None))
    return found


def readable(token: str) -> str:
    """A token as letters: its bytes read as UTF-8, else in hexadecimal; a dot at the end of a word."""
    ends = token.endswith(END_OF_WORD)
    bytes_by_symbol = {symbol: byte for byte, symbol in byte_symbols().items()}
    symbols = token.removesuffix(END_OF_WORD)
    if not all(symbol in bytes_by_symbol for symbol in symbols):
        return token
    raw = bytes(bytes_by_symbol[symbol] for symbol in symbols)
    try:
        letters = raw.decode("utf-8")
    except UnicodeDecodeError:
        letters = raw.hex(" ")
    return _drawable(letters) + "·" * ends


def _drawable(letters: str) -> str:
    """Letters that the figure's font lacks, such as Chinese ones, as their number in Unicode."""
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return "".join(one if font.get_char_index(ord(one)) else f"U+{ord(one):X}" for one in letters)


def _piece(
    plot: Plot, left: float, top: float, width: float, name: str, number: str, colour: str | None
) -> None:
    """A coloured plate with the piece, and its id below; white, dotted and struck through where it is cut off."""
    w, h = plot.get_size_inches() * DPI
    style = {
        "facecolor": colour or "white",
        "edgecolor": PALE if colour else LOST_EDGE,
        "linestyle": "-" if colour else ":",
    }
    corner = (left / w, 1 - (top + PLATE) / h)
    plot.add_artist(Rectangle(corner, width / w, PLATE / h, transform=plot.transFigure, **style))
    ink = INK if colour else LOST
    if not colour:
        middle = [1 - (top + PLATE / 2) / h] * 2
        ends = [(left + 5) / w, (left + width - 5) / w]
        plot.add_artist(Line2D(ends, middle, transform=plot.transFigure, color=LOST_EDGE, linewidth=1))
    text(plot, left + width / 2, top + PLATE / 2, name, ha="center", fontsize=LARGE, color=ink)
    text(plot, left + width / 2, top + PLATE + 10, number, ha="center", color=ink)


def _tokens_alt(work: TokenizerWork) -> str:
    shown = [f"{readable(token).removesuffix('·')} {id_}" for token, id_ in zip(work.kept, work.ids[1:])]
    cut = f" {len(work.cut)} pieces are cut off, from “{readable(work.cut[0])}” on." if work.cut else ""
    return (
        f"“{work.text}” as {len(work.kept) + len(work.cut)} pieces with their ids: {', '.join(shown) or 'none'}. "
        f"With start, end and padding {len(work.ids)} ids.{cut}"
    )


def attention_by_word(words: Sequence[str], maps: Tensor, picture: Image.Image | None = None) -> Plot:
    """Where each word is used: maps (words, h, w) of shares of attention, 0 to 1, all on one scale from 0 on.

    A picture stands first, and lies pale below each map. ``words`` may have the start and end token among them: start
    takes most, so the colours follow the root of a share. Above each map stand the word and its mean share.
    """
    _check_maps(words, maps)
    array = maps.detach().float().cpu().numpy()
    limit = float(array.max()) or 1.0
    number = len(words) + (picture is not None)
    columns = min(number, MOST_COLUMNS)
    h, w = array.shape[1:]
    width, height = cell_size(columns, w / h)
    line = BAND + height + GAP
    plot = Plot(
        max(320, GAP + columns * (width + GAP)),
        1.5 * BAND + -(-number // columns) * line,
        _maps_alt(words, array),
    )
    places = [(GAP + k % columns * (width + GAP), 1.5 * BAND + k // columns * line) for k in range(number)]
    if picture is not None:
        left, top = places.pop(0)
        text(plot, left, top + BAND / 2, "the picture")
        _below(box(plot, left, top + BAND, width, height), picture, (w, h)).axis("off")
    for (left, top), word, one in zip(places, words, array):
        text(plot, left, top + BAND / 2, word, weight="bold")
        text(plot, left + width, top + BAND / 2, f"{one.mean():.1%}".replace("%", " %"), ha="right")
        axes = box(plot, left, top + BAND, width, height)
        if picture is not None:
            _below(axes, picture.convert("L").point(lambda level: 64 + level // 2).convert("RGB"), (w, h))
        shown = cells(axes, one, 0, limit, SEQUENTIAL)
        shown.set(norm=PowerNorm(0.5, 0, limit), alpha=None if picture is None else VEIL)
    text(
        plot,
        GAP,
        BAND * 0.7,
        "share of a place's attention; colours follow its root, so that small shares show",
    )
    colour_key(plot, shown, max(320, GAP + columns * (width + GAP)) - GAP, BAND * 0.7)
    return plot


def _check_maps(words: Sequence[str], maps: Tensor) -> None:
    if not words or maps.ndim != 3 or len(maps) != len(words):
        raise ValueError(f"maps must be ({len(words)}, h, w), one a word; got {tuple(maps.shape)}.")
    if not bool(((maps >= 0) & (maps <= 1)).all()):
        raise ValueError("maps must be shares of attention, from 0 to 1 (after the softmax).")


def _below(axes: Axes, picture: Image.Image, size: tuple[int, int]) -> Axes:
    """The picture, stretched over the places (w, h) of a map that may be laid over it."""
    extent = (-0.5, size[0] - 0.5, size[1] - 0.5, -0.5)
    axes.imshow(np.asarray(picture), extent=extent, aspect="auto", interpolation="bicubic")
    return axes


def _maps_alt(words: Sequence[str], array: np.ndarray) -> str:
    """Each word's mean share, and the third of the picture in which its largest lies."""
    told = [f"{word}: {one.mean():.1%}, most in the {_whereabouts(one)}" for word, one in zip(words, array)]
    return (
        f"Maps of attention to {len(words)} words, each place's share from 0 to {array.max():.2f}. "
        f"Mean share of each: {'; '.join(told)}."
    )


def _whereabouts(one: np.ndarray) -> str:
    row, column = np.unravel_index(one.argmax(), one.shape)
    names = (("upper", "middle", "lower"), ("left", "middle", "right"))
    found = [part[3 * place // side] for part, place, side in zip(names, (row, column), one.shape)]
    return " ".join(dict.fromkeys(found))
