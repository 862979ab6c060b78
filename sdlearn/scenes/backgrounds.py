"""The four backgrounds, each a function of the scene's own random generator: every scene differs a little."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .palette import RGB

SIZE = 128
OVERSAMPLE = 4
BIG = SIZE * OVERSAMPLE
Outline = list[tuple[float, float]]


@dataclass(frozen=True)
class Backdrop:
    """A background four times too large, and the outlines of its far part (hills or sea) and its ground."""

    picture: Image.Image
    far: Outline
    ground: Outline


@lru_cache(maxsize=32)
def gradient(top: RGB, bottom: RGB) -> Image.Image:
    """A large picture that fades from one colour to another."""
    ramp = np.linspace(0, 1, BIG)[:, None, None]
    colours = np.array(top) * (1 - ramp) + np.array(bottom) * ramp
    return Image.fromarray(np.broadcast_to(colours.round().astype(np.uint8), (BIG, BIG, 3)).copy())


@lru_cache(maxsize=8)
def _halo(radius: int, strength: int) -> Image.Image:
    """A soft round glow as an L mask."""
    mask = Image.new("L", (6 * radius, 6 * radius), 0)
    ImageDraw.Draw(mask).ellipse((1.7 * radius, 1.7 * radius, 4.3 * radius, 4.3 * radius), fill=strength)
    return mask.filter(ImageFilter.GaussianBlur(0.55 * radius))


def _disc(canvas: Image.Image, x: float, y: float, radius: int, fill: RGB, glow: int) -> None:
    """A sun or a moon with its halo; lengths in picture pixels."""
    x, y, radius = round(x * OVERSAMPLE), round(y * OVERSAMPLE), radius * OVERSAMPLE
    canvas.paste(fill, (x - 3 * radius, y - 3 * radius), _halo(radius, glow))
    ImageDraw.Draw(canvas).ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: RGB) -> None:
    x, y, radius = x * OVERSAMPLE, y * OVERSAMPLE, radius * OVERSAMPLE
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def ridge(rng: Random, level: float, swing: float, waves: float) -> Outline:
    """A gentle wavy horizon as a closed outline down to the lower edge, in oversampled pixels."""
    phase, points = rng.random() * 2 * math.pi, []
    for step in range(33):
        x = step / 32
        y = level + swing * math.sin(2 * math.pi * waves * x + phase)
        points.append((x * BIG, y * OVERSAMPLE))
    return points + [(BIG, BIG), (0, BIG)]


def _ground(canvas: Image.Image, outline: Outline, near: Image.Image) -> None:
    """Lay the picture `near` below the outline."""
    mask = Image.new("1", canvas.size, 0)
    ImageDraw.Draw(mask).polygon(outline, fill=1)
    canvas.paste(near, mask=mask)


def _cloud(draw: ImageDraw.ImageDraw, rng: Random, x: float, y: float, fill: RGB) -> None:
    """Three puffs on a flat base."""
    width = 9 + 5 * rng.random()
    for dx, dy, radius in ((-0.6, 0, 0.42), (0.05, -0.25, 0.58), (0.65, 0.02, 0.4)):
        _dot(draw, x + dx * width, y + dy * width, radius * width, fill)
    left, right, base = (
        (x - 0.7 * width) * OVERSAMPLE,
        (x + 0.75 * width) * OVERSAMPLE,
        (y + 0.42 * width) * OVERSAMPLE,
    )
    draw.rounded_rectangle((left, y * OVERSAMPLE, right, base), radius=0.2 * width * OVERSAMPLE, fill=fill)


def day(rng: Random) -> Backdrop:
    """Blue sky, sun, clouds, hills and a meadow."""
    canvas = gradient((134, 204, 246), (236, 248, 252)).copy()
    side = rng.random() < 0.5
    _disc(
        canvas,
        16 + 10 * rng.random() if side else 112 - 10 * rng.random(),
        15 + 5 * rng.random(),
        9,
        (255, 222, 92),
        150,
    )
    draw = ImageDraw.Draw(canvas)
    for k in range(2):
        x = 52 + 60 * (k if side else -k * 0.9) * rng.random() + 14 * rng.random()
        _cloud(draw, rng, x, 14 + 18 * k + 6 * rng.random(), (252, 254, 255))
    far = ridge(rng, 82 + 4 * rng.random(), 5, 1.3)
    draw.polygon(far, fill=(176, 220, 140))
    ground = ridge(rng, 91 + 3 * rng.random(), 2, 0.7)
    _ground(canvas, ground, gradient((150, 214, 96), (128, 192, 84)))
    draw = ImageDraw.Draw(canvas)
    for _ in range(5):
        x, y = 6 + 116 * rng.random(), 104 + 20 * rng.random()
        for lean in (-2.4, 0, 2.4):
            root, tip = (x * OVERSAMPLE, y * OVERSAMPLE), ((x + lean) * OVERSAMPLE, (y - 4) * OVERSAMPLE)
            draw.line((root, tip), fill=(110, 178, 74), width=6)
    return Backdrop(canvas, far, ground)


def night(rng: Random) -> Backdrop:
    """Dark sky, moon, stars and a dim meadow."""
    canvas = gradient((18, 22, 66), (74, 78, 148)).copy()
    draw = ImageDraw.Draw(canvas)
    for _ in range(14):
        x, y = 4 + 120 * rng.random(), 4 + 74 * rng.random()
        _dot(draw, x, y, 0.8 + 0.6 * rng.random(), (255, 244, 200))
    x, y = (18 + 12 * rng.random() if rng.random() < 0.5 else 110 - 12 * rng.random()), 16 + 5 * rng.random()
    _disc(canvas, x, y, 9, (255, 246, 206), 110)
    draw = ImageDraw.Draw(canvas)
    for dx, dy, radius in ((-3, -2, 2.0), (3, 3, 1.6), (3, -4, 1.2)):
        _dot(draw, x + dx, y + dy, radius, (238, 222, 170))
    far = ridge(rng, 83 + 4 * rng.random(), 5, 1.3)
    draw.polygon(far, fill=(38, 60, 92))
    ground = ridge(rng, 91 + 3 * rng.random(), 2, 0.7)
    _ground(canvas, ground, gradient((34, 66, 84), (30, 72, 72)))
    return Backdrop(canvas, far, ground)


def beach(rng: Random) -> Backdrop:
    """Sky, sun, a strip of sea with waves, and sand."""
    canvas = gradient((150, 214, 250), (244, 244, 232)).copy()
    x = 18 + 12 * rng.random() if rng.random() < 0.5 else 110 - 12 * rng.random()
    _disc(canvas, x, 17 + 6 * rng.random(), 9, (255, 214, 96), 150)
    draw = ImageDraw.Draw(canvas)
    _cloud(draw, rng, 40 + 50 * rng.random(), 26 + 8 * rng.random(), (254, 254, 252))
    level = 64 + 3 * rng.random()
    far = [(0, level * OVERSAMPLE), (BIG, level * OVERSAMPLE), (BIG, BIG), (0, BIG)]
    draw.polygon(far, fill=(60, 170, 204))
    draw.rectangle((0, level * OVERSAMPLE, BIG, (level + 6) * OVERSAMPLE), fill=(42, 146, 190))
    for k in range(5):
        x, y = 10 + 100 * rng.random(), level + 9 + 3 * k * 0.9
        span = (x * OVERSAMPLE, y * OVERSAMPLE, (x + 10) * OVERSAMPLE, (y + 1.6) * OVERSAMPLE)
        draw.rounded_rectangle(span, radius=3, fill=(168, 226, 236))
    ground = ridge(rng, 88 + 3 * rng.random(), 2.2, 1.2)
    foam = [(x, y - 3 * OVERSAMPLE) for x, y in ground[:-2]] + ground[-2:]
    draw.polygon(foam, fill=(238, 250, 250))
    _ground(canvas, ground, gradient((248, 222, 168), (236, 206, 150)))
    return Backdrop(canvas, far, ground)


def snow(rng: Random) -> Backdrop:
    """A pale sky, white hills and falling flakes."""
    canvas = gradient((142, 172, 212), (204, 220, 240)).copy()
    draw = ImageDraw.Draw(canvas)
    far = ridge(rng, 80 + 4 * rng.random(), 5, 1.3)
    draw.polygon(far, fill=(190, 210, 236))
    ground = ridge(rng, 91 + 3 * rng.random(), 2, 0.7)
    _ground(canvas, ground, gradient((250, 252, 255), (228, 238, 250)))
    draw = ImageDraw.Draw(canvas)
    for k in range(18):
        x, y = 128 * ((k % 6) + rng.random()) / 6, 84 * ((k // 6) + rng.random()) / 3
        _dot(draw, x, y, 1.2 + 0.8 * rng.random(), (255, 255, 255))
    return Backdrop(canvas, far, ground)


PAINTERS = {"day": day, "night": night, "beach": beach, "snow": snow}


def backdrop(name: str, seed: int) -> Backdrop:
    """The background of a scene; the same seed gives the same clouds and stars."""
    return PAINTERS[name](Random(seed))
