"""What a caller asks the pipeline for, checked from the first argument to the last before a network runs.

A ValueError or TypeError names the argument, what was given and what is allowed. What comes out, a Drawing,
is plain data that nothing can go wrong with any more.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sdlearn.guidance import check_guidance_scale
from sdlearn.image import check_size, load_image, to_tensor
from sdlearn.samplers import Plan, Sampler, default_sampler, get_sampler, make_plan
from sdlearn.schedule import Schedule


@dataclass(frozen=True)
class Model:
    """What a request must know of the model that will carry it out."""

    name: str
    schedule: Schedule
    channels: int  # of the latents
    factor: int  # pixels for one latent, along a side
    multiple: int  # sides must be multiples of this many pixels: every level of the U-Net halves them
    sample_size: int  # latents along a side, where the caller names no size


@dataclass(frozen=True)
class Drawing:
    """A checked request for n pictures."""

    prompts: list[str]  # n
    negative_prompts: list[str]  # n
    guidance_scale: float
    sampler: Sampler
    plan: Plan
    generators: list[torch.Generator]  # n, on the CPU: a picture depends on neither batch nor device
    shape: tuple[int, int, int, int]  # of the latents: (n, channels, height / factor, width / factor)
    settings: dict[str, Any]  # as given, for the record
    latents: Tensor | None = None  # starting noise from the caller
    pictures: Tensor | None = None  # (n, 3, height, width): image to image starts from these

    def noise(self) -> Tensor:
        """The next unit-variance noise of every picture: float32, (n, channels, h, w), on the CPU."""
        return torch.cat([torch.randn(1, *self.shape[1:], generator=one) for one in self.generators])


def text_to_image(
    model: Model,
    prompt: str | Sequence[str],
    negative_prompt: str | Sequence[str] = "",
    num_inference_steps: int = 25,
    guidance_scale: float = 7.5,
    sampler: str | None = "dpmpp_2m",
    height: int | None = None,
    width: int | None = None,
    num_images_per_prompt: int = 1,
    seed: int | Sequence[int] = 0,
    latents: Tensor | None = None,
) -> Drawing:
    """The request of ``StableDiffusion.txt2img``. Without a size: the latents', else the model's own."""
    own = (model.sample_size, model.sample_size)
    rows, columns = latents.shape[-2:] if isinstance(latents, Tensor) and latents.ndim == 4 else own
    height = rows * model.factor if height is None else height
    width = columns * model.factor if width is None else width
    drawing = _request(
        model,
        size=(width, height),
        prompt=prompt,
        negative_prompt=negative_prompt,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        sampler=sampler,
        num_images_per_prompt=num_images_per_prompt,
        seed=seed,
    )
    if latents is None:
        return drawing
    settings = {**drawing.settings, "seed": None, "latents": "given"}
    return replace(drawing, latents=_latents(latents, drawing.shape), settings=settings)


def image_to_image(
    model: Model,
    image: Image.Image | str | Path | Sequence[Image.Image | str | Path],
    prompt: str | Sequence[str],
    strength: float = 0.75,
    negative_prompt: str | Sequence[str] = "",
    num_inference_steps: int = 25,
    guidance_scale: float = 7.5,
    sampler: str | None = "dpmpp_2m",
    height: int | None = None,
    width: int | None = None,
    num_images_per_prompt: int = 1,
    seed: int | Sequence[int] = 0,
) -> Drawing:
    """The request of ``StableDiffusion.img2img``: the last ``strength`` of the plan, from a noisy picture."""
    images = [load_image(one) for one in (image if isinstance(image, list | tuple) else [image])]
    sizes = {one.size for one in images}
    if not images or (len(sizes) > 1 and None in (height, width)):
        raise ValueError("image must be one picture, or several of one size; else give height and width.")
    own_width, own_height = images[0].size
    if height is None and width is None and (own_width % model.multiple or own_height % model.multiple):
        side = model.sample_size * model.factor
        raise ValueError(
            f"the picture has {own_width}x{own_height} pixels, and sides must be multiples of {model.multiple}: give "
            f"height and width (--size), such as {side} and {side}, and it is cut to that shape."
        )
    width = own_width if width is None else width
    height = own_height if height is None else height
    drawing = _request(
        model,
        size=(width, height),
        prompt=prompt,
        negative_prompt=negative_prompt,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        sampler=sampler,
        num_images_per_prompt=num_images_per_prompt,
        seed=seed,
    )
    images = _one_each("image", images, len(drawing.prompts), num_images_per_prompt)
    pixels = to_tensor([load_image(one, (width, height)) for one in images])
    left = _steps_left(strength, num_inference_steps)
    skipped = min(
        num_inference_steps - left, len(drawing.plan.timesteps) - 1
    )  # of 1000 steps a plan may lack one
    settings = {**drawing.settings, "strength": float(strength)}
    return replace(drawing, plan=drawing.plan.after(skipped), pictures=pixels, settings=settings)


def _request(
    model: Model,
    size: tuple[int, int],
    prompt: Any,
    negative_prompt: Any,
    num_inference_steps: Any,
    guidance_scale: Any,
    sampler: Any,
    num_images_per_prompt: Any,
    seed: Any,
) -> Drawing:
    """What text to image and image to image have in common."""
    width, height = size
    per_prompt = _whole("num_images_per_prompt", num_images_per_prompt)
    negative_prompt = "" if negative_prompt is None else negative_prompt  # diffusers' default
    prompts, negatives = _texts("prompt", prompt), _texts("negative_prompt", negative_prompt)
    number = len(prompts) * per_prompt
    steps = _whole("num_inference_steps", num_inference_steps, model.schedule.config.num_train_timesteps)
    scale = check_guidance_scale(guidance_scale)
    name = default_sampler(model.schedule.config.scheduler) if sampler is None else sampler
    method = get_sampler(name)
    check_size(width, height, model.multiple)
    seeds = _seeds(seed, number)
    return Drawing(
        prompts=_one_each("prompt", prompts, number, per_prompt),
        negative_prompts=_one_each("negative_prompt", negatives, number, per_prompt),
        guidance_scale=scale,
        sampler=method,
        plan=make_plan(method, model.schedule, steps),
        generators=[torch.Generator().manual_seed(one) for one in seeds],
        shape=(number, model.channels, height // model.factor, width // model.factor),
        settings={
            "model": model.name,
            "prompt": prompts if isinstance(prompt, list | tuple) else prompt,
            "negative_prompt": negatives if isinstance(negative_prompt, list | tuple) else negative_prompt,
            "num_inference_steps": steps,
            "guidance_scale": scale,
            "sampler": name,
            "height": height,
            "width": width,
            "num_images_per_prompt": per_prompt,
            "seed": seeds[0] if number == 1 else seeds,
        },
    )


def _texts(name: str, value: Any) -> list[str]:
    """One text, or a list of at least one, as a list."""
    texts = list(value) if isinstance(value, list | tuple) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a str or a list of str, got {text!r} ({type(text).__name__}).")
    if not texts:
        raise ValueError(f"{name} is an empty list; give at least one text ('' is allowed).")
    return texts


def _one_each(name: str, values: list, number: int, per_prompt: int) -> list:
    """One value for all ``number`` pictures, or one a prompt, as one a picture: [a, b] -> [a, a, b, b]."""
    prompts = number // per_prompt
    if len(values) not in (1, prompts):
        raise ValueError(f"{name} has {len(values)} entries for {prompts} prompts; give one or {prompts}.")
    spread = values * prompts if len(values) == 1 else values
    return [value for value in spread for _ in range(per_prompt)]


def _whole(name: str, value: Any, most: float = math.inf) -> int:
    """A whole number from 1 to ``most``."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number, got {value!r} ({type(value).__name__}).")
    if not 1 <= operator.index(value) <= most:
        limit = "at least 1" if most == math.inf else f"from 1 to {most}"
        raise ValueError(f"{name} must be {limit}, got {value}.")
    return operator.index(value)


def _seeds(seed: Any, number: int) -> list[int]:
    """One seed a picture: seed, seed + 1, ... or those given."""
    several = isinstance(seed, list | tuple)
    for one in seed if several else [seed]:
        if isinstance(one, bool) or not hasattr(one, "__index__"):
            raise TypeError(f"seed must be a whole number, or a list of one a picture, got {one!r}.")
        if not 0 <= operator.index(one) < 2**63:
            raise ValueError(f"seed must be from 0 to 2**63 - 1, got {one}.")
    if several and len(seed) != number:
        raise ValueError(f"seed has {len(seed)} entries for {number} pictures; give one a picture.")
    return [operator.index(seed[k] if several else seed + k) for k in range(number)]


def _steps_left(strength: Any, steps: int) -> int:
    """How many of the steps image to image runs: int(steps * strength), as in diffusers, and at least one."""
    if isinstance(strength, bool) or not isinstance(strength, int | float):
        raise TypeError(f"strength must be a number from 0 to 1, got {strength!r}.")
    if not 0 <= strength <= 1:  # refuses NaN, too
        raise ValueError(f"strength must be from 0 (keep the picture) to 1 (ignore it), got {strength}.")
    if int(steps * strength) < 1:
        raise ValueError(
            f"strength={strength} of num_inference_steps={steps} leaves no step to run; "
            f"take a strength of at least {math.ceil(1000 / steps) / 1000}, or more steps."
        )
    return int(steps * strength)


def _latents(latents: Any, shape: tuple[int, ...]) -> Tensor:
    """Starting noise of the right shape, as float32."""
    if not isinstance(latents, Tensor):
        raise TypeError(f"latents must be a torch.Tensor of shape {shape}, got {type(latents).__name__}.")
    if tuple(latents.shape) != shape:
        raise ValueError(f"latents must have the shape {shape}, got {tuple(latents.shape)}.")
    if not latents.is_floating_point() or not torch.isfinite(latents).all():
        raise ValueError("latents must be finite floating-point numbers (noise of unit variance).")
    return latents.float()
