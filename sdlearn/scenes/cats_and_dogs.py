"""Small pictures of one cat or one dog, for models that work on pixels."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image

from .draw import render
from .world import COLOURS, Scene, Thing

ANIMALS = ("cat", "dog")


def cats_and_dogs(number: int, seed: int = 0, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """``number`` pictures, uint8 (n, size, size, 3), and which animal each shows, (n,): 0 a cat, 1 a dog.

    Both are equally likely, in any colour, large and about the middle, by day. The same seed gives the same pictures.
    """
    rng = random.Random(seed)
    drawn = [_one(rng) for _ in range(number)]
    pictures = [render(scene).resize((size, size), Image.Resampling.BOX) for scene in drawn]
    labels = [ANIMALS.index(scene.things[0].kind) for scene in drawn]
    return np.stack([np.asarray(picture) for picture in pictures]), np.array(labels)


def _one(rng: random.Random) -> Scene:
    thing = Thing(
        rng.choice(ANIMALS),
        rng.choice(COLOURS),
        scale=rng.randint(88, 100),
        x=rng.randint(56, 72),
        feet=rng.randint(112, 122),
    )
    return Scene((thing,), "alone", "day", seed=rng.randrange(2**31))
