"""Models that draw pixels, without latents and without text: a U-Net and a noise schedule in a folder."""

from __future__ import annotations

from pathlib import Path

import torch

from sdlearn.checkpoint.errors import CheckpointError
from sdlearn.checkpoint.folder import NETWORKS, on_disk, open_part, read_json, read_schedule
from sdlearn.checkpoint.saving import DIFFUSERS_VERSION, INDEX, new_folder, write_json
from sdlearn.checkpoint.tensors import write_tensors
from sdlearn.config import ScheduleConfig
from sdlearn.schedule import Schedule
from sdlearn.unet import UNet

PIPELINE = "DDPMPipeline"  # of diffusers, which opens such a folder as it is


def load_pixel_model(source: str | Path) -> tuple[UNet, Schedule]:
    """The U-Net, float32, and its noise schedule, from a folder or by a shipped model's name ("cats_and_dogs").

    Raises CheckpointError for anything else.
    """
    folder = on_disk(source)
    kind = read_json(folder / INDEX).get("_class_name")
    if kind != PIPELINE:
        raise CheckpointError(
            f"{folder} is a {kind}, and a model of pixels is a {PIPELINE}: open it with "
            "StableDiffusion.from_pretrained."
        )
    schedule = Schedule(read_schedule(folder / "scheduler"))
    return open_part(folder / "unet", "unet").load(), schedule


def save_pixel_model(unet: UNet, schedule: ScheduleConfig, folder: str | Path) -> Path:
    """Write a folder that ``load_pixel_model`` and ``diffusers.DDPMPipeline.from_pretrained`` open; returns it.

    Raises CheckpointError when the folder holds something, or a number is not finite in half precision.
    """
    version = {"_diffusers_version": DIFFUSERS_VERSION}
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", schedule.scheduler]}
    with new_folder(folder) as new:
        for part in parts:
            (new / part).mkdir()
        weights = new / "unet" / f"{NETWORKS['unet'].weights}.safetensors"
        write_tensors(dict(unet.state_dict()), weights, torch.float16)
        write_json(new / "unet" / "config.json", unet.config.to_json() | version)
        write_json(new / "scheduler" / "scheduler_config.json", schedule.to_json() | version)
        write_json(new / INDEX, {"_class_name": PIPELINE, **version, **parts})
    return Path(folder)
