"""Frames: pictures rendered once, before a slider moves, so that a move only chooses among them.

Signed numbers are orange below and purple above zero, as in sdlearn.viz.figure; shares run from dark to light.
"""

from __future__ import annotations

import io

import numpy as np
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from sdlearn.viz.figure import SEQUENTIAL, SIGNED

LARGEST = 320  # pixels along the longer side: more than a panel shows, little enough to send at every move
BETWEEN = 4  # white pixels between the channels of a map
VEIL = 0.65  # how much of a picture a map laid over it hides


def png(image: Image.Image, largest: int = LARGEST) -> bytes:
    """The picture as PNG, at most ``largest`` pixels along its longer side."""
    if max(image.size) > largest:
        image = image.copy()
        image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, format="png")
    return file.getvalue()


def channel_maps(values: Tensor, limit: float, size: int = 128) -> list[Image.Image]:
    """(n, channels, h, w) as n pictures of ``size`` pixels' height: the channels in rows of two.

    The colours run from -limit (orange) over zero (white) to limit (purple); what is beyond has the end's colour.
    """
    array = (values.detach().float().cpu().numpy() / limit).clip(-1, 1) / 2 + 0.5  # (n, channels, h, w)
    coloured = (colormaps[SIGNED](array)[..., :3] * 255).round().astype(np.uint8)  # (n, channels, h, w, 3)
    return [_two_by_two(one, size) for one in coloured]


def _two_by_two(channels: np.ndarray, size: int) -> Image.Image:
    """(channels, h, w, 3) on one white sheet, reading order."""
    number, h, w, _ = channels.shape
    rows = (number + 1) // 2
    height = (size - BETWEEN * (rows - 1)) // rows
    width = round(height * w / h)
    sheet = Image.new("RGB", (2 * width + BETWEEN, size), "white")
    for k, channel in enumerate(channels):
        place = (k % 2 * (width + BETWEEN), k // 2 * (height + BETWEEN))
        sheet.paste(Image.fromarray(channel).resize((width, height), Image.Resampling.NEAREST), place)
    return sheet


def laid_over(picture: Image.Image, shares: Tensor, limit: float) -> Image.Image:
    """A map of shares (h, w), 0 (dark) to limit (light), as a veil over the grey picture."""
    array = (shares.detach().float().cpu().numpy() / limit).clip(0, 1)
    veil = Image.fromarray((colormaps[SEQUENTIAL](array)[..., :3] * 255).round().astype(np.uint8))
    veil = veil.resize(picture.size, Image.Resampling.BICUBIC)
    return Image.blend(picture.convert("L").convert("RGB"), veil, VEIL)


def colour_key(width: int = 160, height: int = 14) -> Image.Image:
    """The colours of ``laid_over`` from 0 to its limit."""
    line = (colormaps[SEQUENTIAL](np.linspace(0, 1, width))[:, :3] * 255).round().astype(np.uint8)
    return Image.fromarray(np.repeat(line[None], height, axis=0))
