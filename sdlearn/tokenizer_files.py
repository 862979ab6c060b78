"""The files of a tokenizer folder, as CLIP's and every checkpoint's tokenizer is stored.

``vocab.json`` (token -> id) and ``merges.txt``, or one ``tokenizer.json`` that holds both (as transformers
writes since version 5); ``special_tokens_map.json`` and ``tokenizer_config.json`` for padding and length.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sdlearn.bpe import END, END_OF_WORD, START, Pair, byte_symbols

NO_LIMIT = 1e6  # files without a limit hold a number such as 1e30


def read_tokenizer_folder(folder: Path) -> tuple[dict[str, int], list[Pair], int, int]:
    """Vocabulary, merges, max_length and padding id. Raises ValueError naming the folder or file that is at fault.

    The padding token of ``special_tokens_map.json`` counts more than that of ``tokenizer_config.json``, as in
    transformers: in Stable Diffusion 2 they disagree.
    """
    config = _read_json(folder / "tokenizer_config.json", required=False)
    special = config | _read_json(folder / "special_tokens_map.json", required=False)
    vocab, merges = _vocabulary_and_merges(folder)
    pad = special.get("pad_token") or END
    pad = pad.get("content") if isinstance(pad, dict) else pad
    if not isinstance(pad, str) or pad not in vocab:
        raise ValueError(f"{folder}: the padding token {pad!r:.80} is not in the vocabulary.")
    length = config.get("model_max_length") or NO_LIMIT
    if not isinstance(length, int | float) or not length > 0:
        raise ValueError(
            f"{folder / 'tokenizer_config.json'}: model_max_length {length!r:.80} is not a number of tokens."
        )
    max_length = int(length) if length < NO_LIMIT else 77
    try:
        check_vocabulary(vocab, merges, max_length)
    except ValueError as error:
        raise ValueError(f"{folder} does not hold a tokenizer: {error}") from error
    return vocab, merges, max_length, vocab[pad]


def check_vocabulary(vocab: dict[str, int], merges: list[Pair], max_length: int) -> None:
    """Raise ValueError where no text could be encoded with these: a token or its id is missing, or room for any."""
    if not isinstance(max_length, int) or max_length < 3:
        raise ValueError(f"max_length {max_length!r} leaves no room for a token: give 3 or more (CLIP: 77).")
    ids = {id_ for id_ in vocab.values() if isinstance(id_, int) and id_ >= 0}
    if len(ids) < len(vocab):
        raise ValueError("the vocabulary must give whole numbers, to each token one of its own.")
    needed = [START, END, *(s + mark for s in byte_symbols().values() for mark in ("", END_OF_WORD))]
    missing = [token for token in needed if token not in vocab]
    missing += [first + second for first, second in merges if first + second not in vocab]
    if len(set(merges)) < len(merges):
        raise ValueError("the merges hold a pair twice: take vocabulary and merges from the same model.")
    if missing:
        raise ValueError(
            f"the vocabulary lacks {len(missing)} tokens of a CLIP tokenizer, such as {missing[0]!r:.80}: "
            "take vocabulary and merges from the same model."
        )


def write_tokenizer_folder(
    folder: Path, vocab: dict[str, int], merges: list[Pair], max_length: int, pad: str
) -> None:
    """Write the four files; ``pad`` is the padding token."""
    folder.mkdir(parents=True, exist_ok=True)
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": max_length, **special}
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges), ""]
    files = {
        "vocab.json": json.dumps(vocab, ensure_ascii=False),
        "merges.txt": "\n".join(lines),
        "special_tokens_map.json": json.dumps(special, indent=2),
        "tokenizer_config.json": json.dumps(config, indent=2),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _vocabulary_and_merges(folder: Path) -> tuple[dict[str, int], list[Pair]]:
    together = folder / "tokenizer.json"
    if (folder / "vocab.json").exists() or not together.exists():
        vocab = _read_json(folder / "vocab.json")
        path, lines = folder / "merges.txt", _read_merges(folder / "merges.txt")
    else:
        model = _read_json(together).get("model")
        model = model if isinstance(model, dict) else {}
        path, vocab, lines = together, model.get("vocab"), model.get("merges")
        if not isinstance(vocab, dict) or not isinstance(lines, list):
            raise ValueError(f"{together} holds no byte-pair encoding.")
    pairs = [line.split(" ") if isinstance(line, str) else line for line in lines]
    for line, pair in zip(lines, pairs, strict=True):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
            raise ValueError(f"{path} must hold two symbols a line, not {line!r:.80}.")
    return vocab, [(first, second) for first, second in pairs]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error


def _read_json(path: Path, required: bool = True) -> dict[str, Any]:
    """The object in a JSON file; {} when an optional file is not there."""
    if not required and not path.exists():
        return {}
    text = _read_text(path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold a JSON object, not a {type(data).__name__}.")
    return data


def _read_merges(path: Path) -> list[str]:
    """The lines of a ``merges.txt`` without the first, ``#version: …``."""
    lines = _read_text(path).split("\n")  # splitlines() would also cut at some symbols
    return [line for line in lines[lines[0].startswith("#version") :] if line.strip()]
