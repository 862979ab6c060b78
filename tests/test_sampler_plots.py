"""The figures of chapter 03: what is drawn is what was given, and the description states it."""

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from sdlearn import viz
from sdlearn.viz import sampler_plots

CROSSES = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
STEPS = [5, 10, 20, 40]


def line_of(axes, label):
    (line,) = [line for line in axes.lines if line.get_label().startswith(label)]
    return line


def test_the_slope_of_a_power_is_its_exponent():
    for order in (1, 2, 3.5):
        assert viz.slope(STEPS, [7 * steps**-order for steps in STEPS]) == pytest.approx(order)


def test_paths_show_every_moment_and_tell_where_they_end():
    moments = torch.tensor([[[0.0, 0.5], [0.2, 0.0]], [[1.0, 0.3], [-1.0, 0.1]]])  # (2 moments, 2 points, 2)
    plot = viz.paths({"a": moments, "b": moments[-1:]}, CROSSES, reach=2, alt="Two points move.")
    left, right = plot.axes
    crosses, first, second, starts, ends = left.lines
    assert np.allclose(crosses.get_xydata(), CROSSES)
    assert np.allclose(first.get_xydata(), moments[:, 0]) and np.allclose(second.get_xydata(), moments[:, 1])
    assert np.allclose(starts.get_xydata(), moments[0]) and np.allclose(ends.get_xydata(), moments[1])
    assert len(right.lines) == 2 and np.allclose(right.lines[1].get_xydata(), moments[1])
    assert left.get_xlim() == left.get_ylim() == (-2, 2)
    assert plot.alt == "Two points move. Mean distance to the nearest cross: a 0.20; b 0.20."


def test_many_points_are_small_and_grey_and_hide_no_cross():
    plot = viz.paths({"": torch.rand(3, 40, 2)}, CROSSES, reach=2, alt="x")
    path, dots = plot.axes[0].lines[1], plot.axes[0].lines[-1]
    assert path.get_color() == sampler_plots.PALE and dots.get_markersize() < 3
    assert plot.axes[0].lines[0].get_zorder() > dots.get_zorder()


def test_panels_break_into_rows():
    wide = viz.paths({str(k): torch.zeros(1, 3, 2) for k in range(3)}, CROSSES, reach=1, alt="x")
    high = viz.paths({str(k): torch.zeros(1, 3, 2) for k in range(3)}, CROSSES, reach=1, alt="x", columns=2)
    assert wide.get_size_inches()[0] <= 10 and high.get_size_inches()[1] > wide.get_size_inches()[1]


def test_stairs_hold_plan_and_measurement():
    plot = viz.stairs([4.0, 2.0, 1.0, 0.0], {"good": [4.0, 2.0, 1.0, 0.0], "bad": [4.0, 3.0, 1.0, 0.5]})
    assert plot.alt == (
        "Stairs of 3 steps from σ = 4 to 0. good: off by up to 0 % of a level. bad: off by up to 50 % of a level."
    )
    linear, logarithmic = plot.axes
    assert (linear.get_yscale(), logarithmic.get_yscale()) == ("linear", "log")
    for axes in plot.axes:
        assert list(line_of(axes, "planned").get_ydata()) == [4.0, 2.0, 1.0, 0.0]
        assert list(line_of(axes, "bad").get_ydata()) == [4.0, 3.0, 1.0, 0.5]
    assert linear.get_ylim()[0] <= 0 < logarithmic.get_ylim()[0] < 1


def test_noise_levels_are_one_row_each():
    plot = viz.noise_levels({"even": [4.0, 3.0, 2.0, 1.0, 0.0], "early": [4.0, 1.0, 0.5, 0.25]})
    left, right = plot.axes
    assert plot.alt == ("How many steps end below half of the first noise level: even 2 of 4; early 3 of 3.")
    assert list(left.lines[0].get_xdata()) == [4, 3, 2, 1] and set(left.lines[0].get_ydata()) == {0}
    assert list(left.lines[1].get_xdata()) == [4, 1, 0.5, 0.25] and set(left.lines[1].get_ydata()) == {-1}
    assert left.xaxis_inverted() and [text.get_text() for text in left.texts] == [
        "0"
    ]  # of the one that ends there
    assert list(right.lines[0].get_ydata()) == [0, 0.25, 0.5, 0.75, 1]
    assert [label.get_text() for label in left.get_yticklabels()] == ["even", "early"]


def test_errors_are_drawn_with_the_fit_of_their_end():
    bent = [0.5, 0.25, 0.01, 0.0025]  # of order 2 between the last two
    plot = viz.error_against_steps(
        {"one": {"m": bent}, "two": {"m": [1 / n for n in STEPS]}}, STEPS, fit_from=2
    )
    assert plot.alt == "Slopes of the error. one: m 2.00. two: m 1.00."
    axes = plot.axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    fit, drawn = axes.lines
    assert drawn.get_label() == "m: slope 2.00" and list(drawn.get_ydata()) == bent
    assert np.allclose(fit.get_ydata(), [0.01 * (20 / n) ** 2 for n in STEPS])


def test_six_styles_differ_in_colour_and_mark():
    colours = {to_rgb(style["color"]) for style in sampler_plots.STYLES}
    marks = {style["marker"] for style in sampler_plots.STYLES}
    assert len(colours) == len(marks) == len(sampler_plots.STYLES) == 6


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: viz.paths({}, CROSSES, reach=1, alt="x"), "at least one panel"),
        (
            lambda: viz.paths({"a": torch.zeros(3, 2)}, CROSSES, reach=1, alt="x"),
            r"'a': paths are .* got \(3, 2\)",
        ),
        (lambda: viz.stairs([2.0, 1.0], {"a": [2.0]}), "each of 2 values"),
        (lambda: viz.stairs([2.0], {str(k): [2.0] for k in range(7)}), "at most 6"),
        (lambda: viz.noise_levels({}), "1 to 6 schedules"),
        (lambda: viz.error_against_steps({}, STEPS), "at least one panel"),
        (lambda: viz.error_against_steps({"a": {}}, STEPS), "at least one panel"),
    ],
)
def test_bad_input_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_the_same_figure_is_the_same_bytes():
    figures = [
        viz.error_against_steps({"a": {"m": [math.exp(-n) for n in range(4)]}}, STEPS) for _ in range(2)
    ]
    assert figures[0].png() == figures[1].png()
