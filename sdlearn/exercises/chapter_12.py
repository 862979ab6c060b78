"""The exercises of chapter 12, real weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sdlearn.exercises.core import Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(12)
X, V = torch.randn(2, 4, 3, 5, generator=GENERATOR)
ALPHA_BAR = torch.tensor(0.3)


def ask_places(function: Callable) -> object:
    """Where blocks lie, in U-Nets of two and of one residual block a level; what it gave, if not two numbers."""
    found = [function(n, layers) for n, layers in ((1, 2), (3, 2), (5, 2), (11, 2), (2, 1), (5, 1))]
    found = [place.tolist() if hasattr(place, "tolist") else place for place in found]
    odd = [place for place in found if not isinstance(place, list | tuple)]
    return odd[0] if odd else [number for place in found for number in place]


def ask_belief(function: Callable) -> Tensor:
    """The picture behind one answer."""
    return function(X, V, ALPHA_BAR)


EXERCISES = {
    "12.1": Exercise(
        start="Three parts: how long the text is, the text, the numbers. How many bytes has each?",
        right=8 + 1000 + 2 * 320 * 4 * 3 * 3,
        praise="With this sum a cut download is found before one number is read.",
        mistakes=(
            Mistake(1000 + 2 * 320 * 4 * 3 * 3, "Text and numbers are right. How does a reader know where the text "
                    "ends? Look at the first bytes of section 2."),
            Mistake(8 + 1000 + 4 * 320 * 4 * 3 * 3, "That would be float32. What does the 16 in F16 count?"),
            Mistake(8 + 1000 + 320 * 4 * 3 * 3, "You counted the numbers of the tensor. How many bytes has each of "
                    "them?"),
            Mistake(8 + 1000 + 16 * 320 * 4 * 3 * 3, "16 is a number of bits. Divide: what is it in bytes?"),
            Mistake(2 * 320 * 4 * 3 * 3, "These are the numbers alone. What stands before them in the file?"),
            Mistake(8 + 1000 + 2 * (320 + 4 + 3 + 3), "You added the four sides. Print torch.zeros(2, 3).numel()."),
        ),
        otherwise="Write a file with one small tensor by safetensors.torch.save_file, and take its size apart.",
        tolerance=0,
    ),
    "12.2": Exercise(
        start="How many numbers n does one level take, with `layers` residual blocks and a downsampler?",
        right=lambda n, layers: divmod(n - 1, layers + 1),
        praise="One division is the whole rule. Read backwards it writes the file.",
        mistakes=(
            Mistake(lambda n, layers: divmod(n, layers + 1), "Try n = 1. It must be the first part of block 0: what "
                    "is `input_blocks.0`?"),
            Mistake(lambda n, layers: divmod(n - 1, layers), "Try n = 3 with two layers: it is the downsampler of "
                    "block 0. Does it have a number of its own?"),
            Mistake(lambda n, layers: divmod(n - 1, 3), "Right where each level has two residual blocks. Our own "
                    "model has one: try layers = 1."),
            Mistake(lambda n, layers: divmod(n - 1, layers + 1)[::-1], "Both numbers are there. Which of them is the "
                    "block? Try n = 3."),
            Mistake(lambda n, layers: ((n - 1) / (layers + 1), (n - 1) % (layers + 1)), "b counts blocks: it is a "
                    "whole number. What does Python say to 3 / 2, and to 3 // 2?"),
            Mistake(lambda n, layers: ((n - 1) // (layers + 1), (n - 1) % (layers + 1) + 1), "The block is right. The "
                    "parts count from 0, as all our names do."),
            Mistake(lambda n, layers: divmod(n - 1, 2 * layers + 1), "You count attention as a part. Look at the list "
                    "of section 4: does it have a number n of its own, or the same as its residual block?"),
            Mistake(lambda n, layers: ((n - 1) // (layers + 1), n % (layers + 1)), "The block is right. For the part, "
                    "try n = 1: is it part 0?"),
        ),
        otherwise="Write down the list of section 4 for block 0 and block 1, and compare.",
        ask=ask_places,
    ),
    "12.3": Exercise(
        start="Choose A, B, C or D. Which of them changes the size of a tensor?",
        right="C",
        praise="The matrices that make keys and values of the text have as many columns. All else has to be told.",
        mistakes=(
            Mistake("A", "The same matrix serves any number of heads that divides it: only the cutting differs. "
                    "Build two U-Nets that differ in num_heads, and compare their shapes."),
            Mistake("B", "Both answers are as large as the picture, and section 8 has put the same tensors to both "
                    "uses. Which shape differs? (One answer of the network would tell; here you may not ask it.)"),
            Mistake("D", "The schedule is a list of numbers that the sampler uses. Is it a parameter of the U-Net? "
                    "List its names."),
        ),
        otherwise="Choose A, B, C or D.",
    ),
    "12.4": Exercise(
        start="Draw the circle of section 8. Which arrows do you have, which one do you want, and what is the angle?",
        right=lambda x, v, alpha_bar: alpha_bar**0.5 * x - (1 - alpha_bar) ** 0.5 * v,
        praise="Two products and no division, at every noise level.",
        mistakes=(
            Mistake(lambda x, v, alpha_bar: alpha_bar**0.5 * x + (1 - alpha_bar) ** 0.5 * v, "That turns on, not "
                    "back. Try it on an x and a v that you made of a known picture."),
            Mistake(lambda x, v, alpha_bar: (x - (1 - alpha_bar) ** 0.5 * v) / alpha_bar**0.5, "So one undoes the "
                    "mixture when the answer is the noise. Is v the noise? Put in a known picture."),
            Mistake(lambda x, v, alpha_bar: (1 - alpha_bar) ** 0.5 * x + alpha_bar**0.5 * v, "That is the other row: "
                    "the noise. Which of the two is asked for?"),
            Mistake(lambda x, v, alpha_bar: alpha_bar * x - (1 - alpha_bar) * v, "Right but for the roots: ᾱ is a "
                    "share of variance. Do the squares of your two factors add up to 1?"),
            Mistake(lambda x, v, alpha_bar: (1 - alpha_bar) ** 0.5 * x - alpha_bar**0.5 * v, "The factors have "
                    "changed places. Try ᾱ = 1, no noise at all: x0 must be x."),
        ),
        otherwise="Make x and v from a picture and a noise of your own, and see whether the picture comes back.",
        ask=ask_belief,
    ),
    "12.5": Exercise(
        start="Write 257 with binary digits. How many does it take? Which are kept?",
        right=256,
        praise="From there on, adding one is lost. So sums and norms are kept in float32 even where all else is half.",
        mistakes=(
            Mistake(257, "It takes nine binary digits, and 8 are kept. Which are its neighbours that have 8?"),
            Mistake(258, "That is a neighbour, too, and as near. On a tie the last kept digit must become 0: write "
                    "both neighbours down in binary."),
            Mistake(float("inf"), "That happens in float16, and far later. Which of the two has the range of "
                    "float32?"),
            Mistake(1, "Which of the two would be lost, the large or the small one?"),
        ),
        otherwise="Try it: a tensor with this sum, in torch.bfloat16.",
        tolerance=0,
    ),
    "12.6": Exercise(
        start="Choose A, B, C or D. Which of them lets a stranger's program run?",
        right="B",
        praise="Numbers without a program. If there is no such file, somebody converts it on a machine that has "
        "nothing to lose.",
        mistakes=(
            Mistake("A", "The switch is for the whole file, not for this one name: whatever else it asks for will "
                    "run, too. Load section 1's file in this way."),
            Mistake("C", "A name is not a format. Rename section 1's file, and read it with read_header."),
            Mistake("D", "That it does not complain is the danger: it calls what the file asks for. Do it with "
                    "section 1's greeting."),
        ),
        otherwise="Choose A, B, C or D.",
    ),
}  # fmt: skip
