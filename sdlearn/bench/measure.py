"""The benchmark as a whole: one dictionary of everything that was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from sdlearn.bench import against, scaling
from sdlearn.bench.cold import time_command, time_import
from sdlearn.bench.flops import Work, work_of
from sdlearn.bench.kinds import seconds_by_kind
from sdlearn.bench.limits import Limits, measure_limits
from sdlearn.bench.memory import with_peak
from sdlearn.bench.subjects import Task, drawing_length, guided_steps, subjects
from sdlearn.bench.timing import Timing, time_calls, time_pairs
from sdlearn.pipeline import StableDiffusion

Say = Callable[[str], None]
LARGE = 2e8  # parameters of a U-Net whose guided step takes seconds on a processor
QUICK_PIXELS = 64
FACTORS = (0.5, 0.75, 1, 1.5, 2)  # of the model's own side: 256 to 1024 pixels for Stable Diffusion 1.5


@dataclass(frozen=True)
class Request:
    """What is asked for; ``steps`` None: 25, and no whole pictures where they take minutes."""

    batches: tuple[int, ...] = (1,)
    runs: int = 5
    steps: int | None = None
    diffusers: bool = False
    compiled: bool = False  # the pipeline is; so diffusers is to be, too
    scaling: bool = False
    leak: int | None = None
    quick: bool = False


def is_slow(pipe: StableDiffusion) -> bool:
    """Whether a guided step takes seconds."""
    return pipe.device.type == "cpu" and sum(p.numel() for p in pipe.unet.parameters()) > LARGE


def first_task(pipe: StableDiffusion, request: Request) -> Task:
    """One picture of the model's own size; a small one where a large model is only tried."""
    side = pipe.unet.config.sample_size * pipe.vae.config.factor
    side = min(side, QUICK_PIXELS) if request.quick else side
    steps = request.steps or (2 if request.quick else 25)
    return Task(request.batches[0], side, side, steps, parts=1 if is_slow(pipe) or request.quick else 10)


def check_request(pipe: StableDiffusion, request: Request) -> None:
    """Raise ValueError if a picture, or the drawing whose steps are timed, has more steps than the model knows."""
    task, most = first_task(pipe, request), pipe.schedule.config.num_train_timesteps
    if task.steps > most:
        raise ValueError(f"--steps must be from 1 to {most}, got {task.steps}.")
    if drawing_length(task, request.runs) > most:
        raise ValueError(f"--runs must be from 1 to {most // task.parts - 1}, got {request.runs}.")


def names_of(pipe: StableDiffusion, request: Request, say: Say) -> tuple[str, ...]:
    """What is timed; whole pictures are left out where they take minutes and nobody asked."""
    names = "text encoder", "U-Net call", "guided step", "VAE decode"
    if request.compiled:  # for one batch size: that of the pair that guidance asks
        names = "text encoder", "guided step", "VAE decode"
    if is_slow(pipe) and request.steps is None and not request.quick:
        say("whole pictures are left out: one takes minutes here. Ask for them with --steps 25.")
        return names
    return (*names, "picture")


def measured(pipe: StableDiffusion, task: Task, names: tuple[str, ...], runs: int, limits: Limits, say: Say):
    """A row for each name: seconds, FLOPs, shares of the machine's limits, peak memory."""
    work, calls, rows = work_of(pipe, task), subjects(pipe, task, runs), []
    for name in names:
        say(f"{name}, batch {task.batch}")
        parts = task.parts if name == "guided step" else 1
        # Taken out, so that a drawing that has been timed holds no memory in the next one's peak.
        timed = partial(time_calls, name, calls.pop(name), runs, pipe.device, parts)
        timing, most = with_peak(timed, pipe.device)
        rows.append(as_row(timing, task.batch, work[name], limits, most))
    return rows


def as_row(timing: Timing, batch: int, work: Work, limits: Limits, most: int | None) -> dict[str, Any]:
    """Seconds beside what they were spent on."""
    return {
        **asdict(timing),
        "batch": batch,
        "median": timing.median,
        "flops": work.flops,
        "of matmul": work.flops / timing.median / limits.matmul,
        "of copy": work.weights / timing.median / limits.copy,  # weights read once a call
        "peak": most,
    }


def paired(
    pipe: StableDiffusion, theirs: Any, way: str, task: Task, names: tuple[str, ...], runs: int, say: Say
):
    """A row for each name: ours and theirs by turns."""
    ours, rows = subjects(pipe, task, runs), []
    others = against.their_subjects(theirs, pipe, task, runs)
    for name in names:
        say(f"{name}, batch {task.batch}, by turns with diffusers ({way})")
        parts = task.parts if name == "guided step" else 1
        # Taken out, as in ``measured``: no earlier drawing holds memory while the next one is timed.
        pairs = time_pairs(name, ours.pop(name), others.pop(name), runs, pipe.device, parts)
        more = {"batch": task.batch, "way": way, "ratios": pairs.ratios, "ratio": pairs.ratio}
        rows.append(asdict(pairs) | more)
    return rows


def against_diffusers(
    pipe: StableDiffusion, tasks: list[Task], names: tuple[str, ...], request: Request, say: Say
) -> list[dict[str, Any]]:
    """Pairs for every way to run diffusers: compiled if we are, else channels-last and as it comes."""
    theirs, rows = against.same_in_diffusers(pipe), []
    if is_slow(pipe) and not request.quick:  # the rest takes minutes, and says little more
        names = tuple(name for name in names if name in ("guided step", "picture"))
    ways = {"channels-last": lambda theirs: theirs, "as it comes": against.as_it_comes}
    for way, change in ({"compiled": against.compiled} if request.compiled else ways).items():
        theirs = change(theirs)
        for task in tasks:
            rows += paired(pipe, theirs, way, task, names, request.runs, say)
    return rows


def shares_of(pipe: StableDiffusion, task: Task, say: Say) -> dict[str, Any]:
    """Seconds of a guided step by kind of operator, and FLOP/s of convolutions and linear layers."""
    say("where a guided step spends its time")
    kinds = seconds_by_kind(guided_steps(pipe, task, 1), pipe.device, task.parts)
    work = work_of(pipe, task)["guided step"]
    busy = kinds.convolution + kinds.linear
    return asdict(kinds) | {"rate": (work.convolution + work.linear) / busy if busy else None}


def scaled(pipe: StableDiffusion, task: Task, request: Request, say: Say) -> dict[str, Any]:
    """The three tables; shorter where a step takes seconds, or only a trial is asked for."""
    short = is_slow(pipe) or request.quick
    runs = 1 if short else request.runs
    multiple = 2 * pipe.vae.config.factor
    sides = {round(factor * task.height / multiple) * multiple for factor in FACTORS[: 3 if short else 5]}
    one = replace(task, batch=1)
    return {
        "steps": scaling.over_steps(pipe, one, (1, 2, 4) if short else (5, 10, 20, 40), runs, say),
        "batch": scaling.over_batches(pipe, one, (1, 2, 4) if short else (1, 2, 4, 8, 16), runs, say),
        "size": scaling.over_sizes(pipe, one, sorted(sides), runs, say),
    }


def benchmark(pipe: StableDiffusion, request: Request, say: Say = print) -> dict[str, Any]:
    """Everything that ``request`` asks for; ``say`` gets a line before each measurement."""
    check_request(pipe, request)
    say("what the machine can do")
    limits = measure_limits(pipe.device, pipe.dtype, quick=request.quick)
    first, names = first_task(pipe, request), names_of(pipe, request, say)
    tasks = [replace(first, batch=batch) for batch in request.batches]
    rows = [row for task in tasks for row in measured(pipe, task, names, request.runs, limits, say)]
    eager = not (request.compiled and pipe.device.type == "cuda")  # graphs hide their operators
    results = {
        "size": [first.width, first.height],
        "steps": first.steps,
        "device": pipe.device.type,
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "compiled": request.compiled,
        "quick": request.quick,
        "parameters": sum(p.numel() for p in pipe.unet.parameters()),
        "limits": asdict(limits),
        "rows": rows,
        "shares": shares_of(pipe, replace(first, batch=1), say) if eager else None,
        "pairs": against_diffusers(pipe, tasks, names, request, say) if request.diffusers else [],
        "scaling": scaled(pipe, first, request, say) if request.scaling else None,
        "leak": None,
    }
    if request.leak:
        task = replace(first, batch=1, steps=2)
        results["leak"] = scaling.leak(pipe, task, request.leak, say)
    return results


def cold_starts(model: str, device: str, dtype: str, runs: int) -> list[dict[str, Any]]:
    """Fresh processes: imports, and the whole command."""
    timings = [
        time_import("import sdlearn", runs),
        time_import("from sdlearn import StableDiffusion", runs),
        time_command(model, device, dtype, runs),
    ]
    return [asdict(timing) | {"median": timing.median} for timing in timings]
