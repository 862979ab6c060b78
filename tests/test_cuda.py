"""The same pictures and the same training on an NVIDIA GPU. Skipped where there is none."""

import json

import numpy as np
import pytest
import torch

import sdlearn
from sdlearn.bench import time_stages
from sdlearn.image import to_tensor
from sdlearn.scenes import render, sample_scene
from sdlearn.training import commands
from tests.test_training import TINY_CLIP, TINY_UNET, TINY_VAE, logged

pytestmark = pytest.mark.cuda
SENTENCE = "an orange cat standing on a red castle"


@pytest.fixture(scope="module", autouse=True)
def exact():
    """Convolutions in true float32: by default a GPU rounds their inputs to ten bits."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@pytest.fixture(scope="module")
def cpu():
    return sdlearn.StableDiffusion.from_pretrained("scenes")


@pytest.fixture
def gpu():
    return sdlearn.StableDiffusion.from_pretrained("scenes", device="cuda")


def mean_error(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean absolute difference, relative to the mean of the reference."""
    a, b = a.float().cpu(), b.float().cpu()
    return ((a - b).abs().mean() / b.abs().mean()).item()


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_a", "pndm"])
def test_the_gpu_draws_what_the_cpu_draws(cpu, gpu, sampler):
    """Noise is drawn on the CPU, so a seed means the same picture on every device."""
    drawn = [
        pipe.txt2img(SENTENCE, num_inference_steps=20, sampler=sampler, seed=3).latents for pipe in (gpu, cpu)
    ]
    assert mean_error(*drawn) <= 1e-3


def test_the_gpu_redraws_what_the_cpu_redraws(cpu, gpu):
    picture = render(sample_scene(np.random.default_rng(3)))
    drawn = [pipe.img2img(picture, SENTENCE, strength=0.6, seed=9).latents for pipe in (gpu, cpu)]
    assert mean_error(*drawn) <= 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_float32(cpu, gpu, dtype):
    """Ten steps: errors of rounding grow from step to step."""
    half = gpu.to(dtype=dtype).txt2img(SENTENCE, num_inference_steps=10, seed=3)
    whole = cpu.txt2img(SENTENCE, num_inference_steps=10, seed=3)
    assert torch.isfinite(half.latents).all()
    assert mean_error(half.latents, whole.latents) <= (2e-2 if dtype == torch.float16 else 1e-1)
    pixels = to_tensor(half.images[0]) - to_tensor(whole.images[0])
    assert pixels.abs().mean() <= 0.05


def test_same_seed_same_latents_and_a_batch_is_its_pictures(gpu):
    first, second = (gpu.txt2img(SENTENCE, num_inference_steps=5, seed=3).latents for _ in range(2))
    assert torch.equal(first, second)
    together = gpu.txt2img(SENTENCE, num_images_per_prompt=3, num_inference_steps=5, seed=2).latents
    assert (together[1] - first[0]).abs().max() <= 1e-4


def test_every_stage_can_be_timed(gpu):
    timings = time_stages(gpu, runs=1)
    assert len(timings) == 5 and all(timing.median > 0 for timing in timings)


@pytest.mark.slow
def test_training_takes_the_same_first_steps(tmp_path):
    """All parts, four tiny steps each in float32, on the GPU and on the CPU."""
    for part, changes in (("vae", TINY_VAE), ("clip", TINY_CLIP), ("unet", TINY_UNET)):
        for place in ("gpu", "cpu"):
            commands.train(part, tmp_path / place, changes=changes, cpu=place == "cpu")
        assert logged(tmp_path / "gpu" / part) == pytest.approx(logged(tmp_path / "cpu" / part), rel=2e-2)


@pytest.mark.slow
def test_training_in_bfloat16_stays_finite(tmp_path):
    changes = {**TINY_VAE, "training.precision": "bf16"}
    commands.train("vae", tmp_path, changes=changes)
    lines = (tmp_path / "vae" / "log.jsonl").read_text("utf-8").splitlines()
    assert all(np.isfinite(json.loads(line)["loss"]) for line in lines)
