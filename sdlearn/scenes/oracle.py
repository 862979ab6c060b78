"""The oracle: a small network that reads a picture back, so that "does it match the prompt?" is a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoint.errors import CheckpointError, brief
from ..checkpoint.folder import read_json
from ..checkpoint.tensors import read_tensors
from ..paths import shipped_model
from .world import BACKGROUNDS, COLOURS, KINDS, RELATIONS, SIZE, SIZES, UNSEEN_KINDS, Scene

READABLE_KINDS = KINDS + UNSEEN_KINDS
GRID = 8  # cells per side of the network's last features
# What is read, and the answers to choose from. Slots: (top, bottom) for "on", (left, right) for "left_of".
QUESTIONS: dict[str, tuple[str, ...]] = {
    "background": BACKGROUNDS,
    "relation": RELATIONS,
    "kind_1": READABLE_KINDS,
    "colour_1": COLOURS,
    "size_1": SIZES,
    "kind_2": READABLE_KINDS,
    "colour_2": COLOURS,
    "size_2": SIZES,
}


@dataclass(frozen=True)
class Reading:
    """What the oracle sees: (kind, colour, size) of one or two things, their relation and the background."""

    things: tuple[tuple[str, str, str], ...]
    relation: str
    background: str

    @classmethod
    def of_scene(cls, scene: Scene) -> Reading:
        """The true reading of a scene."""
        things = tuple((thing.kind, thing.colour, thing.size) for thing in scene.things)
        return cls(things, scene.relation, scene.background)


class OracleNetwork(nn.Module):
    """Convolutions to an 8x8 grid of features; two glances, one for each thing, say where on it to look.

    The same layers name whatever a glance has gathered: a cat is a cat at every place, in either slot.
    """

    def __init__(self, questions: dict[str, Sequence[str]]):
        super().__init__()
        self.questions = {name: tuple(answers) for name, answers in questions.items()}
        self.trunk = nn.Sequential(
            _block(3, 16, 3),  # (B, 16, 64, 64)
            _block(16, 48, 3, stride=2),  # (B, 48, 32, 32)
            _block(48, 48, 3),
            _block(48, 96, 3, stride=2),  # (B, 96, 16, 16)
            _block(96, 96, 3),
            _block(96, 128, 3, stride=2),  # (B, 128, 8, 8)
            _block(128, 128, 3),
        )
        # The whole grid at once, flattened: only it knows which thing is left or on top.
        self.overview = nn.Sequential(
            _block(128, 24, 1), nn.Flatten(), nn.Linear(24 * GRID * GRID, 128), nn.ReLU()
        )
        self.glances = nn.Linear(128, 2 * GRID * GRID)
        self.whole = nn.Linear(128, self._count("background", "relation"))
        self.naming = nn.Sequential(
            nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, self._count("kind_1", "colour_1", "size_1"))
        )

    def _count(self, *names: str) -> int:
        return sum(len(self.questions[name]) for name in names)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Halved pictures (B, 3, 64, 64) in [-1, 1] -> the logits (B, answers) of each question."""
        grid = self.trunk(x)  # (B, 128, 8, 8)
        overview = self.overview(grid)  # (B, 128)
        where = self.glances(overview).float().reshape(-1, 2, GRID * GRID).softmax(dim=-1)  # (B, 2, 64)
        seen = where.to(grid.dtype) @ grid.flatten(2).transpose(1, 2)  # (B, 2, 128)
        named = self.naming(seen)  # (B, 2, kinds + colours + sizes)
        logits = torch.cat([self.whole(overview), named.flatten(1)], dim=1).float()
        parts = logits.split([len(answers) for answers in self.questions.values()], dim=1)
        return dict(zip(self.questions, parts, strict=True))


def _block(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


class Oracle:
    """A trained network and its vocabulary."""

    def __init__(self, network: OracleNetwork):
        self.network = network.eval()

    @classmethod
    def load(cls, folder: Path | str | None = None) -> Oracle:
        """The shipped oracle, or one from a folder with config.json and model.safetensors."""
        folder = Path(folder) if folder is not None else shipped_model("scenes") / "oracle"
        for name in ("config.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder} holds no oracle: {name} is missing. Train one with train_oracle(...)"
                )
        questions = read_json(folder / "config.json").get("questions")
        if not isinstance(questions, dict) or questions.keys() != QUESTIONS.keys():
            raise CheckpointError(f"{folder / 'config.json'} is of no oracle: copy it again.")
        network = OracleNetwork(questions)
        weights = read_tensors(folder / "model.safetensors")
        try:
            network.load_state_dict(
                {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
            )
        except RuntimeError as error:
            raise CheckpointError(
                f"{folder / 'model.safetensors'} does not fit its config.json ({brief(error)}): copy it again."
            ) from error
        return cls(network)

    @torch.no_grad()
    def read(self, pictures: Tensor | np.ndarray) -> list[Reading]:
        """Read pictures, uint8 (B, 128, 128, 3) or floating point (B, 3, 128, 128) in [-1, 1]."""
        readings = []
        for batch in as_input(pictures).split(128):
            logits = self.network(halve(batch))
            answers = {name: part.argmax(dim=1).tolist() for name, part in logits.items()}
            readings += [
                self._reading({name: row[i] for name, row in answers.items()}) for i in range(len(batch))
            ]
        return readings

    def _reading(self, answer: dict[str, int]) -> Reading:
        said = {name: answers[answer[name]] for name, answers in self.network.questions.items()}
        slots = (1,) if said["relation"] == "alone" else (1, 2)
        things = tuple((said[f"kind_{slot}"], said[f"colour_{slot}"], said[f"size_{slot}"]) for slot in slots)
        return Reading(things, said["relation"], said["background"])


def as_input(pictures: Tensor | np.ndarray) -> Tensor:
    """Pictures in either form of `Oracle.read` as float32 (B, 3, 128, 128) in [-1, 1]."""
    pictures = torch.as_tensor(pictures)
    if pictures.dtype == torch.uint8 and pictures.shape[1:] == (SIZE, SIZE, 3):
        return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
    if pictures.is_floating_point() and pictures.shape[1:] == (3, SIZE, SIZE):
        return pictures.float()
    raise ValueError(
        f"the oracle cannot read {pictures.dtype} of shape {tuple(pictures.shape)}: "
        f"give uint8 (B, {SIZE}, {SIZE}, 3) or floating point (B, 3, {SIZE}, {SIZE}) in [-1, 1]"
    )


def halve(pictures: Tensor) -> Tensor:
    """Average 2x2 pixels: all that must be read survives, at a quarter of the work."""
    return F.avg_pool2d(pictures, 2)


@dataclass(frozen=True)
class Score:
    """What of a prompt a picture got right; colours, sizes and background count only where they are named."""

    objects: tuple[bool, ...]  # for each asked thing: is one of that kind there?
    colours: tuple[bool, ...]  # for each named colour: does the thing of that kind have it?
    sizes: tuple[bool, ...]  # for each named size, likewise
    relation: bool  # the right relation, and the things not the wrong way round
    background: bool | None

    @property
    def all_right(self) -> bool:
        """Nothing that the prompt asks for is missing."""
        return (
            all(self.objects + self.colours + self.sizes) and self.relation and self.background is not False
        )


def score(reading: Reading, scene: Scene) -> Score:
    """Compare what was read with what was asked."""
    found = _partners(reading, scene)
    colours = [
        seen and seen[1] == thing.colour
        for thing, seen in zip(scene.things, found, strict=True)
        if thing.names_colour
    ]
    sizes = [
        seen and seen[2] == thing.size
        for thing, seen in zip(scene.things, found, strict=True)
        if thing.names_size
    ]
    asked, read = [thing.kind for thing in scene.things], [thing[0] for thing in reading.things]
    swapped = len(asked) == 2 and asked != read and asked == read[::-1]
    return Score(
        objects=tuple(seen is not None for seen in found),
        colours=tuple(bool(right) for right in colours),
        sizes=tuple(bool(right) for right in sizes),
        relation=reading.relation == scene.relation and not swapped,
        background=reading.background == scene.background if scene.names_background else None,
    )


def _partners(reading: Reading, scene: Scene) -> list[tuple[str, str, str] | None]:
    """For each asked thing the read thing of its kind: the one in the same slot if it fits, else another."""
    free = dict(enumerate(reading.things))
    found: list[tuple[str, str, str] | None] = [None] * len(scene.things)
    for slot, thing in enumerate(scene.things):
        if slot in free and free[slot][0] == thing.kind:
            found[slot] = free.pop(slot)
    for slot, thing in enumerate(scene.things):
        other = next((k for k, seen in free.items() if seen[0] == thing.kind), None)
        if found[slot] is None and other is not None:
            found[slot] = free.pop(other)
    return found


def confusion(readings: Sequence[Reading], scenes: Sequence[Scene], what: str) -> np.ndarray:
    """How often each true answer (row) was read as which (column); `what` is "kind", "colour" or "size"."""
    if what not in ("kind", "colour", "size"):
        raise ValueError(f"there is no confusion matrix of {what!r}: choose kind, colour or size")
    column, answers = ("kind", "colour", "size").index(what), QUESTIONS[f"{what}_1"]
    matrix = np.zeros((len(answers), len(answers)), dtype=int)
    for reading, scene in zip(readings, scenes, strict=True):
        for true, seen in zip(Reading.of_scene(scene).things, reading.things, strict=False):
            matrix[answers.index(true[column]), answers.index(seen[column])] += 1
    return matrix
