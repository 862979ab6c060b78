"""The notebooks: equal to their sources, fit to be published, able to run from top to bottom offline."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import v4

ROOT = Path(__file__).resolve().parent.parent
SPEC = importlib.util.spec_from_file_location("notebook_tools", ROOT / "tools" / "notebooks.py")
tools = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tools)

SOURCES = tools.sources()
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
KNOCK = "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)"


@pytest.fixture(autouse=True)
def own_jupyter(tmp_path, monkeypatch):
    """A kernel reads no settings of the user and leaves nothing behind."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def read(source: Path):
    return nbformat.read(tools.notebook_path(source), as_version=4)


def test_each_source_has_its_notebook_and_each_notebook_its_source():
    assert SOURCES
    names = {path.name for path in tools.NOTEBOOKS.glob("*.ipynb")}
    assert {tools.notebook_path(source).name for source in SOURCES} == names


@each_source
def test_notebook_is_its_source(source):
    assert not tools.differences(read(source), tools.read_source(source)), "run `make notebooks`"


@each_source
def test_notebook_can_be_published(source):
    assert tools.faults(read(source)) == []


@each_source
def test_saved_pictures_come_from_the_shipped_weights(source):
    assert read(source).metadata.sdlearn.weights == tools.fingerprint(), "run `make notebooks`"


@pytest.mark.slow
@each_source
def test_notebook_runs_offline_and_says_the_same(source):
    """Every cell gives outputs of the kinds that are saved, with the same words, whatever the figures."""
    notebook = tools.read_source(source)
    fresh = tools.execute(notebook, tools.NOTEBOOKS)
    for number, (saved, now) in enumerate(zip(read(source).cells, fresh.cells, strict=True)):
        if now.cell_type == "code":
            assert statement(now) == statement(saved), f"cell {number}: {now.source[:60]!r}"


def statement(cell) -> list:
    """A cell's outputs without figures and blanks."""
    blank = re.compile(r"[\d.,e+-]+|\s+")
    return [
        (
            output.output_type,
            sorted(output.get("data", {})),
            blank.sub("", output.get("text", "") + output.get("data", {}).get("text/plain", "")),
        )
        for output in cell.outputs
        if output.get("name") != "stderr"  # the first use of matplotlib may announce its list of fonts
    ]


# The machinery itself, on small notebooks.

PERCENT = """\
# %% [markdown]
# # A title
# Takes {seconds} seconds.

# %%
from PIL import Image
from sdlearn import viz

print("three are", 3)
viz.strip({"": [Image.new("RGB", (8, 8), "red")]}, alt="A red square.")
"""


def small(tmp_path, text=PERCENT):
    path = tmp_path / "00_small.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_source_is_executed_with_descriptions_of_its_pictures(tmp_path):
    source = tools.read_source(small(tmp_path))
    done = tools.execute(source, tmp_path)
    stream, picture = done.cells[1].outputs
    assert (stream.name, stream.text) == ("stdout", "three are 3\n")
    assert picture.data["text/plain"] == picture.metadata["image/png"]["alt"] == "A red square."
    assert picture.data["image/png"].startswith("iVBORw0KGgo")  # base64 of a PNG's first bytes
    assert not source.cells[1].outputs  # the given one is not changed
    assert tools.faults(done) == []
    filled = tools.fill(done, {"seconds": 12})
    assert filled.cells[0].source == "# A title\nTakes 12 seconds."
    assert not tools.differences(filled, source)


def test_a_kernel_is_offline(tmp_path):
    with pytest.raises(CellExecutionError, match="the tests are offline"):
        tools.execute(tools.read_source(small(tmp_path, f"# %%\n{KNOCK}\n")), tmp_path)


def test_reading_a_source_twice_gives_the_same_bytes(tmp_path):
    path = small(tmp_path)
    assert nbformat.writes(tools.read_source(path)) == nbformat.writes(tools.read_source(path))


def good():
    """A notebook without faults: text that states a number, a cell that computes it, a picture."""
    picture = v4.new_output(
        "display_data", data={"image/png": "iVBORw0KGgo="}, metadata={"image/png": {"alt": "a cat"}}
    )
    printed = v4.new_output("stream", name="stdout", text="there are 42 of them, 1,024 numbers\n")
    code = v4.new_code_cell("print(count)", execution_count=1, outputs=[printed, picture])
    text = v4.new_markdown_cell("There are 42, or 1,024 (Ho et al. 2020). See `x[7]` and [a](b.md).")
    return v4.new_notebook(cells=[v4.new_markdown_cell("# A card\n5 minutes"), text, code])


def test_a_good_notebook_has_no_faults():
    assert tools.faults(good()) == []


def error():
    return v4.new_output("error", ename="ValueError", evalue="no", traceback=[])


def shown(**data):
    return v4.new_output("execute_result", data={key.replace("_", "/"): text for key, text in data.items()})


BROKEN = {
    "not executed": (lambda book, code: code.update(execution_count=None), "executed as number None"),
    "in another order": (lambda book, code: code.update(execution_count=3), "executed as number 3, not 1"),
    "an error": (lambda book, code: code.outputs.append(error()), "ValueError: no"),
    "a warning": (
        lambda book, code: code.outputs.append(v4.new_output("stream", name="stderr", text="old")),
        "a warning: old",
    ),
    "HTML": (lambda book, code: code.outputs.append(shown(text_html="<b>")), "an output of text/html"),
    "a widget": (
        lambda book, code: book.metadata.update(widgets={"state": {}}),
        "widget state is saved",
    ),
    "no description": (
        lambda book, code: code.outputs[1].metadata.clear(),
        "a picture without a description",
    ),
    "a path": (
        lambda book, code: code.outputs.append(shown(text_plain="read /home/ada/cat.png")),
        "a path of this machine: /home/",
    ),
    "a Windows path": (
        lambda book, code: code.outputs.append(shown(text_plain="read C:\\Users\\ada")),
        "a path of this machine: C:",
    ),
    "a long cell": (lambda book, code: code.update(source="x\n" * 41), "41 lines are too many"),
    "a shell command": (lambda book, code: code.update(source="x = 1\n!ls"), "shell or notebook commands"),
    "a magic": (lambda book, code: code.update(source="%matplotlib inline"), "shell or notebook commands"),
    "an invented number": (
        lambda book, code: book.cells[1].update(source="There are 43."),
        "43 stands in the text",
    ),
    "half of a number": (lambda book, code: book.cells[1].update(source="024"), "024 stands in the text"),
    "a script": (
        lambda book, code: book.cells[1].update(source="<script>"),
        "cell 1: a script",
    ),
    "a picture from elsewhere": (
        lambda book, code: book.cells[1].update(source="![cat](cat.png)"),
        "cell 1: a script, a frame, a picture",
    ),
    "too large": (lambda book, code: code.update(source="#" + "x" * 1_000_000), "bytes are too many"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_is_found(name):
    broken = good()
    change, message = BROKEN[name]
    change(broken, broken.cells[2])
    (found,) = tools.faults(broken)
    assert message in found


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (v4.new_markdown_cell("# Another title\nTakes 12 seconds."), "cell 0"),
        (v4.new_markdown_cell("# A title\nTakes twelve seconds."), "cell 0"),
        (v4.new_markdown_cell("# A title\nTakes {seconds} seconds."), "cell 0"),
        (v4.new_code_cell("# A title\nTakes 12 seconds."), "cell 0"),
    ],
)
def test_a_changed_cell_is_found(tmp_path, cell, message):
    source = tools.read_source(small(tmp_path))
    changed = v4.new_notebook(cells=[cell, source.cells[1]])
    (found,) = tools.differences(changed, source)
    assert message in found


def test_a_missing_cell_is_found(tmp_path):
    source = tools.read_source(small(tmp_path))
    filled = tools.fill(source, {"seconds": 12})
    assert not tools.differences(filled, source)
    filled.cells.pop()
    (found,) = tools.differences(filled, source)
    assert found == "the notebook has 1 cells, its source 2"


def test_the_fingerprint_sees_each_weight(tmp_path):
    (tmp_path / "unet").mkdir()
    file = tmp_path / "unet" / "model.safetensors"
    file.write_bytes(b"one")
    before = tools.fingerprint(tmp_path)
    assert before == tools.fingerprint(tmp_path)
    file.write_bytes(b"two")
    assert tools.fingerprint(tmp_path) != before
