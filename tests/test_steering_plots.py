"""The figures of chapter 09: what is drawn is what was given, and the description states it."""

import numpy as np
import pytest
import torch

from sdlearn import viz
from sdlearn.trace import Prediction, Step


def step(b, c):
    eps = None if b is None else torch.tensor(b, dtype=torch.float32).reshape(1, 1, 1, -1)
    uncond = torch.tensor(c, dtype=torch.float32).reshape(1, 1, 1, -1)
    x = torch.zeros_like(uncond)
    return Step(4, 2.0, 1.0, None, x, Prediction(x, uncond, eps, uncond), x)


def test_intervals_are_drawn_about_their_values_and_told():
    lines = {"good": [(0.5, 0.25, 0.75), (0.75, 0.5, 0.875)], "bad": [(0.25, 0.125, 0.5), (0.125, 0.0, 0.25)]}
    plot = viz.with_intervals({"one": lines, "two": {"": lines["bad"]}}, [1, 7.5], "scale", alt="Two panels.")
    left, right = plot.axes
    good, bad = left.containers
    assert list(good.lines[0].get_ydata()) == [0.5, 0.75] and list(bad.lines[0].get_ydata()) == [0.25, 0.125]
    lows, highs = (list(cap.get_ydata()) for cap in good.lines[1])
    assert lows == [0.25, 0.5] and highs == [0.75, 0.875]
    assert (good.lines[0].get_xdata() < bad.lines[0].get_xdata()).all()  # beside one another
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1", "7.5"]
    assert left.get_ylim()[0] == 0 and left.get_legend() is not None and right.get_legend() is None
    assert plot.alt == (
        "Two panels. one, good: 0.5 at 1, 0.75 at 7.5, most at 7.5; one, bad: 0.25 at 1, 0.12 at 7.5, most at 1; "
        "two: 0.25 at 1, 0.12 at 7.5, most at 1."
    )


@pytest.mark.parametrize(
    "panels", [{}, {"a": {}}, {"a": {"b": [(1, 1, 1)]}}, {"a": {"b": [(1, 1, 1), (1, 1)]}}]
)
def test_intervals_need_a_value_for_each_setting(panels):
    with pytest.raises(ValueError, match="with_intervals needs"):
        viz.with_intervals(panels, [1, 2], "scale", alt="x")


def test_intervals_of_no_settings_are_refused():
    with pytest.raises(ValueError, match="there are 0 settings"):
        viz.with_intervals({"a": {"b": []}}, [], "scale", alt="x")


@pytest.mark.parametrize(
    "triple", [(3, 0, 2), (1, 2, 3), (-1, -2, 0), (np.nan, 0, 1), (1, np.nan, 1), (1, 0, np.inf)]
)
def test_intervals_must_hold_their_values(triple):
    with pytest.raises(ValueError, match="low <= value <= high and value >= 0, all of them finite"):
        viz.with_intervals({"a": {"b": [(1, 1, 1), triple]}}, [1, 2], "scale", alt="x")


def test_intervals_may_miss_by_a_rounding_and_begin_below_zero():
    lines = {"": [(1.0, 1.0 + 1e-16, 1.0 - 1e-16), (0.1, -0.1, 0.3)]}
    assert viz.with_intervals({"a": lines}, [1, 2], "scale", alt="x").png()


def test_a_dollar_sign_is_a_dollar_sign():
    lines = {"$^$": [(1, 1, 1)], "b": [(1, 1, 1)]}
    plot = viz.with_intervals({"$_$": lines}, ["$^^$"], "$x^$", alt="x")
    assert plot.png()
    (axes,) = plot.axes
    assert [label.get_text() for label in axes.get_legend().get_texts()] == ["$^$", "b"]
    assert (axes.get_title(loc="left"), axes.get_xlabel()) == ("$_$", "$x^$")


def test_arrows_keep_lengths_angles_and_the_line():
    """B and C have 4 numbers each: root mean squares 1 and 2, at a right angle."""
    plot = viz.guidance_arrows(step([1, 1, 1, 1], [2, -2, 2, -2]), [0, 1, 3])
    (axes,) = plot.axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    at = np.array([dot.get_xydata()[0] for dot in dots])
    assert np.allclose(at, [(2, 0), (0, 1), (-4, 3)])  # C, B, and three times the way from C to B
    ends = [one.xy for one in axes.texts if one.get_text() == ""]  # the arrows
    assert np.allclose(ends, [(2, 0), (0, 1)])
    assert "Arrows at step 5" in plot.alt and "90 degrees" in plot.alt and "scale 3 5.00" in plot.alt


def test_arrows_need_two_answers():
    with pytest.raises(ValueError, match="asked only once"):
        viz.guidance_arrows(step(None, [1, 1]), [1])


def test_an_answer_without_a_direction_has_no_arrow():
    with pytest.raises(ValueError, match="points nowhere"):
        viz.guidance_arrows(step([1, 1], [0, 0]), [1])
