"""Chapter 06's exercises: answers of people who learn this, and the idea that each is taken for."""

from collections import Counter
from itertools import pairwise

import pytest

from sdlearn.bpe import merge_steps, word_symbols
from sdlearn.exercises import check
from sdlearn.exercises.chapter_06 import EXERCISES
from sdlearn.tokenizer import Tokenizer
from sdlearn.tokenizer_training import train_bpe, vocabulary


def words_cut(tokenizer, text):
    return text.lower().split(" ")[tokenizer.max_length - 2 :]


def by_ids(tokenizer, text):
    """Right, by another way: what the ids do not have."""
    kept = [i for i in tokenizer.encode(text)[1:-1] if i != tokenizer.eos_token_id]
    return tokenizer.tokenize(text)[len(kept) :]


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("06.1", ["n", "o"], "ends the word"),
        ("06.1", ("o</w>", "n"), "across a blank"),
        ("06.1", ["o", "n</w>"], "once only"),
        ("06.1", ["o", "w</w>"], "in `now`, once"),
        ("06.1", ["o", "n"], "across a blank"),
        ("06.1", ["o</w>", "n</w>"], "add them up"),
        ("06.1", "no", "ends the word"),
        ("06.2", "cat</w>", "a way to it"),
        ("06.2", " ca t</w> ", "from the left"),
        ("06.2", "c a t</w>", "before any merge"),
        ("06.2", "c at", "the mark"),
        ("06.2", "t</w> ca", "merge_steps"),
        ("06.2", "cat", "way to the whole word"),
        ("06.2", "c a t", "begin to merge"),
        ("06.2", "ca t", "learned first"),
        ("06.2", ["c", "at</w>"], "is to be a text"),
        ("06.3", 256 + 1000 + 2, "at the end of a word"),
        ("06.3", 512 + 1000, "come from no text"),
        ("06.3", 256 + 1000, "what else"),
        ("06.3", 1000.0, "merges alone"),
        ("06.3", 1002, "special ones"),
        ("06.3", 1513, "does a frame need"),
        ("06.3", 513, "makes *texts* shorter"),
        ("06.3", 49408, "len(vocabulary"),
        ("06.4", [True, False, False, False, False], "One more"),
        ("06.4", [False, False, True, False, False], "pass over"),
        ("06.4", [True, False, True, True, False], "a list"),
        ("06.4", [True, False, True, False, True], "comma"),
        ("06.4", [True, True, True, False, False], "not doubled"),
        ("06.4", [True, True, True, True, True], "no meaning"),
        ("06.4", [True, False, True, True, True], "is a comma nothing"),
        ("06.4", [False, True, False, True, False], "of each of them"),
        ("06.4", [False] * 5, "shouted"),
        ("06.4", "AC", "is to be"),
        ("06.5", lambda tokenizer, text: tokenizer.tokenize(text)[tokenizer.max_length :], "whole frame"),
        (
            "06.5",
            lambda tokenizer, text: tokenizer.tokenize(text)[1:][tokenizer.max_length - 2 :],
            "One place",
        ),
        ("06.5", lambda tokenizer, text: tokenizer.tokenize(text)[:8], "that are kept"),
        ("06.5", lambda tokenizer, text: list(tokenizer.encode_and_show_work(text).cut), "is closed here"),
        ("06.5", lambda tokenizer, text: tokenizer.tokenize(text)[32 - 2 :], "with clip_sized"),
        ("06.5", lambda tokenizer, text: tokenizer.tokenize(text)[77 - 2 :], "a shorter frame"),
        ("06.5", lambda tokenizer, text: tokenizer.tokenize(text)[77:], "of the whole frame"),
        ("06.5", lambda tokenizer, text: tokenizer.decode(tokenizer.encode(text)), "return a text"),
        ("06.5", lambda tokenizer, text: " ".join(tokenizer.tokenize(text)[8:]), "return a text"),
        ("06.5", words_cut, "words between blanks"),
        ("06.5", lambda tokenizer, text: text.split()[8:], "words between blanks"),
        ("06.5", lambda tokenizer, text: list(text)[8:], "letters"),
        ("06.5", lambda tokenizer, text: [], "Print both"),
        ("06.5", lambda text: [], "Your function stopped"),
        ("06.6", 3 * 75, "for words"),
        ("06.6", 200, "around it"),
        ("06.6", 200 + 2, "for all?"),
        ("06.6", 200 + 3 * 2, "shorter than the others"),
        ("06.6", 2 * 77, "two full chunks"),
        ("06.6", 77, "one chunk"),
        ("06.6", 230, "so many cats"),
    ],
)
def test_wrong_answers_are_told_which_idea_they_are(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right
    assert words in verdict.text
    assert verdict.text != EXERCISES[name].start


def test_right_answers_in_other_words():
    assert check("06.1", ("n", "o</w>")).right
    assert check("06.4", (True, False, True, False, False)).right
    assert check("06.4", [1, 0, 1, 0, 0]).right
    assert check("06.5", by_ids).right
    assert check("06.6", (200 // 75 + 1) * 77).right


def test_the_answers_are_those_of_the_programs():
    pairs = Counter(pair for word in "no no no now on".split() for pair in pairwise(word_symbols(word)))
    assert pairs.most_common(1) == [(("n", "o</w>"), 3)]
    assert train_bpe(["no no no now on"], 1) == [tuple(EXERCISES["06.1"].right)]
    ranks = {("a", "t</w>"): 0, ("c", "a"): 1, ("ca", "t</w>"): 2}
    *_, last = merge_steps(word_symbols("cat"), ranks)
    assert " ".join(last.symbols) == EXERCISES["06.2"].right
    assert len(vocabulary((f"{k}", "x") for k in range(1000))) == EXERCISES["06.3"].right
    merges = train_bpe(["a red cat"], 9)
    tokenizer = Tokenizer(vocabulary(merges), merges)
    texts = {"A": "a RED cat", "B": "a redcat", "C": "a  red cat ", "D": "cat red a", "E": "a red, cat"}
    same = [tokenizer.encode(text) == tokenizer.encode("A red cat") for text in texts.values()]
    assert same == EXERCISES["06.4"].right
    tokens = ["a</w>"] * 200
    chunks = [tokenizer.frame(tokens[start : start + 75]) for start in range(0, 200, 75)]
    assert sum(map(len, chunks)) == EXERCISES["06.6"].right
