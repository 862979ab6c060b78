"""One thing varied at a time: steps, batch, size; and memory over many pictures."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import linear_regression
from typing import Any

import torch
from tqdm import tqdm

from sdlearn.bench.memory import held, with_peak
from sdlearn.bench.subjects import Task, guided_steps, picture
from sdlearn.bench.timing import Timing, time_calls
from sdlearn.pipeline import StableDiffusion

Say = Callable[[str], None]
WARM_UP = 20  # pictures drawn before memory is first looked at


def over_steps(
    pipe: StableDiffusion, task: Task, numbers: Sequence[int], runs: int, say: Say
) -> dict[str, Any]:
    """Whole pictures of so many steps, and the straight line through the medians."""
    medians = []
    for steps in numbers:
        say(f"a picture of {steps} steps")
        call = picture(pipe, replace(task, steps=steps))
        medians.append(time_calls("", call, runs, pipe.device).median)
    slope, intercept = linear_regression(numbers, medians)
    farthest = max(abs(intercept + slope * n - y) / y for n, y in zip(numbers, medians, strict=True))
    line = {"a step": slope, "intercept": intercept, "farthest from the line": farthest}
    return {"steps": list(numbers), "seconds": medians, **line}


def timed_steps(pipe: StableDiffusion, task: Task, runs: int) -> tuple[Timing, int | None]:
    """Guided steps, and the memory at their peak."""
    call = guided_steps(pipe, task, runs)
    return with_peak(partial(time_calls, "", call, runs, pipe.device, task.parts), pipe.device)


def over_batches(
    pipe: StableDiffusion, task: Task, numbers: Sequence[int], runs: int, say: Say
) -> dict[str, Any]:
    """A guided step of so many pictures at once."""
    medians = []
    for batch in numbers:
        say(f"a guided step of {batch} at once")
        medians.append(timed_steps(pipe, replace(task, batch=batch), runs)[0].median)
    each = [seconds / batch for seconds, batch in zip(medians, numbers, strict=True)]
    return {"batch": list(numbers), "seconds": medians, "seconds a picture": each}


def over_sizes(
    pipe: StableDiffusion, task: Task, sides: Sequence[int], runs: int, say: Say
) -> dict[str, Any]:
    """A guided step, and its memory, of square pictures with these sides in pixels."""
    medians, peaks = [], []
    for side in sides:
        say(f"a guided step of {side} x {side} pixels")
        timing, most = timed_steps(pipe, replace(task, height=side, width=side), runs)
        medians.append(timing.median)
        peaks.append(most)
    return {"pixels": list(sides), "seconds": medians, "peak memory": peaks}


def bytes_in_use(device: torch.device) -> int | None:
    """Held now, after Python has let go of what nobody needs: by the GPU's tensors, or by the process."""
    gc.collect()
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else held()


def leak(pipe: StableDiffusion, task: Task, pictures: int, say: Say) -> dict[str, Any]:
    """Memory after a warm-up and after so many pictures more, each of ``task.steps`` steps."""
    draw = picture(pipe, task)
    say(f"{pictures} pictures, for what memory does")
    for _ in range(WARM_UP):
        draw()
    before, seen = bytes_in_use(pipe.device), []
    for k in tqdm(range(pictures), desc="drawing", delay=2.0, leave=False, disable=None):
        draw()
        if (k + 1) % max(pictures // 10, 1) == 0:
            seen.append(bytes_in_use(pipe.device))
    after = bytes_in_use(pipe.device)
    growth = None if before is None or after is None else after - before
    return {"pictures": pictures, "before": before, "after": after, "growth": growth, "on the way": seen}
