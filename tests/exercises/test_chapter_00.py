"""Chapter 00's exercises: answers that people give, and the idea that each is taken for."""

import pytest

from sdlearn.exercises import check


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("00.1", 25, "one question a step"),
        ("00.1", 25 + 1, "asked once for the whole run"),
        ("00.1", 2, "How many steps"),
        ("00.1", 25 * 7.5, "how much a difference"),
        ("00.1", 1, "anew in every step"),
        ("00.1", 75, "questions of one step"),
        ("00.2", lambda a, b, s: b + s * (b - a), "still hears it"),
        ("00.2", lambda a, b, s: a - s * (b - a), "wrong way round"),
        ("00.2", lambda a, b, s: s * b, "noise larger"),
        ("00.2", lambda a, b, s: s * b - s * a, "difference alone"),
        ("00.2", lambda a, b, s: a + s * b, "not what the sentence *changes*"),
        ("00.2", lambda a, b, s: b, "Try scale 0"),
        ("00.3", 8 * 8, "compared places"),
        ("00.3", 8, "two sides"),
        ("00.3", 512 * 512 / (64 * 64 * 4), "three colours"),
        ("00.3", 8 * 8 * 3, "four channels"),
        ("00.3", 16384 / 786432, "Turned round"),
        ("00.3", 12, "colours numbers"),
        ("00.4", (1, 4, 192 // 8, 128 // 8), "Height comes before width"),
        ("00.4", [1, 4, 128, 192], "far fewer places"),
        ("00.4", (1, 3, 16, 24), "four channels"),
        ("00.4", (1, 4, 16, 16), "square sheet"),
        ("00.4", (16, 24), "these are two"),
        ("00.5", 20 - 6, "left *out*"),
        ("00.5", 20, "strength 1"),
        ("00.5", 0.3, "the share"),
        ("00.5", 2 * 6, "still one step"),
        ("00.6", lambda x, eps, s, t: x - (t - s) * eps, "*adds* noise"),
        ("00.6", lambda x, eps, s, t: x - s * eps, "all the noise at once"),
        ("00.6", lambda x, eps, s, t: x - t * eps, "should be *left*"),
        ("00.6", lambda x, eps, s, t: x - eps, "whatever its level"),
        ("00.6", lambda x, eps, s, t: t / s * x, "shrink the sheet"),
        ("00.6", lambda x, eps, s, t: x, "picture + sigma"),
    ],
)
def test_wrong_answers_are_told_which_idea_they_are(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right and words in verdict.text
