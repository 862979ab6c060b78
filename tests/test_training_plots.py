"""The figures of chapter 02: what they show is what they were given, and what their descriptions say is so."""

import math

import numpy as np
import pytest
import torch

from sdlearn import viz
from sdlearn.viz.plots import LINES
from sdlearn.viz.training_plots import running_mean


def test_a_running_mean_is_the_mean_of_its_window():
    values = [3.0, 1.0, 4.0, 1.0, 5.0]
    assert running_mean(values, 2).tolist() == [2.0, 2.5, 2.5, 3.0]
    assert running_mean(values, 5).tolist() == pytest.approx([2.8])
    assert running_mean(values, 1).tolist() == pytest.approx(values)


def test_loss_curve_shows_each_step_and_the_mean_where_the_window_ends():
    plot = viz.loss_curve({"one": [4, 2, 3, 1], "two": [8, 8, 8, 8, 8]}, window=2)
    (axes,) = plot.axes
    raw, mean, _, other = (line.get_xydata().tolist() for line in axes.lines)
    assert raw == [[1, 4], [2, 2], [3, 3], [4, 1]]
    assert mean == [[2, 3], [3, 2.5], [4, 2]]
    assert other == [[2, 8], [3, 8], [4, 8], [5, 8]]
    assert axes.get_ylim() == (0, 12)  # the highest mean, and half as much above it
    assert [line.get_color() for line in axes.lines] == [LINES[k]["color"] for k in (0, 0, 1, 1)]
    assert "one: from 3.000 to 2.000" in plot.alt and "two: from 8.000 to 8.000" in plot.alt
    assert viz.loss_curve({"": [1, 2]}, window=1, alt="mine").alt == "mine"


@pytest.mark.parametrize("losses", [{}, dict.fromkeys("abcd", [1.0] * 9), {"a": [1.0] * 9, "b": [1.0]}])
def test_loss_curve_refuses(losses):
    with pytest.raises(ValueError, match="at least 2 steps"):
        viz.loss_curve(losses, window=2)


def test_error_by_timestep_is_logarithmic_and_told_in_figures():
    panels = {"noise": {"a": [0.5, 0.25], "b": [0.1, 0.001]}, "picture": {"a": [0.01, 1.0]}}
    plot = viz.error_by_timestep(panels, [3, 999])
    left, right = plot.axes
    assert [line.get_xydata().tolist() for line in left.lines] == [
        [[3, 0.5], [999, 0.25]],
        [[3, 0.1], [999, 0.001]],
    ]
    assert right.lines[0].get_xydata().tolist() == [[3, 0.01], [999, 1.0]]
    assert {axes.get_xscale() for axes in plot.axes} == {axes.get_yscale() for axes in plot.axes} == {"log"}
    assert [label.get_text() for label in right.get_xticklabels()] == ["3", "999"]
    assert "noise, b: 0.1 at t = 3, 0.001 at t = 999." in plot.alt
    with pytest.raises(ValueError, match="1 to 3 lines"):
        viz.error_by_timestep({"": dict.fromkeys("abcd", [1, 2])}, [3, 999])


def test_clock_hands_point_where_the_embedding_says():
    angles = torch.tensor([[0.0, 0.0], [math.pi / 2, 0.1]])
    plot = viz.clock_hands(torch.cat([angles.cos(), angles.sin()], dim=1), [0, 9], hands=[0, 1])
    tips = [axes.lines[1].get_xydata()[1] for axes in plot.axes]  # row by row; the first line is the dial
    assert np.allclose(tips, [[0, 1], [0, 1], [1, 0], [math.sin(0.1), math.cos(0.1)]], atol=1e-6)
    assert "0, 9" in plot.alt
    for hands, timesteps in (([2], [0, 9]), ([], [0, 9]), ([0], [0])):
        with pytest.raises(ValueError, match="one timestep a row"):
            viz.clock_hands(torch.zeros(2, 4), timesteps, hands)


def test_noise_and_guess_share_a_scale_and_name_the_error():
    noise = torch.tensor([[[1.0, -2.0]], [[0.5, 0.0]]])
    guess = torch.tensor([[[1.0, -1.0]], [[0.5, 0.0]]])
    plot = viz.noise_and_guess(noise, guess, [3, 999])
    maps = [axes.get_images()[0] for axes in plot.axes[:6]]
    assert [image.get_clim() for image in maps] == [(-2.0, 2.0)] * 6
    shown = [image.get_array().tolist() for image in maps]
    assert shown == [*noise.tolist(), *guess.tolist(), [[0.0, 1.0]], [[0.0, 0.0]]]
    assert "0.5 at t = 3, 0 at t = 999" in plot.alt
    assert {"error 0.5", "error 0", "t = 3"} <= {text.get_text() for text in plot.texts}
    with pytest.raises(ValueError, match="same shape"):
        viz.noise_and_guess(noise, guess[:1], [3, 999])
