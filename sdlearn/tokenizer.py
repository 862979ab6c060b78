"""CLIP's tokenizer: from a prompt to the ids that the text tower reads, by byte-pair encoding (``bpe.py``).

In a fixed length, between a start and an end token: Radford et al. 2021 (CLIP).

Where transformers' ``CLIPTokenizer`` and OpenAI's first program differ, this one follows transformers: text
is not repaired (no ftfy, no HTML entities), control characters that are not white space stay, a special token
in capitals such as ``<|ENDOFTEXT|>`` is plain text, and the padding token written in a prompt is read as
padding. The last matters for Stable Diffusion 2 alone, whose padding token is "!": "cat!" ends in 0, not 256.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sdlearn.bpe import (
    END,
    START,
    BytePairEncoder,
    Merge,
    Pair,
    clean,
    merge_steps,
    split_words,
    text_of,
    word_symbols,
)
from sdlearn.tokenizer_files import check_vocabulary, read_tokenizer_folder, write_tokenizer_folder


@dataclass(frozen=True)
class WordWork:
    """How one word became tokens. A special token has no symbols and no merges."""

    text: str
    symbols: tuple[str, ...]
    merges: tuple[Merge, ...]
    tokens: tuple[str, ...]


def word_work(word: str, ranks: dict[Pair, int]) -> WordWork:
    """The tokens of one cleaned word, with every merge on the way."""
    symbols = word_symbols(word)
    merges = tuple(merge_steps(symbols, ranks))
    return WordWork(word, symbols, merges, merges[-1].symbols if merges else symbols)


@dataclass(frozen=True)
class TokenizerWork:
    """Every stage between a prompt and its ids. ``kept`` and ``cut``: the tokens without start and end."""

    text: str
    cleaned: str
    words: tuple[WordWork, ...]
    kept: tuple[str, ...]
    cut: tuple[str, ...]  # the tokens that found no place: the text tower never sees them
    ids: tuple[int, ...]


class TokenIds:
    """Between tokens and ids: a vocabulary (token -> id), and the frame of ``max_length`` ids that a text tower reads.

    ``pad_token_id`` fills the frame: the end token's id when not given, as in Stable Diffusion 1; 0 in 2.
    """

    def __init__(self, vocab: dict[str, int], max_length: int, pad_token_id: int | None = None) -> None:
        self.vocab, self.max_length = dict(vocab), max_length
        self.tokens_by_id = {id_: token for token, id_ in self.vocab.items()}
        self.bos_token_id, self.eos_token_id = self.vocab[START], self.vocab[END]
        self.pad_token_id = self.eos_token_id if pad_token_id is None else pad_token_id
        if self.pad_token_id not in self.tokens_by_id:
            raise ValueError(f"pad_token_id {pad_token_id!r} is not an id of the vocabulary.")

    @property
    def vocab_size(self) -> int:
        """How many rows the text tower's embedding table needs: the largest id + 1."""
        return max(self.tokens_by_id) + 1

    def __len__(self) -> int:
        return len(self.vocab)

    def frame(self, tokens: Sequence[str]) -> list[int]:
        """Start, tokens, end, padding: ``max_length`` ids. Raises ValueError for more than max_length - 2 tokens."""
        if len(tokens) > self.max_length - 2:
            raise ValueError(
                f"{len(tokens)} tokens and two special ones do not fit into {self.max_length} ids."
            )
        ids = [self.bos_token_id, *(self.vocab[token] for token in tokens), self.eos_token_id]
        return ids + [self.pad_token_id] * (self.max_length - len(ids))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of ids: lower case, a blank after each word. Raises ValueError on an unknown id or token."""
        skipped = {self.bos_token_id, self.eos_token_id, self.pad_token_id} if skip_special_tokens else set()
        ids = [int(id_) for id_ in ids]
        if unknown := [id_ for id_ in ids if id_ not in self.tokens_by_id]:
            raise ValueError(f"id {unknown[0]} is not in the vocabulary of {len(self.vocab)} tokens.")
        return text_of(self.tokens_by_id[id_] for id_ in ids if id_ not in skipped)


class Tokenizer(TokenIds):
    """Text to ids with a vocabulary (token -> id) and merges (pairs of tokens, the first learned first).

    ``encode`` gives exactly ``max_length`` ids: start, at most max_length - 2 tokens, end, then padding.
    """

    def __init__(
        self,
        vocab: dict[str, int],
        merges: Sequence[Pair],
        max_length: int = 77,
        pad_token_id: int | None = None,
    ) -> None:
        self.merges = [tuple(pair) for pair in merges]
        check_vocabulary(vocab, self.merges, max_length)
        super().__init__(vocab, max_length, pad_token_id)
        special = dict.fromkeys([START, END, self.tokens_by_id[self.pad_token_id]])
        self.encoder = BytePairEncoder(self.merges, special)

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without start, end, padding and limit of length."""
        return self.encoder.tokenize(text)

    def encode(self, text: str) -> list[int]:
        """The ``max_length`` ids of a text. ``encode_and_show_work`` tells which tokens found no place."""
        return self.frame(self.tokenize(text)[: self.max_length - 2])

    def encode_and_show_work(self, text: str) -> TokenizerWork:
        """The ids of ``encode`` with every stage on the way: to show, and to warn about a cut prompt."""
        cleaned, words = "", []
        for part, special in self.encoder.segments(text):
            cleaned += part if special else clean(part)
            plain = [] if special else split_words(clean(part))
            words += [word_work(word, self.encoder.ranks) for word in plain]
            words += [WordWork(part, (), (), (part,))] if special else []
        tokens = tuple(token for word in words for token in word.tokens)
        kept, cut = tokens[: self.max_length - 2], tokens[self.max_length - 2 :]
        return TokenizerWork(text, cleaned, tuple(words), kept, cut, tuple(self.frame(kept)))

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Read the ``tokenizer`` folder of a checkpoint; raises ValueError naming what is at fault."""
        return cls(*read_tokenizer_folder(Path(folder)))

    def save(self, folder: str | Path) -> None:
        """Write the files that ``from_folder`` and transformers' ``CLIPTokenizer.from_pretrained`` read."""
        pad = self.tokens_by_id[self.pad_token_id]
        write_tokenizer_folder(Path(folder), self.vocab, self.merges, self.max_length, pad)
