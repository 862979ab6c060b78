"""The README's table of chapters: every chapter, as it was built."""

import json
from pathlib import Path

import pytest
import readme
from course import ROOT


def test_the_table_is_what_the_notebooks_say_now():
    """Titles, times, descriptions; `make notebooks` writes it."""
    assert readme.table(readme.chapters()) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_each_chapter_has_its_row_and_its_picture_is_its_notebook_s_own():
    course = readme.chapters()
    assert [path.name[:2] for path in sorted(ROOT.glob("notebooks/[0-9]*.ipynb"))] == list(course)
    assert {path.stem for path in readme.PICTURES.iterdir()} == {"front", *course}
    assert (readme.PICTURES / "front.png").read_bytes() == readme.front().picture
    assert f"![{readme.front().alt}](notebooks/pictures/front.png)" in (ROOT / "README.md").read_text("utf-8")
    for number, chapter in course.items():
        assert (readme.PICTURES / f"{number}.png").read_bytes() == chapter.picture


@pytest.fixture
def notebook(tmp_path) -> Path:
    """A built notebook with two described pictures, as small as can be."""
    cells = [
        {"source": ["# A <title>\n", "| **Your time** | 25 minutes of reading; 7 seconds |"]},
        *({"outputs": [picture(alt, data)]} for alt, data in (("A dog.", "ZG9n"), ("A | cat.", "Y2F0"))),
    ]
    path = tmp_path / "03_name.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {"sdlearn": {"seconds": 7}}}), encoding="utf-8")
    return path


def picture(alt: str, data: str) -> dict:
    return {"data": {"image/png": data}, "metadata": {"image/png": {"alt": alt}}}


def test_a_row_has_title_times_and_the_chosen_picture(notebook):
    chapter = readme.read(notebook, "A |")
    assert (chapter.title, chapter.minutes, chapter.seconds, chapter.picture) == ("A <title>", 25, 7, b"cat")
    row = readme.row("03", chapter, "what one builds")
    assert row.count("|") == 3 and 'alt="A &#124; cat."' in row and "25 min, runs in 7 s" in row


def test_a_picture_that_is_gone_is_named(notebook):
    with pytest.raises(ValueError, match=r"03_name.ipynb has no picture .* 'A bird'"):
        readme.read(notebook, "A bird")


def test_only_what_stands_between_the_marks_is_written():
    before = f"a\n{readme.BEGIN}old\n{readme.END}z\n"
    assert readme.with_table(before, "new\n") == f"a\n{readme.BEGIN}\nnew\n\n{readme.END}z\n"
