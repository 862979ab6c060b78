"""How the oracle is trained: fresh drawings, held-out ones too, softened as an autoencoder would."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from .draw import render
from .oracle import QUESTIONS, READABLE_KINDS, Oracle, OracleNetwork, Reading, as_input, halve
from .world import COLOURS, RELATIONS, SIZES, Scene, Thing, arrange, sample_scene

Examples = tuple[Tensor, list[Scene]]  # uint8 pictures (N, 128, 128, 3) and their scenes


def train_oracle(
    folder: Path | str,
    steps: int = 1400,
    batch: int = 64,
    learning_rate: float = 3e-3,
    seed: int = 0,
    start: Oracle | None = None,
    examples: Examples | None = None,
    progress: bool = True,
) -> Oracle:
    """Train an oracle; write config.json and model.safetensors (half precision) into `folder`.

    `start` goes on from a trained oracle; `examples` (see `round_trips`) are half of each batch, if given.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = OracleNetwork(QUESTIONS)
    if start is not None:
        network.load_state_dict(start.network.state_dict())
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    batches = islice(_batches(batch, seed, examples), steps)
    bar = tqdm(batches, total=steps, desc="training the oracle", disable=not progress)
    smooth = None
    for pictures, labels in bar:
        softened = soften(halve(pictures), generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(softened)
        loss = sum(F.cross_entropy(logits[name], labels[name], ignore_index=-1) for name in QUESTIONS)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
        bar.set_postfix(loss=f"{smooth:.3f}")
    save_oracle(network, Path(folder))
    return Oracle.load(folder)


def save_oracle(network: OracleNetwork, folder: Path) -> None:
    """Write the network into the folder; a crash leaves the old files whole."""
    folder.mkdir(parents=True, exist_ok=True)
    halved = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    weights = {k: v.contiguous() for k, v in halved.items()}
    save_file(weights, folder / "model.safetensors.part", metadata={"format": "pt"})
    os.replace(folder / "model.safetensors.part", folder / "model.safetensors")
    config = {"_class_name": "OracleNetwork", "questions": {k: list(v) for k, v in network.questions.items()}}
    (folder / "config.json.part").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    os.replace(folder / "config.json.part", folder / "config.json")


def balanced_scene(rng: Random) -> Scene:
    """A scene in which every kind (unseen ones too), colour, size and background is equally likely."""
    relation = RELATIONS[int(rng.random() * 3)]

    def thing() -> Thing:
        options = (READABLE_KINDS, COLOURS, SIZES)
        return Thing(*(choices[int(rng.random() * len(choices))] for choices in options))

    things = [thing() for _ in range(1 if relation == "alone" else 2)]
    return arrange(things, relation, QUESTIONS["background"][int(rng.random() * 4)], rng)


def labels_of(scene: Scene) -> dict[str, int]:
    """The number of the right answer to each question; -1 where there is nothing to ask."""
    reading = Reading.of_scene(scene)
    said = {"background": reading.background, "relation": reading.relation}
    for slot, thing in enumerate(reading.things, start=1):
        said |= dict(zip((f"kind_{slot}", f"colour_{slot}", f"size_{slot}"), thing, strict=True))
    return {name: answers.index(said[name]) if name in said else -1 for name, answers in QUESTIONS.items()}


def round_trips(autoencode: Callable[[Tensor], Tensor], n: int, seed: int = 0, batch: int = 32) -> Examples:
    """n drawings sent through an autoencoder, which maps (B, 3, 128, 128) in [-1, 1] to the same."""
    rng = Random(f"round trips/{seed}")
    scenes, pictures = [balanced_scene(rng) for _ in range(n)], []
    for start in tqdm(range(0, n, batch), desc="round trips"):
        with torch.no_grad():
            decoded = autoencode(drawn(scenes[start : start + batch])).float().clamp(-1, 1)
        pictures.append(((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1))
    return torch.cat(pictures), scenes


def drawn(scenes: Sequence[Scene]) -> Tensor:
    """The pictures of the scenes as float32 (B, 3, 128, 128) in [-1, 1]."""
    return as_input(np.stack([np.asarray(render(scene)) for scene in scenes]))


def _batches(batch: int, seed: int, examples: Examples | None) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Endless pictures (B, 3, 128, 128) in [-1, 1], drawn afresh but for the examples, and labels (B,)."""
    rng = Random(f"oracle/{seed}")
    given = batch // 2 if examples is not None else 0
    while True:
        scenes = [balanced_scene(rng) for _ in range(batch - given)]
        pictures = drawn(scenes)
        if given:
            chosen = [int(rng.random() * len(examples[1])) for _ in range(given)]
            pictures = torch.cat([pictures, as_input(examples[0][chosen])])
            scenes += [examples[1][k] for k in chosen]
        rows = [labels_of(scene) for scene in scenes]
        yield pictures, {name: torch.tensor([row[name] for row in rows]) for name in QUESTIONS}


def soften(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Imitate the faults of a generated picture: shifted, blurred, blotched, noisy, off in colour."""
    b, _, height, width = pictures.shape

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    dx, dy = (int(k) for k in torch.randint(-2, 3, (2,), generator=generator))
    padded = F.pad(pictures, (2, 2, 2, 2), mode="replicate")
    x = padded[:, :, 2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]
    x = torch.lerp(x, blur(x, 1.0), uniform(b, 1, 1, 1, low=-0.4).clamp(min=0))  # a third stays sharp
    blotches = torch.randn(b, 3, height // 8, width // 8, generator=generator) * uniform(
        b, 1, 1, 1, high=0.12
    )
    x = x + F.interpolate(blotches, size=x.shape[-2:], mode="bilinear")
    x = x + torch.randn(x.shape, generator=generator) * uniform(b, 1, 1, 1, high=0.06)
    gain, offset = uniform(b, 3, 1, 1, low=0.92, high=1.08), uniform(b, 3, 1, 1, low=-0.06, high=0.06)
    return (x * gain + offset).clamp(-1, 1)


def blur(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of `sigma` pixels, first along rows, then along columns."""
    radius = max(round(3 * sigma), 1)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2).to(x)
    taps = (taps / taps.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(F.pad(x, (radius, radius, 0, 0), mode="replicate"), taps, groups=x.shape[1])
    x = F.pad(x, (0, 0, radius, radius), mode="replicate")
    return F.conv2d(x, taps.transpose(2, 3), groups=x.shape[1])


def read_renders(
    oracle: Oracle, n: int, seed: int, split: str, sigma: float = 0.0
) -> tuple[list[Reading], list[Scene]]:
    """Readings of n fresh true drawings of a split, blurred by `sigma` pixels, and their scenes."""
    rng = Random(f"oracle check/{seed}")
    scenes = [sample_scene(rng, split) for _ in range(n)]
    readings = []
    for start in range(0, n, 128):
        pictures = drawn(scenes[start : start + 128])
        readings += oracle.read(blur(pictures, sigma) if sigma > 0 else pictures)
    return readings, scenes


def accuracy(readings: list[Reading], scenes: list[Scene]) -> float:
    """The share of scenes in which everything was read right, from the kinds to the background."""
    return sum(
        reading == Reading.of_scene(scene) for reading, scene in zip(readings, scenes, strict=True)
    ) / len(scenes)
