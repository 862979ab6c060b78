"""The four stages, one by one: what each is given, and that nothing happens before a step is asked for."""

import torch
from PIL import Image
from small_pipeline import PIXELS, small_pipeline

from sdlearn.drawing import repainting, text_to_image
from sdlearn.stages import (
    Wrappers,
    around_a_mask,
    noise_of,
    pictures_of,
    starting_point,
    steps_of,
    text_vectors,
)

CPU = torch.device("cpu")
QUICK = {"num_inference_steps": 2, "sampler": "euler_a"}


def asked(pipe, prompt="a cat", **wishes):
    return text_to_image(pipe.model, prompt, **QUICK | wishes)


def masked(pipe):
    image = Image.new("RGB", (PIXELS, PIXELS), "orange")
    mask = Image.new("L", (PIXELS, PIXELS), "white")
    mask.paste(0, (0, 0, PIXELS // 2, PIXELS))
    return repainting(pipe.model, image, mask, "a cat", strength=0.5, **QUICK)


def test_texts_that_nobody_asks_for_are_not_encoded():
    pipe = small_pipeline()
    vectors = {scale: text_vectors(pipe, asked(pipe, guidance_scale=scale)) for scale in (0, 1, 4.0)}
    encoded = {scale: [one is not None for one in pair] for scale, pair in vectors.items()}
    assert encoded == {0: [False, True], 1: [True, False], 4.0: [True, True]}
    assert torch.equal(vectors[4.0][0], pipe.encode_prompt(["a cat"]))


def test_each_picture_has_a_source_of_noise_of_its_own():
    pipe = small_pipeline()
    three, third = (
        noise_of(asked(pipe, prompt, seed=seed), CPU) for prompt, seed in ((["a"] * 3, 5), ("a", 7))
    )
    for _ in range(3):
        assert torch.equal(three()[2:], third())


def test_the_start_is_as_loud_as_the_plan_says():
    pipe = small_pipeline()
    drawing = asked(pipe, sampler="ddim")
    assert drawing.plan.start > drawing.plan.sigmas[0]
    x, known, first = starting_point(pipe, drawing, noise_of(drawing, CPU))
    assert known is None and torch.equal(x, drawing.plan.start * first)
    drawing = masked(pipe)
    x, known, first = starting_point(pipe, drawing, noise_of(drawing, CPU))
    torch.testing.assert_close(x, known + drawing.plan.sigmas[0] * first)


def test_steps_run_when_they_are_asked_for(monkeypatch):
    pipe, calls = small_pipeline(), []
    predict = pipe.predict
    monkeypatch.setattr(pipe, "predict", lambda *given, **how: calls.append(1) or predict(*given, **how))
    drawing = asked(pipe)
    steps = steps_of(pipe, drawing)
    assert calls == []
    next(steps)
    assert len(calls) == 1
    last = [*steps][-1]
    latents = pipe.schedule.to_vp(last.x_next, last.sigma_next)
    assert torch.equal(latents, pipe.txt2img("a cat", **QUICK).latents)
    images, flagged = pictures_of(pipe, drawing, latents)
    assert len(images) == 1 and flagged is None


def test_a_mask_wraps_the_network_of_one_kind_of_model_and_the_denoiser_of_the_other():
    for channels, wrapped in ((4, ["denoise", "steps"]), (9, ["network"])):
        pipe = small_pipeline(in_channels=channels)
        drawing = masked(pipe)
        noise = noise_of(drawing, CPU)
        _, known, first = starting_point(pipe, drawing, noise)
        around = around_a_mask(pipe, drawing, known, first, noise)
        assert [
            name for name in ("denoise", "network", "steps") if hasattr(getattr(around, name), "func")
        ] == wrapped
    assert all(wrap("as it is") == "as it is" for wrap in Wrappers())
