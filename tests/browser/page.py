"""A notebook in JupyterLab, as a reader has it: run it, move its widgets, look at the pixels."""

import io
import re
import time
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image

SECONDS_TO_RUN = 600
ARTEFACTS = Path(__file__).resolve().parents[2] / "outputs" / "browser"  # screenshots; git ignores it
QUIET = 350  # milliseconds without a new picture: the last move has been shown
WATCH = """
window.seen = {shown: 0, moved: 0, loads: 0};
document.addEventListener('load', event => {
  if (event.target.tagName === 'IMG') { seen.shown = performance.now(); seen.loads += 1; }
}, true);
for (const kind of ['keydown', 'pointerdown', 'pointerup', 'mousedown', 'mouseup'])
  document.addEventListener(kind, () => { seen.moved = performance.now(); }, true);
"""
PANEL = "jupyterapp.shell.currentWidget"
KERNEL = f"{PANEL}?.sessionContext?.session?.kernel?.status"
ANSWERED = f"() => {PANEL}.sessionContext.session.kernel.requestKernelInfo().then(() => true)"
IDLE = f"() => {KERNEL} === 'idle'"
SETTLED = f"() => {KERNEL} === 'idle' && performance.now() - Math.max(seen.shown, seen.moved) > {QUIET}"


class Notebook:
    """An open, executed notebook. ``errors`` is what the browser's console complained of."""

    def __init__(self, page, address: str, name: str):
        self.page, self.name, self.errors = page, name, []
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.add_init_script(WATCH)
        page.goto(address)
        page.wait_for_function("() => window.jupyterapp", timeout=60_000)
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.wait_for_function(IDLE, timeout=60_000)
        page.set_default_timeout(SECONDS_TO_RUN * 1000)
        page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells').then(() => null)")
        page.set_default_timeout(30_000)
        self.settle()

    def settle(self, seconds: float = 60) -> None:
        """Wait until the kernel rests and no new picture has come for a moment.

        The kernel answers in order, so an answer says that it has heard all before. Twice, for a control sends its
        last move when the one before was worked on: on a busy machine both can come late.
        """
        self.page.wait_for_timeout(100)
        for _ in range(2):
            self.page.wait_for_function(ANSWERED, timeout=1000 * seconds)
        self.page.wait_for_function(SETTLED, timeout=1000 * seconds)

    def content(self) -> nbformat.NotebookNode:
        """What the notebook would save."""
        return nbformat.reads(
            self.page.evaluate(f"() => JSON.stringify({PANEL}.content.model.toJSON())"), as_version=4
        )

    def outputs(self) -> list[nbformat.NotebookNode]:
        """What the notebook would save, one entry an output."""
        return [output for cell in self.content().cells for output in cell.get("outputs", [])]

    def widgets(self) -> list["Widget"]:
        """The explorers, in the order of the page."""
        roots = self.page.locator(".jp-OutputArea-output > .jupyter-widgets.widget-vbox")
        return [Widget(self, roots.nth(k), k) for k in range(roots.count())]


class Widget:
    """One explorer on the page."""

    def __init__(self, notebook: Notebook, root, number: int):
        self.notebook, self.page, self.root, self.number = notebook, notebook.page, root, number

    def sliders(self) -> dict[str, "Slider"]:
        """By their names; progress bars are none."""
        found = self.root.locator(".widget-slider")
        sliders = [Slider(self, found.nth(k)) for k in range(found.count())]
        return {slider.name: slider for slider in sliders}

    def buttons(self):
        """The words, the ways: what is pressed."""
        return self.root.locator(".widget-toggle-buttons button")

    def fields(self) -> list:
        """Lines to type in."""
        return self.root.locator(".widget-text input").all()

    def text(self) -> str:
        """All labels."""
        return " | ".join(self.root.locator(".widget-label").all_inner_texts())

    def pictures(self, name: str = "") -> list[np.ndarray]:
        """The pixels on the screen of each picture; with a name the whole widget is kept as a screenshot."""
        self.root.scroll_into_view_if_needed()
        frame = self.root.bounding_box()
        raw = self.root.screenshot()
        if name:
            safe = re.sub(r"\W+", "-", name)
            ARTEFACTS.mkdir(parents=True, exist_ok=True)
            (ARTEFACTS / f"{self.notebook.name}-{self.number}-{safe}.png").write_bytes(raw)
        sheet, found = Image.open(io.BytesIO(raw)).convert("RGB"), self.root.locator("img")
        boxes = [found.nth(k).bounding_box() for k in range(found.count())]
        corners = [(box["x"] - frame["x"], box["y"] - frame["y"], box) for box in boxes]
        return [
            np.asarray(sheet.crop(tuple(map(round, (x, y, x + box["width"], y + box["height"])))))
            for x, y, box in corners
        ]

    def settle(self) -> None:
        self.notebook.settle()


class Slider:
    """One slider, moved as a hand or a keyboard does."""

    def __init__(self, widget: Widget, root):
        self.widget, self.page, self.root = widget, widget.page, root
        self.name = root.locator(".widget-label").first.inner_text()
        self.handle = root.locator(".noUi-handle")

    def readout(self) -> str:
        return self.root.locator(".widget-readout").inner_text()

    def press(self, key: str) -> None:
        self.handle.focus()
        self.page.keyboard.press(key)

    def drag(self, share: float, moves: int = 12) -> None:
        """Take the handle to ``share`` of the track in that many moves of the mouse, back and forth on the way."""
        self.root.scroll_into_view_if_needed()
        track, handle = self.root.locator(".noUi-target").bounding_box(), self.handle.bounding_box()
        y = handle["y"] + handle["height"] / 2
        self.page.mouse.move(handle["x"] + handle["width"] / 2, y)
        self.page.mouse.down()
        for k in range(moves - 1):
            place = (1 - abs(1 - 2 * ((k * 0.13) % 1))) if moves > 20 else share * (k + 1) / moves
            self.page.mouse.move(track["x"] + place * track["width"], y)
        self.page.mouse.move(track["x"] + share * track["width"], y)
        self.page.mouse.up()

    def milliseconds(self, key: str, seconds: float = 30) -> float:
        """From a key's press to the last picture that it changes."""
        loads = self.page.evaluate("() => seen.loads")
        self.press(key)
        self.page.wait_for_function(f"() => seen.loads > {loads}", timeout=1000 * seconds)
        self.widget.settle()
        return self.page.evaluate("() => seen.shown - seen.moved")


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    """Are all pixels equal?"""
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second))


def wait_until(condition, seconds: float = 10) -> bool:
    """Ask again and again; whether it came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
