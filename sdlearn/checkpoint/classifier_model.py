"""A classifier of noisy latents in a folder: its words and its widths, and its weights."""

from __future__ import annotations

from pathlib import Path

import torch

from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.checkpoint.folder import read_json
from sdlearn.checkpoint.saving import write_json
from sdlearn.checkpoint.tensors import read_tensors, write_tensors
from sdlearn.noisy_classifier import NoisyClassifier
from sdlearn.paths import shipped_model

KIND = "NoisyClassifier"
WEIGHTS = "model.safetensors"


def load_classifier(source: str | Path = "noisy_classifier") -> NoisyClassifier:
    """The classifier of a folder, or a shipped one by its name, float32. Raises CheckpointError for anything else."""
    folder = Path(source)
    if not folder.is_dir():
        try:
            folder = shipped_model(str(source))
        except FileNotFoundError as error:
            raise CheckpointError(str(error)) from None
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} holds no classifier: config.json is missing.")
    config = read_json(folder / "config.json")
    if config.get("_class_name") != KIND:
        raise CheckpointError(f"{folder / 'config.json'} is of no classifier of noisy latents.")
    weights = read_tensors(folder / WEIGHTS)
    try:
        classifier = NoisyClassifier(config["words"], config["widths"])
        classifier.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder / WEIGHTS} does not fit its config.json ({brief(error)}): copy both again."
        ) from error
    return classifier.eval().requires_grad_(False)


def save_classifier(classifier: NoisyClassifier, folder: Path) -> Path:
    """Write what ``load_classifier`` opens, in half precision; returns the folder.

    Raises CheckpointError when the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"cannot save into {folder}: it is not empty; name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    words, widths = list(classifier.words), list(classifier.widths)
    write_json(folder / "config.json", {"_class_name": KIND, "words": words, "widths": widths})
    write_tensors(dict(classifier.state_dict()), folder / WEIGHTS, torch.float16)
    return folder
