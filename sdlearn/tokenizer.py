"""CLIP's tokenizer: byte-level byte-pair encoding (BPE), from a prompt to the ids that the text tower reads.

Byte-pair encoding: Sennrich et al. 2016, algorithm 1. On bytes: Radford et al. 2019 (GPT-2). With a mark at
the end of words, in lower case and with a fixed length: Radford et al. 2021 (CLIP).

Where transformers' ``CLIPTokenizer`` and OpenAI's first program differ, this one follows transformers: text
is not repaired (no ftfy, no HTML entities), control characters that are not white space stay, a special token
in capitals such as ``<|ENDOFTEXT|>`` is plain text, and the padding token written in a prompt is read as
padding. The last matters for Stable Diffusion 2 alone, whose padding token is "!": "cat!" ends in 0, not 256.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import regex

from sdlearn.tokenizer_files import Pair, read_tokenizer_folder, write_tokenizer_folder

START, END = "<|startoftext|>", "<|endoftext|>"
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


@dataclass(frozen=True)
class WordWork:
    """How one word became tokens. A special token has no symbols and no merges."""

    text: str
    symbols: tuple[str, ...]
    merges: tuple[Merge, ...]
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class TokenizerWork:
    """Every stage between a prompt and its ids. ``kept`` and ``cut``: the tokens without start and end."""

    text: str
    cleaned: str
    words: tuple[WordWork, ...]
    kept: tuple[str, ...]
    cut: tuple[str, ...]  # the tokens that found no place: the text tower never sees them
    ids: tuple[int, ...]


class Tokenizer:
    """Text to ids with a vocabulary (token -> id) and merges (pairs of tokens, the first learned first).

    ``encode`` gives exactly ``max_length`` ids: start, at most max_length - 2 tokens, end, then padding with
    ``pad_token_id`` (the end token's id when not given, as in Stable Diffusion 1; 0 in Stable Diffusion 2).
    """

    def __init__(
        self,
        vocab: dict[str, int],
        merges: Sequence[Pair],
        max_length: int = 77,
        pad_token_id: int | None = None,
    ) -> None:
        self.vocab, self.merges, self.max_length = dict(vocab), [tuple(pair) for pair in merges], max_length
        self.ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self.tokens_by_id = {id_: token for token, id_ in self.vocab.items()}
        self._check()
        self.bos_token_id, self.eos_token_id = self.vocab[START], self.vocab[END]
        self.pad_token_id = self.eos_token_id if pad_token_id is None else pad_token_id
        if self.pad_token_id not in self.tokens_by_id:
            raise ValueError(f"pad_token_id {pad_token_id!r} is not an id of the vocabulary.")
        special = dict.fromkeys([START, END, self.tokens_by_id[self.pad_token_id]])
        self._special = regex.compile("(" + "|".join(regex.escape(token) for token in special) + ")")
        self._known_words: dict[str, tuple[str, ...]] = {}

    def _check(self) -> None:
        if not isinstance(self.max_length, int) or self.max_length < 3:
            raise ValueError(
                f"max_length {self.max_length!r} leaves no room for a token: give 3 or more (CLIP: 77)."
            )
        needed = [START, END, *(s + mark for s in byte_symbols().values() for mark in ("", END_OF_WORD))]
        missing = [token for token in needed if token not in self.vocab]
        missing += [first + second for first, second in self.merges if first + second not in self.vocab]
        if missing:
            raise ValueError(
                f"the vocabulary lacks {len(missing)} tokens of a CLIP tokenizer, such as {missing[0]!r}: "
                "take vocabulary and merges from the same model."
            )

    @property
    def vocab_size(self) -> int:
        """How many rows the text tower's embedding table needs: the largest id + 1."""
        return max(self.tokens_by_id) + 1

    def __len__(self) -> int:
        return len(self.vocab)

    def _merge_steps(self, symbols: tuple[str, ...]) -> Iterable[Merge]:
        """Join the pair with the lowest rank, again and again, until no pair of the word has a rank."""
        while len(symbols) > 1:
            pair = min(pairwise(symbols), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if pair not in self.ranks:
                return
            symbols = merge_pair(symbols, pair)
            yield Merge(pair, self.ranks[pair], symbols)

    def _word_tokens(self, word: str) -> tuple[str, ...]:
        tokens = self._known_words.get(word)
        if tokens is None:
            tokens = word_symbols(word)
            for step in self._merge_steps(tokens):
                tokens = step.symbols
            if len(self._known_words) < LONGEST_CACHE:
                self._known_words[word] = tokens
        return tokens

    def _segments(self, text: str) -> Iterable[tuple[str, bool]]:
        """Cut text at special tokens: (plain text, False) and (special token, True) in turns."""
        if not isinstance(text, str):
            raise TypeError(f"a text must be a str, not {type(text).__name__}: {text!r:.80}")
        for i, part in enumerate(self._special.split(text)):
            if part:
                yield part, i % 2 == 1

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without start, end, padding and limit of length."""
        tokens: list[str] = []
        for part, special in self._segments(text):
            words = [] if special else split_words(clean(part))
            tokens += [part] if special else [token for word in words for token in self._word_tokens(word)]
        return tokens

    def frame(self, tokens: Sequence[str]) -> list[int]:
        """Start, tokens, end, padding: always max_length ids."""
        ids = [self.bos_token_id, *(self.vocab[token] for token in tokens), self.eos_token_id]
        return ids + [self.pad_token_id] * (self.max_length - len(ids))

    def encode(self, text: str) -> list[int]:
        """The ``max_length`` ids of a text. ``encode_and_show_work`` tells which tokens found no place."""
        return self.frame(self.tokenize(text)[: self.max_length - 2])

    def encode_and_show_work(self, text: str) -> TokenizerWork:
        """The ids of ``encode`` with every stage on the way: to show, and to warn about a cut prompt."""
        cleaned, words = "", []
        for part, special in self._segments(text):
            cleaned += part if special else clean(part)
            for word in [] if special else split_words(clean(part)):
                symbols = word_symbols(word)
                merges = tuple(self._merge_steps(symbols))
                words.append(WordWork(word, symbols, merges, merges[-1].symbols if merges else symbols))
            if special:
                words.append(WordWork(part, (), (), (part,)))
        tokens = tuple(token for word in words for token in word.tokens)
        kept, cut = tokens[: self.max_length - 2], tokens[self.max_length - 2 :]
        return TokenizerWork(text, cleaned, tuple(words), kept, cut, tuple(self.frame(kept)))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of ids: lower case, a blank after each word. Raises ValueError on an unknown id."""
        skipped = {self.bos_token_id, self.eos_token_id, self.pad_token_id} if skip_special_tokens else set()
        ids = [int(id_) for id_ in ids]
        unknown = [id_ for id_ in ids if id_ not in self.tokens_by_id]
        if unknown:
            raise ValueError(f"id {unknown[0]} is not in the vocabulary of {len(self.vocab)} tokens.")
        bytes_by_symbol = {symbol: byte for byte, symbol in byte_symbols().items()}
        text = "".join(self.tokens_by_id[id_] for id_ in ids if id_ not in skipped)
        text = text.replace(END_OF_WORD, byte_symbols()[ord(" ")])
        return bytes(bytes_by_symbol[symbol] for symbol in text).decode("utf-8", errors="replace").strip()

    @classmethod
    def from_folder(cls, folder: str | Path) -> Tokenizer:
        """Read the ``tokenizer`` folder of a checkpoint; raises ValueError naming what is at fault."""
        settings = read_tokenizer_folder(Path(folder), default_pad=END)
        try:
            return cls(*settings)
        except ValueError as error:
            raise ValueError(f"{folder} does not hold a tokenizer: {error}") from error

    def save(self, folder: str | Path) -> None:
        """Write the files that ``from_folder`` and transformers' ``CLIPTokenizer.from_pretrained`` read."""
        special = {"bos_token": START, "eos_token": END, "unk_token": END}
        special["pad_token"] = self.tokens_by_id[self.pad_token_id]
        write_tokenizer_folder(Path(folder), self.vocab, self.merges, self.max_length, special)
