"""Chapter 09, guidance: what is asked, what people take for the answer, and what to tell them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sdlearn.exercises.core import Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(9)
B, C, N1, N2, SLOPE = torch.randn(5, 6, generator=GENERATOR, dtype=torch.float64)


def ask_guided_eps(guide: Callable) -> list[Tensor]:
    """Three noise levels and scales: each (6,)."""
    return [guide(C, SLOPE, alpha_bar, scale) for alpha_bar, scale in ((0.3, 2.0), (0.75, 5.0), (0.9, 1.0))]


def ask_two_negatives(mix: Callable) -> list[Tensor]:
    """Three choices of strengths: each (6,)."""
    return [
        mix(B, C, N1, N2, *strengths) for strengths in ((5.0, 2.0, 0.5), (1.0, 0.3, 1.5), (7.5, 0.0, 3.0))
    ]


def ask_without_prompt(find: Callable) -> list[Tensor]:
    """C out of E, B and the scale: each (6,)."""
    return [find(C + scale * (B - C), B, scale) for scale in (3.0, 7.5, 0.25)]


EXERCISES = {
    "09.1": Exercise(
        start="D = B - C and E = C + s · D, number by number. The answer is a list of two.",
        right=[4.0, -3.0],
        praise="D is [1, -2]. E lies on the line from C through B, three times as far from C as B does.",
        mistakes=(
            Mistake(
                [5.0, -5.0],
                "You began at B. Then scale 0 would be the prompt alone; try it: where must E be at 0?",
            ),
            Mistake(
                [-1.0, 7.0],
                "You exchanged the two answers, and walked from the prompt's away. Is E nearer to B now?",
            ),
            Mistake(
                [-2.0, 9.0],
                "You began at C, but walked backwards: D is *with* minus *without*. Is E nearer to B now?",
            ),
            Mistake(
                [3.0, -6.0],
                "That is s · D alone: a difference of two noises, not a noise. What is it added to?",
            ),
            Mistake([6.0, 3.0], "You multiplied B. With B = C, what should guidance change?"),
            Mistake([7.0, 6.0], "You multiplied B and added C. What should E be at scale 1?"),
        ),
        otherwise="Find D first: with the prompt minus without. Then go s times along it, from C.",
    ),
    "09.2": Exercise(
        start="Sort their formula by ε(c) and ε(∅), and ours too: C + s · (B - C). Compare what stands before ε(c).",
        right=6.5,
        praise="1 + w = s. Some programs count like the paper, so a scale of 7.5 there is 8.5 elsewhere.",
        mistakes=(
            Mistake(
                7.5,
                "You took both scales for the same. Put w = 0 into theirs, s = 0 into ours: which prompt is asked?",
            ),
            Mistake(
                8.5, "The other way round. Which of the two is larger? Look at plain, without any guidance."
            ),
            Mistake(-6.5, "That is what stands before ε(∅), with its sign; theirs is -w. And w?"),
        ),
        otherwise="Sort ours by B and C, as theirs is sorted. Then compare what stands before the prompt's answer.",
    ),
    "09.3": Exercise(
        start="Within the interval, how many questions has a step? And outside, where the prompt is asked alone?",
        right=28,
        praise="8 · 2 + 12 · 1. An interval saves time, too.",
        mistakes=(
            Mistake(
                40, "That is a run without an interval. What does the network do in a step outside of it?"
            ),
            Mistake(
                16, "You left the steps outside out. They are not skipped: no guidance is not no denoising."
            ),
            Mistake(
                32, "You exchanged inside and outside: which of them need the answer without the prompt?"
            ),
            Mistake(
                20, "One answer a step. With guidance a step has two questions, even if they share one call."
            ),
        ),
        otherwise="Count the steps inside and outside, and the questions in each.",
    ),
    "09.4": Exercise(
        start="Write Bayes' rule with scores, then multiply by what turns a score into ε in this scaling. "
        "(alpha_bar is a plain number.)",
        right=lambda eps, slope, alpha_bar, scale: eps - scale * (1 - alpha_bar) ** 0.5 * slope,
        praise="Equation 14 of Dhariwal and Nichol, with the scale. In our x, which is 1/√ᾱ times theirs, slopes are "
        "√ᾱ times theirs; so there √(1 - ᾱ)/√ᾱ = σ stands before them.",
        mistakes=(
            Mistake(
                lambda eps, slope, alpha_bar, scale: eps + scale * (1 - alpha_bar) ** 0.5 * slope,
                "The sign: a sampler walks against ε. Try one step: does log p(c | x) grow?",
            ),
            Mistake(
                lambda eps, slope, alpha_bar, scale: (
                    eps - scale * ((1 - alpha_bar) / alpha_bar) ** 0.5 * slope
                ),
                "You multiplied by σ: that belongs to the other scaling, x₀ + σ ε. A slope changes when x is "
                "stretched.",
            ),
            Mistake(
                lambda eps, slope, alpha_bar, scale: eps - scale * (1 - alpha_bar) * slope,
                "You multiplied by a variance. Compare with the score that the exercise gives you: root or no root?",
            ),
            Mistake(
                lambda eps, slope, alpha_bar, scale: eps - scale * slope,
                "The slope was taken as it is. It is a score, and ε is not: see what stands between them.",
            ),
            Mistake(
                lambda eps, slope, alpha_bar, scale: eps - (1 - alpha_bar) ** 0.5 * slope,
                "The scale is missing. What does your function give for scale 0?",
            ),
            Mistake(
                lambda eps, slope, alpha_bar, scale: eps - scale * slope / (1 - alpha_bar) ** 0.5,
                "You divided. The exercise writes ε as something *times* the score.",
            ),
            Mistake(
                lambda eps, slope, alpha_bar, scale: eps - scale * alpha_bar**0.5 * slope,
                "You took the picture's share of x. Which of the two roots stands before ε?",
            ),
            Mistake(
                lambda eps, slope, alpha_bar, scale: -scale * (1 - alpha_bar) ** 0.5 * slope,
                "That is the compass alone. What is left at scale 0?",
            ),
        ),
        otherwise="Guided score = score + scale · slope. Turn both scores of this line into ε.",
        ask=ask_guided_eps,
    ),
    "09.5": Exercise(
        start="Every walk begins at C, and each direction is a difference from C.",
        right=lambda b, c, n1, n2, s, p, q: c + s * (b - c) - p * (n1 - c) - q * (n2 - c),
        praise="All directions are differences of two answers, so the noise itself is counted once. p = s - 1, q = 0 "
        "is the formula of real programs; p = s is the one of section 8 that lost the cat.",
        mistakes=(
            Mistake(
                lambda b, c, n1, n2, s, p, q: c + s * (b - c) - p * n1 - q * n2,
                "You subtracted the answers themselves. Each is nearly all of the noise; set N₁ = C: what should "
                "remain?",
            ),
            Mistake(
                lambda b, c, n1, n2, s, p, q: c + s * (b - c) + p * (n1 - c) + q * (n2 - c),
                "You walk *towards* the unwanted. Which way is back?",
            ),
            Mistake(
                lambda b, c, n1, n2, s, p, q: c + s * (b - c - p * (n1 - c) - q * (n2 - c)),
                "You multiplied the ways back by s, too. What happens with them in your formula when s is doubled?",
            ),
            Mistake(
                lambda b, c, n1, n2, s, p, q: c + s * (b - c) - p * (b - n1) - q * (b - n2),
                "Your ways back begin at B. With s = 0, should B matter?",
            ),
        ),
        otherwise="Try N₁ = N₂ = C: then the answer must be guidance as before. Next, let only N₁ differ.",
        ask=ask_two_negatives,
    ),
    "09.6": Exercise(
        start="E = C + s · (B - C) is an equation with one unknown. Gather what stands before C.",
        right=lambda e, b, scale: (e - scale * b) / (1 - scale),
        praise="C is multiplied by 1 - s, a negative number when s is above 1. At s = 1 it cannot be found: C plays "
        "no part.",
        mistakes=(
            Mistake(
                lambda e, b, scale: (e - scale * b) / (1 + scale),
                "A sign: C stands in the formula twice, once with a minus. How often in all?",
            ),
            Mistake(
                lambda e, b, scale: e - scale * b,
                "You forgot what C is multiplied by. Put B = C = E in: does your function give C?",
            ),
            Mistake(
                lambda e, b, scale: (e - scale * b) / (scale - 1),
                "The sign of the divisor. Put B = C = E in, with a scale of 3: what comes out?",
            ),
            Mistake(
                lambda e, b, scale: b - (e - b) / scale,
                "You solved E = B + s · (B - C), the way from B. Where does guidance begin?",
            ),
            Mistake(
                lambda e, b, scale: b - e / scale,
                "You divided E, but E holds a C that is not multiplied by s. Put B = C = E in: what comes out?",
            ),
            Mistake(
                lambda e, b, scale: e - scale * (b - e),
                "You put E where C belongs: you do not know B - C. How long is B - E, against B - C?",
            ),
        ),
        otherwise="Take B = 1 and C = 0. What is E? What does your function make of it, and what should it give?",
        ask=ask_without_prompt,
    ),
}
