"""Draw a scene: 128x128 RGB, the same scene always gives the same pixels."""

from __future__ import annotations

from random import Random

from PIL import Image, ImageFilter

from .backgrounds import OVERSAMPLE, backdrop
from .palette import COLOURS, blend
from .sprites import shadow, sprite, sprite_box, sprite_lines
from .world import SIZE, Scene, Thing


def render(scene: Scene) -> Image.Image:
    """The picture of a scene in its style."""
    if scene.style == "chalk":
        return _chalk(scene)
    picture = _picture(scene)
    return _mosaic(picture) if scene.style == "mosaic" else picture


def painting_order(scene: Scene) -> tuple[Thing, ...]:
    """From back to front: a bottom thing before the one that stands on it."""
    return tuple(reversed(scene.things))


def place(thing: Thing) -> tuple[int, int]:
    """Upper left corner of the thing's sprite in the picture."""
    _, _, middle, feet = sprite_box(thing.scale)
    return thing.x - middle, thing.feet - feet


def _picture(scene: Scene) -> Image.Image:
    canvas = backdrop(scene.background, scene.seed).picture.reduce(OVERSAMPLE)
    for thing in painting_order(scene):
        if scene.relation != "on" or thing is scene.things[1]:
            soft = shadow(thing.scale)
            canvas.paste((30, 30, 50), (thing.x - soft.width // 2, thing.feet - soft.height // 2), soft)
        image = sprite(thing.kind, thing.colour, thing.scale)
        canvas.paste(image, place(thing), image)
    return canvas


def _chalk(scene: Scene) -> Image.Image:
    """Coloured chalk lines on a blackboard."""
    rng = Random(scene.seed)
    board = {"day": (44, 70, 62), "night": (34, 40, 60), "beach": (72, 64, 52), "snow": (70, 78, 88)}[
        scene.background
    ]
    canvas = Image.new("RGB", (SIZE, SIZE), board)
    for _ in range(3):  # smears of a sponge
        x, y = round(100 * rng.random()) - 10, round(100 * rng.random()) - 10
        smear = Image.new("L", (60, 24), 0)
        smear.paste(26, (10, 8, 50, 16))
        canvas.paste((220, 220, 220), (x, y), smear.filter(ImageFilter.GaussianBlur(5)))
    canvas.paste(blend(board, (230, 230, 220), 0.6), (0, 92, SIZE, 94))
    for thing in painting_order(scene):
        image = sprite(thing.kind, thing.colour, thing.scale)
        body, lines = image.getchannel("A"), sprite_lines(thing.kind, thing.scale)
        tint = COLOURS[thing.colour]
        canvas.paste(blend(board, tint, 0.22), place(thing), body)
        canvas.paste(blend(tint, (255, 255, 255), 0.3), place(thing), lines)
    return canvas


def _mosaic(picture: Image.Image) -> Image.Image:
    """Square tiles of 4 pixels with darker joints."""
    tiles = picture.reduce(4).resize((SIZE, SIZE), Image.Resampling.NEAREST)
    joints = Image.new("L", (SIZE, SIZE), 0)
    for k in range(0, SIZE, 4):
        joints.paste(60, (k, 0, k + 1, SIZE))
        joints.paste(60, (0, k, SIZE, k + 1))
    tiles.paste((40, 40, 50), mask=joints)
    return tiles
