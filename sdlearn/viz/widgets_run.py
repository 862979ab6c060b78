"""The run explorer: every step of a run under one slider, two runs side by side if one likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets
import torch
from PIL import Image
from torch import Tensor

from sdlearn.schedule import Schedule
from sdlearn.trace import Generation, Step
from sdlearn.viz.figure import spread
from sdlearn.viz.frames import channel_maps
from sdlearn.viz.plots import Plot, strip
from sdlearn.viz.widgets_parts import Explorer, Panel, caption, note, player, row, slider

REACH = 3.0  # of the latents' and the noise's colours: 3 standard deviations
LARGEST_MAP = 256  # pixels
AT_ONCE = 8  # latents that are decoded together
PICTURES = ("before the step", "what it believes", "after the step")
LATENTS, WITH, WITHOUT = "latents", "noise with prompt", "noise without"
KEY = (
    "Upper row: the latents, decoded, and what the network believes the picture to be. Lower row: the channels of the "
    "latents before the step, and the noise that the network sees in them, asked with the prompt and without. "
    f"Orange is below zero, purple above; the scale is ± {REACH:g}, the difference has its own."
)
Decode = Callable[[Tensor], list[Image.Image]]


def run_explorer(*runs: Generation | Sequence[Step], pipe: object, names: Sequence[str] = ()) -> Explorer:
    """Scrub through the steps of a recorded run, or of two side by side: pictures, latents, noise.

    A run is a Generation or a list of Steps; of a batch the first picture is shown. ``pipe.decode`` is asked
    once for each latent. ``names``: one a run, by default its prompt. Raises ValueError where no step is recorded.
    """
    if not 1 <= len(runs) <= 2:
        raise ValueError(f"run_explorer shows one run, or two side by side; got {len(runs)}.")
    if names and len(names) != len(runs):
        raise ValueError(f"{len(names)} names for {len(runs)} runs; give one a run, or none.")
    recorded = [_steps(run) for run in runs]
    names = list(names) or [_name(run, k) for k, run in enumerate(runs)]
    width = 190 if len(runs) == 1 else 124
    pictures = [_pictures(steps, pipe.decode) for steps in recorded]
    panels = [{name: Panel(name, ones, width) for name, ones in run.items()} for run in pictures]
    texts = [_texts(steps) for steps in recorded]
    lines = [caption() for _ in runs]

    def show(place: int) -> None:
        for run, line, text in zip(panels, lines, texts):
            for panel in run.values():
                panel.show(place)
            line.value = text[min(place, len(text) - 1)]

    last = max(map(len, recorded))
    step = slider(ipywidgets.IntSlider, "step", min=1, max=last, value=1)
    step.observe(lambda change: show(change["new"] - 1), "value")
    show(0)
    columns = [
        ipywidgets.VBox(
            [ipywidgets.Label(name), *_rows(list(run.values())), line], layout={"margin": "0 16px 0 0"}
        )
        for name, run, line in zip(names, panels, lines)
    ]
    about = f"Run explorer: a slider over {last} steps of {' and of '.join(names)}."
    children = [row(step, player(step, last, first=1)), row(*columns), note(KEY)]
    return Explorer(about, {"step": step}, children, lambda: _film(names, pictures, texts))


def _rows(panels: list[Panel]) -> list[ipywidgets.HBox]:
    """Pictures above, maps below."""
    return [row(*panels[: len(PICTURES)]), row(*panels[len(PICTURES) :])]


def _steps(run: Generation | Sequence[Step]) -> list[Step]:
    """The steps of a run, for its first picture, or one clear error."""
    steps = run.steps if isinstance(run, Generation) else run
    if not isinstance(steps, list | tuple) or not all(isinstance(step, Step) for step in steps):
        raise TypeError(f"a run is a Generation or a list of its steps, not {type(run).__name__}.")
    if not steps:
        raise ValueError("this run has no steps: draw it with record=True (the default).")
    return list(steps)


def _name(run: Generation | Sequence[Step], k: int) -> str:
    """The prompt and seed, where the run says."""
    settings = run.settings if isinstance(run, Generation) else {}
    prompt = settings.get("prompt", f"run {k + 1}")
    prompt = prompt if isinstance(prompt, str) else prompt[0]
    seed = [f"seed {settings['seed']}"] if isinstance(settings.get("seed"), int) else []
    return ", ".join([prompt, *seed])


def _pictures(steps: list[Step], decode: Decode) -> dict[str, list[Image.Image]]:
    """The frames of each panel, one a step. A latent is decoded once."""
    noisy = [Schedule.to_vp(step.x[:1], step.sigma) for step in steps]
    noisy.append(Schedule.to_vp(steps[-1].x_next[:1], steps[-1].sigma_next))
    states = _decoded(noisy, decode)
    beliefs = _decoded([step.pred.x0[:1] for step in steps], decode)
    size = min(states[0].height, LARGEST_MAP)
    panels = dict(zip(PICTURES, (states[:-1], beliefs, states[1:]), strict=True))
    panels[LATENTS] = channel_maps(torch.cat(noisy[:-1]), REACH, size)
    answers = {
        WITH: [step.pred.eps_cond for step in steps],
        WITHOUT: [step.pred.eps_uncond for step in steps],
        _difference_name(steps): _differences(steps),
    }
    for name, values in answers.items():
        if any(value is not None for value in values):
            panels[name] = _maps(values, REACH if name in (WITH, WITHOUT) else _difference_reach(steps), size)
    return panels


def _decoded(latents: list[Tensor], decode: Decode) -> list[Image.Image]:
    """Some at a time: a long run of large pictures does not fill the memory."""
    groups = [latents[k : k + AT_ONCE] for k in range(0, len(latents), AT_ONCE)]
    return [image for group in groups for image in decode(torch.cat(group))]


def _differences(steps: list[Step]) -> list[Tensor | None]:
    """What the prompt changes in the network's answer, where it was asked with and without."""
    pairs = [(step.pred.eps_cond, step.pred.eps_uncond) for step in steps]
    return [None if a is None or b is None else a - b for a, b in pairs]


def _difference_reach(steps: list[Step]) -> float:
    """The scale of the differences: 99 of 100 numbers of the run are within. 1 where there are none."""
    found = [one[:1].flatten() for one in _differences(steps) if one is not None]
    return (float(torch.cat(found).abs().quantile(0.99)) if found else 0) or 1.0


def _difference_name(steps: list[Step]) -> str:
    return f"difference, ± {_difference_reach(steps):.2g}"


def _maps(values: list[Tensor | None], reach: float, size: int) -> list[Image.Image]:
    """Channel maps; a grey sheet at steps where the network was not asked."""
    found = [None if value is None else channel_maps(value[:1], reach, size)[0] for value in values]
    blank = Image.new("RGB", next(one for one in found if one is not None).size, "#dddddd")
    return [one or blank for one in found]


def _texts(steps: list[Step]) -> list[str]:
    """What the pictures of each step show, in figures."""
    finished = steps[-1].x_next[0].flatten()
    alike = [torch.corrcoef(torch.stack([step.pred.x0[0].flatten(), finished]))[0, 1] for step in steps]
    return [
        f"Step {place} of {len(steps)}: noise σ {step.sigma:.2f} → {step.sigma_next:.2f}; "
        f"belief and finished latents are alike by {likeness:.2f}."
        for place, (step, likeness) in enumerate(zip(steps, alike), 1)
    ]


def _film(names: list[str], pictures: list[dict[str, list[Image.Image]]], texts: list[list[str]]) -> Plot:
    """Up to eight steps: every panel of one run, or the pictures of two."""
    number = max(len(run[PICTURES[0]]) for run in pictures)
    places = spread(number)
    rows = {}
    for name, run in zip(names, pictures):
        shown = run if len(pictures) == 1 else {title: run[title] for title in PICTURES[:2]}
        for title, frames in shown.items():
            label = title if len(pictures) == 1 else f"{name}, {len(frames)} steps: {title}"
            rows[label] = [frames[min(place, len(frames) - 1)] for place in places]
    told = [f"{name}: {text[0]} {text[-1]}" for name, text in zip(names, texts)]
    alt = f"Film strip of {len(places)} of {number} steps, rows: {'; '.join(rows)}. {' '.join(told)}"
    return strip(rows, [f"step {place + 1}" for place in places], alt=alt, zoom=1)
