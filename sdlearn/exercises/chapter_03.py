"""Chapter 03, samplers: what is asked, what people take for the answer, and what to tell them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sdlearn.exercises.core import Exercise, Mistake
from sdlearn.trace import Prediction

NO_SLOPE = "a Prediction was taken for a slope"
GENERATOR = torch.Generator().manual_seed(3)
X, V = torch.randn(2, 6, generator=GENERATOR, dtype=torch.float64)


def bent(x: Tensor, sigma: float) -> Prediction:
    """A denoiser whose slope changes along a step, and with x: which x and which sigma are asked for matters."""
    eps = torch.sin(x) + sigma**2 / 3
    return Prediction(x0=x - sigma * eps, eps=eps)


def ask_v_step(step: Callable) -> list[Tensor]:
    """Three steps from X, where the network answers V: each (6,)."""
    levels = torch.tensor([[0.3, 0.6], [0.1, 0.9], [0.64, 0.8]], dtype=torch.float64)
    return [step(X, V, here, there) for here, there in levels]


def ask_midpoint(step: Callable) -> list[Tensor] | str:
    """Two steps of a sampler along ``bent``: each (6,); a text where it took a Prediction for a slope."""
    try:
        ends = [step(bent, X, sigma, after) for sigma, after in ((3.0, 1.0), (0.8, 0.5))]
    except TypeError as error:
        if "Prediction" in str(error):
            return NO_SLOPE
        raise
    return NO_SLOPE if any(isinstance(end, Prediction) for end in ends) else ends


def parts(x: Tensor, v: Tensor, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """(x0, eps) of x in the papers' scaling: the inverse of a rotation."""
    picture, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    return picture * x - noise * v, noise * x + picture * v


def v_step(x: Tensor, v: Tensor, here: Tensor, there: Tensor) -> Tensor:
    x0, eps = parts(x, v, here)
    return there**0.5 * x0 + (1 - there) ** 0.5 * eps


def v_taken_for_eps(x: Tensor, v: Tensor, here: Tensor, there: Tensor) -> Tensor:
    x0 = (x - (1 - here) ** 0.5 * v) / here**0.5
    return there**0.5 * x0 + (1 - there) ** 0.5 * v


def sign_of_v(x: Tensor, v: Tensor, here: Tensor, there: Tensor) -> Tensor:
    return v_step(x, -v, here, there)


def exchanged(x: Tensor, v: Tensor, here: Tensor, there: Tensor) -> Tensor:
    eps, x0 = parts(x, v, here)
    return there**0.5 * x0 + (1 - there) ** 0.5 * eps


def sign_in_x0(x: Tensor, v: Tensor, here: Tensor, there: Tensor) -> Tensor:
    x0, eps = parts(x, -v, here)[0], parts(x, v, here)[1]
    return there**0.5 * x0 + (1 - there) ** 0.5 * eps


def sign_in_eps(x: Tensor, v: Tensor, here: Tensor, there: Tensor) -> Tensor:
    x0, eps = parts(x, v, here)[0], parts(x, -v, here)[1]
    return there**0.5 * x0 + (1 - there) ** 0.5 * eps


def without_roots(x: Tensor, v: Tensor, here: Tensor, there: Tensor) -> Tensor:
    x0, eps = parts(x, v, here)
    return there * x0 + (1 - there) * eps


def midpoint(denoise: Callable, x: Tensor, sigma: float, after: float) -> Tensor:
    middle = (sigma + after) / 2
    there = x + (middle - sigma) * denoise(x, sigma).eps
    return x + (after - sigma) * denoise(there, middle).eps


def second_half_only(denoise: Callable, x: Tensor, sigma: float, after: float) -> Tensor:
    middle = (sigma + after) / 2
    there = x + (middle - sigma) * denoise(x, sigma).eps
    return there + (after - middle) * denoise(there, middle).eps


def whole_step_first(denoise: Callable, x: Tensor, sigma: float, after: float) -> Tensor:
    there = x + (after - sigma) * denoise(x, sigma).eps
    return x + (after - sigma) * denoise(there, (sigma + after) / 2).eps


def as_heun(denoise: Callable, x: Tensor, sigma: float, after: float) -> Tensor:
    slope = denoise(x, sigma).eps
    return x + (after - sigma) * (slope + denoise(x + (after - sigma) * slope, after).eps) / 2


def backwards(denoise: Callable, x: Tensor, sigma: float, after: float) -> Tensor:
    middle = (sigma + after) / 2
    there = x + (sigma - middle) * denoise(x, sigma).eps
    return x + (sigma - after) * denoise(there, middle).eps


def geometric(denoise: Callable, x: Tensor, sigma: float, after: float) -> Tensor:
    middle = (sigma * after) ** 0.5
    there = x + (middle - sigma) * denoise(x, sigma).eps
    return x + (after - sigma) * denoise(there, middle).eps


def without_eps(denoise: Callable, x: Tensor, sigma: float, after: float) -> Tensor:
    there = x + (after - sigma) / 2 * denoise(x, sigma)
    return x + (after - sigma) * denoise(there, (sigma + after) / 2)


def same_level(denoise: Callable, x: Tensor, sigma: float, after: float) -> Tensor:
    there = x + (after - sigma) / 2 * denoise(x, sigma).eps
    return x + (after - sigma) * denoise(there, sigma).eps


def just_euler(denoise: Callable, x: Tensor, sigma: float, after: float) -> Tensor:
    return x + (after - sigma) * denoise(x, sigma).eps


EXERCISES = {
    "03.1": Exercise(
        start="Euler's line is x′ = x + (σ′ - σ) ε. What are σ and σ′ here?",
        right=0.8,
        praise="2 - 0.4 · 3. A step to zero removes all the noise that is seen, so it ends at the belief x₀.",
        mistakes=(
            Mistake(3.2, "The sign: your noise was added. σ′ - σ is negative, since the noise becomes less."),
            Mistake(-1.0, "You took away ε itself. ε has strength 1; in x it is σ times as strong."),
            Mistake(2.0, "You left x where it is. Even the last step removes noise: that of σ = 0.4."),
            Mistake(0.0, "The *noise level* becomes 0, not the point. What is left of x without its noise?"),
        ),
        otherwise="Put the three numbers into x + (σ′ - σ) ε, with σ′ = 0.",
    ),
    "03.2": Exercise(
        start="Look at heun: how often does it call denoise in a usual step, and how often in the last one?",
        right=19,
        praise="Two a step, and one in the last: at σ = 0 there is no ε to ask for.",
        mistakes=(
            Mistake(10, "You counted one evaluation a step. Heun asks at both ends; compare methods by their *cost*."),
            Mistake(20, "Nearly. Is the network asked at σ = 0? Look at the `if` in heun."),
            Mistake(11, "That is PLMS, whose first step alone is Heun's. And Heun's own run?"),
            Mistake(18, "Nearly. The last step asks less often, but it does ask: at its beginning."),
        ),
        otherwise="Count the calls of denoise: in a step with sigma_next > 0, and in the last step.",
    ),
    "03.3": Exercise(
        start="Second order: the error falls like steps to the power -2. How many times as many steps are 40?",
        right=0.005,
        praise="Four times the steps, a sixteenth of the error. (If the steps are small enough, and no earlier.)",
        mistakes=(
            Mistake(0.02, "The error was divided by four, like the steps multiplied: *first* order, Euler's."),
            Mistake(0.04, "You halved the error once. How often are the steps doubled, and what does *each* doubling "
                    "do at second order?"),
            Mistake(0.01, "The error was divided by eight, as at order 1.5. Each doubling divides by 2² = 4, and "
                    "there are two of them."),
            Mistake(0.0003125, "That is fourth order: you divided by 4⁴. The order is the exponent."),
            Mistake(0.08**2, "You squared the error. It is the *number of steps* that is raised to the power -2."),
        ),
        otherwise="error · steps² stays the same: 0.08 · 10² = ? · 40².",
    ),
    "03.4": Exercise(
        start="Two unknowns. One equation: variances add up to σ′². The other stands in euler_ancestral, in "
        "section 4. The answer is a list: [down, up].",
        right=[3.2, 2.4],
        praise="3.2² + 2.4² = 4²: old and new noise together are just the noise of the next level.",
        mistakes=(
            Mistake([1.6, 2.4], "σ↑ is right. For σ↓ you subtracted strengths; it is *variances* that add up to σ′²."),
            Mistake([2.4, 3.2], "The two have changed places: [down, up]."),
            Mistake([10.24, 5.76], "These are variances. A strength is the root of one."),
            Mistake([3.2, 5.76], "σ↓ is right. The fresh noise is multiplied by a strength, not by a variance."),
            Mistake([7**0.5, 3.0], "Your σ↑ leads from 4 up to 5. Going back, part of that noise is in x already: it "
                    "is old noise, not fresh. Compare with the line `up = …` of euler_ancestral."),
            Mistake([3.0, 1.0], "You subtracted strengths, 5 - 4 and 4 - 1. It is *variances* that add up; and for up "
                    "read the line `up = …` of euler_ancestral."),
            Mistake([4.0, 3.0], "You went down to 4 and then added noise: you end above 4. Come up to 4 from below."),
            Mistake([4.0, 2.4], "You went down to 4 and then added noise: you end above 4. Come up to 4 from below."),
            Mistake([4.0, 0.0], "That is η = 0: Euler, without fresh noise."),
        ),
        otherwise="Do your two fulfil the equation of section 4: is down² + up² the variance of the next level? If so, "
        "read the line `up = …` of euler_ancestral again, with η = 1.",
    ),
    "03.5": Exercise(
        start="Two equations, two unknowns: x and v in x₀ and ε. Or draw (x₀, ε) as an arrow: what do x and v "
        "do to it?",
        right=v_step,
        praise="(x, v) is (x₀, ε), turned by an angle. Turn back, and the rest is DDIM as before.",
        mistakes=(
            Mistake(v_taken_for_eps, "You took v for the noise ε. At ᾱ near 1 the two agree, and nowhere else. First "
                    "turn x and v into x₀ and ε."),
            Mistake(lambda x, v, here, there: x, "Nothing has moved: you took x₀ and ε out and put them together at "
                    "one and the same level. x and v belong to ᾱ, the level *before* the step; the next ᾱ is for "
                    "putting together."),
            Mistake(sign_of_v, "The sign of v is wrong in both: you turned the arrow onwards, not back. Put x = √ᾱ x₀ "
                    "+ √(1 - ᾱ) ε and v into your lines: does x₀ come out?"),
            Mistake(sign_in_x0, "ε is right. In x₀ the sign of v is wrong: put x and v into it; ε must cancel."),
            Mistake(sign_in_eps, "x₀ is right. In ε the sign of v is wrong: put x and v into it; x₀ must cancel."),
            Mistake(exchanged, "x₀ and ε have changed places, when you took them out or when you put them together. At "
                    "ᾱ = 1 there is no noise: which of the two is x there?"),
            Mistake(without_roots, "x₀ and ε are right. Put together, they need roots: ᾱ is a share of variance."),
            Mistake(lambda x, v, here, there: there**0.5 * parts(x, v, here)[0],
                    "You put no noise back. This is a shrunk x₀, and the network will look for noise in it."),
            Mistake(lambda x, v, here, there: parts(x, v, here)[0],
                    "That is x₀: the jump of section 1. Put it together with ε at the next level."),
        ),
        otherwise="Two steps: x₀ and ε from x, v and ᾱ. Then √ᾱ′ x₀ + √(1 - ᾱ′) ε. Try ᾱ′ = ᾱ: x must come out.",
        ask=ask_v_step,
    ),
    "03.6": Exercise(
        start="The middle is (σ + σ′) / 2. Take an Euler step to it, call denoise there, and start again from x.",
        right=midpoint,
        praise="The slope in the middle stands for the whole step: order 2 for two evaluations, like Heun.",
        mistakes=(
            Mistake(just_euler, "That is Euler: the slope at the beginning. Ask in the middle, and use that answer."),
            Mistake(second_half_only, "You took two Euler steps of half the length: order 1 still. The middle's slope "
                    "is to be used for the *whole* step, from x."),
            Mistake(whole_step_first, "You asked with the x of the end and the σ of the middle. They must belong "
                    "together: step to the middle only."),
            Mistake(same_level, "x is in the middle, but you told the network the σ of the beginning. They must belong "
                    "together."),
            Mistake(as_heun, "That is Heun: the mean of the slopes at both ends. Here one is used, the middle's."),
            Mistake(geometric, "The middle of σ and σ′ is meant, not that of their logarithms."),
            Mistake(without_eps, "denoise returns a Prediction, a pair; its `.eps` is the slope."),
            Mistake(backwards, "The sign: your steps lead to more noise. A step's length is σ′ - σ, below zero."),
        ),
        otherwise="Test it where the slope is the same everywhere: it should do what Euler does. Then check that x and "
        "σ in your second call belong together.",
        ask=ask_midpoint,
    ),
}  # fmt: skip
