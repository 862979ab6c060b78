"""The things that training knows, drawn with the helpers of `shapes.py`."""

from __future__ import annotations

import math

from .shapes import Figure, Layer, Shape, arc, blob, both, box, ellipse, eyes, polygon, stroke


def cat() -> Figure:
    """Sitting, seen from the front: pointed ears, whiskers, a curled tail."""
    tail = blob("body", (0.16, 0.02), (0.38, 0.02), (0.46, 0.16), (0.44, 0.34), (0.36, 0.38), (0.33, 0.31),
                (0.37, 0.22), (0.32, 0.14), (0.16, 0.16))  # fmt: skip
    torso = blob("body", (0, 0), (0.26, 0.01), (0.31, 0.16), (0.22, 0.42), (0, 0.52), (-0.22, 0.42),
                 (-0.31, 0.16), (-0.26, 0.01))  # fmt: skip
    ear = polygon("body", (0.33, 0.98), (0.36, 0.66), (0.06, 0.83))
    inner_ear = polygon("blush", (0.295, 0.90), (0.30, 0.74), (0.14, 0.82))
    head = ellipse("body", 0, 0.64, 0.36, 0.27)
    stripes = (stroke("dark", 0.05, (0, 0.90), (0, 0.79)),) + both(
        stroke("dark", 0.045, (0.1, 0.88), (0.09, 0.80))
    )
    whiskers = both(
        stroke("ink", 0.02, (0.22, 0.57), (0.42, 0.60)), stroke("ink", 0.02, (0.22, 0.53), (0.41, 0.51))
    )
    mouth = both(arc("ink", 0.05, 0.53, 0.05, 0.05, 180, 340, 0.025))
    face = eyes(0.16, 0.66, 0.06) + (polygon("nose", (-0.045, 0.575), (0.045, 0.575), (0, 0.53)),) + mouth
    chest = (ellipse("light", 0, 0.22, 0.14, 0.16),)
    paws = both(ellipse("light", 0.12, 0.05, 0.1, 0.06))
    return Figure(
        (Layer((tail,)), Layer((torso,)), Layer(chest, False), Layer(paws), Layer((head,) + both(ear)),
         Layer(both(inner_ear) + stripes + whiskers + face, False)),
        perch=0.9,
    )  # fmt: skip


def dog() -> Figure:
    """Sitting, seen from the front: long hanging ears, a big muzzle, a tongue."""
    tail = blob("body", (0.2, 0.08), (0.4, 0.18), (0.47, 0.36), (0.41, 0.39), (0.33, 0.27), (0.18, 0.2))
    torso = blob("body", (0, 0), (0.27, 0.01), (0.31, 0.16), (0.23, 0.42), (0, 0.52), (-0.23, 0.42),
                 (-0.31, 0.16), (-0.27, 0.01))  # fmt: skip
    head = blob("body", (0, 0.97), (0.25, 0.89), (0.31, 0.66), (0.22, 0.45), (0, 0.38), (-0.22, 0.45),
                (-0.31, 0.66), (-0.25, 0.89))  # fmt: skip
    ear = blob(
        "deep", (0.2, 0.93), (0.33, 0.9), (0.44, 0.68), (0.44, 0.46), (0.36, 0.38), (0.29, 0.47), (0.26, 0.7)
    )
    muzzle = (ellipse("light", 0, 0.535, 0.18, 0.14),)
    tongue = blob("nose", (-0.05, 0.49), (0.05, 0.49), (0.045, 0.4), (0, 0.375), (-0.045, 0.4))
    face = (ellipse("dark", -0.145, 0.74, 0.11, 0.12),) + muzzle + (tongue,) + eyes(0.14, 0.73, 0.055)
    face += (ellipse("ink", 0, 0.60, 0.075, 0.055),) + both(
        arc("ink", 0.06, 0.52, 0.06, 0.04, 180, 330, 0.025)
    )
    chest = (ellipse("light", 0, 0.2, 0.14, 0.16),)
    paws = both(ellipse("light", 0.13, 0.055, 0.115, 0.065))
    return Figure(
        (Layer((tail,)), Layer((torso,)), Layer(chest, False), Layer(paws), Layer((head,)),
         Layer(face, False), Layer(both(ear))),
        perch=0.95,
    )  # fmt: skip


def castle() -> Figure:
    """A keep with battlements between two round towers with pointed roofs."""
    tower = box("body", 0.27, 0, 0.49, 0.56, 0.01)
    roof = polygon("deep", (0.23, 0.54), (0.53, 0.54), (0.38, 0.9))
    keep = box("body", -0.27, 0, 0.27, 0.74)
    teeth = tuple(box("body", x - 0.06, 0.72, x + 0.06, 0.86) for x in (-0.24, 0.0, 0.24))
    cornice = box("dark", -0.3, 0.66, 0.3, 0.735, 0.01)
    gate = (box("gate", -0.12, 0, 0.12, 0.22), ellipse("gate", 0, 0.22, 0.12, 0.12))
    windows = both(box("gate", 0.34, 0.26, 0.42, 0.4, 0.04)) + both(box("gate", 0.1, 0.44, 0.17, 0.57, 0.035))
    bricks = both(
        stroke("dark", 0.03, (0.17, 0.36), (0.25, 0.36)), stroke("dark", 0.03, (0.16, 0.12), (0.23, 0.12))
    )
    return Figure(
        (Layer(both(tower)), Layer(both(roof)), Layer((keep,) + teeth + (cornice,)),
         Layer(gate + windows + bricks, False)),
        perch=0.86,
    )  # fmt: skip


def house() -> Figure:
    """A wall with a door and a window under a flat-topped roof with a chimney."""
    wall = box("body", -0.4, 0, 0.4, 0.52, 0.01)
    roof = polygon("deep", (-0.52, 0.48), (0.52, 0.48), (0.24, 0.88), (-0.24, 0.88))
    chimney = box("body", 0.2, 0.6, 0.36, 0.94, 0.01)
    door = (box("wood", -0.28, 0, -0.06, 0.34, 0.08), ellipse("gold", -0.11, 0.16, 0.025))
    frame = box("shine", 0.06, 0.14, 0.32, 0.38, 0.03)
    panes = tuple(box("glass", x, y, x + 0.09, y + 0.08, 0.01) for x in (0.09, 0.2) for y in (0.165, 0.27))
    tiles = (
        stroke("dark", 0.03, (-0.36, 0.62), (0.36, 0.62)),
        stroke("dark", 0.03, (-0.27, 0.75), (0.27, 0.75)),
    )
    return Figure(
        (Layer((chimney,)), Layer((wall,)), Layer((roof,)), Layer(door + (frame,) + panes + tiles, False)),
        perch=0.88,
    )


def tree() -> Figure:
    """A round cloud of leaves on a trunk."""
    trunk = blob(
        "wood", (-0.13, 0), (0, 0.01), (0.13, 0), (0.08, 0.12), (0.075, 0.4), (-0.075, 0.4), (-0.08, 0.12)
    )
    puffs = (
        (0, 0.74, 0.25),
        (0.23, 0.62, 0.22),
        (-0.23, 0.62, 0.22),
        (0.16, 0.45, 0.19),
        (-0.16, 0.45, 0.19),
    )
    crown = tuple(ellipse("body", *puff) for puff in puffs) + (ellipse("body", 0, 0.52, 0.26),)
    glow = (ellipse("light", -0.1, 0.79, 0.12, 0.08, 20), ellipse("light", -0.3, 0.66, 0.08, 0.06, 20))
    shade = (
        arc("dark", 0.14, 0.5, 0.16, 0.12, 200, 330, 0.05),
        arc("dark", 0.24, 0.68, 0.13, 0.1, 230, 340, 0.04),
    )
    return Figure((Layer((trunk,)), Layer(crown), Layer(glow + shade, False)), perch=0.95)


def star() -> Figure:
    """Five rounded points and a sleepy smile."""
    points = []
    for k in range(10):
        radius, angle = (0.54 if k % 2 == 0 else 0.27), math.radians(90 + 36 * k)
        points.append((radius * math.cos(angle), 0.44 + radius * math.sin(angle)))
    tips = tuple(ellipse("body", 0.95 * (x), 0.44 + 0.95 * (y - 0.44), 0.045) for x, y in points[::2])
    shine = (ellipse("light", -0.1, 0.64, 0.1, 0.06, 55), ellipse("light", -0.28, 0.555, 0.08, 0.035, 0))
    lids = both(arc("ink", 0.12, 0.46, 0.055, 0.05, 190, 350, 0.035))
    face = (
        lids
        + (arc("ink", 0, 0.36, 0.08, 0.07, 200, 340, 0.035),)
        + both(ellipse("blush", 0.21, 0.37, 0.055, 0.04))
    )
    return Figure((Layer((polygon("body", *points),) + tips), Layer(shine + face, False)), perch=0.92)


def heart() -> Figure:
    """The classical curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t."""
    points = []
    for k in range(60):
        t = 2 * math.pi * k / 60
        x, y = (
            16 * math.sin(t) ** 3,
            13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t),
        )
        points.append((x / 31, (y + 17) / 31))
    shine = (ellipse("light", -0.27, 0.74, 0.12, 0.08, 40), ellipse("light", -0.38, 0.58, 0.035, 0.05, 10))
    fold = (arc("dark", 0.12, 0.62, 0.3, 0.3, 300, 372, 0.05),)
    return Figure((Layer((Shape(tuple(points), "body"),)), Layer(shine + fold, False)), perch=0.8)


def ball() -> Figure:
    """A beach ball: a pale star of two bands around a coloured ball."""
    disc = ellipse("body", 0, 0.45, 0.45)
    band = blob("pale", (-0.42, 0.61), (-0.1, 0.67), (0.2, 0.63), (0.43, 0.5), (0.45, 0.42), (0.42, 0.31),
                (0.15, 0.41), (-0.15, 0.45), (-0.44, 0.38), (-0.455, 0.5))  # fmt: skip
    seams = (
        arc("dark", 0.18, 0.45, 0.5, 0.62, 135, 225, 0.035),
        arc("dark", -0.1, 0.43, 0.42, 0.5, -52, 52, 0.035),
    )
    shine = (ellipse("shine", -0.17, 0.76, 0.09, 0.055, 30),)
    return Figure((Layer((disc,)), Layer((band,) + seams + shine, False)), perch=0.9)


def bird() -> Figure:
    """Seen from the side: a round body, a folded wing, a beak, two legs."""
    legs = (
        stroke("gold", 0.05, (-0.06, 0.24), (-0.06, 0.02), (0.02, 0.02)),
        stroke("gold", 0.05, (0.1, 0.24), (0.1, 0.02), (0.18, 0.02)),
    )
    tail = polygon("deep", (-0.2, 0.46), (-0.54, 0.62), (-0.5, 0.42), (-0.3, 0.26))
    trunk = blob("body", (-0.36, 0.42), (-0.24, 0.22), (0.05, 0.14), (0.28, 0.26), (0.36, 0.5), (0.42, 0.74),
                 (0.3, 0.93), (0.1, 0.92), (0, 0.74), (-0.14, 0.6))  # fmt: skip
    beak = polygon("gold", (0.37, 0.84), (0.37, 0.66), (0.57, 0.73))
    breast = ellipse("light", 0.2, 0.36, 0.13, 0.17, 15)
    wing = blob("dark", (0.1, 0.56), (-0.1, 0.57), (-0.38, 0.42), (-0.3, 0.33), (-0.08, 0.28), (0.1, 0.38))
    crest = blob("body", (0.12, 0.88), (0.04, 1.0), (0.16, 0.98), (0.24, 1.03), (0.28, 0.9))
    eye = (ellipse("ink", 0.25, 0.77, 0.06, 0.07), ellipse("shine", 0.27, 0.795, 0.024))
    cheek = (ellipse("blush", 0.2, 0.66, 0.055, 0.04),)
    return Figure(
        (Layer(legs), Layer((tail, beak)), Layer((trunk, crest)), Layer((breast,), False), Layer((wing,)),
         Layer(eye + cheek, False)),
        perch=0.92,
    )  # fmt: skip


def car() -> Figure:
    """A rounded little car, seen from the side, driving to the right."""
    chassis = blob("body", (-0.53, 0.2), (-0.5, 0.36), (-0.38, 0.44), (0.3, 0.43), (0.48, 0.38), (0.55, 0.22),
                   (0.5, 0.12), (0, 0.1), (-0.5, 0.12))  # fmt: skip
    cabin = blob(
        "body", (-0.36, 0.38), (-0.32, 0.6), (-0.16, 0.73), (0.1, 0.73), (0.24, 0.6), (0.34, 0.38), (0, 0.34)
    )
    front = polygon("glass", (0.02, 0.45), (0.02, 0.65), (0.1, 0.65), (0.18, 0.57), (0.24, 0.45))
    back = polygon("glass", (-0.05, 0.45), (-0.05, 0.65), (-0.15, 0.65), (-0.24, 0.57), (-0.28, 0.45))
    trim = (
        stroke("dark", 0.04, (-0.5, 0.26), (0.5, 0.26)),
        stroke("shine", 0.03, (-0.17, 0.48), (-0.1, 0.62)),
    )
    lamp = (ellipse("gold", 0.48, 0.3, 0.05, 0.055),)
    tyres = tuple(ellipse("ink", x, 0.14, 0.145) for x in (-0.29, 0.29))
    hubs = tuple(ellipse("steel", x, 0.14, 0.07) for x in (-0.29, 0.29))
    return Figure(
        (
            Layer((chassis, cabin)),
            Layer((front, back) + trim + lamp, False),
            Layer(tyres),
            Layer(hubs, False),
        ),
        perch=0.72,
    )


def mushroom() -> Figure:
    """A spotted cap on a pale stem with a small face."""
    stem = blob(
        "cream", (-0.2, 0.02), (0, 0), (0.2, 0.02), (0.22, 0.16), (0.16, 0.46), (-0.16, 0.46), (-0.22, 0.16)
    )
    cap = blob("body", (-0.5, 0.44), (-0.46, 0.66), (-0.28, 0.88), (0, 0.96), (0.28, 0.88), (0.46, 0.66),
               (0.5, 0.44), (0.36, 0.37), (0, 0.35), (-0.36, 0.37))  # fmt: skip
    spots = (ellipse("spot", 0, 0.75, 0.13, 0.11), ellipse("spot", -0.3, 0.58, 0.09, 0.1, -15),
             ellipse("spot", 0.3, 0.58, 0.09, 0.1, 15))  # fmt: skip
    face = eyes(0.085, 0.23, 0.035) + (arc("ink", 0, 0.16, 0.045, 0.04, 200, 340, 0.025),)
    face += both(ellipse("blush", 0.15, 0.17, 0.035, 0.025))
    return Figure((Layer((stem,)), Layer(face, False), Layer((cap,)), Layer(spots, False)), perch=0.94)


def boat() -> Figure:
    """A sailing boat: a hull, a mast and two sails."""
    mast = stroke("wood", 0.06, (0, 0.2), (0, 1.0))
    main = blob("body", (0.06, 0.95), (0.06, 0.9), (0.06, 0.6), (0.06, 0.36), (0.1, 0.33), (0.3, 0.34),
                (0.43, 0.36), (0.36, 0.56), (0.2, 0.8))  # fmt: skip
    jib = blob(
        "light", (-0.06, 0.86), (-0.06, 0.6), (-0.06, 0.38), (-0.1, 0.35), (-0.36, 0.36), (-0.26, 0.58)
    )
    hull = blob(
        "body",
        (-0.5, 0.28),
        (-0.4, 0.1),
        (-0.2, 0.0),
        (0.22, 0.0),
        (0.42, 0.1),
        (0.53, 0.29),
        (0.2, 0.26),
        (-0.2, 0.26),
    )
    stripe = stroke("pale", 0.06, (-0.4, 0.17), (-0.15, 0.15), (0.15, 0.15), (0.42, 0.175))
    folds = (stroke("dark", 0.03, (0.1, 0.5), (0.34, 0.5)), stroke("dark", 0.03, (0.1, 0.66), (0.26, 0.66)))
    return Figure(
        (Layer((mast,)), Layer((main, jib)), Layer(folds, False), Layer((hull,)), Layer((stripe,), False)),
        perch=0.93,
    )


FIGURES = {
    function.__name__: function
    for function in (cat, dog, castle, house, tree, star, heart, ball, bird, car, mushroom, boat)
}
