"""The notebooks: equal to their sources, fit to be published, able to run from top to bottom offline."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import launch
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode, v4

import notebooks as tools

SOURCES = tools.sources()
CHAPTERS = [source for source in SOURCES if source.parent == tools.SOURCES]
each_source = pytest.mark.parametrize("source", SOURCES, ids=tools.name_of)
each_chapter = pytest.mark.parametrize("source", CHAPTERS, ids=tools.name_of)
KNOCK = "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)"


OWN_FOLDERS = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")


@pytest.fixture(autouse=True)
def own_jupyter(tmp_path, monkeypatch):
    """A kernel reads no settings of the user and leaves nothing behind."""
    for name in OWN_FOLDERS:
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def read(source: Path):
    return nbformat.read(tools.notebook_path(source), as_version=4)


def test_each_source_has_its_notebook_and_each_notebook_its_source():
    assert CHAPTERS
    there = {*tools.NOTEBOOKS.glob("*.ipynb"), *tools.NOTEBOOKS.glob("solutions/*.ipynb")}
    assert {tools.notebook_path(source) for source in SOURCES} == there


@each_chapter
def test_a_chapter_begins_with_its_measured_card(source):
    card = tools.read_source(source).cells[0].source
    assert [name for name in tools.MEASURED if f"{{{name}}}" not in card] == []
    assert read(source).metadata.sdlearn.keys() >= {"seconds", "megabytes"}, "run `make notebooks`"


@each_source
def test_notebook_is_its_source(source):
    assert not tools.differences(read(source), tools.read_source(source)), "run `make notebooks`"


@each_source
def test_notebook_can_be_published(source):
    assert tools.faults(read(source)) == []


@each_source
def test_saved_pictures_come_from_the_shipped_weights(source):
    assert read(source).metadata.sdlearn.weights == tools.fingerprint(), "run `make notebooks`"


def run(source: Path) -> tuple[NotebookNode, list[str]]:
    """The notebook with its outputs, and no fault."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as own, pytest.MonkeyPatch.context() as patch:
        for name in OWN_FOLDERS:
            patch.setenv(name, str(Path(own, name.lower())))
        return tools.execute(tools.read_source(source), tools.notebook_path(source).parent), []


@pytest.mark.slow
@pytest.mark.beside(work=run)
@each_source
def test_notebook_runs_offline_and_says_the_same(source, beside):
    """Every cell gives outputs of the kinds that are saved, with the same words, whatever the figures.

    Where there is a browser, a chapter with widgets was run in JupyterLab (tests/browser), and that run counts.
    """
    fresh, _ = beside(source)
    for number, (saved, now) in enumerate(zip(read(source).cells, fresh.cells, strict=True)):
        if now.cell_type == "code":
            assert statement(now) == statement(saved), f"cell {number}: {now.source[:60]!r}"


FIGURES = re.compile(r"\d[\d.,]*(e[+-]?\d+)?|[.,+-]|\s+")  # and blanks; an e of a word stays


def test_what_a_cell_says_is_its_words_whatever_the_figures():
    def said(text):
        return statement(v4.new_code_cell(outputs=[v4.new_output("stream", name="stdout", text=text)]))

    assert said("3 steps took 1.5e-05 s, -1.e+02") == said("12 steps took 0.02 s,\n 1,000")
    assert said("a red cat") != said("a rd cat") != said("a reed cat")
    assert said("x") != statement(v4.new_code_cell())


def statement(cell) -> list:
    """A cell's outputs without figures and blanks."""
    return [
        (
            output.output_type,
            sorted(output.get("data", {})),
            FIGURES.sub("", output.get("text", "") + output.get("data", {}).get("text/plain", "")),
        )
        for output in cell.outputs
        if output.get("name") != "stderr"  # the first use of matplotlib may announce its list of fonts
        if tools.WIDGET not in output.get("data", {})  # of a widget nothing is saved
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


@pytest.mark.slow
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


WIDGETS = """\
# %%
import ipywidgets
from IPython.display import display
from PIL import Image
from tqdm.notebook import tqdm

from sdlearn import viz

for _ in tqdm(range(2)):
    pass
slider = ipywidgets.IntSlider(value=3)
display(slider)
print("the slider is at", slider.value)
viz.strip({"": [Image.new("RGB", (8, 8), "red")]}, alt="Its static twin.")

# %%
ipywidgets.VBox([slider])
"""


@pytest.mark.slow
def test_of_a_widget_nothing_is_saved_but_what_stands_beside_it(tmp_path):
    done = tools.execute(tools.read_source(small(tmp_path, WIDGETS)), tmp_path)
    printed, twin = done.cells[0].outputs
    assert (printed.text, twin.data["text/plain"]) == ("the slider is at 3\n", "Its static twin.")
    assert done.cells[1].outputs == []
    assert tools.faults(done) == []
    assert "widget" not in json.dumps(done.metadata)


BUILD = """
import json, sys
from pathlib import Path
import notebooks as tools
source = Path(sys.argv[1])
tools.NOTEBOOKS = tools.SOURCES = source.parent
tools.with_launch = lambda notebook, name: notebook
done = tools.build(source)
print(json.dumps([done.metadata.sdlearn, done.cells[0].source]))
"""


@pytest.mark.slow
def test_a_build_measures_time_and_memory(tmp_path):
    """And the fastest chapter cannot hide that it holds a gigabyte for a moment.

    In a process of its own, as `main` does it: what other tests have started does not count.
    """
    code = "\n# %%\nimport time\ndata = b'x' * 1_000_000_000\ndel data\ntime.sleep(2)\n"
    card = "# %% [markdown]\n# # Card\n# {reading} {seconds} {cores} {megabytes}\n"
    paths = [str(tools.ROOT / "tools"), str(tools.ROOT), os.environ["PYTHONPATH"]]
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(small(tmp_path, card + code))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    measured, title = json.loads(done.stdout.splitlines()[-1])
    assert 2 <= measured["seconds"] < 60 and 1000 <= measured["megabytes"] < 4000
    reading, seconds, cores, megabytes = map(int, title.split("\n")[1].split())
    assert (reading, seconds, megabytes) == (0, measured["seconds"], measured["megabytes"]) and cores >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ([], ["00_a", "01_b", "solutions/01_b"]),
        (["01"], ["01_b", "solutions/01_b"]),
        (["solutions/01"], ["solutions/01_b"]),
    ],
)
def test_solutions_are_built_into_their_own_folder(tmp_path, monkeypatch, names, chosen, capsys):
    folder = tmp_path / "source"
    for name in ("00_a", "01_b", "solutions/01_b"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text("# %%\nprint('hello')\n", encoding="utf-8")
    monkeypatch.setattr(tools, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(tools, "SOURCES", folder)
    assert [tools.name_of(source) for source in tools.chosen(names)] == chosen
    assert tools.notebook_path(tools.sources()[2]) == tmp_path / "solutions" / "01_b.ipynb"
    if not names:  # once is enough
        assert tools.build(tools.sources()[2]).cells[0].outputs[0].text == "hello\n"
        assert (tmp_path / "solutions").is_dir()


@each_chapter
def test_a_chapter_can_be_launched_from_its_top(source):
    row = tools.read_source(source).cells[0].source.split("\n")[2]
    place = launch.repository().removeprefix("https://github.com/")
    file = f"notebooks/{source.stem}.ipynb"
    assert f"(https://colab.research.google.com/github/{place}/blob/main/{file})" in row
    assert f"(https://mybinder.org/v2/gh/{place}/main?urlpath=lab/tree/{file})" in row
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+", launch.repository())


@pytest.mark.parametrize("where", ["here", "in Colab"])
def test_only_colab_fetches_the_package(where):
    """The cell is run as it stands in the notebooks, with a pip that only says how it was called."""
    cell = tools.read_source(CHAPTERS[0]).cells[1]
    assert cell.metadata.tags == ["colab"]
    begin = "import subprocess, sys; subprocess.run = lambda command, check: print(*command[1:], check)\n"
    begin += "sys.modules['google.colab'] = sys\n" if where == "in Colab" else ""
    code = begin + cell.source
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    asked = f"-m pip install --quiet git+{launch.repository()} True\n"
    assert done.stdout == (asked if where == "in Colab" else "")


@pytest.mark.slow
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


def test_a_class_of_the_package_may_be_longer():
    book = good()
    book.cells[2].source = "# -> sdlearn/unet.py" + "\nx" * 59
    assert tools.faults(book) == []


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
    "a long cell": (lambda book, code: code.update(source="x\n" * 40 + "x"), "41 lines are too many"),
    "a long marked cell": (
        lambda book, code: code.update(source="# -> sdlearn/unet.py" + "\nx" * 60),
        "61 lines are too many: at most 60",
    ),
    "a widget's view": (
        lambda book, code: code.outputs.append(v4.new_output("display_data", data={tools.WIDGET: {}})),
        "an output of application/vnd.jupyter.widget-view+json",
    ),
    "JavaScript": (
        lambda book, code: code.outputs.append(shown(application_javascript="1")),
        "an output of application/javascript",
    ),
    "too slow": (
        lambda book, code: book.metadata.update(sdlearn={"seconds": 121, "megabytes": 4000}),
        "121 seconds are too many: at most 120",
    ),
    "too much memory": (
        lambda book, code: book.metadata.update(sdlearn={"seconds": 120, "megabytes": 4010}),
        "4010 megabytes are too many: at most 4000",
    ),
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
    "too large": (lambda book, code: code.update(source="#" + "x" * 1_500_000), "bytes are too many"),
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
