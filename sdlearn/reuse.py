"""Fewer computations a picture: what the depth of the U-Net says changes slowly from step to step, and is kept.

DeepCache's idea (Ma, Fang, Wang 2024, section 3.3): the last block of the right side joins two tensors, what has come
up through all of the U, nearly the same as a step before, and the skip of the very first layer. Only the latter is
computed anew. The pictures are others than those of the whole network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.blocks import timestep_embedding
from sdlearn.denoise import Network
from sdlearn.unet import UNet


def reusing_deep_features(network: Network, unet: UNet, interval: int) -> Network:
    """``network``, which asks ``unet``, with only every ``interval``-th call of it whole; 1: every call, ``network``.

    The calls between begin and end as the U-Net does, and take what lies between from the last whole call. Make one
    for each run: it remembers. A call of another shape, as where guidance sets in, is whole.
    """
    if interval == 1:
        return network
    kept: list[Tensor] = []  # (B, C, H, W) in all; in pieces where ``network`` asks for one picture at a time
    shape, calls = None, 0  # of the last call; since the last whole one

    @torch.no_grad()  # as the pipeline's network: what is kept has no gradient
    def reusing(x: Tensor, timesteps: Tensor, context: Tensor | None) -> Tensor:
        nonlocal kept, shape, calls
        calls = calls + 1
        if calls == interval or x.shape != shape:
            with coming_up(unet) as kept:
                answer = network(x, timesteps, context)
            shape, calls = x.shape, 0
            return answer
        if len(kept) == 1:
            return both_ends(unet, x, timesteps, context, kept[0]).float()
        sizes = [len(deep) for deep in kept]
        texts = [None] * len(kept) if context is None else context.split(sizes)
        parts = zip(x.split(sizes), timesteps.split(sizes), texts, kept, strict=True)
        return torch.cat([both_ends(unet, *part).float() for part in parts])

    return reusing


@contextmanager
def coming_up(unet: UNet) -> Iterator[list[Tensor]]:
    """Inside ``with``: at each call of the U-Net the list gets what its last block joins with the first skip."""
    heard: list[Tensor] = []
    thread = get_ident()  # in another one the same layer may work for another run

    def hear(block: nn.Module, given: tuple[Tensor, ...]) -> None:
        if get_ident() == thread:
            heard.append(given[0].chunk(2, dim=1)[0])

    hook = (
        unet.up_blocks[-1].resnets[-1].register_forward_pre_hook(hear)
    )  # it is given both, equally wide, joined
    try:
        yield heard
    finally:
        hook.remove()


def both_ends(unet: UNet, sample: Tensor, timesteps: Tensor, context: Tensor | None, deep: Tensor) -> Tensor:
    """The answer of ``unet`` if ``deep``, (B, C_0, H, W), comes up to its last block. Of the type of ``deep``."""
    time = timestep_embedding(timesteps, unet.config.block_out_channels[0]).to(deep.dtype)
    time = F.silu(unet.time_embedding(time))  # (B, 4 * C_0)
    skip = unet.conv_in(sample.to(deep.dtype))
    up = unet.up_blocks[-1]
    h = up.resnets[-1](torch.cat([deep, skip], dim=1), time)
    if up.attentions is not None:
        h = up.attentions[-1](h, context)
    return unet.conv_out(F.silu(unet.conv_norm_out(h)))
