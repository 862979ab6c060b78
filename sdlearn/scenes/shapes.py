"""What each thing looks like: flat shapes in a unit box, x to the right from the middle, y up from the feet.

A figure is a tuple of layers, painted in order; the shapes of one layer share one outline. Tones are words
("body", "dark", "ink" ...) that `palette.py` turns into colours, so one figure serves all colours and styles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """One filled outline or, when `width` is set, one stroke of that width, in units of the scale."""

    points: tuple[Point, ...]
    tone: str
    width: float = 0.0


@dataclass(frozen=True)
class Layer:
    """Shapes painted together; `outlined` draws one darker line around their union."""

    shapes: tuple[Shape, ...]
    outlined: bool = True


@dataclass(frozen=True)
class Figure:
    """The layers of a thing and `perch`, the height at which another thing stands on it."""

    layers: tuple[Layer, ...]
    perch: float

    @property
    def half_width(self) -> float:
        """Largest distance of a point from the middle line."""
        return max(abs(x) for layer in self.layers for shape in layer.shapes for x, _ in shape.points)

    @property
    def height(self) -> float:
        """Height of the highest point above the feet."""
        return max(y for layer in self.layers for shape in layer.shapes for _, y in shape.points)


def polygon(tone: str, *points: Point) -> Shape:
    """A shape with straight sides."""
    return Shape(points, tone)


def ellipse(tone: str, x: float, y: float, rx: float, ry: float | None = None, tilt: float = 0.0) -> Shape:
    """An ellipse around (x, y), turned by `tilt` degrees against the clock."""
    ry = rx if ry is None else ry
    c, s = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    ring = [(rx * math.cos(a), ry * math.sin(a)) for a in (2 * math.pi * k / 40 for k in range(40))]
    return Shape(tuple((x + c * u - s * v, y + s * u + c * v) for u, v in ring), tone)


def box(tone: str, left: float, bottom: float, right: float, top: float, radius: float = 0.0) -> Shape:
    """A rectangle, with rounded corners when `radius` is above 0."""
    if radius == 0.0:
        return polygon(tone, (left, bottom), (right, bottom), (right, top), (left, top))
    corners = ((right - radius, top - radius, 0), (left + radius, top - radius, 90))
    corners += ((left + radius, bottom + radius, 180), (right - radius, bottom + radius, 270))
    points = []
    for x, y, start in corners:
        for step in range(7):
            angle = math.radians(start + 15 * step)
            points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return Shape(tuple(points), tone)


def blob(tone: str, *points: Point, steps: int = 8) -> Shape:
    """A smooth closed curve through the points (Catmull-Rom spline)."""
    n, curve = len(points), []
    for i in range(n):
        p0, p1, p2, p3 = (points[(i + k - 1) % n] for k in range(4))
        for step in range(steps):
            t = step / steps
            curve.append(tuple(_catmull_rom(p0[d], p1[d], p2[d], p3[d], t) for d in (0, 1)))
    return Shape(tuple(curve), tone)


def _catmull_rom(a: float, b: float, c: float, d: float, t: float) -> float:
    """Uniform Catmull-Rom interpolation between b (t = 0) and c (t = 1)."""
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3)


def arc(tone: str, x: float, y: float, rx: float, ry: float, start: float, end: float, width: float) -> Shape:
    """A stroke along an ellipse from angle `start` to `end` in degrees (0 points right, 90 up)."""
    angles = [math.radians(start + (end - start) * k / 12) for k in range(13)]
    return Shape(tuple((x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles), tone, width)


def stroke(tone: str, width: float, *points: Point) -> Shape:
    """A line through the points."""
    return Shape(points, tone, width)


def mirrored(shape: Shape) -> Shape:
    """The same shape on the other side of the middle line."""
    return Shape(tuple((-x, y) for x, y in shape.points), shape.tone, shape.width)


def both(*shapes: Shape) -> tuple[Shape, ...]:
    """The shapes and their mirror images."""
    return shapes + tuple(mirrored(shape) for shape in shapes)


def eyes(x: float, y: float, radius: float) -> tuple[Shape, ...]:
    """A pair of round dark eyes with a glint."""
    glint = ellipse("shine", 0, 0, 0.38 * radius)
    glints = tuple(
        Shape(
            tuple((gx + side * x + 0.3 * radius, gy + y + 0.4 * radius) for gx, gy in glint.points), "shine"
        )
        for side in (-1, 1)
    )
    return both(ellipse("ink", x, y, radius, 1.25 * radius)) + glints


@cache
def figure(kind: str) -> Figure:
    """The figure of a kind of thing. Raises ValueError for a kind that nobody has drawn."""
    from .figures import FIGURES  # these modules are built from the helpers above
    from .figures_unseen import UNSEEN_FIGURES

    drawn = {**FIGURES, **UNSEEN_FIGURES}
    if kind not in drawn:
        raise ValueError(f"unknown kind of thing {kind!r}: choose one of {', '.join(drawn)}")
    return drawn[kind]()
