"""The schedule explorer: three noise schedules, and one picture under each of them, at the same timestep."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import torch
from ipywidgets import SelectionSlider
from PIL import Image, ImageDraw

from sdlearn.config import ScheduleConfig
from sdlearn.image import load_image, to_images, to_tensor
from sdlearn.schedule import Schedule
from sdlearn.viz.figure import spread
from sdlearn.viz.plots import INK, LINES, Plot, strip
from sdlearn.viz.widgets_parts import Explorer, Panel, caption, player, row, slider

STOPS = 41  # timesteps that are rendered, evenly spaced
SIDE = 256  # pixels of the picture, at most
USUAL = {
    "linear (Ho et al. 2020)": ScheduleConfig(beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
    "scaled linear (Stable Diffusion)": ScheduleConfig(),
    "cosine (Nichol, Dhariwal 2021)": ScheduleConfig(beta_schedule="squaredcos_cap_v2"),
}


def schedule_explorer(
    picture: Image.Image, schedules: Mapping[str, Schedule] | None = None, seed: int = 0
) -> Explorer:
    """One slider over the timestep: β, ᾱ, σ and log-SNR of up to three schedules, and the picture at t under each.

    All see the same noise, of ``seed``, in pixel space. The schedules must have the same number of timesteps.
    """
    schedules = dict(schedules or {name: Schedule(config) for name, config in USUAL.items()})
    if not 1 <= len(schedules) <= len(LINES):
        raise ValueError(f"schedule_explorer compares 1 to {len(LINES)} schedules; got {len(schedules)}.")
    lengths = {len(schedule.betas) for schedule in schedules.values()}
    if len(lengths) != 1:
        raise ValueError(f"the schedules have {sorted(lengths)} timesteps; compare those of one length.")
    times = spread(lengths.pop(), STOPS)
    noised = {name: _noised(picture, schedule, times, seed) for name, schedule in schedules.items()}
    curves = Panel("", _marked(schedules, times), 940)
    panels = [Panel(name, pictures, 220) for name, pictures in noised.items()]
    lines = [caption() for _ in schedules]
    t = slider(SelectionSlider, "timestep t", options=[(str(time), k) for k, time in enumerate(times)])

    def show(change: object = None) -> None:
        for panel in (curves, *panels):
            panel.show(t.value)
        for line, (name, schedule) in zip(lines, schedules.items()):
            line.value = f"{name} at t = {times[t.value]}: {_told(schedule, times[t.value])}."

    t.observe(show, "value")
    show()
    about = f"Schedule explorer: a slider over {len(times)} timesteps of {', '.join(schedules)}."
    children = [row(t, player(t, len(times) - 1, "index")), curves, row(*panels), *lines]
    return Explorer(about, {"timestep": t}, children, lambda: _film(schedules, noised, times))


def _noised(picture: Image.Image, schedule: Schedule, times: list[int], seed: int) -> list[Image.Image]:
    """sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps as pictures, one a timestep."""
    small = load_image(picture).copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    x0 = to_tensor(small)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
    sigmas = [float(schedule.sigmas[time]) for time in times]
    return [to_images(Schedule.to_vp(Schedule.add_noise(x0, noise, sigma), sigma))[0] for sigma in sigmas]


def _curves(schedules: Mapping[str, Schedule]) -> Plot:
    """β, ᾱ, σ and log-SNR over t, a panel each."""
    plot = Plot(940, 270, "β, ᾱ, σ and log-SNR of the schedules over the timestep.")
    quantities = {
        "β": lambda one: one.betas,
        "ᾱ": lambda one: one.alpha_bar,
        "σ": lambda one: one.sigmas,
        "log-SNR": lambda one: -2 * one.sigmas.log(),
    }
    for axes, (title, quantity) in zip(plot.subplots(1, len(quantities)), quantities.items()):
        for style, (name, schedule) in zip(LINES, schedules.items()):
            axes.plot(quantity(schedule), label=name, linewidth=1.6, markevery=0.2, markersize=5, **style)
        axes.set_title(title, fontsize=11, color=INK, loc="left")
        axes.tick_params(labelsize=9, colors=INK, length=2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("t", fontsize=9, color=INK)
        if title in ("β", "σ"):  # the cosine's last β is 0.999, its last σ above 1000
            axes.set_yscale("log")
    plot.tight_layout(pad=1.0, rect=(0, 0, 1, 0.9))
    handles, names = plot.axes[0].get_legend_handles_labels()
    plot.legend(handles, names, loc="upper center", ncols=len(names), fontsize=9, frameon=False)
    return plot


def _marked(schedules: Mapping[str, Schedule], times: list[int]) -> list[Image.Image]:
    """The curves, drawn once, with a line at each timestep."""
    plot = _curves(schedules)
    sheet = Image.open(io.BytesIO(plot.png())).convert("RGB")
    pictures = []
    for time in times:
        marked = sheet.copy()
        draw = ImageDraw.Draw(marked)
        for axes in plot.axes:
            x = round(axes.transData.transform((time, 1))[0])
            box = axes.get_window_extent()
            draw.line([(x, sheet.height - box.y1), (x, sheet.height - box.y0)], fill=INK, width=2)
        pictures.append(marked.quantize(64))
    return pictures


def _told(schedule: Schedule, time: int) -> str:
    """The four quantities at one timestep."""
    beta, alpha_bar, sigma = (float(x[time]) for x in (schedule.betas, schedule.alpha_bar, schedule.sigmas))
    return f"β {beta:.2g}, ᾱ {alpha_bar:.2g}, σ {sigma:.2g}, log-SNR {-2 * math.log(sigma):.1f}"


def _film(
    schedules: Mapping[str, Schedule], noised: Mapping[str, list[Image.Image]], times: list[int]
) -> Plot:
    """Up to eight timesteps, a row a schedule."""
    places = spread(len(times))
    rows = {name: [pictures[place] for place in places] for name, pictures in noised.items()}
    middle = times[places[len(places) // 2]]
    told = "; ".join(f"{name}: {_told(schedule, middle)}" for name, schedule in schedules.items())
    alt = f"One picture, noisier from left to right, under {len(rows)} schedules. At t = {middle}, {told}."
    return strip(rows, [f"t = {times[place]}" for place in places], alt=alt, zoom=1)
