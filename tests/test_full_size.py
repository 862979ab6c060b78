"""Stable Diffusion 1.5 at its full size, with random weights: loaded, drawn with, and compared with diffusers.

A billion parameters: needs 16 GB of memory, 5 GB of disk and some minutes. Figures of time and memory are printed, run
with -s to see them; each load runs in a process of its own, so that its peak is its own.
"""

import json
import os
import subprocess
import sys

import pytest
import torch

from sdlearn.bpe import byte_symbols
from sdlearn.checkpoint import Parts, open_checkpoint, save_folder, write_single_file
from sdlearn.checkpoint.tensors import NoInitialisation
from sdlearn.clip import CLIPTextModel
from sdlearn.config import CLIPTextConfig, ScheduleConfig, UNetConfig, VAEConfig
from sdlearn.tokenizer import Tokenizer
from sdlearn.tokenizer_training import vocabulary
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

pytest.importorskip("diffusers")
MERGES = 48894
GIGABYTE = 1e9


def memory():
    """Bytes that this machine has; 0 where that is not told."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(memory() < 14 * GIGABYTE, reason="needs 16 GB of memory"),
]


def made_up_tokenizer():
    """As large as CLIP's, with merges of any two letters."""
    letters = list(byte_symbols().values())
    pairs = [(a, b + end) for a in letters for b in letters for end in ("", "</w>")][:MERGES]
    return Tokenizer(vocabulary(pairs), pairs)


def random_network(make, config, seed):
    """Weights that keep activations in range."""
    with NoInitialisation():
        network = make(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 100
            parameter.normal_(std=0.7 / fan_in**0.5, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return network.half()


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The same model as a folder and as a single file, both in half precision."""
    home = tmp_path_factory.mktemp("full")
    parts = Parts(
        random_network(UNet, UNetConfig(), 1),
        random_network(AutoencoderKL, VAEConfig(sample_size=512), 2),
        random_network(CLIPTextModel, CLIPTextConfig(), 3),
        made_up_tokenizer(),
        ScheduleConfig(),
    )
    folder = save_folder(parts, home / "folder")
    file = write_single_file(parts, home / "model.safetensors")
    yield {"folder": folder, "file": file}
    for path in (file, *folder.rglob("*.safetensors")):  # two times two gigabytes
        path.unlink()


LOAD = """
import json, sys, time, torch
from sdlearn import StableDiffusion
place, tokenizer, dtype = sys.argv[1:]
def status(name):
    return int(open("/proc/self/status").read().split(name + ":")[1].split()[0]) * 1024
before, start = status("VmRSS"), time.perf_counter()
pipe = StableDiffusion.from_pretrained(place, getattr(torch, dtype), tokenizer=tokenizer or None)
seconds, peak = time.perf_counter() - start, status("VmHWM") - before
used = status("VmRSS") - before
print(json.dumps({"seconds": round(seconds, 2), "peak GB": round(peak / 1e9, 2), "after GB": round(used / 1e9, 2)}))
"""


def load(place, tokenizer, dtype):
    command = [sys.executable, "-W", "ignore", "-c", LOAD, str(place), str(tokenizer), dtype]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("dtype, size", [("float16", 2.13e9), ("float32", 4.26e9)])
def test_loading_needs_little_more_than_the_weights(places, dtype, size):
    """At most 1.15 times the weights in the precision that was asked for, from either layout."""
    words = {"folder": "", "file": places["folder"] / "tokenizer"}  # a folder has its own
    for layout, place in places.items():
        figures = load(place, words[layout], dtype)
        print(f"\n{layout}, {dtype}: {figures}")
        assert figures["peak GB"] <= 1.15 * size / GIGABYTE


def test_both_layouts_hold_the_same_numbers(places):
    from sdlearn import StableDiffusion

    reports = [open_checkpoint(place) for place in places.values()]
    assert all(len(report.parts["unet"].table) == 686 for report in reports)
    assert all(report.parts["unet"].parameters == 859_520_964 for report in reports)
    one = StableDiffusion.from_pretrained(places["folder"], torch.float16)
    two = StableDiffusion.from_pretrained(
        places["file"], torch.float16, tokenizer=places["folder"] / "tokenizer"
    )
    for name in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(one, name).state_dict(), getattr(two, name).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name


@pytest.mark.alone
def test_two_steps_of_512_pixels_are_those_of_diffusers(places):
    """In float32, guided; the largest difference over the largest value."""
    import diffusers

    from sdlearn import StableDiffusion

    asked = {"num_inference_steps": 2, "guidance_scale": 7.5}
    pipe = StableDiffusion.from_pretrained(places["folder"])
    out = pipe.txt2img("a photo of a cat", sampler="ddim", seed=4, height=512, width=512, **asked)
    assert out.images[0].size == (512, 512)
    ours = out.latents
    del pipe, out
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(places["folder"], local_files_only=True)
    theirs.set_progress_bar_config(disable=True)
    theirs.scheduler = diffusers.DDIMScheduler.from_config(theirs.scheduler.config)
    reference = theirs(
        "a photo of a cat",
        height=512,
        width=512,
        generator=torch.Generator().manual_seed(4),
        output_type="latent",
        **asked,
    ).images
    error = float((ours - reference).abs().max() / reference.abs().max())
    print(f"\ntwo steps at full size: {error:.1e} from diffusers")
    assert error <= 1e-3
