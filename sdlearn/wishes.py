"""What can be asked for in a drawing, and the checked request that comes of it: plain data."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from sdlearn.elsewhere import DRAWING, refuse
from sdlearn.plan import Plan, Sampler
from sdlearn.schedule import Schedule
from sdlearn.trace import Step


@dataclass(frozen=True)
class Model:
    """What a request must know of the model that will carry it out."""

    name: str
    schedule: Schedule
    channels: int  # of the latents
    factor: int  # pixels for one latent, along a side; sides are multiples of it
    sample_size: int  # latents along a side, where the caller names no size
    text_layers: int = 1  # of the text encoder
    repaints: bool = False  # the U-Net reads the mask and the masked picture beside the latents
    dtype: str = "float32"
    vae: str | None = None  # the name of another autoencoder than the checkpoint's own


@dataclass(frozen=True)
class Wishes:
    """What a caller may ask for in every kind of drawing; the meaning of each is told in ``StableDiffusion``."""

    negative_prompt: str | Sequence[str] | None = ""
    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    sampler: str | None = "dpmpp_2m"
    spacing: str | None = None
    eta: float | None = None
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] | None = None
    cache_interval: int = 1
    clip_skip: int = 0
    prompt_weights: bool = False
    long_prompts: bool = False
    height: int | None = None
    width: int | None = None
    num_images_per_prompt: int = 1
    seed: int | Sequence[int] = 0


@dataclass(frozen=True)
class Drawing:
    """A checked request for n pictures."""

    prompts: list[str]  # n
    negative_prompts: list[str]  # n
    wishes: Wishes  # checked
    sampler: Sampler
    plan: Plan
    seeds: list[int]  # n
    shape: tuple[int, int, int, int]  # of the latents: (n, channels, height / factor, width / factor)
    settings: dict[str, Any]  # as given, for the record
    latents: Tensor | None = None  # starting noise from the caller
    pictures: Tensor | None = None  # (n, 3, height, width): image to image starts from these
    mask: Tensor | None = None  # (n, 1, height, width), 1 where to paint: inpainting
    from_noise: bool = True  # the run starts from noise alone
    paste_original: bool = False  # what is outside the mask is put back in the end
    done: Sequence[Step] = ()  # the steps that a run to resume has behind it

    def generators(self) -> list[torch.Generator]:
        """One source of noise a picture, on the CPU: a picture depends on neither batch nor device."""
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]

    def noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """The next unit-variance noise of every picture: float32, (n, channels, h, w), on the CPU."""
        return torch.cat([torch.randn(1, *self.shape[1:], generator=one) for one in generators])


def wishes_of(asked: dict[str, Any], model: Model, *others: str) -> Wishes:
    """The wishes of a call; TypeError for an argument that there is not. ``others`` are there, too.

    What a picture's settings say of its model is compared with this one: a difference is a warning.
    """
    if "model" in asked:  # settings of a picture, which leave out what is at rest
        asked = {"dtype": "float32", "vae": None, **asked}
    for name, here in (("model", model.name), ("dtype", model.dtype), ("vae", model.vae)):
        if asked.get(name, here) != here:
            warnings.warn(
                f"the settings are of {name} {asked[name]!r}, this is {here!r}: the picture will be another.",
                stacklevel=4,
            )
    asked = {name: value for name, value in asked.items() if name not in ("model", "dtype", "vae")}
    known = [field.name for field in fields(Wishes)]
    refuse([name for name in asked if name not in known], DRAWING, there=", ".join([*others, *known]))
    return Wishes(**asked)
