"""The autoencoder between pixels and latents (Kingma & Welling 2014; Rombach et al. 2022, section 3.1).

The encoder turns 3 x H x W pixels into the mean and the spread of 4 x H/8 x W/8 latents: 48 times fewer numbers.
The decoder draws the picture back from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.blocks import Downsample, ResnetBlock, Upsample
from sdlearn.config import VAEConfig


@dataclass(frozen=True)
class DiagonalGaussian:
    """A normal distribution for each latent number on its own: ``mean`` and ``logvar``, both (B, C, H, W)."""

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        return torch.exp(0.5 * self.logvar)

    def mode(self) -> Tensor:
        """The most likely latent: the mean."""
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """mean + std * noise, with the noise from outside: the draw stays differentiable and repeatable."""
        return self.mean + self.std * noise

    def kl(self) -> Tensor:
        """Distance to the standard normal, summed over each picture: (B,) (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (self.mean**2 + self.logvar.exp() - 1 - self.logvar).sum(dim=(1, 2, 3))


class VAEAttention(nn.Module):
    """Every place of the smallest feature map looks at all others: (B, C, H, W) -> (B, C, H, W).

    softmax(q kᵀ / √C) v (Vaswani et al. 2017, equation 1) with a single head, and a way around it.
    """

    def __init__(self, channels: int, config: VAEConfig):
        super().__init__()
        self.group_norm = nn.GroupNorm(config.norm_num_groups, channels, eps=config.norm_eps)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList(
            [nn.Linear(channels, channels)]
        )  # a list, because published names say to_out.0

    def forward(self, x: Tensor) -> Tensor:
        h = self.group_norm(x).flatten(2).transpose(1, 2)[:, None]  # (B, C, H, W) -> (B, 1, H*W, C)
        h = F.scaled_dot_product_attention(self.to_q(h), self.to_k(h), self.to_v(h))
        h = self.to_out[0](h)[:, 0].transpose(1, 2)  # (B, 1, H*W, C) -> (B, C, H*W)
        return x + h.unflatten(2, x.shape[-2:])  # (B, C, H*W) -> (B, C, H, W)


def vae_resnet(in_channels: int, out_channels: int, config: VAEConfig) -> ResnetBlock:
    """A residual block that hears no time."""
    return ResnetBlock(in_channels, out_channels, None, config.norm_num_groups, config.norm_eps)


class MidBlock(nn.Module):
    """Residual block, attention, residual block at the smallest size."""

    def __init__(self, channels: int, config: VAEConfig):
        super().__init__()
        self.resnets = nn.ModuleList(vae_resnet(channels, channels, config) for _ in range(2))
        self.attentions = nn.ModuleList([VAEAttention(channels, config)])

    def forward(self, h: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](h)))


class EncoderLevel(nn.Module):
    """Residual blocks, then half the size (but not at the last level)."""

    def __init__(self, in_channels: int, channels: int, last: bool, config: VAEConfig):
        super().__init__()
        self.resnets = nn.ModuleList(
            vae_resnet(channels if j else in_channels, channels, config)
            for j in range(config.layers_per_block)
        )
        self.downsamplers = None if last else nn.ModuleList([Downsample(channels, symmetric=False)])

    def forward(self, h: Tensor) -> Tensor:
        for resnet in self.resnets:
            h = resnet(h)
        return h if self.downsamplers is None else self.downsamplers[0](h)


class DecoderLevel(nn.Module):
    """Residual blocks (one more than in the encoder), then double the size (but not at the last level)."""

    def __init__(self, in_channels: int, channels: int, last: bool, config: VAEConfig):
        super().__init__()
        self.resnets = nn.ModuleList(
            vae_resnet(channels if j else in_channels, channels, config)
            for j in range(config.layers_per_block + 1)
        )
        self.upsamplers = None if last else nn.ModuleList([Upsample(channels)])

    def forward(self, h: Tensor) -> Tensor:
        for resnet in self.resnets:
            h = resnet(h)
        return h if self.upsamplers is None else self.upsamplers[0](h)


class Encoder(nn.Module):
    """(B, 3, H, W) pixels -> (B, 2 * latent_channels, H/f, W/f): means and log-variances, before quant_conv."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        channels = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            EncoderLevel(channels[max(i - 1, 0)], channels[i], i == len(channels) - 1, config)
            for i in range(len(channels))
        )
        self.mid_block = MidBlock(channels[-1], config)
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[-1], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(channels[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down_blocks:
            h = level(h)
        h = self.mid_block(h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class Decoder(nn.Module):
    """(B, latent_channels, H/f, W/f) latents -> (B, 3, H, W) pixels, about -1 … 1."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        channels = tuple(reversed(config.block_out_channels))
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.mid_block = MidBlock(channels[0], config)
        self.up_blocks = nn.ModuleList(
            DecoderLevel(channels[max(i - 1, 0)], channels[i], i == len(channels) - 1, config)
            for i in range(len(channels))
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, channels[-1], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(channels[-1], config.out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            h = level(h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class AutoencoderKL(nn.Module):
    """Pixels in -1 … 1 to a distribution of latents, and back.

    The latents here are the autoencoder's own. The U-Net works on ``config.scaling_factor`` times them, about unit
    variance; :meth:`encode` and :meth:`decode` never apply that factor, their callers do, once each way.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(2 * config.latent_channels, 2 * config.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.latent_channels, config.latent_channels, 1)

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """(B, 3, H, W) in -1 … 1, sides multiples of ``config.factor`` -> distribution over (B, 4, H/f, W/f)."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return DiagonalGaussian(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, z: Tensor) -> Tensor:
        """(B, 4, h, w) unscaled latents -> (B, 3, h*f, w*f) pixels, not clamped."""
        return self.decoder(self.post_quant_conv(z))
