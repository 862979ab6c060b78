"""Latents seen without a decoder: a matrix, fitted to pictures, that gives each place of the latents its colour."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sdlearn.image import to_images, to_tensor
from sdlearn.viz.figure import squares


def fit_latent_to_rgb(latents: Tensor, pictures: Sequence[Image.Image]) -> Tensor:
    """The matrix (channels + 1, 3) that tells a place's mean colour best from its latents, by least squares.

    ``latents`` (n, channels, h, w) belong to n pictures. Colours run from -1 to 1; the last row is a constant.
    """
    if latents.ndim != 4 or len(latents) != len(pictures):
        raise ValueError(f"{len(pictures)} pictures for latents {tuple(latents.shape)}: give one a picture.")
    size = latents.shape[3], latents.shape[2]
    colours = to_tensor([picture.resize(size, Image.Resampling.BOX) for picture in pictures])  # (n, 3, h, w)
    colours = colours.permute(0, 2, 3, 1).flatten(0, 2)  # (n * h * w, 3)
    places = _with_one(latents).flatten(0, 2)  # (n * h * w, channels + 1)
    # gelsd, since torch's first choice can fail where a channel is zero everywhere.
    return torch.linalg.lstsq(places.double(), colours.double(), driver="gelsd").solution.float()


def latent_to_rgb(matrix: Tensor, latents: Tensor, size: int = 128) -> list[Image.Image]:
    """Latents (n, channels, h, w) in the colours of a fitted matrix (channels + 1, 3), a square for each place.

    The shorter side of the n pictures has ``size`` pixels.
    """
    if latents.ndim != 4 or matrix.shape != (latents.shape[1] + 1, 3):
        raise ValueError(
            f"a matrix (channels + 1, 3) is needed for latents (n, channels, h, w); "
            f"got {tuple(matrix.shape)} for {tuple(latents.shape)}."
        )
    colours = _with_one(latents) @ matrix.cpu()  # (n, h, w, 3)
    return squares(to_images(colours.permute(0, 3, 1, 2)), size)


def _with_one(latents: Tensor) -> Tensor:
    """(n, channels, h, w) -> (n, h, w, channels + 1), the last number of each place 1."""
    return F.pad(latents.detach().float().cpu().permute(0, 2, 3, 1), (0, 1), value=1.0)
