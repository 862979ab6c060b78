"""The glossary: each term is explained once, and the chapter it leads to speaks of it."""

import argparse
import re
from importlib import import_module

import links
import pytest
from course import ROOT

from sdlearn.cli import build_parser

NOTEBOOKS = ROOT / "notebooks"
GLOSSARY = NOTEBOOKS / "GLOSSARY.md"
ROW = re.compile(
    r"^\| \*\*(?P<term>[^*|]+)\*\*(?P<forms>[^|]*) \| (?P<chinese>[^|]+) \| (?P<meaning>[^|]+) "
    r"\| \[(?P<number>\d\d)\]\((?P<file>[^)]+)\) \| (?P<names>[^|]*)\|$",
    re.MULTILINE,
)
TEXT = GLOSSARY.read_text(encoding="utf-8")
ROWS = [match.groupdict() for match in ROW.finditer(TEXT)]


def spoken(name):
    """The prose of a notebook in small letters, its line ends as blanks."""
    return " ".join(links.text_of(NOTEBOOKS / name).lower().split())


def options():
    """The names of all commands, and of all their options."""
    (commands,) = [
        action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)
    ]
    flags = {
        flag for one in commands.choices.values() for action in one._actions for flag in action.option_strings
    }
    return {f"sdlearn {name}" for name in commands.choices} | flags


def found(name):
    """The object of a dotted name."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part)
        return thing
    raise ModuleNotFoundError(name)


def test_each_line_of_the_tables_is_a_row_and_there_are_as_many_terms_as_one_can_read():
    lines = [
        line
        for line in TEXT.splitlines()
        if line.startswith("|") and not line.startswith(("| English", "|---"))
    ]
    assert len(lines) == len(ROWS)
    assert 60 <= len(ROWS) <= 110


def test_each_term_is_there_once_in_both_languages():
    for kind in ("term", "meaning"):
        entries = [row[kind].lower() for row in ROWS]
        assert sorted(entries) == sorted(set(entries))
    for row in ROWS:
        assert re.search(r"[\u4e00-\u9fff]", row["chinese"]) or row["term"] in row["chinese"], row
        assert row["meaning"].strip().endswith("."), row
    for chinese in ("潜空间", "噪声预测器", "无分类器引导", "交叉注意力"):
        assert sum(chinese in row["chinese"] for row in ROWS) == 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["term"])
def test_the_chapter_speaks_of_the_term(row):
    assert row["file"].startswith(f"{row['number']}_")
    assert row["term"].lower() in spoken(row["file"])


def test_each_chapter_is_led_to():
    chapters = {path.name for path in NOTEBOOKS.glob("[0-9]*.ipynb")}
    assert {row["file"] for row in ROWS} == chapters
    numbers = sorted(row["number"] for row in ROWS)
    assert sorted(set(numbers)) == [f"{chapter:02d}" for chapter in range(14)]
    assert [row["number"] for row in ROWS] == numbers  # in the order of the course


def test_what_the_package_calls_it_is_there():
    known = options()
    for row in ROWS:
        for name in re.findall("`([^`]+)`", row["names"]):
            if name not in known:
                assert name.startswith("sdlearn."), name
                found(name)
