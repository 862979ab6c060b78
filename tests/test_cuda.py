"""The same pictures and the same training on an NVIDIA GPU. Skipped where there is none."""

import json

import numpy as np
import pytest
import torch

import sdlearn
from sdlearn.bench.measure import Request, benchmark
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


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_quick_ways_draw_what_the_plain_network_draws(gpu, compiled):
    asked = {"num_inference_steps": 5, "seed": 3}
    quick = (gpu.compile() if compiled else gpu).txt2img(SENTENCE, **asked).latents
    gpu.for_a_run = lambda cache_interval: gpu.unet
    assert mean_error(quick, gpu.txt2img(SENTENCE, **asked).latents) <= 1e-4


def test_same_seed_same_latents_and_a_batch_is_its_pictures(gpu):
    first, second = (gpu.txt2img(SENTENCE, num_inference_steps=5, seed=3).latents for _ in range(2))
    assert torch.equal(first, second)
    together = gpu.txt2img(SENTENCE, num_images_per_prompt=3, num_inference_steps=5, seed=2).latents
    assert (together[1] - first[0]).abs().max() <= 1e-4


@pytest.mark.parametrize("scale", [1.0, 7.5])
@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_a"])
def test_no_step_waits_for_the_gpu(gpu, sampler, scale):
    """From the second step on (the first sets things up) the CPU only hands out work, and never asks for a result."""
    steps = gpu.txt2img_steps(SENTENCE, num_inference_steps=6, sampler=sampler, guidance_scale=scale)
    next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert len(list(steps)) == 5
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_more_steps_need_no_more_memory_on_the_card(gpu):
    """Without recording, fifty steps and five have the same peak."""
    peaks = []
    gpu.txt2img(SENTENCE, num_inference_steps=2, record=False)
    for number in (5, 50):
        torch.cuda.reset_peak_memory_stats()
        gpu.txt2img(SENTENCE, num_inference_steps=number, record=False)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= 1.01 * peaks[0]


def test_every_stage_can_be_timed(gpu):
    results = benchmark(gpu, Request(runs=1, diffusers=True, scaling=True, quick=True))
    assert len(results["rows"]) == 5 and all(row["median"] > 0 and row["peak"] > 0 for row in results["rows"])
    assert results["shares"]["rate"] > 0
    assert all(pair["difference"] <= 1e-3 for pair in results["pairs"] if pair["name"] != "VAE decode")


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


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """Stable Diffusion 1.5 at its full size with random weights, as a folder in half precision."""
    from sdlearn.checkpoint import Parts, save_folder
    from sdlearn.clip import CLIPTextModel
    from sdlearn.config import CLIPTextConfig, ScheduleConfig, UNetConfig, VAEConfig
    from sdlearn.unet import UNet
    from sdlearn.vae import AutoencoderKL
    from tests.test_full_size import made_up_tokenizer, random_network

    networks = ((UNet, UNetConfig()), (AutoencoderKL, VAEConfig()), (CLIPTextModel, CLIPTextConfig()))
    parts = [random_network(make, config, seed) for seed, (make, config) in enumerate(networks)]
    return save_folder(
        Parts(*parts, made_up_tokenizer(), ScheduleConfig()), tmp_path_factory.mktemp("full") / "model"
    )


FULL = {"num_inference_steps": 20, "height": 512, "width": 512, "seed": 4, "record": False}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_at_full_size(full_size, dtype, capsys):
    """Finite, near float32, and at most 2.9 GB on the card; 2.0 GB where memory is saved."""
    exact = sdlearn.StableDiffusion.from_pretrained(full_size, device="cuda").txt2img(SENTENCE, **FULL)
    figures = {}
    for mode, most in (("plain", 2.9e9), ("saving", 2.0e9)):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        pipe = sdlearn.StableDiffusion.from_pretrained(full_size, dtype, "cuda" if mode == "plain" else "cpu")
        out = (pipe.save_memory("cuda") if mode == "saving" else pipe).txt2img(SENTENCE, **FULL)
        figures[mode] = torch.cuda.max_memory_allocated()
        assert torch.isfinite(out.latents).all()
        assert mean_error(out.latents, exact.latents) <= 2e-2
        assert figures[mode] <= most
        del pipe, out
    with capsys.disabled():
        print(f"\n{dtype}: {', '.join(f'{mode} {peak / 1e9:.2f} GB' for mode, peak in figures.items())}")


def test_a_lack_of_memory_is_explained(gpu):
    with pytest.raises(MemoryError, match=r"pipe\.save_memory\(\)"):
        gpu.txt2img("a cat", height=128 * 200, width=128 * 200, num_inference_steps=1)


def test_recorded_steps_and_resuming_on_the_gpu(gpu):
    whole = gpu.txt2img(SENTENCE, num_inference_steps=6, sampler="unipc", seed=2)
    assert mean_error(gpu.resume(whole, 3).latents, whole.latents) <= 1e-5
    mask = np.zeros((128, 128), dtype=np.uint8)
    mask[:, 64:] = 255
    from PIL import Image

    picture, mask = render(sample_scene(np.random.default_rng(3))), Image.fromarray(mask)
    assert gpu.inpaint(picture, mask, SENTENCE, num_inference_steps=4).images[0].size == (128, 128)
    tall = gpu.save_memory().txt2img(SENTENCE, num_inference_steps=2, height=256)
    assert tall.images[0].size == (128, 256)
