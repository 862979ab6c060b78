"""Builds the course's notebooks from their text: what `make notebooks` runs.

    python tools/notebooks.py                   all of them
    python tools/notebooks.py 00 03             those whose names begin so, with their solutions
    python tools/notebooks.py solutions/03      the solutions alone

A notebook is written as notebooks/source/NAME.py, a Python file whose cells begin with "# %%" (jupytext's
percent format). It becomes notebooks/NAME.ipynb, executed, with its outputs; likewise in the folders solutions
of both. In its text the names in braces of MEASURED are replaced by figures of the build, and a chapter gets
links that open it elsewhere (launch.py). Edit the source, never the notebook.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from course import ROOT
from faults import faults
from launch import with_launch
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = ROOT / "notebooks"
SOURCES = NOTEBOOKS / "source"
MODEL = ROOT / "data" / "models" / "scenes"

MEASURED = ("reading", "seconds", "cores", "megabytes")  # written in braces in a source's text
WORDS_A_MINUTE = 130  # of a text that one thinks about
SECONDS_A_CELL = 600
WIDGET = "application/vnd.jupyter.widget-view+json"


def sources() -> list[Path]:
    """The texts of all notebooks: the chapters in order, then their solutions."""
    return [*sorted(SOURCES.glob("[0-9]*.py")), *sorted((SOURCES / "solutions").glob("[0-9]*.py"))]


def name_of(source: Path) -> str:
    """The name of a notebook, such as "03_samplers" or "solutions/03_samplers"."""
    return source.relative_to(SOURCES).with_suffix("").as_posix()


def notebook_path(source: Path) -> Path:
    """Where the notebook of a source belongs."""
    return NOTEBOOKS / f"{name_of(source)}.ipynb"


def read_source(source: Path) -> NotebookNode:
    """A source as a notebook without outputs, with a chapter's links: the same bytes at every call."""
    notebook = jupytext.read(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        cell.metadata = NotebookNode()
        cell.source = cell.source.lstrip("\n")  # of a cell that begins with a definition, as ruff wants it
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return with_launch(notebook, source.stem) if source.parent == SOURCES else notebook


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """A copy with outputs, run from top to bottom in ``folder`` by this Python, with this clone's package.

    A widget shows nothing without a kernel, so its output is left out: a plot beside it shows the same.
    Raises CellExecutionError at the first cell that fails.
    """
    notebook = nbformat.from_dict(notebook)  # a deep copy
    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    client.execute(env=os.environ | {"PYTHONPATH": path})
    notebook.metadata.language_info = NotebookNode(name="python")  # not which Python this was
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    return notebook


def prose(notebook: NotebookNode) -> str:
    """All text cells."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def fill(notebook: NotebookNode, figures: dict[str, int]) -> NotebookNode:
    """A copy whose text has figures in the place of the names in braces."""
    notebook = nbformat.from_dict(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for name, value in figures.items():
                cell.source = cell.source.replace(f"{{{name}}}", str(value))
    return notebook


def fingerprint(model: Path = MODEL) -> str:
    """A digest of the weights that the outputs come from."""
    digest = hashlib.sha256()
    for file in sorted(model.rglob("*.safetensors")):
        digest.update(file.relative_to(model).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def peak_megabytes() -> int:
    """The most memory that a finished child of this process held."""
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e6)


def build(source: Path) -> NotebookNode:
    """Read, execute, measure. In a fresh process, so that the memory is this notebook's own."""
    begin = time.perf_counter()
    folder = notebook_path(source).parent
    folder.mkdir(exist_ok=True)
    notebook = execute(read_source(source), folder)
    figures = {
        "seconds": round(time.perf_counter() - begin),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "megabytes": round(peak_megabytes(), -1),
        "reading": 5 * round(len(prose(notebook).split()) / WORDS_A_MINUTE / 5),
    }
    notebook = fill(notebook, figures)
    measured = {name: figures[name] for name in ("seconds", "megabytes")}
    notebook.metadata.sdlearn = NotebookNode(weights=fingerprint(), **measured)
    return notebook


def agrees(text: str, source: str) -> bool:
    """Is a cell's text the source's, with figures for the names in braces?"""
    pattern = re.escape(source)
    for name in MEASURED:
        pattern = pattern.replace(re.escape(f"{{{name}}}"), r"\d+")
    return re.fullmatch(pattern, text) is not None


def differences(notebook: NotebookNode, source: NotebookNode) -> list[str]:
    """Where a notebook is not its source, cell by cell."""
    found = []
    if len(notebook.cells) != len(source.cells):
        found.append(f"the notebook has {len(notebook.cells)} cells, its source {len(source.cells)}")
    for number, (cell, text) in enumerate(zip(notebook.cells, source.cells, strict=False)):
        if cell.cell_type != text.cell_type or not agrees(cell.source, text.source):
            found.append(f"cell {number} ({text.cell_type}) differs from its source: {text.source[:60]!r}")
    return found


def chosen(names: list[str]) -> list[Path]:
    """The sources whose names, or names with their folder, begin so; all where nothing is named."""
    starts = tuple(names) or ("",)
    return [one for one in sources() if one.name.startswith(starts) or name_of(one).startswith(starts)]


def main() -> int:
    """Build the notebooks that are named; 1 if one has faults (it is written even so, to be looked at)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 00; all if there are none")
    names = parser.parse_args().names
    wanted = chosen(names)
    if not wanted:
        parser.error(f"no source in {SOURCES} begins with {', '.join(names)}.")
    wrong = 0
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, max_tasks_per_child=1) as processes:
        for source, notebook in zip(wanted, processes.map(build, wanted), strict=True):
            path = notebook_path(source)
            nbformat.write(notebook, path)
            found = faults(notebook)
            wrong += bool(found)
            facts = notebook.metadata.sdlearn
            size = f"{path.stat().st_size // 1000} kB, {facts.seconds} s, {facts.megabytes} MB of memory"
            print(f"{name_of(source)}: {size}", *found, sep="\n  ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
