"""The figures: what they show is what they were given, and each carries its description."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from sdlearn import viz
from sdlearn.viz.plots import BAND, GAP


def pixels(plot: viz.Plot) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(plot.png())).convert("RGB"))


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Random pixels of twelve colours: a saved figure keeps that many exactly."""
    palette = np.random.default_rng(0).integers(0, 256, (12, 3), dtype=np.uint8)
    return Image.fromarray(palette[np.random.default_rng(seed).integers(0, 12, (height, width))])


def test_strip_shows_every_pixel_in_its_place():
    upper, lower = [picture(40, 32, 1), picture(24, 32, 2)], [picture(40, 20, 3), picture(24, 16, 4)]
    shown = pixels(viz.strip({"": upper, "second": lower}, ["a", "b"], alt="x", zoom=1))
    assert shown.shape == (GAP + BAND + 32 + GAP + BAND + 20 + GAP, GAP + 40 + GAP + 24 + GAP, 3)
    top = GAP + BAND
    assert np.array_equal(shown[top : top + 32, GAP : GAP + 40], np.asarray(upper[0]))
    assert np.array_equal(shown[top : top + 32, 2 * GAP + 40 : -GAP], np.asarray(upper[1]))
    low = top + 32 + GAP + BAND
    assert np.array_equal(shown[low : low + 20, GAP : GAP + 40], np.asarray(lower[0]))
    assert np.array_equal(shown[low : low + 16, 2 * GAP + 40 : -GAP], np.asarray(lower[1]))
    assert (shown[low + 16 : low + 20, 2 * GAP + 40 : -GAP] == 255).all()


def test_a_wide_strip_shrinks_and_a_small_one_grows():
    square = picture(128, 128, 1)
    assert pixels(viz.strip({"": [square] * 12}, alt="x")).shape[1] <= 1000
    assert pixels(viz.strip({"": [square]}, alt="x")).shape[1] == 2 * 128 + 2 * GAP


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(rows={}, alt="x"), "at least one row"),
        (dict(rows={"a": []}, alt="x"), "at least one row"),
        (dict(rows={"a": [picture(8, 8, 1)]}, columns=["1", "2"], alt="x"), "2 column titles for 1 columns"),
        (dict(rows={"a": [picture(8, 8, 1)]}, alt=" "), "alt is empty"),
    ],
)
def test_strip_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        viz.strip(**arguments)


def test_false_colours_are_the_first_three_channels():
    latents = torch.zeros(2, 4, 2, 3)
    latents[0, :, 0, 0] = torch.tensor([2.5, -2.5, 0.0, 9.0])
    latents[1, :, 1, 2] = torch.tensor([-9.0, 9.0, 1.25, 9.0])  # beyond the reach, and half of it
    first, second = viz.false_colours(latents, size=4)
    assert first.size == second.size == (6, 4)
    assert first.getpixel((1, 1)) == (255, 0, 128) and first.getpixel((2, 1)) == (128, 128, 128)
    assert second.getpixel((5, 3)) == (0, 255, 191)


def images_of(plot: viz.Plot) -> list:
    return [image for axes in plot.axes for image in axes.get_images()]


def test_heat_maps_share_one_scale_around_zero():
    one, two = torch.full((2, 3, 4), 0.5), torch.full((2, 3, 4), -2.0)
    maps = images_of(viz.heat_maps({"one": one, "two": two}, alt="x"))
    assert [image.get_clim() for image in maps] == [(-2.0, 2.0)] * 4
    assert [float(image.get_array().mean()) for image in maps] == [0.5, 0.5, -2.0, -2.0]
    with pytest.raises(ValueError, match="same shape"):
        viz.heat_maps({"one": one, "two": two[:1]}, alt="x")


def test_vectors_has_one_named_row_a_vector():
    values = torch.arange(12.0).reshape(3, 4) - 6
    plot = viz.vectors(values, ["a", "b", "c"], alt="x")
    assert np.array_equal(images_of(plot)[0].get_array(), values.numpy())
    assert [label.get_text() for label in plot.axes[0].get_yticklabels()] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="one row a name"):
        viz.vectors(values, ["a", "b"], alt="x")


def test_curves_show_the_numbers_from_zero_on():
    plot = viz.curves({"left": {"one": [3, 4], "two": [5, 6]}, "right": {"": [-1, 2]}}, [1, 8], "x", alt="x")
    left, right = plot.axes
    assert [line.get_xydata().tolist() for line in left.lines] == [[[1, 3], [8, 4]], [[1, 5], [8, 6]]]
    assert left.get_ylim()[0] == 0 and right.get_ylim()[0] == -1
    assert (
        len({line.get_color() for line in left.lines}) == len({line.get_marker() for line in left.lines}) == 2
    )
    with pytest.raises(ValueError, match="1 to 3 lines"):
        viz.curves({"": dict.fromkeys("abcd", [1, 2])}, [1, 8], "x", alt="x")
    even = viz.curves({"": {"": [3, 4]}}, [1, 8], "x", alt="x", even=True).axes[0]
    assert even.lines[0].get_xydata().tolist() == [[0, 3], [1, 4]]
    assert [label.get_text() for label in even.get_xticklabels()] == ["1", "8"]


def test_a_figure_carries_its_description_and_is_the_same_every_time():
    def figure() -> viz.Plot:
        return viz.curves({"a": {"": [1, 2]}}, [1, 2], "x", alt="  A line\n  that rises. ")

    data, metadata = figure()._repr_mimebundle_()
    assert data["text/plain"] == metadata["image/png"]["alt"] == "A line that rises."
    assert figure().png() == figure().png()
