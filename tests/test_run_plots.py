"""Figures of runs and of training: drawn from a small made-up run, so that every number is known."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sdlearn import viz
from sdlearn.schedule import Schedule
from sdlearn.trace import Generation, Prediction, Step
from sdlearn.viz.figure import squares
from sdlearn.viz.loss_plots import _running_mean
from sdlearn.viz.recorded import tiled

SIGMAS = (8.0, 4.0, 2.0, 1.0, 0.5, 0.0)


def a_run(seed: int = 0, sigmas=SIGMAS, number: int = 2, guided: bool = True) -> list[Step]:
    """Steps whose belief wanders from nothing to a fixed picture; B and C are far enough apart to tell."""
    generator = torch.Generator().manual_seed(seed)
    x0, noise, shift = (torch.randn(number, 4, 3, 5, generator=generator) for _ in range(3))
    steps = []
    for i, (sigma, after) in enumerate(zip(sigmas, sigmas[1:])):
        share = (i + 1) / (len(sigmas) - 1)
        both = {"eps_cond": noise + shift, "eps_uncond": noise} if guided else {}
        pred = Prediction(share * x0, noise + 2 * shift, **both, timestep=float(i))
        scale = (
            math.sqrt(1 + sigma**2) if i == 0 else 1.0
        )  # pure noise at the start, as loud as the level says
        x = noise * scale if i == 0 else x0 + sigma * noise
        steps.append(Step(i, sigma, after, float(i), x, pred, x0 + after * noise))
    return steps


def decode(latents: torch.Tensor) -> list[Image.Image]:
    """The first channel as grey levels: 128 for 0, 40 a unit."""
    levels = (latents[:, 0] * 40 + 128).clamp(0, 255).round().to(torch.uint8)
    return squares([Image.fromarray(level.numpy()).convert("RGB") for level in levels], 30)


def arrays(plot: viz.Plot) -> list[np.ndarray]:
    """What the figure's maps and pictures hold, in drawing order, without the bars of colours."""
    found = [np.ma.filled(image.get_array(), np.nan) for axes in plot.axes for image in axes.get_images()]
    return [one for one in found if one.shape != (1, 64)]


def words(plot: viz.Plot) -> list[str]:
    return [text.get_text() for text in plot.texts]


def test_film_strip_draws_the_steps_it_names():
    run = a_run()
    plot = viz.film_strip(run, decode, number=3, which=1)
    shown = [run[0], run[2], run[4]]
    assert [word for word in words(plot) if word.startswith("step")] == [
        "step 1, σ 8",
        "step 3, σ 2",
        "step 5, σ 0.5",
    ]
    drawn = arrays(plot)
    vp = [Schedule.to_vp(step.x[1], step.sigma) for step in shown]
    for k, step in enumerate(shown):
        assert np.array_equal(drawn[k], np.asarray(decode(vp[k][None])[0]))
        assert np.array_equal(drawn[3 + k], np.asarray(decode(step.pred.x0[1:])[0]))
        assert np.array_equal(drawn[6 + k], np.asarray(viz.false_colours(step.pred.eps[1:])[0]))
        sheet = drawn[9 + k]
        quarters = [sheet[:3, :5], sheet[:3, 6:], sheet[4:, :5], sheet[4:, 6:]]
        assert np.allclose(np.stack(quarters), vp[k].numpy())
    limits = {image.get_clim() for axes in plot.axes[9:12] for image in axes.get_images()}
    reach = float(torch.stack(vp).abs().max())
    assert limits == {(-reach, reach)}


def test_film_strip_follows_rows_and_tells_what_it_shows():
    run = Generation([], torch.zeros(1), a_run())
    plot = viz.film_strip(run, decode, rows=("x0",))
    assert len(arrays(plot)) == 5 and np.array_equal(
        arrays(plot)[0], np.asarray(decode(run.steps[0].pred.x0)[0])
    )
    assert "run of 5 steps, at step 1, 2, 3, 4 and 5" in plot.alt and "from 8 to 0.5" in plot.alt
    assert "alike by 1.00 at the first of these steps, by 1.00 at the last" in plot.alt
    other = [replace(step, x_next=-step.x_next) for step in run.steps]
    assert "alike by -1.00 at the first" in viz.film_strip(other, decode, rows=("x0",)).alt
    assert "channels lie between" not in plot.alt


def test_film_strip_takes_a_fitted_matrix():
    run, matrix = a_run(), torch.zeros(5, 3)
    matrix[0, 0], matrix[4, 2] = 0.2, -1.0  # channel 1 as red, no blue
    plot = viz.film_strip(run, matrix, rows=("x0",), number=2)
    assert np.array_equal(arrays(plot)[1], np.asarray(viz.latent_to_rgb(matrix, run[-1].pred.x0)[0]))
    assert any("in fitted colours" in word for word in words(plot))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(steps=[]), ValueError, "no steps: draw it with record=True"),
        (dict(steps=[1, 2]), TypeError, "not a list of int"),
        (dict(rows=("picture", "sound")), ValueError, "picture, x0, noise and channels; got sound"),
        (dict(rows=()), ValueError, "got none"),
        (dict(number=0), ValueError, "at least 1, got 0"),
        (dict(which=2), ValueError, "from 0 to 1"),
        (dict(decode=lambda latents: []), ValueError, "0 pictures for 5 latents"),
        (dict(decode=torch.zeros(4, 3)), ValueError, r"matrix \(channels \+ 1, 3\)"),
    ],
)
def test_film_strip_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        viz.film_strip(**{"steps": a_run(), "decode": decode} | arguments)


def test_a_sheet_of_channels_has_no_place_for_a_missing_one():
    sheet = tiled(torch.ones(3, 2, 2))
    assert sheet.shape == (5, 5) and np.isnan(sheet[3:, 3:]).all() and np.nansum(sheet) == 12
    assert tiled(torch.ones(1, 2, 2)).shape == (2, 2)


def test_fitted_matrix_finds_the_colours_that_were_put_in():
    generator = torch.Generator().manual_seed(0)
    latents, true = torch.randn(3, 4, 6, 8, generator=generator), torch.randn(5, 3, generator=generator) * 0.1
    pictures = [viz.latent_to_rgb(true, one[None], size=12)[0] for one in latents]
    assert pictures[0].size == (16, 12)
    assert torch.allclose(viz.fit_latent_to_rgb(latents, pictures), true, atol=2e-3)  # 256 levels, rounded
    with pytest.raises(ValueError, match="give one a picture"):
        viz.fit_latent_to_rgb(latents, pictures[:2])


def test_the_fit_takes_the_mean_colour_of_all_pixels_of_a_place():
    stripes = np.zeros((8, 8, 3), dtype=np.uint8)
    stripes[:, ::4] = 255  # one column in four is white: half of the way from -1 to 0
    matrix = viz.fit_latent_to_rgb(torch.zeros(1, 1, 2, 2), [Image.fromarray(stripes)])
    assert torch.allclose(matrix[1], torch.full((3,), -0.5), atol=0.01) and matrix[0].abs().max() < 1e-6


def test_guidance_split_shows_both_answers_their_difference_and_the_mixture():
    step = a_run()[2]
    plot = viz.guidance_split(step, decode, 3.0, which=1)
    b, c = step.pred.eps_cond[1], step.pred.eps_uncond[1]
    drawn = arrays(plot)
    for found, expected in zip(drawn[:4], (b, c, b - c, c + 3 * (b - c))):
        assert np.allclose(found, tiled(expected), equal_nan=True)
    limits = [
        axes.get_images()[0].get_clim()
        for axes in plot.axes
        if axes.get_images()[0].get_array().shape == (7, 11)
    ]
    assert limits[0] == limits[1] == limits[3] and limits[2] == pytest.approx(
        (-float((b - c).abs().max()), float((b - c).abs().max()))
    )
    left = [decode((step.x[1] - step.sigma * eps)[None])[0] for eps in (b, c, c + 3 * (b - c))]
    assert all(np.array_equal(drawn[k], np.asarray(image)) for k, image in zip((4, 5, 7), left))
    change = (np.asarray(left[0], dtype=float) - np.asarray(left[1], dtype=float))[..., 0] / 2.55
    assert np.allclose(drawn[6], change, atol=1e-3)
    assert len(arrays(viz.guidance_split(step, None, 3.0))) == 4


def test_guidance_split_tells_sizes():
    step = a_run()[2]
    b, c = step.pred.eps_cond[0], step.pred.eps_uncond[0]
    rms = [f"{float(one.square().mean().sqrt()):.{digits}f}" for one, digits in ((b, 2), (c, 2), (b - c, 3))]
    alt = viz.guidance_split(step, None, 2).alt
    assert f"B {rms[0]}, C {rms[1]}, their difference D {rms[2]}" in alt and "step 3, noise level σ 2." in alt
    with pytest.raises(ValueError, match="asked only once"):
        viz.guidance_split(a_run(guided=False)[0], None, 2)
    with pytest.raises(ValueError, match=">= 0"):
        viz.guidance_split(step, None, -1)


def test_compared_runs_stand_at_the_same_noise_levels_and_show_differences():
    one, few, other = a_run(), a_run(sigmas=(8.0, 2.1, 0.4, 0.01, 0.0)), a_run(seed=1)
    few = [replace(step, pred=replace(step.pred, x0=step.pred.x0 + 0.1 * step.i)) for step in few]
    plot = viz.compare_runs({"one": one, "few": few, "other": other}, decode, number=3)
    drawn = arrays(plot)
    chosen = [[one[0], one[2], one[4]], [few[0], few[1], few[3]], [other[0], other[2], other[4]]]
    pictures = [[np.asarray(decode(step.pred.x0[:1])[0]) for step in steps] for steps in chosen]
    assert all(np.array_equal(a, b) for a, b in zip(drawn[:6] + drawn[9:], sum(pictures, [])))
    differences = [np.abs(a.astype(float) - b).mean(axis=-1) / 2.55 for a, b in zip(pictures[0], pictures[1])]
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(drawn[6:9], differences))
    assert "few (steps 1, 2 and 4 of 4)" in words(plot) and "last step" in words(plot)
    assert [word for word in words(plot) if word.startswith("mean")] == [
        f"mean {one.mean():.1f} %" for one in differences
    ]
    assert f"few differs from one by {differences[0].mean():.1f} percent" in plot.alt
    assert f"by {differences[-1].mean():.1f} in the last" in plot.alt
    assert "other starts from other noise than one" in plot.alt
    with pytest.raises(ValueError, match="two or more runs, got 1"):
        viz.compare_runs({"one": one}, decode)


def test_equal_runs_differ_nowhere():
    plot = viz.compare_runs({"a": a_run(), "b": a_run()}, decode)
    assert "b differs from a by 0.0 percent" in plot.alt and "step 5, σ 0.5" in words(plot)
    assert all((one == 0).all() for one in arrays(plot)[10:])


def test_loss_curves_draw_values_and_their_running_mean():
    first, second = [1.0 / (k + 1) for k in range(60)], [{"step": 10 * k, "loss": 2.0} for k in range(3)]
    plot = viz.loss_curves({"one": first, "$^$": second})
    axes = plot.axes[0]
    raw, mean, raw_two, mean_two = (line.get_xydata() for line in axes.lines)
    assert axes.get_yscale() == "log"
    assert raw[:, 1].tolist() == first and raw[:, 0].tolist() == list(range(1, 61))
    assert mean[0, 1] == 1 and mean[59, 1] == pytest.approx(np.mean(first[57:]))  # 60 / 20 = 3
    assert raw_two.tolist() == mean_two.tolist() == [[0, 2], [10, 2], [20, 2]]
    assert "running mean of 3 values. one: 60 values from 1; the mean ends at 0.017" in plot.alt
    assert plot.png()  # a dollar sign in a name begins no formula, which this would not be
    wider = viz.loss_curves({"one": first}, window=20).axes[0].lines[1].get_xydata()
    assert wider[59, 1] == pytest.approx(np.mean(first[40:]))


def test_the_running_mean_begins_with_what_there_is():
    assert _running_mean(np.array([4.0, 2.0, 0.0, 1.0]), 2).tolist() == [4, 3, 1, 0.5]


@pytest.mark.parametrize(
    ("logs", "message"),
    [
        ({}, "1 to 3 logs, got 0"),
        ({"a": []}, "a: the log is empty"),
        ({"a": [1, 0.0]}, "a: loss 2 is 0"),
        ({"a": [1, math.nan]}, "a: loss 2 is nan"),
        ({"a": [{"step": 1}]}, 'entry 1 of the log lacks "step" or "loss"'),
    ],
)
def test_loss_curves_refuse(logs, message):
    with pytest.raises(ValueError, match=message):
        viz.loss_curves(logs)


@pytest.mark.slow
def test_nothing_is_changed_and_the_same_figure_has_the_same_bytes():
    run, second = a_run(), a_run(seed=1)
    before = [
        tensor.clone() for step in run for tensor in (step.x, step.pred.x0, step.pred.eps_cond, step.x_next)
    ]
    latents, matrix = run[0].x, torch.full((5, 3), 0.1)
    figures = [
        lambda: viz.film_strip(run, decode),
        lambda: viz.film_strip(run, matrix),
        lambda: viz.guidance_split(run[1], decode, 4),
        lambda: viz.compare_runs({"$^$": run, "b": second}, decode),
        lambda: viz.loss_curves({"a": [3, 2, 1]}),
    ]
    state = torch.get_rng_state()
    for figure in figures:
        assert figure().png() == figure().png()
    viz.fit_latent_to_rgb(latents, decode(latents))
    after = [tensor for step in run for tensor in (step.x, step.pred.x0, step.pred.eps_cond, step.x_next)]
    assert all(torch.equal(a, b) for a, b in zip(before, after))
    assert torch.equal(matrix, torch.full((5, 3), 0.1)) and torch.equal(state, torch.get_rng_state())


def test_every_letter_is_large_enough_and_inside():
    plot = viz.guidance_split(a_run()[0], decode, 7.5)
    plot.savefig(io.BytesIO(), format="png")
    boxes = [text.get_window_extent() for text in plot.texts]
    assert min(text.get_fontsize() for text in plot.texts) >= 9
    assert all(box.x0 >= 0 and box.x1 <= plot.bbox.x1 and box.y1 <= plot.bbox.y1 for box in boxes)
    overlaps = [(a, b) for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)]
    assert not overlaps
