"""The command line: what it writes, what it refuses, and that a refusal writes nothing."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_pipeline import PIXELS, small_pipeline

import sdlearn
from sdlearn import commands, drawing_commands
from sdlearn.cli import build_parser, main
from sdlearn.image import load_image, save_png
from sdlearn.metadata import read_settings
from sdlearn.wishes import Wishes
from sdlearn.wording import FIRST, OPTIONS, for_command_line

PROMPT = "an orange cat"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a tiny random model."""
    return str(small_pipeline().save_pretrained(tmp_path_factory.mktemp("models") / "small", torch.float32))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def draw(model: str, *arguments: str, prompt: str = PROMPT) -> int:
    return main(["txt2img", prompt, "--model", model, "--steps", "3", "--device", "cpu", *arguments])


def refused(capsys, code: int = 2) -> str:
    """The single line that a refused command said."""
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


def pixels(path) -> np.ndarray:
    return np.asarray(load_image(path), dtype=int)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# What it writes.


def test_txt2img_draws_what_the_pipeline_draws(model, here, capsys):
    assert draw(model, "--seed", "7", "--cfg", "3", "--sampler", "ddim", "--negative", "a red castle") == 0
    path = here / "outputs" / "an-orange-cat-7.png"
    assert capsys.readouterr().out == f"wrote {Path('outputs', path.name)}\n"
    pipe = sdlearn.StableDiffusion.from_pretrained(model)
    wanted = pipe.txt2img(PROMPT, "a red castle", 3, 3.0, "ddim", seed=7)
    assert np.array_equal(pixels(path), np.asarray(wanted.images[0]))
    assert read_settings(path) == wanted.settings


def test_defaults_are_the_pipelines():
    """The command line and the library draw the same picture when nothing is said."""
    theirs = {
        name: p.default for name, p in inspect.signature(sdlearn.StableDiffusion.txt2img).parameters.items()
    }
    theirs |= {field.name: field.default for field in fields(Wishes)}
    ours = drawing_commands.drawing_arguments(build_parser().parse_args(["txt2img", "a cat"]))
    assert {name: value for name, value in ours.items() if theirs[name] != value} == {"record": False}
    strength = inspect.signature(sdlearn.StableDiffusion.img2img).parameters["strength"].default
    assert build_parser().parse_args(["img2img", "a.png", "a cat"]).strength == strength


def test_nothing_is_overwritten(model, here):
    assert [draw(model) for _ in range(3)] == [0, 0, 0]
    assert files(here / "outputs") == [
        "an-orange-cat-0.png",
        "an-orange-cat-0_2.png",
        "an-orange-cat-0_3.png",
    ]


def test_several_pictures_are_each_as_if_alone(model, here):
    assert draw(model, "--n", "3", "--seed", "5", "--out", "cat.png") == 0
    assert files(here) == ["cat-5.png", "cat-6.png", "cat-7.png"]
    assert draw(model, "--seed", "6", "--out", "alone.png") == 0
    assert abs(pixels("cat-6.png") - pixels("alone.png")).max() <= 1
    assert abs(pixels("cat-6.png") - pixels("cat-7.png")).max() > 10
    assert read_settings("cat-6.png") == read_settings("alone.png")


def test_a_picture_of_a_batch_drawn_in_python_is_drawn_again(model, here, capsys):
    pipe = sdlearn.StableDiffusion.from_pretrained(model)
    out = pipe.txt2img([PROMPT, "a castle"], num_inference_steps=3, seed=[4, 9])
    save_png(out.images[1], "one.png", out.settings_of(1))
    again = ["txt2img", "--model", model, "--device", "cpu", "--out", "again.png", "--from"]
    assert main([*again, "one.png"]) == 0
    assert abs(pixels("again.png") - pixels("one.png")).max() <= 1
    save_png(out.images[1], "all.png", out.settings)
    assert main([*again, "all.png"]) == 2
    assert "does not say which it is (prompt): save each with out.settings_of(k)" in capsys.readouterr().err


def test_steps_strip(model, here, capsys):
    """A column a step: above the noisy latents, below what the network believes; at last the picture."""
    assert draw(model, "--steps-strip", "--n", "2", "--out", "cat.png") == 0
    assert files(here) == ["cat-0-steps.png", "cat-0.png", "cat-1-steps.png", "cat-1.png"]
    assert capsys.readouterr().out.splitlines()[-1] == "wrote cat-1-steps.png"
    strip = pixels("cat-1-steps.png")
    assert strip.shape == (2 * PIXELS + 2, 3 * PIXELS + 4, 3)
    # the last step of this sampler goes to its prediction: bottom right is the picture
    assert abs(strip[-PIXELS:, -PIXELS:] - pixels("cat-1.png")).max() <= 1
    pipe = sdlearn.StableDiffusion.from_pretrained(model)
    step = pipe.txt2img(PROMPT, num_inference_steps=3, seed=1).steps[1]
    noisy = pipe.decode(step.x / (1 + step.sigma**2) ** 0.5)[0]
    assert abs(strip[:PIXELS, PIXELS + 2 : 2 * PIXELS + 2] - np.asarray(noisy, dtype=int)).max() <= 1


def test_a_long_strip_shows_eight_steps_with_first_and_last(model, here):
    assert draw(model, "--steps", "20", "--steps-strip", "--out", "cat.png") == 0
    assert Image.open("cat-steps.png").width == 8 * (PIXELS + 2) - 2


def test_size_is_width_by_height(model, here):
    assert draw(model, "--size", "48x32", "--out", "wide.png") == 0
    assert Image.open("wide.png").size == (48, 32)


def test_img2img(model, here):
    assert draw(model, "--out", "first.png") == 0
    again = ["img2img", "first.png", "a red castle", "--model", model, "--steps", "4", "--device", "cpu"]
    assert main([*again, "--strength", "0.5", "--seed", "3", "--out", "second.png"]) == 0
    pipe = sdlearn.StableDiffusion.from_pretrained(model)
    wanted = pipe.img2img("first.png", "a red castle", 0.5, num_inference_steps=4, seed=3)
    assert np.array_equal(pixels("second.png"), np.asarray(wanted.images[0]))
    assert read_settings("second.png")["strength"] == 0.5


def test_scenes_draws_a_sheet(here, capsys):
    assert main(["scenes", "--n", "2", "--seed", "4"]) == 0
    path = Path("outputs", "scenes-4.png")
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert len(np.unique(pixels(path).reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize(
    "prompt, stem",
    [
        ("An Orange cat, on a RED castle!", "an-orange-cat-on-a-red-castle"),
        ("", "picture"),
        ("🐈", "picture"),
        ("../../x", "x"),
        ("con aux: nul?", "con-aux-nul"),
        ("x" * 200, "x" * 60),
    ],
)
def test_file_names_are_safe(prompt, stem):
    assert drawing_commands.slug(prompt) == stem


def test_bfloat16_draws_nearly_the_same(model, here):
    assert draw(model, "--out", "a.png") == 0
    assert draw(model, "--dtype", "bfloat16", "--out", "b.png") == 0
    difference = abs(pixels("a.png") - pixels("b.png"))
    assert 0 < difference.mean() < 20
    assert main(["txt2img", "--from", "b.png", "--model", model, "--device", "cpu", "--out", "c.png"]) == 0
    assert np.array_equal(pixels("c.png"), pixels("b.png"))
    save_png(Image.open("b.png"), "d.png", {**read_settings("b.png"), "dtype": "__file__"})
    assert main(["txt2img", "--from", "d.png", "--model", model, "--device", "cpu", "--out", "e.png"]) == 2


# What it refuses: one line, exit code 2, no file.


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--sampler", "euler_b"], "unknown sampler 'euler_b'; use one of ddpm, ddim, euler"),
        (["--steps", "0"], "--steps must be from 1 to 1000, got 0"),
        (["--cfg", "nan"], "--cfg must be a finite number >= 0 (usual: 1 to 15), got nan"),
        (["--size", "42x32"], "--size: width=42 must be a positive multiple of 4: take 40 or 44"),
        (["--seed", f"{2**63 - 1}", "--n", "2"], "--seed must be from 0 to 2**63 - 1 for all 2 pictures"),
        (["--seed", "-1"], "--seed must be from 0 to 2**63 - 1, got -1"),
        (["--model", "no/such/folder"], "no/such/folder does not exist"),
        (["--model", "nosuch"], "no model named 'nosuch' comes with sdlearn"),
        (["--device", "toaster"], "--device 'toaster' is unknown; use cpu, cuda, cuda:1 or mps"),
        (["--device", "cuda:99"], "--device 'cuda:99' is not available here"),
        (["--out", "cat.jpg"], "'cat.jpg': the name must end in .png"),
        (["--out", "missing/cat.png"], "cannot write into 'missing': it does not exist; create it first"),
        (["--out", "taken.png"], "'taken.png' exists and is not overwritten"),
        (["--out", "taken.png/cat.png"], "cannot write into 'taken.png': it is not a folder"),
        (["--out", "a.png", "--steps-strip"], "'a-steps.png' exists and is not overwritten"),
    ],
)
def test_bad_input(model, here, capsys, arguments, message):
    Path("taken.png").write_bytes(b"mine")
    Path("a-steps.png").write_bytes(b"mine")
    before = files(here)
    assert draw(model, *arguments) == 2
    assert refused(capsys).startswith(f"sdlearn: error: {message}")
    assert files(here) == before and not Path("outputs").exists()
    assert Path("taken.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "message, shown",
    [
        (
            "strength=0.01 of num_inference_steps=25 leaves no step",
            "--strength=0.01 of --steps=25 leaves no step",
        ),
        ("eta is not for lms; it is for ddim.", "--eta is not for lms; it is for ddim."),
        ("the model's clip_skip is 'clip_skip'", "the model's --clip-skip is 'clip_skip'"),
        (
            "they are read with prompt_weights=True (which see)",
            "they are read with --prompt-weights (which see)",
        ),
        ("'a seed must grow' looks odd", "'a seed must grow' looks odd"),
        ("there is no seed must", "there is no seed must"),
    ],
)
def test_messages_name_options_and_leave_what_was_given(message, shown):
    assert for_command_line(message) == shown


def test_every_option_that_messages_name_is_there():
    options = build_parser().parse_args(["img2img", "a.png", "a cat"])
    named = [option for text in OPTIONS.values() for option in re.findall("--([a-z-]+)", text)]
    assert all(hasattr(options, option.replace("-", "_")) for option in [*named, *FIRST])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["img2img"], "the following arguments are required: image (see: sdlearn img2img --help)"),
        (["txt2img", "a cat", "--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (
            ["txt2img", "a cat", "--size", "128"],
            "argument --size: '128' must look like 192x128 (width x height)",
        ),
        (["txt2img", "a cat", "--n", "0"], "argument --n: '0' must be a whole number of at least 1"),
        (["txt2img", "a cat", "--dtype", "int8"], "argument --dtype: invalid choice: 'int8'"),
        (["paint", "a cat"], "argument COMMAND: invalid choice: 'paint'"),
        (["train", "vea"], "argument part: invalid choice: 'vea'"),
    ],
)
def test_bad_usage(here, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert refused(capsys).startswith(f"sdlearn: error: {message}")
    assert files(here) == []


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("missing.png", None, "there is no picture file 'missing.png'"),
        ("text.png", b"hello", "cannot read 'text.png' as a picture"),
        ("cut.png", "cut", "cannot read 'cut.png' as a picture"),
    ],
)
def test_unreadable_pictures(model, here, capsys, name, content, message):
    if content == "cut":
        Image.new("RGB", (64, 64), "red").save(name)
        content = Path(name).read_bytes()[:60]
    if content is not None:
        Path(name).write_bytes(content)
    before = files(here)
    assert main(["img2img", name, "a cat", "--model", model]) == 2
    assert refused(capsys).startswith(f"sdlearn: error: {message}")
    assert files(here) == before


def test_a_damaged_weight_file_is_refused(model, here, capsys):
    shutil.copytree(model, "damaged")
    weights = Path("damaged", "unet", "diffusion_pytorch_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1000])
    before = files(here)
    assert draw("damaged") == 2
    assert "diffusion_pytorch_model.safetensors" in refused(capsys)
    assert files(here) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(model, here, capsys):
    Path("locked").mkdir(mode=0o500)
    assert draw(model, "--out", "locked/cat.png") == 2
    assert refused(capsys) == "sdlearn: error: cannot write into 'locked': no permission."


def test_a_disk_that_fills_up_leaves_no_piece_of_a_file(model, here, capsys, monkeypatch):
    def fail(self, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    assert draw(model, "--out", "cat.png") == 2
    assert "No space left on device" in refused(capsys)
    assert files(here) == []


def test_interrupted_while_drawing(model, here, capsys, monkeypatch):
    def interrupted(self, *_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sdlearn.StableDiffusion, "predict", interrupted)
    assert draw(model) == 130
    assert refused(capsys) == "sdlearn: interrupted, 0 of 1 pictures are written"
    assert files(here) == []


def test_an_interruption_keeps_what_is_drawn(model, here, capsys, monkeypatch):
    """Pictures are drawn and written a few at a time, and are those of a run that nobody stops."""
    assert draw(model, "--n", "5", "--out", "whole.png") == 0
    monkeypatch.setattr(drawing_commands, "PIXELS_TOGETHER", 2 * PIXELS**2)
    drawing, calls = sdlearn.StableDiffusion.txt2img, []

    def stopped(self, *arguments, **wishes):
        calls.append(wishes["num_images_per_prompt"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return drawing(self, *arguments, **wishes)

    monkeypatch.setattr(sdlearn.StableDiffusion, "txt2img", stopped)
    capsys.readouterr()
    assert draw(model, "--n", "5", "--out", "cat.png") == 130
    said = capsys.readouterr()
    told = "4 of 5 pictures are written (they are drawn 2 at a time)"
    assert said.err == f"sdlearn: interrupted, {told}\n" and calls == [2, 2, 1]
    assert said.out.splitlines() == [f"wrote cat-{k}.png" for k in range(4)]
    for k in range(4):
        assert abs(pixels(f"cat-{k}.png") - pixels(f"whole-{k}.png")).max() <= 1
        assert read_settings(f"cat-{k}.png") == read_settings(f"whole-{k}.png")


def test_a_warning_is_said_once_for_all_pictures(model, here, capsys, monkeypatch):
    monkeypatch.setattr(drawing_commands, "PIXELS_TOGETHER", 1)
    assert draw(model, "--n", "3", prompt="a cat and " * 10) == 0
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_cut_prompt_is_one_plain_warning(model, here, capsys):
    assert draw(model, prompt="a cat and " * 10) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sdlearn: warning: ") and "and a cat and a cat" in line


# The other commands.


def test_recipe_changes():
    changes = commands.recipe_changes(
        ["training.steps=100", "training.learning_rate=1e-3", "training.precision=no"]
    )
    assert changes == {"training.steps": 100, "training.learning_rate": 1e-3, "training.precision": "no"}
    assert commands.recipe_changes(["model.block_out_channels=[8, 16]"]) == {
        "model.block_out_channels": [8, 16]
    }
    with pytest.raises(ValueError, match="--set 'steps' must look like training.steps=100"):
        commands.recipe_changes(["steps"])


def test_train_hands_everything_on(here, capsys, monkeypatch):
    called = []
    monkeypatch.setattr("sdlearn.training.commands.train", lambda *a, **k: called.append((a, k)) or Path("m"))
    arguments = [
        "--out",
        "r",
        "--recipe",
        "x.toml",
        "--resume",
        "--set",
        "training.steps=2",
        "--device",
        "cpu",
    ]
    assert main(["train", "vae", *arguments]) == 0
    wanted = {"recipe": Path("x.toml"), "changes": {"training.steps": 2}, "resume": True, "cpu": True}
    assert called == [(("vae", Path("r")), wanted)]
    assert capsys.readouterr().out == "wrote m\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--recipe", "missing.toml"], "recipe missing.toml cannot be read"),
        (["--set", "training.stepz=2"], "the recipe has no entry 'training.stepz'"),
    ],
)
def test_train_refuses(here, capsys, arguments, message):
    assert main(["train", "vae", *arguments]) == 2
    assert refused(capsys).startswith(f"sdlearn: error: {message}")
    assert files(here) == []


def test_eval_prints_and_saves_the_same_figures(here, capsys, monkeypatch, model):
    from sdlearn import evaluate
    from sdlearn.scenes.oracle import Oracle

    asked = []

    def fake(pipe, oracle, cases, **settings):
        asked.append((len(cases), cases[0].prompt, settings))
        return {measure: evaluate.Share(3, 4) for measure in evaluate.MEASURES}

    monkeypatch.setattr(evaluate, "evaluate", fake)
    monkeypatch.setattr(Oracle, "load", lambda folder=None: None)
    assert main(["eval", "--n", "4", "--cfg", "3", "--model", model, "--out", "figures.json"]) == 0
    settings = {"guidance_scale": 3.0, "num_inference_steps": 25}
    firsts = [evaluate.fixed_cases(1, split)[0].prompt for split in ("train", "held_out")]
    assert asked == [(4, first, settings) for first in firsts]
    assert capsys.readouterr().out.count("75.0 %") == 10
    saved = json.loads(Path("figures.json").read_text(encoding="utf-8"))
    assert saved["guidance_scale"] == 3 and saved["main"]["held out"]["objects"]["share"] == 0.75


def test_lab_opens_the_notebooks(repository, monkeypatch):
    called = []
    monkeypatch.setattr(subprocess, "call", lambda command: called.append(command) or 0)
    assert main(["lab", "--no-browser"]) == 0
    assert called == [[sys.executable, "-m", "jupyterlab", str(repository / "notebooks"), "--no-browser"]]


def test_lab_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["lab"]) == 2
    assert refused(capsys).endswith(
        'JupyterLab is not installed; in the clone: python -m pip install --editable ".[course]"'
    )


# From outside: a process of its own.


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sdlearn", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_help_and_version_need_no_torch(here):
    code = "import sys, sdlearn.cli as c\ntry: c.main(['--help'])\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False" and "txt2img" in done.stdout
    done = run("--version", cwd=here)
    assert (done.returncode, done.stdout.strip()) == (0, f"sdlearn {sdlearn.__version__}")


@pytest.mark.slow
def test_a_real_process_draws_without_a_bar_and_reports_errors(model, here):
    done = run("txt2img", PROMPT, "--model", model, "--steps", "2", "--out", "cat.png", cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote cat.png\n", "")
    assert Image.open(here / "cat.png").size == (PIXELS, PIXELS)
    done = run("txt2img", PROMPT, "--model", model, "--out", "cat.png", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "sdlearn: error: 'cat.png' exists and is not overwritten; choose another name.\n"


def test_inspect_tells_what_is_in_a_model(capsys):
    """Without a number of the weights being read: torch's readers of files are not even asked."""
    assert main(["inspect", "scenes"]) == 0
    text = capsys.readouterr().out
    assert "Stable Diffusion 1, predicts epsilon" in text and "parameters  float16" in text
    assert all(name in text for name in ("unet", "vae", "text_encoder", "vocabulary"))
    assert main(["inspect", "no/such/model"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_inpaint_paints_where_the_mask_is_white(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["txt2img", "a red house", "--steps", "2", "--out", "house.png"]) == 0
    mask = Image.new("L", (128, 128))
    mask.paste(255, (64, 0, 128, 128))
    mask.save("mask.png")
    command = ["inpaint", "house.png", "mask.png", "a blue cat", "--steps", "3", "--paste-original", "--out"]
    assert main([*command, "out.png"]) == 0
    before, after = (np.asarray(load_image(name), dtype=float) for name in ("house.png", "out.png"))
    assert (
        np.abs(after[:, :48] - before[:, :48]).max() <= 1
        and np.abs(after[:, 80:] - before[:, 80:]).max() > 30
    )
    assert read_settings("out.png")["paste_original"] is True


@pytest.mark.slow
def test_every_wish_reaches_the_pipeline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wishes = "--spacing karras --rescale 0.5 --guidance-interval 0.3:9 --clip-skip 1 --prompt-weights --long-prompts"
    wishes += " --cache-interval 2"
    assert main(["txt2img", "a (red:1.2) house", "--steps", "2", *wishes.split(), "--out", "one.png"]) == 0
    settings = read_settings("one.png")
    assert settings["spacing"] == "karras" and settings["guidance_interval"] == [0.3, 9.0]
    assert settings["guidance_rescale"] == 0.5 and settings["clip_skip"] == 1
    assert settings["cache_interval"] == 2
    assert settings["prompt_weights"] is True and settings["long_prompts"] is True
    assert main(["txt2img", "--from", "one.png", "--out", "two.png"]) == 0
    assert Image.open("two.png").tobytes() == Image.open("one.png").tobytes()
    eta = ["--sampler", "ddim", "--eta", "0.5", "--steps", "2"]
    assert main(["txt2img", "a red house", *eta, "--out", "three.png"]) == 0
    assert read_settings("three.png")["eta"] == 0.5
    assert main(["txt2img", "a red house", "--save-memory", "--steps", "2", "--out", "four.png"]) == 0
