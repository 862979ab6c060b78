"""The head of a safetensors file, which says all that the file holds, and is no program.

8 bytes with the length of a text; the text, JSON: each tensor's name, type, shape and place; then the numbers.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """{name: {"dtype", "shape", "data_offsets"}}, and how many bytes lie before the first number.

    ``data_offsets`` are where the tensor begins and ends, counted from the first number. Raises ValueError where the
    text is no JSON, has a name twice, or is said to be longer than the file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size - 8:
            raise ValueError(f"a head of {length} bytes is announced, and the file is shorter")
        entries = json.loads(file.read(length), object_pairs_hook=each_once)
    return entries, 8 + length


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dict. Raises ValueError if a name is there twice: which of the two would be meant?"""
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the name {twice[0]!r} appears twice")
    return dict(pairs)
