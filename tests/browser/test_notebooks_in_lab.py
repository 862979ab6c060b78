"""The course's notebooks with widgets in JupyterLab: they run, sliders move pictures, typing changes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import jupyter_lab
from nbformat import NotebookNode
from page import Widget, same

import notebooks as tools

WITH_WIDGETS = [path for path in tools.sources() if "import widgets" in path.read_text(encoding="utf-8")]


def run_and_move(source: Path) -> tuple[NotebookNode, list[str]]:
    """The notebook with its outputs, and what was wrong while it ran and its widgets were moved."""
    with jupyter_lab() as opened:
        page = opened(tools.read_source(source), source.stem)
        done, widgets = page.content(), page.widgets()
        faults = [fault for widget in widgets for fault in moved(widget)]
        return done, faults + page.errors + ([] if widgets else ["there is no widget"])


def moved(widget: Widget) -> Iterator[str]:
    """What is wrong after each slider was moved and each line was written on."""
    for slider in widget.sliders().values():
        place = f"widget {widget.number}, {slider.name!r}:"
        slider.press("End")
        widget.settle()
        expected, text = widget.pictures(f"{slider.name} at its end"), widget.text()
        slider.press("Home")
        widget.settle()
        if same(widget.pictures(f"{slider.name} at its beginning"), expected):
            yield f"{place} the pictures are the same at both ends"
        slider.drag(1.0, moves=100)
        widget.settle()
        if widget.text() != text:
            yield f"{place} a hundred quick moves end at {widget.text()!r}, a key's press at {text!r}"
        if not same(widget.pictures(), expected):
            yield f"{place} a hundred quick moves end at another picture than a key's press"
    for field in widget.fields():
        before, text = widget.pictures("before typing"), widget.text()
        field.click()
        field.press("End")
        field.press_sequentially(" and 12 CATS")
        widget.settle()
        if widget.text() == text:
            yield f"widget {widget.number}: typing changes no word"
        if same(widget.pictures("after typing"), before):
            yield f"widget {widget.number}: typing changes no picture"


@pytest.mark.beside(work=run_and_move)
@pytest.mark.parametrize("source", WITH_WIDGETS, ids=lambda source: source.stem)
def test_a_notebook_runs_and_its_widgets_move(source, beside):
    done, faults = beside(source)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert faults == []
