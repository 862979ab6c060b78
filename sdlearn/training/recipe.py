"""Recipes: small TOML files that say everything about a training."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).parent / "recipes"


def load_recipe(path: Path | str, changes: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Read a recipe and apply ``changes`` such as {"training.steps": 100}.

    Raises ValueError for a file that cannot be read or a change that names nothing in it.
    """
    path = Path(path)
    try:
        recipe = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"recipe {path} cannot be read: {error}") from None
    for name, value in (changes or {}).items():
        section, _, key = name.partition(".")
        if key not in recipe.get(section, {}):
            known = ", ".join(f"{s}.{k}" for s, entries in recipe.items() for k in entries)
            raise ValueError(f"the recipe has no entry {name!r}; it has {known}.")
        recipe[section][key] = value
    return recipe
