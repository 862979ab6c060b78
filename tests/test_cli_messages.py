# ruff: noqa: F811 (the fixtures of test_cli.py)
"""What the command line says to somebody who is new to it: what was meant, what a file is, what is left out."""

import json
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image
from test_cli import draw, files, here, model, pixels, refused  # noqa: F401

import sdlearn
from sdlearn import drawing_commands
from sdlearn.cli import PARTS, build_parser, main
from sdlearn.metadata import SAMPLER_TITLES, read_settings
from sdlearn.plan import SAMPLERS, get_sampler
from sdlearn.prompts import unclosed
from sdlearn.scenes import caption, sample_scene
from sdlearn.scenes.captions import words


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["txt2mig", "a cat"], "; did you mean txt2img? (see: sdlearn --help)"),
        (["--hlep"], "unrecognized arguments: --hlep; did you mean --help? (see: sdlearn --help)"),
        (["train", "decodr"], "; did you mean decoder? (see: sdlearn train --help)"),
        (
            ["txt2img", "a cat", "--sampelr", "ddim"],
            "; did you mean --sampler? (see: sdlearn txt2img --help)",
        ),
        (
            ["txt2img", "a", "cat", "on", "a", "house"],
            'unrecognized arguments: cat on a house; put the sentence in quotes: "a cat on a house" (see: ',
        ),
        (["check", "everything"], "unrecognized arguments: everything (see: sdlearn check --help)"),
        (
            ["txt2img", "a cat", "--num-inference-steps", "9"],
            "; --num-inference-steps is --steps here (see: ",
        ),
        (["img2img", "a.png", "a cat", "--guidance-scale=9"], "; --guidance-scale is --cfg here (see: "),
        (["txt2img", "a cat", "--negative-prompt", "snow"], "; --negative-prompt is --negative here (see: "),
        (
            ["txt2img", "a cat", "--num_images_per_prompt", "2"],
            "; --num_images_per_prompt is --n here (see: ",
        ),
        (["txt2img", "a cat", "--width", "64"], "; --width is --size here (see: sdlearn txt2img --help)"),
        (
            ["txt2img", "a cat", "--seed", "x"],
            "argument --seed: 'x' must be a whole number, or random (see: ",
        ),
    ],
)
def test_bad_usage_is_told_what_was_meant(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in refused(capsys)


def test_nothing_asked_prints_the_help(capsys):
    assert main([]) == 0
    assert "txt2img" in capsys.readouterr().out


def test_help_shows_single_percent_signs_and_all_parts(capsys):
    for command in ("eval", "train"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
    said = capsys.readouterr().out
    assert "with 95 % intervals" in said
    assert ",".join([*PARTS, "all"]) in said


def test_the_parts_are_those_of_the_training():
    from sdlearn.training.commands import PARTS as THEIRS

    assert PARTS == THEIRS


# Models.


@pytest.mark.parametrize(
    "name, message",
    [
        ("nothing.safetensors", "there is no file or folder 'nothing.safetensors' in "),
        ("nosuch", "no model named 'nosuch' comes with sdlearn; there is 'scenes'. Give "),
        (
            "cats_and_dogs",
            "draws pixels, without text: open it in Python, with sdlearn.checkpoint.load_pixel_model",
        ),
        ("noisy_classifier", "open it in Python, with sdlearn.checkpoint.load_classifier (chapter 09)"),
        ("scenes_detail", "is a second decoder, not a whole model: give it beside one, as --vae "),
        ("a.png", "a.png is a picture, not a model"),
        ("a.safetensors", "a.safetensors is a picture, not a model"),
    ],
)
def test_what_is_no_model_that_draws_is_named(here, capsys, name, message):
    for suffix, kind in ((".png", "PNG"), (".safetensors", "JPEG")):
        Image.new("RGB", (64, 64), "red").save(f"a{suffix}", format=kind)
    assert main(["txt2img", "a cat", "--model", name]) == 2
    assert message in refused(capsys)


def test_one_networks_file_names_the_folder_above(model, capsys):
    file = Path(model, "unet", "diffusion_pytorch_model.safetensors")
    assert main(["inspect", str(file)]) == 2
    assert refused(capsys).endswith(f"not a whole Stable Diffusion 1 or 2: give {Path(model).resolve()}.")


def test_a_tokenizer_for_a_model_that_has_one_is_refused(model, here, capsys):
    assert draw(model, "--tokenizer", "nope") == 2
    assert refused(capsys).startswith(
        "sdlearn: error: --tokenizer is for a single file, which has no vocabulary; "
    )
    assert files(here) == []


@pytest.mark.slow
def test_a_decoder_that_is_shipped_is_an_autoencoder_to_name():
    """As swap_decoder does it; by its name and by its file."""
    from sdlearn.checkpoint import swap_decoder
    from sdlearn.paths import shipped_model

    plain = sdlearn.StableDiffusion.from_pretrained("scenes")
    wanted = swap_decoder(plain.vae, "scenes_detail").state_dict()
    for vae in ("scenes_detail", shipped_model("scenes_detail") / "decoder.safetensors"):
        found = sdlearn.StableDiffusion.from_pretrained("scenes", vae=vae).vae.state_dict()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    own = plain.vae.state_dict()
    assert any(not torch.equal(own[name], wanted[name]) for name in wanted)


# Pictures and their settings.


@pytest.mark.slow
def test_another_autoencoder_is_a_setting(here, capsys):
    """It is not fetched by itself, and both ways of forgetting it are told."""
    quick = ["--steps", "1", "--cfg", "1"]
    assert main(["txt2img", "a cat", *quick, "--out", "plain.png"]) == 0
    assert main(["txt2img", "a cat", *quick, "--vae", "scenes_detail", "--out", "detail.png"]) == 0
    assert "warning" not in capsys.readouterr().err and "vae" not in read_settings("plain.png")
    assert read_settings("detail.png")["vae"] == "scenes_detail"
    assert main(["txt2img", "--from", "detail.png", "--out", "other.png"]) == 0
    assert "was drawn with --vae scenes_detail: this one will differ" in capsys.readouterr().err
    assert main(["txt2img", "--from", "plain.png", "--vae", "scenes_detail", "--out", "third.png"]) == 0
    assert "was drawn without --vae: this one will differ" in capsys.readouterr().err
    assert main(["txt2img", "--from", "detail.png", "--vae", "scenes_detail", "--out", "same.png"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert Path("same.png").read_bytes() == Path("detail.png").read_bytes()


def test_inspect_prints_the_settings_of_a_picture(model, here, capsys):
    assert draw(model, "--seed", "random", "--out", "cat.png") == 0
    capsys.readouterr()
    assert main(["inspect", "cat.png"]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said == {name: repr(value) for name, value in read_settings("cat.png").items()}
    Image.new("RGB", (8, 8)).save("plain.png")
    assert main(["inspect", "plain.png"]) == 2
    assert "'plain.png' holds no settings" in refused(capsys)


def test_inspect_shows_no_control_characters(here, capsys):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("sdlearn", json.dumps({"a\x1b[2J\x9b": "b\x1b]0;\x9b"}))
    Image.new("RGB", (8, 8)).save("bad.png", pnginfo=info)
    assert main(["inspect", "bad.png"]) == 0
    assert capsys.readouterr().out.strip().isprintable()


def test_a_random_seed_is_another_one_each_time(model, here, capsys):
    assert draw(model, "--seed", "-1") == 2
    assert "--seed random takes one by lot" in refused(capsys)
    seeds = {build_parser().parse_args(["txt2img", "a cat", "--seed", "random"]).seed for _ in range(4)}
    assert len(seeds) == 4 and all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.slow
def test_another_sampler_leaves_out_what_it_does_not_know(model, here, capsys):
    assert draw(model, "--sampler", "ddim", "--eta", "0.5", "--out", "eta.png") == 0
    again = ["txt2img", "--from", "eta.png", "--model", model, "--device", "cpu", "--sampler"]
    capsys.readouterr()
    assert main([*again, "unipc", "--out", "unipc.png"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sdlearn: warning: --eta is not for unipc") and "left out" in line
    assert "eta" not in read_settings("unipc.png")
    assert main([*again, "ddpm", "--out", "ddpm.png"]) == 0  # which knows it
    assert read_settings("ddpm.png")["eta"] == 0.5
    capsys.readouterr()
    assert main([*again, "unipc", "--eta", "0.7", "--out", "no.png"]) == 2  # this one was asked for
    assert refused(capsys).startswith("sdlearn: error: --eta is not for unipc")
    assert draw(model, "--spacing", "karras", "--out", "karras.png") == 0
    capsys.readouterr()
    assert (
        main(["txt2img", "--from", "karras.png", "--model", model, "--sampler", "ddim", "--out", "d.png"])
        == 0
    )
    assert "spacing 'karras' is not for ddim" in capsys.readouterr().err
    assert "spacing" not in read_settings("d.png")


def test_settings_of_another_model_are_told_to_be_so(model, here, capsys):
    assert draw(model, "--out", "cat.png") == 0
    capsys.readouterr()
    assert (
        main(["txt2img", "--from", "cat.png", "--steps", "1", "--size", "32x32", "--out", "other.png"]) == 0
    )
    assert (
        "of model 'small', this is 'scenes', which draws another picture: name that one by --model."
        in capsys.readouterr().err
    )


def test_an_empty_prompt_is_a_warning(model, here, capsys):
    assert draw(model, prompt=" ") == 0
    assert "the prompt is empty" in capsys.readouterr().err
    assert draw(model, "--cfg", "0", prompt="") == 0
    assert capsys.readouterr().err == ""


def test_a_file_that_cannot_be_written_is_named_not_a_temporary_one(here, monkeypatch):
    def gone(self, *_, **__):
        raise FileNotFoundError(2, "No such file or directory", ".1234.part")

    monkeypatch.setattr(Image.Image, "save", gone)
    with pytest.raises(ValueError, match=r"^cannot write 'x.png': No such file or directory\.$"):
        sdlearn.image.save_png(Image.new("RGB", (8, 8)), "x.png", {"seed": 1})


def test_a_picture_too_large_is_told_in_gigabytes(capsys, monkeypatch):
    def full(args):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
            "allocate 80000000000 bytes. Error code 12 (Cannot allocate memory)"
        )

    monkeypatch.setattr(drawing_commands, "txt2img", full)
    assert main(["txt2img", "a cat"]) == 2
    assert refused(capsys) == (
        "sdlearn: error: there is no room for a piece of 80.0 GB in memory. Ask for less at once: a smaller size, "
        "number or batch."
    )


# Samplers, weights, words.


@pytest.mark.parametrize("title", [*SAMPLER_TITLES.items(), ("euler_a", "euler-a"), ("unipc", "uni_pc")])
def test_a_samplers_other_names_are_understood(title):
    name, other = title
    if other in SAMPLERS or name == "pndm":  # PLMS is like none of the names
        return
    with pytest.raises(ValueError, match=rf"Did you mean {name}\?"):
        get_sampler(other)


@pytest.mark.parametrize(
    "text, sign",
    [
        ("(cat:1.3", "("),
        ("a [red cat", "["),
        ("((cat) on a house", "("),
        ("(cat:1.3) [red] (house)", ""),
        (r"a \(cat", ""),
        (r"(a cat\)", "("),
        ("[cat:1.3)", "["),
        ("a cat) on a house]", ""),
    ],
)
def test_a_parenthesis_that_nothing_closes_is_told(text, sign):
    assert unclosed(text) == sign


def test_the_warning_about_a_parenthesis(model, here, capsys):
    assert draw(model, "--prompt-weights", prompt="(cat:1.3") == 0
    assert (
        "'(' in '(cat:1.3' is not closed: it is taken to close at the prompt's end" in capsys.readouterr().err
    )
    assert draw(model, "--prompt-weights", prompt="(cat:1.3)") == 0
    assert capsys.readouterr().err == ""


def test_the_words_are_those_of_the_captions(capsys):
    assert main(["scenes", "--words"]) == 0
    printed = capsys.readouterr().out
    told = set(printed.replace(",", " ").replace("(", " ").replace(")", " ").split()) - set(words())
    rng = Random(0)
    said = {word for _ in range(4000) for word in caption(sample_scene(rng), rng).split()}
    assert told - {"a", "an"} == said - {"a", "an"}
