"""Chapter 03's exercises: answers that people give, written anew, and the idea that each is taken for."""

import math

import pytest
import torch

from sdlearn.exercises import check
from sdlearn.exercises.chapter_03 import EXERCISES, ask_midpoint, ask_v_step


def roots(here, there):
    return here**0.5, (1 - here) ** 0.5, there**0.5, (1 - there) ** 0.5


def v_is_noise(x, v, here, there):
    a, b, c, d = roots(here, there)
    return c * (x - b * v) / a + d * v


def levels_confused(x, v, here, there):
    _, _, c, d = roots(here, there)
    return c * (c * x - d * v) + d * (d * x + c * v)


def wrong_sign(x, v, here, there):
    a, b, c, d = roots(here, there)
    return c * (a * x + b * v) + d * (b * x - a * v)


def no_noise_back(x, v, here, there):
    a, b, c, _ = roots(here, there)
    return c * (a * x - b * v)


def euler_once(denoise, x, sigma, after):
    return x + (after - sigma) * denoise(x, sigma).eps


def two_halves(denoise, x, sigma, after):
    middle = (sigma + after) / 2
    return euler_once(denoise, euler_once(denoise, x, sigma, middle), middle, after)


def upwards(denoise, x, sigma, after):
    middle = (sigma + after) / 2
    there = x - (middle - sigma) * denoise(x, sigma).eps
    return x - (after - sigma) * denoise(there, middle).eps


def old_level(denoise, x, sigma, after):
    there = euler_once(denoise, x, sigma, (sigma + after) / 2)
    return x + (after - sigma) * denoise(there, sigma).eps


def turned(signs=(1, 1), swap_first=False, swap_last=False):
    """DDIM on v with mistakes: signs of v in x0 and in eps; x0 and eps exchanged before or after."""

    def step(x, v, here, there):
        a, b, c, d = roots(here, there)
        x0, eps = a * x - signs[0] * b * v, b * x + signs[1] * a * v
        x0, eps = (eps, x0) if swap_first else (x0, eps)
        c, d = (d, c) if swap_last else (c, d)
        return c * x0 + d * eps

    return step


def forgot_eps(denoise, x, sigma, after):
    return x + (after - sigma) * denoise(x + (after - sigma) / 2 * denoise(x, sigma).eps, (sigma + after) / 2)


def middle_of_logarithms(denoise, x, sigma, after):
    middle = math.exp((math.log(sigma) + math.log(after)) / 2)
    return x + (after - sigma) * denoise(euler_once(denoise, x, sigma, middle), middle).eps


WRONG = [
    ("03.1", 2 + 0.4 * 3, "noise was added"),
    ("03.1", 2 - 3, "σ times as strong"),
    ("03.1", 0, "not the point"),
    ("03.2", 10, "one evaluation a step"),
    ("03.2", 20, "asked at σ = 0"),
    ("03.2", 11, "PLMS"),
    ("03.3", 0.02, "*first* order"),
    ("03.3", 0.04, "halved the error once"),
    ("03.3", 0.08 / 4**4, "fourth order"),
    ("03.4", [4 - 2.4, 2.4], "subtracted strengths"),
    ("03.4", [math.sqrt(16 - 5.76), 5.76], "not by a variance"),
    ("03.4", [math.sqrt(16 - 9), 3], "leads from 4 up to 5"),
    ("03.4", [3, 1], "subtracted strengths, 5 - 4"),
    ("03.4", [1, 3], "`up = …`"),
    ("03.4", [4, 3], "end above 4"),
    ("03.5", v_is_noise, "took v for the noise"),
    ("03.5", levels_confused, "one and the same level"),
    ("03.5", wrong_sign, "wrong in both"),
    ("03.5", turned((-1, 1)), "ε is right"),
    ("03.5", turned((1, -1)), "x₀ is right"),
    ("03.5", turned(swap_first=True), "changed places"),
    ("03.5", turned(swap_last=True), "changed places"),
    ("03.5", no_noise_back, "no noise back"),
    ("03.6", euler_once, "That is Euler"),
    ("03.6", two_halves, "half the length"),
    ("03.6", upwards, "to more noise"),
    ("03.6", forgot_eps, "`.eps` is the slope"),
    ("03.6", lambda denoise, x, sigma, after: denoise(x, sigma), "`.eps` is the slope"),
    ("03.6", middle_of_logarithms, "not that of their logarithms"),
    ("03.6", old_level, "σ of the beginning"),
    ("03.1", 17, "Put the three numbers"),
    ("03.2", 7, "Count the calls"),
    ("03.3", 1, "stays the same"),
    ("03.4", [1, 1], "down² + up²"),
    ("03.5", lambda x, v, here, there: v, "Two steps"),
    ("03.6", lambda denoise, x, sigma, after: x, "the same everywhere"),
]


@pytest.mark.parametrize("name, answer, words", WRONG)
def test_a_wrong_answer_is_met_with_its_idea(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right and words in verdict.text


@pytest.mark.parametrize("name", ["03.4", "03.5"])
def test_the_first_hint_is_no_recipe(name):
    assert "√" not in EXERCISES[name].start


def test_questions_do_not_spoil_what_they_are_asked_with():
    """Asked twice, a function gives the same."""
    for ask, name in ((ask_v_step, "03.5"), (ask_midpoint, "03.6")):
        assert all(map(torch.equal, ask(EXERCISES[name].right), ask(EXERCISES[name].right)))
