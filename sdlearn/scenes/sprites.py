"""Things as small pictures with transparency, painted large once, reduced, and kept for the next scene."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .palette import tones
from .shapes import Layer, Shape, figure

OVERSAMPLE = 4  # paint at four times the size, then average 4x4 pixels into one
PAD = 4  # free pixels around a sprite, for its outline


def sprite_box(scale: int) -> tuple[int, int, int, int]:
    """(width, height, x of the middle, y of the feet) of every sprite of this scale, in pixels."""
    half = round(0.62 * scale) + PAD
    return 2 * half, round(1.06 * scale) + 2 * PAD, half, round(1.06 * scale) + PAD


@lru_cache(maxsize=4096)
def sprite(kind: str, colour: str, scale: int) -> Image.Image:
    """The thing as an RGBA picture. Do not change it: it is shared."""
    tone = tones(colour)
    width, height, _, _ = sprite_box(scale)
    canvas = Image.new("RGBA", (width * OVERSAMPLE, height * OVERSAMPLE), tone["rim"] + (0,))
    light = _lighting(canvas.size)
    for layer in figure(kind).layers:
        if layer.outlined:
            canvas.paste(tone["rim"] + (255,), mask=_fatten(layer_mask(layer, scale), _rim_width(scale)))
        painted = canvas.copy()
        draw = ImageDraw.Draw(painted)
        for shape in layer.shapes:
            paint_shape(draw, shape, tone[shape.tone] + (255,), scale)
        canvas = _shade(painted, light, layer_mask(layer, scale)) if layer.outlined else painted
    return _reduce_rgba(canvas)


@lru_cache(maxsize=1024)
def sprite_lines(kind: str, scale: int) -> Image.Image:
    """The outlines of all layers and parts as an L picture: white lines on black."""
    width, height, _, _ = sprite_box(scale)
    lines = Image.new("L", (width * OVERSAMPLE, height * OVERSAMPLE), 0)
    for layer in figure(kind).layers:
        if layer.outlined:
            mask = layer_mask(layer, scale)
            lines.paste(255, mask=_fatten(mask, _rim_width(scale)))
            lines.paste(0, mask=mask)
        else:
            draw = ImageDraw.Draw(lines)
            for shape in layer.shapes:
                if shape.tone in ("ink", "gate", "wood", "glass", "spot", "pale"):
                    paint_shape(draw, shape, 255, scale)
    return lines.reduce(OVERSAMPLE)


@lru_cache(maxsize=64)
def shadow(scale: int) -> Image.Image:
    """A soft flat ellipse to lie under a thing, as an L mask."""
    width, height = round(1.2 * scale), round(0.22 * scale)
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).ellipse((0.12 * width, 0.25 * height, 0.88 * width, 0.75 * height), fill=70)
    return mask.filter(ImageFilter.GaussianBlur(0.05 * scale))


def layer_mask(layer: Layer, scale: int) -> Image.Image:
    """Where the layer covers the oversampled canvas, as an L mask."""
    width, height, _, _ = sprite_box(scale)
    mask = Image.new("L", (width * OVERSAMPLE, height * OVERSAMPLE), 0)
    draw = ImageDraw.Draw(mask)
    for shape in layer.shapes:
        paint_shape(draw, shape, 255, scale)
    return mask


def paint_shape(draw: ImageDraw.ImageDraw, shape: Shape, fill: object, scale: int) -> None:
    """Fill the shape, or stroke it with round ends, on an oversampled canvas of this scale."""
    _, _, middle, feet = sprite_box(scale)
    points = [((middle + x * scale) * OVERSAMPLE, (feet - y * scale) * OVERSAMPLE) for x, y in shape.points]
    if shape.width == 0.0:
        draw.polygon(points, fill=fill)
        return
    width = max(round(shape.width * scale * OVERSAMPLE), OVERSAMPLE)
    draw.line(points, fill=fill, width=width, joint="curve")
    radius = width / 2 - 0.5
    for x, y in (points[0], points[-1]):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _rim_width(scale: int) -> float:
    """Width of the outline in oversampled pixels: about 1 pixel on small things, 1.3 on big ones."""
    return OVERSAMPLE * (0.7 + 0.011 * scale)


def _fatten(mask: Image.Image, width: float) -> Image.Image:
    """The mask grown by `width` on all sides, with round corners."""
    grown = mask.filter(ImageFilter.GaussianBlur(width))
    return grown.point(lambda value: 255 if value > 40 else 0)  # one sigma outside a straight edge: 16 %


@lru_cache(maxsize=64)
def _lighting(size: tuple[int, int]) -> Image.Image:
    """How much light falls where: a soft slope from the upper left (bright) to the lower right, as L."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    slope = (0.35 * x / width + 0.65 * y / height - 0.5) * 2
    return Image.fromarray(np.clip(128 - 128 * slope, 0, 255).astype(np.uint8))


def _shade(canvas: Image.Image, light: Image.Image, mask: Image.Image) -> Image.Image:
    """Brighten the lit side and darken the other by up to a tenth, inside the mask."""
    alpha = canvas.getchannel("A")
    rgb = canvas.convert("RGB")
    gain = Image.merge("RGB", [light.point(lambda v: round((v - 128) * 0.16 + 128))] * 3)
    lit = ImageChops.add(rgb, gain, offset=-128)
    result = Image.composite(lit, rgb, mask)
    result.putalpha(alpha)
    return result


def _reduce_rgba(canvas: Image.Image) -> Image.Image:
    """Average blocks of pixels, weighting colours by their opacity so that no dark fringe appears."""
    return canvas.convert("RGBa").reduce(OVERSAMPLE).convert("RGBA")
