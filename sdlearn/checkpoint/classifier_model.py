"""A classifier of noisy latents in a folder: its words and its widths, and its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sdlearn.checkpoint.errors import CheckpointError
from sdlearn.checkpoint.files import open_weights
from sdlearn.checkpoint.folder import on_disk, read_json
from sdlearn.checkpoint.saving import new_folder, write_json
from sdlearn.checkpoint.tensors import Place, check_fit, fill, outline, write_tensors
from sdlearn.noisy_classifier import NoisyClassifier

KIND = "NoisyClassifier"
WEIGHTS = "model.safetensors"
MOST_LEVELS = 16  # far beyond any: only to refuse at once what would take hours to build


def load_classifier(source: str | Path = "noisy_classifier") -> NoisyClassifier:
    """The classifier of a folder, or a shipped one by its name, float32. Raises CheckpointError for anything else."""
    folder = on_disk(source)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} holds no classifier: config.json is missing.")
    config = read_json(folder / "config.json")
    if config.get("_class_name") != KIND:
        raise CheckpointError(f"{folder / 'config.json'} is of no classifier of noisy latents.")
    _check_config(config, folder / "config.json")
    weights = open_weights([folder / WEIGHTS])
    table = {name: Place(name) for name in weights.tensors}
    classifier = outline(
        lambda config: NoisyClassifier(config["words"], config["widths"]), config, folder / "config.json"
    )
    check_fit(classifier.state_dict(), weights.tensors, table, folder / WEIGHTS)
    return fill(classifier, weights, table, torch.float32, "cpu").requires_grad_(False)


def _check_config(config: dict[str, Any], path: Path) -> None:
    """Raise CheckpointError unless the words are a list of different texts, and the widths one of numbers above 0."""
    words, widths = config.get("words"), config.get("widths")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise CheckpointError(f"{path}: words must be a list of texts, not {words!r:.80}; copy it again.")
    if len(set(words)) < len(words):
        raise CheckpointError(f"{path}: each word must be there once, in {words!r:.80}; copy it again.")
    numbers = isinstance(widths, list) and all(type(width) is int and width > 0 for width in widths)
    if not numbers or not 0 < len(widths) <= MOST_LEVELS:
        raise CheckpointError(
            f"{path}: widths must be 1 to {MOST_LEVELS} whole numbers above 0, not {widths!r:.80}; copy it again."
        )


def save_classifier(classifier: NoisyClassifier, folder: str | Path) -> Path:
    """Write what ``load_classifier`` opens, in half precision; returns the folder.

    Raises CheckpointError when the folder holds something, or a number is not finite in half precision.
    """
    words, widths = list(classifier.words), list(classifier.widths)
    with new_folder(folder) as new:
        write_tensors(dict(classifier.state_dict()), new / WEIGHTS, torch.float16)
        write_json(new / "config.json", {"_class_name": KIND, "words": words, "widths": widths})
    return Path(folder)
