"""How answers are judged, on small exercises made up here."""

import numpy as np
import pytest
import torch

from sdlearn.exercises import Exercise, Mistake, check
from sdlearn.exercises.core import judge

NUMBER = Exercise(
    start="Begin with the root.",
    right=2.5,
    praise="So it is.",
    mistakes=(Mistake(6.25, "This is the square: take its root."),),
    otherwise="Look at the formula again.",
)
WORD = Exercise("Choose.", "C", "Yes.", (Mistake("A", "A blank sheet has no noise."),), "Choose A, B or C.")
FUNCTION = Exercise(
    start="Fill in the body.",
    right=lambda x: x + 1,
    praise="Good.",
    mistakes=(Mistake(lambda x: x - 1, "The sign: what is added?"),),
    otherwise="Try it with x = 0.",
    ask=lambda function: function(torch.arange(3.0)),
)


@pytest.mark.parametrize(
    "exercise, answer, right, words",
    [
        (NUMBER, 2.5, True, "So it is"),
        (NUMBER, 2.501, True, "So it is"),  # rounded
        (NUMBER, torch.tensor(2.5), True, "So it is"),
        (NUMBER, np.float32(2.5), True, "So it is"),
        (NUMBER, 2.51, False, "Look at the formula"),
        (NUMBER, 6.25, False, "take its root"),
        (NUMBER, ..., False, "Begin with"),
        (NUMBER, None, False, "Begin with"),
        (NUMBER, "2.5", False, "is to be a number, and this is a text"),
        (NUMBER, [2.5, 2.5, 1], False, "One number is asked for, and these are three."),
        (NUMBER, [2.5], False, "One number is asked for, and this is a list with one in it"),
        (NUMBER, [], False, "One number is asked for, and this is none."),
        (NUMBER, torch.ones(2, 2), False, "shape (2, 2), and () is asked for"),
        (NUMBER, torch.ones(12), False, "and these are 12."),
        (NUMBER, float("nan"), False, "not finite"),
        (NUMBER, object(), False, "is to be a number"),
        (NUMBER, torch.ones(2), False, "One number is asked for, and these are two."),
        (WORD, "C", True, "Yes"),
        (WORD, " c ", True, "Yes"),
        (WORD, "A", False, "blank sheet"),
        (WORD, "B", False, "Choose A, B or C"),
        (WORD, "", False, "Choose."),
        (WORD, 3, False, "is to be a text, and this is a number"),
        (FUNCTION, lambda x: x + 1, True, "Good"),
        (FUNCTION, lambda x: x - 1, False, "The sign"),
        (FUNCTION, lambda x: 2 * x, False, "Try it with"),
        (FUNCTION, lambda x: ..., False, "Fill in"),
        (FUNCTION, lambda x: None, False, "Fill in"),
        (FUNCTION, ..., False, "Fill in"),
        (FUNCTION, lambda x: x[:2], False, "Three numbers are asked for, and these are two."),
        (FUNCTION, lambda x: x.sum(), False, "Three numbers are asked for, and this is one."),
        (FUNCTION, lambda x: x[None] + 2, False, "shape (1, 3), and (3,) is asked for"),
        (FUNCTION, lambda x: x / 0, False, "not finite"),
        (FUNCTION, lambda: 1, False, "Your function stopped: TypeError"),
        (FUNCTION, 4, False, "A function is asked for, and this is a number"),
    ],
)
def test_verdicts(exercise, answer, right, words):
    verdict = judge(exercise, answer)
    assert verdict.right is right and words in verdict.text
    assert repr(verdict).startswith("Right. " if right else "Not yet. ")


def test_lists_of_numbers_and_words():
    exercise = Exercise("Both.", [1.0, "a"], "Yes.", (), "No.")
    assert judge(exercise, (1.0, "A")).right
    assert judge(exercise, (1.0, ...)).text == "Both."
    assert judge(exercise, (1.0, "b")).text == "No."
    assert judge(exercise, [1.0]).text == "Two answers are asked for, and this is one."
    assert judge(exercise, [1.0, 2.0]).text == "The answer is to be a text, and this is a number."
    assert "not finite" in judge(exercise, [float("inf"), "a"]).text
    pair = Exercise("Both.", [1.0, 2.0], "Yes.", (), "No.")
    assert judge(pair, 2.0).text == "Two numbers are asked for, and this is one."
    assert "not finite" in judge(pair, [1.0, float("nan")]).text


def test_the_form_of_each_tensor_in_a_list_is_looked_at():
    right = [torch.ones(3), torch.zeros(2, 3)]
    exercise = Exercise("Both.", right, "Yes.", (), "No.")
    assert judge(exercise, list(right)).right
    assert judge(exercise, [torch.zeros(3), torch.zeros(2, 3)]).text == "No."
    assert "not finite" in judge(exercise, [torch.ones(3), torch.full((2, 3), torch.nan)]).text
    assert (
        judge(exercise, [torch.ones(4), right[1]]).text == "Three numbers are asked for, and these are four."
    )
    assert "shape (3, 2), and (2, 3)" in judge(exercise, [right[0], torch.zeros(3, 2)]).text
    assert judge(exercise, right[:1]).text == "Two answers are asked for, and this is one."
    assert "is to be a list" in judge(exercise, torch.ones(3)).text


def test_unknown_names():
    with pytest.raises(ValueError, match="there is no exercise '77.1': names are like"):
        check("77.1", 1)
    with pytest.raises(ValueError, match="there is no exercise"):
        check(1, 1)
