"""Reads a chapter's text and the package as what they define: cells, definitions, imports, names."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = re.compile(r"# -> (sdlearn/[\w/]+\.py)")
LOOKS_MARKED = re.compile(r"#\s*->.*sdlearn")  # what somebody may have meant as a mark
BUILT_IN = frozenset(dir(builtins)) | {"__class__", "__file__", "__name__"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Cell:
    """A code cell of a chapter's text. ``line`` is that of its first line of code in the file, from 1."""

    path: Path
    line: int
    text: str

    @property
    def target(self) -> str | None:
        """The file of the package that the cell's first line names, such as "sdlearn/schedule.py"."""
        found = MARK.fullmatch(self.text.partition("\n")[0].rstrip())
        return found.group(1) if found else None

    def misplaced_marks(self) -> list[int]:
        """The lines that look like a mark and are none: not the first line, or misspelt."""
        return [
            number
            for number, line in enumerate(self.text.split("\n"), self.line)
            if LOOKS_MARKED.match(line) and (number > self.line or not self.target)
        ]

    def tree(self) -> ast.Module:
        """The syntax tree, with the file's line numbers. Raises SyntaxError."""
        return ast.parse("\n" * (self.line - 1) + self.text, self.path.name)


@dataclass(frozen=True)
class Definition:
    """A function, class or constant at the top of a file or cell; ``first`` and ``last`` are lines, from 1."""

    name: str
    node: ast.stmt
    path: Path
    first: int
    last: int
    text: str

    def equals(self, other: Definition) -> bool:
        """The same syntax tree, docstrings included; comments and layout are free."""
        return ast.dump(self.node) == ast.dump(other.node)


def read_cells(path: Path) -> list[Cell]:
    """The code cells of a text in the percent format."""
    lines = path.read_text(encoding="utf-8").split("\n")
    begins = [number for number, line in enumerate(lines) if re.match(r"# %%(\s|$)", line)]
    cells = []
    for begin, end in zip(begins, [*begins[1:], len(lines)]):
        if not re.match(r"# %%.*\[(markdown|raw)\]", lines[begin]):
            cells.append(Cell(path, begin + 2, "\n".join(lines[begin + 1 : end]).rstrip()))
    return cells


def defined_name(node: ast.stmt) -> str | None:
    """The name that a statement defines: a function, a class, a constant; None for any other statement."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None


def definitions(tree: ast.Module, path: Path) -> list[Definition]:
    """The definitions at the top of a tree that was read from ``path``, in order."""
    lines = path.read_text(encoding="utf-8").split("\n")
    found = []
    for node in tree.body:
        if name := defined_name(node):
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
            text = "\n".join(lines[first - 1 : node.end_lineno])
            found.append(Definition(name, node, path, first, node.end_lineno, text))
    return found


def read_module(path: Path) -> tuple[ast.Module, dict[str, Definition]]:
    """A file of the package: its tree, its definitions by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"), path.name)
    return tree, {one.name: one for one in definitions(tree, path)}


def import_texts(node: ast.stmt) -> set[str]:
    """An import statement as single imports, each as a line of code; empty for another statement."""
    if not isinstance(node, (ast.Import, ast.ImportFrom)):
        return set()
    start = f"from {'.' * node.level}{node.module or ''} " if isinstance(node, ast.ImportFrom) else ""
    return {f"{start}import {ast.unparse(alias)}" for alias in node.names}


def bound_names(node: ast.AST) -> set[str]:
    """Every name that is given a meaning anywhere within a node."""
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            found.add(inner.id)
        elif isinstance(inner, ast.arg):
            found.add(inner.arg)
        elif isinstance(inner, ast.alias):
            found.add(inner.asname or inner.name.partition(".")[0])
        elif isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(inner.name)
        elif isinstance(inner, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and inner.name:
            found.add(inner.name)
    return found


def free_names(node: ast.stmt) -> set[str]:
    """The names that a definition takes from around it, apart from Python's own."""
    used = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return used - bound_names(node) - BUILT_IN


def top_names(tree: ast.Module) -> set[str]:
    """The names that a module has."""
    found = set()
    for node in tree.body:
        own = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        found |= {node.name} if own else bound_names(node)
    return found


def uses(
    tree: ast.Module, homes: dict[str, str], module_of: Callable[[str], str]
) -> Iterator[tuple[str, int, bool]]:
    """The package's modules that a tree imports: (module, line, inside a function?).

    ``homes`` says which module a name of the package itself comes from: {"UNet": "unet"}; ``module_of`` which one
    a dotted name lies in.
    """
    inside = {inner for node in ast.walk(tree) if isinstance(node, FUNCTIONS) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        for name in _package_names(node):
            module = module_of(name)
            yield homes.get(module, module), node.lineno, node in inside


def _package_names(node: ast.AST) -> list[str]:
    """The dotted names below sdlearn that a node imports or mentions: ["sdlearn.unet.UNet"]."""
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        origin = ".".join(filter(None, ["sdlearn" if node.level else "", node.module]))
        names = [f"{origin}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        names = [f"{node.value.id}.{node.attr}"]
    return [name for name in names if name.startswith("sdlearn.")]
