"""Chapter 00, the whole way: what is asked, what people take for the answer, and what to tell them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sdlearn.exercises.core import Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(1)
ONE, OTHER = torch.randn(2, 6, generator=GENERATOR, dtype=torch.float64)


def ask_guided(guided: Callable) -> Any:
    """The guided answer at three scales."""
    return [guided(ONE, OTHER, scale) for scale in (0.0, 1.0, 7.5)]


def ask_step(step: Callable) -> Any:
    """A step down, and the last one, to no noise at all."""
    return [step(ONE, OTHER, 3.0, 2.0), step(ONE, OTHER, 0.5, 0.0)]


EXERCISES = {
    "00.1": Exercise(
        start="Begin with one step: section 9 says how many questions are asked in it.",
        right=50,
        praise="Two questions a step, with the sentence and without. Guidance doubles the cost.",
        mistakes=(
            Mistake(
                25,
                "That is one question a step. It would do at guidance 1, where nothing has to be exaggerated. What "
                "else is asked in section 9?",
            ),
            Mistake(1, "The U-Net is asked anew in every step, since every step leaves another sheet."),
            Mistake(2, "That is one step. How many steps are there?"),
            Mistake(
                187.5, "The scale says how much a difference is exaggerated, not how often it is asked for."
            ),
            Mistake(
                26, "Is the empty sentence asked once for the whole run? The sheet changes with every step."
            ),
        ),
        otherwise="Count the questions of one step, then the steps.",
    ),
    "00.2": Exercise(
        start="Begin at scale 0: there the answer without the sentence must come out. What is added to it?",
        right=lambda without, with_prompt, scale: without + scale * (with_prompt - without),
        praise="At 0 the sentence falls out, at 1 it is the plain answer with it, above 1 it is exaggerated.",
        mistakes=(
            Mistake(
                lambda without, with_prompt, scale: with_prompt + scale * (with_prompt - without),
                "Your formula starts from the answer *with* the sentence, so its scale 0 still hears it. Try scale 0.",
            ),
            Mistake(
                lambda without, with_prompt, scale: without + scale * (without - with_prompt),
                "The difference is the wrong way round: it leads away from the sentence. Try scale 1.",
            ),
            Mistake(
                lambda without, with_prompt, scale: scale * with_prompt,
                "This only makes the noise larger. What the sentence changes is a difference of two answers.",
            ),
            Mistake(
                lambda without, with_prompt, scale: scale * (with_prompt - without),
                "That is the exaggerated difference alone. To what is it added?",
            ),
            Mistake(
                lambda without, with_prompt, scale: without + scale * with_prompt,
                "You add the whole answer with the sentence, not what the sentence *changes*. Try scale 1.",
            ),
            Mistake(
                lambda without, with_prompt, scale: (without + scale * with_prompt) / (1 + scale),
                "That is a mean of both: it never goes beyond the answer with the sentence. Guidance exaggerates.",
            ),
        ),
        otherwise="Try scale 0 (only `without` may be left) and scale 1 (only `with_prompt`).",
        ask=ask_guided,
    ),
    "00.3": Exercise(
        start="Begin with the pixels: how many numbers are 512 x 512 places of three colours?",
        right=48,
        praise="786,432 numbers become 16,384. Each step works on the small sheet; that is why latents are used.",
        mistakes=(
            Mistake(64, "You compared places: 8 x 8 pixels for each. Now count the numbers at a place, too."),
            Mistake(
                8, "A side is eight times shorter. There are two sides, and other numbers at each place."
            ),
            Mistake(16, "You forgot the three colours of a pixel."),
            Mistake(192, "You forgot the four channels of the latents."),
            Mistake(
                1 / 48,
                "Turned round: how many latents' numbers a pixel's number has. The other way is asked.",
            ),
        ),
        otherwise="The picture has height x width x colours numbers, the latents height x width x channels.",
    ),
    "00.4": Exercise(
        start="Begin with the printed sizes of section 10: how many pixels come from one place of the noise?",
        right=(1, 4, 16, 24),
        praise="Eight pixels a place along each side, and height comes before width.",
        mistakes=(
            Mistake((1, 4, 24, 16), "Height comes before width. Yours would be a tall picture."),
            Mistake((1, 4, 128, 192), "These are pixels. The noise has far fewer places."),
            Mistake((1, 4, 192, 128), "These are pixels, and height comes before width."),
            Mistake((1, 3, 16, 24), "Latents have four channels; three are the colours of pixels."),
            Mistake(
                (1, 4, 16, 16), "That is the square sheet. Words do not make a picture wider; the sheet does."
            ),
        ),
        otherwise="Divide both sides by the pixels of a place. In section 10 a sheet of (16, 32) gave a wide picture.",
    ),
    "00.5": Exercise(
        start="Begin with the ends: at strength 1 all steps are run, at a strength near 0 hardly any.",
        right=6,
        praise="The strength is the share of the steps that are run. Less noise, fewer steps, more of the sketch.",
        mistakes=(
            Mistake(14, "Those are the steps that are left *out*. Little strength means little work."),
            Mistake(20, "All steps would remove more noise than was added. They run at strength 1."),
            Mistake(0.3, "That is the share. How many of the 20 steps is it?"),
            Mistake(7, "Nearly. Is 0.3 of 20 a whole number already?"),
            Mistake(12, "Two questions a step are still one step. How many steps?"),
        ),
        otherwise="The strength is a share of the steps: at 1 all 20.",
    ),
    "00.6": Exercise(
        start="Begin with what has to change: the sheet holds sigma · noise, and should hold sigma_next · noise.",
        right=lambda x, eps, sigma, sigma_next: x + (sigma_next - sigma) * eps,
        praise="Take the noise off as far as the next level. This is Euler's step, and chapter 03 begins with it.",
        mistakes=(
            Mistake(
                lambda x, eps, sigma, sigma_next: x + (sigma - sigma_next) * eps,
                "The sign: yours *adds* noise. Try it with sigma_next = 0; is the noise gone?",
            ),
            Mistake(
                lambda x, eps, sigma, sigma_next: x - sigma * eps,
                "You take off all the noise at once. That is the belief of section 4; how much noise should be left?",
            ),
            Mistake(
                lambda x, eps, sigma, sigma_next: x - sigma_next * eps,
                "You take off as much noise as should be *left*. Try it with sigma_next = 0: nothing changes.",
            ),
            Mistake(
                lambda x, eps, sigma, sigma_next: x - eps,
                "You take the noise off once, whatever its level. How much of it is on the sheet, how much should be?",
            ),
            Mistake(
                lambda x, eps, sigma, sigma_next: x * (sigma_next / sigma),
                "You shrink the sheet, and the picture with it. Only the noise is to become less.",
            ),
        ),
        otherwise="Write x as picture + sigma · eps, and ask for picture + sigma_next · eps.",
        ask=ask_step,
    ),
}
