"""``sdlearn check``: is everything here that the course needs, and does it draw?"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# The lower bounds of pyproject.toml: what the package needs, and what the notebooks need on top.
REQUIRED = {
    "torch": "2.11",
    "numpy": "2.0",
    "pillow": "12.2",
    "safetensors": "0.8",
    "regex": "2024.11.6",
    "tqdm": "4.67",
}
COURSE = {
    "jupyterlab": "4.6.2",
    "jupyter-server": "2.20",
    "ipykernel": "7.0",
    "matplotlib": "3.10",
    "ipywidgets": "8.1",
    "huggingface-hub": "1.0",
}
LEAST_PYTHON = (3, 11)
LEAST_FREE = 1e9  # bytes: pictures, a dataset's cache, a training run


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``ok`` is None where nothing can be wrong."""

    name: str
    text: str
    ok: bool | None = None


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, to compare by: "2.13.0+cpu" is (2, 13, 0)."""
    return tuple(int(part) for part in re.match(r"\d+(\.\d+)*", version).group().split("."))


def check_version(name: str, least: str, hint: str, required: bool = True) -> Finding:
    """Is a package there, and new enough? What only the notebooks need may be missing."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, f"not installed, {hint}", False if required else None)
    if numbers(version) < numbers(least):
        return Finding(name, f"{version} is too old, {least} is needed: {hint}", False)
    return Finding(name, f"{version} (at least {least})", True)


def wrong_files(folder: Path) -> list[str]:
    """The files of a model folder that are missing or not as in its SHA256SUMS. OSError without that list."""
    listed = [
        line.split(maxsplit=1)
        for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        if line
    ]
    wrong = []
    for digest, name in listed:
        path = folder / name.lstrip("*")
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            wrong.append(name)
    return wrong


def check_model(model: str) -> Finding:
    """Is the model found, and is every file the one that was shipped?"""
    from sdlearn.paths import shipped_model

    try:
        folder = Path(model) if Path(model).is_dir() else shipped_model(model)
        if not (folder / "SHA256SUMS").exists():
            return Finding("model", f"{folder}, without checksums to compare")
        wrong = wrong_files(folder)
    except OSError as error:
        return Finding("model", str(error), False)
    if wrong:
        return Finding(
            "model", f"{folder}: damaged or missing: {', '.join(wrong)}; fetch the folder again", False
        )
    return Finding("model", f"{folder}, checksums match", True)


def check_drawing(model: str) -> Finding:
    """Draw a picture with few steps and time it, loading included."""
    from sdlearn.pipeline import StableDiffusion

    start = time.perf_counter()
    try:
        StableDiffusion.from_pretrained(model).txt2img("a cat", num_inference_steps=4)
    except Exception as error:  # whatever is wrong, the report must say it
        return Finding("drawing", f"failed: {type(error).__name__}: {error}", False)
    return Finding(
        "drawing", f"a picture of 4 steps took {time.perf_counter() - start:.2f} s with loading", True
    )


def accelerators() -> str:
    """What torch finds besides the CPU."""
    import torch

    if torch.cuda.is_available():
        cards = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
        return "CUDA " + ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
    return "MPS" if torch.backends.mps.is_available() else "no GPU: the small model does not need one"


def check_environment(model: str = "scenes") -> Iterator[Finding]:
    """Every line of the report, in order; the last ones take seconds."""
    install = "in the clone: python -m pip install --editable ."
    yield Finding(
        "python", f"{platform.python_version()} at {sys.executable}", sys.version_info >= LEAST_PYTHON
    )
    yield Finding("platform", f"{platform.platform()}, {os.cpu_count()} cores")
    required = [check_version(name, least, install) for name, least in REQUIRED.items()]
    yield from required
    hint = 'the notebooks need it: in the clone, python -m pip install --editable ".[course]"'
    yield from (check_version(name, least, hint, required=False) for name, least in COURSE.items())
    if not all(finding.ok for finding in required):
        return
    import torch

    yield Finding("threads", f"{torch.get_num_threads()} for torch")
    yield Finding("accelerator", accelerators())
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding("disk", f"{free / 1e9:.1f} GB free in {Path.cwd()}", free > LEAST_FREE)
    found = check_model(model)
    yield found
    if found.ok is not False:
        yield check_drawing(model)
