"""Training a second decoder: more detail from the same latents.

The encoder stays as it is, so every latent means what it meant, and the same U-Net draws for both decoders. The first
half of the decoder stays as well: what is tuned, and kept in a file of its own, are the levels that draw the pixels.
"""

from __future__ import annotations

import string
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from sdlearn.checkpoint.decoder import is_tuned
from sdlearn.training.data import open_scenes, pick, pixels_of, save_rows, send
from sdlearn.training.loop import Share, TrainingSettings, fit, step_generator
from sdlearn.training.vae import corners, edge_loss
from sdlearn.vae import AutoencoderKL

LETTERS = string.ascii_letters + string.digits
INKS = ((20, 20, 30), (250, 250, 245), (150, 20, 30), (25, 40, 130))


class Tuned(nn.Module):
    """The autoencoder with gradients for the tuned levels only; one module, as a distributed wrapper wants it."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae
        for name, parameter in vae.named_parameters():
            parameter.requires_grad_(is_tuned(name))

    def forward(self, pixels: Tensor) -> Tensor:
        vae, decoder = self.vae, self.vae.decoder
        with torch.no_grad():  # what stays as it is
            h = decoder.conv_in(vae.post_quant_conv(vae.encode(pixels).mode()))
            h = decoder.up_blocks[0](decoder.mid_block(h))
        h.requires_grad_()  # torch 2.13 crashes in the CPU backward of a channels-last GroupNorm whose input needs none
        for level in decoder.up_blocks[1:]:
            h = level(h)
        return decoder.conv_out(nn.functional.silu(decoder.conv_norm_out(h)))


def write_on(picture: np.ndarray, rng: Random, size: int) -> np.ndarray:
    """A copy of a crop (size, size, 3) with two or three lines of small writing: letters by lot, no words."""
    canvas = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(rng.choice((8, 9, 10, 11, 12, 14)))
    if rng.random() < 0.4:  # on a sign
        left, top = rng.randrange(size // 3), rng.randrange(size // 3)
        tint = tuple(rng.randrange(256) for _ in range(3))
        draw.rectangle((left, top, left + size // 2, top + size // 2), fill=tint)
    y = rng.randrange(8)
    while y < size - 8:
        text = "".join(rng.choice(LETTERS) for _ in range(rng.randrange(3, 9)))
        draw.text((rng.randrange(size // 2), y), text, fill=rng.choice(INKS), font=font)
        y += round(font.size) + rng.randrange(4, 20)
    return np.asarray(canvas)


def detail_weights(pixels: Tensor, strength: float) -> Tensor:
    """How much each pixel counts, 1 where a picture is flat, more at edges: (B, 3, H, W) -> (B, 1, H, W)."""
    grey = nn.functional.pad(pixels.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = (grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]).abs()
    down = (grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]).abs()
    return 1 + strength * (across + down).clamp(max=1.0)


def train_decoder(
    recipe: dict, folder: Path, vae: AutoencoderKL, *, resume: bool = False, cpu: bool = False
) -> AutoencoderKL:
    """Follow ``recipes/decoder.toml``; returns the autoencoder with the averaged weights of its last levels."""
    settings, weights, data = TrainingSettings(**recipe["training"]), recipe["loss"], recipe["data"]
    scenes, config = open_scenes(data), vae.config

    def crops(step: int, share: Share, count: int) -> Tensor:
        """A step's crops about things: some with writing on them."""
        generator = step_generator(settings.seed, step)
        chosen = pick(len(scenes.pictures) - data["held_back"], count, generator)
        lots = torch.rand((count, 3), generator=generator)
        size = data["crop"] if step < data["crop_steps"] else config.sample_size
        written = range(round(data["written"] * count))
        rows = share.take(torch.arange(count))
        places = corners(scenes, chosen, size, lots)
        pictures = []
        for row in rows.tolist():
            y, x = places[row]
            crop = scenes.pictures[int(chosen[row]), y : y + size, x : x + size]
            rng = Random(f"{settings.seed}/{step}/{row}")
            pictures.append(write_on(np.array(crop), rng, size) if row in written else np.array(crop))
        return pixels_of(np.stack(pictures), torch.arange(len(pictures)))

    def loss_of(model: nn.Module, step: int, share: Share) -> dict[str, Tensor]:
        (pixels,) = send((crops(step, share, settings.batch_size),), next(model.parameters()).device)
        drawn = model(pixels)
        counts, difference = detail_weights(pixels, weights["detail"]), drawn - pixels
        absolute, square = (counts * difference.abs()).mean(), (counts * difference.square()).mean()
        edges = edge_loss(drawn, pixels)
        loss = weights["l1"] * absolute + weights["mse"] * square + weights["edges"] * edges
        return {"loss": loss, "l1": absolute, "mse": square, "edges": edges}

    def preview(average: Tuned, path: Path) -> None:
        chosen = torch.arange(-8, 0) + len(scenes.pictures)
        plain = np.array(scenes.pictures[chosen.numpy()])
        written = np.stack(
            [write_on(picture, Random(k), config.sample_size) for k, picture in enumerate(plain)]
        )
        device = next(average.parameters()).device
        with torch.no_grad():
            for_each = [pixels_of(some, torch.arange(8)).to(device) for some in (plain, written)]
            save_rows([row for pixels in for_each for row in (pixels, average(pixels))], path)

    return fit(Tuned(vae), loss_of, settings, folder, resume=resume, preview=preview, cpu=cpu).vae
