"""Losses of a training run over its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from sdlearn.viz.figure import INK, LARGE, LINES, SMALL, Plot, quiet

Log = Sequence[float] | Sequence[Mapping[str, float]]


def loss_curves(logs: Mapping[str, Log], window: int | None = None) -> Plot:
    """One to three losses over the steps, on a logarithmic axis: every value pale, a running mean over it.

    A log is a number for each step, or the entries of a log.jsonl ("step" and "loss"). The mean is that of the last
    ``window`` values up to a step; if not given, a twentieth of the longest log.
    """
    if not 0 < len(logs) <= len(LINES):
        raise ValueError(f"loss_curves needs 1 to {len(LINES)} logs, got {len(logs)}.")
    series = {name: _series(name, log) for name, log in logs.items()}
    window = window or max(1, max(len(losses) for _, losses in series.values()) // 20)
    means = {name: _running_mean(losses, window) for name, (_, losses) in series.items()}
    told = [_told(name, *series[name], means[name]) for name in series]
    alt = f"Losses over training steps, with a running mean of {window} values. {' '.join(told)}"
    plot = Plot(640, 340, alt)
    axes = plot.subplots()
    for style, (name, (steps, losses)) in zip(LINES, series.items()):
        axes.plot(steps, losses, color=style["color"], alpha=0.3, linewidth=0.8)
        every = max(1, len(steps) // 10)
        axes.plot(steps, means[name], label=name, linewidth=2, markersize=5, markevery=every, **style)
    axes.set_yscale("log")
    axes.set_xlabel("training step")
    title = f"loss: every value pale, the mean of the last {window} strong" if window > 1 else "loss"
    axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
    if len(logs) > 1:
        for label in axes.legend(fontsize=SMALL, frameon=False).get_texts():
            label.set_parse_math(False)
    quiet(axes, grid=True)
    _plain_numbers(axes)
    plot.tight_layout(pad=1.2)
    return plot


def _series(name: str, log: Log) -> tuple[np.ndarray, np.ndarray]:
    """(steps, losses) of a log, or a clear error."""
    entries = [one if isinstance(one, Mapping) else {"step": k, "loss": one} for k, one in enumerate(log, 1)]
    if missing := [k for k, one in enumerate(entries) if not {"step", "loss"} <= one.keys()]:
        raise ValueError(f'{name}: entry {missing[0] + 1} of the log lacks "step" or "loss".')
    losses = np.array([float(one["loss"]) for one in entries])
    if not len(losses):
        raise ValueError(f"{name}: the log is empty.")
    if not (np.isfinite(losses) & (losses > 0)).all():
        bad = int(np.argmin(np.isfinite(losses) & (losses > 0)))
        raise ValueError(
            f"{name}: loss {bad + 1} is {losses[bad]:g}; a logarithmic axis needs numbers above zero."
        )
    return np.array([one["step"] for one in entries]), losses


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the last ``window`` values up to each; of fewer at the beginning."""
    return np.array([values[max(0, k - window) : k].mean() for k in range(1, len(values) + 1)])


def _told(name: str, steps: np.ndarray, losses: np.ndarray, means: np.ndarray) -> str:
    lowest = int(means.argmin())
    label = f"{name}: " if name else ""
    return (
        f"{label}{len(losses)} values from {losses[0]:.3g}; the mean ends at {means[-1]:.3g}, its lowest is "
        f"{means[lowest]:.3g} at step {steps[lowest]}."
    )


def _plain_numbers(axes: Axes) -> None:
    """0.02, 0.05, 0.1 instead of powers of ten."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
