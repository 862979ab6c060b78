"""The teacher's guide: its plans follow the chapters and fill the lesson, its figures are those of the build."""

import builtins
import json
import re
import symtable

import pytest
import teaching
from course import ROOT

NOTEBOOKS = ROOT / "notebooks"
TEXT = teaching.GUIDE.read_text(encoding="utf-8")
CHAPTER = re.compile(r"^## (\d\d) · (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CHAPTERS = {number: (title, text) for number, title, text in CHAPTER.findall(TEXT)}
NUMBERS = [f"{number:02d}" for number in range(14)]
PLAN = re.compile(r"^\| (\d+ · [^|]+?) \| (\d+|–) \| (\d+|–) \| ([^|]+) \|$", re.MULTILINE)
MISTAKE = re.compile(r"^\| (.+) \| (.+) \|$", re.MULTILINE)
LEFT_OUT = re.compile(r"May be left out, and no later cell misses it: ([\d, and]+)\.")


def notebook(number):
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    return path


def cells(number):
    return json.loads(notebook(number).read_text(encoding="utf-8"))["cells"]


def sections(number):
    """The headings of a notebook, without its sources, and the code of each in pieces: {heading: [cell, ...]}."""
    found = {"": []}
    for cell in cells(number):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for heading in re.findall(r"^## (.+)$", source, re.MULTILINE):
                found[heading] = []
        else:
            [*found.values()][-1].append(source)
    return found


def names(code):
    """(names that a cell takes from other cells, names that it gives to others)."""

    def visit(table):
        inner = {one for child in table.get_children() for one in visit(child)}
        here = {one.get_name() for one in table.get_symbols() if one.is_referenced() and one.is_global()}
        return inner | here

    table = symtable.symtable(code, "cell", "exec")
    given = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
    given |= {child.get_name() for child in table.get_children() if child.get_type() in ("function", "class")}
    asked = visit(table) | {one.get_name() for one in table.get_symbols() if one.is_referenced()}
    return asked - given - set(dir(builtins)), given


def missed(number, left_out):
    """Names that cells ask for and would get from sections that are left out: {(section, name), ...}."""
    owner, found = {}, set()
    for heading, codes in sections(number).items():
        section = heading.partition(" ")[0]
        for code in codes:
            asked, given = names(code)
            if section not in left_out:
                found |= {(section, name) for name in asked if owner.get(name) in left_out}
            owner |= dict.fromkeys(given, section)
    return found


def test_each_chapter_has_its_part():
    assert list(CHAPTERS) == NUMBERS
    for number, (title, text) in CHAPTERS.items():
        assert f"# {title}\n" in "".join(cells(number)[0]["source"]) + "\n"
        assert f"[The notebook]({notebook(number).name})" in text
        for part in ("**To take home:**", "**Short of time?**", "**Weak machines.**"):
            assert text.count(part) == 1, (number, part)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_plan_names_each_heading_and_fills_its_lesson(number):
    rows = PLAN.findall(CHAPTERS[number][1])
    assert [row[0] for row in rows] == [
        heading for heading in sections(number) if heading not in ("", "Sources")
    ]
    for column, minutes in ((1, 45), (2, 90)):
        assert sum(int(row[column]) for row in rows if row[column] != "–") == minutes
    assert all(row[1] == "–" or row[2] != "–" for row in rows)  # the longer lesson has all of the shorter one


@pytest.mark.parametrize("number", NUMBERS)
def test_a_chapter_has_misconceptions_and_what_refutes_them(number):
    _, _, table = CHAPTERS[number][1].partition("| they think | let them try |")
    rows = [row for row in MISTAKE.findall(table.partition("\n\n")[0]) if set(row[0]) != {"-"}]
    assert len(rows) >= 3
    for exercise in re.findall(r"\b(\d\d\.\d)\b", CHAPTERS[number][1]):
        assert any(f"**{exercise}**" in "".join(cell["source"]) for cell in cells(number)), exercise


@pytest.mark.parametrize("number", NUMBERS)
def test_what_may_be_left_out_is_missed_by_no_later_cell(number):
    left_out = set(re.findall(r"\d+", " ".join(LEFT_OUT.findall(CHAPTERS[number][1]))))
    assert left_out and left_out <= {heading.partition(" ")[0] for heading in sections(number)}
    assert missed(number, left_out) == set()


def test_what_a_section_gives_to_later_ones_is_found():
    assert ("9", "facts_right") in missed("00", {"8"})
    assert missed("02", {"6"}) == set()


def test_the_table_of_costs_is_that_of_the_build():
    """A new build measures a little differently; half as much again is told by a new table."""
    pattern = r"^\| \[(\d\d)\]\(([^)]+)\) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$"
    rows = re.findall(pattern, teaching.TABLE.search(TEXT)[0], re.MULTILINE)
    assert [row[0] for row in rows] == NUMBERS, "run `python tools/teaching.py`"
    for number, name, *told in rows:
        reading, seconds, slow, megabytes = map(int, told)
        costs = teaching.costs(notebook(number))
        assert name == notebook(number).name
        assert reading == costs[0]
        for said, measured in ((seconds, costs[1]), (slow, 4 * costs[1] / 60), (megabytes, costs[2])):
            assert measured / 1.5 - 1 <= said <= 1.5 * measured + 1, (
                f"{number}: run `python tools/teaching.py`"
            )


def test_the_table_is_written_between_its_marks(tmp_path):
    guide = "before\n<!-- measured -->\nold\n<!-- measured end -->\nafter"
    assert teaching.filled(guide, "new\n") == guide.replace("old", "new")
    with pytest.raises(ValueError, match="once; found 0 times"):
        teaching.filled("no marks", "new")
    cell = {"source": ["# T\n", "25 minutes of reading"]}
    book = {"cells": [cell], "metadata": {"sdlearn": {"seconds": 46, "megabytes": 900}}}
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_a.ipynb").write_text(json.dumps(book), encoding="utf-8")
    assert teaching.table(tmp_path).endswith("|---|\n| [01](01_a.ipynb) | 25 | 46 | 4 | 900 |\n")


def test_each_command_and_file_that_the_guide_names_is_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make (\w+)`", TEXT):
        assert f"\n{target}:" in makefile
    for path in re.findall(r"`((?:tools|tests)/[\w/]+\.py)`", TEXT):
        assert (ROOT / path).exists()
