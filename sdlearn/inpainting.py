"""Repainting a part of a picture: masks, and two ways to keep the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from sdlearn.trace import Prediction, Step


def keep_known(
    denoise: Callable[..., Prediction],
    known: Tensor,
    mask: Tensor,
    noise: Tensor,
    unknown_above: float | None = None,
) -> Callable[..., Prediction]:
    """A denoiser that knows what is under the mask's zeros: for models that were never taught to repaint.

    There the network is shown ``known`` with the noise of its level, always the same ``noise``, and its answer is
    replaced by ``known`` (Song et al. 2021, section 5). Latents are (n, channels, h, w), the mask (n, 1, h, w) is 1
    where to paint. At noise level ``unknown_above`` nothing is known yet, as in diffusers where a run starts from
    noise alone.
    """

    def keeping(x: Tensor, sigma: float) -> Prediction:
        shown = x if sigma == unknown_above else mask * x + (1 - mask) * (known + sigma * noise)
        pred = denoise(shown, sigma)
        x0 = mask * pred.x0 + (1 - mask) * known
        return replace(pred, x0=x0, eps=(x - x0) / sigma)

    return keeping


def end_at_known(steps: Iterator[Step], known: Tensor, mask: Tensor, end: float) -> Iterator[Step]:
    """The same steps, but the last one, at noise level ``end``, leaves the known part without any noise."""
    for step in steps:
        if step.sigma_next == end:
            x_next = mask * step.x_next + (1 - mask) * known * math.sqrt(1 + end**2)  # in sigma coordinates
            step = replace(step, x_next=x_next)
        yield step


def with_extra_channels(network: Callable[..., Tensor], extra: Tensor) -> Callable[..., Tensor]:
    """A network of 9 channels as one of 4: the mask and the latent of the masked picture are given at every call.

    ``extra`` is (n, 5, h, w), for the n pictures of a batch; with guidance a batch holds them twice.
    """

    def network_of_latents(x: Tensor, timesteps: Tensor, context: Tensor | None) -> Tensor:
        times = x.shape[0] // extra.shape[0]
        return network(torch.cat([x, extra.repeat(times, 1, 1, 1)], dim=1), timesteps, context)

    return network_of_latents


def mask_tensor(masks: list[Image.Image]) -> Tensor:
    """Grey pictures of one size -> (B, 1, H, W), 1 where they are lighter than the middle grey: there to paint."""
    pixels = [torch.frombuffer(bytearray(mask.convert("L").tobytes()), dtype=torch.uint8) for mask in masks]
    width, height = masks[0].size
    return (torch.stack(pixels).reshape(-1, 1, height, width).float() / 255.0 >= 0.5).float()


def latent_mask(mask: Tensor, factor: int) -> Tensor:
    """(B, 1, H, W) -> (B, 1, H / factor, W / factor): the pixel at the upper left corner decides for its square."""
    return F.interpolate(mask, size=(mask.shape[2] // factor, mask.shape[3] // factor))


def paste(drawn: Image.Image, original: Image.Image, mask: Tensor, softness: float) -> Image.Image:
    """The original's own pixels outside the mask (1, H, W), with an edge blurred by ``softness`` / 2 pixels.

    The autoencoder changes pixels a little even where nothing was painted. The blur reaches into the mask.
    """
    grey = Image.fromarray((mask[0] * 255).to(torch.uint8).cpu().numpy())
    return Image.composite(drawn, original, grey.filter(ImageFilter.GaussianBlur(softness / 2)))
