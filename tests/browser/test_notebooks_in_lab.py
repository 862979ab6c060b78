"""The course's notebooks with widgets in JupyterLab: they run, sliders move pictures, typing changes them."""

import importlib.util
from pathlib import Path

import nbformat
import pytest
from lab import same

ROOT = Path(__file__).resolve().parent.parent.parent
SPEC = importlib.util.spec_from_file_location("notebook_tools", ROOT / "tools" / "notebooks.py")
tools = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tools)

WITH_WIDGETS = [path for path in tools.sources() if "import widgets" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("source", WITH_WIDGETS, ids=lambda source: source.stem)
def test_a_notebook_runs_and_its_widgets_move(source, opened, folder):
    nbformat.write(tools.read_source(source), folder / f"{source.stem}.ipynb")
    notebook = opened(f"{source.stem}.ipynb")
    assert [output for output in notebook.outputs() if output["output_type"] == "error"] == []
    widgets = notebook.widgets()
    assert widgets
    for widget in widgets:
        for slider in widget.sliders().values():
            slider.press("End")
            widget.settle()
            expected, text = widget.pictures(f"{slider.name} at its end"), widget.text()
            slider.press("Home")
            widget.settle()
            assert not same(widget.pictures(f"{slider.name} at its beginning"), expected)
            slider.drag(1.0, moves=100)
            widget.settle()
            assert widget.text() == text and same(widget.pictures(), expected)
        for field in widget.fields():
            before, text = widget.pictures("before typing"), widget.text()
            field.click()
            field.press("End")
            field.press_sequentially(" and 12 CATS")
            widget.settle()
            assert widget.text() != text and not same(widget.pictures("after typing"), before)
    assert notebook.errors == []
