"""What holds for the exercises of every chapter: blank, solution, and mistakes that are told apart."""

import re
from importlib import import_module
from pathlib import Path

import jupytext
import pytest

from sdlearn.exercises import check
from sdlearn.exercises.core import judge

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "notebooks" / "source"
CHAPTERS = {
    path.stem.removeprefix("chapter_"): import_module(f"sdlearn.exercises.{path.stem}").EXERCISES
    for path in sorted((ROOT / "sdlearn" / "exercises").glob("chapter_*.py"))
}
EXERCISES = {name: exercise for exercises in CHAPTERS.values() for name, exercise in exercises.items()}


def code_cells(folder: Path, chapter: str) -> list[str]:
    (source,) = folder.glob(f"{chapter}_*.py")
    cells = jupytext.read(source, fmt="py:percent").cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def handed_over(cells: list[str], name: str) -> list:
    """What the cells of an exercise give to ``check``. The imports of their notebook are made before."""
    lines = [line for cell in cells for line in re.findall(r"^(?:from \S+ )?import [^(\n]+$", cell, re.M)]
    names, given = {}, []
    exec("\n".join(lines), names)
    names["check"] = lambda asked, answer: given.append((asked, answer))
    wanted = [cell for cell in cells if f'check("{name}"' in cell]
    for cell in wanted:
        exec(re.sub(r"^from sdlearn\.exercises import check$", "", cell, flags=re.M), names)
    return [answer for asked, answer in given if asked == name]


def test_there_are_four_to_six_a_chapter_and_all_are_asked():
    assert CHAPTERS.keys() == {path.name[:2] for path in SOURCES.glob("[0-9]*.py")}
    for chapter, exercises in CHAPTERS.items():
        assert 4 <= len(exercises) <= 6
        assert list(exercises) == [f"{chapter}.{k + 1}" for k in range(len(exercises))]
        text = "\n".join(code_cells(SOURCES, chapter))
        assert re.findall(r'^check\("([\d.]+)"', text, flags=re.M) == list(exercises)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_blank_of_the_notebook_is_told_how_to_begin(name):
    (blank,) = handed_over(code_cells(SOURCES, name[:2]), name)
    for answer in (blank, ..., None):
        verdict = check(name, answer)
        assert not verdict.right and verdict.text == EXERCISES[name].start


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_right(name):
    cells = code_cells(SOURCES / "solutions", name[:2])
    assert sum(cell.startswith(f"# solution {name}\n") for cell in cells) == 1
    (answer,) = handed_over(cells, name)
    verdict = check(name, answer)
    assert verdict.right and verdict.text == EXERCISES[name].praise


@pytest.mark.parametrize("name", EXERCISES)
def test_each_mistake_is_told_from_the_right_answer_and_from_the_others(name):
    exercise = EXERCISES[name]
    assert len(exercise.mistakes) >= 2
    for mistake in exercise.mistakes:
        verdict = judge(exercise, mistake.answer)
        assert not verdict.right and verdict.text == mistake.text
        assert mistake.text not in (exercise.start, exercise.otherwise)


@pytest.mark.parametrize(
    "name", [name for name, one in EXERCISES.items() if isinstance(one.right, int | float)]
)
def test_no_text_but_the_praise_holds_the_number_that_is_asked_for(name):
    exercise = EXERCISES[name]
    texts = [exercise.start, exercise.otherwise, *(mistake.text for mistake in exercise.mistakes)]
    numbers = {number for text in texts for number in re.findall(r"\d+(?:\.\d+)?", text)}
    assert f"{exercise.right:g}" not in numbers
