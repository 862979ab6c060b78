"""The course as a table: which chapter builds which module of the package, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Chapter -> modules of sdlearn that it builds. "samplers" is sdlearn/samplers.py; a folder counts with all its files,
# "training/latents" is one file in a folder.
CHAPTERS = {
    "01": ("schedule",),
    "02": ("blocks", "unet"),
    "03": ("denoise", "spacing", "samplers"),
    "04": ("vae",),
    "05": ("training/latents",),
    "06": ("bpe", "tokenizer_training", "tokenizer"),
    "07": ("clip",),
    "08": ("attention",),
    "09": ("noisy_classifier", "guidance"),
    "10": ("stages",),  # sdlearn/pipeline.py around it is checks, words and a progress bar: no idea
    "11": ("inpainting",),
    "12": ("checkpoint",),
    "13": ("bench",),
}

# Modules whose chapter is still to come. When a chapter is written, its modules leave this list. It only shrinks:
# a new module is written together with its chapter.
WAITING = frozenset("inpainting checkpoint bench".split())
WAITING_AT_FIRST = frozenset(
    "schedule blocks unet denoise spacing samplers "
    "vae tokenizer clip attention guidance pipeline inpainting checkpoint bench".split()
)

# A module -> modules of later chapters that it imports inside a function, as a promise to the reader:
# the U-Net may hold transformers that chapter 08 builds; a drawing may have a mask (11), and save work (13).
PROMISED = {"unet": frozenset({"attention"}), "stages": frozenset({"inpainting", "reuse"})}

# Every chapter may use these, whoever builds them: finished parts are loaded, and the reader's own is swapped into the
# running pipeline.
FOR_ALL = frozenset({"pipeline", "checkpoint"})


@dataclass(frozen=True)
class Course:
    """A clone, and the tables above. Tests make small ones of their own."""

    root: Path = ROOT
    chapters: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: CHAPTERS)
    waiting: frozenset[str] = WAITING
    waiting_at_first: frozenset[str] = WAITING_AT_FIRST
    promised: Mapping[str, frozenset[str]] = field(default_factory=lambda: PROMISED)

    def sources(self) -> list[Path]:
        """The texts of the chapters, in order; not those of the solutions."""
        return sorted((self.root / "notebooks" / "source").glob("[0-9][0-9]_*.py"))

    def written(self, chapter: str) -> bool:
        """Is there a text of the chapter?"""
        return any(source.name.startswith(f"{chapter}_") for source in self.sources())

    def files(self, module: str) -> list[Path]:
        """The files of a module: one, or all of a folder."""
        path = self.root / "sdlearn" / module
        return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]

    def module_of(self, name: str) -> str:
        """The name in the table of what a dotted name or a file of the package lies in.

        "sdlearn/checkpoint/files.py" is a part of "checkpoint", "sdlearn.training.latents.noised" of
        "training/latents" where the table has that.
        """
        parts = name.removesuffix(".py").replace(".", "/").split("/")[1:]
        inner = "/".join(parts[:2])
        return inner if self.chapter_of(inner) else parts[0]

    def chapter_of(self, module: str) -> str | None:
        """The chapter that builds a module ("checkpoint" stands for all below it); None if no chapter does."""
        found = [chapter for chapter, modules in self.chapters.items() if module in modules]
        return found[0] if found else None

    def later(self, module: str, chapter: str) -> bool:
        """Is a module built in a chapter after this one, and not for all to use?"""
        return module not in FOR_ALL and (self.chapter_of(module) or "") > chapter

    def short(self, path: Path) -> str:
        """A path as messages name it, from the clone's folder, with slashes everywhere."""
        return path.relative_to(self.root).as_posix()
