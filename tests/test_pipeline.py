"""The pipeline's promises, on a small random model: seeds, batches, guidance, image to image, recording."""

import inspect
import io
import json
import math
import re
import warnings
from dataclasses import fields

import numpy as np
import pytest
import torch
from PIL import Image

from sdlearn import StableDiffusion
from sdlearn.drawing import image_to_image, repainting, text_to_image
from sdlearn.image import grid, save_png, to_tensor
from sdlearn.metadata import read_settings
from sdlearn.plan import SAMPLERS
from sdlearn.trace import Generation, Prediction, Step
from sdlearn.wishes import Wishes
from tests.small_pipeline import PIXELS, noise, small_pipeline

QUICK = {"num_inference_steps": 4, "guidance_scale": 5.0}


@pytest.fixture(scope="module")
def pipe():
    return small_pipeline()


def picture(seed=0, width=PIXELS, height=PIXELS):
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def difference(a, b):
    return float((a - b).abs().max() / b.abs().max())


def test_a_generation_holds_pictures_latents_steps_and_settings(pipe):
    out = pipe.txt2img("a cat", sampler="ddim", height=32, width=48, seed=3, **QUICK)
    assert [image.size for image in out.images] == [(48, 32)]
    assert out.latents.shape == (1, 4, 8, 12) and out.latents.dtype == torch.float32
    assert [step.i for step in out.steps] == [0, 1, 2, 3]
    assert [step.timestep for step in out.steps] == [751, 501, 251, 1]
    last = out.steps[-1]
    torch.testing.assert_close(out.latents, last.x_next / math.sqrt(1 + last.sigma_next**2))
    assert np.array_equal(np.asarray(out.images[0]), np.asarray(pipe.decode(out.latents)[0]))
    assert not out.latents.requires_grad


def test_settings_draw_it_again(pipe):
    out = pipe.txt2img(["a cat", "a castle"], ["red", ""], sampler="euler_a", seed=8, **QUICK)
    settings = json.loads(json.dumps(out.settings))  # as they come back from a PNG
    assert settings["model"] == "small" and settings["seed"] == [8, 9]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(pipe.txt2img(**settings).latents, out.latents)
    again = pipe.img2img(picture(), "a cat", 0.5, guidance_interval=(0.1, 9), **QUICK)
    assert torch.equal(pipe.img2img(picture(), **again.settings).latents, again.latents)
    with pytest.warns(UserWarning, match="the settings are of model 'other', this is 'small'") as told:
        pipe.txt2img(**{**settings, "model": "other"})
    assert told[0].filename == __file__


def test_each_picture_of_a_batch_has_settings_that_draw_it_alone(pipe, tmp_path):
    """Several prompts, several pictures of each, one negative prompt or one each, seeds counted or given."""
    for negatives, seed in (("red", 8), (["red", ""], [9, 2, 7, 4]), (["red"], 3)):
        more = {"num_images_per_prompt": 2, "seed": seed, **QUICK}
        out = pipe.txt2img(["a cat", "a castle"], negatives, **more)
        for k, image in enumerate(out.images):
            path = save_png(image, tmp_path / f"{seed}-{k}.png", out.settings_of(k))
            settings = read_settings(path)
            assert (
                settings["prompt"] == ("a cat", "a castle")[k // 2]
                and settings["seed"] == out.settings["seed"][k]
            )
            assert difference(pipe.txt2img(**settings).latents[0], out.latents[k]) <= 1e-4
    alone = pipe.txt2img("a cat", **QUICK)
    assert alone.settings_of(0) == alone.settings
    for k in (-1, 1):
        with pytest.raises(IndexError, match=f"there is no picture {k}: the pictures are 0 to 0"):
            alone.settings_of(k)


def test_the_type_of_numbers_is_a_setting_where_it_is_not_the_usual(pipe):
    assert "dtype" not in pipe.txt2img("a cat", **QUICK).settings
    half = small_pipeline().to(dtype="bfloat16")
    settings = half.txt2img("a cat", **QUICK).settings
    assert settings["dtype"] == "bfloat16"
    with pytest.warns(UserWarning, match="the settings are of dtype 'bfloat16', this is 'float32'"):
        pipe.txt2img(**settings)
    with pytest.warns(UserWarning, match="the settings are of dtype 'float32', this is 'bfloat16'"):
        half.txt2img(**pipe.txt2img("a cat", **QUICK).settings)


def test_results_say_what_they_are_in_a_line(pipe):
    out = pipe.txt2img("a cat", seed=7, num_images_per_prompt=3, sampler="ddim", **QUICK)
    assert repr(out) == "Generation(3 pictures of 32x32: 'a cat', seed [7, 8, 9], 4 steps recorded)"
    assert repr(out.steps[3]) == "Step(3, sigma 0.04131 to 0.02917, latents 3x4x8x8)"
    assert repr(out.steps[3].pred) == "Prediction(latents 3x4x8x8, timestep 1.0)"
    assert repr(pipe) == "StableDiffusion('small', 32x32 pixels, float32 on cpu)"
    two = pipe.txt2img(["a cat", "red"], record=False, **QUICK)
    assert repr(two) == "Generation(2 pictures of 32x32: ['a cat', 'red'], seed [0, 1], 0 steps recorded)"
    assert "1 picture, not finished:" in repr(Generation([], noise(1, 4, 8, 8)))
    for long in (pipe.txt2img(["a cat " * 40] * 9, record=False, **QUICK), out.steps):
        assert len(repr(long)) < 400


def test_a_notebook_shows_the_pictures(pipe):
    out = pipe.txt2img("a cat", num_images_per_prompt=2, **QUICK)
    shown = Image.open(io.BytesIO(out._repr_png_()))
    assert shown.tobytes() == grid(out.images).tobytes()
    assert Generation([], out.latents)._repr_png_() is None  # a run that was stopped has none


@pytest.mark.parametrize("kind", [Generation, Step, Prediction])
def test_each_field_is_told(kind):
    assert all(re.search(rf"\b{field.name}\b.*:", kind.__doc__) for field in fields(kind))


def test_a_negative_prompt_without_effect_is_told(pipe):
    with pytest.warns(UserWarning, match="negative_prompt has no effect at guidance_scale=1") as told:
        pipe.txt2img("a cat", "castle", num_inference_steps=1, guidance_scale=1)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scale, negative in ((1, ""), (0.5, "castle"), (0, "castle")):
            pipe.txt2img("a cat", negative, num_inference_steps=1, guidance_scale=scale)


def test_one_text_is_a_list_of_one(pipe):
    assert torch.equal(pipe.encode_prompt("a cat"), pipe.encode_prompt(["a cat"]))


def test_same_seed_same_picture(pipe):
    for sampler in ("dpmpp_2m", "euler_a"):
        one, two = (pipe.txt2img("a cat", seed=7, sampler=sampler, **QUICK) for _ in range(2))
        assert torch.equal(one.latents, two.latents)
        assert one.images[0].tobytes() == two.images[0].tobytes()
        assert difference(pipe.txt2img("a cat", seed=0, sampler=sampler, **QUICK).latents, one.latents) > 0.1


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_a"])
def test_a_picture_of_a_batch_is_the_picture_alone(pipe, sampler):
    prompts, seeds = ["a cat", "a red castle", "a cat"], [4, 9, 4]
    batch = pipe.txt2img(prompts, ["", "orange", ""], seed=seeds, sampler=sampler, **QUICK)
    for k in (0, 1, 2):
        alone = pipe.txt2img(prompts[k], ["", "orange", ""][k], seed=seeds[k], sampler=sampler, **QUICK)
        assert difference(batch.latents[k], alone.latents[0]) <= 1e-4
    images = [picture(1), picture(2), picture(1)]
    batch = pipe.img2img(images, prompts, 0.6, seed=seeds, sampler=sampler, **QUICK)
    for k in (0, 1):
        alone = pipe.img2img(images[k], prompts[k], 0.6, seed=seeds[k], sampler=sampler, **QUICK)
        assert difference(batch.latents[k], alone.latents[0]) <= 1e-4


def test_several_pictures_of_each_prompt(pipe):
    out = pipe.txt2img(["a cat", "a castle"], num_images_per_prompt=2, seed=5, **QUICK)
    assert len(out.images) == 4 and out.settings["seed"] == [5, 6, 7, 8]
    second = pipe.txt2img("a cat", seed=6, **QUICK)
    third = pipe.txt2img("a castle", seed=7, **QUICK)
    assert difference(out.latents[1], second.latents[0]) <= 1e-4
    assert difference(out.latents[2], third.latents[0]) <= 1e-4


def test_recording_changes_nothing(pipe):
    for call in (
        lambda **more: pipe.txt2img("a cat", seed=1, sampler="euler_a", **QUICK, **more),
        lambda **more: pipe.img2img(picture(), "a cat", 0.5, seed=1, sampler="euler_a", **QUICK, **more),
    ):
        kept, bare = call(), call(record=False)
        assert len(kept.steps) > 0 and bare.steps == []
        assert torch.equal(kept.latents, bare.latents)


def test_the_lazy_form_gives_the_same_steps_one_by_one(pipe, monkeypatch):
    calls = []
    predict = pipe.predict
    monkeypatch.setattr(pipe, "predict", lambda *given, **how: calls.append(1) or predict(*given, **how))
    out = pipe.txt2img("a cat", seed=2, sampler="euler", **QUICK)
    assert len(calls) == 4
    steps = pipe.txt2img_steps("a cat", seed=2, sampler="euler", **QUICK)
    assert len(calls) == 4
    assert torch.equal(next(steps).x_next, out.steps[0].x_next) and len(calls) == 5
    assert torch.equal(list(steps)[-1].x_next, out.steps[-1].x_next)
    image = pipe.img2img(picture(), "a cat", 0.5, seed=2, **QUICK)
    lazy = list(pipe.img2img_steps(picture(), "a cat", strength=0.5, seed=2, **QUICK))
    assert torch.equal(lazy[-1].x_next, image.steps[-1].x_next)


def test_guidance(pipe):
    out = pipe.txt2img("a cat", "castle", seed=2, num_inference_steps=3, guidance_scale=4.0)
    for step in out.steps:
        pred = step.pred
        torch.testing.assert_close(pred.eps, pred.eps_uncond + 4 * (pred.eps_cond - pred.eps_uncond))
        torch.testing.assert_close(pred.x0, step.x - step.sigma * pred.eps)
    same = {"seed": 2, "num_inference_steps": 3}
    with pytest.warns(UserWarning, match="no effect"):
        only_prompt = pipe.txt2img("a cat", "castle", guidance_scale=1, **same)
    assert torch.equal(only_prompt.latents, pipe.txt2img("a cat", "", guidance_scale=1, **same).latents)
    no_prompt = pipe.txt2img("a cat", "castle", guidance_scale=0, **same)
    assert torch.equal(no_prompt.latents, pipe.txt2img("red", "castle", guidance_scale=0, **same).latents)
    assert torch.equal(no_prompt.latents, pipe.txt2img("castle", guidance_scale=1, **same).latents)
    assert difference(no_prompt.latents, only_prompt.latents) > 1e-3
    first = out.steps[0].pred
    assert (
        difference(first.eps_cond, only_prompt.steps[0].pred.eps) <= 1e-5
    )  # [uncond, cond], not the reverse
    assert difference(first.eps_uncond, no_prompt.steps[0].pred.eps) <= 1e-5


def test_latents_replace_the_seed_and_give_the_size(pipe):
    start = noise(1, 4, 4, 12)
    before = start.clone()
    out = pipe.txt2img("a cat", latents=start, seed=99, sampler="ddim", **QUICK)
    assert out.images[0].size == (48, 16) and torch.equal(start, before)
    first = out.steps[0]
    torch.testing.assert_close(first.x / math.sqrt(1 + first.sigma**2), start)
    assert out.settings["seed"] is None
    from_seed = pipe.txt2img("a cat", seed=9, height=16, width=48, sampler="ddim", **QUICK)
    assert torch.equal(from_seed.latents, out.latents)  # noise(...) draws from a generator with seed 9


def test_scaling_factor_once_each_way(pipe, monkeypatch):
    """Decoder input is latents / 0.3; the U-Net's latents are 0.3 times the encoder's."""
    decoded = []
    decode = pipe.vae.decode
    monkeypatch.setattr(pipe.vae, "decode", lambda z: decoded.append(z) or decode(z))
    out = pipe.txt2img("a cat", **QUICK)
    torch.testing.assert_close(decoded[0] * 0.3, out.latents)
    pixels, draw = noise(2, 3, 16, 32).clamp(-1, 1), noise(2, 4, 4, 8)
    with torch.no_grad():
        posterior = pipe.vae.encode(pixels)
    expected = 0.3 * (posterior.mean + posterior.std * draw)
    torch.testing.assert_close(pipe.encode_image(pixels, draw), expected)


@pytest.mark.parametrize("strength, steps", [(0.25, 1), (0.5, 2), (0.99, 3), (1, 4)])
def test_image_to_image_runs_the_last_steps_from_a_noisy_picture(pipe, strength, steps):
    image = picture(3, width=48)
    out = pipe.img2img(image, "a cat", strength, seed=6, sampler="ddim", **QUICK)
    assert [step.timestep for step in out.steps] == [751, 501, 251, 1][4 - steps :]
    assert out.images[0].size == (48, 32) and out.settings["strength"] == strength
    generator = torch.Generator().manual_seed(6)
    first_draw, second_draw = (torch.randn(1, 4, 8, 12, generator=generator) for _ in range(2))
    pixels = torch.from_numpy(np.asarray(image)).permute(2, 0, 1)[None] / 127.5 - 1
    x0 = pipe.encode_image(pixels, first_draw)
    first = out.steps[0]
    torch.testing.assert_close(first.x, x0 + first.sigma * second_draw, rtol=1e-4, atol=1e-4)


def test_image_to_image_takes_files_and_sizes(pipe, tmp_path):
    picture(4, width=80, height=48).save(tmp_path / "sketch.png")
    out = pipe.img2img(tmp_path / "sketch.png", "a cat", height=32, width=32, **QUICK)
    assert out.images[0].size == (32, 32)


def test_sampler_none_is_the_model_s_own():
    assert small_pipeline().txt2img("a", sampler=None, **QUICK).settings["sampler"] == "pndm"
    ddim = small_pipeline(scheduler="DDIMScheduler").txt2img("a", sampler=None, **QUICK)
    assert ddim.settings["sampler"] == "ddim"


def test_prediction_type_comes_from_the_schedule(pipe):
    v = small_pipeline(prediction_type="v_prediction").txt2img("a cat", seed=1, guidance_scale=1)
    first = v.steps[0]
    with torch.no_grad():
        answer = pipe.unet(
            first.x / math.sqrt(1 + first.sigma**2), torch.tensor([999.0]), pipe.encode_prompt(["a cat"])
        )
    alpha_bar = 1 / (1 + first.sigma**2)
    eps = math.sqrt(alpha_bar) * answer + math.sqrt(1 - alpha_bar) * first.x * math.sqrt(alpha_bar)
    torch.testing.assert_close(first.pred.eps, eps, rtol=1e-4, atol=1e-5)


def test_save_and_open_again(pipe, tmp_path):
    folder = pipe.save_pretrained(tmp_path / "mine", dtype=torch.float32)
    again = StableDiffusion.from_pretrained(folder)
    one, two = (model.txt2img("a cat", seed=1, **QUICK) for model in (pipe, again))
    assert torch.equal(one.latents, two.latents)
    assert two.settings["model"] == "mine"


def test_a_prompt_that_is_too_long_is_told(pipe):
    with pytest.warns(UserWarning, match="cut to 14 tokens, without 'zebra'"):
        pipe.encode_prompt(["cat " * 14 + "zebra"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe.encode_prompt(["a cat"])


def test_bfloat16_between_float32_steps():
    full = small_pipeline().txt2img("a cat", seed=1, **QUICK)
    half = small_pipeline().to(dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16 and half.device.type == "cpu"
    out = half.txt2img("a cat", seed=1, **QUICK)
    assert out.latents.dtype == torch.float32
    assert 0 < difference(out.latents, full.latents) < 0.2


def test_a_decoder_that_overflows_in_half_precision_runs_again_in_float32(monkeypatch):
    pipe = small_pipeline()
    latents = noise(1, 4, 8, 8)
    expected = pipe.decode(latents)[0]
    pipe.to(dtype=torch.bfloat16)
    decode = pipe.vae.decode
    overflow = lambda z: decode(z) * (math.nan if z.dtype == torch.bfloat16 else 1)  # noqa: E731
    monkeypatch.setattr(pipe.vae, "decode", overflow)
    with pytest.warns(UserWarning, match="overflowed in torch.bfloat16"):
        got = pipe.decode(latents)[0]
    assert np.abs(np.asarray(got, dtype=int) - np.asarray(expected, dtype=int)).max() <= 16
    assert next(pipe.vae.parameters()).dtype == torch.bfloat16


def test_silent_where_nobody_watches(pipe, capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sdlearn.pipeline.SECONDS_BEFORE_A_BAR", 0.0)
    pipe.txt2img("a cat", **QUICK)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    pipe.txt2img("a cat", **QUICK)
    assert "drawing" in terminal.getvalue() and "/4" in terminal.getvalue()


@pytest.mark.parametrize(
    "eager, request_", [("txt2img", text_to_image), ("img2img", image_to_image), ("inpaint", repainting)]
)
def test_the_lazy_and_the_eager_form_have_the_same_defaults(eager, request_):
    first = {n: p.default for n, p in inspect.signature(getattr(StableDiffusion, eager)).parameters.items()}
    second = {n: p.default for n, p in inspect.signature(request_).parameters.items()}
    second |= {field.name: field.default for field in fields(Wishes)}
    for name in ("self", "record", "more"):
        del first[name]
    assert first == {name: second[name] for name in first}
    assert set(second) - set(first) - {"model", "asked"} == {
        "spacing",
        "eta",
        "guidance_rescale",
        "guidance_interval",
        "cache_interval",
        "clip_skip",
        "prompt_weights",
        "long_prompts",
    }


def test_no_negative_prompt_is_an_empty_one(pipe):
    none, empty = (pipe.txt2img("a cat", negative_prompt=text, **QUICK) for text in (None, ""))
    assert torch.equal(none.latents, empty.latents) and none.settings == empty.settings


def test_image_to_image_runs_a_step_however_many_there_are(pipe):
    """1000 steps of 1000 timesteps: a plan whose spacing leaves out the last one has 999."""
    for sampler in ("dpmpp_2m", "ddim"):
        asked = image_to_image(
            pipe.model, picture(), "a cat", strength=0.001, num_inference_steps=1000, sampler=sampler
        )
        assert len(asked.plan.timesteps) == 1


def half_mask(width=PIXELS, height=PIXELS):
    """White on the right half: to paint."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (width // 2, 0, width, height))
    return mask


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_what_is_outside_the_mask_stays(pipe, sampler, strength):
    """Its latents end as the picture's own, to the last digit but one; inside is painted."""
    out = pipe.inpaint(picture(3), half_mask(), "a cat", strength, sampler=sampler, seed=2, **QUICK)
    generator = torch.Generator().manual_seed(2)
    known = pipe.encode_image(to_tensor(picture(3)), torch.randn(1, 4, 8, 8, generator=generator))
    assert difference(out.latents[..., :4], known[..., :4]) <= 1e-5
    assert difference(out.latents[..., 4:], known[..., 4:]) > 0.05
    assert out.settings["strength"] == strength


def test_the_original_pixels_can_be_put_back(pipe):
    original = np.asarray(picture(3), dtype=float)
    plain = np.asarray(pipe.inpaint(picture(3), half_mask(), "a cat", **QUICK).images[0], dtype=float)
    out = pipe.inpaint(picture(3), half_mask(), "a cat", paste_original=True, **QUICK)
    pasted = np.asarray(out.images[0], dtype=float)
    assert np.abs(plain[:, :4] - original[:, :4]).max() > 3  # the autoencoder changed them
    assert np.abs(pasted[:, :4] - original[:, :4]).max() <= 1
    assert np.abs(pasted[:, -4:] - plain[:, -4:]).max() <= 1
    steps = np.abs(np.diff(pasted.mean(axis=(0, 2))))
    assert out.settings["paste_original"] and steps.max() < 60  # no seam


def test_an_inpainting_model_is_shown_the_mask_and_the_rest(pipe):
    """Nine channels: what is under the mask does not reach the U-Net, what is outside does."""
    nine = small_pipeline(in_channels=9)
    one = nine.inpaint(picture(3), half_mask(), "a cat", seed=1, **QUICK).latents
    hidden, shown = picture(3).copy(), picture(3).copy()
    hidden.paste((9, 200, 30), (PIXELS // 2, 0, PIXELS, PIXELS))
    shown.paste((9, 200, 30), (0, 0, PIXELS // 2, PIXELS))
    assert torch.equal(nine.inpaint(hidden, half_mask(), "a cat", seed=1, **QUICK).latents, one)
    assert difference(nine.inpaint(shown, half_mask(), "a cat", seed=1, **QUICK).latents, one) > 1e-3
    batch = nine.inpaint([picture(3), picture(4)], half_mask(), ["a cat", "a castle"], seed=1, **QUICK)
    assert difference(batch.latents[:1], one) <= 1e-4


@pytest.mark.parametrize("sampler", ["ddim", "euler_a", "pndm", "dpmpp_2m", "unipc"])
def test_a_run_goes_on_from_any_recorded_step(pipe, sampler):
    whole = pipe.txt2img(["a cat", "a castle"], sampler=sampler, seed=5, **QUICK)
    for step in (0, 1, 3):
        again = pipe.resume(whole, step)
        assert difference(again.latents, whole.latents) <= 1e-6
        assert [s.i for s in again.steps] == [0, 1, 2, 3] and again.settings == whole.settings
    other = pipe.resume(whole, 2, prompt=["a red castle", "a cat"], guidance_scale=9.0)
    assert other.settings["prompt"] == ["a red castle", "a cat"] and other.settings["guidance_scale"] == 9.0
    assert other.settings["resumed"]["step"] == 2 and other.settings["resumed"]["guidance_scale"] == 5.0
    assert torch.equal(other.steps[1].x_next, whole.steps[1].x_next)
    assert difference(other.latents, whole.latents) > 1e-4
    painted = pipe.inpaint(picture(), half_mask(), "a cat", sampler=sampler, seed=5, **QUICK)
    assert difference(pipe.resume(painted, 2).latents, painted.latents) <= 1e-6


def test_an_interrupted_run_can_be_looked_at_and_resumed(pipe, monkeypatch):
    whole = pipe.txt2img("a cat", seed=5, **QUICK)
    predict, calls = pipe.predict, []

    def stopped(*given, **how):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(*given, **how)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipe, "predict", stopped)
        pipe.txt2img("a cat", seed=5, **QUICK)
    left = pipe.interrupted
    assert len(left.steps) == 2 and torch.equal(left.steps[1].x_next, whole.steps[1].x_next)
    assert pipe.decode(left.latents)[0].size == (PIXELS, PIXELS)
    assert difference(pipe.resume(left, 2).latents, whole.latents) <= 1e-6
    assert torch.equal(pipe.txt2img("a cat", seed=5, **QUICK).latents, whole.latents)
    assert pipe.interrupted is None


def test_a_resumed_run_draws_the_fresh_noise_that_eta_asks_for(pipe):
    whole = pipe.txt2img("a cat", sampler="ddim", eta=0.5, seed=5, **QUICK)
    assert difference(pipe.resume(whole, 2).latents, whole.latents) <= 1e-6


def test_a_resumed_run_that_is_stopped_at_once_loses_nothing(pipe, monkeypatch):
    whole = pipe.txt2img("a cat", seed=5, **QUICK)

    def stopped(*given, **how):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipe, "predict", stopped)
        pipe.resume(whole, 2)
    assert len(pipe.interrupted.steps) == 2
    assert difference(pipe.resume(pipe.interrupted, 2).latents, whole.latents) <= 1e-6


def test_a_resumed_run_takes_no_notice_of_what_the_caller_changes_later(pipe):
    start = noise(2, 4, 8, 8)
    out = pipe.txt2img(["a cat", "a castle"], latents=start, **QUICK)
    start.zero_()
    out.settings["prompt"][0] = "red"
    out.settings["negative_prompt"] = "red"
    assert torch.equal(pipe.resume(out, 0).latents, out.latents)


def test_the_settings_of_a_resumed_run_leave_out_what_it_no_longer_has(pipe):
    rest = {"guidance_interval": None, "guidance_rescale": 0.0}
    out = pipe.txt2img("a cat", guidance_interval=(0.5, 5.0), guidance_rescale=0.7, **QUICK)
    again = pipe.resume(out, 1, **rest)
    assert difference(again.latents, out.latents) > 1e-4
    assert not again.settings.keys() & rest.keys()
    assert again.settings["resumed"] == {"step": 1, "guidance_interval": (0.5, 5.0), "guidance_rescale": 0.7}
    back = pipe.resume(again, 1, guidance_interval=(0.5, 5.0))
    assert back.settings["guidance_interval"] == (0.5, 5.0)
    assert back.settings["resumed"] == {"step": 1, "guidance_interval": None}


def test_how_many_prompts_a_resumed_run_takes(pipe):
    two = pipe.txt2img(["a cat", "a castle"], seed=[3, 4], **QUICK)
    both = pipe.resume(two, 1, prompt="red")
    assert both.settings["prompt"] == ["red", "red"]
    assert torch.equal(both.latents, pipe.resume(two, 1, prompt=["red", "red"]).latents)
    with pytest.raises(ValueError, match="This one is of 2 prompts; give one, or 2"):
        pipe.resume(two, 1, prompt=["a", "b", "c"])
    alike = pipe.txt2img("a cat", num_images_per_prompt=2, seed=[3, 4], **QUICK)
    assert pipe.resume(alike, 1, prompt="red").settings["prompt"] == "red"
    with pytest.raises(ValueError, match="This one is of one prompt; give one"):
        pipe.resume(alike, 1, prompt=["a cat", "a castle"])


def test_whole_numbers_of_other_libraries_can_be_saved(pipe, tmp_path):
    out = pipe.txt2img("a cat", clip_skip=np.int64(1), seed=np.int64(2), **QUICK)
    out = pipe.resume(out, np.int64(1), prompt="a castle")
    settings = read_settings(save_png(out.images[0], tmp_path / "one.png", out.settings_of(0)))
    assert (settings["clip_skip"], settings["seed"], settings["resumed"]["step"]) == (1, 2, 1)


def test_guidance_only_between_two_noise_levels(pipe):
    out = pipe.txt2img("a cat", guidance_interval=(0.5, 5.0), **QUICK)
    guided = [step.pred.eps_uncond is not None for step in out.steps]
    assert guided == [0.5 <= step.sigma <= 5.0 for step in out.steps] and len(set(guided)) == 2
    everywhere = pipe.txt2img("a cat", guidance_interval=(0.0, 99.0), **QUICK)
    assert torch.equal(everywhere.latents, pipe.txt2img("a cat", **QUICK).latents)


def test_less_memory_same_picture(pipe):
    """Networks on and off, guidance in two calls, pictures in tiles: here all on the CPU."""
    plain = pipe.txt2img("a cat", seed=3, **QUICK)
    saving = small_pipeline().save_memory()
    out = saving.txt2img("a cat", seed=3, **QUICK)
    assert difference(out.latents, plain.latents) <= 1e-5
    assert np.abs(np.asarray(out.images[0], float) - np.asarray(plain.images[0], float)).max() <= 1


def test_the_report_of_what_was_loaded(pipe, tmp_path):
    folder = pipe.save_pretrained(tmp_path / "small")
    report = str(StableDiffusion.from_pretrained(folder).checkpoint)
    assert "Stable Diffusion 1, predicts epsilon, sampler of PNDMScheduler" in report
    assert f"{sum(p.numel() for p in pipe.vae.parameters()):,} parameters" in report


@pytest.mark.parametrize("hidden", [0, 255])
def test_what_is_transparent_in_a_mask_is_kept(tmp_path, hidden):
    """Whatever colour is under the transparency, in a picture and in its file."""
    pipe = small_pipeline()
    plain = Image.new("L", (32, 32))
    plain.paste(255, (16, 0, 32, 32))
    clear = Image.new("RGBA", (32, 32), (hidden, hidden, hidden, 0))
    clear.paste((255, 255, 255, 255), (16, 0, 32, 32))
    clear.save(tmp_path / "mask.png")
    picture = Image.new("RGB", (32, 32), "grey")
    drawn = [
        pipe.inpaint(picture, mask, "a cat", num_inference_steps=2).latents
        for mask in (plain, clear, tmp_path / "mask.png")
    ]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])
