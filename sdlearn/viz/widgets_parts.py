"""What the widgets are made of: panels that show frames, a line that says what they show, a bar for waiting."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import ipywidgets
from PIL import Image

from sdlearn.viz.frames import LARGEST, png
from sdlearn.viz.plots import Plot

LABEL_WIDTH = "110px"
CONTROL_WIDTH = "420px"
PLAY_MILLISECONDS = 300


class Panel(ipywidgets.VBox):
    """A title over one picture. A picture is rendered when it comes; ``show`` changes the image's bytes only."""

    def __init__(self, title: str, pictures: Sequence[Image.Image], width: int):
        """``width`` in pixels, on the screen."""
        self.largest = max(width, LARGEST)
        self.frames = [png(picture, self.largest) for picture in pictures]
        self.image = ipywidgets.Image(value=self.frames[0], format="png", layout={"width": f"{width}px"})
        above = [ipywidgets.Label(title, layout={"width": f"{width}px"})] if title else []
        super().__init__([*above, self.image], layout={"margin": "0 6px 0 0"})

    def add(self, picture: Image.Image) -> int:
        """Render one more; its place."""
        self.frames = [*self.frames, png(picture, self.largest)]
        return len(self.frames) - 1

    def show(self, place: int) -> None:
        """The picture of that place, or the last one where there are fewer."""
        self.image.value = self.frames[min(place, len(self.frames) - 1)]


class Explorer(ipywidgets.VBox):
    """Controls above, pictures below. ``controls`` are its sliders and buttons by name.

    ``about`` is what stands in a saved notebook, where no widget is alive; ``static()`` gives the same pictures
    as a figure.
    """

    def __init__(
        self,
        about: str,
        controls: Mapping[str, ipywidgets.Widget],
        children: Sequence[ipywidgets.Widget],
        twin: Callable[[], Plot],
    ):
        super().__init__(list(children))
        self.about, self.controls, self._twin = " ".join(about.split()), dict(controls), twin

    def static(self) -> Plot:
        """The frames of this widget, or some of them, as a figure for paper, projectors and saved notebooks."""
        return self._twin()

    def __repr__(self) -> str:
        return f"{self.about} (A widget: it moves while the notebook's kernel runs.)"

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        """What Jupyter shows: the widget where it can, the sentence elsewhere."""
        return super()._repr_mimebundle_(**options) | {"text/plain": repr(self)}


def row(*children: ipywidgets.Widget) -> ipywidgets.HBox:
    """Side by side, and below one another where the page is narrow."""
    return ipywidgets.HBox(children, layout={"flex_flow": "row wrap"})


def caption() -> ipywidgets.Label:
    """The line below the pictures: what they show, for those who see them and for those who do not."""
    return ipywidgets.Label(layout={"width": "auto", "min_height": "28px"})


def note(text: str) -> ipywidgets.HTML:
    """Text that stays as it is, and breaks into lines where the page is narrow, as a Label does not."""
    return ipywidgets.HTML(f'<div style="line-height: 1.4; max-width: 50em">{html.escape(text)}</div>')


def slider(kind: type, name: str, **settings: object) -> ipywidgets.Widget:
    """A slider of that class with its name before it."""
    return kind(
        description=name,
        style={"description_width": LABEL_WIDTH},
        layout={"width": CONTROL_WIDTH},
        **settings,
    )


def choice(name: str, options: Sequence[tuple[str, object]]) -> ipywidgets.ToggleButtons:
    """Buttons of which one is pressed. Options are (label, value)."""
    style = {"description_width": LABEL_WIDTH, "button_width": "auto"}
    return ipywidgets.ToggleButtons(options=options, description=name, style=style)


def player(moved: ipywidgets.Widget, last: int, trait: str = "value", first: int = 0) -> ipywidgets.Play:
    """A play button that moves a slider, from place ``first`` to ``last``, in the browser."""
    play = ipywidgets.Play(min=first, max=last, value=first, interval=PLAY_MILLISECONDS)
    play.tooltip = f"play: move {moved.description} from its beginning to its end"
    ipywidgets.jslink((play, "value"), (moved, trait))
    return play


def bar(name: str, total: int) -> ipywidgets.IntProgress:
    """A progress bar of ``total`` ticks."""
    return slider(ipywidgets.IntProgress, name, min=0, max=total, value=0)


@contextmanager
def waiting(name: str, total: int, done: str) -> Iterator[Callable[[], None]]:
    """Show a bar in the running cell while something is recorded; gives the function that ticks it.

    Afterwards the line ``done`` stands in its place. Outside a notebook nothing is shown.
    """
    from IPython import get_ipython
    from IPython.display import display

    shown, place = bar(name, total), None
    if getattr(get_ipython(), "kernel", None) is not None:
        place = display(shown, display_id=True)

    def tick() -> None:
        shown.value += 1

    try:
        yield tick
    finally:
        if place is not None:
            finished = done if shown.value >= total else f"{name}: stopped at {shown.value} of {total}"
            place.update({"text/plain": finished}, raw=True)
        shown.close()


def watched(
    work: Callable[[Callable[[], None]], Image.Image],
    progress: ipywidgets.IntProgress,
    *controls: ipywidgets.Widget,
) -> Image.Image:
    """Do the work while its bar is seen and the controls are locked, so that no second wish waits in line."""
    progress.value, progress.layout.visibility = 0, "visible"
    for control in controls:
        control.disabled = True

    def tick() -> None:
        progress.value += 1

    try:
        return work(tick)
    finally:
        progress.layout.visibility = "hidden"
        for control in controls:
            control.disabled = False
