"""What figures of a run begin with: its steps, checked; its latents as pictures and as sheets of channels.

Where a figure takes ``decode``, it is a decoder such as ``pipe.decode``, latents (n, channels, h, w) to n pictures,
or a matrix of ``sdlearn.viz.fit_latent_to_rgb``. Of a batch the picture number ``which`` is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdlearn.trace import Generation, Step
from sdlearn.viz.latent_colours import latent_to_rgb

Decode = Callable[[Tensor], list[Image.Image]]
Run = Generation | Sequence[Step]


def steps_of(run: Run, which: int = 0) -> list[Step]:
    """The steps of a run that has some, all of them with a picture number ``which``."""
    steps = list(run.steps if isinstance(run, Generation) else run)
    if not steps:
        raise ValueError("this run has no steps: draw it with record=True (the default).")
    if wrong := next((step for step in steps if not isinstance(step, Step)), None):
        raise TypeError(f"a run is a Generation or its steps, not a list of {type(wrong).__name__}.")
    if not 0 <= which < len(steps[0].x):
        raise ValueError(
            f"which must be from 0 to {len(steps[0].x) - 1}, the pictures of this run; got {which}."
        )
    return steps


def decoded(decode: Decode | Tensor, latents: Tensor) -> list[Image.Image]:
    """Latents (n, channels, h, w) as n pictures."""
    if isinstance(decode, Tensor):
        decode = partial(latent_to_rgb, decode)
    pictures = list(decode(latents))
    if len(pictures) != len(latents):
        raise ValueError(f"decode gave {len(pictures)} pictures for {len(latents)} latents.")
    return pictures


def tiled(latent: Tensor) -> np.ndarray:
    """(channels, h, w) on one sheet, two channels a row, with an empty line (NaN) between them."""
    channels, h, w = latent.shape
    across, down = min(channels, 2), (channels + 1) // 2
    sheet = np.full((down * (h + 1) - 1, across * (w + 1) - 1), np.nan, dtype=np.float32)
    for k, values in enumerate(latent.detach().float().cpu().numpy()):
        top, left = k // 2 * (h + 1), k % 2 * (w + 1)
        sheet[top : top + h, left : left + w] = values
    return sheet


def resemblance(a: Tensor, b: Tensor) -> float:
    """The correlation of all numbers of two tensors: 1 the same pattern, 0 nothing in common."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]).detach().float())[0, 1])
