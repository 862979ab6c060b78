"""The guidance dial: one seed at many guidance scales, recorded once; a scale in between is drawn on release."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import ipywidgets
import numpy as np
from PIL import Image

from sdlearn.arguments import check_guidance_scale
from sdlearn.viz.plots import Plot, strip
from sdlearn.viz.widgets_parts import Explorer, Panel, bar, caption, row, slider, waiting, watched

SCALES = (0, 1, 2, 3, 5, 7.5, 10, 15)
STEPS = 10
FINENESS = 0.25  # of the slider for a scale in between


def guidance_dial(
    prompt: str, pipe: object, scales: Sequence[float] = SCALES, seed: int = 0, steps: int = STEPS
) -> Explorer:
    """Turn the guidance scale of one prompt and one seed.

    The pictures at ``scales`` are drawn now, in ``steps`` steps each, behind a progress bar. Another scale is drawn
    when its slider is let go, and kept.
    """
    scales = sorted({check_guidance_scale(scale) for scale in scales})
    if len(scales) < 2:
        raise ValueError("guidance_dial needs two or more different guidance scales.")
    pictures: dict[float, Image.Image] = {}
    with waiting("guidance", len(scales) * steps, f"{len(scales)} pictures recorded") as tick:
        for scale in scales:
            pictures[scale] = _draw(pipe, prompt, scale, seed, steps, tick)
    panel, line = Panel("", list(pictures.values()), 256), caption()
    places = {scale: k for k, scale in enumerate(pictures)}  # of the panel's frames
    first = min(scales, key=lambda scale: abs(scale - 7.5))
    dial = slider(
        ipywidgets.SelectionSlider, "guidance", options=[(f"{one:g}", one) for one in scales], value=first
    )
    ends = {"min": scales[0], "max": scales[-1], "step": FINENESS}
    between = slider(ipywidgets.FloatSlider, "another scale", value=first, continuous_update=False, **ends)
    progress = bar("drawing", steps)
    progress.layout.visibility = "hidden"  # keeps its room: nothing below it moves

    def show(scale: float, how: str) -> None:
        panel.show(places[scale])
        line.value = f"Guidance {scale:g}, seed {seed}, {how}: {_told(pictures[scale])}."

    def turned(change: dict) -> None:
        show(change["new"], "recorded")

    def released(change: dict) -> None:
        scale = change["new"]
        if scale in pictures:
            return show(scale, "recorded")
        begin = time.perf_counter()
        line.value = f"Guidance {scale:g}: drawing …"
        try:
            pictures[scale] = watched(
                lambda tick: _draw(pipe, prompt, scale, seed, steps, tick), progress, between
            )
        except Exception as error:  # Jupyter hides in its log what goes wrong in a widget
            line.value = f"Guidance {scale:g} could not be drawn: {error}"
            raise
        places[scale] = panel.add(pictures[scale])
        show(scale, f"drawn in {time.perf_counter() - begin:.1f} seconds")

    dial.observe(turned, "value")
    between.observe(released, "value")
    show(first, "recorded")
    hint = ipywidgets.Label(
        "“guidance” moves among recorded pictures; “another scale” draws when you let go."
    )
    about = (
        f"Guidance dial: “{prompt}” at {len(scales)} guidance scales from {scales[0]:g} to {scales[-1]:g}."
    )
    controls = {"guidance": dial, "another scale": between}
    children = [hint, dial, row(between, progress), panel, line]
    return Explorer(about, controls, children, lambda: _film(prompt, pictures))


def _draw(
    pipe: object, prompt: str, scale: float, seed: int, steps: int, tick: Callable[[], None]
) -> Image.Image:
    """One picture, a tick a step."""
    for step in pipe.txt2img_steps(prompt, guidance_scale=scale, seed=seed, num_inference_steps=steps):
        latents = pipe.schedule.to_vp(step.x_next, step.sigma_next)
        tick()
    return pipe.decode(latents)[0]


def _told(picture: Image.Image) -> str:
    """How loud the colours are: guidance that is too strong makes them harsh."""
    saturation = np.asarray(picture.convert("HSV"))[..., 1].mean() / 255
    return f"the colours' mean saturation is {saturation:.0%}"


def _film(prompt: str, pictures: dict[float, Image.Image]) -> Plot:
    scales = sorted(pictures)
    told = "; ".join(f"at {scale:g} {_told(pictures[scale])}" for scale in (scales[0], scales[-1]))
    alt = f"“{prompt}” from one seed at guidance {', '.join(f'{scale:g}' for scale in scales)}: {told}."
    rows = {"": [pictures[scale] for scale in scales]}
    return strip(rows, [f"guidance {scale:g}" for scale in scales], alt=alt, zoom=1)
