"""From noise to picture: samplers as generators of Step.

All of them follow dx = eps(x, sigma) dsigma from a large sigma down to nearly zero (Song et al. 2021, eq. 13,
in the coordinates of Karras et al. 2022, eq. 1). They differ in how they guess eps between noise levels, and in
whether they add fresh noise on the way. Which noise levels a run visits is in spacing.py and plan.py; more samplers
of the same form are in samplers_more.py.

``done`` are the steps that a run has already taken, when it is resumed: those that look back find them there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

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
