"""The oracle reads true drawings almost without fault, and marks a picture by what its prompt asked."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from sdlearn import scenes
from sdlearn.scenes import Oracle, Reading, Scene, Thing, oracle, oracle_training, render, score


@pytest.fixture(scope="module")
def shipped() -> Oracle:
    return Oracle.load()


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_the_shipped_oracle_reads_true_drawings(shipped, split):
    readings, asked = scenes.read_renders(shipped, 300, seed=2024, split=split)
    assert scenes.accuracy(readings, asked) >= 0.99
    assert all(
        score(reading, scene).all_right
        for reading, scene in zip(readings, asked)
        if reading == Reading.of_scene(scene)
    )
    blurred, _ = scenes.read_renders(shipped, 300, seed=2024, split=split, sigma=1.2)
    assert scenes.accuracy(blurred, asked) >= 0.98


def test_it_reads_things_that_training_of_the_painter_never_sees(shipped):
    rng = Random(8)
    asked = [
        scenes.arrange([Thing(kind, "pink"), Thing("cat", "blue")], relation, "snow", rng)
        for kind in scenes.UNSEEN_KINDS
        for relation in ("on", "left_of")
        for _ in range(4)
    ]
    readings = shipped.read(np.stack([np.asarray(render(scene)) for scene in asked]))
    assert scenes.accuracy(readings, asked) >= 0.9


def test_both_forms_of_a_picture_read_the_same_and_a_batch_like_one(shipped):
    rng = Random(1)
    asked = [scenes.sample_scene(rng) for _ in range(6)]
    whole = torch.from_numpy(np.stack([np.asarray(render(scene)) for scene in asked]))
    floating = whole.permute(0, 3, 1, 2).float() / 127.5 - 1
    together = shipped.read(whole)
    assert together == shipped.read(floating) == shipped.read(whole.numpy())
    assert together == [shipped.read(whole[k : k + 1])[0] for k in range(6)]
    assert shipped.read(whole[:0]) == []


WRONG = [((2, 3, 128, 128), torch.uint8), ((2, 128, 128, 3), torch.float32), ((1, 3, 64, 64), torch.float32)]


@pytest.mark.parametrize("shape, dtype", WRONG)
def test_a_wrong_picture_is_named(shipped, shape, dtype):
    with pytest.raises(ValueError, match="cannot read"):
        shipped.read(torch.zeros(shape, dtype=dtype))


def test_a_missing_oracle_is_named(tmp_path):
    with pytest.raises(ValueError, match="config.json is missing"):
        Oracle.load(tmp_path)


CAT, CASTLE = Thing("cat", "orange"), Thing("castle", "red")
ASKED = Scene((CAT, CASTLE), "on", "night")
TRUE = Reading((("cat", "orange", "big"), ("castle", "red", "big")), "on", "night")


def test_a_true_reading_scores_full_marks():
    assert Reading.of_scene(ASKED) == TRUE
    mark = score(TRUE, ASKED)
    assert (mark.objects, mark.colours, mark.sizes) == ((True, True), (True, True), ())
    assert mark.relation and mark.background and mark.all_right


@pytest.mark.parametrize(
    "reading, objects, colours, relation, background",
    [
        # colours on the wrong thing: both objects there, neither colour bound
        (replace(TRUE, things=(("cat", "red", "big"), ("castle", "orange", "big"))), (1, 1), (0, 0), 1, 1),
        # upside down: everything there, the relation wrong
        (replace(TRUE, things=TRUE.things[::-1]), (1, 1), (1, 1), 0, 1),
        (replace(TRUE, relation="left_of"), (1, 1), (1, 1), 0, 1),
        (replace(TRUE, background="day"), (1, 1), (1, 1), 1, 0),
        # only the castle, alone
        (Reading((("castle", "red", "big"),), "alone", "night"), (0, 1), (0, 1), 0, 1),
        # two cats are one cat too many, and no castle
        (replace(TRUE, things=(("cat", "orange", "big"),) * 2), (1, 0), (1, 0), 1, 1),
    ],
)
def test_each_fault_costs_its_own_mark(reading, objects, colours, relation, background):
    mark = score(reading, ASKED)
    assert mark.objects == tuple(map(bool, objects)) and mark.colours == tuple(map(bool, colours))
    assert mark.relation == bool(relation) and mark.background == bool(background)
    assert not mark.all_right


def test_what_the_prompt_does_not_name_is_not_marked():
    silent = Scene(
        (replace(CAT, names_colour=False, names_size=True), CASTLE), "on", "night", names_background=False
    )
    mark = score(Reading((("cat", "blue", "small"), ("castle", "red", "big")), "on", "day"), silent)
    assert mark.colours == (True,) and mark.background is None and mark.sizes == (False,)
    assert not mark.all_right
    assert score(Reading((("cat", "blue", "big"), ("castle", "red", "small")), "on", "day"), silent).all_right


def test_two_of_a_kind_are_told_apart_by_their_slots():
    twins = Scene((Thing("cat", "orange"), Thing("cat", "blue")), "left_of", "day")
    right = Reading((("cat", "orange", "big"), ("cat", "blue", "big")), "left_of", "day")
    assert score(right, twins).all_right
    assert score(replace(right, things=right.things[::-1]), twins).colours == (False, False)
    # a cat too many on the left must not be taken for the cat that stands rightly on the right
    asked = Scene((Thing("dog", "red"), Thing("cat", "blue")), "left_of", "day")
    assert score(right, asked).objects == (False, True) and score(right, asked).colours == (False, True)


def test_the_confusion_matrix_counts_true_against_read():
    wrong = replace(TRUE, things=(("dog", "orange", "big"), ("castle", "pink", "big")))
    matrix = scenes.confusion([TRUE, wrong], [ASKED, ASKED], "kind")
    kinds = oracle.READABLE_KINDS
    cat, dog, castle = (kinds.index(kind) for kind in ("cat", "dog", "castle"))
    assert matrix[cat, cat] == 1 and matrix[cat, dog] == 1 and matrix[castle, castle] == 2
    assert matrix.sum() == 4
    colours = scenes.confusion([wrong], [ASKED], "colour")
    assert colours[scenes.COLOURS.index("red"), scenes.COLOURS.index("pink")] == 1
    with pytest.raises(ValueError, match="shape"):
        scenes.confusion([], [], "shape")


def test_labels_softening_and_blur_are_what_they_say():
    scene = scenes.arrange([Thing("robot", "pink", "small")], "alone", "beach", Random(0))
    labels = oracle_training.labels_of(scene)
    assert oracle.QUESTIONS["kind_1"][labels["kind_1"]] == "robot"
    assert oracle.QUESTIONS["background"][labels["background"]] == "beach"
    assert labels["kind_2"] == labels["colour_2"] == labels["size_2"] == -1
    impulse = torch.zeros(1, 3, 21, 21)
    impulse[:, 1, 10, 10] = 1
    spread = oracle_training.blur(impulse, 1.5)
    assert spread[:, 1].sum().item() == pytest.approx(1, abs=1e-5) and spread[:, 0].abs().max() == 0
    variance = (spread[0, 1].sum(0) * (torch.arange(21) - 10.0) ** 2).sum().item()
    assert variance == pytest.approx(1.5**2, rel=0.06)
    pictures = torch.linspace(-1, 1, 2 * 3 * 64 * 64).reshape(2, 3, 64, 64)
    before = pictures.clone()
    a, b = (oracle_training.soften(pictures, torch.Generator().manual_seed(s)) for s in (1, 1))
    assert torch.equal(a, b) and torch.equal(pictures, before) and a.abs().max() <= 1
    assert 0.005 < (a - pictures).abs().mean() < 0.3


def test_training_writes_an_oracle_that_loads_and_repeats(tmp_path):
    first = oracle_training.train_oracle(tmp_path / "a", steps=2, batch=4, progress=False)
    oracle_training.train_oracle(tmp_path / "b", steps=2, batch=4, progress=False)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1] and len(weights[0]) < 1_500_000
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["config.json", "model.safetensors"]
    pictures = np.stack([np.asarray(render(scenes.sample_scene(Random(k)))) for k in range(3)])
    assert first.read(pictures) == Oracle.load(tmp_path / "a").read(pictures)


def test_round_trips_are_half_of_each_batch_and_training_can_go_on(tmp_path, shipped):
    pictures, asked = oracle_training.round_trips(
        lambda x: -x, 6, seed=1
    )  # an autoencoder that makes negatives
    assert pictures.shape == (6, 128, 128, 3) and pictures.dtype == torch.uint8
    assert torch.equal(
        255 - pictures, torch.from_numpy(np.stack([np.asarray(render(scene)) for scene in asked]))
    )
    batch, labels = next(oracle_training._batches(8, 0, (pictures, asked)))
    negatives = [bool((row == oracle.as_input(pictures)).flatten(1).all(1).any()) for row in batch]
    assert negatives == [False] * 4 + [True] * 4
    rows = [int((row == oracle.as_input(pictures)).flatten(1).all(1).float().argmax()) for row in batch[4:]]
    assert [oracle_training.labels_of(asked[k])["kind_1"] for k in rows] == labels["kind_1"][4:].tolist()
    on = oracle_training.train_oracle(
        tmp_path,
        steps=1,
        batch=4,
        learning_rate=1e-9,
        start=shipped,
        examples=(pictures, asked),
        progress=False,
    )
    before, after = shipped.network.state_dict(), on.network.state_dict()
    name = "naming.0.weight"
    assert (before[name] - after[name]).abs().max() < 1e-3 * before[name].abs().max()
