"""Chapter 10, text to image: what is asked, what people take for the answer, and what to tell them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sdlearn.exercises.core import Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(10)
ARROWS = torch.randn(36, 2, generator=GENERATOR, dtype=torch.float64)
A, B = 6 * torch.linalg.qr(ARROWS).Q.T.reshape(2, 4, 3, 3)  # at right angles, equally long: as the task says
BATCH, OTHER = torch.randn(2, 2, 4, 8, 8, generator=GENERATOR)
SHAPE = (4, 2, 2)


def noise_of(seed: int, shape: Sequence[int] = SHAPE) -> Tensor:
    """The noise that a seed stands for."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ask_starting_noise(start: Callable) -> list[Tensor]:
    """Three batches: seed 0 is a seed, too, and lists need not count up."""
    return [start(seeds, SHAPE) for seeds in ([5, 3], [0, 9], [8, 8, 1])]


def one_generator(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    return torch.randn(len(seeds), *shape, generator=torch.Generator().manual_seed(seeds[0]))


def counted_up(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    return torch.stack([noise_of(seeds[0] + k, shape) for k in range(len(seeds))])


def first_for_all(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    return torch.stack([noise_of(seeds[0], shape)] * len(seeds))


def no_seed_zero(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    sheets = []
    for seed in seeds:
        generator = torch.Generator()
        if seed:
            generator.manual_seed(seed)
        sheets.append(torch.randn(*shape, generator=generator))
    return torch.stack(sheets)


def uniform(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.rand(*shape, generator=generator) for generator in generators])


def ask_walk(walk: Callable) -> list[Tensor]:
    """Both ends and three places between."""
    return [walk(A, B, share) for share in (0.0, 0.2, 0.5, 0.75, 1.0)]


def uneven(a: Tensor, b: Tensor, share: float) -> Tensor:
    return ((1 - share) * a + share * b) / math.sqrt((1 - share) ** 2 + share**2)


def ask_poke(poke: Callable) -> list[Tensor]:
    """The poked noise at two places, and what has become of the noise that was given."""
    found = []
    for row, column, size in ((1, 4, 3), (5, 0, 2), (0, 1, 2)):
        noise = BATCH.clone()
        found += [poke(noise, OTHER.clone(), row, column, size), noise]
    return found


def poked(noise: Tensor, other: Tensor, rows: slice, columns: slice) -> Tensor:
    noise = noise.clone()
    noise[..., rows, columns] = other[..., rows, columns]
    return noise


def poked_in_place(noise: Tensor, other: Tensor, row: int, column: int, size: int) -> Tensor:
    square = (..., slice(row, row + size), slice(column, column + size))
    noise[square] = other[square]
    return noise


def leading_axes(noise: Tensor, other: Tensor, row: int, column: int, size: int) -> Tensor:
    noise = noise.clone()
    square = (slice(row, row + size), slice(column, column + size))
    noise[square] = other[square]
    return noise


def added(noise: Tensor, other: Tensor, row: int, column: int, size: int) -> Tensor:
    noise = noise.clone()
    square = (..., slice(row, row + size), slice(column, column + size))
    noise[square] += other[square]
    return noise


EXERCISES = {
    "10.1": Exercise(
        start="How many pictures are drawn? How many questions does guidance ask about each, in every step?",
        right=240,
        praise="12 pictures, 10 steps, two questions each. What takes the time of a drawing is this number.",
        mistakes=(
            Mistake(
                120,
                "You asked one question a step. What does guidance at this scale compare the answer with?",
            ),
            Mistake(60, "You drew one picture a prompt. What does num_images_per_prompt say?"),
            Mistake(80, "You took the pictures of one prompt. How many prompts are there?"),
            Mistake(
                20, "You counted calls of the network. A call reads a batch: how many sheets lie in this one?"
            ),
            Mistake(
                264,
                "Eleven levels make ten steps: the last level, 0, is only arrived at. Count the questions.",
            ),
            Mistake(
                480,
                "You counted guidance twice, or Heun's two questions. How often does Euler ask in a step?",
            ),
            Mistake(140, "You added prompts and pictures per prompt. Draw the grid: a row for each prompt."),
        ),
        otherwise="Pictures times steps times questions a step. Count each of the three on its own.",
    ),
    "10.2": Exercise(
        start="Write the six pictures in the order in which they come out, and under each its seed, from 20.",
        right=24,
        praise="Pictures of one prompt stand together: three cats, then the dogs. The second dog is the fifth picture.",
        mistakes=(
            Mistake(
                21, "You began to count anew with the second prompt. Then a cat and a dog would share a seed."
            ),
            Mistake(
                25,
                "You counted the first picture as one further than the seed. Which seed has the first cat?",
            ),
            Mistake(
                23,
                "You let cats and dogs alternate, or took the first dog. Print `settings['prompt']` and count: which "
                "pictures stand together?",
            ),
            Mistake(22, "That is a cat. How many pictures come before the first dog?"),
        ),
        otherwise="The first picture has the seed of the call, each next one a seed that is larger by one.",
    ),
    "10.3": Exercise(
        start="A generator for each seed; then put the sheets together along a new first axis.",
        right=lambda seeds, shape: torch.stack([noise_of(seed, shape) for seed in seeds]),
        praise="Each picture has a source of its own, so it can be drawn alone, or in any company.",
        mistakes=(
            Mistake(
                one_generator,
                "You have one generator for all. Take the seeds [5, 3] and then [3, 5]: does each seed keep its noise?",
            ),
            Mistake(
                counted_up,
                "You count up from the first seed. Try the list [5, 3]: what is the noise of its second picture?",
            ),
            Mistake(
                first_for_all, "All pictures get the first seed's noise. Compare two rows of your result."
            ),
            Mistake(
                no_seed_zero,
                "Most seeds work; one does not. Which whole number does `if seed:` take for no seed?",
            ),
            Mistake(
                uniform,
                "Each seed has its own numbers, but look at them: is one negative? What is the mean of normal noise?",
            ),
        ),
        otherwise="Take one seed, many numbers: are their mean and spread 0 and 1? Ask twice: is the noise the same?",
        ask=ask_starting_noise,
    ),
    "10.4": Exercise(
        start="Draw a and b as two arrows at a right angle. A share of the way is a share of that angle.",
        right=lambda a, b, share: math.cos(share * math.pi / 2) * a + math.sin(share * math.pi / 2) * b,
        praise="cos² + sin² = 1: for noises at right angles the strength stays what it was.",
        mistakes=(
            Mistake(
                lambda a, b, share: (1 - share) * a + share * b,
                "A straight line. How long is the arrow half-way? Try a = [1, 0] and b = [0, 1].",
            ),
            Mistake(
                lambda a, b, share: math.sin(share * math.pi / 2) * a + math.cos(share * math.pi / 2) * b,
                "You walk the other way. What does your function give at share 0?",
            ),
            Mistake(
                lambda a, b, share: math.cos(share * math.pi) * a + math.sin(share * math.pi) * b,
                "You turn too far. Where are you at share 1?",
            ),
            Mistake(
                uneven,
                "The strength is right, the pace is not: you went straight and stretched. Which angle has share 0.2?",
            ),
            Mistake(
                lambda a, b, share: math.sqrt(1 - share) * a + math.sqrt(share) * b,
                "The strength is right, but the angle runs ahead at first. Which angle has share 0.2?",
            ),
            Mistake(
                lambda a, b, share: math.cos(share * 90) * a + math.sin(share * 90) * b,
                "Your angle is in degrees. What do `math.cos` and `math.sin` expect?",
            ),
        ),
        otherwise="Look at share 0, share 1 and half-way: where should each be, and how long?",
        ask=ask_walk,
    ),
    "10.5": Exercise(
        start="Copy first. Then write into the copy, with slices for rows and columns, channels untouched by name.",
        right=lambda noise, other, row, column, size: poked(
            noise, other, slice(row, row + size), slice(column, column + size)
        ),
        praise="The first noise is as it was, so you can poke it again elsewhere and compare.",
        mistakes=(
            Mistake(
                poked_in_place,
                "The result is right, but look at the noise that you were given: is it still the same?",
            ),
            Mistake(
                added,
                "You added. How strong is the sum of two noises, and what does the network expect at the start?",
            ),
            Mistake(
                lambda noise, other, row, column, size: poked(
                    noise, other, slice(column, column + size), slice(row, row + size)
                ),
                "Rows and columns are exchanged. Which of the last two axes is the height?",
            ),
            Mistake(
                leading_axes,
                "Which axes do your slices meet? Print the shape of `noise`: rows and columns are not its first two.",
            ),
            Mistake(
                lambda noise, other, row, column, size: poked(
                    noise, other, slice(row, size), slice(column, size)
                ),
                "Your slices end at `size`. Where does a square end that begins at `row`?",
            ),
            Mistake(
                lambda noise, other, row, column, size: poked(
                    noise, other, slice(row, row + size), slice(None)
                ),
                "You changed whole rows. What limits the square to the left and right?",
            ),
        ),
        otherwise="Only the square may differ from `noise`, in each picture and channel, and there it equals `other`.",
        ask=ask_poke,
    ),
}
