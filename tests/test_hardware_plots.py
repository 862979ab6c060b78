"""Figures of speed: bars are shares, points lie where their numbers say, and the description has them all."""

import pytest

from sdlearn import viz


def test_work_and_time_has_two_bars_a_row():
    plot = viz.work_and_time(
        {"parts": {"one": (0.75, 0.5), "other": (0.25, 0.5)}, "kinds": {"all": (1.0, 1.0)}}
    )
    first, second = plot.axes
    assert sorted(bar.get_width() for bar in first.patches) == [25, 50, 50, 75]
    assert [bar.get_width() for bar in second.patches] == [100, 100]
    assert "one 75 % of the FLOPs, 50 % of the time" in plot.alt and "kinds: all 100 %" in plot.alt


def test_the_roof_is_the_lower_line_and_points_are_where_they_are():
    kinds = {"norm": [(0.5, 3e9)], "linear": [(10.0, 80e9), (20.0, 120e9)]}
    plot = viz.roofline(100e9, 25e9, {"here": kinds, "there": {"linear": [(8.0, 100e9)]}})
    roof, norms, linears = plot.axes[0].lines
    assert roof.get_xydata()[1].tolist() == [4, 100] and max(roof.get_ydata()) == 100
    assert roof.get_ydata()[0] == pytest.approx(25 * roof.get_xdata()[0])
    assert norms.get_xydata().tolist() == [[0.5, 3]]
    assert linears.get_xydata().tolist() == [[10, 80], [20, 120]]
    assert plot.axes[0].get_ylim()[1] > 120, "a point above the roof is seen"
    assert "linear at 15 FLOPs a byte, 100 GFLOP/s" in plot.alt


def test_the_legend_names_kinds_of_every_panel():
    kinds = {"norm": [(0.5, 3e9)], "linear": [(10.0, 80e9)]}
    plot = viz.roofline(100e9, 25e9, {"here": kinds, "there": {"linear": [(8.0, 100e9)]}})
    named = {
        label.get_text(): handle.get_color()
        for label, handle in zip(plot.legends[0].get_texts(), plot.legends[0].legend_handles, strict=True)
    }
    assert set(named) == {"norm", "linear"}
    assert {line.get_label(): line.get_color() for axes in plot.axes for line in axes.lines[1:]} == named


def test_improvements_are_medians_beside_the_first():
    plot = viz.improvements({"plain": [0.2, 0.1, 0.9], "quick": [0.05, 0.1, 0.04]})
    (axes,) = plot.axes
    assert [bar.get_width() for bar in axes.patches] == [200, 50]
    assert [list(line.get_xdata()) for line in axes.lines] == [[200, 100, 900], [50, 100, 40]]
    assert [text.get_text() for text in axes.texts] == ["x 1.00", "x 4.00"]
    assert "quick: 50, 4.00 times" in plot.alt


def test_published_seconds_are_drawn_as_they_are():
    plot = viz.improvements({"plain": [1.5], "quick": [0.5]}, "seconds of a picture")
    (axes,) = plot.axes
    assert [bar.get_width() for bar in axes.patches] == [1.5, 0.5] and not axes.lines
    assert axes.get_xlabel() == "seconds of a picture" and "plain: 1.5, 1.00 times" in plot.alt


def test_intensities_are_strokes_in_rows_and_ridges_are_lines():
    plot = viz.intensities({"norm": [0.5, 0.6], "linear": [80.0]}, {"here": 5.0, "card": 76.5})
    (axes,) = plot.axes
    norms, linears, here, card = axes.lines
    assert norms.get_xydata().tolist() == [[0.5, 0], [0.6, 0]] and linears.get_xydata().tolist() == [[80, 1]]
    assert here.get_xdata() == [5, 5] and card.get_xdata() == [76.5, 76.5]
    assert here.get_linestyle() != card.get_linestyle()
    assert "norm from 0.5 to 0.6" in plot.alt and "card at 76.5" in plot.alt


def test_rates_stand_beside_their_peaks():
    plot = viz.rates({"card": (50e12, 200e12), "mine": (0.02e12, 0.1e12)}, ["mine"])
    (axes,) = plot.axes
    assert [line.get_xdata()[0] for line in axes.lines] == [50, 200, 50, 0.02, 0.1, 0.02]
    assert axes.lines[2].get_color() != axes.lines[5].get_color()
    assert [text.get_text() for text in axes.texts] == ["25 %", "20 %"]
    assert "card: 50 of 200" in plot.alt


@pytest.mark.parametrize(
    "empty",
    [
        lambda: viz.work_and_time({"parts": {}}),
        lambda: viz.roofline(1e9, 1e9, {"here": {}}),
        lambda: viz.improvements({}),
        lambda: viz.intensities({"norm": []}, {"here": 1.0}),
        lambda: viz.rates({}),
    ],
)
def test_nothing_cannot_be_drawn(empty):
    with pytest.raises(ValueError, match="at least one"):
        empty()
