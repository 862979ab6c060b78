"""A classifier of noisy latents: which words fit what can still be seen? Its gradient can guide (sdlearn.guidance)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.blocks import Downsample, ResnetBlock, TimestepEmbedding, timestep_embedding


class NoisyClassifier(nn.Module):
    """The left side of a small U-Net, then one number a word (Dhariwal and Nichol 2021, section 4).

    (B, 4, H, W) latents at unit variance and (B,) timesteps -> (B, words) logits: the probability that a word fits is
    the sigmoid of its logit.
    """

    def __init__(self, words: Sequence[str], widths: Sequence[int]):
        super().__init__()
        self.words, self.widths = tuple(words), tuple(widths)
        time_width, inputs = 4 * widths[0], (widths[0], *widths[:-1])
        self.conv_in = nn.Conv2d(4, widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(widths[0], time_width)
        self.levels = nn.ModuleList(
            ResnetBlock(channels, width, time_width, groups=16, eps=1e-5)
            for channels, width in zip(inputs, widths, strict=True)
        )
        self.downsamplers = nn.ModuleList(Downsample(width) for width in widths[:-1])
        self.norm_out = nn.GroupNorm(16, widths[-1])
        self.linear_out = nn.Linear(widths[-1], len(words))

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        time = timestep_embedding(timesteps, self.widths[0]).to(x.dtype)
        time = F.silu(self.time_embedding(time))  # (B, 4 * widths[0])
        h = self.levels[0](self.conv_in(x), time)
        for downsample, level in zip(self.downsamplers, self.levels[1:], strict=True):
            h = level(downsample(h), time)
        return self.linear_out(F.silu(self.norm_out(h)).mean(dim=(2, 3)))  # (B, width) -> (B, words)
