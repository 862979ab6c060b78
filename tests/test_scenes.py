"""The small world: what is drawn, what is said about it, what stays held out, and the cache of drawings."""

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from sdlearn import scenes
from sdlearn.scenes import Scene, Thing, dataset, render, sample_scene
from sdlearn.scenes.palette import COLOURS as RGB
from sdlearn.scenes.sketch import GROUNDS, Stamp, draw_sketch
from sdlearn.scenes.sprites import sprite, sprite_lines
from sdlearn.scenes.truth import thing_mask

# Written down a second time on purpose: a slip in the grammar must not change the test with it.
SYNONYMS = {
    "cat": "cat|kitty|kitten", "dog": "dog|puppy|doggy", "castle": "castle|fortress",
    "house": "house|cottage|home", "tree": "tree", "star": "star", "heart": "heart", "ball": "ball|sphere",
    "bird": "bird|birdie", "car": "car|automobile", "mushroom": "mushroom|toadstool",
    "boat": "boat|ship|sailboat",
}  # fmt: skip
SIZE_WORDS = {"small": {"small", "little", "tiny"}, "big": {"big", "large", "huge"}}
PLACE_WORDS = {"day": "sunny day|meadow|during the day", "night": "night|stars|moonlight",
               "beach": "beach|sea|seaside", "snow": "snow|winter|snowy"}  # fmt: skip


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    rng = Random(5)
    return [sample_scene(rng) for _ in range(12_000)]


def pixels(scene: Scene) -> np.ndarray:
    return np.asarray(render(scene)).astype(int)


def test_a_scene_always_gives_the_same_picture():
    scene = sample_scene(Random(3))
    first = pixels(scene)
    for cached in (sprite, sprite_lines):
        cached.cache_clear()
    pixels(sample_scene(Random(4)))  # another picture in between must leave no trace
    assert np.array_equal(first, pixels(scene))
    assert first.shape == (128, 128, 3)
    assert not np.array_equal(
        first, pixels(replace(scene, seed=scene.seed + 1))
    )  # other clouds, stars or waves


def test_training_never_sees_a_held_out_combination(many):
    for scene in many[:5000]:
        for thing in scene.things:
            assert (thing.colour, thing.kind) not in scenes.HELD_OUT_COLOURED
        if scene.relation == "on":
            assert tuple(thing.kind for thing in scene.things) not in scenes.HELD_OUT_STACKED
    rng = np.random.default_rng(1)  # a numpy generator serves as well as random.Random
    for scene in [sample_scene(rng, "held_out") for _ in range(300)]:
        coloured = any((thing.colour, thing.kind) in scenes.HELD_OUT_COLOURED for thing in scene.things)
        stack = tuple(thing.kind for thing in scene.things)
        assert coloured or (scene.relation == "on" and stack in scenes.HELD_OUT_STACKED)


def test_the_held_out_lists_are_fair():
    assert len(scenes.HELD_OUT_COLOURED) == len(scenes.HELD_OUT_STACKED) == 10
    assert not {("orange", "cat"), ("red", "castle")} & scenes.HELD_OUT_COLOURED
    assert ("cat", "castle") not in scenes.HELD_OUT_STACKED
    assert not set((c, k) for k, c in scenes.FAVOURITE.items()) & scenes.HELD_OUT_COLOURED
    assert {c for c, _ in scenes.HELD_OUT_COLOURED} <= set(scenes.COLOURS)
    for slot in (0, 1):  # no kind is missing from more than one stack in a slot
        assert max(Counter(pair[slot] for pair in scenes.HELD_OUT_STACKED).values()) == 1


def test_training_shows_everything_in_its_share(many):
    kinds = Counter(thing.kind for scene in many for thing in scene.things)
    colours = Counter(thing.colour for scene in many for thing in scene.things)
    total = sum(kinds.values())
    assert set(kinds) == set(scenes.KINDS) and len(kinds) >= 12
    assert set(colours) == set(scenes.COLOURS) and len(colours) == 8
    assert all(0.8 < 12 * n / total < 1.2 for n in kinds.values())
    assert all(n / total > 0.08 for n in colours.values())
    relations = Counter(scene.relation for scene in many)
    for relation, share in {"alone": 0.35, "on": 0.35, "left_of": 0.30}.items():
        assert relations[relation] / len(many) == pytest.approx(share, abs=0.03)
    backgrounds = Counter(scene.background for scene in many)
    assert all(backgrounds[name] / len(many) == pytest.approx(0.25, abs=0.02) for name in scenes.BACKGROUNDS)
    assert sum(scene.names_background for scene in many) / len(many) == pytest.approx(0.6, abs=0.02)


def test_only_a_colour_that_is_not_named_follows_the_uneven_prior(many):
    things = [thing for scene in many for thing in scene.things]
    assert sum(not thing.names_colour for thing in things) / len(things) == pytest.approx(0.3, abs=0.03)
    for kind, favourite in scenes.FAVOURITE.items():
        silent = [thing.colour for thing in things if thing.kind == kind and not thing.names_colour]
        named = [thing.colour for thing in things if thing.kind == kind and thing.names_colour]
        assert silent.count(favourite) / len(silent) == pytest.approx(0.70, abs=0.07), kind
        assert named.count(favourite) / len(named) == pytest.approx(1 / 8, abs=0.05), kind
    assert scenes.FAVOURITE["cat"] == "orange"


def mentions(text: str) -> list[str]:
    """The kinds in the order in which the text names them."""
    found = [
        (m.start(), kind) for kind, words in SYNONYMS.items() for m in re.finditer(rf"\b({words})\b", text)
    ]
    return [kind for _, kind in sorted(found)]


def test_a_caption_says_what_the_scene_says_and_nothing_more(many):
    rng = Random(9)
    for scene in many[:3000]:
        for text in (scenes.caption(scene, rng), scenes.canonical_caption(scene)):
            words = text.split()
            assert re.fullmatch(r"[a-z ]+", text) and len(words) <= 24
            expected = [thing.kind for thing in scene.things]
            backwards = " right of " in text
            assert mentions(text) == (expected[::-1] if backwards else expected), text
            named = sorted(thing.colour for thing in scene.things if thing.names_colour)
            assert sorted(word for word in words if word in scenes.COLOURS) == named, text
            for size, synonyms in SIZE_WORDS.items():
                count = sum(thing.names_size and thing.size == size for thing in scene.things)
                assert sum(word in synonyms for word in words) == count, text
            places = {name for name, phrases in PLACE_WORDS.items() if re.search(rf"\b({phrases})\b", text)}
            assert places == ({scene.background} if scene.names_background else set()), text
            for article, word in zip(words, words[1:]):
                assert article not in ("a", "an") or (article == "an") == (word[0] in "aeiou"), text


def test_the_relation_is_worded_both_ways_round():
    pair = (Thing("cat", "orange"), Thing("castle", "red"))
    rng = Random(0)
    beside = Scene(pair, "left_of", names_background=False)
    texts = {scenes.caption(beside, rng) for _ in range(300)}
    assert "an orange cat to the left of a red castle" in texts
    assert "a red castle right of an orange cat" in texts
    assert not any("castle" in t.split(" left of")[0] for t in texts if " left of" in t)
    stacked = {scenes.caption(Scene(pair, "on", names_background=False), rng) for _ in range(300)}
    assert "an orange cat standing on a red castle" in stacked
    assert scenes.canonical_caption(Scene(pair, "on", "night")) == "an orange cat on a red castle at night"


@pytest.mark.parametrize("kind", scenes.KINDS + scenes.UNSEEN_KINDS)
def test_every_thing_shows_its_colour_where_it_stands(kind):
    palette = np.array(list(RGB.values()))
    for index, colour in enumerate(scenes.COLOURS):
        for size in scenes.SIZES:
            background = scenes.BACKGROUNDS[(index + len(size)) % 4]
            scene = scenes.arrange([Thing(kind, colour, size)], "alone", background, Random(index))
            inside = pixels(scene)[thing_mask(scene.things[0])]
            nearest = ((inside[:, None] - palette) ** 2).sum(-1).argmin(1)
            shares = np.bincount(nearest, minlength=8) / len(nearest)
            if (kind, colour) != ("house", "yellow"):  # its golden roof is nearer to orange
                assert shares.argmax() == index, (kind, colour, size, shares.round(2))
            close = np.abs(inside - palette[index]).max(1) < 48
            assert close.mean() > 0.2, (kind, colour, size, close.mean())


@pytest.mark.slow
def test_nothing_leaves_the_picture_and_things_stand_as_told(many):
    for scene in many[:1500]:
        masks = []
        for thing in scene.things:
            alpha = sprite(thing.kind, thing.colour, thing.scale).getchannel("A")
            left, top, right, bottom = alpha.getbbox()
            x, y = scenes.draw.place(thing)
            assert x + left >= 0 and y + top >= 0 and x + right <= 128 and y + bottom <= 128, scene
            masks.append(thing_mask(thing))
        if scene.relation == "left_of":
            columns = [np.flatnonzero(mask.any(0)) for mask in masks]
            assert columns[0].max() < columns[1].min(), scene
        if scene.relation == "on":
            middle = scene.things[0].x
            feet = np.flatnonzero(masks[0].any(1)).max()
            under = np.flatnonzero(masks[1][:, middle - 6 : middle + 7].any(1)).min()
            assert -2 <= feet - under <= 12, (scene, feet, under)  # touches it, does not sink in
            hidden = (masks[0] & masks[1]).sum() / masks[1].sum()
            assert hidden < 0.36, (scene, hidden)  # the lobes of a heart under a house are the worst case


def test_small_and_big_are_clearly_different(many):
    heights = {size: [] for size in scenes.SIZES}
    for scene in many[:1500]:
        for thing in scene.things:
            heights[thing.size].append(thing.scale)
    assert max(heights["small"]) * 1.25 < min(heights["big"])


@pytest.mark.slow
def test_truth_maps_agree_with_the_picture(many):
    for scene in many[:60]:
        segmentation = scenes.render_segmentation(scene)
        front = scene.things[0]
        other = replace(front, colour="blue" if front.colour != "blue" else "red")
        repainted = replace(scene, things=(other, *scene.things[1:]))
        changed = np.abs(pixels(scene) - pixels(repainted)).max(-1) > 24
        labelled = segmentation == scenes.LABELS[front.kind]
        assert (changed & labelled).sum() / changed.sum() > 0.9, scene  # the rest is the softened edge
        assert segmentation[0, 0] == scenes.LABELS["sky"] and segmentation[127, 0] == scenes.LABELS["ground"]
        assert (scenes.LABELS["sea"] in segmentation) == (scene.background == "beach")

        depth = scenes.render_depth(scene)
        assert depth.dtype == np.float32 and depth[127, 0] == 0 and depth[0, 0] == 1
        column = depth[:, 0][segmentation[:, 0] == scenes.LABELS["ground"]]
        assert (np.diff(column) <= 0).all() and 0.6 < column[0] <= 0.8
        inside = depth[thing_mask(front)]
        assert inside.min() == inside.max() < 0.5
        carrier = depth[thing_mask(scene.things[-1])]
        if scene.relation == "on":
            assert carrier.min() == carrier.max() == inside.min()

        outline = scenes.render_outline(scene)
        mask = thing_mask(front)
        edge = mask & ~np.roll(mask, 1, 0)  # the upper edge of the front thing
        near = np.max([np.roll(outline, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0)
        assert (near[edge] > 60).mean() > 0.95, scene
        assert outline[0:3].max() == 0 and (outline > 60).mean() < 0.25


def test_styles_and_kinds_that_training_never_sees_can_be_drawn():
    assert len(scenes.UNSEEN_KINDS) >= 2 and len(scenes.UNSEEN_STYLES) >= 2
    assert not set(scenes.UNSEEN_KINDS) & set(scenes.KINDS)
    plain = scenes.arrange([Thing("robot", "pink"), Thing("teapot", "blue")], "on", "snow", Random(2))
    drawn = [pixels(plain)] + [pixels(replace(plain, style=style)) for style in scenes.UNSEEN_STYLES]
    for a in range(3):
        for b in range(a):
            assert np.abs(drawn[a] - drawn[b]).mean() > 10
    words = scenes.caption(replace(plain, style="chalk", names_background=False), Random(0))
    assert words.startswith("a chalk drawing of a pink robot")


def test_a_scene_survives_json(many):
    for scene in many[:50]:
        assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: Scene((Thing("unicorn", "red"),)), "unicorn"),
        (lambda: Scene((Thing("cat", "beige"),)), "beige"),
        (lambda: Scene((Thing("cat", "red", "huge"),)), "huge"),
        (lambda: Scene((Thing("cat", "red"),), background="moon"), "moon"),
        (lambda: Scene((Thing("cat", "red"),), style="oil"), "oil"),
        (lambda: Scene((Thing("cat", "red"),), relation="right_of"), "right_of"),
        (lambda: Scene((Thing("cat", "red"),), relation="on"), "1 things"),
        (lambda: sample_scene(Random(0), "test"), "test"),
        (lambda: dataset.render_dataset(0), "0"),
        (lambda: scenes.sheet(0), "0"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(ValueError, match=word):
        call()


# --- the dataset -----------------------------------------------------------------------------------------


def test_workers_draw_the_same_pictures_as_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "CHUNK", 4)
    one = dataset.render_dataset(10, seed=3, folder=tmp_path / "one", progress=False)
    two = dataset.render_dataset(10, seed=3, folder=tmp_path / "two", workers=2, progress=False)
    assert one.name == two.name
    for name in ("pictures.npy", "captions.jsonl", "scenes.jsonl", "meta.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_picture_i_depends_on_the_seed_and_i_alone(tmp_path):
    long = scenes.SceneDataset(dataset.render_dataset(12, seed=3, folder=tmp_path, progress=False))
    short = scenes.SceneDataset(dataset.render_dataset(5, seed=3, folder=tmp_path, progress=False))
    other = scenes.SceneDataset(dataset.render_dataset(5, seed=4, folder=tmp_path, progress=False))
    assert (len(long), len(short)) == (12, 5)
    assert len({long[i][0].tobytes() for i in range(12)}) == 12  # no scene comes twice
    for i in range(5):
        assert np.array_equal(long[i][0], short[i][0]) and long[i][1] == short[i][1]
        assert long[i][1] != other[i][1]
        picture, captions = long[i]
        scene = long.scene(i)
        assert picture.dtype == np.uint8 and np.array_equal(picture, np.asarray(render(scene)))
        assert len(captions) == 3 and all(mentions(t)[0] in {t.kind for t in scene.things} for t in captions)
    assert sum(len(set(captions)) == 3 for captions in long.captions) >= 9  # three wordings where possible


def test_a_finished_dataset_is_found_again_and_not_drawn_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("SDLEARN_CACHE", str(tmp_path))
    folder = dataset.render_dataset(4, progress=False)
    assert tmp_path in folder.parents
    monkeypatch.setattr(dataset, "_fill", lambda *_: pytest.fail("drawn again"))
    assert dataset.render_dataset(4, progress=False) == folder
    monkeypatch.setattr(dataset, "_fill", lambda *_: None)
    assert dataset.render_dataset(4, split="held_out", progress=False) != folder
    monkeypatch.setattr(dataset, "caption", lambda scene, rng: "a new grammar")  # must not meet the old cache
    assert dataset.render_dataset(4, progress=False) != folder


def test_an_interrupted_drawing_leaves_nothing_broken(tmp_path, monkeypatch):
    drawn = []

    def render_and_crash(scene):
        drawn.append(scene)
        if len(drawn) == 24 + 7:  # 24 for the fingerprint
            raise KeyboardInterrupt
        return render(scene)

    monkeypatch.setattr(dataset, "render", render_and_crash)
    with pytest.raises(KeyboardInterrupt):
        dataset.render_dataset(9, folder=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".unfinished-killed").mkdir()  # what a power cut would leave
    folder = dataset.render_dataset(9, folder=tmp_path, progress=False)
    assert (folder / "pictures.npy").is_file()
    assert np.asarray(scenes.SceneDataset(folder).pictures).reshape(9, -1).any(axis=1).all()
    with pytest.raises(ValueError, match="no finished dataset"):
        scenes.SceneDataset(tmp_path / ".unfinished-killed")


def test_a_sheet_shows_the_scenes_of_the_dataset():
    sheet = np.asarray(scenes.sheet(3, seed=2, columns=2).convert("RGB")).astype(int)
    assert sheet.shape == (12 + 2 * (256 + 44 + 12), 12 + 2 * (256 + 12), 3)
    scene, _ = dataset.example(2, 1)
    shown = sheet[12 : 12 + 256, 280 : 280 + 256].reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(shown - pixels(scene)).mean() < 4
    words = sheet[12 + 256 + 4 : 12 + 256 + 40, 12:268]
    assert (words < 120).any()


def test_drawing_needs_no_torch():
    code = "import sys, sdlearn.scenes as s; s.sheet(1); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_dataset_that_does_not_fit_on_the_disk_is_refused_before_it_is_drawn(tmp_path):
    with pytest.raises(ValueError, match=r"scenes need .* GB in .* SDLEARN_CACHE"):
        dataset.render_dataset(10**12, folder=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_sketch_is_plain_shapes_in_order_on_sky_and_ground():
    block, disc = Stamp("block", "red", 40, 60, 40), Stamp("disc", "blue", 40, 60, 20)
    picture = draw_sketch([block, disc, Stamp("triangle", "green", 100, 60, 20)], "night")
    assert picture.size == (128, 128) and len(picture.getcolors()) == 5
    assert picture.getpixel((40, 60)) == RGB["blue"]  # the later one is in front
    assert picture.getpixel((22, 42)) == RGB["red"] and picture.getpixel((32, 52)) == RGB["red"]
    assert picture.getpixel((100, 68)) == RGB["green"] != picture.getpixel((92, 52))
    assert (picture.getpixel((0, 0)), picture.getpixel((0, 127))) == GROUNDS["night"]


def test_an_unknown_shape_colour_or_ground_is_refused():
    with pytest.raises(ValueError, match="unknown shape 'blob': choose one of disc, block, triangle"):
        Stamp("blob", "red", 1, 1, 1)
    with pytest.raises(ValueError, match="unknown colour 'grey'"):
        Stamp("disc", "grey", 1, 1, 1)
    with pytest.raises(ValueError, match="unknown background 'moon'"):
        draw_sketch([], "moon")
