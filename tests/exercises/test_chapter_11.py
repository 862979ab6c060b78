"""Chapter 11's exercises: wrong answers as people give them, written here on their own."""

import math

import pytest
import torch

from sdlearn.exercises import check


def the_level_before(known, noise, sigmas, k):
    level = list(sigmas)[k - 1]
    return noise * level + known


def cross_fade(known, noise, sigmas, k):
    share = sigmas[k] / max(sigmas)
    return share * noise + (1 - share) * known


def unit_spread(known, noise, sigmas, k):
    x = known + sigmas[k] * noise
    return x * (1 / (1 + sigmas[k] * sigmas[k])) ** 0.5


def corner(mask, factor):
    return torch.nn.functional.interpolate(mask, scale_factor=1 / factor)


def blocks(mask, factor):
    n, _, h, w = mask.shape
    return mask.reshape(n, 1, h // factor, factor, w // factor, factor)


def exchanged(x_next, known, noise, mask, sigma_next):
    return torch.where(mask > 0, known + sigma_next * noise, x_next)


def clean(x_next, known, noise, mask, sigma_next):
    return torch.where(mask > 0, x_next, known)


WRONG = [
    ("11.1", 0.35 * 40, "So many steps"),
    ("11.1", 40 - 14 + 1, "counted from 1"),
    ("11.1", 40 - 14 - 1, "One step too many"),
    ("11.1", 14 - 1, "one off"),
    ("11.2", the_level_before, "level before"),
    ("11.2", lambda known, noise, sigmas, k: noise + known, "always has the same strength"),
    ("11.2", lambda known, noise, sigmas, k: noise * sigmas[k], "text to image"),
    ("11.2", lambda known, noise, sigmas, k: known.clone(), "no noise in it"),
    ("11.2", unit_spread, "other scaling"),
    ("11.2", cross_fade, "cross-fade"),
    ("11.3", corner, "corner decides"),
    ("11.3", lambda mask, factor: blocks(mask, factor).mean(dim=(3, 5)), "share of white pixels"),
    ("11.3", lambda mask, factor: blocks(mask, factor).mean(dim=(3, 5)).round(), "majority"),
    ("11.3", lambda mask, factor: blocks(mask, factor).amin(dim=(3, 5)), "*all* of its pixels"),
    ("11.3", lambda mask, factor: 1 - blocks(mask, factor).amax(dim=(3, 5)), "what to keep"),
    ("11.4", clean, "without noise"),
    ("11.4", exchanged, "wrong way round"),
    (
        "11.4",
        lambda x, known, noise, mask, s: torch.where(mask > 0, x, known) + s * noise,
        "painted part gets",
    ),
    ("11.4", lambda x, known, noise, mask, s: torch.where(mask > 0, x, known + noise), "always spread 1"),
    ("11.4", lambda x, known, noise, mask, s: noise * s + known, "no part"),
    ("11.5", lambda a, b, w: a + w * (b - a), "straight line"),
    ("11.5", lambda a, b, w: a + b * torch.tensor(w).sqrt(), "Nothing of a"),
    ("11.5", lambda a, b, w: w**0.5 * a + (1 - w) ** 0.5 * b, "exchanged the two"),
    ("11.5", lambda a, b, w: ((1 - w) * (1 + w)) ** 0.5 * a + w * b, "share w²"),
    ("11.6", 320 * 9 * 3 * 3, "whole convolution"),
    ("11.6", 320 * 4 * 9, "four channels"),
    ("11.6", 320 * 9, "mask alone"),
    ("11.6", 320 * 5, "place and its neighbours"),
    ("11.6", 320 * 10 * 9, "Ten channels"),
    ("11.2", lambda known, noise, sigmas, k: noise * list(sigmas)[k + 1] + known, "first step ends"),
    (
        "11.4",
        lambda x, known, noise, mask, s: torch.where(mask > 0, x, known + torch.randn_like(x) * s),
        "fresh noise",
    ),
    ("11.4", lambda x, known, noise, mask, s: x + torch.rand(()), "call it twice"),
    (
        "11.5",
        lambda a, b, w: a * torch.tensor(w * torch.pi / 2).cos() + b * math.sin(w * math.pi / 2),
        "angle",
    ),
    ("11.5", lambda a, b, w: (a + w * (b - a)) / math.hypot(w, 1 - w), "brought back"),
    ("11.5", lambda a, b, w: a * math.sqrt(1 - w) - b * math.sqrt(w), "turned over"),
    ("11.1", 26.01, "quiet end"),
    ("11.6", 14410, "Filters, times"),
    ("11.1", 20, "quiet end"),
    ("11.2", lambda known, noise, sigmas, k: known - sigmas[k] * noise, "sketch of zeros"),
    ("11.3", lambda mask, factor: torch.ones_like(corner(mask, factor)), "one white pixel"),
    ("11.4", lambda x, known, noise, mask, s: x, "mask of ones, then"),
    ("11.5", lambda a, b, w: a, "variance of your mixture"),
    ("11.6", 9, "Filters, times"),
]


@pytest.mark.parametrize("name, answer, words", WRONG)
def test_a_wrong_answer_is_met_with_its_idea(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right and words in verdict.text


def test_other_ways_to_say_the_same_are_right():
    assert check("11.3", lambda mask, factor: blocks(mask, factor).amax(dim=(3, 5))).right
    assert check("11.4", lambda x, known, noise, mask, s: torch.where(mask > 0, x, known + s * noise)).right
    assert check("11.5", lambda a, b, w: torch.tensor(1.0 - w).sqrt() * a + w**0.5 * b).right
    assert check("11.6", 14400).right
