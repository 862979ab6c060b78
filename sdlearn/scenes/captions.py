"""Captions: a small grammar with synonyms and optional parts."""

from __future__ import annotations

from collections.abc import Iterable

from .world import BACKGROUNDS, COLOURS, KINDS, SIZES, STYLES, Rng, Scene, Thing

KIND_WORDS = {
    "cat": ("cat", "kitty", "kitten"),
    "dog": ("dog", "puppy", "doggy"),
    "castle": ("castle", "fortress"),
    "house": ("house", "cottage", "home"),
    "tree": ("tree", "leafy tree"),
    "star": ("star", "shining star"),
    "heart": ("heart", "love heart"),
    "ball": ("ball", "sphere"),
    "bird": ("bird", "birdie"),
    "car": ("car", "automobile"),
    "mushroom": ("mushroom", "toadstool"),
    "boat": ("boat", "ship", "sailboat"),
    "flower": ("flower", "blossom"),
    "fish": ("fish",),
    "robot": ("robot",),
    "teapot": ("teapot",),
}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
BACKGROUND_WORDS = {
    "day": ("on a sunny day", "in the meadow", "during the day"),
    "night": ("at night", "under the stars", "in the moonlight"),
    "beach": ("on the beach", "by the sea", "at the seaside"),
    "snow": ("in the snow", "in winter", "on a snowy day"),
}
ON_WORDS = ("on", "on top of", "standing on", "sitting on")
LEFT_WORDS = ("left of", "to the left of", "on the left of")
RIGHT_WORDS = ("right of", "to the right of", "on the right of")
STYLE_WORDS = {
    "picture": ("a picture of", "a drawing of", "an illustration of"),
    "chalk": ("a chalk drawing of",),
    "mosaic": ("a mosaic of",),
}


def words() -> dict[str, list[str]]:
    """All that captions of the training say, by what it says; in brackets other words for the same."""

    def lines(table: dict[str, tuple[str, ...]], of: Iterable[str]) -> list[str]:
        return [
            f"{first} ({', '.join(others)})" if others else first
            for first, *others in (table[key] for key in of)
        ]

    return {
        "things": lines(KIND_WORDS, KINDS),
        "colours": list(COLOURS),
        "sizes": lines(SIZE_WORDS, SIZES),
        "places": [*ON_WORDS, *LEFT_WORDS, *RIGHT_WORDS],
        "backgrounds": lines(BACKGROUND_WORDS, BACKGROUNDS),
        "beginnings": lines(STYLE_WORDS, STYLES),
    }


def caption(scene: Scene, rng: Rng) -> str:
    """A sentence for the scene, its words chosen by lot; it names only what the scene says it names."""
    first, second = scene.things[0], scene.things[-1]
    words = [_thing(first, rng)]
    if scene.relation == "on":
        words += [_choose(ON_WORDS, rng, first=0.4), _thing(second, rng)]
    elif scene.relation == "left_of":
        if rng.random() < 0.5:
            words += [_choose(LEFT_WORDS, rng), _thing(second, rng)]
        else:
            words = [_thing(second, rng), _choose(RIGHT_WORDS, rng)] + words
    if scene.names_background:
        place = _choose(BACKGROUND_WORDS[scene.background], rng, first=0.5)
        words = [place, *words] if rng.random() < 0.15 else [*words, place]
    elif rng.random() < 0.25 or scene.style != "picture":
        words = [_choose(STYLE_WORDS[scene.style], rng), *words]
    return " ".join(words)


def canonical_caption(scene: Scene) -> str:
    """The plainest sentence for the scene: first synonyms, no opener."""
    words = [_thing(scene.things[0], None)]
    if scene.relation != "alone":
        words += [ON_WORDS[0] if scene.relation == "on" else LEFT_WORDS[1], _thing(scene.things[1], None)]
    if scene.names_background:
        words.append(BACKGROUND_WORDS[scene.background][0])
    return " ".join(words)


def _thing(thing: Thing, rng: Rng | None) -> str:
    """For example "a small orange kitten"; without a generator the first words are taken."""
    words = [_choose(SIZE_WORDS[thing.size], rng)] if thing.names_size else []
    words += [thing.colour] if thing.names_colour else []
    words.append(_choose(KIND_WORDS[thing.kind], rng, first=0.5))
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([article, *words])


def _choose(options: tuple[str, ...], rng: Rng | None, first: float = 0.0) -> str:
    """One option by lot; `first` is the extra chance of the first one."""
    if rng is None or len(options) == 1 or (first and rng.random() < first):
        return options[0]
    return options[int(rng.random() * len(options))]
