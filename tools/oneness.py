"""Keeps notebooks and package one: what a chapter shows in its marked cells is the package's code.

    python tools/oneness.py check             every difference, with its place; nothing if there is none
    python tools/oneness.py to-package 03     write the package's definitions from chapter 03
    python tools/oneness.py to-notebook 03    write chapter 03's marked cells from the package

A marked cell begins with a line such as "# -> sdlearn/schedule.py". Definitions are compared by their syntax
trees, docstrings included; comments and layout are free. Which chapter builds what is in course.py.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import rewrite
from cells import (
    Cell,
    Definition,
    defined_name,
    definitions,
    free_names,
    import_texts,
    read_cells,
    read_module,
    top_names,
    uses,
)
from course import ROOT, Course

LONGEST_DIFFERENCE = 30  # lines that are printed of one


def check(course: Course) -> list[str]:
    """Every way in which notebooks and package are not one, each with its place; an empty list if they are."""
    return [
        *(fault for source in course.sources() for fault in source_faults(course, source)),
        *shown_faults(course),
        *module_import_faults(course),
    ]


def source_faults(course: Course, source: Path) -> Iterator[str]:
    """What is wrong with the cells of one chapter."""
    for cell in read_cells(source):
        where = course.short(source)
        for line in cell.misplaced_marks():
            yield f'{where}:{line}: a mark is the first line of its cell, like "# -> sdlearn/schedule.py"'
        try:
            tree = cell.tree()
        except SyntaxError as error:
            yield f"{where}:{error.lineno}: not Python: {error.msg}"
            continue
        yield from later_faults(course, source.name[:2], cell, tree)
        if cell.target:
            yield from marked_faults(course, cell, tree)


def marked_faults(course: Course, cell: Cell, tree: ast.Module) -> Iterator[str]:
    """Where a marked cell is not the package's code."""
    where = course.short(cell.path)
    path = course.root / cell.target
    if not path.is_file():
        yield f"{where}:{cell.line}: there is no {cell.target}"
        return
    module, known = read_module(path)
    imports = set().union(*map(import_texts, module.body))
    for node in tree.body:
        own = import_texts(node)
        for missing in sorted(own - imports):
            yield f"{where}:{node.lineno}: {cell.target} does not say `{missing}`"
        if not own and not defined_name(node):
            yield f"{where}:{node.lineno}: a marked cell holds definitions and imports, no other statement"
    for shown in definitions(tree, cell.path):
        there = known.get(shown.name)
        if there is None:
            yield f"{where}:{shown.first}: {cell.target} has no {shown.name}"
        elif not shown.equals(there):
            yield difference(course, there, shown)
        for name in sorted(free_names(shown.node) - top_names(module)):
            yield f"{where}:{shown.first}: {shown.name} uses {name}, which {cell.target} neither defines nor imports"


def difference(course: Course, there: Definition, shown: Definition) -> str:
    """Two texts of one definition, as a diff from the package's to the notebook's."""
    places = [f"{course.short(one.path)}:{one.first}" for one in (there, shown)]
    lines = list(
        difflib.unified_diff(there.text.split("\n"), shown.text.split("\n"), *places, n=1, lineterm="")
    )
    if len(lines) > LONGEST_DIFFERENCE:
        lines[LONGEST_DIFFERENCE:] = [f"... and {len(lines) - LONGEST_DIFFERENCE} more lines"]
    return "\n    ".join([f"{places[1]}: {shown.name} is not the one at {places[0]}", *lines])


def shown_faults(course: Course) -> Iterator[str]:
    """Each definition is shown once, none before its chapter; a chapter's public ones are all shown."""
    places = defaultdict(list)
    for shown in all_shown(course):
        chapter, (target, name), place = shown
        places[target, name].append(place)
        builds = course.chapter_of(course.module_of(target))
        if builds and builds > chapter:
            yield f"{place}: {name} is built in chapter {builds}, {target}"
    for (target, name), found in places.items():
        if len(found) > 1:
            yield f"{found[-1]}: {name} of {target} is shown before, at {', '.join(found[:-1])}"
    built = [one for modules in course.chapters.values() for one in modules]
    for path in [path for module in built for path in course.files(module)]:
        target = course.short(path)
        if not path.is_file():
            yield f"course.py names {target}, which does not exist"
            continue
        for name, there in read_module(path)[1].items():
            if not name.startswith("_") and (target, name) not in places:
                chapter = course.chapter_of(course.module_of(target))
                yield f"{target}:{there.first}: no notebook shows {name} of chapter {chapter}"


def all_shown(course: Course) -> Iterator[tuple[str, tuple[str, str], str]]:
    """(chapter, (target, name), place) of each definition in a marked cell."""
    for source in course.sources():
        for cell in read_cells(source):
            try:
                found = definitions(cell.tree(), source) if cell.target else []
            except SyntaxError:  # reported elsewhere
                continue
            for shown in found:
                place = f"{course.short(source)}:{shown.first}"
                yield source.name[:2], (cell.target, shown.name), place


def homes(course: Course) -> dict[str, str]:
    """The modules that the package's own public names come from: {"UNet": "unet"}."""
    _, known = read_module(course.root / "sdlearn" / "__init__.py")
    return ast.literal_eval(known["_HOME"].node.value) if "_HOME" in known else {}


def later_faults(course: Course, chapter: str, cell: Cell, tree: ast.Module) -> Iterator[str]:
    """Imports of a cell from modules that a later chapter builds."""
    promised = course.promised.get(course.module_of(cell.target), ()) if cell.target else ()
    for module, line, inside in sorted(set(uses(tree, homes(course), course.module_of))):
        if course.later(module, chapter) and not (inside and module in promised):
            yield f"{course.short(cell.path)}:{line}: {module} is built later, in chapter {course.chapter_of(module)}"


def module_import_faults(course: Course) -> Iterator[str]:
    """Imports of a chapter's module from modules that a later chapter builds."""
    for chapter, modules in course.chapters.items():
        for module in modules:
            for path in course.files(module):
                tree = read_module(path)[0] if path.is_file() else ast.Module([], [])
                for other, line, inside in sorted(set(uses(tree, homes(course), course.module_of))):
                    if course.later(other, chapter) and not (
                        inside and other in course.promised.get(module, ())
                    ):
                        yield (
                            f"{course.short(path)}:{line}: {module} belongs to chapter {chapter}, "
                            f"{other} to chapter {course.chapter_of(other)}"
                        )


def main() -> int:
    """Check, or write one side from the other; 1 if something is not one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("check", help="report every difference")
    for name, side in (
        ("to-package", "the package from a chapter"),
        ("to-notebook", "a chapter from the package"),
    ):
        actions.add_parser(name, help=f"write {side}").add_argument("chapter", help="its number, such as 03")
    wishes = parser.parse_args()
    course = Course(ROOT)
    if wishes.action != "check":
        if not course.written(wishes.chapter):
            parser.error(f"there is no text of a chapter {wishes.chapter!r} in notebooks/source.")
        write = rewrite.to_package if wishes.action == "to-package" else rewrite.to_notebook
        try:
            changed = write(course, wishes.chapter)
        except (SyntaxError, ValueError) as error:
            parser.error(str(error))
        print(*(changed or ["Nothing to change."]), sep="\n")
        return 0
    found = check(course)
    print(*(found or ["Notebooks and package are one."]), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
