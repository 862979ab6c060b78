"""Pictures and captions for a step, and previews on disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdlearn.scenes.dataset import SceneDataset, render_dataset
from sdlearn.training.loop import Share


def open_scenes(data: dict) -> SceneDataset:
    """The dataset of a recipe's [data] section, drawn on first use and cached."""
    return SceneDataset(render_dataset(data["pictures"], seed=data["seed"], workers=data["workers"]))


def pick(count: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """(batch_size,) random indices below ``count``."""
    return torch.randint(count, (batch_size,), generator=generator)


class Ahead:
    """A step's batch, made by ``make(step, share)`` in the background while the step before it computes.

    It is a function of the step's number alone, so whether it was made early changes the time and nothing else.
    """

    def __init__(self, make: Callable[[int, Share], tuple[Tensor, ...]]):
        self._make = make
        self._worker = ThreadPoolExecutor(1)
        self._early: dict[tuple[int, Share], Future] = {}

    def __call__(self, step: int, share: Share) -> tuple[Tensor, ...]:
        early = self._early.pop((step, share), None)
        self._early = {(step + 1, share): self._worker.submit(self._make, step + 1, share)}
        return self._make(step, share) if early is None else early.result()


def send(batch: tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
    """A batch on ``device``. A GPU fetches it from pinned memory while it still computes: nobody waits."""
    if device.type != "cuda":
        return tuple(part.to(device) for part in batch)
    return tuple(part.pin_memory().to(device, non_blocking=True) for part in batch)


def pixels_of(
    pictures: np.ndarray,
    indices: Tensor,
    corners: list[tuple[int, int]] | None = None,
    size: int | None = None,
) -> Tensor:
    """uint8 pictures (n, H, W, 3) -> (B, 3, H, W) in -1 … 1, channels last in memory.

    With ``corners`` (y, x) of each picture, only the square of ``size`` pixels that begins there.
    """
    if corners is None:
        chosen = pictures[indices.numpy()]  # (B, H, W, 3), a copy
    else:
        places = zip(indices.tolist(), corners, strict=True)
        chosen = np.stack([pictures[i, y : y + size, x : x + size] for i, (y, x) in places])
    pixels = torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, 3, H, W)
    return pixels.contiguous(memory_format=torch.channels_last)


def save_rows(rows: list[Tensor], path: Path) -> None:
    """Write rows of pictures, each (B, 3, H, W) in -1 … 1, under one another. Overwrites an older preview."""
    strips = [torch.cat(list(row.detach().float().cpu()), dim=2) for row in rows]  # (3, H, B*W)
    sheet = (torch.cat(strips, dim=1).permute(1, 2, 0) / 2 + 0.5).clamp(0, 1)  # (rows*H, B*W, 3)
    Image.fromarray((sheet * 255).round().to(torch.uint8).numpy()).save(path)
