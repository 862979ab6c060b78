"""Clocks that are fair: a warm-up first, the GPU waited for, two rivals by turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """The seconds of each run of one thing."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Pairs:
    """The seconds of two rivals who ran by turns.

    ``difference``: the largest between their last answers, over the largest number in theirs.
    """

    name: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    difference: float

    @property
    def ratios(self) -> tuple[float, ...]:
        """Our seconds over theirs, pair by pair: below 1 we are faster."""
        return tuple(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def finished(device: torch.device) -> float:
    """The time in seconds, read when the device has done all its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def clocked(call: Call, device: torch.device) -> tuple[float, object]:
    """(seconds, answer) of one call."""
    start = finished(device)
    answer = call()
    return finished(device) - start, answer


def time_calls(name: str, call: Call, runs: int, device: torch.device, parts: int = 1) -> Timing:
    """Time ``runs`` calls after one that warms up, each the time of ``parts`` equal things."""
    call()
    return Timing(name, tuple(clocked(call, device)[0] / parts for _ in range(runs)))


def time_pairs(name: str, ours: Call, theirs: Call, runs: int, device: torch.device, parts: int = 1) -> Pairs:
    """Time two calls that answer with tensors by turns, after a warm-up of each; who begins changes every time."""
    calls, seconds = (ours, theirs), ([], [])
    answers = [call() for call in calls]
    for run in range(runs):
        for who in (0, 1) if run % 2 == 0 else (1, 0):
            took, answers[who] = clocked(calls[who], device)
            seconds[who].append(took / parts)
    a, b = (answer.detach().float().cpu() for answer in answers)
    return Pairs(name, tuple(seconds[0]), tuple(seconds[1]), float((a - b).abs().max() / b.abs().max()))
