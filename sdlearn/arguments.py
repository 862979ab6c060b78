"""The checks of single arguments: each gives the value in its final form, or one error that says what is allowed."""

from __future__ import annotations

import math
import operator
import sys
from typing import Any

import torch
from torch import Tensor

from sdlearn.plan import SAMPLERS, Sampler
from sdlearn.prompts import parse_weights

DTYPES = ("float32", "bfloat16", "float16")
LARGEST = sys.float_info.max  # a whole number can be larger: then no float is made of it


def check_reading(texts: list[str], wishes: Any, text_layers: int) -> None:
    """Raise what is wrong with how the prompts are to be read."""
    for name in ("prompt_weights", "long_prompts"):
        if not isinstance(getattr(wishes, name), bool):
            raise TypeError(f"{name} must be True or False, got {getattr(wishes, name)!r}.")
    skip = wishes.clip_skip
    if isinstance(skip, bool) or not hasattr(skip, "__index__"):
        raise TypeError(f"clip_skip must be a whole number, got {skip!r} ({type(skip).__name__}).")
    if not 0 <= operator.index(skip) < text_layers:
        raise ValueError(
            f"clip_skip must be from 0 to {text_layers - 1}, this text encoder has {text_layers} "
            f"layers; got {skip}."
        )
    if wishes.prompt_weights:
        for text in texts:
            parse_weights(text)


def check_eta(eta: Any, name: str, sampler: Sampler) -> float | None:
    """The share of fresh noise, for the samplers that know one."""
    if eta is None:
        return None
    if isinstance(eta, bool) or not isinstance(eta, int | float):
        raise TypeError(f"eta must be a number from 0 to 1, got {eta!r}.")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be from 0 (no fresh noise) to 1 (as in ddpm), got {eta}.")
    if not sampler.knows_eta:
        able = ", ".join(other for other, one in SAMPLERS.items() if one.knows_eta)
        raise ValueError(f"eta is not for {name}; it is for {able}.")
    return float(eta)


def check_guidance_scale(scale: float) -> float:
    """The scale as a float, or a clear error: it must be a finite number of at least 0."""
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise TypeError(f"guidance_scale must be a number, got {scale!r}.")
    if not 0 <= scale <= LARGEST:  # refuses NaN, too
        raise ValueError(f"guidance_scale must be a finite number >= 0 (usual: 1 to 15), got {scale}.")
    return float(scale)


def check_rescale(share: float) -> float:
    """The share as a float, or a clear error: from 0 (leave all as it is) to 1 (the spread of the prompt alone)."""
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise TypeError(f"guidance_rescale must be a number from 0 to 1, got {share!r}.")
    if not 0 <= share <= 1:
        raise ValueError(f"guidance_rescale must be from 0 (off) to 1 (usual: 0.7), got {share}.")
    return float(share)


def check_interval(interval: tuple[float, float] | None) -> tuple[float, float]:
    """(low, high) noise levels as floats, or a clear error."""
    if interval is None:
        return 0.0, math.inf
    if not isinstance(interval, list | tuple) or len(interval) != 2:
        raise TypeError(f"guidance_interval must be two noise levels (low, high), got {interval!r}.")
    for end in interval:
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise TypeError(f"guidance_interval must be two noise levels (low, high), got {interval!r}.")
    low, high = interval
    if not 0 <= low <= high <= LARGEST:
        raise ValueError(f"guidance_interval must be 0 <= low <= high (a sigma of a step), got {interval}.")
    return float(low), float(high)


def usable_device(device: Any) -> torch.device:
    """The device, if there is one of that name and number on this machine."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(f"device {str(device)!r} is unknown; use cpu, cuda, cuda:1 or mps.") from None
    fast = torch.accelerator.current_accelerator(check_available=True)
    there = {"cpu": 1} | ({fast.type: torch.accelerator.device_count()} if fast else {})
    if (found.index or 0) >= there.get(found.type, 0):
        names = ", ".join(kind if number == 1 else f"{number} x {kind}" for kind, number in there.items())
        raise ValueError(
            f"device {str(device)!r} is not available here; there is {names}. Name one of these, or leave it out."
        )
    return found


def usable_dtype(dtype: Any) -> torch.dtype:
    """The type of numbers of networks, from torch.float16 or its name "float16"."""
    if not isinstance(dtype, str | torch.dtype) or str(dtype).removeprefix("torch.") not in DTYPES:
        raise ValueError(f"dtype {str(dtype)!r} is not for networks here; use {', '.join(DTYPES)}.")
    return getattr(torch, str(dtype).removeprefix("torch."))


def texts_of(name: str, value: Any) -> list[str]:
    """One text, or a list of at least one, as a list."""
    texts = list(value) if isinstance(value, list | tuple) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a str or a list of str, got {text!r} ({type(text).__name__}).")
    if not texts:
        raise ValueError(f"{name} is an empty list; give at least one text ('' is allowed).")
    return texts


def one_each(name: str, values: list, number: int, per_prompt: int) -> list:
    """One value for all ``number`` pictures, or one a prompt, as one a picture: [a, b] -> [a, a, b, b]."""
    prompts = number // per_prompt
    if len(values) not in (1, prompts):
        raise ValueError(f"{name} has {len(values)} entries for {prompts} prompts; give one or {prompts}.")
    spread = values * prompts if len(values) == 1 else values
    return [value for value in spread for _ in range(per_prompt)]


def whole_number(name: str, value: Any, most: float = math.inf) -> int:
    """A whole number from 1 to ``most``."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number, got {value!r} ({type(value).__name__}).")
    if not 1 <= operator.index(value) <= most:
        limit = "at least 1" if most == math.inf else f"from 1 to {most}"
        raise ValueError(f"{name} must be {limit}, got {value}.")
    return operator.index(value)


def seeds_of(seed: Any, number: int) -> list[int]:
    """One seed a picture: seed, seed + 1, ... or those given."""
    several = isinstance(seed, list | tuple)
    for one in seed if several else [seed]:
        if isinstance(one, bool) or not hasattr(one, "__index__"):
            raise TypeError(f"seed must be a whole number, or a list with one for each picture, got {one!r}.")
        if not 0 <= operator.index(one) < 2**63:
            raise ValueError(f"seed must be from 0 to 2**63 - 1, got {one}.")
    if several and len(seed) != number:
        raise ValueError(f"seed has {len(seed)} entries for {number} pictures; give one for each picture.")
    return [operator.index(seed[k] if several else seed + k) for k in range(number)]


def steps_left(strength: Any, steps: int) -> int:
    """How many of the steps image to image runs: int(steps * strength), as in diffusers, and at least one."""
    if isinstance(strength, bool) or not isinstance(strength, int | float):
        raise TypeError(f"strength must be a number above 0 and at most 1, got {strength!r}.")
    if not 0 <= strength <= 1:  # refuses NaN, too; 0 is refused below
        raise ValueError(
            f"strength must be above 0 (nearly keep the picture) and at most 1 (nearly ignore it), got {strength}."
        )
    if int(steps * strength) < 1:
        raise ValueError(
            f"strength={strength} of num_inference_steps={steps} leaves no step to run; "
            f"take a strength of at least {math.ceil(1000 / steps) / 1000}, or more steps."
        )
    return int(steps * strength)


def starting_noise(latents: Any, shape: tuple[int, ...]) -> Tensor:
    """Starting noise of the right shape, as float32."""
    if not isinstance(latents, Tensor):
        raise TypeError(f"latents must be a torch.Tensor of shape {shape}, got {type(latents).__name__}.")
    if tuple(latents.shape) != shape:
        raise ValueError(f"latents must have the shape {shape}, got {tuple(latents.shape)}.")
    if not latents.is_floating_point() or not torch.isfinite(latents).all():
        raise ValueError("latents must be finite floating-point numbers (noise of unit variance).")
    return latents.detach().to(torch.float32, copy=True)  # the caller may change his own
