"""One entry for every kind of checkpoint: a folder, a single file, a shipped model's name, a name on the hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from sdlearn.checkpoint.decoder import is_decoder
from sdlearn.checkpoint.errors import CheckpointError
from sdlearn.checkpoint.files import PICKLED
from sdlearn.checkpoint.folder import open_folder
from sdlearn.checkpoint.hub import download, is_hub_id
from sdlearn.checkpoint.parts import Checkpoint, Parts
from sdlearn.checkpoint.single_file import PREDICTION_TYPES, open_single_file
from sdlearn.checkpoint.vocabulary import tokenizer_for
from sdlearn.paths import shipped_models


def locate(model: str | Path, variant: str | None = None, vae: bool = False) -> Path:
    """The folder or file that ``model`` names. Raises CheckpointError when there is none.

    With ``vae`` it need hold no more than an autoencoder.
    """
    if not isinstance(model, str | Path) or not str(model).strip():
        raise CheckpointError(f"a model must be a path or a name, not {model!r}: such as 'scenes'.")
    place = Path(model)
    try:
        if place.exists():
            return place
    except (OSError, ValueError) as error:  # too long, or with a NUL in it
        raise CheckpointError(f"cannot read {str(model)[:200]!r}: {str(error)[:100]}.") from error
    if place.name == str(model):  # a bare name
        shipped = shipped_models()
        if str(model) in shipped:
            return shipped[str(model)]
        if place.suffix:
            raise CheckpointError(
                f"there is no file or folder {str(model)!r} in {Path.cwd()}: give its path."
            )
        able = [name for name, folder in shipped.items() if can_draw(folder) or (vae and is_decoder(folder))]
        raise CheckpointError(
            f"no model named {str(model)!r} comes with sdlearn; there is {' and '.join(map(repr, able)) or 'none'}. "
            "Give such a name, a folder, a file, or owner/name on the hub."
        )
    if isinstance(model, str) and is_hub_id(model) and place.suffix not in (".safetensors", *PICKLED):
        return download(model, variant, vae)
    raise CheckpointError(f"{model} does not exist: give a folder, a file, 'scenes', or a name on the hub.")


def can_draw(folder: Path) -> bool:
    """Whether a shipped model draws from text; the others are parts for chapters of the course."""
    return (folder / "text_encoder").is_dir()


def open_checkpoint(
    model: str | Path, *, prediction_type: str | None = None, variant: str | None = None
) -> Checkpoint:
    """Everything about a checkpoint but its numbers; print it for a report. Raises CheckpointError.

    ``prediction_type`` is what a single file's U-Net predicts, where the file does not say it; ``variant``, such as
    "fp16", chooses among the weights of a folder. Given for a folder, ``prediction_type`` overrides what it says.
    """
    if prediction_type is not None and prediction_type not in PREDICTION_TYPES:
        allowed = " or ".join(map(repr, PREDICTION_TYPES))
        raise CheckpointError(f"prediction_type {prediction_type!r} is unknown: pass {allowed}.")
    place = locate(model, variant)
    if not place.is_dir():
        return open_single_file(place, prediction_type)
    opened = open_folder(place, variant)
    if prediction_type is None:
        return opened
    return replace(opened, schedule_config=replace(opened.schedule_config, prediction_type=prediction_type))


def load_checkpoint(
    model: str | Path,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    *,
    prediction_type: str | None = None,
    variant: str | None = None,
    tokenizer: str | Path | None = None,
) -> tuple[Parts, Checkpoint]:
    """The networks with their numbers, and the opened checkpoint they come from. Raises CheckpointError.

    A single file holds no vocabulary: ``tokenizer`` is a folder that does, see vocabulary.py.
    """
    opened = open_checkpoint(model, prediction_type=prediction_type, variant=variant)
    opened.check_prediction()
    text = opened.parts["text_encoder"].config
    words = opened.tokenizer
    if words is not None and tokenizer is not None:
        raise CheckpointError(
            f"tokenizer is for a single file, which has no vocabulary; {opened.source} has its own: leave it out."
        )
    if words is None:
        words = tokenizer_for(opened.source, tokenizer, text.vocab_size, text.hidden_act == "quick_gelu")
    return opened.load(words, dtype, device), opened
