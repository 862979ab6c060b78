"""Models by their name on the Hugging Face hub, such as "stable-diffusion-v1-5/stable-diffusion-v1-5"."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.checkpoint.folder import open_folder
from sdlearn.checkpoint.single_file import open_vae

SETTINGS = (
    "model_index.json",
    "*/config.json",
    "scheduler/*.json",
    "tokenizer/*",
    "feature_extractor/*.json",
)
FOLDERS = ("unet", "vae", "text_encoder", "safety_checker")


def is_hub_id(text: str) -> bool:
    """Whether the text has the form owner/name."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]*\w", text) is not None and ".." not in text


def needed_files(files: list[str], variant: str | None = None) -> list[str]:
    """Of all the files of a model, those that sdlearn reads: settings, and each network's weights once."""
    chosen = [name for name in files if any(fnmatch(name, pattern) for pattern in SETTINGS)]
    return sorted({*chosen, *(name for folder in FOLDERS for name in _weights(files, f"{folder}/", variant))})


def needed_for_vae(files: list[str], variant: str | None = None) -> list[str]:
    """The files of an autoencoder: at the top of a repository of its own, or in the ``vae`` folder of a model."""
    folder = "" if "config.json" in files and "model_index.json" not in files else "vae/"
    return [f"{folder}config.json", *_weights(files, folder, variant)]


def _weights(files: list[str], folder: str, variant: str | None) -> list[str]:
    """The weights of one network, of one kind, with the index of their shards."""
    for ending in (".safetensors", ".bin"):
        own = [
            name
            for name in files
            if re.fullmatch(rf"{folder}[^/]*{re.escape(ending)}(\.index.*json)?", name)
            and (folder or name.startswith("diffusion_pytorch_model"))
        ]
        plain = [
            name for name in own if not re.search(r"\.(fp16|non_ema)[.-]|\.index\.(fp16|non_ema)\.", name)
        ]
        asked = [name for name in own if variant and f".{variant}" in name]
        if own:
            return asked or plain or own
    return []


def _is_whole(folder: Path, opened: Callable[[Path], object]) -> bool:
    """Whether everything is there to be opened: an aborted download, or one of another variant, is not."""
    try:
        opened(folder)
    except CheckpointError:
        return False
    return True


def download(name: str, variant: str | None = None, vae: bool = False) -> Path:
    """The folder of a model of the hub: from the local cache if it is there, else downloaded. Raises CheckpointError.

    With ``vae`` the autoencoder is enough. HF_HUB_OFFLINE=1 in the environment forbids to look any further than the
    cache.
    """
    try:
        from huggingface_hub import HfApi, constants, snapshot_download
    except ImportError:
        raise CheckpointError(
            f"{name!r} is no folder or file here; to load it from the hub: python -m pip install huggingface_hub"
        ) from None
    try:
        # No file is asked for: the library would miss those that were never downloaded. See what is there instead.
        cached = Path(snapshot_download(name, local_files_only=True, allow_patterns=[]))
    except Exception:  # not in the cache: the library has several errors for it
        cached = None
    opened = open_vae if vae else partial(open_folder, variant=variant)
    if cached is not None and _is_whole(cached, opened):
        return cached
    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(
            f"{name!r} is no folder or file here, not whole in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE "
            "forbids to download it: unset it, or give a folder."
        )
    try:
        # This question, unlike others, is asked once: without a connection it fails at once.
        found = HfApi().model_info(name, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        needed = needed_for_vae if vae else needed_files
        files = needed([one.rfilename for one in found.siblings or []], variant)
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:  # no connection, no such model, no permission, no space: each its own type
        raise CheckpointError(
            f"{name!r} is no folder or file here, and cannot be had from the hub ({brief(error)}): check name and "
            "connection, or give a folder or a .safetensors file."
        ) from error
