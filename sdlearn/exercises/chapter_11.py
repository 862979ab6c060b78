"""Chapter 11, image to image and inpainting: what is asked, what people take for the answer, and what to tell them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from sdlearn.exercises.core import Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(11)
KNOWN, NOISE, STEPPED = torch.randn(3, 2, 3, 4, 4, generator=GENERATOR, dtype=torch.float64)
SIGMAS = (14.6, 5.1, 2.3, 1.2, 0.6, 0.0)
CELL_MASK = (torch.rand(2, 1, 4, 4, generator=GENERATOR) > 0.5).double()
MASK = (torch.rand(2, 1, 32, 32, generator=GENERATOR) > 0.97).float()
MASK[:, :, :8, :8] = 1.0  # a cell that is white all over
MASK[:, :, 16:24, :7] = 1.0  # one that mostly is
MASK[:, :, 24:, 24:] = 0.0  # and one that is black


def ask_begin(begin: Callable) -> list[Tensor]:
    """Three entries, the first of all among them: each (2, 3, 4, 4)."""
    return [begin(KNOWN, NOISE, SIGMAS, k) for k in (0, 1, 4)]


def ask_cells(cells: Callable) -> list[Tensor]:
    """Two sizes of a cell: (2, 1, 4, 4) and (2, 1, 8, 8)."""
    return [cells(MASK, factor) for factor in (8, 4)]


def ask_known_again(keep: Callable) -> list[Tensor]:
    """Three levels, the last one 0: each (2, 3, 4, 4). Whoever draws noise here draws the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [keep(STEPPED, KNOWN, NOISE, CELL_MASK, sigma) for sigma in (5.1, 0.6, 0.0)]


def ask_variation(mix: Callable) -> list[Tensor]:
    """Shares of variance from none to all: each (2, 3, 4, 4)."""
    return [mix(NOISE, STEPPED, w) for w in (0.0, 0.2, 0.5, 1.0)]


EXERCISES = {
    "11.1": Exercise(
        start="How many steps are walked? They are the last ones. Then count from 0.",
        right=26,
        tolerance=0.0,  # a number of a step
        praise="int(40 · 0.35) = 14 steps are walked, numbers 26 to 39.",
        mistakes=(
            Mistake(
                14,
                "So many steps are walked. But which ones, those at the noisy end, or those at the quiet end?",
            ),
            Mistake(27, "You counted from 1. With strength 1, which number must come out?"),
            Mistake(25, "One step too many is walked, or the noise is one level too high: remember the bug."),
            Mistake(
                13, "You took the strength from the noisy end, and one off. What is skipped at strength 1?"
            ),
        ),
        otherwise="Walked are strength times the steps, at the quiet end. The number of those skipped is the answer.",
    ),
    "11.2": Exercise(
        start="Chapter 01 has the line: a picture at noise level σ. Which σ does the first step expect?",
        right=lambda known, noise, sigmas, k: known + sigmas[k] * noise,
        praise="At the last entry σ is 0, and the picture itself comes out: strength 0.",
        mistakes=(
            Mistake(
                lambda known, noise, sigmas, k: known + sigmas[k - 1] * noise,
                "That is the level before: the bug of this chapter. Which level is the sampler told first?",
            ),
            Mistake(
                lambda known, noise, sigmas, k: known + sigmas[k + 1] * noise,
                "That is the level where the first step ends. Which level does it begin at?",
            ),
            Mistake(
                lambda known, noise, sigmas, k: known + noise,
                "The noise always has the same strength here. Should strength 0.1 and 0.9 begin equally noisy?",
            ),
            Mistake(
                lambda known, noise, sigmas, k: sigmas[k] * noise,
                "There is no picture in it: that is text to image, and from too little noise. What of the sketch?",
            ),
            Mistake(
                lambda known, noise, sigmas, k: known,
                "There is no noise in it: the first attempt of section 2. What had its pictures lost?",
            ),
            Mistake(
                lambda known, noise, sigmas, k: (known + sigmas[k] * noise) / (1 + sigmas[k] ** 2) ** 0.5,
                "That is the other scaling, of spread 1, which the network gets in the end. Samplers want x₀ + σ ε.",
            ),
            Mistake(
                lambda known, noise, sigmas, k: (
                    (1 - sigmas[k] / sigmas[0]) * known + sigmas[k] / sigmas[0] * noise
                ),
                "A cross-fade. Its noise never has more than spread 1; what does the first level ask for?",
            ),
        ),
        otherwise="Try a sketch of zeros: the spread of the answer must be the level that the first step is told.",
        ask=ask_begin,
    ),
    "11.3": Exercise(
        start="Of 8 x 8 zeros and ones you want one number that is 1 if any of them is. Which pooling gives that?",
        right=lambda mask, factor: F.max_pool2d(mask, factor),
        praise="No stroke is torn any more; the price: up to a cell more is painted at each edge.",
        mistakes=(
            Mistake(
                lambda mask, factor: mask[:, :, ::factor, ::factor],
                "The corner decides, as in the package. Try a cell whose only white pixel lies in its middle.",
            ),
            Mistake(
                lambda mask, factor: F.avg_pool2d(mask, factor),
                "You took the share of white pixels: a cell half painted. What does x make of a half-known cell?",
            ),
            Mistake(
                lambda mask, factor: (F.avg_pool2d(mask, factor) >= 0.5).float(),
                "The majority decides. Try a line of 2 pixels through a cell of 8: which cells see it?",
            ),
            Mistake(
                lambda mask, factor: 1 - F.max_pool2d(1 - mask, factor),
                "A cell is painted only if *all* of its pixels are white. Try a single white pixel.",
            ),
            Mistake(
                lambda mask, factor: 1 - F.max_pool2d(mask, factor),
                "That is what to keep. In this course, what is 1 in a mask?",
            ),
        ),
        otherwise="Try a mask with one white pixel: exactly one cell must become 1, wherever the pixel lies.",
        ask=ask_cells,
    ),
    "11.4": Exercise(
        start="Two parts, the mask times one and (1 - mask) times the other. How noisy must the known part be?",
        right=lambda x_next, known, noise, mask, sigma_next: (
            mask * x_next + (1 - mask) * (known + sigma_next * noise)
        ),
        praise="Both parts have the noise of the next level, so the network cannot tell them apart by it.",
        mistakes=(
            Mistake(
                lambda x_next, known, noise, mask, sigma_next: mask * x_next + (1 - mask) * known,
                "You put the known part back without noise. The network is told one level for all of x; is it true?",
            ),
            Mistake(
                lambda x_next, known, noise, mask, sigma_next: (
                    (1 - mask) * x_next + mask * (known + sigma_next * noise)
                ),
                "The mask is the wrong way round: you paint what is known. Try a mask of ones: what should come out?",
            ),
            Mistake(
                lambda x_next, known, noise, mask, sigma_next: (
                    mask * x_next + (1 - mask) * known + sigma_next * noise
                ),
                "The painted part gets noise, too. How noisy is x after the step already?",
            ),
            Mistake(
                lambda x_next, known, noise, mask, sigma_next: mask * x_next + (1 - mask) * (known + noise),
                "The noise has always spread 1. At the end, at level 0, what should the known part be?",
            ),
            Mistake(
                lambda x_next, known, noise, mask, sigma_next: known + sigma_next * noise,
                "The mask plays no part, and nothing is ever painted. Try a mask of ones.",
            ),
            Mistake(
                lambda x_next, known, noise, mask, sigma_next: (
                    mask * x_next + (1 - mask) * (known + sigma_next * torch.randn_like(known))
                ),
                "You draw fresh noise, as RePaint does. What is the argument `noise` for, if all steps share one?",
            ),
        ),
        otherwise=(
            "Try a mask of ones, then one of zeros, then level 0: you know what must come out of each. "
            "And does the same come out when you call it twice?"
        ),
        ask=ask_known_again,
    ),
    "11.5": Exercise(
        start="Variances of independent noises add: p²·1 + q²·1. You know what p² and q² must be.",
        right=lambda a, b, w: (1 - w) ** 0.5 * a + w**0.5 * b,
        praise="The roots' squares add up to 1, like sin² and cos²: a walk along the sphere.",
        mistakes=(
            Mistake(
                lambda a, b, w: (1 - w) * a + w * b,
                "A straight line. Half-way its variance is 1/4 + 1/4. What does the network make of noise too weak?",
            ),
            Mistake(
                lambda a, b, w: a + w**0.5 * b,
                "Nothing of a is taken away, so the variance grows. What comes out at w = 1?",
            ),
            Mistake(
                lambda a, b, w: (1 - w) ** 0.5 * b + w**0.5 * a,
                "You exchanged the two. Which noise should come out at w = 0?",
            ),
            Mistake(
                lambda a, b, w: (1 - w**2) ** 0.5 * a + w * b,
                "The spread is right, but b has the share w² of the variance. Which share is asked for?",
            ),
            Mistake(
                lambda a, b, w: math.cos(w * math.pi / 2) * a + math.sin(w * math.pi / 2) * b,
                "Here w is a share of the *angle*, as in section 5. Which share of the variance has b at w = 1/4?",
            ),
            Mistake(
                lambda a, b, w: ((1 - w) * a + w * b) / ((1 - w) ** 2 + w**2) ** 0.5,
                "A straight line, brought back to spread 1. Which share of the variance has b at w = 1/4?",
            ),
            Mistake(
                lambda a, b, w: (1 - w) ** 0.5 * a - w**0.5 * b,
                "Spread and share are right. But one noise is turned over: which should come out at w = 1?",
            ),
        ),
        otherwise="Compute the variance of your mixture at w = 1/4, and the share of it that comes from b.",
        ask=ask_variation,
    ),
    "11.6": Exercise(
        start="How many channels come in addition? Each filter has 3 x 3 weights for each channel that it reads.",
        right=14400,
        tolerance=0.0,  # a count
        praise="320 filters · 5 channels · 9. The whole network has some 860 million.",
        mistakes=(
            Mistake(
                25920, "That is the whole convolution, with all of its channels. How many has the plain one?"
            ),
            Mistake(
                11520, "You counted the four channels of the picture with its hole. What else does it read?"
            ),
            Mistake(2880, "You counted the mask alone. What else does it read?"),
            Mistake(1600, "One weight a channel: but a filter looks at a place and its neighbours."),
            Mistake(
                28800,
                "Ten channels? Count again: the mask has no colours, and the hole is in the picture's latents.",
            ),
        ),
        otherwise="Filters, times channels that are new, times places of a filter.",
    ),
}
