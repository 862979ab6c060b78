"""Our pipeline against diffusers': the same folder of random weights, final latents after 20 guided steps.

Two prompts with negative prompts, a non-square size, guidance 7.5; max|a - b| / max|reference| <= 1e-4.
"""

import numpy as np
import pytest
import torch
from PIL import Image

from sdlearn import StableDiffusion
from sdlearn.samplers import SAMPLERS
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
    extra = {"use_karras_sigmas": True} if name.endswith("karras") else {}
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


@pytest.mark.parametrize("name", SAMPLERS)
def test_text_to_image_from_the_same_seeds(ours, theirs, name):
    """Starting noise and, where a sampler is stochastic, the noise of every step come from the seeds."""
    size = {"height": HEIGHT, "width": WIDTH}
    reference = with_sampler(theirs, name)(
        **common(), **size, generator=generators(5, 6), output_type="latent"
    ).images
    got = ours.txt2img(**common(), **size, sampler=name, seed=5)
    assert relative_error(got.latents, reference) <= TOLERANCE


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


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("name", SAMPLERS)
def test_image_to_image_from_the_same_seeds(ours, theirs, name, strength):
    """Also the order of the draws: the autoencoder's sample first, then the noise."""
    pixels = np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    pipe = with_sampler(theirs, name, diffusers.StableDiffusionImg2ImgPipeline)
    if name == "pndm":
        pipe.scheduler = WithTheDoubledTimestep.from_config(pipe.scheduler.config)
        pipe.scheduler.skipped = STEPS - int(STEPS * strength)
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
