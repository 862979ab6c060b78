"""Figures of texts: likeness, tokens, attention to words."""

import pkgutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from sdlearn import viz
from sdlearn.bpe import END, START, byte_symbols
from sdlearn.tokenizer import Tokenizer, TokenizerWork, WordWork
from sdlearn.viz.figure import BAND, DPI
from sdlearn.viz.text_plots import MOST_CUT, TINTS, readable

GENERATOR = torch.Generator().manual_seed(0)
MAPS = torch.rand(4, 3, 6, generator=GENERATOR) * 0.2
WORDS = ["(start)", "a", "cat", "(end)"]


def tokenizer(length: int = 8) -> Tokenizer:
    """Every byte is a token, and "cat" a word of one piece."""
    symbols = [symbol + mark for symbol in byte_symbols().values() for mark in ("", "</w>")]
    names = [*symbols, "ca", "cat</w>", START, END]
    return Tokenizer({name: k for k, name in enumerate(names)}, [("c", "a"), ("ca", "t</w>")], length)


def images_of(plot: viz.Plot) -> list:
    return [image for axes in plot.axes for image in axes.get_images() if image.get_array().shape != (1, 64)]


def words(plot: viz.Plot) -> list[str]:
    return [text.get_text() for text in plot.texts]


def test_similarity_matrix_shows_the_numbers_on_a_scale_around_zero():
    values = torch.tensor([[1.0, -0.25, 0.5], [-0.25, 1.0, 0.125]])
    plot = viz.similarity_matrix(values, ["a $cat", "a dog"], ["a $cat", "a dog", "a very long $^$text"])
    shown = images_of(plot)[0]
    assert np.array_equal(shown.get_array(), values) and shown.get_clim() == (-1, 1)
    axes = plot.axes[0]
    assert [text.get_text() for text in axes.texts] == ["1.00", "−0.25", "0.50", "−0.25", "1.00", "0.12"]
    assert [text.get_weight() for text in axes.texts] == ["bold", *["normal"] * 3, "bold", "normal"]
    assert [text.get_position() for text in axes.texts][1] == (1, 0)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a $cat", "a dog"]
    assert axes.get_xticklabels()[2].get_text() == "a very long $^$text"
    assert "2 rows and 3 columns, values from -0.25 to 1.00" in plot.alt
    assert (
        "apart from itself: a $cat: a very long $^$text (0.50); a dog: a very long $^$text (0.12)" in plot.alt
    )
    assert plot.png()


@pytest.mark.parametrize("label", ["mammoth mummies, mmm", "illicit, ill", "a $cat"])
def test_a_matrix_leaves_its_labels_the_room_they_need(label):
    plot = viz.similarity_matrix(torch.eye(2), [label, "a"], ["a", "b"])
    plot.png()
    left = plot.axes[0].get_yticklabels()[0].get_window_extent().x0
    assert 0 <= left < 20


@pytest.mark.parametrize(
    "columns", [["mammoth mummies, mmmmmm", "a"], ["a", "mammoth mummies, mmmmmm"], ["mmmmmm", "w"]]
)
def test_a_matrix_leaves_its_columns_labels_the_room_they_need(columns):
    plot = viz.similarity_matrix(torch.eye(2), ["a", "b"], columns)
    plot.png()
    width, height = plot.get_size_inches() * DPI
    labels = plot.axes[0].get_xticklabels()
    assert all(label.get_rotation() == 45 for label in labels)  # they are wider than their columns
    places = [label.get_window_extent() for label in labels]
    assert max(place.x1 for place in places) <= width
    assert max(place.y1 for place in places) <= height - BAND  # below the key to the colours


def test_similarities_above_zero_fill_the_scale_and_many_carry_no_numbers():
    values = 0.6 + 0.2 * torch.rand(20, 12, generator=torch.Generator().manual_seed(1))
    plot = viz.similarity_matrix(values, [f"r{k}" for k in range(20)], [f"c{k}" for k in range(12)])
    assert images_of(plot)[0].get_clim() == (values.min().item(), values.max().item())
    assert not plot.axes[0].texts and "and 8 more rows" in plot.alt and "itself" not in plot.alt
    assert f"r0: c{int(values[0].argmax())} (" in plot.alt


def test_numbers_are_seen_on_their_cells():
    plot = viz.similarity_matrix(torch.tensor([[0.0, 1.0]]), ["r"], ["a", "b"])
    assert [text.get_color() for text in plot.axes[0].texts] == ["white", "black"]  # on dark, on light


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(2, 3), r"must be \(1, 3\), a number a pair; got \(2, 3\)"),
        (torch.full((1, 3), torch.nan), "NaN or infinity"),
    ],
)
def test_similarity_matrix_refuses(values, message):
    with pytest.raises(ValueError, match=message):
        viz.similarity_matrix(values, ["r"], ["a", "b", "c"])


def test_token_table_has_pieces_above_their_ids():
    work = tokenizer().encode_and_show_work("Cat at")
    plot = viz.token_table(work)
    ids = [str(id_) for id_ in work.ids]
    pairs = ["start", ids[0], "cat·", ids[1], "a", ids[2], "t·", ids[3], "end", ids[4], "padding × 3", ids[5]]
    assert words(plot)[1:] == pairs and words(plot)[0].startswith("5 of 8 places used; ")
    colours = [plate.get_facecolor() for plate in plot.artists]
    assert colours[2] == colours[3] != colours[1]  # two pieces of one word, and the word before
    assert (
        f"3 pieces with their ids: cat {ids[1]}, a {ids[2]}, t {ids[3]}." in plot.alt
        and "cut" not in plot.alt
    )


def test_plates_are_wider_than_their_pieces_and_stand_beside_one_another():
    tokens = ("mushroom</w>", "mmmmmmmmmmmm</w>", "illicit</w>", "wwww</w>", "i</w>")
    one_word = (WordWork("", (), (), tokens),)
    plot = viz.token_table(TokenizerWork("", "", one_word, tokens, (), (49406, *[1234567890] * 5, 49407)))
    plot.png()
    plates = [plate.get_window_extent() for plate in plot.artists]
    names, ids = ([word.get_window_extent() for word in plot.texts[k::2]] for k in (1, 2))
    for plate, name, number in zip(plates, names, ids, strict=True):
        assert plate.x0 + 5 < name.x0 and name.x1 < plate.x1 - 5
        assert plate.x0 <= number.x0 and number.x1 <= plate.x1
    assert all(a.x1 < b.x0 for a, b in pairwise(plates))


def test_token_table_marks_what_is_cut():
    work = tokenizer(5).encode_and_show_work("cat " * 5)
    plot = viz.token_table(work)
    assert words(plot)[-4:] == ["cat·", "cut", "cat·", "cut"]
    assert (
        "5 of 5 places used, 2 pieces cut off" in words(plot)[0]
        and "2 pieces are cut off, from “cat·”" in plot.alt
    )
    assert words(plot)[-6:-4] == ["end", str(work.ids[-1])]
    assert plot.texts[-2].get_color() != plot.texts[-6].get_color()
    long = viz.token_table(tokenizer(5).encode_and_show_work("cat " * 3000))
    assert f"and {3000 - 3 - MOST_CUT} more" in words(long) and long.get_size_inches()[1] < 10


def test_token_table_of_nothing_and_of_something_else():
    assert "as 0 pieces with their ids: none" in viz.token_table(tokenizer().encode_and_show_work("")).alt
    with pytest.raises(TypeError, match="encode_and_show_work"):
        viz.token_table(["a", "cat"])


def test_pieces_can_be_read():
    symbols = byte_symbols()
    spelled = "".join(symbols[byte] for byte in "é".encode())
    assert readable("cat</w>") == "cat·" and readable("ca") == "ca"
    assert readable(spelled) == "é" and readable(spelled[0] + "</w>") == "c3·"
    assert readable("".join(symbols[byte] for byte in "猫".encode())) == "U+732B"  # not in the font
    assert readable(END) == END


def test_more_words_than_colours_never_put_one_beside_itself():
    work = tokenizer(16).encode_and_show_work("cat " * 12)
    colours = [plate.get_facecolor() for plate in viz.token_table(work).artists][1:13]
    assert len(colours) == 12 > len(set(colours)) == len(TINTS)
    assert all(a != b for a, b in zip(colours, colours[1:]))


def test_attention_maps_stand_on_one_scale():
    plot = viz.attention_by_word(WORDS, MAPS)
    shown = images_of(plot)
    assert all(np.array_equal(image.get_array(), one) for image, one in zip(shown, MAPS, strict=True))
    assert {image.get_clim() for image in shown} == {(0, float(MAPS.max()))}
    assert [word for word in words(plot) if word in WORDS] == WORDS
    assert f"{MAPS[2].mean():.1%}".replace("%", " %") in words(plot)


def test_attention_maps_lie_over_the_picture():
    picture = Image.new("RGB", (48, 24), "red")
    plot = viz.attention_by_word(WORDS, MAPS, picture)
    first, *rest = images_of(plot)
    assert np.array_equal(first.get_array(), np.asarray(picture))
    for k, one in enumerate(MAPS):
        below, above = rest[2 * k : 2 * k + 2]
        assert below.get_array().shape == (24, 48, 3) and (below.get_array() == 64 + 76 // 2).all()
        assert np.array_equal(above.get_array(), one) and 0.5 < above.get_alpha() < 1
        assert below.get_extent() == above.get_extent()
    assert picture.getpixel((0, 0)) == (255, 0, 0)


def test_attention_maps_tell_where():
    maps = torch.zeros(2, 3, 6)
    maps[0, 0, 5], maps[1, 1, 2] = 0.9, 0.18
    alt = viz.attention_by_word(["sun", "cat"], maps).alt
    assert (
        "from 0 to 0.90. Mean share of each: sun: 5.0%, most in the upper right; cat: 1.0%, most in the middle."
        in alt
    )


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (MAPS[:3], r"must be \(4, h, w\), one a word; got \(3, 3, 6\)"),
        (MAPS[0], r"one a word; got \(3, 6\)"),
        (MAPS - 0.5, "shares of attention, from 0 to 1"),
        (MAPS * torch.nan, "shares of attention, from 0 to 1"),
    ],
)
def test_attention_maps_refuse(maps, message):
    with pytest.raises(ValueError, match=message):
        viz.attention_by_word(WORDS, maps)


@pytest.mark.slow
def test_nothing_is_changed_and_the_same_figure_has_the_same_bytes():
    work, before = tokenizer().encode_and_show_work("cat at $5"), MAPS.clone()
    figures = [
        lambda: viz.similarity_matrix(MAPS[0], list("abc"), list("uvwxyz")),
        lambda: viz.token_table(work),
        lambda: viz.attention_by_word(WORDS, MAPS, Image.new("RGB", (48, 24))),
    ]
    for figure in figures:
        assert figure().png() == figure().png()
        assert min(text.get_fontsize() for text in figure().texts) >= 9
    assert torch.equal(MAPS, before)


def test_no_module_hides_a_function_of_viz():
    """``viz.name`` becomes a module as soon as anybody imports sdlearn/viz/name.py."""
    modules = {module.name for module in pkgutil.iter_modules(viz.__path__)}
    assert not modules & set(viz.__all__), "give the module another name than the function"
