"""Chapter 01's exercises: answers of people who learn this, and the idea that each is taken for."""

import math

import pytest

from sdlearn.exercises import check
from sdlearn.exercises.chapter_01 import EXERCISES
from sdlearn.schedule import Schedule


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("01.1", 0.1 * 0.2 * 0.5, "product of the βs"),
        ("01.1", 1 - 0.1 - 0.2 - 0.5, "sum of the βs"),
        ("01.1", math.sqrt(0.36), "√ᾱ"),
        ("01.1", 1 - 0.36, "share of noise"),
        ("01.1", 1 - 0.1 * 0.2 * 0.5, "First 1 - β"),
        ("01.1", 0.5, "last step alone"),
        ("01.1", 36, "between 0 and 1"),
        ("01.1", 0.7, "three factors"),
        ("01.2", lambda x, eps, a: x - (1 - a).sqrt() * eps, "large again"),
        ("01.2", lambda x, eps, a: (x - (1 - a) * eps) / a, "linear blend"),
        ("01.2", lambda x, eps, a: (x - (1 - a) * eps) / a.sqrt(), "the noise has not"),
        ("01.2", lambda x, eps, a: (x - (1 - a).sqrt() * eps) / a, "the picture has not"),
        ("01.2", lambda x, eps, a: x / a.sqrt() - (1 - a).sqrt() * eps, "the brackets"),
        ("01.2", lambda x, eps, a: x - ((1 - a) / a).sqrt() * eps, "σ scaling"),
        ("01.2", lambda x, eps, a: a.sqrt() * x + (1 - a).sqrt() * eps, "the jump once more"),
        ("01.2", lambda x, eps, a: x - eps, "only a part of it"),
        ("01.2", lambda x, eps, a: x, "see whether you get it back"),
        ("01.3", [4.0, 0.25], "a variance"),
        ("01.3", [4.0, 1 / 16], "a variance"),
        ("01.3", [2.0, 4.0], "the other way round"),
        ("01.3", [2.0, 0.5], "compared strengths"),
        ("01.3", [math.sqrt(0.8), 0.25], "full size, then take the root"),
        ("01.3", [0.5, 0.25], "picture against the noise"),
        ("01.3", [0.8, 0.25], "beside a shrunken picture"),
        ("01.3", [0.5, 4.0], "upside down"),
        ("01.3", [0.25, 2.0], "changed places"),
        ("01.3", [3.0, 3.0], "SNR · σ²"),
        ("01.3", 2.0, "Two numbers are asked for, and this is one"),
        ("01.4", 5 - 3, "partly cancel"),
        ("01.4", 5**2 - 3**2, "is its root"),
        ("01.4", 5, "what it finds"),
        ("01.4", math.sqrt(5**2 + 3**2), "added the variances"),
        ("01.4", math.sqrt(5 - 3), "Square each"),
        ("01.4", 3, "strength of the new noise"),
        ("01.5", 258, "just still ahead"),
        ("01.5", 260, "counted from 0"),
        ("01.5", 500, "not half of the variance"),
        ("01.5", 368, "√ᾱ falls"),
        ("01.5", 284, "beta_start and beta_end"),
        ("01.5", 418, "scaled linear"),
        ("01.5", 354, "Stable Diffusion's own"),
        ("01.5", 0, "hardly any noise"),
        ("01.5", 700, "close in on it"),
        ("01.6", lambda x, eps, now, later: later.sqrt() * x + (1 - later).sqrt() * eps, "clean picture"),
        ("01.6", lambda x, eps, now, later: later / now * x + (1 - later / now) * eps, "without its roots"),
        (
            "01.6",
            lambda x, eps, now, later: (later / now).sqrt() * x + (1 - later).sqrt() * eps,
            "too much noise",
        ),
        (
            "01.6",
            lambda x, eps, now, later: (later / now).sqrt() * x + (now - later).sqrt() * eps,
            "shrink the old",
        ),
        (
            "01.6",
            lambda x, eps, now, later: (1 - now + later).sqrt() * x + (now - later).sqrt() * eps,
            "a quotient",
        ),
        ("01.6", lambda x, eps, now, later: x, "change nothing"),
        (
            "01.6",
            lambda x, eps, now, later: (now / later).sqrt() * x + (1 - now / later).sqrt() * eps,
            "not finite",
        ),
    ],
)
def test_wrong_answers_are_told_which_idea_they_are(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right
    assert words in verdict.text
    assert verdict.text != EXERCISES[name].start


def test_known_mistakes_of_timesteps_are_what_they_say():
    """The timesteps of exercise 01.5 belong to the schedules and the confusions that its texts name."""
    from dataclasses import replace

    config = Schedule().config
    ends = {"beta_start": 0.0001, "beta_end": 0.02}

    def first(share, **changes):
        return int((Schedule(replace(config, **changes)).alpha_bar >= share).sum())

    assert first(0.5, beta_schedule="linear", **ends) == EXERCISES["01.5"].right
    assert first(0.25, beta_schedule="linear", **ends) == 368
    assert first(0.5, beta_schedule="linear") == 284
    assert first(0.5, **ends) == 418
    assert first(0.5) == 354
