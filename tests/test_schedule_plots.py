"""Figures of noise: every line and bar is the number it stands for, and the description says so."""

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image

from sdlearn import viz
from sdlearn.config import ScheduleConfig
from sdlearn.schedule import Schedule

KINDS = {"linear": "linear", "scaled": "scaled_linear", "cosine": "squaredcos_cap_v2"}
SCHEDULES = {name: Schedule(replace(ScheduleConfig(), beta_schedule=kind)) for name, kind in KINDS.items()}
GREY = Image.new("RGB", (32, 32), "grey")


def lines(axes) -> dict:
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_schedules_are_drawn_from_their_tables():
    plot = viz.noise_schedules(SCHEDULES, 400, [GREY] * 3, steps=[0, 500, 999])
    beta, alpha_bar, sigma, log_snr = plot.axes[:4]
    for name, one in SCHEDULES.items():
        np.testing.assert_array_equal(lines(beta)[name].get_ydata(), one.betas)
        np.testing.assert_array_equal(lines(alpha_bar)[name].get_ydata(), one.alpha_bar)
        np.testing.assert_array_equal(lines(sigma)[name].get_ydata(), one.sigmas)
        np.testing.assert_allclose(lines(log_snr)[name].get_ydata(), one.snr(range(1000)).log(), rtol=1e-12)
        assert lines(beta)[name].get_markevery() == [0, 500, 999]
    assert len(plot.axes) == 4 + 3  # and a picture each
    assert beta.get_ylim()[0] < min(float(one.betas.min()) for one in SCHEDULES.values())
    assert sigma.get_ylim()[1] > max(float(one.sigmas.max()) for one in SCHEDULES.values())
    assert log_snr.get_ylim()[0] < min(math.log(one.snr(999)) for one in SCHEDULES.values())


def test_schedules_are_described_with_their_figures():
    alt = viz.noise_schedules(SCHEDULES, 400, [GREY] * 3, steps=[0, 500]).alt
    for name, one in SCHEDULES.items():
        assert f"{name}: β {float(one.betas[400]):.2g}, ᾱ {float(one.alpha_bar[400]):.2g}" in alt
        assert f"at the end σ {float(one.sigmas[-1]):.3g}" in alt
    assert "noised to t = 400" in alt and "2 visited timesteps" in alt


@pytest.mark.parametrize(
    "schedules, pictures", [({}, 0), (SCHEDULES, 2), (dict.fromkeys("abcd", Schedule()), 4)]
)
def test_schedules_need_a_picture_each(schedules, pictures):
    with pytest.raises(ValueError, match="1 to 3 schedules, and a picture for each"):
        viz.noise_schedules(schedules, 0, [GREY] * pictures)


def test_schedule_of_any_picture_size_and_the_last_timestep():
    assert (
        viz.noise_schedules({"one": Schedule()}, 999, [GREY]).png()
        == viz.noise_schedules({"one": Schedule()}, 999, [GREY]).png()
    )


def test_clouds_are_where_their_points_are():
    left, right = np.array([[-1.0, 2.0], [-2.0, 0.5]]), np.array([[3.0, 1.0]])
    plot = viz.clouds({"row": [{"a": left, "b": right}, {"a": left}]}, ["now", "later"], reach=5, alt="dots")
    first, second = plot.axes
    shown = [np.asarray(group.get_offsets()) for group in first.collections]
    np.testing.assert_array_equal(shown[0], left)
    np.testing.assert_array_equal(shown[1], right)
    assert len(second.collections) == 1
    assert first.get_xlim() == first.get_ylim() == (-5, 5)
    assert [text.get_text() for text in plot.texts] == ["row", "now", "later"]
    with pytest.raises(ValueError, match="2 plots, one a column title"):
        viz.clouds({"row": [{"a": left}]}, ["now", "later"], reach=5, alt="dots")


def test_bars_of_a_histogram_have_area_one_even_when_numbers_lie_outside():
    numbers, edges = [0.5, 0.5, 1.5, 9.0], [0.0, 1.0, 2.0]
    plot = viz.densities({"panel": (numbers, [0.1, 0.2, 0.3])}, edges, [0, 1, 2], alt="bars", curve="s")
    (axes,) = plot.axes
    assert [entry.get_text() for entry in axes.get_legend().get_texts()] == ["histogram", "s"]
    np.testing.assert_allclose(axes.patches[0].get_data().values, [2 / 4, 1 / 4])
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="at least one panel"):
        viz.densities({}, edges, [0], alt="bars")


def test_measurements_are_counted_against_theory():
    line = dict(x=[0, 10], y=[0, 10])  # y = x
    near = viz.Measured(**line, places=[2, 4], values=[2.5, 4.0], interval=[1, 1])
    far = viz.Measured(**line, places=[2, 4], values=[3.5, 4.9], interval=[1, 1])
    plot = viz.against_theory({"a": {"near": near, "far": far}, "b": {"near": near}}, "x", alt="Lines.")
    assert plot.alt == "Lines. 5 of 6 measured intervals hold the line of theory."
    marks = [container.lines[0] for container in plot.axes[0].containers]
    np.testing.assert_allclose(marks[0].get_xdata(), [1.91, 3.91])  # side by side, not one over the other
    np.testing.assert_allclose(marks[1].get_xdata(), [2.09, 4.09])
    np.testing.assert_array_equal(marks[1].get_ydata(), [3.5, 4.9])
    bars = plot.axes[0].containers[1].lines[2][0].get_segments()
    np.testing.assert_allclose(bars[0], [[2.09, 2.5], [2.09, 4.5]])
    np.testing.assert_array_equal(plot.axes[1].containers[0].lines[0].get_xdata(), [2, 4])
    assert legend(plot.axes[0]) == ["theory", "near", "far"]
    assert [list(line.get_ydata()) for line in plot.axes[0].get_lines()].count(
        [0, 10]
    ) == 1  # one line for both
    with pytest.raises(ValueError, match="1 to 3 lines"):
        viz.against_theory({"a": {}}, "x", alt="Lines.")


def test_different_theories_have_a_line_each_and_all_is_in_the_legend():
    one = viz.Measured([0, 10], [0, 10], [2, 4], [2.0, 4.0], [1, 1])
    other = viz.Measured([0, 10], [10, 0], [2, 4], [8.0, 6.0], [1, 1])
    (axes,) = viz.against_theory({"a": {"up": one, "down": other}}, "x").axes
    assert [0, 10] in [list(line.get_ydata()) for line in axes.get_lines()]
    assert [10, 0] in [list(line.get_ydata()) for line in axes.get_lines()]
    np.testing.assert_array_equal(axes.containers[1].lines[0].get_xdata(), [2, 4])
    assert legend(axes) == ["up", "down"]
    assert {"-", "--"} <= {line.get_linestyle() for line in axes.get_legend().findobj(Line2D)}
    assert axes.get_legend().get_title().get_text() == "line: theory; mark: measured"
