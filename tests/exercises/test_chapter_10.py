"""Chapter 10's exercises: wrong answers as people give them, written here on their own."""

import numpy as np
import pytest
import torch

from sdlearn.exercises import check


def from_global_seed(seeds, shape):
    torch.manual_seed(seeds[0])
    return torch.randn(len(seeds), *shape)


def first_seed_and_so_on(seeds, shape):
    generators = [torch.Generator().manual_seed(seeds[0] + k) for k, _ in enumerate(seeds)]
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


def made_once(seeds, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seeds[0])).repeat(len(seeds), 1, 1, 1)


def zero_is_nothing(seeds, shape):
    def source(seed):
        return torch.Generator().manual_seed(seed) if seed > 0 else torch.Generator()

    return torch.stack([torch.randn(shape, generator=source(seed)) for seed in seeds])


def even_numbers(seeds, shape):
    return torch.stack([torch.rand(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def straight(a, b, share):
    return a + share * (b - a)


def backwards(a, b, share):
    return np.cos((1 - share) * np.pi / 2) * a + np.sin((1 - share) * np.pi / 2) * b


def half_turn(a, b, share):
    return a * np.cos(np.pi * share) + b * np.sin(np.pi * share)


def stretched(a, b, share):
    point = a + share * (b - a)
    return point / np.hypot(1 - share, share)


def rooted(a, b, share):
    return (1 - share) ** 0.5 * a + share**0.5 * b


def degrees(a, b, share):
    return np.cos(90 * share) * a + np.sin(90 * share) * b


def written_into(noise, other, row, column, size):
    noise[:, :, row : row + size, column : column + size] = other[
        :, :, row : row + size, column : column + size
    ]
    return noise


def summed(noise, other, row, column, size):
    mask = torch.zeros_like(noise)
    mask[:, :, row : row + size, column : column + size] = 1
    return noise + mask * other


def exchanged(noise, other, row, column, size):
    mask = torch.zeros_like(noise)
    mask[:, :, column : column + size, row : row + size] = 1
    return (1 - mask) * noise + mask * other


def ends_at_size(noise, other, row, column, size):
    noise = noise.clone()
    noise[:, :, row:size, column:size] = other[:, :, row:size, column:size]
    return noise


def stripes(noise, other, row, column, size):
    return torch.cat([noise[:, :, :row], other[:, :, row : row + size], noise[:, :, row + size :]], dim=2)


def front_axes(noise, other, row, column, size):
    noise = noise.clone()
    noise[row : row + size, column : column + size] = other[row : row + size, column : column + size]
    return noise


WRONG = [
    ("10.1", 3 * 4 * 10, "one question a step"),
    ("10.1", 3 * 10 * 2, "one picture a prompt"),
    ("10.1", 4 * 10 * 2, "pictures of one prompt"),
    ("10.1", 10 * 2, "calls of the network"),
    ("10.1", (3 + 4) * 10 * 2, "You added"),
    ("10.1", 3 * 4 * 11 * 2, "make ten steps"),
    ("10.1", 3 * 4 * 10 * 4, "guidance twice"),
    ("10.2", 20 + 1, "count anew"),
    ("10.2", 20 + 5, "one further"),
    ("10.2", 20 + 3, "alternate"),
    ("10.2", 20 + 2, "That is a cat"),
    ("10.3", from_global_seed, "one generator for all"),
    ("10.3", first_seed_and_so_on, "count up"),
    ("10.3", made_once, "first seed's noise"),
    ("10.3", zero_is_nothing, "no seed?"),
    ("10.4", straight, "A straight line"),
    ("10.4", backwards, "the other way"),
    ("10.4", half_turn, "too far"),
    ("10.4", stretched, "the pace is not"),
    ("10.4", rooted, "runs ahead"),
    ("10.4", degrees, "in degrees"),
    ("10.5", written_into, "still the same"),
    ("10.5", summed, "You added"),
    ("10.5", exchanged, "exchanged"),
    ("10.5", ends_at_size, "end at `size`"),
    ("10.5", stripes, "whole rows"),
    ("10.5", front_axes, "Which axes"),
    ("10.1", 7, "Count each of the three"),
    ("10.2", 3, "larger by one"),
    ("10.3", lambda seeds, shape: torch.zeros(len(seeds), *shape), "mean and spread"),
    ("10.3", even_numbers, "normal noise"),
    ("10.3", lambda seeds, shape: torch.randn(len(seeds), *shape), "Ask twice"),
    ("10.4", lambda a, b, share: a, "share 0, share 1 and half-way"),
    ("10.5", lambda noise, other, row, column, size: other, "Only the square"),
]


@pytest.mark.parametrize("name, answer, words", WRONG)
def test_a_wrong_answer_is_met_with_its_idea(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right and words in verdict.text


def test_other_ways_to_write_the_right_answer():
    def noises(seeds, shape):
        return torch.cat([torch.randn(1, *shape, generator=torch.Generator().manual_seed(s)) for s in seeds])

    def sine_of_the_rest(a, b, share):
        return np.sin((1 - share) * np.pi / 2) * a + np.sin(share * np.pi / 2) * b

    def any_angle(a, b, share):
        angle = torch.acos((a * b).sum() / (a.norm() * b.norm()))
        return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)

    def masked(noise, other, row, column, size):
        mask = torch.zeros_like(noise, dtype=torch.bool)
        mask[..., row : row + size, column : column + size] = True
        return torch.where(mask, other, noise)

    right = {"10.1": 240, "10.2": 24, "10.3": noises, "10.4": sine_of_the_rest, "10.5": masked}
    assert all(check(name, answer).right for name, answer in right.items())
    assert check("10.4", any_angle).right
