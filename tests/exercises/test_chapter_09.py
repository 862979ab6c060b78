"""Chapter 09's exercises: wrong answers as people give them, written here on their own."""

import numpy as np
import pytest

from sdlearn.exercises import check

b, c = np.array([2, 1]), np.array([1, 3])


def uphill(eps, slope, alpha_bar, scale):
    return eps - scale * -slope * np.sqrt(1 - alpha_bar)


def with_sigma(eps, slope, alpha_bar, scale):
    sigma = np.sqrt(1 / alpha_bar - 1)
    return eps - scale * sigma * slope


def with_variance(eps, slope, alpha_bar, scale):
    return eps + scale * (alpha_bar - 1) * slope


def slope_as_it_is(eps, slope, alpha_bar, scale):
    return eps - slope * scale


def no_scale(eps, slope, alpha_bar, scale):
    return eps - slope * np.sqrt(1 - alpha_bar)


def divided(eps, slope, alpha_bar, scale):
    return eps - scale / np.sqrt(1 - alpha_bar) * slope


def root_of_alpha_bar(eps, slope, alpha_bar, scale):
    return eps - np.sqrt(alpha_bar) * scale * slope


def compass_alone(eps, slope, alpha_bar, scale):
    return slope * -np.sqrt(1 - alpha_bar) * scale


def answers_subtracted(b, c, n1, n2, s, p, q):
    return s * b + (1 - s) * c - (p * n1 + q * n2)


def towards(b, c, n1, n2, s, p, q):
    return s * b + p * n1 + q * n2 + (1 - s - p - q) * c


def all_times_s(b, c, n1, n2, s, p, q):
    return c + s * b - s * c - s * p * (n1 - c) - s * q * (n2 - c)


def back_from_b(b, c, n1, n2, s, p, q):
    return c + s * (b - c) + p * (n1 - b) + q * (n2 - b)


def plus(e, b, scale):
    return (e - b * scale) / (scale + 1)


def undivided(e, b, scale):
    return e - b * scale


def turned(e, b, scale):
    return (b * scale - e) / (1 - scale)


def way_from_b(e, b, scale):
    return ((1 + scale) * b - e) / scale


WRONG = [
    ("09.1", list(b + 3 * (b - c)), "began at B"),
    ("09.1", list(b + 3 * (c - b)), "exchanged the two answers"),
    ("09.1", list(c - 3 * (b - c)), "walked backwards"),
    ("09.1", list(3 * (b - c)), "s · D alone"),
    ("09.1", list(3 * b), "multiplied B."),
    ("09.1", list(c + 3 * b), "and added C"),
    ("09.2", 7.5, "for the same"),
    ("09.2", 1 + 7.5, "other way round"),
    ("09.2", 1 - 7.5, "before ε(∅)"),
    ("09.3", 2 * 20, "without an interval"),
    ("09.3", 2 * 8, "steps outside out"),
    ("09.3", 8 + 2 * 12, "exchanged"),
    ("09.3", 8 + 12, "One answer a step"),
    ("09.4", uphill, "against ε"),
    ("09.4", with_sigma, "multiplied by σ"),
    ("09.4", with_variance, "a variance"),
    ("09.4", slope_as_it_is, "as it is"),
    ("09.4", no_scale, "scale is missing"),
    ("09.4", divided, "You divided"),
    ("09.4", root_of_alpha_bar, "the picture's share"),
    ("09.4", compass_alone, "compass alone"),
    ("09.5", answers_subtracted, "the answers themselves"),
    ("09.5", towards, "*towards*"),
    ("09.5", all_times_s, "multiplied the ways back"),
    ("09.5", back_from_b, "begin at B"),
    ("09.6", plus, "stands in the formula twice"),
    ("09.6", undivided, "what C is multiplied by"),
    ("09.6", turned, "sign of the divisor"),
    ("09.6", way_from_b, "the way from B"),
    ("09.6", lambda e, b, scale: (scale * b - e) / scale, "You divided E"),
    ("09.6", lambda e, b, scale: (1 + scale) * e - scale * b, "where C belongs"),
    ("09.1", [0, 0], "Find D first"),
    ("09.2", 1, "Sort ours"),
    ("09.3", 12, "Count the steps"),
    ("09.4", lambda eps, slope, alpha_bar, scale: eps, "Guided score"),
    ("09.5", lambda b, c, n1, n2, s, p, q: b, "N₁ = N₂ = C"),
    ("09.6", lambda e, b, scale: e, "Take B = 1"),
]


@pytest.mark.parametrize("name, answer, words", WRONG)
def test_a_wrong_answer_is_met_with_its_idea(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right and words in verdict.text


def test_the_answer_lies_beyond_the_prompt():
    assert check("09.1", [4, -3]).right and check("09.2", 6.5).right and check("09.3", 28).right
