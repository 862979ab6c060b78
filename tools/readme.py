"""Writes the README's table of chapters: what `make readme` runs, after the notebooks are built.

Titles, times and pictures come from the built notebooks; a picture is a notebook's own output, byte for byte, with the
description that it has there. Here stand only which picture, and one line on what one builds.
"""

from __future__ import annotations

import base64
import html
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from course import ROOT

README = ROOT / "README.md"
PICTURES = ROOT / "notebooks" / "pictures"
FRONT = "00", "Four pictures from the same noise"  # the picture at the top of the page
BEGIN, END = "<!-- chapters: written by tools/readme.py -->\n", "<!-- end of chapters -->\n"
WIDTH = 400  # pixels on the page; a click opens the chapter

# Chapter -> what one builds.
BUILDS = {
    "00": "the whole pipeline runs, with every intermediate visible",
    "01": "a picture drowns in noise: β, ᾱ, σ, three noise schedules",
    "02": "a U-Net learns to see the noise, live; cats and dogs come out of nothing",
    "03": "from DDPM to DPM-Solver++, and why they are nearly one algorithm",
    "04": "a picture in 48 times fewer numbers, what is lost, and a second decoder",
    "05": "chapter 02 with one line changed: what it saves, and why a wide picture has two cats",
    "06": "bytes, pairs, merges: from a sentence to the ids of CLIP, and what is cut",
    "07": "a text tower, trained against pictures until a matrix turns diagonal; why a cat is orange",
    "08": "which place of the picture looks at which word, and what happens when one meddles",
    "09": "from a classifier's gradient to the guidance scale and the negative prompt",
    "10": "four stages in a loop of your own, and a dozen experiments on one model: seeds, mixtures, walks, galleries",
    "11": "where to enter the noise: sketches, masks, wider canvases, and who decides, sketch or prompt",
    "12": "a checkpoint opened by hand: names, types, what a file may do to you; SD 1 beside SD 2",
    "13": "a fair clock, the roof of your machine, the same picture sooner, and what it costs to do less",
}

# Chapter -> how the description of its picture begins in the notebook.
SHOWN = {
    "00": "A film strip.",
    "01": "Three rows of one cat.",
    "02": "Ten dreams each.",
    "03": "Paths from noise to the islands.",
    "04": "From a dog and a cat by day",
    "05": "Square: one cat",
    "06": "“A small RED teapot",
    "07": "Matrices",
    "08": "Maps of attention",
    "09": "Five pictures from the same",
    "10": "Four rows, from 1 to 16 steps.",
    "11": "Four rows of pictures of an orange cat",
    "12": "Three pictures. The first two",
    "13": "Five rows of six pictures.",
}


@dataclass(frozen=True)
class Chapter:
    """What the table says of one notebook."""

    path: Path
    title: str
    minutes: int
    seconds: int
    picture: bytes
    alt: str


def read(path: Path, alt: str) -> Chapter:
    """A built notebook, with its first picture whose description begins with ``alt``. ValueError if there is none."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    for output in outputs:
        words = output.get("metadata", {}).get("image/png", {}).get("alt", "")
        if words.startswith(alt):
            card = "".join(notebook["cells"][0]["source"])
            minutes = int(card.split("**Your time** | ")[1].split()[0])
            picture = base64.b64decode(output["data"]["image/png"])
            title = card.splitlines()[0].removeprefix("# ")
            return Chapter(path, title, minutes, notebook["metadata"]["sdlearn"]["seconds"], picture, words)
    raise ValueError(f"{path.name} has no picture whose description begins with {alt!r}: choose another.")


def chapters() -> dict[str, Chapter]:
    """Number -> what its notebook says."""
    found = {}
    for number, alt in SHOWN.items():
        [path] = ROOT.glob(f"notebooks/{number}_*.ipynb")
        found[number] = read(path, alt)
    return found


def front() -> Chapter:
    """The picture at the top of the page."""
    number, alt = FRONT
    [path] = ROOT.glob(f"notebooks/{number}_*.ipynb")
    return read(path, alt)


def row(number: str, chapter: Chapter, builds: str) -> str:
    """A line of the table: words on the left, the picture on the right."""
    title = f"**[{number}, {chapter.title}](notebooks/{chapter.path.name})**"
    alt = html.escape(chapter.alt).replace("|", "&#124;")
    image = f'<img src="notebooks/pictures/{number}.png" width="{WIDTH}" alt="{alt}">'
    return f"| {title}<br>{builds}<br>{chapter.minutes} min, runs in {chapter.seconds} s | {image} |"


def table(course: dict[str, Chapter]) -> str:
    """A line on how long all of it takes, and the table in Markdown."""
    hours = sum(chapter.minutes for chapter in course.values()) / 60
    computing = sum(chapter.seconds for chapter in course.values()) / 60
    lines = [
        f"{len(course)} chapters, about {hours:.0f} hours of reading with time to think; the exercises, four to six a "
        f"chapter, come on top. All of the computing takes {computing:.0f} minutes on two processor cores.",
        "",
        "| chapter | made by its notebook |",
        "|---|---|",
        *(row(number, chapter, BUILDS[number]) for number, chapter in course.items()),
    ]
    return "\n".join(lines) + "\n"


def with_table(readme: str, text: str) -> str:
    """The README with another table between its two marks."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> int:
    """Write the pictures and the table."""
    course = chapters()
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "front.png").write_bytes(front().picture)
    for number, chapter in course.items():
        (PICTURES / f"{number}.png").write_bytes(chapter.picture)
    readme = README.read_text(encoding="utf-8")
    README.write_text(with_table(readme, table(course)), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
