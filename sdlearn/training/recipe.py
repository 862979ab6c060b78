"""Recipes: small TOML files that say everything about a training."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).parent / "recipes"


def check_recipe(recipe: dict, path: Path, part: str) -> None:
    """Raise ValueError unless a recipe has the sections, entries and types of the shipped one of its part."""
    pattern = tomllib.loads((RECIPES / f"{part}.toml").read_text("utf-8"))
    for section, entries in pattern.items():
        given = recipe.get(section)
        if not isinstance(given, dict):
            raise ValueError(
                f"recipe {path} has no section [{section}]; {part}.toml shows what {part} needs."
            )
        wrong = sorted(entries.keys() ^ given.keys())
        if wrong:
            problem = "lacks" if wrong[0] in entries else "does not know"
            raise ValueError(f"recipe {path}: [{section}] {problem} {wrong[0]!r}; see {RECIPES / part}.toml.")
        for key, value in entries.items():
            kind = (int, float) if isinstance(value, float) else type(value)
            if not isinstance(given[key], kind):
                raise ValueError(
                    f"recipe {path}: {section}.{key} is {given[key]!r}; it must be like {value!r}."
                )


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
