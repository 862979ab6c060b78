"""The small parts of the U-Net and the autoencoder: time embedding, residual block, down- and upsampling.

Parameter names are those of published checkpoints, so ``load_state_dict(strict=True)`` works on them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def timestep_embedding(timesteps: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """Clock hands of different speeds: (B,) timesteps -> (B, width), cosines first, then sines.

    The frequencies fall from 1 to almost 1 / max_period (Vaswani et al. 2017, section 3.5; with the order
    [cos, sin] of Stable Diffusion's code). ``width`` must be even.
    """
    if width % 2:
        raise ValueError(f"timestep_embedding: width must be even, got {width}.")
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    frequencies = torch.exp(-math.log(max_period) * exponents)  # (half,)
    angles = timesteps[:, None].float() * frequencies[None, :]  # (B, half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)  # (B, width)


class TimestepEmbedding(nn.Module):
    """Two linear layers that let the network make of the clock hands what it needs: (B, width) -> (B, out)."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.linear_1 = nn.Linear(width, out)
        self.linear_2 = nn.Linear(out, out)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(embedding)))


class ResnetBlock(nn.Module):
    """Two convolutions with a way around them: (B, C_in, H, W) -> (B, C_out, H, W) (He et al. 2015).

    In the U-Net the time embedding is added between the two, one number per channel, so the same weights
    can act differently on a noisy and on an almost clean latent. The autoencoder passes no time.
    """

    def __init__(self, in_channels: int, out_channels: int, time_width: int | None, groups: int, eps: float):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        if time_width is not None:
            self.time_emb_proj = nn.Linear(time_width, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        if time is not None:
            h = h + self.time_emb_proj(time)[:, :, None, None]  # (B, C) -> (B, C, 1, 1)
        h = self.conv2(F.silu(self.norm2(h)))
        around = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return around + h


class Downsample(nn.Module):
    """Half the height and width by a convolution of stride 2.

    The U-Net pads all four sides by one pixel. The autoencoder's encoder pads only right and bottom
    (``symmetric=False``): the same shape, other numbers, and a picture shifted by 8 pixels if confused.
    """

    def __init__(self, channels: int, symmetric: bool = True):
        super().__init__()
        self.symmetric = symmetric
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1 if symmetric else 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self.symmetric else F.pad(x, (0, 1, 0, 1)))  # left, right, top, bottom


class Upsample(nn.Module):
    """Double height and width: repeat each pixel, then smooth by a convolution.

    A side of 9 was halved to 5, and twice 5 is 10. So the U-Net says which ``size`` (height, width) it needs.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        height, width = x.shape[-2:]
        return self.conv(F.interpolate(x, size=size or (2 * height, 2 * width), mode="nearest"))
