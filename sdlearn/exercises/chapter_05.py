"""The exercises of chapter 05, latent diffusion."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sdlearn.exercises.core import Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(5)
SCALE, KEPT = 0.2, torch.tensor(0.3)
LATENT = 5 * torch.randn(4, 3, 5, generator=GENERATOR)
NOISE = torch.randn(4, 3, 5, generator=GENERATOR)


def ask_mixture(function: Callable) -> Tensor:
    """From an autoencoder's own latents to what the U-Net is shown, at one noise level."""
    return function(LATENT, SCALE, KEPT, NOISE)


EXERCISES = {
    "05.1": Exercise(
        start="How many blocks of 8 pixels fit side by side into 768, how many one below the other into 512?",
        right=[4, 64, 96],
        praise="The noise has this shape, and the picture follows it. Nothing of it is in the prompt.",
        mistakes=(
            Mistake([4, 96, 64], "All three numbers are there. Which side is which? Look at how `drawn` of section 6 "
                    "makes the noise of a wide picture."),
            Mistake([4, 16, 16], "That is the noise of this chapter's own pictures, 128 pixels wide and high. Which "
                    "size is asked for?"),
            Mistake([3, 64, 96], "These are the colours of a picture. How many channels has this autoencoder's code?"),
            Mistake([3, 512, 768], "That is the picture. The noise is drawn where the U-Net works: behind the "
                    "encoder."),
            Mistake([4, 512, 768], "The channels are the latents', the places are still pixels: one place stands for "
                    "a block of them."),
            Mistake([4, 64, 64], "That is a square. The trained size does not decide: what is asked for does."),
            Mistake([4, 8, 12], "You divided by 64. The blocks are 8 wide and 8 high, and each side is divided by "
                    "its own 8."),
        ),
        otherwise="Channels first, then the rows, then the columns.",
        tolerance=0,
    ),
    "05.2": Exercise(
        start="How many times fewer *places* are there? A pair is a choice of two of them.",
        right=256,
        praise="The places are 16 times fewer, the pairs 16 times 16. This is why attention hardly ever sees full "
        "pictures.",
        mistakes=(
            Mistake(16, "So many times fewer places. Attention compares each with *each*."),
            Mistake(4, "So many times narrower. The picture is lower by the same factor, and pairs are counted."),
            Mistake(64, "You multiplied three fours. Count sides, then places, then pairs, one after the other."),
            Mistake(4096, "That is this chapter's autoencoder, with sides 8 times shorter. Here they are 4 times "
                    "shorter."),
            Mistake(1 / 256, "That is what is left, as a share. How many *times fewer* is asked: the other way round."),
            Mistake(8, "Doubling is not squaring: write down both numbers of places for a picture of 32 x 32."),
        ),
        otherwise="Take a picture of 32 x 32 pixels, count places and pairs, then the same for 8 x 8 latents.",
        tolerance=0,
    ),
    "05.3": Exercise(
        start="Two steps: into the U-Net's scaling, then the closed form of chapter 01.",
        right=lambda latent, scale, kept, noise: kept**0.5 * scale * latent + (1 - kept) ** 0.5 * noise,
        praise="First to spread 1, then the noise of spread 1: so the schedule means what it says.",
        mistakes=(
            Mistake(lambda latent, scale, kept, noise: kept**0.5 * latent + (1 - kept) ** 0.5 * noise,
                    "These latents are the autoencoder's own. Print their spread, and compare it with the noise's."),
            Mistake(lambda latent, scale, kept, noise: kept**0.5 * latent / scale + (1 - kept) ** 0.5 * noise,
                    "That is the direction *out of* the U-Net, before decoding. Print the spread of latent / scale."),
            Mistake(lambda latent, scale, kept, noise: scale * (kept**0.5 * latent + (1 - kept) ** 0.5 * noise),
                    "You scaled the noise, too. It has the right spread already: try it with a latent of zeros."),
            Mistake(lambda latent, scale, kept, noise: kept * scale * latent + (1 - kept) * noise,
                    "The scaling is right; ᾱ and 1 - ᾱ are shares of *variance*. Print the variance of the result "
                    "for latents of spread 1."),
            Mistake(lambda latent, scale, kept, noise: scale * latent + (1 - kept) ** 0.5 * noise,
                    "The picture's part stays as large as it was, however much noise there is. Try ᾱ = 0: something "
                    "of the latent is still there."),
        ),
        otherwise="Try it with a latent of zeros: only the noise's part must be left. Then with a noise of zeros.",
        ask=ask_mixture,
    ),
    "05.4": Exercise(
        start="The signal-to-noise ratio compares variances. How many times too large is the *spread*?",
        right=25,
        praise="The whole schedule is shifted: what is called nearly pure noise still shows the picture.",
        mistakes=(
            Mistake(5, "So many times too large is the *spread*. Look at ᾱ / (1 - ᾱ) and at the mixing formula: is ᾱ "
                    "what the picture is multiplied by?"),
            Mistake(0.2, "That is the factor which was forgotten. Is the signal too strong or too weak without it, and "
                    "is the ratio one of spreads?"),
            Mistake(0.04, "The square is right, the direction is not: without the factor, are the latents larger or "
                    "smaller than they should be?"),
            Mistake(1, "If signal and noise were both five times too large, yes. Was the noise made larger?"),
            Mistake(10, "Twice is not the square. Compute the variance of five times something."),
        ),
        otherwise="Draw latents of spread 1 and of spread 5, and divide their variances.",
        tolerance=0,
    ),
    "05.5": Exercise(
        start="Choose A, B, C or D. Which of them hands the U-Net just what it would get if the encoder ran in "
        "each step?",
        right="C",
        praise="Twice the encoding, once, and twice the room. Every change at random has this price, so it is "
        "prepared for as many variants as one wants.",
        mistakes=(
            Mistake("A", "Nearly a mirrored picture, but is it exactly what the encoder says of one? Its filters are "
                    "not symmetric. Encode a picture and its mirror image, flip one of the two, subtract."),
            Mistake("B", "Noise is noise, mirrored or not: the network sees the same pictures as before. Whose turn is "
                    "it to change?"),
            Mistake("D", "That mirrors what comes out. The network still learns from the same pictures, and nothing "
                    "else."),
        ),
        otherwise="Choose A, B, C or D.",
    ),
}  # fmt: skip
