"""The exercises of chapter 02, noise prediction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sdlearn.exercises.core import Exercise, Mistake

KEPT = torch.tensor(0.3)  # of the variance
GENERATOR = torch.Generator().manual_seed(2)
PICTURE = torch.rand(3, 4, 4, generator=GENERATOR) * 2 - 1
NOISE = torch.randn(3, 4, 4, generator=GENERATOR)


def ask_noise(function: Callable) -> Tensor:
    """From a noisy picture and its clean one to the noise, at one noise level."""
    return function(KEPT.sqrt() * PICTURE + (1 - KEPT).sqrt() * NOISE, PICTURE, KEPT)


EXERCISES = {
    "02.1": Exercise(
        start="Call the two noises a and b. What is the mean of (a - b)²? Multiply it out.",
        right=2.0,
        praise="Two independent noises: the variances of both add up. Guessing at random is twice as bad as saying "
        "nothing.",
        mistakes=(
            Mistake(1.0, "That is the loss of the answer 0. This one answers with a noise of its own, which the "
                    "difference gets on top: its variance is 1, too."),
            Mistake(0.0, "Both are noise of the same kind, but not the *same* noise: their difference is not 0, "
                    "pixel by pixel. Only its mean is. The loss squares it first."),
            Mistake(2**0.5, "That is the standard deviation of the difference. The loss is a mean of squares: no "
                    "root is taken."),
            Mistake(4.0, "You added the strengths, 1 + 1, and squared. The two are independent, so they partly cancel: "
                    "variances add up."),
        ),
        otherwise="Try it: torch.randn twice, the difference, its square, the mean.",
    ),
    "02.2": Exercise(
        start="Choose A, B, C or D. From which end does PyTorch line up the axes of two shapes?",
        right="D",
        praise="(32,) lands on the axis of the width, and no error tells you. With 31 pictures you would have been "
        "lucky: an error.",
        mistakes=(
            Mistake("A", "That would be so with 31 pictures. But 32 numbers fit an axis of length 32: which one?"),
            Mistake("B", "PyTorch does not know which axis means what. It lines shapes up from the last axis, and the "
                    "batch's is the first."),
            Mistake("C", "For that ᾱ would have to be one number. There are 32 of them, and each goes somewhere: along "
                    "which axis?"),
        ),
        otherwise="Choose A, B, C or D.",
    ),
    "02.3": Exercise(
        start="Solve the closed form, x = √ᾱ x0 + √(1 - ᾱ) ε, for ε.",
        right=lambda x, x0, kept: (x - kept**0.5 * x0) / (1 - kept) ** 0.5,
        praise="The two answers hold the same knowledge: from one follows the other. Section 8's dream uses this line.",
        mistakes=(
            Mistake(lambda x, x0, kept: x - x0,
                    "You subtracted the picture at full size. In x it has been shrunk by √ᾱ, and the noise was made "
                    "quieter, too."),
            Mistake(lambda x, x0, kept: x - kept**0.5 * x0,
                    "The picture is out. What is left is √(1 - ᾱ) of the noise: bring it back to variance 1."),
            Mistake(lambda x, x0, kept: (x - kept * x0) / (1 - kept),
                    "The right idea without the roots: ᾱ and 1 - ᾱ are shares of variance, and a factor acts on the "
                    "variance by its square."),
            Mistake(lambda x, x0, kept: (x - (1 - kept) ** 0.5 * x0) / kept**0.5,
                    "That is `belief` with x0 in the noise's place: √ᾱ belongs to the picture, √(1 - ᾱ) to the noise."),
            Mistake(lambda x, x0, kept: (x - x0) / (1 - kept) ** 0.5,
                    "The picture in x has been shrunk: subtract √ᾱ of it, not all."),
            Mistake(lambda x, x0, kept: (x - x0) * (kept / (1 - kept)) ** 0.5,
                    "This is ε = (x - x0) / σ, for a picture of full size. This x has been shrunk by √ᾱ: undo that "
                    "first."),
        ),
        otherwise="Put your answer back: √ᾱ times x0 plus √(1 - ᾱ) times it should be x again.",
        ask=ask_noise,
    ),
    "02.4": Exercise(
        start="How many numbers does the filter of *one* output channel have? It looks at all input channels.",
        right=73856,
        praise="It has no say how large the picture is: the same filter is used at every place.",
        mistakes=(
            Mistake(73728, "The weights are all there. Each output channel also has a number that is added: the bias."),
            Mistake(1152 + 128, "That would be one 3 x 3 filter an output channel. But each of them looks at all 64 "
                    "input channels."),
            Mistake(704, "That is *one* filter, with all the biases. Each output channel has a filter of its own."),
            Mistake(577, "That is the filter of one output channel. There are 128 of them."),
            Mistake(1728, "You added the channels, (64 + 128) · 9. Each output channel has a filter for *each* input "
                    "channel: multiply."),
            Mistake(1728 + 128, "You added the channels, (64 + 128) · 9. Each output channel has a filter for *each* "
                    "input channel: multiply."),
            Mistake(64 * 128 + 128, "That is a filter of 1 x 1. This one sees 3 x 3 places."),
            Mistake(73792, "Nearly. A bias belongs to each *output* channel; you have counted one an input channel."),
        ),
        otherwise="Output channels times input channels times 3 times 3, and then the biases. nn.Conv2d(64, 128, 3) "
        "can be asked.",
        tolerance=0,
    ),
    "02.5": Exercise(
        start="Follow the left side in the code: what is put on the list before the first level, and what by each "
        "DownBlock?",
        right=12,
        praise="conv_in, two a level, and three halvings. And each of the 4 · 3 blocks on the right takes one.",
        mistakes=(
            Mistake(4, "One a level is the usual drawing of a U. In the code each residual block hands its result "
                    "across, and each halving does."),
            Mistake(3, "You counted the halvings. They hand their result across, and the residual blocks do, too."),
            Mistake(8, "You counted the residual blocks, two a level. What else does a DownBlock put on its list? And "
                    "what is on the list before the first level?"),
            Mistake(11, "Nearly: one result is on the list before the first DownBlock is asked."),
            Mistake(13, "The last level does not halve: `last` in DownBlock."),
            Mistake(9, "You counted conv_in and the residual blocks. What does a DownBlock put on its list after "
                    "halving?"),
            Mistake(16, "The right side has as many blocks as there are skips. How many does one UpBlock make?"),
        ),
        otherwise="One for conv_in; then each level gives its residual blocks, and one more if it halves. The right "
        "side must use up exactly as many.",
    ),
    "02.6": Exercise(
        start="Choose A, B, C or D. The noise was drawn without looking at any picture. Which answer does the "
        "*training* reward then?",
        right="C",
        praise="Of all answers the mean has the smallest squared error. Dreams get sharp only because the loop of "
        "section 8 asks again and again.",
        mistakes=(
            Mistake("A", "Nothing in pure noise says which animal. A sharp cat is far off whenever it was a dog: "
                    "the loss punishes decisions that it cannot know."),
            Mistake("B", "It has not kept the pictures, only weights. To commit itself to one picture would cost it "
                    "dearly whenever it was another."),
            Mistake("D", "It is never trained to answer noise any more: what it is compared with is x0."),
        ),
        otherwise="Choose A, B, C or D.",
    ),
}  # fmt: skip
