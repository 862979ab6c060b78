"""How long a training step of the U-Net takes: the shipped recipe on made-up latents and text vectors.

It needs no data set and no trained part, so it times any version of the package alike (see tools/training_speed.py).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from sdlearn.config import ScheduleConfig, UNetConfig
from sdlearn.schedule import Schedule
from sdlearn.training.latents import denoising_loss
from sdlearn.training.loop import Share, TrainingSettings, fit, step_generator
from sdlearn.training.recipe import RECIPES, load_recipe
from sdlearn.unet import UNet

WARM_UP = 3  # steps that are not counted
WORDS = 32  # tokens of a caption


def step_seconds(steps: int, precision: str = "bf16", cpu: bool = True) -> list[float]:
    """The seconds of each of ``steps`` whole steps: batch, forward, backward, optimisers, moving average."""
    whole = WARM_UP + steps + 1  # the last one also saves: it is not counted
    never = {f"training.{key}": 10 * whole for key in ("log_every", "save_every", "sample_every")}
    recipe = load_recipe(
        RECIPES / "unet.toml", {**never, "training.steps": whole, "training.precision": precision}
    )
    settings, config = TrainingSettings(**recipe["training"]), UNetConfig.from_json(recipe["model"])
    alpha_bar = Schedule(ScheduleConfig(**recipe["schedule"])).alpha_bar.float()
    latent = (settings.batch_size, config.in_channels, config.sample_size, config.sample_size)
    text = (settings.batch_size, WORDS, config.cross_attention_dim)
    moments = []

    def loss_of(model: nn.Module, step: int, share: Share) -> dict[str, Tensor]:
        device, generator = next(model.parameters()).device, step_generator(settings.seed, step)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        moments.append(time.perf_counter())
        clean, noise = (torch.randn(latent, generator=generator) for _ in range(2))
        timesteps = torch.randint(len(alpha_bar), latent[:1], generator=generator)
        context = torch.randn(text, generator=generator).to(device)
        return denoising_loss(model, clean, timesteps, noise, context, alpha_bar)

    with tempfile.TemporaryDirectory() as folder:
        fit(UNet(config), loss_of, settings, Path(folder), cpu=cpu)
    return [later - earlier for earlier, later in zip(moments, moments[1:], strict=False)][WARM_UP:]
