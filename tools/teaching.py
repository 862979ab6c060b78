"""Writes the table of notebooks/TEACHING.md that says what each chapter costs: what `python tools/teaching.py` does.

The figures are those that the build measured (notebooks.py). Build the notebooks first, then run this.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from course import ROOT

GUIDE = ROOT / "notebooks" / "TEACHING.md"
TABLE = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- measured end -->)", re.DOTALL)
HEAD = """\
| chapter | minutes of reading | seconds of computing | minutes if four times slower | MB of memory |
|---|---|---|---|---|
"""


def costs(path: Path) -> tuple[int, int, int]:
    """(minutes of reading, seconds of computing, MB) of a built notebook."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    card = "".join(notebook["cells"][0]["source"])
    measured = notebook["metadata"]["sdlearn"]
    return int(re.search(r"(\d+) minutes of reading", card)[1]), measured["seconds"], measured["megabytes"]


def table(root: Path = ROOT) -> str:
    """The table of all chapters, in Markdown."""
    rows = ""
    for path in sorted(root.glob("notebooks/[0-9][0-9]_*.ipynb")):
        reading, seconds, megabytes = costs(path)
        slow = math.ceil(4 * seconds / 60)
        rows += f"| [{path.name[:2]}]({path.name}) | {reading} | {seconds} | {slow} | {megabytes} |\n"
    return HEAD + rows


def filled(guide: str, rows: str) -> str:
    """The guide with the table between its two marks."""
    text, found = TABLE.subn(lambda _: rows, guide)
    if found != 1:
        raise ValueError(f"{GUIDE.name} must have the two marks of the table once; found {found} times.")
    return text


if __name__ == "__main__":
    GUIDE.write_text(filled(GUIDE.read_text(encoding="utf-8"), table()), encoding="utf-8")
    print(f"{GUIDE.relative_to(ROOT).as_posix()}: written")
