"""Chapter 04's exercises: answers of people who learn this, and the idea that each is taken for."""

import math

import pytest
import torch

from sdlearn.blocks import Downsample
from sdlearn.exercises import check
from sdlearn.exercises.chapter_04 import EXERCISES
from sdlearn.vae import DiagonalGaussian


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("04.1", 4 * 64 * 64, "square of 512"),
        ("04.1", 18432, "no colours"),
        ("04.1", 6144, "each place hold"),
        ("04.1", 196608, "8 once"),
        ("04.1", 1179648, "its pixels"),
        ("04.1", 49152, "means and widths"),
        ("04.1", 1000, "loop of section 1"),
        ("04.2", 28, "twice that range"),
        ("04.2", -34, "but for the sign"),
        ("04.2", 30.97, "still has to be squared"),
        ("04.2", 67.96, "ratio of differences"),
        ("04.2", 78.24, "natural logarithm"),
        ("04.2", 3.398, "bels"),
        ("04.2", 20, "a picture of zeros"),
        ("04.3", lambda m, s: (m * m + s - 1 - s.log()) / 2, "where the formula has the variance"),
        ("04.3", lambda m, s: m * m + s * s - 1 - torch.log(s * s), "Twice too much"),
        ("04.3", lambda m, s: (m * m + s * s - 1 - s.log()) / 2, "you took the width's"),
        ("04.3", lambda m, s: (m * m + s * s - (s * s).log()) / 2, "cost nothing"),
        ("04.3", lambda m, s: (m * m + s * s - 1 + (s * s).log()) / 2, "Thin clouds"),
        ("04.3", lambda m, s: (m * m + s.exp() - 1 - s) / 2, "in the place of `logvar`"),
        ("04.3", lambda m, s: (1 + (s * s).log() - m * m - s * s) / 2, "never below zero"),
        ("04.3", lambda m, s: m, "Try mean 0.8"),
        ("04.3", lambda m: m, "Your function stopped"),
        ("04.4", [3, 0], "let nothing through"),
        ("04.4", [3, 3], "through the noise"),
        ("04.4", [1, -1], "slopes of the *point*"),
        ("04.4", [4, -4], "point that was drawn"),
        ("04.4", [3, -1.5], "came in as a factor"),
        ("04.4", [-3, 3], "Signs exchanged"),
        ("04.4", [1.5, -1.5], "slope of a square"),
        ("04.4", [2, 2], "Let torch do it"),
        ("04.4", 3, "asked for"),
        ("04.5", lambda z, f: z.mul(f), "from the encoder to the U-Net"),
        ("04.5", lambda z, f: z.clone(), "as they are"),
        ("04.5", lambda z, f: z / f / f, "undone once"),
        ("04.5", lambda z, f: z / math.sqrt(f), "belongs to variances"),
        ("04.5", lambda z, f: z * (1 / 0.46261), "this course's autoencoder"),
        ("04.5", lambda z, f: z / 0.18215, "has another"),
        ("04.5", lambda z, f: z / z.std(), "its own spread"),
        ("04.5", lambda z, f: z + f, "Test it"),
        ("04.6", 7.0, "three halvings"),
        ("04.6", 8, "What of the others"),
        ("04.6", 16, "nearly that"),
        ("04.6", 4, "half the size"),
        ("04.6", 14, "still moves it by one"),
        ("04.6", 1 + 2 + 3 + 4, "or does it double"),
        ("04.6", 28, "moves it once"),
        ("04.6", 2 + 4 + 8 + 16, "twice too long"),
        ("04.6", 3, "Section 13 does it"),
    ],
)
def test_wrong_answers_are_told_which_idea_they_are(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right
    assert words in verdict.text
    assert verdict.text != EXERCISES[name].start


def test_the_answers_are_those_of_the_programs():
    """Of the divergence, of torch's gradients, and of four halvings that stand one place off."""
    mean, std = torch.tensor(0.8), torch.tensor(0.5)
    cloud = DiagonalGaussian(mean.reshape(1, 1, 1, 1), 2 * std.log().reshape(1, 1, 1, 1))
    assert EXERCISES["04.3"].right(mean, std).item() == pytest.approx(cloud.kl().item(), rel=1e-5)
    both = [torch.tensor(value, requires_grad=True) for value in (2.0, 0.5)]
    (both[0] + both[1] * -1.0).square().backward()
    assert [one.grad.item() for one in both] == EXERCISES["04.4"].right
    places = {symmetric: torch.arange(64.0).expand(1, 1, 64, 64) for symmetric in (True, False)}
    for symmetric, x in places.items():
        for _ in range(4):
            halve = Downsample(1, symmetric=symmetric)
            halve.conv.weight.data.zero_()[..., 1, 1] = 1.0  # the middle of the filter: where it stands
            halve.conv.bias.data.zero_()
            x = halve(x)
        places[symmetric] = x[0, 0, 1, 1].item()
    assert places[False] - places[True] == EXERCISES["04.6"].right
