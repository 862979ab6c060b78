"""The sketch pad: a few plain shapes that sliders move, and the picture that image to image makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import ipywidgets
from PIL import Image

from sdlearn.arguments import steps_left
from sdlearn.scenes import COLOURS, SIZE
from sdlearn.scenes.sketch import GROUNDS, SHAPES, Stamp, draw_sketch
from sdlearn.viz.figure import listed
from sdlearn.viz.plots import Plot, strip
from sdlearn.viz.widgets_parts import Explorer, Panel, bar, caption, choice, note, row, slider, watched

STAMPS = (Stamp("block", "red", 64, 94, 52), Stamp("disc", "orange", 64, 42, 46))
STEPS, GUIDANCE = 10, 4.0
STRENGTHS = tuple(k / 10 for k in range(1, 11))
SMALLEST, LARGEST = 8, 100  # pixels of a stamp
MOVES = ("x", "y", "size")


def sketch_pad(
    pipe: object,
    prompt: str,
    stamps: Sequence[Stamp] = STAMPS,
    background: str = "day",
    strength: float = 0.5,
    seed: int = 0,
    steps: int = STEPS,
) -> Explorer:
    """Draw with a few stamps, and see what image to image makes of the sketch.

    Buttons choose a stamp, its shape and colour, and the background; sliders move the stamp and set the strength. The
    model runs when a slider is let go; what was drawn once is kept.
    """
    if not stamps or strength not in STRENGTHS:
        raise ValueError("sketch_pad needs one or more stamps, and a strength of 0.1, 0.2 … 1.")
    pads, setting = list(stamps), False
    drawn: dict[tuple, tuple[Image.Image, Image.Image, int]] = {}  # sketch, picture, place in both panels
    chosen = choice("stamp", [(str(k + 1), k) for k in range(len(pads))])
    looks = {
        "shape": choice("shape", [(name, name) for name in SHAPES]),
        "colour": choice("colour", [(name, name) for name in COLOURS]),
    }
    ends = {"x": (0, SIZE), "y": (0, SIZE), "size": (SMALLEST, LARGEST)}
    moves = {
        name: slider(ipywidgets.IntSlider, name, min=low, max=high, continuous_update=False)
        for name, (low, high) in ends.items()
    }
    ground = choice("background", [(name, name) for name in GROUNDS])
    ground.value = background
    power = slider(
        ipywidgets.SelectionSlider,
        "strength",
        options=[(f"{one:g}", one) for one in STRENGTHS],
        value=strength,
        continuous_update=False,
    )
    progress, line = bar("drawing", steps), caption()
    progress.layout.visibility = "hidden"  # keeps its room: nothing below it moves
    controls = {"stamp": chosen, **looks, "background": ground, **moves, "strength": power}

    def now() -> tuple:
        return tuple(pads), ground.value, power.value

    def keep(picture: Image.Image) -> None:
        sketch = draw_sketch(pads, ground.value)
        drawn[now()] = sketch, picture, (panels[0].add(sketch), panels[1].add(picture))[0]

    def show() -> None:
        for panel in panels:
            panel.show(drawn[now()][2])
        run = steps_left(power.value, steps)
        line.value = f"Strength {power.value:g}: {run} of {steps} steps, seed {seed}. The sketch: {told()}."

    def told() -> str:
        return f"{listed([f'{one.colour} {one.shape}' for one in pads])}, {ground.value}"

    def picked(change: object = None) -> None:
        """The controls take the values of the stamp that they now belong to."""
        nonlocal setting
        setting = True
        for name, control in {**looks, **moves}.items():
            control.value = getattr(pads[chosen.value], name)
        setting = False

    def changed(change: dict) -> None:
        if setting:
            return
        for name, control in {**looks, **moves}.items():
            if change["owner"] is control:
                pads[chosen.value] = replace(pads[chosen.value], **{name: change["new"]})
        if now() not in drawn:
            line.value = f"Strength {power.value:g}: drawing …"
            try:
                keep(watched(paint, progress, *controls.values()))
            except Exception as error:  # Jupyter hides in its log what goes wrong in a widget
                line.value = f"The sketch could not be drawn: {error}"
                raise
        show()

    def paint(tick: Callable[[], None]) -> Image.Image:
        return _draw(pipe, draw_sketch(pads, ground.value), prompt, power.value, seed, steps, tick)

    picked()
    first, sketch = paint(lambda: None), draw_sketch(pads, ground.value)
    panels = Panel("your sketch", [sketch], 256), Panel("the picture", [first], 256)
    drawn[now()] = sketch, first, 0
    show()
    chosen.observe(picked, "value")
    for control in (*looks.values(), ground, *moves.values(), power):
        control.observe(changed, "value")
    hint = note(
        f"The prompt is “{prompt}”. Choose a stamp, change it; the model draws when you let a slider go."
    )
    children = [hint, row(chosen, looks["shape"]), looks["colour"], *moves.values(), ground]
    children += [row(power, progress), row(*panels), line]
    about = f"Sketch pad: {len(pads)} stamps that can be moved, and what image to image makes of them, for “{prompt}”."
    return Explorer(about, controls, children, lambda: _twin(*drawn[now()][:2], prompt, told(), power.value))


def _draw(
    pipe: object,
    sketch: Image.Image,
    prompt: str,
    strength: float,
    seed: int,
    steps: int,
    tick: Callable[[], None],
) -> Image.Image:
    """One picture, a tick a step."""
    wishes = {"strength": strength, "seed": seed, "num_inference_steps": steps, "guidance_scale": GUIDANCE}
    for step in pipe.img2img_steps(sketch, prompt, **wishes):
        latents = pipe.schedule.to_vp(step.x_next, step.sigma_next)
        tick()
    return pipe.decode(latents)[0]


def _twin(sketch: Image.Image, picture: Image.Image, prompt: str, told: str, strength: float) -> Plot:
    alt = f"Two pictures. A sketch: {told}. What image to image at strength {strength:g} makes of it for “{prompt}”."
    return strip(
        {"": [sketch, picture]}, ["your sketch", f"the picture, strength {strength:g}"], alt=alt, zoom=1.6
    )
