"""Bad input is refused with one clear message, before any network runs.

Every network of the model under test raises when it is called, so a case that passes proves that none was.
"""

import inspect
import math
import re
import time
from dataclasses import fields

import pytest
import torch
from PIL import Image

from sdlearn import CheckpointError, StableDiffusion
from sdlearn.elsewhere import ATTRIBUTES, DRAWING, LOADING
from sdlearn.networks import LOADED
from sdlearn.wishes import Wishes
from tests.small_pipeline import small_pipeline


class NetworkRan(Exception):
    """Not a ValueError or TypeError: pytest.raises lets it through."""


@pytest.fixture(scope="module")
def pipe():
    pipe = small_pipeline()

    def ran(*args, **kwargs):
        raise NetworkRan

    pipe.unet.forward = pipe.text_encoder.forward = pipe.vae.encode = pipe.vae.decode = ran
    return pipe


def picture(width=32, height=32):
    return Image.new("RGB", (width, height), "grey")


def speck():
    """White in a few pixels, none of which decides for its square."""
    mask = Image.new("L", (32, 32))
    mask.paste(255, (1, 1, 3, 3))
    return mask


# Arguments, the error, and words that its message must hold: the argument, what was given, what is allowed.
BOTH = [
    ({"prompt": None}, TypeError, "prompt must be a str or a list of str, got None"),
    ({"prompt": 7}, TypeError, "prompt must be a str or a list of str, got 7 (int)"),
    ({"prompt": b"cat"}, TypeError, "prompt must be a str or a list of str, got b'cat'"),
    ({"prompt": ["a", 3]}, TypeError, "prompt must be a str or a list of str, got 3"),
    ({"prompt": []}, ValueError, "prompt is an empty list"),
    ({"negative_prompt": 7}, TypeError, "negative_prompt must be a str or a list of str, got 7"),
    ({"negative_prompt": ["a", "b"]}, ValueError, "negative_prompt has 2 entries for 1 prompts"),
    ({"negative_prompt": []}, ValueError, "negative_prompt is an empty list"),
    ({"num_inference_steps": 0}, ValueError, "num_inference_steps must be from 1 to 1000, got 0"),
    ({"num_inference_steps": -3}, ValueError, "num_inference_steps must be from 1 to 1000, got -3"),
    ({"num_inference_steps": 1001}, ValueError, "num_inference_steps must be from 1 to 1000, got 1001"),
    ({"num_inference_steps": 2.5}, TypeError, "num_inference_steps must be a whole number, got 2.5"),
    ({"num_inference_steps": "20"}, TypeError, "num_inference_steps must be a whole number, got '20'"),
    ({"num_inference_steps": True}, TypeError, "num_inference_steps must be a whole number, got True"),
    ({"num_inference_steps": None}, TypeError, "num_inference_steps must be a whole number, got None"),
    ({"guidance_scale": math.nan}, ValueError, "guidance_scale must be a finite number >= 0"),
    ({"guidance_scale": math.inf}, ValueError, "guidance_scale must be a finite number >= 0"),
    ({"guidance_scale": 10**400}, ValueError, "guidance_scale must be a finite number >= 0"),
    ({"guidance_scale": -1}, ValueError, "guidance_scale must be a finite number >= 0"),
    ({"guidance_scale": "7"}, TypeError, "guidance_scale must be a number, got '7'"),
    (
        {"sampler": "eular"},
        ValueError,
        "unknown sampler 'eular'; use one of ddpm, ddim, euler, euler_a, heun",
    ),
    ({"sampler": 3}, ValueError, "unknown sampler 3"),
    ({"height": 42}, ValueError, "height=42 must be a positive multiple of 4: take 40 or 44"),
    ({"width": 33}, ValueError, "width=33 must be a positive multiple of 4: take 32 or 36"),
    ({"width": 0}, ValueError, "width=0 must be a positive multiple of 4: take 4"),
    ({"height": -32}, ValueError, "height=-32 must be a positive multiple of 4"),
    ({"height": 2**62}, ValueError, "pixels are more than 67108864; ask for a smaller size"),
    ({"height": 32.0}, TypeError, "height must be a whole number of pixels, not 32.0"),
    ({"num_images_per_prompt": 0}, ValueError, "num_images_per_prompt must be at least 1, got 0"),
    ({"num_images_per_prompt": 1.5}, TypeError, "num_images_per_prompt must be a whole number, got 1.5"),
    ({"seed": None}, TypeError, "seed must be a whole number"),
    ({"seed": 1.0}, TypeError, "seed must be a whole number, or a list with one for each picture, got 1.0"),
    ({"seed": "1"}, TypeError, "seed must be a whole number"),
    ({"seed": True}, TypeError, "seed must be a whole number"),
    ({"seed": -1}, ValueError, "seed must be from 0 to 2**63 - 1, got -1"),
    ({"seed": 2**63}, ValueError, "seed must be from 0 to 2**63 - 1"),
    ({"seed": [1, 2]}, ValueError, "seed has 2 entries for 1 pictures"),
    ({"seed": [1], "num_images_per_prompt": 2}, ValueError, "seed has 1 entries for 2 pictures"),
    ({"seed": [1, "x"]}, TypeError, "got 'x'"),
    (
        {"spacing": "cosine"},
        ValueError,
        "spacing 'cosine' is unknown; use one of leading, trailing, linspace",
    ),
    ({"spacing": 3}, ValueError, "spacing 3 is unknown"),
    ({"spacing": "karras", "sampler": "ddim"}, ValueError, "spacing 'karras' is not for ddim, which visits"),
    ({"eta": 0.5}, ValueError, "eta is not for dpmpp_2m; it is for ddpm, ddim, euler_a"),
    (
        {"eta": 1.5, "sampler": "ddim"},
        ValueError,
        "eta must be from 0 (no fresh noise) to 1 (as in ddpm), got 1.5",
    ),
    ({"eta": "1", "sampler": "ddim"}, TypeError, "eta must be a number from 0 to 1, got '1'"),
    ({"eta": math.nan, "sampler": "ddim"}, ValueError, "eta must be from 0"),
    ({"sampler": "lcm", "num_inference_steps": 51}, ValueError, "lcm visits at most 50 timesteps, not 51"),
    (
        {"guidance_rescale": 1.2},
        ValueError,
        "guidance_rescale must be from 0 (off) to 1 (usual: 0.7), got 1.2",
    ),
    ({"guidance_rescale": "x"}, TypeError, "guidance_rescale must be a number from 0 to 1, got 'x'"),
    ({"guidance_interval": 3}, TypeError, "guidance_interval must be two noise levels (low, high), got 3"),
    ({"guidance_interval": (0.3, math.inf)}, ValueError, "guidance_interval must be 0 <= low <= high"),
    ({"guidance_interval": (0, 10**400)}, ValueError, "guidance_interval must be 0 <= low <= high"),
    ({"guidance_interval": []}, TypeError, "guidance_interval must be two noise levels"),
    ({"cache_interval": 0}, ValueError, "cache_interval must be at least 1, got 0"),
    ({"cache_interval": 2.0}, TypeError, "cache_interval must be a whole number, got 2.0 (float)"),
    ({"sampler": "dpmpp_2m_karras", "spacing": "linspace"}, ValueError, "which has its own; take dpmpp_2m"),
    ({"prompt": "((((cat:9):9):9):9)", "prompt_weights": True}, ValueError, "multiply to more than 10"),
    ({"prompt": "(" * 8000 + "a", "prompt_weights": True}, ValueError, "multiply to more than 10"),
    ({"prompt": "a" * 10001, "prompt_weights": True}, ValueError, "a prompt of 10001 characters cannot"),
    ({"guidance_interval": (5, 1)}, ValueError, "guidance_interval must be 0 <= low <= high"),
    ({"guidance_interval": (0, "x")}, TypeError, "guidance_interval must be two noise levels"),
    ({"clip_skip": 2}, ValueError, "clip_skip must be from 0 to 1, this text encoder has 2 layers; got 2"),
    ({"clip_skip": -1}, ValueError, "clip_skip must be from 0 to 1"),
    ({"clip_skip": 0.5}, TypeError, "clip_skip must be a whole number, got 0.5"),
    ({"prompt_weights": "yes"}, TypeError, "prompt_weights must be True or False, got 'yes'"),
    ({"long_prompts": 1}, TypeError, "long_prompts must be True or False, got 1"),
    (
        {"prompt": "a (cat:99)", "prompt_weights": True},
        ValueError,
        "the weight 99 in 'a (cat:99)' must be a number from 0 to 10",
    ),
    (
        {"negative_prompt": "a (cat:1.2.3)", "prompt_weights": True},
        ValueError,
        "the weight 1.2.3 in 'a (cat:1.2.3)' must be a number",
    ),
]
TEXT_ONLY = [
    ({"latents": "noise"}, TypeError, "latents must be a torch.Tensor of shape (1, 4, 8, 8), got str"),
    (
        {"latents": torch.zeros(1, 3, 8, 8)},
        ValueError,
        "latents must have the shape (1, 4, 8, 8), got (1, 3, 8, 8)",
    ),
    (
        {"latents": torch.zeros(2, 4, 8, 8)},
        ValueError,
        "latents must have the shape (1, 4, 8, 8), got (2, 4, 8, 8)",
    ),
    ({"latents": torch.zeros(1, 4, 8, 8), "width": 48}, ValueError, "must have the shape (1, 4, 8, 12)"),
    ({"latents": torch.zeros(1, 4, 0, 8)}, ValueError, "height=0 must be a positive multiple of 4: take 4"),
    (
        {"latents": torch.full((1, 4, 8, 8), math.nan)},
        ValueError,
        "latents must be finite floating-point numbers",
    ),
    (
        {"latents": torch.zeros(1, 4, 8, 8).long()},
        ValueError,
        "latents must be finite floating-point numbers",
    ),
]
IMAGE_ONLY = [
    (
        {"strength": -0.1},
        ValueError,
        "strength must be above 0 (nearly keep the picture) and at most 1 (nearly ignore it), got -0.1",
    ),
    ({"strength": 1.01}, ValueError, "strength must be above 0 (nearly keep the picture)"),
    ({"strength": math.nan}, ValueError, "strength must be above 0"),
    ({"strength": None}, TypeError, "strength must be a number above 0 and at most 1, got None"),
    ({"strength": True}, TypeError, "strength must be a number above 0 and at most 1, got True"),
    ({"strength": 0.01}, ValueError, "strength=0.01 of num_inference_steps=25 leaves no step to run"),
    ({"strength": 0.0}, ValueError, "take a strength of at least 0.04, or more steps"),
    ({"image": None}, TypeError, "a picture must be a path or a PIL image, not NoneType."),
    ({"image": torch.zeros(1, 3, 8, 8)}, TypeError, "not Tensor: sdlearn.image.to_images makes them"),
    ({"image": "no such file.png"}, ValueError, "there is no picture file 'no such file.png'"),
    ({"image": __file__}, ValueError, "as a picture"),
    ({"image": []}, ValueError, "image must be one picture"),
    ({"image": [picture(), picture()]}, ValueError, "image has 2 entries for 1 prompts"),
    ({"image": [picture(), picture(16)]}, ValueError, "several of one size"),
    (
        {"image": picture(33)},
        ValueError,
        "the picture has 33x32 pixels, and sides must be multiples of 4: give",
    ),
    (
        {"image": picture(33), "width": 33},
        ValueError,
        "width=33 must be a positive multiple of 4: take 32 or 36",
    ),
]


MASK_ONLY = [
    ({"mask": None}, TypeError, "a picture must be a path or a PIL image, not NoneType"),
    ({"mask": []}, ValueError, "mask must have the size of the image, 32x32 pixels, got none"),
    ({"mask": picture(16)}, ValueError, "mask must have the size of the image, 32x32 pixels, got 16x32"),
    (
        {"mask": Image.new("L", (32, 32))},
        ValueError,
        "mask is black all over, or white in strokes too thin to see: there is nothing to paint",
    ),
    ({"mask": Image.new("RGBA", (32, 32), (255, 255, 255, 0))}, ValueError, "mask is black all over"),
    ({"mask": speck()}, ValueError, "or white in strokes too thin to see"),
    ({"mask": [picture(), picture()]}, ValueError, "mask has 2 entries for 1 prompts"),
    ({"mask": "no such mask.png"}, ValueError, "there is no picture file 'no such mask.png'"),
]


def name_of(value):
    return re.sub(r"\s+", " ", str(value))[:40] if isinstance(value, dict) else ""


@pytest.mark.parametrize("change, error, message", BOTH + TEXT_ONLY, ids=name_of)
def test_text_to_image(pipe, change, error, message):
    arguments = {"prompt": "a cat", **change}
    with pytest.raises(error, match=re.escape(message)):
        pipe.txt2img(**arguments)
    with pytest.raises(error, match=re.escape(message)):
        pipe.txt2img_steps(**arguments)  # at the call, not at the first step


@pytest.mark.parametrize("change, error, message", BOTH + IMAGE_ONLY, ids=name_of)
def test_image_to_image(pipe, change, error, message):
    arguments = {"image": picture(), "prompt": "a cat", **change}
    with pytest.raises(error, match=re.escape(message)):
        pipe.img2img(**arguments)
    with pytest.raises(error, match=re.escape(message)):
        pipe.img2img_steps(**arguments)


@pytest.mark.parametrize("change, error, message", BOTH + IMAGE_ONLY + MASK_ONLY, ids=name_of)
def test_inpainting(pipe, change, error, message):
    size = change["image"].size if isinstance(change.get("image"), Image.Image) else (32, 32)
    arguments = {"image": picture(), "mask": Image.new("L", size, 255), "prompt": "a cat", **change}
    with pytest.raises(error, match=re.escape(message)):
        pipe.inpaint(**arguments)
    with pytest.raises(error, match=re.escape(message)):
        pipe.inpaint_steps(**arguments)


@pytest.mark.alone
def test_each_refusal_is_fast(pipe):
    """Under 50 ms, the median of three; all of them: none decodes, loads or computes anything first."""
    for change, error, _ in BOTH + TEXT_ONLY:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            with pytest.raises(error):
                pipe.txt2img(**{"prompt": "a cat", **change})
            times.append(time.perf_counter() - start)
        assert sorted(times)[1] < 0.05, change


def test_an_inpainting_model_says_what_it_needs():
    other = small_pipeline(in_channels=9)
    with pytest.raises(ValueError, match="this is an inpainting model: its U-Net needs a picture and a mask"):
        other.txt2img("a cat")
    with pytest.raises(ValueError, match="this is an inpainting model: its U-Net needs a mask beside"):
        other.img2img(picture(), "a cat")


def test_the_steps_have_no_argument_record(pipe):
    with pytest.raises(TypeError, match="no argument 'record' here: each step is given once"):
        pipe.txt2img_steps("a cat", record=False)


def test_what_cannot_be_resumed(pipe):
    out = small_pipeline().txt2img("a cat", num_inference_steps=3)
    with pytest.raises(TypeError, match="no run to go on from: none was stopped"):
        pipe.resume(pipe.interrupted, 1)
    with pytest.raises(TypeError, match="generation must be the result of a drawing, got str"):
        pipe.resume("cat.png", 1)
    for step in (-1, 3, 99):
        with pytest.raises(ValueError, match=f"step must be from 0 to 2, the recorded steps.*got {step}"):
            pipe.resume(out, step)
    with pytest.raises(TypeError, match="step must be a whole number, got 1.5"):
        pipe.resume(out, 1.5)
    with pytest.raises(
        TypeError, match="a resumed run cannot change seed: its start is fixed; it can change prompt"
    ):
        pipe.resume(out, 1, seed=3)
    with pytest.raises(ValueError, match="guidance_scale must be a finite number"):
        pipe.resume(out, 1, guidance_scale=-2)


def test_what_the_networks_cannot_be_asked(pipe):
    for skip in (2, -1):
        with pytest.raises(ValueError, match=f"clip_skip must be from 0 to 1, got {skip}"):
            pipe.encode_prompt(["cat"], clip_skip=skip)
    with pytest.raises(TypeError, match="prompts must be a str or a list of str, got 3"):
        pipe.encode_prompt(3)
    for shape in ((4, 8, 8), (1, 3, 8, 8)):
        message = re.escape(f"latents must have the shape (n, 4, h, w), got {shape}; latents[None] makes")
        with pytest.raises(ValueError, match=message):
            pipe.decode(torch.zeros(shape))


def test_each_picture_has_a_mask_of_its_own_shape(pipe):
    images, size = [picture(64, 32), picture(32, 64)], {"height": 32, "width": 32}
    white = Image.new("L", (64, 32), 255)
    with pytest.raises(ValueError, match="mask must have the size of the image"):
        pipe.inpaint(images, white, ["a", "b"], **size)


def test_good_input_does_reach_the_networks(pipe):
    """Otherwise the cases above would prove nothing."""
    with pytest.raises(NetworkRan):
        pipe.txt2img("a cat")
    with pytest.raises(NetworkRan):
        pipe.img2img(picture(), "a cat")
    with pytest.raises(NetworkRan):
        pipe.inpaint(picture(), picture(), "a cat")
    with pytest.raises(NetworkRan):
        pipe.encode_prompt(["a cat"])
    with pytest.raises(NetworkRan):
        pipe.decode(torch.zeros(1, 4, 8, 8))


def test_unknown_arguments_are_named(pipe):
    for call in (pipe.txt2img, pipe.txt2img_steps):
        with pytest.raises(
            TypeError, match="no argument 'stepz' here; there are prompt, latents, record, neg"
        ):
            call("a cat", stepz=20)
        with pytest.raises(TypeError, match="no argument 'steps' here: sdlearn calls it num_inference_steps"):
            call("a cat", steps=20)


def test_arguments_that_diffusers_calls_otherwise(pipe):
    with pytest.raises(TypeError, match="no argument 'generator' here: give seed"):
        pipe.txt2img("a cat", generator=torch.Generator())
    with pytest.raises(TypeError, match="no argument 'callback_on_step_end' here: iterate over the steps"):
        pipe.img2img(picture(), "a cat", callback_on_step_end=print)
    for call in (pipe.inpaint, pipe.inpaint_steps):
        with pytest.raises(TypeError, match="no argument 'mask_image' here: sdlearn calls it mask"):
            call(prompt="a cat", image=picture(), mask_image=picture())
    with pytest.raises(TypeError, match="no argument 'strength' here: it is for img2img and inpaint"):
        pipe.txt2img("a cat", strength=0.5)


def test_diffusers_other_ways_are_answered(pipe):
    with pytest.raises(TypeError, match=r"call pipe\.txt2img\(prompt\), pipe\.img2img"):
        pipe("a dog")
    with pytest.raises(TypeError, match="from_pretrained opens single files, too"):
        StableDiffusion.from_single_file("model.safetensors")
    with pytest.raises(AttributeError, match="no 'enable_model_cpu_offload': call pipe.save_memory"):
        pipe.enable_model_cpu_offload()
    with pytest.raises(AttributeError, match="no 'scheduler': give each drawing a sampler, by its name"):
        _ = pipe.scheduler
    with pytest.raises(AttributeError, match="^StableDiffusion has no 'schedulers'.$"):
        _ = pipe.schedulers
    with pytest.raises(TypeError, match="no argument 'torch_dtype' here: sdlearn calls it dtype"):
        StableDiffusion.from_pretrained("scenes", torch_dtype=torch.float16)
    with pytest.raises(TypeError, match="no argument 'cache' here; there are model, dtype, device, pred"):
        StableDiffusion.from_pretrained("scenes", cache="here")


def test_names_that_are_answered_are_not_there(pipe):
    """An answer for a name that works would never be read; a list of names holds all that work."""
    signature = inspect.signature(StableDiffusion.from_pretrained).parameters
    assert ", ".join(name for name in signature if name != "elsewhere") == LOADED
    known = {field.name for field in fields(Wishes)}
    assert not known & DRAWING.keys() and not signature.keys() & LOADING.keys()
    assert not any(hasattr(pipe, name) for name in ATTRIBUTES)


@pytest.mark.parametrize("dtype", ["half", "fp16", "float64", torch.int8, torch.float64, 16, None])
def test_types_of_numbers_that_are_not_there(pipe, tmp_path, dtype):
    message = re.escape(f"dtype {str(dtype)!r} is not for networks here; use float32, bfloat16, float16.")
    with pytest.raises(ValueError, match=message):
        StableDiffusion.from_pretrained("scenes", dtype=dtype)
    with pytest.raises(ValueError, match=message):
        pipe.save_pretrained(tmp_path / "new", dtype=dtype)
    if dtype is not None:
        with pytest.raises(ValueError, match=message):
            pipe.to(dtype=dtype)


def test_models_that_are_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="no model named 'scnes'"):
        StableDiffusion.from_pretrained("scnes")
    with pytest.raises(ValueError, match="does not exist"):
        StableDiffusion.from_pretrained(tmp_path / "nothing")


@pytest.mark.parametrize(
    "device, message",
    [
        ("cuda:99", "device 'cuda:99' is not available here; there is cpu.*Name one of these"),
        ("toaster", "device 'toaster' is unknown; use cpu, cuda, cuda:1 or mps"),
        ("", "device '' is unknown"),
    ],
)
def test_devices_that_are_not_there(pipe, device, message):
    for call in (lambda: StableDiffusion.from_pretrained(device=device), lambda: pipe.to(device)):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match=message):
        pipe.save_memory(device)
    assert pipe.to("cpu") is pipe and pipe.to(torch.device("cpu")).device.type == "cpu"


def test_a_scheduler_without_a_sampler_here(pipe):
    other = small_pipeline(scheduler="EDMEulerScheduler")
    with pytest.raises(ValueError, match="'EDMEulerScheduler'.*Name a sampler"):
        other.txt2img("a cat", sampler=None)
