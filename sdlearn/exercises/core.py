"""What an exercise is, and how an answer is judged.

Each chapter's exercises are data, in ``chapter_NN.py``: the right answer, the answers of those who think something
else (with what to try), and what to say where nothing is answered yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module, resources
from typing import Any

import torch
from torch import Tensor

COUNTS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Verdict:
    """What :func:`check` found. A notebook shows its text."""

    right: bool
    text: str

    def __repr__(self) -> str:
        return f"{'Right.' if self.right else 'Not yet.'} {self.text}"


@dataclass(frozen=True)
class Mistake:
    """``answer`` is what somebody gives who thinks so; ``text`` says which idea that is, and what to try."""

    answer: Any
    text: str


@dataclass(frozen=True)
class Exercise:
    """One exercise. Where it asks for a function, ``right`` and the mistakes' answers are functions too, and ``ask``
    calls one of them and returns what it gave: a number, a tensor, a string, or a list of these."""

    start: str  # where nothing is answered yet: how to begin
    right: Any
    praise: str  # what the right answer means
    mistakes: tuple[Mistake, ...]
    otherwise: str  # of every other wrong answer: what to look at
    ask: Callable[[Callable], Any] | None = None
    tolerance: float = 1e-3  # relative, so that an answer may be rounded to four digits


def check(name: str, answer: Any) -> Verdict:
    """Judge the answer to exercise ``name``, such as "01.2". Never raises for a wrong or odd answer.

    Raises ValueError for an exercise that does not exist.
    """
    return judge(find(name), answer)


def find(name: str) -> Exercise:
    """The exercise of that name, or a ValueError that lists those of its chapter."""
    chapter = str(name).partition(".")[0]
    if f"chapter_{chapter}.py" not in {file.name for file in resources.files(__package__).iterdir()}:
        raise ValueError(f"there is no exercise {name!r}: names are like '01.2', the chapter and the number.")
    exercises = import_module(f"{__package__}.chapter_{chapter}").EXERCISES
    if name not in exercises:
        raise ValueError(f"there is no exercise {name!r}; chapter {chapter} has {', '.join(exercises)}.")
    return exercises[name]


def judge(exercise: Exercise, answer: Any) -> Verdict:
    """The verdict on an answer: blank, broken, right, a known mistake, or none of these."""
    if exercise.ask is not None and answer is not ... and answer is not None and not callable(answer):
        return Verdict(
            False, f"A function is asked for, and this is {_kind(answer)}. Leave its brackets away."
        )
    try:
        given = answer if exercise.ask is None or not callable(answer) else exercise.ask(answer)
    except NotImplementedError:
        return Verdict(False, exercise.start)
    except Exception as error:
        return Verdict(False, f"Your function stopped: {type(error).__name__}: {error}")
    if _blank(given):
        return Verdict(False, exercise.start)
    if _same(given, _value(exercise, exercise.right), exercise.tolerance):
        return Verdict(True, exercise.praise)
    for mistake in exercise.mistakes:
        if _same(given, _value(exercise, mistake.answer), exercise.tolerance):
            return Verdict(False, mistake.text)
    return Verdict(False, _odd(given, _value(exercise, exercise.right)) or exercise.otherwise)


def _value(exercise: Exercise, answer: Any) -> Any:
    return answer if exercise.ask is None else exercise.ask(answer)


def _blank(given: Any) -> bool:
    """Nothing is answered: None or ``...``, alone or in a list."""
    if isinstance(given, list | tuple):
        return any(_blank(one) for one in given)
    return given is None or given is ... or (isinstance(given, str) and not given.strip())


def _numbers(value: Any) -> Tensor | None:
    """A number, or numbers in lists or arrays, as float64; None for anything else."""
    try:
        if isinstance(value, str):
            return None
        return torch.as_tensor(value).detach().cpu().to(torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return None


def _same(given: Any, wanted: Any, tolerance: float) -> bool:
    if isinstance(wanted, str):
        return isinstance(given, str) and given.strip().casefold() == wanted.casefold()
    left, right = _numbers(given), _numbers(wanted)
    if left is not None and right is not None:
        return left.shape == right.shape and torch.allclose(left, right, rtol=tolerance, atol=1e-9)
    if isinstance(wanted, Sequence) and isinstance(given, Sequence) and len(wanted) == len(given):
        return all(_same(one, other, tolerance) for one, other in zip(given, wanted, strict=True))
    return False


def _odd(given: Any, wanted: Any) -> str:
    """What is wrong with the form of an answer, or "": its kind, how many there are, numbers that are none."""
    left, right = _numbers(given), _numbers(wanted)
    lists = isinstance(wanted, list | tuple) and isinstance(given, list | tuple)
    if lists and (left is None or right is None):  # texts among them, or tensors: each for itself
        if len(given) != len(wanted):
            return _other_number("answer", len(given), len(wanted))
        return next(filter(None, map(_odd, given, wanted)), "")
    if isinstance(wanted, str) != isinstance(given, str) or (left is None) != (right is None):
        return f"The answer is to be {_kind(wanted)}, and this is {_kind(given)}."
    if left is not None and left.shape != right.shape:
        if max(left.ndim, right.ndim) > 1:
            return f"The answer has the shape {tuple(left.shape)}, and {tuple(right.shape)} is asked for."
        return _other_number("number", left.numel(), right.numel())
    if left is not None and not all(map(math.isfinite, left.flatten().tolist())):
        return "The answer is not finite: look for a division by zero, or the root or logarithm of such a number."
    return ""


def _other_number(what: str, given: int, wanted: int) -> str:
    """That so many are asked for, and so many are given."""
    asked = f"{_count(wanted).capitalize()} {what}{' is' if wanted == 1 else 's are'} asked for"
    if given == wanted:  # a list of one number is no number
        return f"{asked}, and this is a list with {_count(given)} in it: leave its brackets away."
    return f"{asked}, and {'these are' if given > 1 else 'this is'} {_count(given)}."


def _count(number: int) -> str:
    """A small number in words."""
    return COUNTS[number] if number < len(COUNTS) else str(number)


def _kind(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, str):
        return "a text"
    if isinstance(value, bool):
        return "True or False"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Tensor):
        return f"a tensor of the shape {tuple(value.shape)}" if value.ndim else "a number"
    if callable(value):
        return "a function"
    return f"a {type(value).__name__}"
