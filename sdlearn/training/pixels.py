"""Training a noise predictor on pictures themselves, without latents and without text (Ho et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.config import ScheduleConfig, UNetConfig
from sdlearn.denoise import Denoiser
from sdlearn.samplers import euler
from sdlearn.scenes.cats_and_dogs import cats_and_dogs
from sdlearn.schedule import Schedule
from sdlearn.spacing import trailing
from sdlearn.trace import Prediction
from sdlearn.training.data import pick, pixels_of, save_rows, send
from sdlearn.training.latents import noised
from sdlearn.training.loop import Share, TrainingSettings, fit, step_generator
from sdlearn.unet import UNet


def pixel_config(model: dict) -> UNetConfig:
    """The [model] section of a recipe as a U-Net without attention."""
    levels = len(model["block_out_channels"])
    return UNetConfig.from_json(
        {
            **model,
            "_class_name": "UNet2DModel",
            "down_block_types": ["DownBlock2D"] * levels,
            "up_block_types": ["UpBlock2D"] * levels,
            "add_attention": False,
        }
    )


def train_pixels(
    recipe: dict,
    folder: Path,
    *,
    resume: bool = False,
    cpu: bool = False,
    preview: Callable[[nn.Module, Path], None] | None = None,
) -> UNet:
    """Follow ``recipes/pixels.toml`` and return the U-Net with averaged weights.

    The four steps of Ho et al. 2020 (algorithm 1): take a picture, draw a timestep and noise, mix them, and let the
    network guess the noise.
    """
    settings = TrainingSettings(**recipe["training"])
    pictures, _ = cats_and_dogs(recipe["data"]["pictures"], recipe["data"]["seed"])
    alpha_bar = Schedule(ScheduleConfig(**recipe["schedule"])).alpha_bar.float()  # (T,)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        unet = UNet(pixel_config(recipe["model"]))

    def loss_of(model: nn.Module, step: int, share: Share) -> dict[str, Tensor]:
        generator = step_generator(settings.seed, step)
        indices = pick(len(pictures), settings.batch_size, generator)
        timesteps = pick(len(alpha_bar), settings.batch_size, generator)
        noise = torch.randn(
            (settings.batch_size, *pictures.shape[3:], *pictures.shape[1:3]), generator=generator
        )
        indices, timesteps, noise = share.take(indices), share.take(timesteps), share.take(noise)
        noisy = noised(pixels_of(pictures, indices), timesteps, noise, alpha_bar)
        noisy, timesteps, noise = send((noisy, timesteps, noise), next(model.parameters()).device)
        return {"loss": F.mse_loss(model(noisy, timesteps).float(), noise)}

    return fit(unet, loss_of, settings, folder, resume=resume, preview=preview, cpu=cpu)


@torch.no_grad()
def dream(unet: nn.Module, schedule: Schedule, number: int, steps: int = 50, seed: int = 0) -> Tensor:
    """``number`` pictures from noise alone, (n, 3, h, w) in -1 … 1, by DDIM; picture k depends on seed and k alone.

    What the network believes the picture to be is cut to -1 … 1 at each step, as Ho et al. 2020 do: where nearly all is
    noise, a small error in the noise is a large one in the picture.
    """
    device, side = next(unet.parameters()).device, unet.config.sample_size
    noise = [
        torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed + k)) for k in range(number)
    ]
    sigmas = [*schedule.sigma(trailing(steps, len(schedule.sigmas))).tolist(), 0.0]
    x = torch.stack(noise).to(device) * (1 + sigmas[0] ** 2) ** 0.5
    denoise = Denoiser(unet, schedule)

    def within_range(x: Tensor, sigma: float) -> Prediction:
        pred = denoise(x, sigma)
        x0 = pred.x0.clamp(-1, 1)
        return Prediction(x0=x0, eps=(x - x0) / sigma, timestep=pred.timestep)

    for step in euler(within_range, x, sigmas):
        x = step.x_next
    return x


def save_dreams(schedule: Schedule) -> Callable[[nn.Module, Path], None]:
    """A preview: the same sixteen noises each time, so that progress shows."""

    def draw(unet: nn.Module, path: Path) -> None:
        save_rows(list(dream(unet, schedule, 16).split(8)), path)

    return draw
