"""The vocabulary of the small world, its scenes, and how scenes are drawn by lot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from .palette import COLOURS as COLOUR_RGB
from .shapes import figure

SIZE = 128  # pixels per side of a picture
KINDS = ("cat", "dog", "castle", "house", "tree", "star", "heart", "ball", "bird", "car", "mushroom", "boat")
UNSEEN_KINDS = ("flower", "fish", "robot", "teapot")  # training never sees these
COLOURS = tuple(COLOUR_RGB)
BACKGROUNDS = ("day", "night", "beach", "snow")
SIZES = ("small", "big")
RELATIONS = ("alone", "on", "left_of")
STYLES = ("picture",)
UNSEEN_STYLES = ("chalk", "mosaic")  # training never sees these

# The colour that a thing mostly has when its caption does not say one.
FAVOURITE = {
    "cat": "orange", "dog": "yellow", "castle": "white", "house": "red", "tree": "green", "star": "yellow",
    "heart": "pink", "ball": "blue", "bird": "purple", "car": "green", "mushroom": "red", "boat": "blue",
}  # fmt: skip
FAVOURITE_SHARE = 0.7

# Never in training: (colour, kind) anywhere, and (top, bottom) of an "on" scene.
HELD_OUT_COLOURED = frozenset(
    {("green", "cat"), ("purple", "dog"), ("yellow", "castle"), ("blue", "house"), ("red", "tree"),
     ("white", "star"), ("orange", "heart"), ("green", "ball"), ("pink", "car"), ("purple", "boat")}
)  # fmt: skip
HELD_OUT_STACKED = frozenset(
    {("cat", "house"), ("dog", "car"), ("castle", "mushroom"), ("house", "tree"), ("tree", "boat"),
     ("star", "castle"), ("heart", "ball"), ("ball", "dog"), ("bird", "star"), ("mushroom", "cat")}
)  # fmt: skip


class Rng(Protocol):
    """Anything with `random()` in [0, 1): `random.Random` or a numpy `Generator`."""

    def random(self) -> float: ...


@dataclass(frozen=True)
class Thing:
    """One object: what it is, its scale in pixels and where it stands (x of its middle, row of its feet)."""

    kind: str
    colour: str
    size: str = "big"
    scale: int = 56
    x: int = 64
    feet: int = 116
    names_colour: bool = True
    names_size: bool = False


@dataclass(frozen=True)
class Scene:
    """One or two things. Slot order: (top, bottom) for "on", (left, right) for "left_of"."""

    things: tuple[Thing, ...]
    relation: str = "alone"
    background: str = "day"
    style: str = "picture"
    seed: int = 0
    names_background: bool = True

    def __post_init__(self) -> None:
        _require(self.relation, RELATIONS, "relation")
        _require(self.background, BACKGROUNDS, "background")
        _require(self.style, STYLES + UNSEEN_STYLES, "style")
        if len(self.things) != (1 if self.relation == "alone" else 2):
            raise ValueError(f"a scene with relation {self.relation!r} cannot hold {len(self.things)} things")
        for thing in self.things:
            _require(thing.kind, KINDS + UNSEEN_KINDS, "kind")
            _require(thing.colour, COLOURS, "colour")
            _require(thing.size, SIZES, "size")

    def to_dict(self) -> dict:
        """A plain dict that json can write."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> Scene:
        """The inverse of `to_dict`."""
        things = tuple(Thing(**thing) for thing in data["things"])
        return cls(**{**data, "things": things})


def is_held_out(scene: Scene) -> bool:
    """True if the scene shows a combination that training never sees."""
    if any((thing.colour, thing.kind) in HELD_OUT_COLOURED for thing in scene.things):
        return True
    return scene.relation == "on" and tuple(thing.kind for thing in scene.things) in HELD_OUT_STACKED


def sample_scene(rng: Rng, split: str = "train") -> Scene:
    """Draw a scene by lot: "train" never holds a held-out combination, "held_out" always does, "all" may."""
    _require(split, ("train", "held_out", "all"), "split")
    while True:  # rejection keeps the other probabilities as they are
        scene = _draw(rng)
        if split == "all" or is_held_out(scene) == (split == "held_out"):
            return scene


def arrange(
    things: Sequence[Thing],
    relation: str,
    background: str,
    rng: Rng,
    *,
    style: str = "picture",
    names_background: bool = True,
) -> Scene:
    """Place the things so that they fit the picture; kinds, colours and sizes stay as given."""
    scene = Scene(tuple(things), relation, background, style, int(rng.random() * 2**31), names_background)
    placed = [replace(thing, scale=_scale(thing.size, relation, rng)) for thing in things]
    if relation == "alone":
        margin = _half_width(placed[0]) + 4
        x = round(margin + rng.random() * (SIZE - 2 * margin))
        placed = [replace(placed[0], x=x, feet=_between(108, 120, rng))]
    elif relation == "on":
        top, bottom = placed
        feet = _between(116, 121, rng)
        margin = max(_half_width(top), _half_width(bottom)) + 6
        x = round(margin + rng.random() * (SIZE - 2 * margin))
        stand = feet - round(figure(bottom.kind).perch * bottom.scale) + 1
        placed = [replace(top, x=x + _between(-2, 2, rng), feet=stand), replace(bottom, x=x, feet=feet)]
    else:
        left, right = (_half_width(thing) for thing in placed)
        slack = SIZE - 4 - 2 * (left + right)  # at least 4: see the scales
        shares = sorted((rng.random(), rng.random()))
        feet = _between(110, 119, rng)
        x_left = 2 + left + round(shares[0] * (slack - 4))
        x_right = SIZE - 2 - right - round((1 - shares[1]) * (slack - 4))
        placed = [
            replace(placed[0], x=x_left, feet=feet),
            replace(placed[1], x=x_right, feet=feet + _between(-2, 2, rng)),
        ]
    return replace(scene, things=tuple(placed))


def _draw(rng: Rng) -> Scene:
    """One scene with all choices by lot, held-out or not."""
    lot = rng.random()
    relation = "alone" if lot < 0.35 else "on" if lot < 0.7 else "left_of"
    count = 1 if relation == "alone" else 2
    things = [_draw_thing(rng, names_size_share=0.3 if count == 1 else 0.15) for _ in range(count)]
    return arrange(things, relation, _pick(BACKGROUNDS, rng), rng, names_background=rng.random() < 0.6)


def _draw_thing(rng: Rng, names_size_share: float) -> Thing:
    """A kind by lot; a colour that is named is uniform, one that is not follows the uneven prior."""
    kind = _pick(KINDS, rng)
    names_colour = rng.random() < 0.7
    colour = _pick(COLOURS, rng) if names_colour else colour_by_prior(kind, rng)
    names_size = rng.random() < names_size_share
    small_share = 0.5 if names_size else 0.25
    size = "small" if rng.random() < small_share else "big"
    return Thing(kind, colour, size, names_colour=names_colour, names_size=names_size)


def colour_by_prior(kind: str, rng: Rng) -> str:
    """The colour of a thing whose caption names none: mostly its favourite, else any that training shows."""
    favourite = FAVOURITE[kind]
    if rng.random() < FAVOURITE_SHARE:
        return favourite
    return _pick([c for c in COLOURS if c != favourite and (c, kind) not in HELD_OUT_COLOURED], rng)


def _scale(size: str, relation: str, rng: Rng) -> int:
    """Pixels per unit of a figure. Two things must share the picture, so big is a little smaller there."""
    if size == "small":
        return _between(34, 37, rng)
    low, high = {"alone": (57, 62), "on": (50, 54), "left_of": (48, 52)}[relation]
    return _between(low, high, rng)


def _half_width(thing: Thing) -> int:
    """Pixels from the middle of a thing to its edge, with its outline."""
    return round(figure(thing.kind).half_width * thing.scale) + 1


def _between(low: int, high: int, rng: Rng) -> int:
    """A whole number from low to high, both included."""
    return low + int(rng.random() * (high - low + 1))


def _pick(options: Sequence[str], rng: Rng) -> str:
    """One of the options, all equally likely."""
    return options[int(rng.random() * len(options))]


def _require(value: str, allowed: Sequence[str], what: str) -> None:
    if value not in allowed:
        raise ValueError(f"unknown {what} {value!r}: choose one of {', '.join(allowed)}")
