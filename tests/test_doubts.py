"""What the command line says before a drawing that is likely to disappoint, and that it is silent otherwise."""

from dataclasses import replace
from random import Random

import pytest
from PIL import Image

from sdlearn import Tokenizer
from sdlearn.cli import main
from sdlearn.doubts import doubts, unlearnt
from sdlearn.drawing import text_to_image
from sdlearn.paths import shipped_model
from sdlearn.scenes import caption, sample_scene
from tests.small_pipeline import small_pipeline


@pytest.fixture(scope="module")
def words():
    return Tokenizer.from_folder(shipped_model("scenes") / "tokenizer")


@pytest.fixture(scope="module")
def model():
    return replace(small_pipeline().model, name="scenes")  # 32 pixels; no network is asked


def test_every_word_of_the_captions_is_learnt(words):
    rng = Random(1)
    assert unlearnt([caption(sample_scene(rng, "all"), rng) for _ in range(2000)], words) == []


@pytest.mark.parametrize(
    "text, new",
    [
        ("a photo of an astronaut riding a horse", ["photo", "astronaut", "riding", "horse"]),
        ("Two cats, a DOOG: 3 dogs!", ["two", "cats", "doog", "dogs"]),
        ("a cat and a cat and 猫", ["and", "猫"]),
        ("", []),
        ("a (red:1.2) [zebra] cat", ["zebra"]),  # signs of weights are no words
        ("a red cat... (at night) 🐱", []),
    ],
)
def test_words_that_fall_into_pieces_are_not(words, text, new):
    assert unlearnt([text], words) == new


def said(model, words, **wishes):
    return doubts(text_to_image(model, **{"prompt": "a red cat", **wishes}), model, words)


def test_what_is_said(model, words):
    assert said(model, words) == []
    assert said(model, words, prompt=["a cat", "a zebra"], negative_prompt="blurry") == [
        "scenes has not learnt the words zebra, blurry. Those it knows: sdlearn scenes --words."
    ]
    assert said(model, words, width=48) == [
        "scenes has learnt pictures of 32x32 pixels: at 48x32 things may be missing or there twice."
    ]
    (few,) = said(model, words, num_inference_steps=19)
    assert few.startswith("dpmpp_2m at guidance_scale=7.5 may miss colours in fewer than 20 steps")
    for fine in (
        {"num_inference_steps": 20},
        {"num_inference_steps": 10, "guidance_scale": 3},
        {"num_inference_steps": 10, "sampler": "euler"},
        {"num_inference_steps": 19, "guidance_scale": 5},
        {"num_inference_steps": 30, "sampler": "unipc"},
    ):
        assert said(model, words, **fine) == []


@pytest.mark.parametrize(
    "sampler, fewest", [("dpmpp_2m", 20), ("unipc", 30), ("euler_a", 20), ("pndm", 50), ("lms", 50)]
)
def test_a_step_too_few_is_said_just_above_the_scale(model, words, sampler, fewest):
    (few,) = said(model, words, sampler=sampler, num_inference_steps=fewest - 1, guidance_scale=5.1)
    assert few.startswith(f"{sampler} at guidance_scale=5.1 ") and f"fewer than {fewest} steps" in few


def test_models_of_many_words_are_taken_as_they_are(model, words):
    class Many:
        tokenize = words.tokenize
        __len__ = lambda self: 10_001  # noqa: E731

    assert said(model, Many(), prompt="a zebra", width=48, num_inference_steps=5) == []


@pytest.mark.parametrize("command", ["txt2img", "img2img picture.png", "inpaint picture.png picture.png"])
def test_the_command_line_says_it_once(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), "white").save("picture.png")
    more = ["--steps", "2", "--cfg", "1", "--negative", "snow", "--n", "5", "--device", "cpu"]
    assert main([*command.split(), "a zebra", "--size", "64x64", *more]) == 0
    assert [line.removeprefix("sdlearn: warning: ") for line in capsys.readouterr().err.splitlines()] == [
        "--negative has no effect at --cfg=1: it needs a scale above 1.",
        "scenes has not learnt the words zebra. Those it knows: sdlearn scenes --words.",
        "scenes has learnt pictures of 128x128 pixels: at 64x64 things may be missing or there twice.",
    ]
