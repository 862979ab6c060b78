"""The noise predictor: a U-Net with attention (Ronneberger et al. 2015; Rombach et al. 2022).

Down the left side the latent shrinks while channels grow, up the right side it grows back. Every result of the
left side is handed across (a skip connection), so the right side never has to remember details.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.blocks import Downsample, ResnetBlock, TimestepEmbedding, Upsample, timestep_embedding
from sdlearn.config import UNetConfig


def transformers(count: int, level: int, config: UNetConfig) -> nn.ModuleList:
    """``count`` transformers for a level: with them the places of the latent look at each other and at the text.

    Chapter 08 builds them. A U-Net without text has none, and needs nothing of this.
    """
    from sdlearn.attention import SpatialTransformer

    channels, heads = config.block_out_channels[level], config.num_heads[level]
    return nn.ModuleList(SpatialTransformer(channels, heads, config) for _ in range(count))


def time_resnet(in_channels: int, out_channels: int, config: UNetConfig) -> ResnetBlock:
    """A residual block that hears the time, as wide as the U-Net's time embedding."""
    time_width = 4 * config.block_out_channels[0]
    return ResnetBlock(in_channels, out_channels, time_width, config.norm_num_groups, config.norm_eps)


class DownBlock(nn.Module):
    """One level of the left side: residual blocks (each with its transformer), then half the size."""

    def __init__(self, in_channels: int, level: int, config: UNetConfig):
        super().__init__()
        channels, layers = config.block_out_channels[level], config.layers_per_block
        self.resnets = nn.ModuleList(
            time_resnet(channels if j else in_channels, channels, config) for j in range(layers)
        )
        self.attentions = transformers(layers, level, config) if config.attention_levels[level] else None
        last = level == len(config.block_out_channels) - 1
        self.downsamplers = None if last else nn.ModuleList([Downsample(channels)])

    def forward(self, h: Tensor, time: Tensor, context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for j, resnet in enumerate(self.resnets):
            h = resnet(h, time)
            if self.attentions is not None:
                h = self.attentions[j](h, context)
            skips.append(h)
        if self.downsamplers is not None:
            h = self.downsamplers[0](h)
            skips.append(h)
        return h, skips


class MidBlock(nn.Module):
    """The bottom of the U: residual block, transformer (where there is text), residual block."""

    def __init__(self, config: UNetConfig):
        super().__init__()
        channels = config.block_out_channels[-1]
        self.resnets = nn.ModuleList(time_resnet(channels, channels, config) for _ in range(2))
        last = len(config.block_out_channels) - 1
        self.attentions = transformers(1, last, config) if config.mid_attention else None

    def forward(self, h: Tensor, time: Tensor, context: Tensor | None) -> Tensor:
        h = self.resnets[0](h, time)
        if self.attentions is not None:
            h = self.attentions[0](h, context)
        return self.resnets[1](h, time)


class UpBlock(nn.Module):
    """One level of the right side: each residual block also receives a skip from the left side."""

    def __init__(self, in_channels: int, level: int, config: UNetConfig):
        super().__init__()
        channels, layers = config.block_out_channels[level], config.layers_per_block + 1
        # The last skip of a level comes from the level above it (or from conv_in at the very top).
        above = config.block_out_channels[max(level - 1, 0)]
        self.resnets = nn.ModuleList(
            time_resnet(
                (channels if j else in_channels) + (channels if j < layers - 1 else above), channels, config
            )
            for j in range(layers)
        )
        self.attentions = transformers(layers, level, config) if config.attention_levels[level] else None
        self.upsamplers = nn.ModuleList([Upsample(channels)]) if level > 0 else None

    def forward(
        self,
        h: Tensor,
        skips: list[Tensor],
        time: Tensor,
        context: Tensor | None,
        size: tuple[int, int] | None,
    ) -> Tensor:
        for j, resnet in enumerate(self.resnets):
            h = resnet(torch.cat([h, skips[-1 - j]], dim=1), time)
            if self.attentions is not None:
                h = self.attentions[j](h, context)
        return h if self.upsamplers is None else self.upsamplers[0](h, size)


class UNet(nn.Module):
    """(B, C, H, W) noisy latents, (B,) timesteps, (B, S, D) text vectors -> (B, C_out, H, W) prediction.

    Without text (no level has attention) it needs no ``context``. Any size will do: an odd side is rounded up on its
    way down, and cut to its skip's size on the way up. Whether it predicts the noise or v, only its weights know.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        channels = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(channels[0], 4 * channels[0])
        self.down_blocks = nn.ModuleList(
            DownBlock(channels[max(level - 1, 0)], level, config) for level in range(len(channels))
        )
        self.mid_block = MidBlock(config)
        self.up_blocks = nn.ModuleList(
            UpBlock(channels[min(level + 1, len(channels) - 1)], level, config)
            for level in reversed(range(len(channels)))
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[0], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(channels[0], config.out_channels, 3, padding=1)

    def forward(self, sample: Tensor, timesteps: Tensor, context: Tensor | None = None) -> Tensor:
        time = timestep_embedding(timesteps, self.config.block_out_channels[0]).to(sample.dtype)
        time = F.silu(self.time_embedding(time))  # (B, 4 * C_0)
        h = self.conv_in(sample)
        skips = [h]
        for block in self.down_blocks:
            h, new = block(h, time, context)
            skips = skips + new
        h = self.mid_block(h, time, context)
        for block in self.up_blocks:
            count = len(block.resnets)
            here, skips = skips[-count:], skips[:-count]
            size = skips[-1].shape[-2:] if skips else None  # of the level above
            h = block(h, here, time, context, size)
        return self.conv_out(F.silu(self.conv_norm_out(h)))
