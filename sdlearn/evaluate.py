"""Does the model draw what it is told? Fixed prompts, fixed seeds, an oracle that reads the pictures, and intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image
from tqdm import tqdm

from sdlearn.pipeline import StableDiffusion
from sdlearn.progress import bar_size
from sdlearn.scenes import Scene, caption, sample_scene
from sdlearn.scenes.oracle import Oracle, Score, score

MEASURES = ("objects", "colours", "relations", "backgrounds", "all right")
SCALES = (0.0, 1.0, 2.0, 4.0, 7.5, 12.0)


@dataclass(frozen=True)
class Case:
    """A prompt, the scene it describes, and the seed of its starting noise."""

    prompt: str
    scene: Scene
    seed: int


@dataclass(frozen=True)
class Share:
    """``right`` of ``asked`` questions, with a 95 % interval."""

    right: int
    asked: int

    @property
    def value(self) -> float:
        return self.right / self.asked if self.asked else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927): it stays inside 0 … 1, also when everything is right."""
        if not self.asked:
            return 0.0, 1.0
        z, n, p = 1.959964, self.asked, self.value
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5 / (1 + z**2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        if not self.asked:
            return "  none asked"
        low, high = self.interval
        return f"{100 * self.value:5.1f} %  [{100 * low:4.1f}, {100 * high:5.1f}]  {self.right}/{self.asked}"


def fixed_cases(n: int, split: str) -> list[Case]:
    """The first n prompts of a list that never changes; ``split`` is "train" (seen combinations) or "held_out"."""
    cases = []
    for index in range(n):
        rng = Random(f"evaluation/{split}/{index}")
        scene = sample_scene(rng, split)
        cases.append(Case(caption(scene, rng), scene, seed=index))
    return cases


def draw(
    pipe: StableDiffusion, cases: Sequence[Case], *, batch_size: int = 25, **settings
) -> list[Image.Image]:
    """One picture a case, in batches; ``settings`` go to ``txt2img``."""
    pictures = []
    batches = [cases[start : start + batch_size] for start in range(0, len(cases), batch_size)]
    for batch in tqdm(batches, desc="drawing", disable=None, leave=False, **bar_size()):
        prompts, seeds = [case.prompt for case in batch], [case.seed for case in batch]
        pictures += pipe.txt2img(prompts, seed=seeds, **{"num_inference_steps": 25, **settings}).images
    return pictures


def read_scores(oracle: Oracle, pictures: Sequence[Image.Image], scenes: Sequence[Scene]) -> list[Score]:
    """What the oracle says of each picture."""
    readings = oracle.read(np.stack([np.asarray(picture) for picture in pictures]))
    return [score(reading, scene) for reading, scene in zip(readings, scenes, strict=True)]


def shares(scores: Sequence[Score], scenes: Sequence[Scene]) -> dict[str, Share]:
    """Scores as shares. Relations count where two things are asked for, the rest where it is named."""
    pairs = [s.relation for s, scene in zip(scores, scenes, strict=True) if scene.relation != "alone"]
    answers = {
        "objects": [right for s in scores for right in s.objects],
        "colours": [right for s in scores for right in s.colours],
        "relations": pairs,
        "backgrounds": [s.background for s in scores if s.background is not None],
        "all right": [s.all_right for s in scores],
    }
    return {name: Share(sum(right), len(right)) for name, right in answers.items()}


def evaluate(pipe: StableDiffusion, oracle: Oracle, cases: Sequence[Case], **settings) -> dict[str, Share]:
    """Draw the cases and say how much of what their prompts ask for is there."""
    scenes = [case.scene for case in cases]
    return shares(read_scores(oracle, draw(pipe, cases, **settings), scenes), scenes)


def chance(oracle: Oracle, pictures: Sequence[Image.Image], scenes: Sequence[Scene]) -> dict[str, Share]:
    """The same pictures against the prompts of their neighbours: what guessing scores."""
    others = [*scenes[1:], scenes[0]]
    return shares(read_scores(oracle, pictures, others), others)


def guidance_table(
    pipe: StableDiffusion, oracle: Oracle, cases: Sequence[Case], **settings
) -> dict[str, dict[str, Share]]:
    """Shares for each guidance scale, and what the pictures of scale 1 score on prompts that are not theirs."""
    scenes = [case.scene for case in cases]
    table = {}
    for scale in SCALES:
        pictures = draw(pipe, cases, guidance_scale=scale, **settings)
        table[f"{scale:g}"] = shares(read_scores(oracle, pictures, scenes), scenes)
        if scale == 1.0:
            by_chance = chance(oracle, pictures, scenes)
    return {**table, "chance": by_chance}


def colours_of(
    pipe: StableDiffusion, oracle: Oracle, prompt: str, kind: str, n: int, **settings
) -> Counter[str]:
    """The colour of each ``kind`` that n seeds draw for a prompt that names none; "none" where it is missing."""
    scene = sample_scene(Random(0))  # the scene of a case is not asked here
    pictures = draw(pipe, [Case(prompt, scene, seed) for seed in range(n)], **settings)
    readings = oracle.read(np.stack([np.asarray(picture) for picture in pictures]))
    found = [next((c for k, c, _ in reading.things if k == kind), "none") for reading in readings]
    return Counter(found)


def table_text(rows: dict[str, dict[str, Share]], heading: str) -> str:
    """Plain text: one line a row and measure."""
    lines = [heading]
    for name, row in rows.items():
        lines += [f"  {name:12}{measure:13}{row[measure]}" for measure in MEASURES]
    return "\n".join(lines)


def as_json(rows: dict[str, dict[str, Share]]) -> dict:
    """The same figures for a file."""
    return {
        name: {
            measure: {
                "share": round(s.value, 4),
                "interval": [round(x, 4) for x in s.interval],
                "asked": s.asked,
            }
            for measure, s in row.items()
            if s.asked
        }
        for name, row in rows.items()
    }
