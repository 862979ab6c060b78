"""Pictures: tensors, reading anything, grids, and PNG files that carry their settings."""

import json
import os
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from sdlearn import image as images
from sdlearn import metadata


def picture(width=6, height=4, seed=0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def test_to_tensor_has_the_layout_and_range_of_the_autoencoder():
    image = Image.new("RGB", (3, 2), (0, 255, 51))
    image.putpixel((2, 0), (255, 0, 0))
    pixels = images.to_tensor([image, image])
    assert pixels.shape == (2, 3, 2, 3) and pixels.dtype == torch.float32 and pixels.is_contiguous()
    assert torch.allclose(pixels[1, :, 1, 0], torch.tensor([-1.0, 1.0, -0.6]), atol=1e-6)
    assert pixels[0, :, 0, 2].tolist() == [1.0, -1.0, -1.0]


def test_every_level_survives_the_way_there_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    image = Image.fromarray(levels)
    assert (np.asarray(images.to_images(images.to_tensor(image))[0]) == levels).all()


def test_to_images_rounds_and_clamps_and_leaves_its_input_alone():
    # 0.5019 * 255 = 127.98: rounding gives 128, cutting off would give 127.
    pixels = torch.tensor([0.0038, -3.0, 3.0]).view(1, 3, 1, 1)
    before = pixels.clone()
    assert images.to_images(pixels)[0].getpixel((0, 0)) == (128, 0, 255)
    assert torch.equal(pixels, before)
    assert images.to_images(torch.full((2, 3, 4, 5), 0.5, dtype=torch.float16))[1].size == (5, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_to_images_refuses_what_is_not_finite(value):
    pixels = torch.zeros(1, 3, 2, 2)
    pixels[0, 1, 1, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        images.to_images(pixels)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"not \(3, 2, 2\)"):
        images.to_images(torch.zeros(3, 2, 2))
    with pytest.raises(ValueError, match="same size"):
        images.to_tensor([picture(4, 4), picture(4, 5)])
    with pytest.raises(ValueError, match="one or more"):
        images.to_tensor([])


def test_same_pixels_as_diffusers():
    processor = pytest.importorskip("diffusers.image_processor").VaeImageProcessor()
    batch = [picture(16, 8, seed) for seed in range(2)]
    assert torch.equal(images.to_tensor(batch), processor.preprocess(batch))
    pixels = torch.randn(2, 3, 8, 16, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(images.to_images(pixels), processor.postprocess(pixels), strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_transparency_is_laid_on_white():
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 51))
    assert [images.to_rgb(image).getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (204, 204, 204)]
    assert images.to_rgb(Image.new("LA", (1, 1), (0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_palettes_grey_and_print_colours_become_rgb(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.gif", transparency=0)
    loaded = images.load_image(tmp_path / "p.gif")
    assert [loaded.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (200, 100, 50)]
    assert images.to_rgb(Image.new("L", (1, 1), 7)).getpixel((0, 0)) == (7, 7, 7)
    assert images.to_rgb(Image.new("1", (1, 1), 1)).getpixel((0, 0)) == (255, 255, 255)
    assert images.to_rgb(Image.new("CMYK", (1, 1), (0, 255, 255, 0))).getpixel((0, 0)) == (255, 0, 0)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    levels = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    loaded = images.load_image(tmp_path / "deep.png")
    assert [loaded.getpixel((x, 0))[0] for x in range(3)] == [0, 100, 255]
    with pytest.raises(ValueError, match="floating-point"):
        images.load_image(Image.new("F", (2, 2)))


def test_a_phone_picture_is_turned_upright(tmp_path):
    image = Image.new("RGB", (16, 8), "red")
    image.paste("blue", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    image.save(tmp_path / "phone.jpg", exif=exif, quality=100, subsampling=0)
    loaded = images.load_image(str(tmp_path / "phone.jpg"))
    assert loaded.size == (8, 16)
    assert loaded.getpixel((4, 2))[2] > 200 and loaded.getpixel((4, 13))[0] > 200  # blue was left, now on top


def test_load_image_cuts_around_the_middle_and_resizes():
    wide = Image.new("RGB", (40, 10), "red")
    wide.paste("blue", (15, 0, 25, 10))
    middle = images.load_image(wide, size=(5, 5))
    assert middle.size == (5, 5) and middle.getpixel((2, 2))[2] > 250
    assert images.load_image(wide, size=(40, 10)).tobytes() == wide.tobytes()


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "cut", "garbage"])
def test_an_unreadable_picture_is_named(tmp_path, kind):
    path = tmp_path / f"{kind}.png"
    picture(64, 64).save(tmp_path / "good.png")
    good = (tmp_path / "good.png").read_bytes()
    garbage = good[:8] + bytes(byte ^ 0xA5 for byte in good[8:])
    contents = {
        "empty": b"",
        "text": b"<html>not found</html>",
        "cut": good[: len(good) // 2],
        "garbage": garbage,
    }
    if kind == "folder":
        path.mkdir()
    elif kind in contents:
        path.write_bytes(contents[kind])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        images.load_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8200, 10_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(13, header), (4, b"IDATbomb")]
    data = b"".join(
        struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body)) for size, body in chunks
    )
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(ValueError, match=rf"bomb\.png.*{side}x{side}|bomb\.png.*{side**2} pixels"):
        images.load_image(tmp_path / "bomb.png")


def test_load_image_wants_a_path_or_a_picture():
    with pytest.raises(TypeError, match="not ndarray: PIL.Image.fromarray makes one"):
        images.load_image(np.zeros((2, 2, 3)))


def test_check_size():
    images.check_size(64, 128, 8)
    with pytest.raises(ValueError, match="width=100 must be a positive multiple of 8: take 96 or 104"):
        images.check_size(100, 64, 8)
    with pytest.raises(ValueError, match="height=3 .* take 8"):
        images.check_size(8, 3, 8)
    with pytest.raises(ValueError, match="width=0 "):
        images.check_size(0, 8, 8)
    for wrong in (64.0, "64", True, None):
        with pytest.raises(TypeError, match="whole number"):
            images.check_size(wrong, 64, 8)


def test_grid_places_pictures_row_by_row():
    batch = [picture(6, 4, seed) for seed in range(5)]
    sheet = images.grid(batch, columns=3)
    gap = images.GAP
    assert sheet.size == (3 * 6 + 2 * gap, 2 * 4 + gap)
    for k, (x, y) in enumerate([(0, 0), (6 + gap, 0), (12 + 2 * gap, 0), (0, 4 + gap), (6 + gap, 4 + gap)]):
        assert sheet.crop((x, y, x + 6, y + 4)).tobytes() == batch[k].tobytes()
    assert sheet.getpixel((6, 0)) == sheet.getpixel((19, 9)) == (255, 255, 255)
    assert images.grid(batch[:4]).size == (2 * 6 + gap, 2 * 4 + gap)
    assert images.grid(batch[:2], columns=9).size == (2 * 6 + gap, 4)
    with pytest.raises(ValueError, match="columns=0"):
        images.grid(batch, columns=0)
    with pytest.raises(ValueError, match="one or more"):
        images.grid([])


SETTINGS = {
    "prompt": "an orange cat,\non a castle: né 猫",
    "negative_prompt": "blur",
    "num_inference_steps": 25,
    "sampler": "euler_a",
    "guidance_scale": 7.5,
    "seed": 7,
    "width": 128,
    "height": 64,
    "model": "a, b",
}


def test_parameters_are_written_as_other_tools_read_them():
    lines = metadata.parameters_text(SETTINGS).split("\n")
    assert lines[:3] == ["an orange cat,", "on a castle: né 猫", "Negative prompt: blur"]
    assert (
        lines[3]
        == 'Steps: 25, Sampler: Euler a, CFG scale: 7.5, Seed: 7, Size: 128x64, Model: "a, b", RNG: CPU'
    )
    # The pattern with which readers take the last line apart; they want at least three matches.
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', lines[3])
    assert dict(pairs)["Seed"] == "7" and json.loads(dict(pairs)["Model"]) == "a, b" and len(pairs) == 7
    assert metadata.parameters_text({"prompt": "x"}) == "x\nRNG: CPU"
    assert "Denoising strength: 0.6" in metadata.parameters_text({"strength": 0.6})


def test_save_png_keeps_pixels_and_settings(tmp_path):
    path = tmp_path / "new" / "cat.png"
    assert images.save_png(picture(), path, SETTINGS) == path
    assert metadata.read_settings(path) == SETTINGS
    with Image.open(path) as saved:
        assert saved.tobytes() == picture().tobytes()
        assert saved.info["parameters"] == metadata.parameters_text(SETTINGS)
    assert os.listdir(path.parent) == ["cat.png"]


def test_a_picture_without_settings_is_a_plain_png(tmp_path):
    with Image.open(images.save_png(picture(), tmp_path / "plain.png")) as saved:
        assert saved.tobytes() == picture().tobytes() and saved.info == {}


def test_save_png_never_overwrites(tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(b"precious")
    with pytest.raises(ValueError, match="it exists and is not overwritten"):
        images.save_png(picture(), path, {})
    # Also when another program takes the name while the picture is being written.
    late = tmp_path / "late.png"

    class Slow:
        def save(self, file, **options):
            picture().save(file, **options)
            late.write_bytes(b"precious")

    with pytest.raises(ValueError, match=r"late\.png"):
        images.save_png(Slow(), late, {})
    assert path.read_bytes() == late.read_bytes() == b"precious"
    assert sorted(os.listdir(tmp_path)) == ["cat.png", "late.png"]


def test_save_png_leaves_nothing_behind_when_it_fails(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.png"):
        images.save_png(picture(), tmp_path / "cat.jpg", {})
    for settings in ({"a": float("nan")}, {"a": object()}):
        with pytest.raises(ValueError, match="cannot be written as JSON"):
            images.save_png(picture(), tmp_path / "cat.png", settings)
    with pytest.raises(ValueError, match="cannot write"):  # PNG knows no such colours
        images.save_png(Image.new("CMYK", (2, 2)), tmp_path / "cat.png", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write"):
        images.save_png(picture(), tmp_path / "file" / "cat.png", {})
    assert os.listdir(tmp_path) == ["file"]


def test_read_settings_of_other_files(tmp_path):
    picture().save(tmp_path / "plain.png")
    with pytest.raises(ValueError, match="holds no settings"):
        metadata.read_settings(tmp_path / "plain.png")
    with pytest.raises(ValueError, match=r"there is no picture file .*nothing\.png"):
        metadata.read_settings(tmp_path / "nothing.png")


def test_unused_path_counts_on(tmp_path):
    path = tmp_path / "cat.png"
    for name in ("cat.png", "cat_2.png", "cat_3.png"):
        assert images.unused_path(path).name == name
        (tmp_path / name).write_text("")
