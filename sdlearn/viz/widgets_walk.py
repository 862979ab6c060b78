"""The latent walk: from one sheet of latents to another, straight or along the sphere, each stop decoded once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ipywidgets import IntSlider
from PIL import Image
from torch import Tensor

from sdlearn.viz.figure import spread
from sdlearn.viz.plots import Plot, strip
from sdlearn.viz.widgets_parts import Explorer, Panel, caption, choice, player, row, slider

STRAIGHT, SPHERE = "straight", "along the sphere"
NEARLY_PARALLEL = 1e-6  # radians: between two sheets at a smaller angle, the arc is the straight line


def straight(start: Tensor, end: Tensor, share: float) -> Tensor:
    """The point at ``share`` of the line: 0 is the start, 1 the end."""
    return start + share * (end - start)


def along_the_sphere(start: Tensor, end: Tensor, share: float) -> Tensor:
    """The point at ``share`` of the arc from start to end around zero (Shoemake 1985).

    Two sheets of noise are nearly at right angles: half-way along the line their mean has 0.7 times the strength
    of either, half-way along the arc all of it.
    """
    cosine = torch.dot(start.flatten(), end.flatten()) / (start.norm() * end.norm())
    angle = torch.acos(cosine.clamp(-1, 1))
    if angle < NEARLY_PARALLEL:
        return straight(start, end, share)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)


WAYS = {STRAIGHT: straight, SPHERE: along_the_sphere}


def latent_walk(
    start: Tensor, end: Tensor, decode: Callable[[Tensor], list[Image.Image]], number: int = 13
) -> Explorer:
    """Walk from ``start`` to ``end``, both (1, channels, h, w), in ``number`` stops, straight or along the sphere.

    ``decode`` makes the pictures of a batch of latents: ``pipe.decode``, or, between two sheets of noise, a function
    that draws. It is asked once for each stop.
    """
    if start.shape != end.shape or start.ndim != 4 or len(start) != 1:
        shapes = f"{tuple(start.shape)} and {tuple(end.shape)}"
        raise ValueError(
            f"latent_walk goes between two latents of one shape (1, channels, h, w), not {shapes}."
        )
    if number < 2:
        raise ValueError(f"number={number}: a walk has at least its two ends.")
    shares = [k / (number - 1) for k in range(number)]
    stops = {name: [way(start, end, share) for share in shares] for name, way in WAYS.items()}
    pictures = {name: [decode(stop)[0] for stop in ones] for name, ones in stops.items()}
    panel = Panel("on the way", pictures[STRAIGHT] + pictures[SPHERE], 256)
    ends = Panel("start", pictures[STRAIGHT][:1], 128), Panel("end", pictures[STRAIGHT][-1:], 128)
    line = caption()
    way = choice("way", [(name, name) for name in WAYS])
    place = slider(IntSlider, "stop", min=1, max=number, value=1)

    def show(change: object = None) -> None:
        name, k = way.value, place.value - 1
        panel.show(k + number * list(WAYS).index(name))
        line.value = f"Stop {k + 1} of {number}, {name}: {_told(shares[k], stops[name][k], start, end)}"

    for control in (way, place):
        control.observe(show, "value")
    show()
    children = [way, row(place, player(place, number, first=1)), row(ends[0], panel, ends[1]), line]
    about = f"Latent walk: a slider over {number} stops between two pictures, straight or along the sphere."
    return Explorer(about, {"way": way, "stop": place}, children, lambda: _film(pictures, stops))


def _told(share: float, stop: Tensor, start: Tensor, end: Tensor) -> str:
    """Where a stop is, in figures."""
    strength = float(stop.norm() / ((1 - share) * start.norm() + share * end.norm()))
    return f"{share:.0%} of the way, {strength:.2f} times as strong as the ends."


def _film(pictures: dict[str, list[Image.Image]], stops: dict[str, list[Tensor]]) -> Plot:
    places = spread(len(pictures[STRAIGHT]), 7)
    rows = {name: [ones[place] for place in places] for name, ones in pictures.items()}
    middle = {name: float(ones[len(ones) // 2].norm()) for name, ones in stops.items()}
    alt = (
        f"Two rows of {len(places)} pictures between the same two ends, one way a row. Half-way the latents' strength "
        + "; ".join(f"{name} is {strength:.1f}" for name, strength in middle.items())
        + f", at the start {float(stops[STRAIGHT][0].norm()):.1f}, at the end {float(stops[STRAIGHT][-1].norm()):.1f}."
    )
    number = len(pictures[STRAIGHT]) - 1
    return strip(rows, [f"{place / number:.0%}" for place in places], alt=alt, zoom=1)
