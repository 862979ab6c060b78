"""Guidance: wrappers of a denoiser that exaggerate what a prompt, or a classifier, changes in its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sdlearn.arguments import check_guidance_scale, check_interval, check_rescale
from sdlearn.denoise import PREDICTION_TYPES, to_v
from sdlearn.trace import Prediction


def rescaled(mixed: Tensor, cond: Tensor, share: float) -> Tensor:
    """``mixed`` with its spread moved towards that of ``cond``, each picture for itself (Lin et al. 2024, eq. 15, 16).

    Strong guidance makes the network's answer larger than any it was trained to give, and pictures glaring.
    """
    dims = tuple(range(1, cond.ndim))
    same_spread = mixed * (cond.std(dim=dims, keepdim=True) / mixed.std(dim=dims, keepdim=True))
    return share * same_spread + (1 - share) * mixed


def classifier_guidance(
    denoise: Callable[[Tensor, float], Prediction],
    log_probability: Callable[[Tensor, float], Tensor],
    scale: float,
) -> Callable[[Tensor, float], Prediction]:
    """A denoiser whose eps is eps - scale * sigma * gradient (Dhariwal and Nichol 2021, eq. 14, algorithm 2).

    ``log_probability(x, sigma)`` says for each x how well it fits what is wanted: log p(c | x), (B,). Its gradient
    points to where x would fit better. At scale 1 the answer is Bayes' p(x | c): ``eps_cond``.
    """
    scale = check_guidance_scale(scale)

    def guided(x: Tensor, sigma: float) -> Prediction:
        pred = denoise(x, sigma)
        with torch.enable_grad():
            moved = x.detach().requires_grad_()
            fit = log_probability(moved, sigma)
            if fit.shape != (len(x),) or not fit.requires_grad:
                raise ValueError(
                    f"log_probability must give a number with a gradient for each of the {len(x)} x; got "
                    f"{tuple(fit.shape)}, {'with' if fit.requires_grad else 'without'} a gradient."
                )
            (gradient,) = torch.autograd.grad(fit.sum(), moved)  # like x
        eps_cond = pred.eps - sigma * gradient
        eps = pred.eps + scale * (eps_cond - pred.eps)
        return Prediction(x - sigma * eps, eps, eps_cond, pred.eps, pred.timestep)

    return guided


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
    (diffusers takes a scale up to 1 as "no guidance" and asks with the prompt.)

    ``rescale`` takes back part of what guidance adds to the spread of the network's answer, which is of
    ``prediction_type``. Outside ``interval``, noise levels (low, high), the prompt is asked alone
    (Kynkaanniemi et al. 2024).
    """
    scale, share, (low, high) = check_guidance_scale(scale), check_rescale(rescale), check_interval(interval)

    both_texts = torch.cat([uncond, cond]) if scale not in (0, 1) else None

    def guided(x: Tensor, sigma: float) -> Prediction:
        if scale == 0:
            pred = denoise(x, sigma, uncond)
            return replace(pred, eps_uncond=pred.eps)
        if scale == 1 or not low <= sigma <= high:
            pred = denoise(x, sigma, cond)
            return replace(pred, eps_cond=pred.eps)
        both = denoise(torch.cat([x, x]), sigma, both_texts)  # one call of (2B, C, H, W)
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
