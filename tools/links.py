"""Finds links in texts and notebooks that lead nowhere, without a network.

A link to a file must name one that exists, a link to a heading one that is there, a web address must be well formed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINK = re.compile(r"\[[^][]*\]\(\s*<?([^)\s>]*)>?[^)]*\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)  # and formulas
HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


def text_of(path: Path) -> str:
    """The prose of a Markdown file or a notebook, without code and formulas."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return CODE.sub("", text)


def anchors(path: Path) -> set[str]:
    """What a link may write behind "#": GitHub's names of a file's headings, and Jupyter's of a notebook's."""
    text = path.read_text(encoding="utf-8") if path.suffix != ".ipynb" else text_of(path)
    headings = HEADING.findall(text)
    if path.suffix == ".ipynb":
        return {heading.replace(" ", "-") for heading in headings}
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def fault(link: str, path: Path, root: Path) -> str | None:
    """What is wrong with one link of a file; None if it can be followed."""
    parts = urlsplit(link)
    if parts.scheme:
        good = parts.scheme == "https" and re.fullmatch(r"([\w-]+\.)+[a-z]{2,}", parts.netloc)
        return None if good else "is no https address"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not link or not target.is_relative_to(root.resolve()):
        return "leads out of the repository"
    if not target.exists():
        return "leads to no file"
    if parts.fragment and unquote(parts.fragment) not in anchors(target):
        return f"leads to no heading of {target.name}"
    return None


def dead_links(path: Path, root: Path) -> list[str]:
    """The links of a file below ``root`` that lead nowhere, each with what is wrong."""
    found = ((link, fault(link, path, root)) for link in LINK.findall(text_of(path)))
    return [f"{path.name}: ({link}) {wrong}" for link, wrong in found if wrong]
