"""Pictures, file names and prompts that users do have: handled, or refused before any network runs."""

import io
import os
import random
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdlearn.cli import main
from sdlearn.image import load_image, save_png
from sdlearn.metadata import parameters_text, parse_parameters, read_settings
from tests.small_pipeline import PIXELS, small_pipeline


@pytest.fixture(scope="module")
def pipe():
    return small_pipeline()


def scene(mode="RGB", size=(PIXELS, PIXELS)):
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned():
    """A picture that says it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(scene(size=(48, 32)), "JPEG", exif=exif, quality=95)


def bomb(width=60000, height=60000):
    """A PNG of some hundred bytes that says it has billions of pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


def text_bomb():
    """A PNG with a comment that unpacks to a hundred megabytes."""
    data = saved(scene(), "PNG")
    packed = b"Comment\0\0" + zlib.compress(bytes(10**8), 9)
    chunk = struct.pack(">I", len(packed)) + b"zTXt" + packed
    return data[:33] + chunk + struct.pack(">I", zlib.crc32(b"zTXt" + packed)) + data[33:]


SIXTEEN = Image.fromarray(np.linspace(0, 65535, PIXELS * PIXELS).reshape(PIXELS, PIXELS).astype(np.uint16))
HANDLED = {
    "RGB": lambda: saved(scene(), "PNG"),
    "grey": lambda: saved(scene("L"), "PNG"),
    "grey with alpha": lambda: saved(scene("LA"), "PNG"),
    "alpha": lambda: saved(scene("RGBA"), "PNG"),
    "palette": lambda: saved(scene("P"), "PNG"),
    "palette with a transparent colour": lambda: saved(scene("P"), "PNG", transparency=3),
    "one bit": lambda: saved(scene("1"), "PNG"),
    "16 bit": lambda: saved(SIXTEEN, "PNG"),
    "CMYK": lambda: saved(scene("CMYK"), "JPEG"),
    "CMYK TIFF": lambda: saved(scene("CMYK"), "TIFF"),
    "LAB": lambda: saved(scene("LAB"), "TIFF"),
    "YCbCr": lambda: saved(scene("YCbCr"), "JPEG"),
    "JPEG": lambda: saved(scene(), "JPEG"),
    "progressive": lambda: saved(scene(), "JPEG", progressive=True),
    "WebP": lambda: saved(scene(), "WEBP"),
    "BMP": lambda: saved(scene(), "BMP"),
    "animated GIF": lambda: saved(scene(), "GIF", save_all=True, append_images=[scene("L")] * 3),
    "animated WebP": lambda: saved(scene(), "WEBP", save_all=True, append_images=[scene()]),
    "several pages": lambda: saved(scene(), "TIFF", save_all=True, append_images=[scene()]),
    "interlaced name": lambda: saved(scene(), "PPM"),
}
REFUSED = {
    "a bomb": (bomb, "pixels"),
    "a smaller bomb": (lambda: bomb(9000, 9000), "9000x9000 pixels are more than"),
    "a bomb of text": (text_bomb, "cannot read"),
    "1 x 1": (lambda: saved(scene(size=(1, 1)), "PNG"), "1x1 pixels, and sides must be multiples of 4"),
    "1 x 1000": (lambda: saved(scene(size=(1, 1000)), "PNG"), "1x1000 pixels"),
    "cut": (lambda: saved(scene(), "PNG")[:-800], "cannot read"),
    "cut JPEG": (lambda: saved(scene(), "JPEG")[:300], "cannot read"),
    "empty": (lambda: b"", "cannot read"),
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9"/></svg>', "cannot read"),
    "text": (lambda: b"a cat", "cannot read"),
    "web page": (lambda: b"<!DOCTYPE html><img src=x>", "cannot read"),
    "zip": (lambda: b"PK\x03\x04" + bytes(99), "cannot read"),
    "floats": (lambda: saved(scene("F"), "TIFF"), "floating-point numbers have no agreed range"),
    "noise": (lambda: np.random.default_rng(1).bytes(999), "cannot read"),
    "wrong checksum": (lambda: saved(scene(), "PNG").replace(b"IDAT", b"IDAX"), "cannot read"),
}


@pytest.mark.parametrize("kind", HANDLED)
def test_pictures_of_every_kind_are_read(kind, pipe, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(HANDLED[kind]())
    image = load_image(path)
    assert image.mode == "RGB" and image.size == (PIXELS, PIXELS)
    quick = {"num_inference_steps": 2, "guidance_scale": 1.0}
    assert pipe.img2img(path, "a cat", **quick).images[0].size == image.size
    assert pipe.inpaint(path, path, "a cat", **quick).images[0].size == image.size


def test_a_picture_on_its_side_is_turned(tmp_path):
    (tmp_path / "turned.jpg").write_bytes(turned())
    assert load_image(tmp_path / "turned.jpg").size == (32, 48)


@pytest.mark.parametrize("kind", REFUSED)
def test_pictures_that_are_none_are_refused(kind, pipe, tmp_path, monkeypatch):
    def ran(*_):
        raise AssertionError("a network ran")

    make, cause = REFUSED[kind]
    path = tmp_path / "picture.png"
    path.write_bytes(make())
    monkeypatch.setattr(pipe, "encode_image", ran)
    monkeypatch.setattr(pipe, "encode_prompt", ran)
    for call in (lambda: pipe.img2img(path, "a cat"), lambda: pipe.inpaint(path, path, "a cat")):
        with pytest.raises(ValueError, match=cause):
            call()


def test_there_are_enough_pictures():
    assert len(HANDLED) + len(REFUSED) + 1 >= 30


# Names of files to write.

NAMES = [
    "", " ", ".", "..", "/", "cat", "cat.", "cat.jpg", "cat.png.exe", ".png", "..png", "cat.png/", "cat.PNG/x",
    "../cat.png/..", "nowhere/cat.png", "../nowhere/cat.png", "/nowhere/cat.png", "//host/share/cat.png",
    "old.png", "./old.png", "../inside/old.png", "folder.png", "old.png/cat.png", "link.png", "loop.png",
    "dangling.png", "cat\0.png", "\0", "x" * 300 + ".png", "y/" * 2000 + "cat.png", "~nobody/cat.png",
    "$HOME/cat.png", "`id`.png/x", "C:\\nowhere\\cat.jpg", "cat.png\n", "cat.png ", "cat.png\t", "-.jpg",
    "--out", "\udcff.jpg", "con", "aux.txt", "%00.gif", "cat.pngx", "cat.p.ng", "cat,png", "cat；png", "cat.рng",
    "*.jpg", "?.gif", "|id", ">cat", "<cat", "cat.png:stream", "/dev/null", "/dev/full", "/dev/stdout",
    "/proc/self/mem", "sealed/cat.png", "file/cat.png", "file/../../cat.png/x",
]  # fmt: skip


def test_no_name_writes_elsewhere_or_over_anything(tmp_path, monkeypatch, capsys):
    """60 names: each is refused, and nothing outside a new file is touched. No network runs: refusals come first."""
    inside = tmp_path / "inside"
    (inside / "folder.png").mkdir(parents=True)
    (inside / "old.png").write_bytes(b"precious")
    (inside / "file").write_bytes(b"precious")
    if os.name == "posix":
        (inside / "link.png").symlink_to(inside / "old.png")
        (inside / "loop.png").symlink_to(inside / "loop.png")
        (inside / "dangling.png").symlink_to(tmp_path / "elsewhere.png")
    monkeypatch.chdir(inside)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert len(NAMES) >= 60
    for name in NAMES:
        try:
            code = main(
                ["txt2img", "a cat", f"--out={name}", "--steps", "1", "--model", "no model of this name"]
            )
        except SystemExit as stopped:
            code = stopped.code
        assert code == 2, name
        error = capsys.readouterr().err
        assert error.startswith("sdlearn: error: ") and "Traceback" not in error, name
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_saving_never_follows_a_dangling_link(tmp_path):
    if os.name != "posix":
        pytest.skip("links need rights on this system")
    (tmp_path / "cat.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(ValueError, match="cannot write"):
        save_png(Image.new("RGB", (8, 8)), tmp_path / "cat.png", {})
    assert not (tmp_path / "elsewhere.png").exists()


# Settings in a picture.

SIGNS = "ab ,:\n\"'\\()[]{}<>|=;#%&\t\r\0\x01\x7f\x85 \u2028é猫😀e\u0301\udc80ﬁ"
SIGNS += "Steps: 20, Seed: 1, Size: 3x3 Negative prompt:"


@pytest.mark.slow
def test_two_thousand_prompts_survive_exactly(tmp_path):
    """As JSON, whatever is in them: half of a surrogate pair, a NUL, lines that look like the other format."""
    rng = random.Random(5)
    image = Image.new("RGB", (8, 8))
    for k in range(2000):
        texts = ["".join(rng.choice(SIGNS) for _ in range(rng.randrange(60))) for _ in range(2)]
        settings = {
            "prompt": texts[0],
            "negative_prompt": texts[1],
            "seed": rng.getrandbits(62),
            "sampler": "euler",
        }
        path = tmp_path / f"{k}.png"
        save_png(image, path, settings)
        assert read_settings(path) == settings
        path.unlink()


def test_settings_of_other_tools_are_read(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    text = (
        "a cat, a castle\nin two lines\nNegative prompt: dog, bad\nSteps: 20, Sampler: DPM++ 2M Karras, "
        'CFG scale: 7.5, Seed: 965400086, Size: 512x768, Model hash: 45dee52b, Model: "a, b", Clip skip: 2, '
        "Denoising strength: 0.6"
    )
    info = PngInfo()
    info.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(tmp_path / "other.png", pnginfo=info)
    assert read_settings(tmp_path / "other.png") == {
        "prompt": "a cat, a castle\nin two lines",
        "negative_prompt": "dog, bad",
        "num_inference_steps": 20,
        "sampler": "dpmpp_2m_karras",
        "guidance_scale": 7.5,
        "seed": 965400086,
        "width": 512,
        "height": 768,
        "model": "a, b",
        "clip_skip": 1,
        "strength": 0.6,
    }
    assert parse_parameters("only a prompt, with: a colon") == {}
    ours = {"prompt": "a cat", "num_inference_steps": 7, "sampler": "unipc", "seed": 3, "guidance_scale": 2.0}
    assert parse_parameters(parameters_text(ours)) == ours | {"negative_prompt": ""}


def test_settings_of_other_tools_that_are_not_read_are_said(tmp_path, monkeypatch, capsys):
    from PIL.PngImagePlugin import PngInfo

    monkeypatch.chdir(tmp_path)
    line = (
        "Steps: 1, Sampler: DPM++ 3M SDE, Schedule type: Automatic, CFG scale: 7, Seed: 1, Size: 128x128, "
        "Model hash: 45dee52b, Model: scenes, Hires upscale: 2, ENSD: 31337, Version: v1.9"
    )
    info = PngInfo()
    info.add_text("parameters", f"a red house\n{line}")
    Image.new("RGB", (8, 8)).save("other.png", pnginfo=info)
    assert main(["txt2img", "--from", "other.png", "--out", "two.png"]) == 0
    assert capsys.readouterr().err.startswith(
        "sdlearn: warning: of the picture's settings these are not read: Sampler: DPM++ 3M SDE, "
        "Hires upscale: 2, ENSD: 31337.\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = {"prompt": "a cat", "num_inference_steps": 7, "sampler": "unipc", "seed": 3, "strength": 0.5}
        assert parse_parameters(parameters_text(ours)) == ours | {"negative_prompt": ""}


@pytest.mark.alone
def test_hostile_settings_take_no_time():
    for text in ("x\n" + "a" * 2**20, "x\n" + "a: " * 2**18, "x\n" + 'a: "' * 4000):
        start = time.perf_counter()
        parse_parameters(text)
        assert time.perf_counter() - start < 1


WRONG = {
    "num_inference_steps": 2.5,
    "guidance_scale": [1],
    "clip_skip": 0.5,
    "long_prompts": 1,
    "seed": True,
    "guidance_interval": 5,
    "cache_interval": 2.5,
    "prompt": 5,
    "eta": "x",
    "sampler": {},
}


ODD = {  # of the right type
    "sampler": "x" * 1000,
    "spacing": "x" * 1000,
    "dtype": "x" * 1000,
    "model": "x" * 1000,
    "guidance_interval": ["0", 5],
}


@pytest.mark.parametrize("name", ODD)
def test_settings_that_no_drawing_has_are_named(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_png(Image.new("RGB", (8, 8)), "one.png", {"prompt": "a cat", name: ODD[name]})
    assert main(["txt2img", "--from", "one.png", "--out", "two.png"]) == 2
    error = capsys.readouterr().err
    assert f"'one.png' says {name!r} is" in error and len(error) < 200 and not Path("two.png").exists()


@pytest.mark.parametrize("wrong", [{"width": 2**62, "height": 8}, {"guidance_scale": 10**400}])
def test_numbers_that_are_too_large_are_refused(wrong, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_png(Image.new("RGB", (8, 8)), "one.png", {"prompt": "a cat", "num_inference_steps": 1} | wrong)
    assert main(["txt2img", "--from", "one.png", "--out", "two.png", "--device", "cpu"]) == 2
    assert capsys.readouterr().err.startswith("sdlearn: error: ") and not Path("two.png").exists()


def test_settings_give_the_terminal_no_commands():
    text = "a cat\nSteps: 1, Sampler: Euler, CFG scale: 1, Extra: \x1b[2J\x9b1m é"
    with pytest.warns(UserWarning, match=r"not read: Extra: \?\[2J\?1m é\.$"):
        parse_parameters(text)


@pytest.mark.parametrize("name", WRONG)
def test_settings_of_the_wrong_type_are_named(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_png(Image.new("RGB", (8, 8)), "one.png", {"prompt": "a cat", name: WRONG[name]})
    assert main(["txt2img", "--from", "one.png", "--out", "two.png"]) == 2
    error = capsys.readouterr().err
    assert "'one.png'" in error and name in error and not Path("two.png").exists()


def test_what_cannot_be_drawn_again_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = {
        "prompt": "a cat",
        "num_inference_steps": 1,
        "model": "another",
        "strength": 0.5,
        "resumed": {"step": 3},
    }
    save_png(Image.new("RGB", (8, 8)), "one.png", settings)
    assert main(["txt2img", "--from", "one.png", "--out", "two.png"]) == 0
    error = capsys.readouterr().err
    for words in (
        "was resumed with other settings",
        "of a redrawn picture",
        "of model 'another', this is 'scenes'",
    ):
        assert words in error


@pytest.mark.slow
def test_a_picture_is_drawn_again_from_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = [
        "txt2img",
        "a red house",
        "--steps",
        "3",
        "--seed",
        "5",
        "--cfg",
        "3",
        "--sampler",
        "euler",
        "--out",
    ]
    assert main([*command, "one.png"]) == 0
    assert main(["txt2img", "--from", "one.png", "--out", "two.png"]) == 0
    assert Image.open("two.png").tobytes() == Image.open("one.png").tobytes()
    assert read_settings("two.png") == read_settings("one.png")
    assert main(["txt2img", "--from", "one.png", "--seed", "6", "--out", "three.png"]) == 0
    three = read_settings("three.png")
    assert three["seed"] == 6 and three["sampler"] == "euler" and three["prompt"] == "a red house"
    Image.new("RGB", (8, 8)).save("plain.png")
    for picture in ("plain.png", "nothing.png"):
        assert main(["txt2img", "--from", picture, "--out", "four.png"]) == 2
    assert main(["txt2img", "--out", "four.png"]) == 2
    assert "give a prompt, or --from FILE.png" in capsys.readouterr().err and not Path("four.png").exists()
