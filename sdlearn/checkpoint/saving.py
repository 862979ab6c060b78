"""Write a checkpoint folder, whole or not at all."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.checkpoint.folder import NETWORKS
from sdlearn.checkpoint.parts import Parts
from sdlearn.checkpoint.tensors import write_tensors

INDEX = "model_index.json"
DIFFUSERS_VERSION = "0.42.0"  # whose file format is written


def save_folder(
    parts: Parts, folder: str | Path, dtype: torch.dtype = torch.float16, overwrite: bool = False
) -> Path:
    """Write ``parts`` as a folder that ``diffusers.StableDiffusionPipeline.from_pretrained`` opens as it is.

    Raises CheckpointError when the folder holds something, unless that is a checkpoint and ``overwrite`` is
    True: then its parts are replaced and its other files (a model card, say) stay.
    """
    folder = Path(folder).resolve()
    _check_target(folder, overwrite)
    new = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    old = new.with_suffix(".old")
    try:
        new.mkdir(parents=True)
        _write_parts(parts, new, dtype)
        if folder.exists():
            _copy_others(folder, new)
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        if old.exists():
            old.rename(folder)
        raise CheckpointError(f"cannot write {folder}: {brief(error)}.") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return folder


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A folder to write into, which becomes ``folder`` when all is written; after an error nothing of it is left.

    Raises CheckpointError when ``folder`` holds something, or cannot be written.
    """
    folder = Path(folder).resolve()
    new = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise CheckpointError(f"cannot save into {folder}: it is not empty; name another folder.")
        if folder.exists() and not folder.is_dir():
            raise CheckpointError(f"cannot save into {folder}: it is a file; name a folder.")
        new.mkdir(parents=True)
        yield new
        if folder.exists():
            folder.rmdir()
        new.rename(folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write {folder}: {brief(error)}; name another place.") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise CheckpointError(f"cannot save into {folder}: it is a file; name a folder.")
    if not any(folder.iterdir()):
        return
    if not (folder / INDEX).exists():
        raise CheckpointError(f"cannot save into {folder}: it holds other files; name a new or empty folder.")
    if not overwrite:
        raise CheckpointError(
            f"cannot save into {folder}: it holds a checkpoint; pass overwrite=True to replace it."
        )


def _write_parts(parts: Parts, folder: Path, dtype: torch.dtype) -> None:
    for part, files in NETWORKS.items():
        network = getattr(parts, part)
        (folder / part).mkdir()
        # transformers opens a network in the type that its file names, diffusers in float32: let them agree.
        kind = {"dtype": "float32"} if part == "text_encoder" else {"_diffusers_version": DIFFUSERS_VERSION}
        write_json(folder / part / "config.json", network.config.to_json() | kind)
        tensors = {files.file_name(name): tensor for name, tensor in network.state_dict().items()}
        write_tensors(tensors, folder / part / f"{files.weights}.safetensors", dtype)
    parts.tokenizer.save(folder / "tokenizer")
    (folder / "scheduler").mkdir()
    schedule = parts.schedule_config.to_json() | {"_diffusers_version": DIFFUSERS_VERSION}
    write_json(folder / "scheduler" / "scheduler_config.json", schedule)
    write_json(folder / INDEX, _model_index(parts))


def _model_index(parts: Parts) -> dict[str, Any]:
    """Which class reads which folder, and that there is no safety checker to look for."""
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": DIFFUSERS_VERSION,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", parts.schedule_config.scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Settings, with sorted names and the same line ends everywhere."""
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def _copy_others(old: Path, new: Path) -> None:
    """Copy what is in ``old`` and is no part of a checkpoint."""
    for path in old.iterdir():
        if (new / path.name).exists():
            continue
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        copy(path, new / path.name)
