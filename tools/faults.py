"""What must not be in a notebook that is published, found without running it."""

from __future__ import annotations

import re

import nbformat
from cells import MARK
from nbformat import NotebookNode

LONGEST_CELL = 40  # lines
LONGEST_MARKED = 60  # lines of a cell of the package's code: a class is shown in one piece
LARGEST_FILE = 1_500_000  # bytes
MOST = {"seconds": 120, "megabytes": 4000}  # of computing and memory, as the build measured them
PLAIN = {"text/plain", "text/markdown", "image/png"}  # what an output may be made of
PATHS = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|work|mnt|opt|usr|var|private)/|\b[A-Z]:\\\w")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def faults(notebook: NotebookNode) -> list[str]:
    """What is wrong with an executed notebook, one line each; an empty list if it can be published."""
    found = ["widget state is saved"] if "widgets" in notebook.metadata else []
    size = len(nbformat.writes(notebook).encode())
    if size > LARGEST_FILE:
        found.append(f"{size} bytes are too many: at most {LARGEST_FILE}")
    for name, most in MOST.items():
        if (measured := notebook.metadata.get("sdlearn", {}).get(name, 0)) > most:
            found.append(f"{measured} {name} are too many: at most {most}")
    executed = 0
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            executed += 1
            found += [f"cell {number}: {fault}" for fault in code_faults(cell, executed)]
        elif re.search(r"<script|<iframe|!\[[^]]*\]\(|\]\(/", cell.source):
            found.append(f"cell {number}: a script, a frame, a picture from elsewhere or an absolute link")
    return found + number_faults(notebook)


def code_faults(cell: NotebookNode, executed: int) -> list[str]:
    """What is wrong with one code cell, the ``executed``-th of its notebook."""
    found = []
    if cell.execution_count != executed:
        found.append(f"was executed as number {cell.execution_count}, not {executed}: run all, in order")
    lines = cell.source.split("\n")
    most = LONGEST_MARKED if MARK.match(lines[0]) else LONGEST_CELL
    if len(lines) > most:
        found.append(f"{len(lines)} lines are too many: at most {most}")
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


def number_faults(notebook: NotebookNode) -> list[str]:
    """The numbers of the text that no cell's code or output has."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    known = set(NUMBER.findall("\n".join([output_text(notebook), *code])))
    return [
        f"{number} stands in the text, but no cell says so"
        for number in sorted(numbers_in_prose(notebook) - known)
    ]


def output_text(notebook: NotebookNode) -> str:
    """Everything that the code printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in outputs)


NO_STATEMENTS = (
    r"```.*?```",
    r"`[^`]*`",
    r"\$\$.*?\$\$",
    r"\([^()]*\b(?:19|20)\d\d\)",
    r"\[[^\]]*\]\([^)]*\)",
    r"\bin (?:19|20)\d\d\b",
    r"\b[Cc]hapters? \d+(?:(?:, | and )\d+)*",
    r"\b[Ss]ections? \d+(?:(?:, | and )\d+)*",
    r"\b\d\d\.\d\b(?=\*\*)",
    r"\b[a-z]\d\b",  # x0
)


def numbers_in_prose(notebook: NotebookNode) -> set[str]:
    """The numbers that the text states, apart from card, code, formulas, headings, links, lists' own, sources, years,
    and the numbers of chapters, sections and exercises."""
    cells = [cell.source for cell in notebook.cells[1:] if cell.cell_type == "markdown"]
    text = "\n\n".join(cell for cell in cells if not cell.startswith("## Sources"))
    for skipped in NO_STATEMENTS:
        text = re.sub(skipped, "", text, flags=re.DOTALL)
    return set(NUMBER.findall(re.sub(r"^(?:#+ .*|\d+\.)", "", text, flags=re.MULTILINE)))
