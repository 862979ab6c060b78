"""What is written around the code: links that lead somewhere, words without common misspellings."""

import json
import subprocess
import sys
from pathlib import Path

import launch
import links
import pytest
from course import ROOT

TEXTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("data/models/**/*.md"),
    *ROOT.glob("notebooks/**/*.md"),
    *ROOT.glob("notebooks/*.ipynb"),
    *ROOT.glob("notebooks/solutions/*.ipynb"),
]
TEACHERS = ["TEACHING.md", "EXAM.md", "GLOSSARY.md", "solutions/EXAM.md"]
SPELT = ["README.md", "CONTRIBUTING.md", "notebooks/source", "sdlearn", "tests", "tools"]
SPELT += [f"notebooks/{name}" for name in TEACHERS]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    assert links.dead_links(path, ROOT) == []


def test_the_readme_launches_the_first_notebook():
    first = min(ROOT.glob("notebooks/source/0*.py")).stem
    assert launch.row(first, launch.repository()) in (ROOT / "README.md").read_text(encoding="utf-8")


def spelling(*paths: object) -> str:
    """codespell's report, empty where it finds nothing; its settings are in pyproject.toml."""
    command = [sys.executable, "-m", "codespell_lib", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


def test_no_common_misspellings():
    assert [name for name in SPELT if not (ROOT / name).exists()] == []
    assert spelling(*SPELT) == ""


# The checks themselves.

HERE = """\
# The first part
See [there](folder/there.md), [its end](folder/there.md#the-end), [above](#the-first-part), [a notebook](a%20b.ipynb),
[a part of it](a%20b.ipynb#1-·-A-guess) and [a paper](https://arxiv.org/abs/2006.11239). `[code](none.md)` and $[f](t)$

```
[more code](none.md)
```
"""
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["## 1 · A guess\n", "Back to [the text](here.md)."]},
        {"cell_type": "code", "source": ["'[code](none.md)'"]},
    ]
}


@pytest.fixture
def here(tmp_path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "there.md").write_text("# The `end`!\nBack: [x](../here.md)", encoding="utf-8")
    (tmp_path / "a b.ipynb").write_text(json.dumps(NOTEBOOK), encoding="utf-8")
    path = tmp_path / "here.md"
    path.write_text(HERE, encoding="utf-8")
    return path


def test_good_links_are_followed(here):
    for path in here.parent.rglob("*.*"):
        assert links.dead_links(path, here.parent) == []
    assert len(links.LINK.findall(links.text_of(here))) == 6


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ("none.md", "leads to no file"),
        ("folder/there.md#the-beginning", "leads to no heading of there.md"),
        ("#the-second-part", "leads to no heading of here.md"),
        ("a%20b.ipynb#2-·-A-guess", "leads to no heading of a b.ipynb"),
        ("../elsewhere.md", "leads out of the repository"),
        ("/etc/hosts", "leads out of the repository"),
        ("", "leads out of the repository"),
        ("http://arxiv.org/abs/2006.11239", "is no https address"),
        ("https://arxiv/abs/2006.11239", "is no https address"),
        ("https:/arxiv.org/abs/2006.11239", "is no https address"),
    ],
)
def test_each_dead_link_is_found(here, link, wrong):
    here.write_text(f"{HERE}\n\nAnd [this]({link}).", encoding="utf-8")
    assert links.dead_links(here, here.parent) == [f"here.md: ({link}) {wrong}"]


def test_a_misspelling_is_found(tmp_path):
    text = tmp_path / "text.py"
    wrong = "sche" + "dul"  # put together, so that this file has no misspelling
    text.write_text(f'"""The noise {wrong}."""\n', encoding="utf-8")
    assert f"{wrong} ==> schedule" in spelling(text)
