"""Writes the package from a chapter, or a chapter from the package: only definitions that differ are touched."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from cells import Cell, Definition, definitions, import_texts, read_cells, read_module
from course import Course

Edit = tuple[int, int, list[str]]  # these lines of a file, from 1, both included, become those


def apply(path: Path, edits: list[Edit]) -> None:
    """Rewrite lines of a file, from the last edit to the first. An edit (n + 1, n, new) inserts after line n.

    Raises SyntaxError, and writes nothing, where the result would not be Python.
    """
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
    for first, last, new in sorted(edits, reverse=True):
        lines[first - 1 : last] = new
    text = "\n".join(lines)
    ast.parse(text, path.name)
    path.write_text(text, encoding="utf-8", newline="\n")


def marked(course: Course, chapter: str) -> Iterator[tuple[Cell, list[Definition]]]:
    """The marked cells of a chapter, with what they define."""
    for source in course.sources():
        if source.name.startswith(f"{chapter}_"):
            for cell in read_cells(source):
                if cell.target:
                    yield cell, definitions(cell.tree(), source)


def to_notebook(course: Course, chapter: str) -> list[str]:
    """Each definition of a marked cell that differs becomes the package's. Returns what was changed.

    What the package does not have is left as it is: the check names it.
    """
    edits, changed = {}, []
    for cell, found in marked(course, chapter):
        if not (course.root / cell.target).is_file():
            continue
        _, known = read_module(course.root / cell.target)
        for shown in found:
            there = known.get(shown.name)
            if there and not shown.equals(there):
                edits.setdefault(cell.path, []).append((shown.first, shown.last, there.text.split("\n")))
                changed.append(f"{course.short(cell.path)}:{shown.first}: {shown.name} from {cell.target}")
    for path, ones in edits.items():
        apply(path, ones)
    return changed


def to_package(course: Course, chapter: str) -> list[str]:
    """Each definition of the package that differs becomes the chapter's; what is missing is added, imports too.

    Nothing is deleted. Returns what was changed. Raises ValueError where a chapter shows a name twice.
    """
    changed = []
    targets = list(dict.fromkeys(cell.target for cell, _ in marked(course, chapter)))
    for target in targets:
        cells = [(cell, found) for cell, found in marked(course, chapter) if cell.target == target]
        names = [shown.name for _, found in cells for shown in found]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"chapter {chapter} shows {', '.join(twice)} of {target} twice; keep one.")
        changed += write_module(course.root / target, target, cells)
    return changed


def write_module(path: Path, target: str, cells: list[tuple[Cell, list[Definition]]]) -> list[str]:
    """Bring one file of the package to what the cells say."""
    tree, known = read_module(path) if path.is_file() else (ast.Module([], []), {})
    edits, changed = [], []
    end = len(path.read_text(encoding="utf-8").rstrip().split("\n")) if path.is_file() else 0
    after, added = end, {}  # new definitions follow the one that the chapter shows before them
    for shown in (shown for _, found in cells for shown in found):
        there, text = known.get(shown.name), shown.text.split("\n")
        if there:
            after = there.last
            if not shown.equals(there):
                edits.append((there.first, there.last, text))
                changed.append(f"{target}:{there.first}: {shown.name}")
        else:
            added[after] = [*added.get(after, []), "", "", *text]
            changed.append(f"{target}: {shown.name}, new")
    imports = set().union(*map(import_texts, tree.body))
    asked = dict.fromkeys(
        text for cell, _ in cells for node in cell.tree().body for text in sorted(import_texts(node))
    )
    if new := [text for text in asked if text not in imports]:
        heads = [node.end_lineno for node in tree.body if import_texts(node)] or [
            node.end_lineno for node in tree.body[:1] if isinstance(node, ast.Expr)
        ]
        line = heads[-1] if heads else 0
        added[line] = [*new, *added.get(line, [])]
        changed += [f"{target}: {text}" for text in new]
    edits += [(line + 1, line, new) for line, new in added.items()]
    if edits:
        apply(path, edits)
    return changed
