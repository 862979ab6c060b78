"""Training the autoencoder: draw the picture again from 48 times fewer numbers."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.blocks import ResnetBlock
from sdlearn.config import VAEConfig
from sdlearn.training.data import open_scenes, pick, pixels_of, save_rows, send
from sdlearn.training.loop import Share, TrainingSettings, fit, step_generator
from sdlearn.vae import AutoencoderKL


class Reconstruct(nn.Module):
    """Encode, draw a latent, decode; one module, so that a distributed wrapper sees one forward."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, pixels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.vae.encode(pixels)
        return self.vae.decode(posterior.sample(noise)), posterior.kl()


def initialise(vae: AutoencoderKL) -> None:
    """Let every residual block add hardly anything at first: the signal passes (Goyal et al. 2017).

    And let the latents start large against the noise that is drawn about them, else the decoder first sees noise only.
    """
    for module in vae.modules():
        if isinstance(module, ResnetBlock):
            nn.init.zeros_(module.conv2.weight)
    mean, logvar = vae.quant_conv.weight.data.chunk(2)
    mean.mul_(5.0)
    logvar.mul_(0.1)
    vae.quant_conv.bias.data.chunk(2)[1].fill_(-6.0)


def corners(scenes, indices: Tensor, size: int, lots: Tensor) -> list[tuple[int, int]]:
    """Top left corners of crops of ``size`` pixels, one a picture, each about one of its things.

    ``lots`` (B, 3) in 0 … 1 choose the thing and shift the crop. Things hold the detail, backgrounds hardly any.
    """
    side = scenes.pictures.shape[1]
    found = []
    for index, (which, down, right) in zip(indices.tolist(), lots.tolist(), strict=True):
        things = scenes.scene(index).things
        thing = things[int(which * len(things))]
        middle = thing.feet - thing.scale / 2
        shifts = (middle + (down - 0.5) * size / 2 - size / 2, thing.x + (right - 0.5) * size / 2 - size / 2)
        found.append(tuple(round(min(max(shift, 0), side - size)) for shift in shifts))
    return found


def edge_loss(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring-pixel differences: a blurred edge costs more than a shifted tone."""
    difference = a - b
    across = (difference[..., 1:] - difference[..., :-1]).abs().mean()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
    return across + down


def train_vae(recipe: dict, folder: Path, *, resume: bool = False, cpu: bool = False) -> AutoencoderKL:
    """Follow ``recipes/vae.toml``; returns the averaged autoencoder with its measured ``scaling_factor``."""
    settings, weights = TrainingSettings(**recipe["training"]), recipe["loss"]
    scenes = open_scenes(recipe["data"])
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        vae = AutoencoderKL(VAEConfig.from_json(recipe["model"]))
        initialise(vae)
    config, held_back = vae.config, recipe["data"]["held_back"]
    crop, crop_steps = recipe["data"]["crop"], recipe["data"]["crop_steps"]

    def loss_of(model: nn.Module, step: int, share: Share) -> dict[str, Tensor]:
        generator = step_generator(settings.seed, step)
        chosen = pick(len(scenes.pictures) - held_back, settings.batch_size, generator)
        lots = torch.rand((settings.batch_size, 3), generator=generator)
        size = crop if step < crop_steps else config.sample_size
        side = size // config.factor
        noise = torch.randn((settings.batch_size, config.latent_channels, side, side), generator=generator)
        chosen, lots, noise = share.take(chosen), share.take(lots), share.take(noise)
        places = corners(scenes, chosen, size, lots)
        pixels = pixels_of(scenes.pictures, chosen, places, size)
        pixels, noise = send((pixels, noise), next(model.parameters()).device)
        drawn, kl = model(pixels, noise)
        absolute, square, edges = (
            F.l1_loss(drawn, pixels),
            F.mse_loss(drawn, pixels),
            edge_loss(drawn, pixels),
        )
        kl = kl.mean() / pixels[0].numel()
        loss = (
            weights["l1"] * absolute + weights["mse"] * square + weights["edges"] * edges + weights["kl"] * kl
        )
        return {"loss": loss, "l1": absolute, "mse": square, "edges": edges, "kl": kl}

    def preview(average: Reconstruct, path: Path) -> None:
        pixels = pixels_of(scenes.pictures, torch.arange(-8, 0) + len(scenes.pictures))
        pixels = pixels.to(next(average.parameters()).device)
        with torch.no_grad():
            save_rows([pixels, average.vae.decode(average.vae.encode(pixels).mode())], path)

    average = fit(Reconstruct(vae), loss_of, settings, folder, resume=resume, preview=preview, cpu=cpu)
    return measure_scaling_factor(average.vae, scenes.pictures, count=min(1000, len(scenes.pictures)))


@torch.no_grad()
def measure_scaling_factor(vae: AutoencoderKL, pictures, count: int) -> AutoencoderKL:
    """A copy whose config holds 1 / (standard deviation of the latents) (Rombach et al. 2022, appendix G)."""
    device = next(vae.parameters()).device
    batches = torch.arange(count).split(50)
    latents = torch.cat([vae.encode(pixels_of(pictures, batch).to(device)).mean.cpu() for batch in batches])
    scaled = copy.deepcopy(vae)
    scaled.config = replace(vae.config, scaling_factor=round(1 / latents.std().item(), 5))
    return scaled


@torch.no_grad()
def reconstruction_error(vae: AutoencoderKL, pictures, indices: Tensor) -> float:
    """Mean squared error of decode(encode(x)) in the -1 … 1 scale, over pictures that training never saw."""
    device = next(vae.parameters()).device
    errors = []
    for batch in indices.split(50):
        pixels = pixels_of(pictures, batch).to(device)
        errors.append(
            F.mse_loss(vae.decode(vae.encode(pixels).mode()), pixels, reduction="none").mean(dim=(1, 2, 3))
        )
    return torch.cat(errors).mean().item()
