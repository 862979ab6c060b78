"""The colours of the small world: eight body colours with their shades, fixed colours for small parts."""

from __future__ import annotations

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (216, 44, 44),
    "orange": (246, 138, 28),
    "yellow": (252, 212, 54),
    "green": (46, 152, 68),
    "blue": (48, 104, 220),
    "purple": (134, 64, 188),
    "pink": (250, 138, 188),
    "white": (248, 248, 246),
}

# What each colour turns towards in the shade: a deeper neighbour of its hue, never grey.
SHADE: dict[str, RGB] = {
    "red": (92, 6, 36),
    "orange": (150, 44, 8),
    "yellow": (186, 92, 6),
    "green": (6, 62, 54),
    "blue": (16, 22, 110),
    "purple": (50, 8, 96),
    "pink": (150, 22, 96),
    "white": (112, 124, 156),
}

FIXED: dict[str, RGB] = {
    "ink": (52, 40, 48),
    "gate": (70, 52, 60),
    "shine": (255, 255, 255),
    "cream": (250, 236, 208),
    "wood": (134, 88, 54),
    "gold": (250, 184, 60),
    "glass": (176, 222, 240),
    "steel": (188, 194, 204),
    "blush": (250, 156, 160),
    "nose": (232, 104, 124),
    "leaf": (92, 158, 72),
}


def blend(a: RGB, b: RGB, share: float) -> RGB:
    """The colour `share` of the way from a to b."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


def tones(colour: str) -> dict[str, RGB]:
    """Every tone that a figure of this body colour may use. Raises ValueError for an unknown colour."""
    if colour not in COLOURS:
        raise ValueError(f"unknown colour {colour!r}: choose one of {', '.join(COLOURS)}")
    body = COLOURS[colour]
    shadow, white = SHADE[colour], colour == "white"
    shades = {
        "body": body,
        "light": (255, 255, 255) if white else blend(body, (255, 255, 255), 0.38),
        "pale": (214, 220, 230) if white else blend(body, (255, 255, 255), 0.78),
        "spot": (206, 212, 224) if white else (255, 250, 242),
        "dark": blend(body, shadow, 0.32 if white else 0.26),
        "deep": blend(body, shadow, 0.42),
        "rim": blend(body, shadow, 0.85 if white else 0.72),
    }
    return {**FIXED, **shades}
