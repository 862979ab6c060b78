"""The figure of what is in a file: parts lie one after the other, and each has its colour, name and number."""

import pytest

from sdlearn import viz

ROWS = {"one": {"U-Net": 1.72, "text": 0.25}, "two": {"U-Net": 1.73, "text": 0.05}}


def test_parts_lie_one_after_the_other_from_zero():
    plot = viz.stacked_bars(ROWS, "gigabytes", alt="Two bars.")
    (axes,) = plot.axes
    bars = [(bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in axes.patches]
    expected = [(0, 1.72, 0), (1.72, 0.25, 0), (0, 1.73, 1), (1.73, 0.05, 1)]
    assert bars == [pytest.approx(bar, abs=1e-9) for bar in expected]
    assert axes.get_xlim()[0] == 0 and axes.get_xlabel() == "gigabytes"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is on top
    numbers = [words.get_text() for words in axes.texts]
    assert numbers == ["1.72", "0.25", "1.97", "1.73", "1.78"]  # no room for 0.05
    assert [words.get_text() for words in plot.texts] == ["■ U-Net", "■ text"]
    assert plot.alt == "Two bars." and plot.png().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "rows", [{}, {"one": {}}, {"one": {"a": 1}, "two": {"b": 1}}, {"one": dict.fromkeys("abcd", 1)}]
)
def test_other_tables_are_refused(rows):
    with pytest.raises(ValueError, match="the same in each row"):
        viz.stacked_bars(rows, "GB", alt="None.")


def test_adding_noise_turns_an_arrow_and_v_stands_at_a_right_angle_at_its_end():
    plot = viz.turning({"none": 0.0, "half": 0.8}, alt="Two arrows.")
    (axes,) = plot.axes
    arrows = [(words.xyann, words.xy) for words in axes.texts if getattr(words, "arrowprops", None)]
    assert len(arrows) == 4
    for (start, end), (foot, tip) in zip(arrows[::2], arrows[1::2], strict=True):
        assert start == (0, 0) and end == foot and end[0] ** 2 + end[1] ** 2 == pytest.approx(1)
        along = tip[0] - end[0], tip[1] - end[1]
        assert along[0] * end[0] + along[1] * end[1] == pytest.approx(0, abs=1e-9)
        assert along[0] * -end[1] + along[1] * end[0] > 0  # v points to where the noise grows
    told = [words.get_text() for words in axes.texts if words.get_text()]
    assert told == ["x0", "ε", "x_t, none", "v", "x_t, half", "v"] and plot.alt == "Two arrows."
    with pytest.raises(ValueError, match="angles"):
        viz.turning({"too far": 2.0}, alt="None.")
