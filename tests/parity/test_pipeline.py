"""Our pipeline against diffusers': the same folder of random weights, final latents after 20 guided steps.

Two prompts with negative prompts, a non-square size, guidance 7.5; max|a - b| / max|reference| <= 1e-4.
"""

import numpy as np
import pytest
import torch
from PIL import Image

from sdlearn import StableDiffusion
from sdlearn.plan import SAMPLERS
from tests.small_pipeline import noise, small_pipeline

diffusers = pytest.importorskip("diffusers")

TOLERANCE = 1e-4
PROMPTS, NEGATIVES = ["an orange cat", "a red castle on a cat"], ["castle", ""]
STEPS, SCALE, HEIGHT, WIDTH = 20, 7.5, 32, 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pipe = small_pipeline()
    return pipe.save_pretrained(tmp_path_factory.mktemp("model") / "small", dtype=torch.float32)


@pytest.fixture(scope="module")
def ours(folder):
    return StableDiffusion.from_pretrained(folder)


@pytest.fixture(scope="module")
def theirs(folder):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def with_sampler(pipe, name, kind=None):
    """diffusers' pipeline with the scheduler of our name, made as its documentation says."""
    extra = dict(SAMPLERS[name].settings)
    scheduler = getattr(diffusers, SAMPLERS[name].scheduler).from_config(pipe.scheduler.config, **extra)
    pipe = (kind or diffusers.StableDiffusionPipeline)(**{**pipe.components, "scheduler": scheduler})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def relative_error(ours, reference):
    assert ours.shape == reference.shape
    return float((ours - reference).abs().max() / reference.abs().max())


def generators(*seeds):
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def common():
    settings = {"num_inference_steps": STEPS, "guidance_scale": SCALE}
    return {"prompt": PROMPTS, "negative_prompt": NEGATIVES, **settings}


QUICK = ("ddim", "euler_a", "pndm", "dpmpp_2m")  # of each kind one; every step of each: test_samplers.py


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SAMPLERS]
)
def test_text_to_image_from_the_same_seeds(ours, theirs, name):
    """Starting noise and, where a sampler is stochastic, the noise of every step come from the seeds."""
    size = {"height": HEIGHT, "width": WIDTH}
    reference = with_sampler(theirs, name)(
        **common(), **size, generator=generators(5, 6), output_type="latent"
    ).images
    got = ours.txt2img(**common(), **size, sampler=name, seed=5)
    assert relative_error(got.latents, reference) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddim", "euler", "dpmpp_2m", "pndm", "heun"])
def test_text_to_image_from_the_same_latents(ours, theirs, name):
    start = noise(2, 4, HEIGHT // 4, WIDTH // 4)
    reference = with_sampler(theirs, name)(
        **common(), height=HEIGHT, width=WIDTH, latents=start.clone(), output_type="latent"
    ).images
    got = ours.txt2img(**common(), sampler=name, latents=start)
    assert relative_error(got.latents, reference) <= TOLERANCE


def test_pictures_are_the_same_to_one_level(ours, theirs):
    reference = with_sampler(theirs, "ddim")(
        "a cat", num_inference_steps=5, guidance_scale=3.0, generator=generators(1), output_type="np"
    ).images[0]
    got = ours.txt2img("a cat", num_inference_steps=5, guidance_scale=3.0, sampler="ddim", seed=1).images[0]
    difference = np.abs(np.asarray(got, dtype=float) - 255 * reference)
    assert difference.max() <= 0.51  # half a level: rounding
    assert np.asarray(got).std() > 5  # a picture, not a plain square


def test_the_default_sampler_is_the_one_in_the_file(ours, theirs):
    assert type(theirs.scheduler).__name__ == "PNDMScheduler"
    reference = theirs("a cat", num_inference_steps=7, generator=generators(2), output_type="latent").images
    got = ours.txt2img("a cat", num_inference_steps=7, sampler=None, seed=2)
    assert got.settings["sampler"] == "pndm"
    assert relative_error(got.latents, reference) <= TOLERANCE


class WithTheDoubledTimestep(diffusers.PNDMScheduler):
    """diffusers' image to image cuts the first timesteps off PNDM's list, the doubled second one with them,
    and works on samples one timestep noisier than it tells. This list has its double after the cut."""

    skipped = 0

    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        every = self.timesteps.unique().flip(0)
        later = every[self.skipped :]
        self.timesteps = torch.cat([every[: self.skipped], later[:2], later[1:]])


class ThatBeginsWhereItStarts(diffusers.LMSDiscreteScheduler):
    """diffusers' image to image tells LMS that it has steps behind it, and it takes weights for those it has not."""

    def set_begin_index(self, begin_index=0):
        self.sigmas = self.sigmas[begin_index:]
        super().set_begin_index(0)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
@pytest.mark.parametrize("name", SAMPLERS)
def test_image_to_image_from_the_same_seeds(ours, theirs, name, strength):
    """Also the order of the draws: the autoencoder's sample first, then the noise."""
    pixels = np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    pipe = with_sampler(theirs, name, diffusers.StableDiffusionImg2ImgPipeline)
    if name == "pndm":
        pipe.scheduler = WithTheDoubledTimestep.from_config(pipe.scheduler.config)
        pipe.scheduler.skipped = STEPS - int(STEPS * strength)
    if name == "lms":
        pipe.scheduler = ThatBeginsWhereItStarts.from_config(pipe.scheduler.config)
    reference = pipe(
        image=[image, image], strength=strength, generator=generators(5, 6), output_type="latent", **common()
    ).images
    got = ours.img2img(image, PROMPTS, strength, NEGATIVES, STEPS, SCALE, sampler=name, seed=5)
    assert len(got.steps) == int(STEPS * strength)
    assert relative_error(got.latents, reference) <= TOLERANCE


def test_a_v_prediction_model(tmp_path):
    pipe = small_pipeline(
        prediction_type="v_prediction", scheduler="DDIMScheduler", timestep_spacing="leading"
    )
    folder = pipe.save_pretrained(tmp_path / "v", dtype=torch.float32)
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    theirs.set_progress_bar_config(disable=True)
    size = {"height": HEIGHT, "width": WIDTH}
    reference = theirs(**common(), **size, generator=generators(5, 6), output_type="latent").images
    got = StableDiffusion.from_pretrained(folder).txt2img(**common(), **size, sampler=None, seed=5)
    assert got.settings["sampler"] == "ddim"
    assert relative_error(got.latents, reference) <= TOLERANCE


def repainted(pipe, name, strength):
    """diffusers' answer, and ours, for two pictures with masks of their own."""
    rng = np.random.default_rng(4)
    images = [Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)) for _ in range(2)]
    masks = [
        Image.fromarray(rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4), dtype=np.uint8)) for _ in range(2)
    ]
    masks = [mask.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST) for mask in masks]
    reference = pipe(
        image=images,
        mask_image=masks,
        strength=strength,
        height=HEIGHT,
        width=WIDTH,
        generator=generators(5, 6),
        output_type="latent",
        **common(),
    ).images
    return images, masks, reference


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("pndm", "heun", "lms")])
def test_inpainting_with_any_model(ours, theirs, name, strength):
    """Left out are those whose image to image differs on purpose (above); and Heun, whose doubled timesteps diffusers
    mixes with the known picture at the wrong noise levels."""
    pipe = with_sampler(theirs, name, diffusers.StableDiffusionInpaintPipeline)
    images, masks, reference = repainted(pipe, name, strength)
    got = ours.inpaint(images, masks, PROMPTS, strength, NEGATIVES, STEPS, SCALE, sampler=name, seed=5)
    assert relative_error(got.latents, reference) <= TOLERANCE


@pytest.fixture(scope="module")
def nine(tmp_path_factory):
    """Our and diffusers' pipeline of a model whose U-Net has nine channels."""
    folder = tmp_path_factory.mktemp("model") / "nine"
    small_pipeline(in_channels=9).save_pretrained(folder, dtype=torch.float32)
    theirs = diffusers.StableDiffusionInpaintPipeline.from_pretrained(folder, local_files_only=True)
    return StableDiffusion.from_pretrained(folder), theirs


@pytest.mark.parametrize(
    "strength", [0.75, *(pytest.param(strength, marks=pytest.mark.slow) for strength in (0.3, 1.0))]
)
@pytest.mark.parametrize("name", ["ddim", "euler", "euler_a", "dpmpp_2m"])
def test_inpainting_with_a_model_made_for_it(nine, name, strength):
    ours, theirs = nine
    pipe = with_sampler(theirs, name, diffusers.StableDiffusionInpaintPipeline)
    images, masks, reference = repainted(pipe, name, strength)
    got = ours.inpaint(images, masks, PROMPTS, strength, NEGATIVES, STEPS, SCALE, sampler=name, seed=5)
    assert relative_error(got.latents, reference) <= TOLERANCE


@pytest.mark.parametrize("kind", [pytest.param("epsilon", marks=pytest.mark.slow), "v_prediction"])
def test_guidance_rescale(tmp_path, kind):
    """In the terms of what the network answers: noise, or v."""
    pipe = small_pipeline(prediction_type=kind, scheduler="DDIMScheduler")
    folder = pipe.save_pretrained(tmp_path / kind, dtype=torch.float32)
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    theirs.set_progress_bar_config(disable=True)
    reference = theirs(
        **common(), guidance_rescale=0.7, generator=generators(5, 6), output_type="latent"
    ).images
    got = pipe.txt2img(**common(), guidance_rescale=0.7, sampler=None, seed=5)
    assert relative_error(got.latents, reference) <= TOLERANCE
    assert relative_error(pipe.txt2img(**common(), sampler=None, seed=5).latents, reference) > 1e-3


@pytest.mark.parametrize("skip", [0, 1])
def test_clip_skip(ours, theirs, skip):
    """Against the hidden states of transformers' text tower: the pipeline of diffusers 0.42 fails on clip_skip with
    transformers 5 (it looks for a module that is no longer there)."""
    tower = theirs.text_encoder
    ids = torch.tensor([ours.tokenizer.encode(prompt) for prompt in PROMPTS])
    with torch.no_grad():
        states = tower(ids, output_hidden_states=True).hidden_states
        reference = getattr(tower, "text_model", tower).final_layer_norm(states[-(skip + 1)])
    assert relative_error(ours.encode_prompt(PROMPTS, clip_skip=skip), reference) <= 1e-5
