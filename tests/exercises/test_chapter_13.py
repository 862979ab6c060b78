"""Chapter 13's exercises: wrong answers as people give them, written here on their own."""

from functools import lru_cache
from statistics import mean, median

import numpy as np
import pytest

from sdlearn.exercises import check

NUMBERS = 4 * 128 * 16**2  # that come out of the convolution


def medians_first(ours, theirs):
    return np.median(ours) / np.median(theirs)


def mean_of_ratios(ours, theirs):
    return mean(np.divide(ours, theirs).tolist())


def totals(ours, theirs):
    return np.mean(ours) / np.mean(theirs)


def upside_down(ours, theirs):
    return median(np.divide(theirs, ours).tolist())


def best_runs(ours, theirs):
    return sorted(ours)[0] / sorted(theirs)[0]


def of_one_shape(costly):
    kept = {}

    def ask(x):
        if x.shape not in kept:
            kept[x.shape] = costly(x)
        return kept[x.shape]

    return ask


def always(costly):
    return lambda x: costly(x)


def forever(costly):
    return lru_cache(costly)


def by_address(costly):
    kept = {}

    def ask(x):
        if kept.get("who") != id(x):
            kept.update(who=id(x), what=costly(x))
        return kept["what"]

    return ask


def alike(costly):
    kept = []

    def ask(x):
        if not kept or (kept[0] != x).any():
            kept[:] = [x, costly(x)]
        return kept[1]

    return ask


def in_one_place(costly, kept={}):  # noqa: B006
    def ask(x):
        if kept.get("who") is not x:
            kept.update(who=x, what=costly(x))
        return kept["what"]

    return ask


def none(costly):
    return lambda x: 0 * x


WRONG = [
    ("13.1", NUMBERS * 576, "a MAC"),
    ("13.1", NUMBERS * 576 / 2, "for one picture"),
    ("13.1", NUMBERS * 576 * 8, "places that go in"),
    ("13.1", NUMBERS * 64 * 6, "One side"),
    ("13.1", NUMBERS * 18, "one channel only"),
    ("13.2", 200, "the peak"),
    ("13.2", 40 / 2, "See the units"),
    ("13.2", 2 * 200, "above it"),
    ("13.2", 200 / 40, "the ridge"),
    ("13.3", medians_first, "medians first"),
    ("13.3", mean_of_ratios, "mean of the ratios"),
    ("13.3", totals, "compared the sums"),
    ("13.3", upside_down, "Upside down"),
    ("13.3", best_runs, "the best runs"),
    ("13.4", 25 // 4, "rounded down"),
    ("13.4", 25 - 7, "that reuse"),
    ("13.4", 25 - 25 // 4, "away from all"),
    ("13.4", 25 // 5, "between them"),
    ("13.5", 3, "the rest of the picture"),
    ("13.5", 0.9 * 3, "90 % of the factor"),
    ("13.5", 0.1 + 0.9 / 3, "as a share"),
    ("13.5", 0.9 * 3 + 0.1, "do not add up"),
    ("13.5", 100 / 70, "a third *remains*"),
    ("13.6", of_one_shape, "as it did the first"),
    ("13.6", always, "Nothing is kept"),
    ("13.6", forever, "that ever were"),
    ("13.6", by_address, "given again"),
    ("13.6", alike, "compare the numbers"),
    ("13.6", in_one_place, "share one memory"),
    ("13.1", 1, "apart"),
    ("13.2", 40, "the lower one"),
    ("13.3", lambda ours, theirs: 1.0, "in which order"),
    ("13.4", 9, "How far apart"),
    ("13.5", 10, "New time"),
    ("13.6", none, "then about another"),
    ("13.6", lambda costly: 3, "asked for"),
]


@pytest.mark.parametrize("name, answer, words", WRONG)
def test_a_wrong_answer_is_met_with_its_idea(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right and words in verdict.text


def test_answers_in_other_forms_are_right():
    assert check("13.1", NUMBERS * 9 * 64 * 2).right and check("13.2", 2 * 40).right
    assert check("13.3", lambda ours, theirs: float(np.median(np.divide(ours, theirs)))).right
    assert check("13.4", len(range(1, 26, 4))).right and check("13.5", 100 / (10 + 30)).right


def test_a_memory_by_identity_is_right_in_a_class_too():
    class Last:
        def __init__(self, costly):
            self.costly, self.x = costly, None

        def __call__(self, x):
            if self.x is None or x is not self.x:
                self.x, self.answer = x, self.costly(x)
            return self.answer

    assert check("13.6", Last).right
