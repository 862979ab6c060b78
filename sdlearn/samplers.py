"""From noise to picture: samplers as generators of Step.

All of them follow dx = eps(x, sigma) dsigma from a large sigma down to nearly zero (Song et al. 2021, eq. 13,
in the coordinates of Karras et al. 2022, eq. 1). They differ in how they guess eps between noise levels, and in
whether they add fresh noise on the way. Which noise levels a run visits is in plan.py.

``done`` are the steps that a run has already taken, when it is resumed: those that look back find them there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from sdlearn.trace import Prediction, Step

Denoise = Callable[[Tensor, float], Prediction]
Noise = Callable[[], Tensor]


def euler(denoise: Denoise, x: Tensor, sigmas: Sequence[float], done: Sequence[Step] = ()) -> Iterator[Step]:
    """Straight lines along eps. In the papers' scaling this is DDIM (Song, Meng, Ermon 2020, eq. 12)."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        x_next = x + (sigma_next - sigma) * pred.eps
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


def euler_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise: Noise,
    done: Sequence[Step] = (),
    eta: float = 1.0,
) -> Iterator[Step]:
    """Go down too far, then add fresh noise up to sigma_next: DDPM (Ho et al. 2020, eq. 7) when eta = 1.

    ``eta`` scales the fresh noise (Song, Meng, Ermon 2020, eq. 16); ``noise()`` draws one like x a step.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        up = eta * sigma_next * math.sqrt(max(sigma**2 - sigma_next**2, 0.0)) / sigma
        down = math.sqrt(max(sigma_next**2 - up**2, 0.0))
        x_next = x + (down - sigma) * pred.eps
        if up > 0:
            x_next = x_next + up * noise()
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


def heun(denoise: Denoise, x: Tensor, sigmas: Sequence[float], done: Sequence[Step] = ()) -> Iterator[Step]:
    """An Euler step to try, then again with the mean of both ends' eps (Karras et al. 2022, algorithm 1).

    Two evaluations a step; the step to sigma = 0, where eps is not defined, stays Euler.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        x_next = x + (sigma_next - sigma) * pred.eps
        if sigma_next > 0:
            mean = (pred.eps + denoise(x_next, sigma_next).eps) / 2
            x_next = x + (sigma_next - sigma) * mean
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


ADAMS_BASHFORTH = (  # weights of eps, newest first, by the number of evaluations known
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def pndm(denoise: Denoise, x: Tensor, sigmas: Sequence[float], done: Sequence[Step] = ()) -> Iterator[Step]:
    """Extrapolate eps from up to four evaluations (PLMS; Liu et al. 2022).

    The weights of Adams and Bashforth, as if for equal steps. Without anything to look back on,
    the first step is a Heun step, so N steps cost N + 1 evaluations.
    """
    history = [step.pred.eps for step in reversed(done[-3:])]
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        history = [pred.eps, *history[:3]]
        weights = ADAMS_BASHFORTH[len(history) - 1]
        slope = sum(weight * eps for weight, eps in zip(weights, history, strict=True))
        x_next = x + (sigma_next - sigma) * slope
        if i == 0 and len(sigmas) > 2:
            mean = (pred.eps + denoise(x_next, sigma_next).eps) / 2
            x_next = x + (sigma_next - sigma) * mean
        yield Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        x = x_next


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


def extrapolated(pred: Prediction, h: float, last: Step | None) -> Tensor:
    """x0 in the middle of the next step of length h in lambda = -log(sigma), along the line from the last x0."""
    if last is None:
        return pred.x0
    h_last = math.log(last.sigma / last.sigma_next)
    return pred.x0 + (h / (2 * h_last)) * (pred.x0 - last.pred.x0)


def dpmpp_2m(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], done: Sequence[Step] = ()
) -> Iterator[Step]:
    """DPM-Solver++(2M): linear part exact, x0 extrapolated in lambda = -log(sigma) (Lu et al. 2022, alg. 2).

    First order at the start (nothing to look back on) and to sigma = 0 (lambda is infinite, x becomes x0).
    """
    last = done[-1] if done else None
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas), len(done)):
        pred = denoise(x, sigma)
        x_next = pred.x0
        if sigma_next > 0:
            h = math.log(sigma / sigma_next)
            x_next = (sigma_next / sigma) * x - math.expm1(-h) * extrapolated(pred, h, last)
        last = Step(i, sigma, sigma_next, pred.timestep, x, pred, x_next)
        yield last
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
