"""The figures of chapter 02: what they show is what they were given, and what their descriptions say is so."""

import math

import numpy as np
import pytest
import torch

from sdlearn import viz


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
