"""What the renderer knows about a scene, as maps of the picture's size: labels, depth and outlines."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from .backgrounds import BIG, Backdrop, backdrop
from .draw import painting_order, place
from .sprites import sprite, sprite_lines
from .world import KINDS, SIZE, UNSEEN_KINDS, Scene, Thing

# The number of each label in a segmentation. Sun, moon and clouds belong to the sky.
LABELS: dict[str, int] = {
    name: number for number, name in enumerate(("sky", "hills", "sea", "ground", *KINDS, *UNSEEN_KINDS))
}


def render_segmentation(scene: Scene) -> np.ndarray:
    """Labels as uint8 (128, 128): what each pixel mostly shows, numbered as in `LABELS`."""
    drop = backdrop(scene.background, scene.seed)
    labels = np.full((SIZE, SIZE), LABELS["sky"], dtype=np.uint8)
    labels[_covered(drop.far)] = LABELS["sea" if scene.background == "beach" else "hills"]
    labels[_covered(drop.ground)] = LABELS["ground"]
    for thing in painting_order(scene):
        labels[thing_mask(thing)] = LABELS[thing.kind]
    return labels


def render_depth(scene: Scene) -> np.ndarray:
    """Distance as float32 (128, 128): the ground from 0 (near) to 0.8 (far), hills and sea 0.9, sky 1."""
    drop = backdrop(scene.background, scene.seed)
    horizon = _horizon(drop)
    depth = np.ones((SIZE, SIZE), dtype=np.float32)
    depth[_covered(drop.far)] = 0.9
    rows = np.arange(SIZE, dtype=np.float32)[:, None] * np.ones((1, SIZE), dtype=np.float32)
    ground = _covered(drop.ground)
    depth[ground] = np.clip(0.8 * (SIZE - 1 - rows) / (SIZE - 1 - horizon), 0.0, 0.8)[ground]
    for thing in painting_order(
        scene
    ):  # a thing is as far away as the ground it, or what carries it, stands on
        base = scene.things[1] if scene.relation == "on" else thing
        depth[thing_mask(thing)] = 0.8 * (SIZE - 1 - base.feet) / (SIZE - 1 - horizon)
    return depth


def render_outline(scene: Scene) -> np.ndarray:
    """White lines on black as uint8 (128, 128): the edges of things, of their parts and of the ground."""
    drop = backdrop(scene.background, scene.seed)
    canvas = Image.new("L", (BIG, BIG), 0)
    draw = ImageDraw.Draw(canvas)
    draw.line(drop.far[:-2], fill=255, width=5)
    draw.polygon(drop.ground, fill=0)
    draw.line(drop.ground[:-2], fill=255, width=5)
    lines = canvas.reduce(BIG // SIZE)
    for thing in painting_order(scene):
        figure_lines = sprite_lines(thing.kind, thing.scale)
        body = ImageChops.lighter(sprite(thing.kind, thing.colour, thing.scale).getchannel("A"), figure_lines)
        lines.paste(figure_lines, place(thing), body)
    return np.asarray(lines).copy()


def thing_mask(thing: Thing) -> np.ndarray:
    """Where the thing, were nothing before it, covers at least half a pixel: bool (128, 128)."""
    canvas = Image.new("L", (SIZE, SIZE), 0)
    canvas.paste(sprite(thing.kind, thing.colour, thing.scale).getchannel("A"), place(thing))
    return np.asarray(canvas) >= 128


def _covered(outline: list[tuple[float, float]]) -> np.ndarray:
    """Where the outline, in oversampled pixels, covers at least half a pixel: bool (128, 128)."""
    canvas = Image.new("L", (BIG, BIG), 0)
    ImageDraw.Draw(canvas).polygon(outline, fill=255)
    return np.asarray(canvas.reduce(BIG // SIZE)) >= 128


def _horizon(drop: Backdrop) -> float:
    """The highest row of the ground."""
    return min(y for _, y in drop.ground) * SIZE / BIG
