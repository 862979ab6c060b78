"""Writes dist/sdlearn-classroom.zip, the course to hand out: notebooks, package and data, without solutions.

Tests, tools and the notebooks' texts are left out, since they hold solutions and wrong answers. Links that lead to
what is left out become plain text. The same files give the same zip.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

from course import ROOT

NAME = "sdlearn-classroom"
ZIP = ROOT / "dist" / f"{NAME}.zip"
README = ROOT / "tools" / "classroom.md"  # takes the place of the repository's own
PARTS = [
    "LICENSE",
    "pyproject.toml",
    "constraints.txt",
    "environment.yml",
    "notebooks/*.ipynb",
    "sdlearn/**/*",
    "data/**/*",
]
LEFTOVERS = re.compile(r"(^|/)(\.|__pycache__/)|\.(pyc|tmp)$")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


def files(root: Path = ROOT) -> list[str]:
    """The names of the repository's files that are handed out, sorted."""
    found = (path for part in PARTS for path in root.glob(part) if path.is_file())
    names = {path.relative_to(root).as_posix() for path in found}
    return sorted(name for name in names if not LEFTOVERS.search(name))


def unlinked(text: str, place: str, names: set[str]) -> str:
    """A text of the file ``place`` whose links to files that are not handed out are plain text."""

    def shown(link: re.Match) -> str:
        words, target = link.groups()
        if ":" in target or target.startswith("#"):
            return link.group()
        parts = f"{place}/../{target.partition('#')[0]}".split("/")
        while ".." in parts:
            end = parts.index("..")
            parts[max(end - 1, 0) : end + 1] = []
        path = "/".join(part for part in parts if part != ".").rstrip("/")
        return link.group() if any(f"{name}/".startswith(f"{path}/") for name in names) else words

    return re.sub(r"\[([^][]*)\]\(([^)\s]*)\)", shown, text)


def content(name: str, names: set[str], root: Path = ROOT) -> bytes:
    """The bytes of a file as it is handed out."""
    if not name.endswith(".ipynb"):
        return (root / name).read_bytes()
    notebook = json.loads((root / name).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = unlinked("".join(cell["source"]), name, names)
            cell["source"] = text.splitlines(keepends=True)
    return (json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def write(path: Path = ZIP, root: Path = ROOT) -> Path:
    """Write the zip."""
    names = files(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted([*names, "README.md"]):
            data = README.read_bytes() if name == "README.md" else content(name, {*names, "README.md"}, root)
            entry = zipfile.ZipInfo(f"{NAME}/{name}", EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every system
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    return path


if __name__ == "__main__":
    print(f"{write().relative_to(ROOT)}: {ZIP.stat().st_size / 1e6:.1f} MB")
    sys.exit()
