"""Where files live: models shipped with the package, and the folder for caches."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CLONE_MODELS = PACKAGE.parent / "data" / "models"  # next to the package in a clone
WHEEL_MODELS = PACKAGE / "_data" / "models"  # inside the package in an installed wheel


def shipped_models() -> dict[str, Path]:
    """The folders of the models that come with the package, by their names."""
    return {
        folder.name: folder
        for home in (WHEEL_MODELS, CLONE_MODELS)
        if home.is_dir()
        for folder in sorted(home.iterdir())
        if folder.is_dir()
    }


def shipped_model(name: str) -> Path:
    """The folder of a model that comes with the package, in a clone and in an installed wheel alike.

    Raises FileNotFoundError, listing the shipped models, when there is none of that name.
    """
    models = shipped_models()
    if name in models:
        return models[name]
    there = ", ".join(repr(other) for other in sorted(models)) or f"none in {CLONE_MODELS} or {WHEEL_MODELS}"
    raise FileNotFoundError(f"no model named {name!r} comes with sdlearn; there are: {there}.")


def cache_folder() -> Path:
    """Where files that can be made again go: SDLEARN_CACHE, or ~/.cache/sdlearn. Not created here."""
    chosen = os.environ.get("SDLEARN_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "sdlearn"
