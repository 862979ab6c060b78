"""Classifier-free guidance: ask the network with and without the prompt, and exaggerate the difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sdlearn.denoise import PREDICTION_TYPES, to_v
from sdlearn.trace import Prediction


def check_guidance_scale(scale: float) -> float:
    """The scale as a float, or a clear error: it must be a finite number of at least 0."""
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise TypeError(f"guidance_scale must be a number, got {scale!r}.")
    if not math.isfinite(scale) or scale < 0:
        raise ValueError(f"guidance_scale must be a finite number >= 0 (usual: 1 to 15), got {scale}.")
    return float(scale)


def check_rescale(share: float) -> float:
    """The share as a float, or a clear error: from 0 (leave all as it is) to 1 (the spread of the prompt alone)."""
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise TypeError(f"guidance_rescale must be a number from 0 to 1, got {share!r}.")
    if not 0 <= share <= 1:
        raise ValueError(f"guidance_rescale must be from 0 (off) to 1 (usual: 0.7), got {share}.")
    return float(share)


def check_interval(interval: tuple[float, float] | None) -> tuple[float, float]:
    """(low, high) noise levels as floats, or a clear error."""
    if interval is None:
        return 0.0, math.inf
    if not isinstance(interval, list | tuple) or len(interval) != 2:
        raise TypeError(f"guidance_interval must be two noise levels (low, high), got {interval!r}.")
    for end in interval:
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise TypeError(f"guidance_interval must be two noise levels (low, high), got {interval!r}.")
    low, high = map(float, interval)
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"guidance_interval must be 0 <= low <= high (a sigma of a step), got {interval}.")
    return low, high


def rescaled(mixed: Tensor, cond: Tensor, share: float) -> Tensor:
    """``mixed`` with its spread moved towards that of ``cond``, each picture for itself (Lin et al. 2024, eq. 15, 16).

    Strong guidance makes the network's answer larger than any it was trained to give, and pictures glaring.
    """
    dims = tuple(range(1, cond.ndim))
    same_spread = mixed * (cond.std(dim=dims, keepdim=True) / mixed.std(dim=dims, keepdim=True))
    return share * same_spread + (1 - share) * mixed


def classifier_free_guidance(
    denoise: Callable[..., Prediction],
    cond: Tensor | None,
    uncond: Tensor | None,
    scale: float,
    *,
    rescale: float = 0.0,
    interval: tuple[float, float] | None = None,
    prediction_type: str = "epsilon",
) -> Callable[[Tensor, float], Prediction]:
    """A denoiser whose eps is eps_uncond + scale * (eps_cond - eps_uncond) (Ho and Salimans 2022, eq. 6).

    ``cond`` and ``uncond`` are text vectors (B, length, width); a negative prompt is just another ``uncond``.
    Scale 1 asks only with the prompt, 0 only without: one evaluation, the other text vectors may be None.
    (diffusers takes a scale up to 1 as "no guidance" and asks with the prompt.) Our scale is their w + 1.

    ``rescale`` takes back part of what guidance adds to the spread of the network's answer, which is of
    ``prediction_type``. Outside ``interval``, noise levels (low, high), the prompt is asked alone
    (Kynkaanniemi et al. 2024).
    """
    scale, share, (low, high) = check_guidance_scale(scale), check_rescale(rescale), check_interval(interval)

    def guided(x: Tensor, sigma: float) -> Prediction:
        if scale == 0:
            pred = denoise(x, sigma, uncond)
            return replace(pred, eps_uncond=pred.eps)
        if scale == 1 or not low <= sigma <= high:
            pred = denoise(x, sigma, cond)
            return replace(pred, eps_cond=pred.eps)
        both = denoise(torch.cat([x, x]), sigma, torch.cat([uncond, cond]))  # one call of (2B, C, H, W)
        eps_uncond, eps_cond = both.eps.chunk(2)
        eps = eps_uncond + scale * (eps_cond - eps_uncond)
        x0 = x - sigma * eps
        if share > 0:  # in the terms of the network's own answer
            if prediction_type == "v_prediction":
                mixed, alone = to_v(x0, eps, sigma), to_v(x - sigma * eps_cond, eps_cond, sigma)
            else:
                mixed, alone = eps, eps_cond
            x0, eps = PREDICTION_TYPES[prediction_type](x, sigma, rescaled(mixed, alone, share))
        return Prediction(x0, eps, eps_cond, eps_uncond, both.timestep)

    return guided
