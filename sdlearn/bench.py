"""How long things take on this machine: medians of several runs, each stage by itself.

``sdlearn bench`` prints them. Compare figures of one run on one machine; another machine is another table.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sdlearn.pipeline import StableDiffusion

PROMPT = "an orange cat standing on a red castle"
STEPS, SCALE = 25, 7.5


@dataclass(frozen=True)
class Timing:
    """The seconds of each run of one thing."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def time_calls(name: str, call: Callable[[], object], runs: int, device: torch.device) -> Timing:
    """Time ``runs`` calls after one that warms up; a GPU is waited for."""

    def finished() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    call()
    seconds = []
    for _ in range(runs):
        start = finished()
        call()
        seconds.append(finished() - start)
    return Timing(name, tuple(seconds))


def time_import(statement: str, runs: int) -> Timing:
    """What ``statement`` takes in a fresh process that has imported torch already."""
    code = f"import time, torch; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(runs)
    ]
    return Timing(f"{statement}, after torch", tuple(float(done.stdout) for done in outputs))


def time_command(model: str, device: str, dtype: str, runs: int) -> Timing:
    """The whole command in a fresh process, from nothing to a PNG on disk."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            command = [
                sys.executable,
                "-m",
                "sdlearn",
                "txt2img",
                PROMPT,
                "--out",
                str(Path(folder, f"{run}.png")),
            ]
            start = time.perf_counter()
            subprocess.run(
                [*command, "--model", model, "--device", device, "--dtype", dtype],
                check=True,
                capture_output=True,
            )
            seconds.append(time.perf_counter() - start)
    return Timing("sdlearn txt2img, cold, to PNG", tuple(seconds))


@torch.inference_mode()
def time_stages(pipe: StableDiffusion, runs: int) -> list[Timing]:
    """A picture in a warm process, and its stages alone."""
    device, dtype = pipe.device, pipe.dtype
    size = pipe.unet.config.sample_size
    latents = torch.randn(
        1, pipe.unet.config.in_channels, size, size, generator=torch.Generator().manual_seed(0)
    )
    latents = latents.to(device, dtype)
    context = pipe.encode_prompt([PROMPT])
    timesteps = torch.full((2,), 500.0, device=device)
    pair, pair_context = latents.repeat(2, 1, 1, 1), context.repeat(2, 1, 1)

    def picture(count: int) -> Callable[[], object]:
        return lambda: pipe.txt2img(
            PROMPT, num_inference_steps=STEPS, guidance_scale=SCALE, num_images_per_prompt=count
        )

    stages = {
        f"one picture, {STEPS} guided steps": picture(1),
        f"four pictures, {STEPS} guided steps": picture(4),
        "text encoder, one prompt": lambda: pipe.encode_prompt([PROMPT]),
        "U-Net, one guided step (batch 2)": lambda: pipe.unet(pair, timesteps, pair_context),
        "VAE decoder, one picture": lambda: pipe.vae.decode(latents),
    }
    return [time_calls(name, call, runs, device) for name, call in stages.items()]


def run_benchmark(model: str, device: str, dtype: str, runs: int) -> list[Timing]:
    """Every timing, fresh processes first."""
    from sdlearn.pipeline import StableDiffusion

    pipe = StableDiffusion.from_pretrained(model).to(device, getattr(torch, dtype))  # first: it may fail
    timings = [
        time_import("import sdlearn", runs),
        time_import("from sdlearn import StableDiffusion", runs),
        time_command(model, device, dtype, runs),
    ]
    return timings + time_stages(pipe, runs)


def describe_machine(device: str, dtype: str) -> str:
    """One line on what was measured: without it a timing means nothing."""
    name = (
        torch.cuda.get_device_name(device)
        if device.startswith("cuda")
        else platform.processor() or platform.machine()
    )
    threads, python = torch.get_num_threads(), platform.python_version()
    return f"{name}, {device}, {dtype}, {threads} threads, torch {torch.__version__}, Python {python}"


def table(timings: list[Timing]) -> str:
    """A line for each timing: median, fastest, slowest."""
    lines = [f"{'':50}{'median':>10}{'fastest':>10}{'slowest':>10}"]
    for timing in timings:
        figures = "".join(
            f"{value:>8.3f} s" for value in (timing.median, min(timing.seconds), max(timing.seconds))
        )
        lines.append(f"{timing.name:<50}{figures}")
    return "\n".join(lines)


def to_json(timings: list[Timing], machine: str) -> str:
    """The same as JSON, with every single run."""
    rows = [asdict(timing) | {"median": timing.median} for timing in timings]
    return json.dumps({"machine": machine, "timings": rows}, indent=2) + "\n"
