"""What is timed of this package, each part through the code that a drawing runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from sdlearn.bench.timing import Call
from sdlearn.image import to_tensor
from sdlearn.pipeline import StableDiffusion
from sdlearn.trace import Step

PROMPT = "an orange cat standing on a red castle"
SCALE = 7.5
TIMESTEP = 500.0  # of a U-Net call by itself: any would do
NAMES = ("text encoder", "U-Net call", "guided step", "VAE decode", "picture")


@dataclass(frozen=True)
class Task:
    """What is drawn: ``batch`` pictures at once, sides in pixels; ``parts`` guided steps are timed as one."""

    batch: int
    height: int
    width: int
    steps: int  # of a whole picture
    parts: int = 1

    @property
    def prompts(self) -> list[str]:
        return [PROMPT] * self.batch


def first_noise(pipe: StableDiffusion, task: Task) -> Tensor:
    """(batch, channels, h, w) on the CPU, in float32: where both rivals begin."""
    config = pipe.vae.config
    shape = (task.batch, config.latent_channels, task.height // config.factor, task.width // config.factor)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def guided_steps(pipe: StableDiffusion, task: Task, runs: int) -> Call:
    """Each call goes ``parts`` steps further in one drawing, and answers with the latents so far."""
    steps: Iterator[Step] = pipe.txt2img_steps(
        task.prompts,
        num_inference_steps=drawing_length(task, runs),
        guidance_scale=SCALE,
        latents=first_noise(pipe, task),
        height=task.height,
        width=task.width,
    )

    def further() -> Tensor:
        last = [next(steps) for _ in range(task.parts)][-1]
        return pipe.schedule.to_vp(last.x_next, last.sigma_next)

    return further


def drawing_length(task: Task, runs: int) -> int:
    """Steps of a drawing in which ``runs`` calls and one that warms up find theirs: 25 if those are enough."""
    return max(25, task.parts * (runs + 1))


def picture(pipe: StableDiffusion, task: Task) -> Call:
    """From a sentence to a decoded picture; answers with the latents."""
    return lambda: (
        pipe.txt2img(
            task.prompts,
            num_inference_steps=task.steps,
            guidance_scale=SCALE,
            latents=first_noise(pipe, task),
            height=task.height,
            width=task.width,
            record=False,
        ).latents
    )


def subjects(pipe: StableDiffusion, task: Task, runs: int) -> dict[str, Call]:
    """Under each name a call that answers with a tensor; who drops a call drops the networks it made ready."""
    latents = first_noise(pipe, task).to(pipe.device)
    context = pipe.encode_prompt(task.prompts)
    timesteps = torch.full((task.batch,), TIMESTEP, device=pipe.device)
    unet = cache(pipe.for_a_run)  # as a drawing asks it, made ready by the first call, which is not timed
    return {
        "text encoder": lambda: pipe.encode_prompt(task.prompts),
        "U-Net call": lambda: pipe.predict(latents, timesteps, context, unet()),
        "guided step": guided_steps(pipe, task, runs),
        "VAE decode": lambda: to_tensor(pipe.decode(latents)),
        "picture": picture(pipe, task),
    }
