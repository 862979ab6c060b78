"""The exercises of chapter 04, the autoencoder and its latents."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sdlearn.exercises.core import Exercise, Mistake

CLOUDS = ((0.8, 0.5), (-1.5, 2.0), (0.3, 0.1))  # mean and width
LATENTS = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(4))
FACTOR = 0.2  # not that of the shipped autoencoder


def ask_price(function: Callable) -> list:
    """The divergences of some clouds."""
    return [function(torch.tensor(mean), torch.tensor(std)) for mean, std in CLOUDS]


def ask_decoder(function: Callable) -> Tensor:
    """What the decoder is given."""
    return function(LATENTS, FACTOR)


EXERCISES = {
    "04.1": Exercise(
        start="How high and how wide are the latents? One place stands for 8 x 8 pixels, and there are four sheets.",
        right=24576,
        praise="4 · 96 · 64. Half as many again as for the square of 512. The convolutions work at any size: who wants "
        "another shape of picture begins with another shape of latents.",
        mistakes=(
            Mistake(16384, "That is the square of 512 x 512. This picture is higher: more places, not larger ones."),
            Mistake(3 * 96 * 64, "Places are right. But sheets of latents are no colours: how many has section 1?"),
            Mistake(96 * 64, "Those are the places. How many numbers does each place hold?"),
            Mistake(4 * 768 * 512 // 8, "You divided by 8 once. A place is 8 pixels high *and* 8 pixels wide."),
            Mistake(3 * 768 * 512, "Those are the numbers of its pixels. What becomes of a square of 8 x 8 pixels?"),
            Mistake(8 * 96 * 64, "That is what the encoder's last layer gives: means and widths. A latent is "
                    "one point of the cloud."),
        ),
        otherwise="Print pixels and latents for a height and a width with the loop of section 1, changed a little.",
        tolerance=0,
    ),
    "04.2": Exercise(
        start="First bring the error to the scale 0 … 1, as `psnr` does. What happens to a *squared* difference "
        "when both pictures are halved?",
        right=10 * math.log10(4 / 0.0016),
        praise="Halved differences are quartered squares. In the other scale the peak is 2, and 2² = 4: the same.",
        mistakes=(
            Mistake(10 * math.log10(1 / 0.0016), "That would be so for pixels of 0 … 1. These run over twice "
                    "that range: call `psnr` on a picture, and on the same one with 0.04 added everywhere."),
            Mistake(10 * math.log10(2 / 0.0016), "You know that the range is 2, and compared a range with a "
                    "squared error: one of the two still has to be squared."),
            Mistake(20 * math.log10(4 / 0.0016), "20 belongs to a ratio of differences, 10 to a ratio of "
                    "squares. 0.0016 is a mean of squares."),
            Mistake(10 * math.log(4 / 0.0016), "The right ratio with the natural logarithm. Decibels count "
                    "powers of ten: compare math.log with math.log10."),
            Mistake(math.log10(4 / 0.0016), "That is in bels. A decibel is a tenth of one."),
            Mistake(-10 * math.log10(4 / 0.0016), "Right but for the sign. Should a smaller error give a larger "
                    "PSNR, or a smaller one?"),
        ),
        otherwise="Try it: a picture of zeros, one of 0.04 (whose square is 0.0016), and `psnr` between them.",
        tolerance=3e-3,  # rounded to whole decibels is right
    ),
    "04.3": Exercise(
        start="Take the formula of section 4 for a single number. It has the variance in it: what is that in "
        "terms of the width?",
        right=lambda mean, std: 0.5 * (mean**2 + std**2 - 1 - 2 * torch.log(std)),
        praise="Zero for mean 0 and width 1 alone. Moving away costs with the square, being thin only with the "
        "logarithm.",
        mistakes=(
            Mistake(lambda mean, std: 0.5 * (mean**2 + std - 1 - torch.log(std)),
                    "The width stands where the formula has the variance. Try mean 0.8 and width 0.5 against the "
                    "measurement."),
            Mistake(lambda mean, std: mean**2 + std**2 - 1 - 2 * torch.log(std),
                    "Twice too much: compare with the measurement of section 4."),
            Mistake(lambda mean, std: 0.5 * (mean**2 + std**2 - 1 - torch.log(std)),
                    "The logarithm in the formula is that of the *variance*, and you took the width's. Which "
                    "number does that change?"),
            Mistake(lambda mean, std: 0.5 * (mean**2 + std**2 - 2 * torch.log(std)),
                    "The standard normal itself should cost nothing. Ask your function for mean 0 and width 1."),
            Mistake(lambda mean, std: 0.5 * (mean**2 + std**2 - 1 + 2 * torch.log(std)),
                    "Thin clouds are dear, so the price has to *rise* when the width goes to 0. Try 0.1 and 0.01."),
            Mistake(lambda mean, std: 0.5 * (mean**2 + torch.exp(std) - 1 - std),
                    "That is the code of `kl` with the width in the place of `logvar`, which is the logarithm of "
                    "the variance."),
            Mistake(lambda mean, std: -0.5 * (mean**2 + std**2 - 1 - 2 * torch.log(std)),
                    "A divergence is never below zero. Print yours for any cloud."),
        ),
        otherwise="Try mean 0.8 and width 0.5 in your function: section 4 measured what should come out.",
        ask=ask_price,
    ),
    "04.4": Exercise(
        start="Which point is drawn? Then the chain rule: first from the loss to the point, then from the point to "
        "each of the two.",
        right=[3.0, -3.0],
        praise="The point is 1.5. Towards the mean the slope is that of the loss; towards the width it is "
        "multiplied by the noise, and so it has the noise's sign.",
        mistakes=(
            Mistake([3.0, 0.0], "So it would be if the draw let nothing through to the width. In mean + std * "
                    "noise the width is a factor like any other."),
            Mistake([3.0, 3.0], "The point depends on the width through the noise: what is the slope of std * "
                    "noise?"),
            Mistake([1.0, -1.0], "Those are the slopes of the *point*. The loss is its square."),
            Mistake([1.5, -1.5], "That is the point itself, and its negative. What is the slope of a square?"),
            Mistake([4.0, -4.0], "You took the slope of the loss at the mean. The loss is taken at the point "
                    "that was drawn."),
            Mistake([3.0, -1.5], "The first is right. In the second the width itself came in as a factor: what "
                    "multiplies the width in the point?"),
            Mistake([-3.0, 3.0], "Signs exchanged. A larger mean moves the point up; does the loss grow or "
                    "shrink there?"),
        ),
        otherwise="Let torch do it: requires_grad=True, mean + std * noise, its square, backward().",
    ),
    "04.5": Exercise(
        start="Which spread do the U-Net's latents have, and which those that the decoder learnt from?",
        right=lambda z, scaling_factor: z / scaling_factor,
        praise="Once each way: times the factor after the encoder, divided by it before the decoder.",
        mistakes=(
            Mistake(lambda z, scaling_factor: z * scaling_factor,
                    "That is the way from the encoder to the U-Net. Which spread would your result have?"),
            Mistake(lambda z, scaling_factor: z,
                    "The decoder learnt from latents that spread over more than that. Decode scaled latents as "
                    "they are: what do you see?"),
            Mistake(lambda z, scaling_factor: z / scaling_factor**2,
                    "Too much: the factor was applied once, and it must be undone once."),
            Mistake(lambda z, scaling_factor: z / scaling_factor**0.5,
                    "A root belongs to variances. The factor was measured as 1 / spread, and acts on the "
                    "numbers themselves."),
            *(Mistake(lambda z, scaling_factor, number=number: z / number,
                      "That number belongs to this course's autoencoder. Stable Diffusion has another: your function "
                      "is given the one that counts.")
              for number in (0.46261, 0.46, 0.469, 0.18215)),
            Mistake(lambda z, scaling_factor: z / z.std(),
                    "Every picture has its own spread, and this takes it away. What did the U-Net's side do to the "
                    "encoder's latents, with which number?"),
        ),
        otherwise="Test it: encode a picture, multiply by the factor as the U-Net's side does, call your function. "
        "Which latents should come out?",
        ask=ask_decoder,
    ),
    "04.6": Exercise(
        start="One place of which size is a step at the first halving, at the second, …? In pixels of the picture.",
        right=15,
        praise="1 + 2 + 4 + 8: the same mistake costs more the deeper it sits.",
        mistakes=(
            Mistake(7, "That is for three halvings. A fourth adds its own step: how large is a place there?"),
            Mistake(8, "The last halving alone moves it by so much. What of the others, which come before?"),
            Mistake(16, "A latent would be 16 pixels wide, and the move is nearly that, but count: with three "
                    "halvings section 13 did not measure 8 either."),
            Mistake(4, "One pixel a halving would be so if all four saw the same size. Each sees a picture of "
                    "half the size."),
            Mistake(10, "Does a place grow by one pixel at each halving, or does it double?"),
            Mistake(28, "Four times that of three halvings. Each halving moves it once: how far does the fourth?"),
            Mistake(30, "Each of your steps is twice too long. The first halving still sees the picture's own "
                    "pixels: how large is one place there?"),
            Mistake(14, "Twice that of three halvings? The later ones move it by more, but the first still "
                    "moves it by one pixel: add them up."),
        ),
        otherwise="Add up one place of each halving, in pixels of the picture. Section 13 does it for three.",
        tolerance=0,
    ),
}  # fmt: skip
