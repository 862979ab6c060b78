"""Sketches: plain shapes in plain colours on a plain background, for image to image to make something of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .palette import COLOURS
from .world import SIZE

SHAPES = ("disc", "block", "triangle")
HORIZON = 92  # the row where the ground begins, about as in the scenes
GROUNDS = {  # sky and ground
    "day": ((150, 205, 240), (120, 190, 90)),
    "night": ((35, 40, 90), (50, 70, 80)),
    "beach": ((150, 215, 240), (240, 220, 160)),
    "snow": ((190, 210, 230), (245, 248, 252)),
}


@dataclass(frozen=True)
class Stamp:
    """A plain shape of one colour: its middle is at (x, y), and it is ``size`` pixels wide and high."""

    shape: str
    colour: str
    x: int
    y: int
    size: int

    def __post_init__(self) -> None:
        for what, value, allowed in (("shape", self.shape, SHAPES), ("colour", self.colour, COLOURS)):
            if value not in allowed:
                raise ValueError(f"unknown {what} {value!r}: choose one of {', '.join(allowed)}")


def draw_sketch(stamps: Sequence[Stamp], background: str = "day") -> Image.Image:
    """A picture of 128x128 pixels: sky, ground, and the stamps, each in front of those before it."""
    if background not in GROUNDS:
        raise ValueError(f"unknown background {background!r}: choose one of {', '.join(GROUNDS)}")
    sky, ground = GROUNDS[background]
    sketch = Image.new("RGB", (SIZE, SIZE), sky)
    draw = ImageDraw.Draw(sketch)
    draw.rectangle((0, HORIZON, SIZE, SIZE), fill=ground)
    for stamp in stamps:
        half, colour = stamp.size / 2, COLOURS[stamp.colour]
        left, top, right, bottom = stamp.x - half, stamp.y - half, stamp.x + half, stamp.y + half
        if stamp.shape == "disc":
            draw.ellipse((left, top, right, bottom), fill=colour)
        elif stamp.shape == "block":
            draw.rectangle((left, top, right, bottom), fill=colour)
        else:
            draw.polygon([(left, bottom), (stamp.x, top), (right, bottom)], fill=colour)
    return sketch
