"""Scenes by the thousand: drawn once into a cache folder, then read through a memory map. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from ..paths import cache_folder
from .captions import caption
from .draw import render
from .world import SIZE, Scene, sample_scene

CAPTIONS_PER_PICTURE = 3
CHUNK = 500  # pictures that a worker draws before it reports


def example(seed: int, index: int, split: str = "train") -> tuple[Scene, tuple[str, ...]]:
    """Scene number `index` of a dataset and its captions: a function of (seed, index, split) alone."""
    rng = Random(f"{seed}/{index}/{split}")  # Python seeds from a text by SHA-512, the same everywhere
    scene = sample_scene(rng, split)
    wordings = [caption(scene, rng)]
    for _ in range(20):  # different wordings if the scene has as many
        wordings += [text for text in [caption(scene, rng)] if text not in wordings]
        if len(wordings) == CAPTIONS_PER_PICTURE:
            break
    return scene, tuple(wordings + wordings[:1] * (CAPTIONS_PER_PICTURE - len(wordings)))


def render_dataset(
    n: int,
    seed: int = 0,
    folder: Path | str | None = None,
    workers: int = 1,
    split: str = "train",
    progress: bool = True,
) -> Path:
    """Draw n scenes below `folder` (default: the cache) and return their own folder, or find it there.

    It holds pictures.npy, uint8 (n, 128, 128, 3), captions.jsonl, scenes.jsonl and meta.json.
    """
    if n < 1 or workers < 1:
        raise ValueError(f"n and workers must be at least 1, not {n} and {workers}")
    home = Path(folder) if folder is not None else cache_folder() / "scenes"
    meta = {"n": n, "seed": seed, "split": split, "size": SIZE, "drawing": _fingerprint(split)}
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()[:10]
    final = home / f"{split}-{n}-seed{seed}-{digest}"
    if (final / "meta.json").is_file():
        return final
    home.mkdir(parents=True, exist_ok=True)
    needed, free = n * (SIZE * SIZE * 3 + 1000), shutil.disk_usage(home).free  # pixels, and texts
    if free < needed:
        raise ValueError(
            f"{n} scenes need {needed / 1e9:.1f} GB in {home}, which has {free / 1e9:.1f} GB left; "
            "make room, or let the variable SDLEARN_CACHE name another folder."
        )
    temporary = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=home))  # a crash leaves no half of `final`
    try:
        _fill(temporary, n, seed, split, workers, progress)
        (temporary / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        try:
            os.rename(temporary, final)
        except OSError:
            if not (final / "meta.json").is_file():  # otherwise another process was faster: take its result
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


class SceneDataset:
    """A folder of `render_dataset` as the map-style dataset that torch's DataLoader reads."""

    def __init__(self, folder: Path | str):
        folder = Path(folder)
        if not (folder / "meta.json").is_file():
            raise ValueError(f"{folder} holds no finished dataset: make one with render_dataset(...)")
        self.folder = folder
        self.pictures = np.load(folder / "pictures.npy", mmap_mode="r")
        self.captions = [tuple(json.loads(line)) for line in _lines(folder / "captions.jsonl")]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[np.ndarray, tuple[str, ...]]:
        """Picture `index` as uint8 (128, 128, 3) and its captions."""
        return np.array(self.pictures[index]), self.captions[index]

    def scene(self, index: int) -> Scene:
        """The scene behind picture `index`."""
        if not hasattr(self, "_scenes"):
            self._scenes = _lines(self.folder / "scenes.jsonl")
        return Scene.from_dict(json.loads(self._scenes[index]))


def sheet(n: int = 16, seed: int = 0, split: str = "train", columns: int = 4) -> Image.Image:
    """A contact sheet: n scenes with a caption below each."""
    if n < 1 or columns < 1:
        raise ValueError(f"n and columns must be at least 1, not {n} and {columns}")
    side, gap, words = 2 * SIZE, 12, 44
    columns = min(columns, n)
    rows = -(-n // columns)
    canvas = Image.new(
        "RGB", (gap + columns * (side + gap), gap + rows * (side + words + gap)), (252, 250, 245)
    )
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=15)
    for index in range(n):
        scene, captions = example(seed, index, split)
        x, y = gap + index % columns * (side + gap), gap + index // columns * (side + words + gap)
        canvas.paste(render(scene).resize((side, side), Image.Resampling.LANCZOS), (x, y))
        for row, text in enumerate(_wrapped(captions[0], font, side)):
            draw.text(
                (x + side / 2, y + side + 6 + 18 * row), text, fill=(60, 50, 60), font=font, anchor="ma"
            )
    return canvas


def _fill(folder: Path, n: int, seed: int, split: str, workers: int, progress: bool) -> None:
    """Write the pictures, captions and scenes, chunk by chunk, with worker processes if there are several."""
    np.lib.format.open_memmap(
        folder / "pictures.npy", mode="w+", dtype=np.uint8, shape=(n, SIZE, SIZE, 3)
    ).flush()
    jobs = [(folder, seed, split, start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
    with (
        open(folder / "captions.jsonl", "w", encoding="utf-8") as captions,
        open(folder / "scenes.jsonl", "w", encoding="utf-8") as scenes,
        tqdm(total=n, desc="drawing scenes", unit="picture", disable=not progress) as bar,
    ):
        for caption_lines, scene_lines in _results(jobs, workers):
            captions.writelines(caption_lines)
            scenes.writelines(scene_lines)
            bar.update(len(caption_lines))


def _results(jobs: list[tuple], workers: int) -> Iterator[tuple[list[str], list[str]]]:
    """The finished chunks in order."""
    if workers == 1 or len(jobs) == 1:
        yield from map(_draw_chunk, jobs)
        return
    context = multiprocessing.get_context("spawn")  # the only way that is the same on every system
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        yield from pool.map(_draw_chunk, jobs)


def _draw_chunk(job: tuple[Path, int, str, int, int]) -> tuple[list[str], list[str]]:
    """Draw pictures start..stop into the memory map; return the lines of captions and scenes."""
    folder, seed, split, start, stop = job
    pictures = np.lib.format.open_memmap(folder / "pictures.npy", mode="r+")
    caption_lines, scene_lines = [], []
    for index in range(start, stop):
        scene, captions = example(seed, index, split)
        pictures[index] = np.asarray(render(scene))
        caption_lines.append(json.dumps(captions) + "\n")
        scene_lines.append(json.dumps(scene.to_dict()) + "\n")
    pictures.flush()
    return caption_lines, scene_lines


def _fingerprint(split: str) -> str:
    """A digest of a few examples, so that a change of the drawing or the grammar never meets an old cache."""
    digest = hashlib.sha256()
    for index in range(24):
        scene, captions = example(0, index, split)
        digest.update(render(scene).tobytes() + json.dumps(captions).encode())
    return digest.hexdigest()[:16]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text broken into lines no wider than `width` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
