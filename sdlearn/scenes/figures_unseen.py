"""Things that training never sees: later chapters teach them to the model."""

from __future__ import annotations

import math

from .shapes import Figure, Layer, arc, blob, both, box, ellipse, stroke


def flower() -> Figure:
    """Six petals around a golden middle, on a stem with two leaves."""
    stem = stroke("leaf", 0.07, (0, 0), (0, 0.5))
    leaves = both(blob("leaf", (0, 0.08), (0.16, 0.1), (0.3, 0.26), (0.14, 0.26)))
    ring = [math.radians(90 + 60 * k) for k in range(6)]
    petals = tuple(
        ellipse("body", 0.22 * math.cos(a), 0.66 + 0.22 * math.sin(a), 0.16, 0.13, math.degrees(a))
        for a in ring
    )
    middle = (ellipse("gold", 0, 0.66, 0.13),)
    return Figure((Layer((stem,) + leaves), Layer(petals), Layer(middle)), perch=0.95)


def fish() -> Figure:
    """A round fish swimming to the right."""
    tail = blob("dark", (-0.26, 0.38), (-0.52, 0.62), (-0.46, 0.38), (-0.52, 0.12))
    fins = (
        blob("dark", (-0.12, 0.6), (-0.08, 0.8), (0.16, 0.78), (0.2, 0.6)),
        blob("dark", (-0.05, 0.14), (-0.02, 0.0), (0.14, 0.02), (0.12, 0.16)),
    )
    trunk = blob(
        "body",
        (-0.34, 0.38),
        (-0.14, 0.62),
        (0.2, 0.68),
        (0.45, 0.52),
        (0.5, 0.38),
        (0.42, 0.22),
        (0.2, 0.1),
        (-0.14, 0.14),
    )
    scales = tuple(
        arc("light", x, y, 0.08, 0.08, 100, 260, 0.035)
        for x, y in ((0.02, 0.5), (0.02, 0.27), (-0.12, 0.385))
    )
    face = (
        ellipse("ink", 0.3, 0.46, 0.06, 0.07),
        ellipse("shine", 0.32, 0.485, 0.024),
        arc("ink", 0.4, 0.3, 0.07, 0.05, 180, 300, 0.03),
    )
    return Figure((Layer((tail,) + fins), Layer((trunk,)), Layer(scales + face, False)), perch=0.7)


def robot() -> Figure:
    """A friendly box with an antenna."""
    legs = both(box("steel", 0.08, 0, 0.2, 0.16, 0.03))
    arms = both(box("steel", 0.28, 0.22, 0.4, 0.48, 0.05))
    antenna = (stroke("steel", 0.05, (0, 0.86), (0, 0.95)), ellipse("gold", 0, 0.97, 0.055))
    trunk = box("body", -0.28, 0.12, 0.28, 0.52, 0.06)
    head = box("body", -0.33, 0.5, 0.33, 0.88, 0.1)
    screen = (
        (box("gate", -0.24, 0.58, 0.24, 0.8, 0.07),)
        + both(ellipse("gold", 0.11, 0.7, 0.05))
        + (arc("gold", 0, 0.66, 0.06, 0.035, 200, 340, 0.025),)
    )
    panel = (
        box("light", -0.16, 0.22, 0.16, 0.42, 0.04),
        ellipse("dark", -0.06, 0.32, 0.045),
        ellipse("gold", 0.07, 0.32, 0.045),
    )
    return Figure(
        (Layer(legs + arms + antenna), Layer((trunk,)), Layer((head,)), Layer(screen + panel, False)),
        perch=0.9,
    )


def teapot() -> Figure:
    """A round pot with a spout and a handle."""
    handle = arc("dark", -0.3, 0.4, 0.2, 0.2, 60, 300, 0.09)
    spout = blob(
        "body",
        (0.26, 0.2),
        (0.42, 0.34),
        (0.46, 0.56),
        (0.56, 0.6),
        (0.5, 0.64),
        (0.38, 0.62),
        (0.34, 0.5),
        (0.22, 0.46),
    )
    pot = blob(
        "body",
        (-0.2, 0.01),
        (0.2, 0.01),
        (0.36, 0.2),
        (0.34, 0.48),
        (0.16, 0.64),
        (-0.16, 0.64),
        (-0.34, 0.48),
        (-0.36, 0.2),
    )
    lid = (
        blob("dark", (-0.2, 0.63), (0, 0.6), (0.2, 0.63), (0.1, 0.74), (-0.1, 0.74)),
        ellipse("dark", 0, 0.79, 0.065),
    )
    band = (
        stroke("pale", 0.07, (-0.35, 0.24), (-0.15, 0.2), (0.15, 0.2), (0.35, 0.24)),
        ellipse("light", -0.16, 0.5, 0.07, 0.05, 35),
    )
    return Figure((Layer((handle, spout)), Layer((pot,)), Layer(lid), Layer(band, False)), perch=0.8)


UNSEEN_FIGURES = {function.__name__: function for function in (flower, fish, robot, teapot)}
