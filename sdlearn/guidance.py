"""Classifier-free guidance: ask the network with and without the prompt, and exaggerate the difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sdlearn.trace import Prediction


def check_guidance_scale(scale: float) -> float:
    """The scale as a float, or a clear error: it must be a finite number of at least 0."""
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise TypeError(f"guidance_scale must be a number, got {scale!r}.")
    if not math.isfinite(scale) or scale < 0:
        raise ValueError(f"guidance_scale must be a finite number >= 0 (usual: 1 to 15), got {scale}.")
    return float(scale)


def classifier_free_guidance(
    denoise: Callable[..., Prediction], cond: Tensor | None, uncond: Tensor | None, scale: float
) -> Callable[[Tensor, float], Prediction]:
    """A denoiser whose eps is eps_uncond + scale * (eps_cond - eps_uncond) (Ho and Salimans 2022, eq. 6).

    ``cond`` and ``uncond`` are text vectors (B, length, width); a negative prompt is just another ``uncond``.
    Scale 1 asks only with the prompt, 0 only without: one evaluation, the other text vectors may be None.
    (diffusers takes a scale up to 1 as "no guidance" and asks with the prompt.) Our scale is their w + 1.
    """
    scale = check_guidance_scale(scale)

    def guided(x: Tensor, sigma: float) -> Prediction:
        if scale == 1:
            pred = denoise(x, sigma, cond)
            return replace(pred, eps_cond=pred.eps)
        if scale == 0:
            pred = denoise(x, sigma, uncond)
            return replace(pred, eps_uncond=pred.eps)
        both = denoise(torch.cat([x, x]), sigma, torch.cat([uncond, cond]))  # one call of (2B, C, H, W)
        eps_uncond, eps_cond = both.eps.chunk(2)
        eps = eps_uncond + scale * (eps_cond - eps_uncond)
        return Prediction(x - sigma * eps, eps, eps_cond, eps_uncond, both.timestep)

    return guided
