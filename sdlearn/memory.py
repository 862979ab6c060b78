"""Large pictures and small graphics cards: decode in tiles, keep idle networks off the card, say what was lacking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

PIXELS_AT_ONCE = 2**20  # decoded together: four pictures of 512 x 512
OVERLAP = 0.25  # of a tile's side


def in_portions(decode: Callable[[Tensor], Tensor], latents: Tensor, factor: int) -> Tensor:
    """Decode a batch a few pictures at a time, so that a large one needs no more memory than a small one."""
    pixels = latents.shape[-2] * latents.shape[-1] * factor**2
    return torch.cat([decode(part) for part in latents.split(max(1, PIXELS_AT_ONCE // pixels))])


def tiled_decode(decode: Callable[[Tensor], Tensor], latents: Tensor, factor: int, tile: int) -> Tensor:
    """Decode (n, c, h, w) latents square by square of ``tile`` latents, which overlap and fade into one another.

    The autoencoder's norms see one tile at a time, so colours differ a little from decoding all at once.
    """
    height, width = latents.shape[-2:]
    if height <= tile and width <= tile:
        return decode(latents)
    total: Tensor | None = None
    weight: Tensor | None = None
    for top in starts(height, tile):
        for left in starts(width, tile):
            pixels = decode(latents[:, :, top : top + tile, left : left + tile])
            fade = fading(pixels.shape[-2], pixels.shape[-1], round(OVERLAP * tile * factor)).to(pixels)
            if total is None or weight is None:
                total = pixels.new_zeros(*pixels.shape[:2], height * factor, width * factor)
                weight = pixels.new_zeros(height * factor, width * factor)
            rows = slice(top * factor, top * factor + pixels.shape[-2])
            columns = slice(left * factor, left * factor + pixels.shape[-1])
            total[:, :, rows, columns] += pixels * fade
            weight[rows, columns] += fade
    return total / weight


def starts(length: int, tile: int) -> list[int]:
    """Where tiles begin, so that they cover a side with at least the overlap between neighbours."""
    if length <= tile:
        return [0]
    step = tile - round(OVERLAP * tile)
    number = -(-(length - tile) // step) + 1
    return [round(k * (length - tile) / (number - 1)) for k in range(number)]


def fading(height: int, width: int, edge: int) -> Tensor:
    """(height, width) weights that rise from nearly 0 at the border to 1, ``edge`` pixels inside."""

    def ramp(length: int) -> Tensor:
        distance = torch.minimum(torch.arange(length), torch.arange(length).flip(0)) + 1.0
        return (distance / max(edge, 1)).clamp(max=1.0)

    return ramp(height)[:, None] * ramp(width)


@contextmanager
def visiting(network: nn.Module, device: torch.device | None) -> Iterator[nn.Module]:
    """The network on ``device`` for as long as it is used, then back where it was; None: it stays where it is."""
    home = next(network.parameters()).device
    if device is None or device == home:
        yield network
        return
    try:
        yield network.to(device)
    finally:
        network.to(home)


def explain_lack(error: RuntimeError, device: torch.device) -> MemoryError:
    """What a graphics card's "out of memory" means, and what helps."""
    need = str(error).split("Tried to allocate ")[-1].split(". ")[0][:40]
    free, size = torch.cuda.mem_get_info(device) if device.type == "cuda" else (0, 0)
    figures = f" of {size / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free" if size else ""
    return MemoryError(
        f"{device} has no room: a piece of {need} was asked for{figures}. Load with dtype=torch.float16, call "
        "pipe.save_memory(), or ask for a smaller size or fewer pictures at once."
    )
