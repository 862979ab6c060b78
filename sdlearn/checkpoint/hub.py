"""Models by their name on the Hugging Face hub, such as "stable-diffusion-v1-5/stable-diffusion-v1-5"."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.checkpoint.folder import open_folder

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
    for folder in FOLDERS:
        for ending in (".safetensors", ".bin"):
            own = [
                name
                for name in files
                if re.fullmatch(rf"{folder}/[^/]*{re.escape(ending)}(\.index.*json)?", name)
            ]
            plain = [
                name for name in own if not re.search(r"\.(fp16|non_ema)[.-]|\.index\.(fp16|non_ema)\.", name)
            ]
            asked = [name for name in own if variant and f".{variant}" in name]
            if asked or plain or own:
                chosen += asked or plain or own
                break
    return sorted(set(chosen))


def _is_whole(folder: Path, variant: str | None) -> bool:
    """Whether everything is there: an aborted download, or one of another variant, is not."""
    try:
        open_folder(folder, variant)
    except CheckpointError:
        return False
    return True


def download(name: str, variant: str | None = None) -> Path:
    """The folder of a model of the hub: from the local cache if it is there, else downloaded. Raises CheckpointError.

    HF_HUB_OFFLINE=1 in the environment forbids to look any further than the cache.
    """
    try:
        from huggingface_hub import HfApi, constants, snapshot_download
    except ImportError:
        raise CheckpointError(
            f"{name!r} is no folder or file here; to load it from the hub: python -m pip install huggingface_hub"
        ) from None
    try:
        # Only this file is asked for: the library would miss those that were never downloaded.
        cached = Path(snapshot_download(name, local_files_only=True, allow_patterns="model_index.json"))
    except Exception:  # not in the cache: the library has several errors for it
        cached = None
    if cached is not None and _is_whole(cached, variant):
        return cached
    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(
            f"{name!r} is no folder or file here, not whole in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE "
            "forbids to download it: unset it, or give a folder."
        )
    try:
        # This question, unlike others, is asked once: without a connection it fails at once.
        found = HfApi().model_info(name, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        files = needed_files([one.rfilename for one in found.siblings or []], variant)
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:  # no connection, no such model, no permission, no space: each its own type
        raise CheckpointError(
            f"{name!r} is no folder or file here, and cannot be had from the hub ({brief(error)}): check name and "
            "connection, or give a folder or a .safetensors file."
        ) from error
