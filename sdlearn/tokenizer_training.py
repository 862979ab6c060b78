"""Learn the merges of byte-pair encoding from texts (Sennrich et al. 2016, algorithm 1)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from sdlearn.bpe import (
    END,
    END_OF_WORD,
    START,
    Pair,
    byte_symbols,
    clean,
    merge_pair,
    split_words,
    word_symbols,
)


def vocabulary(merges: Iterable[Pair]) -> dict[str, int]:
    """Token -> id in CLIP's order: 256 bytes, 256 bytes that end a word, one token a merge, start and end."""
    symbols = list(byte_symbols().values())
    joined = [first + second for first, second in merges]
    tokens = [*symbols, *(symbol + END_OF_WORD for symbol in symbols), *joined, START, END]
    return {token: id_ for id_, token in enumerate(tokens)}


def train_bpe(texts: Iterable[str], num_merges: int) -> list[Pair]:
    """Learn up to ``num_merges`` merges: again and again, join the most frequent pair of neighbours in words.

    Of equally frequent pairs the one that sorts first wins, so the result is the same everywhere. There are
    fewer merges when each word has become one token. Raises ValueError when ``num_merges`` is negative.
    """
    if num_merges < 0:
        raise ValueError(f"num_merges is {num_merges}: give 0 or more.")
    # Captions repeat their words: count each word once, and each text once.
    counts: Counter[str] = Counter()
    for text, times in Counter(texts).items():
        for word in split_words(clean(text)):
            counts[word] += times
    words = {word: word_symbols(word) for word in counts}
    pair_counts: Counter[Pair] = Counter()
    words_with: defaultdict[Pair, set[str]] = defaultdict(set)

    def count_pairs(word: str, sign: int) -> None:
        for pair in pairwise(words[word]):
            pair_counts[pair] += sign * counts[word]
            words_with[pair].add(word)

    for word in words:
        count_pairs(word, +1)
    merges: list[Pair] = []
    while len(merges) < num_merges:
        present = (pair for pair, count in pair_counts.items() if count > 0)
        best = min(present, key=lambda pair: (-pair_counts[pair], pair), default=None)
        if best is None:
            break
        merges.append(best)
        for word in words_with.pop(best):
            count_pairs(word, -1)
            words[word] = merge_pair(words[word], best)
            count_pairs(word, +1)
        del pair_counts[best]
    return merges
