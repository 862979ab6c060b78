"""More samplers that people ask for by name, in the form of samplers.py: lms, dpmpp_2m_sde, unipc, lcm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from sdlearn.samplers import Denoise, Noise, extrapolated
from sdlearn.trace import Prediction, Step

ONE = np.polynomial.Polynomial([1.0])


def lms_weights(known: Sequence[float], sigma_next: float) -> list[float]:
    """How much each known eps counts on the way from known[0] to sigma_next: the integral of the polynomial that is
    1 at its sigma and 0 at the other known ones (Lagrange)."""
    weights = []
    for sigma in known:
        others = [other for other in known if other != sigma]
        height = math.prod(sigma - other for other in others)
        integral = math.prod((np.polynomial.Polynomial([-other, 1]) for other in others), start=ONE).integ()
        weights.append(float(integral(sigma_next) - integral(known[0])) / height)
    return weights


def lms(denoise: Denoise, x: Tensor, sigmas: Sequence[float], done: Sequence[Step] = ()) -> Iterator[Step]:
    """Like ``pndm``, with weights for the steps as they are, not as if they were equal (linear multistep)."""
    known = [(step.sigma, step.pred.eps) for step in reversed(done[-3:])]
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        known = [(sigma, pred.eps), *known[:3]]
        weights = lms_weights([level for level, _ in known], sigma_next)
        x_next = x + sum(weight * eps for weight, (_, eps) in zip(weights, known, strict=True))
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


def dpmpp_2m_sde(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, done: Sequence[Step] = ()
) -> Iterator[Step]:
    """``dpmpp_2m`` that forgets twice as fast and makes up for it with fresh noise (Lu et al. 2022, appendix)."""
    last = done[-1] if done else None
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        x_next = pred.x0
        if sigma_next > 0:
            h = math.log(sigma / sigma_next)
            fresh = -math.expm1(-2 * h)  # the share of the variance that is renewed
            x_next = (sigma_next / sigma) ** 2 * x + fresh * extrapolated(pred, h, last)
            x_next = x_next + sigma_next * math.sqrt(fresh) * noise()
        last = Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        yield last
        x = x_next


def unipc_correction(x: Tensor, before: Step, earlier: Step | None, pred: Prediction) -> Tensor:
    """The step ``before`` taken again from ``x``, now that x0 at its end is known (Zhao et al. 2023, UniC with B2)."""
    h = math.log(before.sigma / before.sigma_next)
    grown = math.expm1(-h)
    change = 0.5 * (pred.x0 - before.pred.x0)
    if earlier is not None:
        ratio = -math.log(earlier.sigma / earlier.sigma_next) / h
        first = (-grown / h - 1) / grown  # b1 and b2 of the paper's linear system for two known points
        second = 2 * ((-grown / h - 1) / -h - 0.5) / grown
        back = (first - second) / (1 - ratio)
        change = back * (earlier.pred.x0 - before.pred.x0) / ratio
        change = change + (first - back) * (pred.x0 - before.pred.x0)
    return (before.sigma_next / before.sigma) * x - grown * (before.pred.x0 + change)


def unipc(denoise: Denoise, x: Tensor, sigmas: Sequence[float], done: Sequence[Step] = ()) -> Iterator[Step]:
    """UniPC of order 2 (Zhao et al. 2023): a step of ``dpmpp_2m``, corrected as soon as x0 at its end is known.

    The correction costs no evaluation: x0 is not asked for again at the corrected place.
    """
    taken: list[Step] = []
    origin = x  # where the last step began, corrected
    for i, (sigma, sigma_next) in enumerate(pairwise([*(step.sigma for step in done), *sigmas])):
        pred = done[i].pred if i < len(done) else denoise(x, sigma)  # only the corrections are computed anew
        x = done[i].x if i < len(done) else x
        corrected = x
        if taken:
            corrected = unipc_correction(origin, taken[-1], taken[-2] if i > 1 else None, pred)
        x_next = pred.x0
        if sigma_next > 0:
            h = math.log(sigma / sigma_next)
            middle = extrapolated(pred, h, taken[-1] if taken else None)
            x_next = (sigma_next / sigma) * corrected - math.expm1(-h) * middle
        step = Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        if i >= len(done):
            yield step
        taken, origin, x = [*taken[-1:], step], corrected, x_next


LCM_SCALE = 10.0 / 0.5  # how fast a consistency model's answer replaces its input, away from t = 0


def lcm(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, done: Sequence[Step] = ()
) -> Iterator[Step]:
    """Believe x0 wholly, then add fresh noise up to sigma_next: for distilled models (Luo et al. 2023, algorithm 3).

    At t = 0 the answer must be the input itself: c_skip and c_out blend from one to the other.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        t = LCM_SCALE * (pred.timestep or 0.0)
        c_skip, c_out = 1 / (t**2 + 1), t / math.sqrt(t**2 + 1)
        x_next = c_out * pred.x0 + c_skip * x / math.sqrt(sigma**2 + 1)
        if sigma_next > 0:
            x_next = x_next + sigma_next * noise()
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next
