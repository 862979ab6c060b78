"""Chapter 01, forward diffusion: what is asked, what people take for the answer, and what to tell them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from sdlearn.exercises.core import Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(1)
X0, EPS = torch.randn(2, 6, generator=GENERATOR, dtype=torch.float64)


def ask_undo(clean: Callable) -> Any:
    """The clean picture of X0, taken for a noisy one, at three levels of ᾱ: each (6,)."""
    return [clean(X0, EPS, torch.tensor(level, dtype=X0.dtype)) for level in (0.9, 0.36, 0.04)]


def ask_go_on(go_on: Callable) -> Any:
    """X0, taken for a noisy picture at ᾱ = 0.8, at two later levels: each (6,)."""
    now, *later = torch.tensor([0.8, 0.5, 0.1], dtype=X0.dtype)
    return [go_on(X0, EPS, now, level) for level in later]


EXERCISES = {
    "01.1": Exercise(
        start="Begin with the first step: it keeps 1 - 0.1 = 0.9 of the picture's variance. What do the next two keep?",
        right=0.36,
        praise="Each step keeps its share of what the steps before it have left: shares are multiplied.",
        mistakes=(
            Mistake(0.01, "That is the product of the βs, the shares of noise. What does a step *keep*?"),
            Mistake(0.2, "You took the sum of the βs off 1. The second step takes its share of what is left "
                    "after the first, not of the whole. With β = 0.5 three times, would less than nothing be left?"),
            Mistake(0.6, "That is √ᾱ, the factor in front of the picture. ᾱ is its square, a share of variance."),
            Mistake(0.64, "That is 1 - ᾱ, the share of noise. What is the share of the picture?"),
            Mistake(0.99, "That is 1 minus the product of the βs. First 1 - β for each step, then the product."),
            Mistake(36, "In percent? ᾱ is a share: a number between 0 and 1 is asked for."),
            Mistake(0.5, "That is the last step alone. The picture went through the two steps before it as well."),
        ),
        otherwise="Follow the share of the picture through the steps: three factors, each of them 1 - β.",
    ),
    "01.2": Exercise(
        start="Begin with the jump, x = √ᾱ x0 + √(1 - ᾱ) ε, and solve it for x0. Two things were done to x0; undo the "
        "later one first.",
        right=lambda x, eps, a: (x - (1 - a) ** 0.5 * eps) / a**0.5,
        praise="Whoever knows the noise knows the picture. That is why a network may as well be asked for the noise.",
        mistakes=(
            Mistake(lambda x, eps, a: x - (1 - a) ** 0.5 * eps,
                    "The noise is off, but the picture is still shrunk: how do you make it large again?"),
            Mistake(lambda x, eps, a: (x - (1 - a) * eps) / a,
                    "You undo a linear blend, ᾱ x0 + (1 - ᾱ) ε. ᾱ is a share of *variance*: take roots."),
            Mistake(lambda x, eps, a: (x - (1 - a) * eps) / a**0.5,
                    "The picture has its root, the noise has not. 1 - ᾱ is its variance; what is its strength?"),
            Mistake(lambda x, eps, a: (x - (1 - a) ** 0.5 * eps) / a,
                    "The noise has its root, the picture has not: it was shrunk by √ᾱ, not by ᾱ."),
            Mistake(lambda x, eps, a: x / a**0.5 - (1 - a) ** 0.5 * eps,
                    "Division makes the noise in x larger as well, so by then there is more of it to take off. Mind "
                    "the order, or the brackets."),
            Mistake(lambda x, eps, a: x - ((1 - a) / a) ** 0.5 * eps,
                    "That is right for x0 + σ ε, the σ scaling. This x has variance 1: what does from_vp do?"),
            Mistake(lambda x, eps, a: a**0.5 * x + (1 - a) ** 0.5 * eps,
                    "That is the jump once more: it adds noise. Here noise is to be taken off."),
            Mistake(lambda x, eps, a: x - eps,
                    "You took all of ε off, but only a part of it is in there: with which factor?"),
        ),
        otherwise="Test it: make x with the jump from a picture that you know, and see whether you get it back.",
        ask=ask_undo,
    ),
    "01.3": Exercise(
        start="Divide √ᾱ x0 + √(1 - ᾱ) ε by the factor of x0: what stands before ε is σ. Give both: [σ, SNR].",
        right=[2.0, 0.25],
        praise="Noise with twice the strength of the picture has four times its variance: SNR = 1 / σ².",
        mistakes=(
            Mistake([4.0, 0.25], "Your σ is a variance, (1 - ᾱ) / ᾱ. σ is the factor before ε: take the root."),
            Mistake([4.0, 0.0625], "Your σ is a variance, (1 - ᾱ) / ᾱ, and its root is σ. The SNR follows from it."),
            Mistake([2.0, 4.0], "Your SNR is the other way round: it is noise against picture. *Signal* to noise "
                    "should be small where there is much noise."),
            Mistake([2.0, 0.5], "You compared strengths. The SNR compares *variances*: the squares."),
            Mistake([math.sqrt(0.8), 0.25], "√(1 - ᾱ) is the noise beside a shrunken picture. Make the picture "
                    "full size, then take the root."),
            Mistake([0.8, 0.25], "1 - ᾱ is the variance of the noise beside a shrunken picture. Make the picture full "
                    "size, then take the root."),
            Mistake([0.5, 4.0], "Both upside down: at ᾱ = 0.2, is there more noise or more picture?"),
            Mistake([0.5, 0.25], "Your σ is the picture against the noise. σ = 0 should mean: no noise."),
            Mistake([0.25, 2.0], "The two have changed places: [σ, SNR] is asked for."),
        ),
        otherwise="ᾱ is the picture's share of the variance, 1 - ᾱ the noise's. Which is larger here, and what does "
        "that say about σ and SNR? Check that SNR · σ² is 1.",
    ),
    "01.4": Exercise(
        start="The old noise is still in there. Which quantity of independent noises is added up, σ or σ²?",
        right=4.0,
        praise="3² + 4² = 5²: variances of independent noises add up, strengths do not.",
        mistakes=(
            Mistake(2.0, "You took the difference of the strengths. Independent noises partly cancel: their "
                    "*variances* add up. Look at 3² and 5²."),
            Mistake(16.0, "That is the variance of the new noise. The factor before ε is its root."),
            Mistake(5.0, "That would be right on a clean picture. But there is noise of strength 3 in it, and a step "
                    "adds to what it finds."),
            Mistake(math.sqrt(34), "You added the variances. The sum is known already: it is to be 5²."),
            Mistake(math.sqrt(2), "You took the root of the difference of strengths. Square each of them first."),
        ),
        otherwise="Let s be the strength of the new noise. Then 3² + s² is the variance of all the noise.",
    ),
    "01.5": Exercise(
        start="Make the config with replace(config, beta_schedule=..., beta_start=..., beta_end=...), then a Schedule. "
        "Its snr(range(1000)) has all timesteps. Where is it below 1 for the first time?",
        right=259,
        praise="After about a quarter of the timesteps: one of the reasons why later schedules begin more gently.",
        mistakes=(
            Mistake(258, "Very near: there the picture is just still ahead. Asked is the first t where noise is."),
            Mistake(260, "Very near: one earlier the noise is ahead already. Timesteps are counted from 0."),
            Mistake(500, "Half of the timesteps is not half of the variance: ᾱ is a product, not a straight line. "
                    "Look at ᾱ in the figure of section 8."),
            Mistake(368, "That is where √ᾱ falls below 1/2. The SNR compares variances: where does ᾱ?"),
            Mistake(284, "Linear it is, but with Stable Diffusion's first and last β. Give beta_start and beta_end."),
            Mistake(418, "The first and last β are right, but it is √β that grows in a straight line here: the scaled "
                    "linear schedule. Give beta_schedule."),
            Mistake(354, "This is Stable Diffusion's own schedule, which a Schedule has unless its config says more."),
            Mistake(0, "At t = 0 there is hardly any noise. The SNR is *large* there; where is it below 1?"),
        ),
        otherwise="SNR < 1 means σ > 1. Print sigma(t) for a few t, and close in on it.",
    ),
    "01.6": Exercise(
        start="Which share of the variance do the steps between the two keep? It is a quotient of the two ᾱ.",
        right=lambda x, eps, now, later: (later / now) ** 0.5 * x + (1 - later / now) ** 0.5 * eps,
        praise="later / now is the product of 1 - β over the steps between. With it, the closed form jumps from "
        "anywhere to anywhere. Samplers will do the same backwards.",
        mistakes=(
            Mistake(lambda x, eps, now, later: later**0.5 * x + (1 - later) ** 0.5 * eps,
                    "This treats x as a clean picture. It has been shrunk by √now already, and holds noise: only the "
                    "steps *between* are left to do."),
            Mistake(lambda x, eps, now, later: (later / now) * x + (1 - later / now) * eps,
                    "The right share, without its roots: a share of variance, used as a factor."),
            Mistake(lambda x, eps, now, later: (later / now) ** 0.5 * x + (1 - later) ** 0.5 * eps,
                    "The picture is right, but there is too much noise: x brings its own along. The squares of the two "
                    "factors should sum to 1."),
            Mistake(lambda x, eps, now, later: (later / now) ** 0.5 * x + (now - later) ** 0.5 * eps,
                    "The steps between shrink the old noise, too. So the new noise is more than the difference of the "
                    "two ᾱ. The squares of the factors should sum to 1."),
            Mistake(lambda x, eps, now, later: (1 - now + later) ** 0.5 * x + (now - later) ** 0.5 * eps,
                    "You subtracted the two ᾱ. They are products, and what lies between two products is a quotient."),
        ),
        otherwise="Test it: from now = 1 it should be the closed form, and from now = later it should change nothing.",
        ask=ask_go_on,
    ),
}  # fmt: skip
