"""Byte-pair encoding of words (BPE): from a text to words, from a word to bytes, from bytes to tokens.

Byte-pair encoding: Sennrich et al. 2016, algorithm 1. On bytes: Radford et al. 2019 (GPT-2). With a mark at the end
of words and in lower case: Radford et al. 2021 (CLIP). What the merges are is learnt in ``tokenizer_training.py``;
ids, length and padding are the business of ``tokenizer.py``.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import regex

Pair = tuple[str, str]

START = "<|startoftext|>"
END = "<|endoftext|>"
END_OF_WORD = "</w>"
WORD = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
)
LONGEST_CACHE = 100_000  # words whose tokens are remembered


@cache
def byte_symbols() -> dict[int, str]:
    """One printable character for each of the 256 bytes, so that tokens can be written as text (as in GPT-2).

    Printable bytes stand for themselves; the 68 others (controls, the blank) become the characters from 256
    on. The order of the table is the order of the first 256 tokens.
    """
    ranges = [("!", "~"), ("¡", "¬"), ("®", "ÿ")]
    printable = [byte for first, last in ranges for byte in range(ord(first), ord(last) + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def clean(text: str) -> str:
    """Compose accents (NFC), turn each run of white space into one blank, and lower the case."""
    text = regex.sub(r"\s+", " ", unicodedata.normalize("NFC", text))
    # lower() alone looks at the neighbours of this one letter: it would become ς at the end of a word.
    return text.replace("Σ", "σ").lower()


def split_words(cleaned: str) -> list[str]:
    """Cut cleaned text into runs of letters, single digits, runs of other signs, and endings such as 's."""
    words = []
    for word in WORD.findall(cleaned):
        # The names of special tokens in capitals end up here as plain text: three words, not one.
        words += [word[:2], word[2:-2], word[-2:]] if word in (START, END) else [word]
    return words


def word_symbols(word: str) -> tuple[str, ...]:
    """The UTF-8 bytes of a word as symbols, the last one with the end-of-word mark: "cat" -> c, a, t</w>."""
    if not word:
        return ()
    symbols = [byte_symbols()[byte] for byte in word.encode("utf-8", errors="replace")]
    return (*symbols[:-1], symbols[-1] + END_OF_WORD)


def merge_pair(symbols: Sequence[str], pair: Pair) -> tuple[str, ...]:
    """Join each occurrence of ``pair`` in ``symbols``, from the left."""
    merged: list[str] = []
    i = 0
    while i < len(symbols):
        found = tuple(symbols[i : i + 2]) == pair
        merged.append(pair[0] + pair[1] if found else symbols[i])
        i += 2 if found else 1
    return tuple(merged)


@dataclass(frozen=True)
class Merge:
    """One step of the encoding: the pair that was joined, its rank (0: learned first), what came out."""

    pair: Pair
    rank: int
    symbols: tuple[str, ...]


def merge_steps(symbols: tuple[str, ...], ranks: dict[Pair, int]) -> Iterator[Merge]:
    """Join the pair that was learned first, again and again, until no pair of the word was ever learned."""
    while len(symbols) > 1:
        pair = min(pairwise(symbols), key=lambda pair: ranks.get(pair, math.inf))
        if pair not in ranks:
            return
        symbols = merge_pair(symbols, pair)
        yield Merge(pair, ranks[pair], symbols)


def text_of(tokens: Iterable[str]) -> str:
    """The text that tokens spell: a blank after each end of a word; bytes that are no UTF-8 become U+FFFD.

    Raises ValueError for a symbol that stands for no byte.
    """
    bytes_by_symbol = {symbol: byte for byte, symbol in byte_symbols().items()}
    symbols = "".join(tokens).replace(END_OF_WORD, byte_symbols()[ord(" ")])
    if unknown := [symbol for symbol in symbols if symbol not in bytes_by_symbol]:
        raise ValueError(f"{unknown[0]!r} stands for no byte.")
    return bytes(bytes_by_symbol[symbol] for symbol in symbols).decode("utf-8", errors="replace").strip()


class BytePairEncoder:
    """Text to tokens: special tokens stand for themselves, every other word is merged by the learned ranks."""

    def __init__(self, merges: Sequence[Pair], special: Iterable[str] = (START, END)) -> None:
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        names = "|".join(regex.escape(token) for token in special if token)
        self._special = regex.compile(f"({names or '(?!)'})")  # (?!) is found nowhere
        self._known_words: dict[str, tuple[str, ...]] = {}

    def segments(self, text: str) -> Iterator[tuple[str, bool]]:
        """Cut text at special tokens: (plain text, False) and (special token, True) in turns."""
        if not isinstance(text, str):
            raise TypeError(f"a text must be a str, not {type(text).__name__}: {text!r:.80}")
        for i, part in enumerate(self._special.split(text)):
            if part:
                yield part, i % 2 == 1

    def word_tokens(self, word: str) -> tuple[str, ...]:
        """The tokens of one cleaned word. Words repeat, so what was found is kept."""
        tokens = self._known_words.get(word)
        if tokens is None:
            tokens = word_symbols(word)
            for step in merge_steps(tokens, self.ranks):
                tokens = step.symbols
            if len(self._known_words) < LONGEST_CACHE:
                self._known_words[word] = tokens
        return tokens

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text: no start, no end, no limit of length."""
        tokens: list[str] = []
        for part, special in self.segments(text):
            words = [] if special else split_words(clean(part))
            tokens += [part] if special else [token for word in words for token in self.word_tokens(word)]
        return tokens
