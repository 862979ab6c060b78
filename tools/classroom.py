"""Writes the course as a zip: for students without solutions, or for teachers with all that they need.

    python tools/classroom.py              dist/sdlearn-classroom.zip, to hand out
    python tools/classroom.py teacher      dist/sdlearn-teacher.zip: also solutions, guide, exam and its answers

In the students' zip tests, tools, the notebooks' texts, guide and exam are left out, since they hold solutions and
wrong answers. Links that lead to what is left out become plain text. The same files give the same zip.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from course import ROOT

TOOLS = ROOT / "tools"


@dataclass(frozen=True)
class Kit:
    """A zip: its name, patterns of the repository's files, and texts that come from tools/ under another name."""

    name: str
    parts: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]

    @property
    def path(self) -> Path:
        return ROOT / "dist" / f"{self.name}.zip"


CLASSROOM = Kit(
    "sdlearn-classroom",
    (
        "LICENSE",
        "pyproject.toml",
        "constraints.txt",
        "environment.yml",
        "notebooks/*.ipynb",
        "notebooks/GLOSSARY.md",
        "sdlearn/**/*",
        "data/**/*",
    ),
    (("README.md", "classroom.md"),),
)
TEACHER = Kit(
    "sdlearn-teacher",
    (
        *CLASSROOM.parts,
        "notebooks/*.md",
        "notebooks/solutions/*",
        "notebooks/source/**/*.py",
    ),
    (("README.md", "teacher.md"), ("STUDENTS.md", "classroom.md")),
)
KITS = {"classroom": CLASSROOM, "teacher": TEACHER}
LEFTOVERS = re.compile(r"(^|/)(\.|__pycache__/)|\.(pyc|tmp)$")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


def files(kit: Kit, root: Path = ROOT) -> list[str]:
    """The names of the repository's files that a kit holds, sorted."""
    found = (path for part in kit.parts for path in root.glob(part) if path.is_file())
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
    if name.startswith("notebooks/") and name.endswith(".md"):
        return unlinked((root / name).read_text(encoding="utf-8"), name, names).encode()
    if not name.endswith(".ipynb"):
        return (root / name).read_bytes()
    notebook = json.loads((root / name).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = unlinked("".join(cell["source"]), name, names)
            cell["source"] = text.splitlines(keepends=True)
    return (json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def write(kit: Kit, path: Path | None = None, root: Path = ROOT) -> Path:
    """Write the zip, into dist/ if no path is given."""
    path = path or kit.path
    texts = dict(kit.texts)
    names = {*files(kit, root), *texts}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(names):
            data = (TOOLS / texts[name]).read_bytes() if name in texts else content(name, names, root)
            entry = zipfile.ZipInfo(f"{kit.name}/{name}", EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every system
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    return path


def main(arguments: list[str]) -> None:
    """Write the kit that is named, the students' if none is."""
    name = arguments[0] if arguments else "classroom"
    if len(arguments) > 1 or name not in KITS:
        sys.exit(f"classroom.py: {' '.join(arguments)!r} is no kit; there are {', '.join(KITS)}.")
    path = write(KITS[name])
    print(f"{path.relative_to(ROOT).as_posix()}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
