"""Builds the course's notebooks from their text: what `make notebooks` runs.

    python tools/notebooks.py           all of them
    python tools/notebooks.py 00 03     those whose names begin so

A notebook is written as notebooks/source/NAME.py, a Python file whose cells begin with "# %%" (jupytext's
percent format). It becomes notebooks/NAME.ipynb, executed, with its outputs. In its text the names in
braces of MEASURED are replaced by figures of the build. Edit the source, never the notebook.
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
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SOURCES = NOTEBOOKS / "source"
MODEL = ROOT / "data" / "models" / "scenes"

MEASURED = ("reading", "seconds", "cores", "megabytes")  # written in braces in a source's text
WORDS_A_MINUTE = 130  # of a text that one thinks about
SECONDS_A_CELL = 600
LONGEST_CELL = 40  # lines
LARGEST_FILE = 1_000_000  # bytes
PLAIN = {"text/plain", "text/markdown", "image/png"}  # what an output may be made of
PATHS = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|work|mnt|opt|usr|var|private)/|\b[A-Z]:\\\w")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def sources() -> list[Path]:
    """The texts of all notebooks, in the course's order."""
    return sorted(SOURCES.glob("[0-9]*.py"))


def notebook_path(source: Path) -> Path:
    """Where the notebook of a source belongs."""
    return NOTEBOOKS / f"{source.stem}.ipynb"


def read_source(source: Path) -> NotebookNode:
    """A source as a notebook without outputs: the same bytes at every call."""
    notebook = jupytext.read(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        cell.metadata = NotebookNode()
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """A copy with outputs, run from top to bottom in ``folder`` by this Python, with this clone's package.

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


def build(source: Path, folder: Path = NOTEBOOKS) -> NotebookNode:
    """Read, execute, measure. In a fresh process, so that the memory is this notebook's own."""
    begin = time.perf_counter()
    notebook = execute(read_source(source), folder)
    figures = {
        "seconds": round(time.perf_counter() - begin),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "megabytes": round(peak_megabytes(), -1),
        "reading": 5 * round(len(prose(notebook).split()) / WORDS_A_MINUTE / 5),
    }
    notebook = fill(notebook, figures)
    notebook.metadata.sdlearn = NotebookNode(weights=fingerprint())
    return notebook


def output_text(notebook: NotebookNode) -> str:
    """Everything that the code printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in outputs)


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


def faults(notebook: NotebookNode) -> list[str]:
    """What is wrong with an executed notebook, one line each; an empty list if it can be published."""
    found = ["widget state is saved"] if "widgets" in notebook.metadata else []
    size = len(nbformat.writes(notebook).encode())
    if size >= LARGEST_FILE:
        found.append(f"{size} bytes are too many: at most {LARGEST_FILE}")
    executed = 0
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            executed += 1
            found += [f"cell {number}: {fault}" for fault in code_faults(cell, executed)]
        elif re.search(r"<script|<iframe|!\[[^]]*\]\(|\]\(/", cell.source):
            found.append(f"cell {number}: a script, a frame, a picture from elsewhere or an absolute link")
    known = set(NUMBER.findall(output_text(notebook)))
    known |= {
        number
        for cell in notebook.cells
        if cell.cell_type == "code"
        for number in NUMBER.findall(cell.source)
    }
    found += [
        f"{number} stands in the text, but no cell says so"
        for number in sorted(numbers_in_prose(notebook) - known)
    ]
    return found


def code_faults(cell: NotebookNode, executed: int) -> list[str]:
    """What is wrong with one code cell, the ``executed``-th of its notebook."""
    found = []
    if cell.execution_count != executed:
        found.append(f"was executed as number {cell.execution_count}, not {executed}: run all, in order")
    if len(cell.source.splitlines()) > LONGEST_CELL:
        found.append(f"{len(cell.source.splitlines())} lines are too many: at most {LONGEST_CELL}")
    if re.search(r"^\s*[!%]", cell.source, flags=re.MULTILINE):
        found.append("shell or notebook commands, which do not work everywhere")
    for output in cell.outputs:
        if output.output_type == "error" or output.get("name") == "stderr":
            found.append(f"{output.get('ename', 'a warning')}: {output.get('evalue') or output.get('text')}")
            continue
        data = output.get("data", {})
        if others := sorted(data.keys() - PLAIN):
            found.append(f"an output of {', '.join(others)}; allowed are {', '.join(sorted(PLAIN))}")
        if "image/png" in data and not output.metadata.get("image/png", {}).get("alt"):
            found.append("a picture without a description")
        text = "".join([output.get("text", ""), data.get("text/plain", ""), data.get("text/markdown", "")])
        if PATHS.search(text):
            found.append(f"a path of this machine: {PATHS.search(text).group()}")
    return found


def numbers_in_prose(notebook: NotebookNode) -> set[str]:
    """The numbers that the text states, apart from card, code, formulas, headings, lists' own, sources."""
    cells = [cell.source for cell in notebook.cells[1:] if cell.cell_type == "markdown"]
    text = "\n\n".join(cell for cell in cells if not cell.startswith("## Sources"))
    for skipped in (r"```.*?```", r"`[^`]*`", r"\$\$.*?\$\$", r"\([^()]*\b(?:19|20)\d\d\)"):
        text = re.sub(skipped, "", text, flags=re.DOTALL)
    return set(NUMBER.findall(re.sub(r"^(?:#+ .*|\d+\.)", "", text, flags=re.MULTILINE)))


def main() -> int:
    """Build the notebooks that are named; 1 if one has faults (it is written even so, to be looked at)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 00; all if there are none")
    names = parser.parse_args().names
    chosen = [one for one in sources() if not names or one.name.startswith(tuple(names))]
    if not chosen:
        parser.error(f"no source in {SOURCES} begins with {', '.join(names)}.")
    wrong = 0
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, max_tasks_per_child=1) as processes:
        for source, notebook in zip(chosen, processes.map(build, chosen), strict=True):
            path = notebook_path(source)
            nbformat.write(notebook, path)
            found = faults(notebook)
            wrong += bool(found)
            print(f"{path.name}: {path.stat().st_size // 1000} kB", *found, sep="\n  ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
