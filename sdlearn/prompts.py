"""From prompts to the ids and weights that the text tower is asked with.

Three things that Stable Diffusion's users expect beyond plain text, each off unless asked for:

* **Weights**: ``(word)`` counts 1.1 times, ``(word:1.3)`` 1.3 times, ``[word]`` 1 / 1.1 times; nested ones multiply;
  ``\\(`` is a plain parenthesis. A token's vector z becomes z_empty + weight * (z - z_empty), where z_empty is what the
  empty prompt has at its place: 0 is as if the word were not there, 1 changes nothing.
* **Long prompts**: what does not fit is cut into chunks, each with its own start and end; the text tower reads them one
  by one, and the U-Net gets all their vectors.
* **Clip skip**: the vectors are taken before the last layers of the text tower (in ``CLIPTextModel``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sdlearn.tokenizer import Tokenizer

STEP = 1.1  # what a pair of parentheses counts
LONGEST = 10_000  # characters
CLOSING = {"(": ")", "[": "]"}
MOST = 10.0  # a larger weight is taken for a mistake
LOOKS_WEIGHTED = re.compile(r"\([^()]+:\s*\d[\d.]*\s*\)")
# What other programs read in a prompt, and sdlearn does not.
OTHERS_READ = re.compile(r"\bBREAK\b"), re.compile(r"<(lora|lyco|hypernet):[^<>]*>")
PIECE = re.compile(r"\\[()\[\]\\]|\(|\[|:\s*([+-]?[\d.]+)\s*\)|\)|\]|[^\\()\[\]:]+|:|\\")


@dataclass(frozen=True)
class Chunk:
    """What the text tower reads at once: ``max_length`` ids, and how much each of them counts."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def unread(text: str, weighted: bool) -> list[str]:
    """What to warn of: signs that mean something elsewhere, and are ordinary words as the prompt is read here."""
    warnings = []
    if not weighted and LOOKS_WEIGHTED.search(text):
        warnings.append(f"{text[:60]!r} looks like weights: they are read with prompt_weights=True.")
    if weighted and (sign := unclosed(text)):
        warnings.append(
            f"{sign!r} in {text[:60]!r} is not closed: it is taken to close at the prompt's end, without a weight of "
            "its own."
        )
    for pattern in OTHERS_READ:
        if found := pattern.search(text):
            warnings.append(
                f"{found[0][:60]!r} in a prompt is read as ordinary words: sdlearn knows no such sign."
            )
    return warnings


def unclosed(text: str) -> str:
    """The first parenthesis of a weighted prompt that nothing closes; "" where there is none."""
    signs: list[str] = []
    for found in PIECE.finditer(text):
        piece = found[0]
        if piece in CLOSING:
            signs.append(piece)
        elif signs and piece[0] != "\\" and piece[-1] == CLOSING[signs[-1]]:
            signs.pop()
    return signs[0] if signs else ""


def parse_weights(text: str) -> list[tuple[str, float]]:
    """Pieces of the text with their weights. Parentheses that nothing closes are plain text's end: they close there.

    Raises ValueError for a weight that is no number from 0 to 10.
    """
    pieces: list[list] = []
    open_at: list[tuple[str, int]] = []  # which parenthesis, and the first piece in it

    def close(sign: str, factor: float) -> bool:
        if not open_at or open_at[-1][0] != sign:
            return False
        _, first = open_at.pop()
        for piece in pieces[first:]:
            piece[1] *= factor
        return True

    if len(text) > LONGEST:
        raise ValueError(f"a prompt of {len(text)} characters cannot be weighted: at most {LONGEST} can.")
    for found in PIECE.finditer(text):
        piece = found[0]
        if piece in ("(", "["):
            open_at.append((piece, len(pieces)))
        elif found[1] is not None and open_at and open_at[-1][0] == "(":
            close("(", _weight(found[1], text))
        elif not ((piece == ")" and close("(", STEP)) or (piece == "]" and close("[", 1 / STEP))):
            pieces.append([piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece, 1.0])
    while open_at:
        close(open_at[-1][0], STEP if open_at[-1][0] == "(" else 1 / STEP)
    joined: list[list] = []
    for piece, weight in pieces:
        if not weight <= MOST:
            raise ValueError(
                f"the weights of {piece[:40]!r} multiply to more than {MOST:g}: use fewer of them."
            )
        if joined and joined[-1][1] == weight:
            joined[-1][0] += piece
        else:
            joined.append([piece, weight])
    return [(piece, weight) for piece, weight in joined]


def _weight(number: str, text: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= MOST:
        raise ValueError(f"the weight {number} in {text[:80]!r} must be a number from 0 to {MOST:g}.")
    return weight


def weighted_tokens(tokenizer: Tokenizer, text: str, weighted: bool) -> list[tuple[str, float]]:
    """The tokens of a prompt, each with its weight."""
    pieces = parse_weights(text) if weighted else [(text, 1.0)]
    return [(token, weight) for piece, weight in pieces for token in tokenizer.tokenize(piece)]


def chunks_of(
    tokenizer: Tokenizer, text: str, weighted: bool = False, long: bool = False
) -> tuple[list[Chunk], str]:
    """A prompt as one chunk, or as many as it needs; and the end of the prompt that found no place."""
    tokens = weighted_tokens(tokenizer, text, weighted)
    room = tokenizer.max_length - 2
    starts = range(0, max(len(tokens), 1), room) if long else [0]
    chunks = [_chunk(tokenizer, tokens[start : start + room]) for start in starts]
    cut = [] if long else tokens[room:]
    return chunks, tokenizer.decode(tokenizer.vocab[token] for token, _ in cut)


def _chunk(tokenizer: Tokenizer, tokens: Sequence[tuple[str, float]]) -> Chunk:
    weights = [1.0, *(weight for _, weight in tokens)]
    weights += [1.0] * (tokenizer.max_length - len(weights))
    return Chunk(tuple(tokenizer.frame([token for token, _ in tokens])), tuple(weights))


def equally_long(chunked: Sequence[list[Chunk]], tokenizer: Tokenizer) -> list[list[Chunk]]:
    """All prompts with as many chunks as the longest: the shorter ones end in empty ones."""
    most = max(len(chunks) for chunks in chunked)
    return [chunks + [_chunk(tokenizer, [])] * (most - len(chunks)) for chunks in chunked]
