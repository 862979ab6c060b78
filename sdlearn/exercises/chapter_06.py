"""The exercises of chapter 06, the tokenizer."""

from __future__ import annotations

from collections.abc import Callable

from sdlearn.exercises.core import Exercise, Mistake
from sdlearn.tokenizer import Tokenizer, TokenizerWork
from sdlearn.tokenizer_training import train_bpe, vocabulary

TEXTS = (
    "A red cat, a red dog, and a zebra on a castle",  # words that are spelled, past the end
    "a red cat on a castle",  # all of it fits
    "cat " * 7 + "castle zebra",
    " ".join(["cat"] * 90),  # longer than any frame
)


class Closed(Tokenizer):
    """A tokenizer that does not do the exercise itself."""

    def encode_and_show_work(self, text: str) -> TokenizerWork:
        raise RuntimeError(
            "encode_and_show_work is closed here. tokenize gives all tokens: which of them fit?"
        )


def ask_lost(function: Callable) -> list[str]:
    """The tokens that a short frame loses of each text, one text a line."""
    merges = train_bpe(["a red cat on a red castle", "the red dog and a cat"], 30)
    tokenizer = Closed(vocabulary(merges), merges, max_length=10)
    found = [function(tokenizer, text) for text in TEXTS]
    if all(isinstance(one, str) for one in found):
        return ["a text"] * len(found)
    return [" ".join(map(str, one)) or "nothing" if isinstance(one, list | tuple) else one for one in found]


EXERCISES = {
    "06.1": Exercise(
        start="Write each word as symbols, the last one with its mark, and make a list of neighbours. Give two "
        "symbols.",
        right=["n", "o</w>"],
        praise="Three times. Once as a token, `no` costs one number instead of two.",
        mistakes=(
            Mistake(["n", "o"], "You see n and o side by side in `now`, too. But in `no` the o ends the word: look at "
                    "what word_symbols gives for each."),
            Mistake(["o</w>", "n"], "That pair lies across a blank. Does the counting loop ever put two words side by "
                    "side?"),
            Mistake(["o", "n"], "That pair lies across a blank. Does the counting loop ever put two words side by "
                    "side?"),
            Mistake(["o", "n</w>"], "That is in `on`, and it is there once only. A word counts as often as it occurs: "
                    "make a tally of all pairs."),
            Mistake(["o", "w</w>"], "That is in `now`, once. A word counts as often as it occurs: make a tally of all "
                    "pairs."),
        ),
        otherwise="Try Counter(pairwise(word_symbols(word))) for each of the words, and add them up.",
    ),
    "06.2": Exercise(
        start="Begin with the symbols of the word. Which pairs does it have, and which of these was learned first?",
        right="c at</w>",
        praise="Although the vocabulary has `cat</w>`! Its merge waits for a `ca` that never appears here. The order "
        "of learning decides, not the length.",
        mistakes=(
            Mistake("cat</w>", "The vocabulary has that token. But is there a way to it? Do the first merge, and see "
                    "which pairs are left."),
            Mistake("ca t</w>", "You went from the left. Two merges fit at the beginning: which of them has the "
                    "lower rank?"),
            Mistake("c a t</w>", "Those are the symbols before any merge. Is one of its pairs in the list?"),
            Mistake("c at", "Nearly: what became of the mark at the end of the word?"),
            Mistake("cat", "A word ends with its mark. And is there a way to the whole word? Do the first merge, and "
                    "see which pairs are left."),
            Mistake("c a t", "A word ends with its mark, and the pairs in the list have it too. Write the symbols as "
                    "word_symbols does, and begin to merge."),
            Mistake("ca t", "A word ends with its mark. And which of the merges that fit was learned first?"),
        ),
        otherwise="Try merge_steps with the word's symbols and these three ranks.",
    ),
    "06.3": Exercise(
        start="What is in the vocabulary before the first merge? What comes in addition to bytes and merges?",
        right=1514,
        praise="Each byte twice, one a merge, and the two special ones. With CLIP's merges the sum gives its size.",
        mistakes=(
            Mistake(1258, "Each byte can also stand at the end of a word. Is that the same token?"),
            Mistake(1512, "Bytes and merges are there. Which tokens come from no text?"),
            Mistake(1256, "Those are bytes and merges. Look at the first lines of `vocabulary`: what else does it "
                    "number?"),
            Mistake(1000, "Those are the merges alone. What does a word with no known pair become?"),
            Mistake(1002, "Merges and the special ones. What does a word with no known pair become?"),
            Mistake(513, "You took it that joining pairs makes the list shorter. It makes *texts* shorter; what are "
                    "the new symbols for the list?"),
            Mistake(1513, "How many special tokens does a frame need?"),
        ),
        otherwise="Try len(vocabulary(...)) with no merges, and with one.",
        tolerance=0,
    ),
    "06.4": Exercise(
        start="What does `clean` do, and what does `split_words`? Say True or False of each.",
        right=[True, False, True, False, False],
        praise="Capitals and blanks end in `clean`. All else is kept: a comma, the order, a missing blank.",
        mistakes=(
            Mistake([True, False, False, False, False],
                    "One more has the same ids. What does `clean` leave of many blanks?"),
            Mistake([False, False, True, False, False],
                    "One more has the same ids. Which line of `clean` did you pass over?"),
            Mistake([True, False, True, True, False], "In D the same tokens come out. But ids are a list: print both."),
            Mistake([True, False, True, True, True],
                    "In D the same tokens come out, but a list has an order. And is a comma nothing?"),
            Mistake([True, False, True, False, True], "Is the comma dropped? Print split_words of both."),
            Mistake([True, True, True, False, False],
                    "In B a blank is missing, not doubled. Where does the mark of the end of a word go?"),
            Mistake([True, True, True, True, True],
                    "To you they may mean the same. The tokenizer knows no meaning: print the ids."),
            Mistake([False, False, False, False, False],
                    "A text and its ids are not one to one. What did the shouted prompt of section 1 become?"),
        ),
        otherwise="Print tokenizer.encode of each of them.",
    ),
    "06.5": Exercise(
        start="tokenizer.tokenize(text) has all tokens, and tokenizer.max_length counts the whole frame.",
        right=lambda tokenizer, text: tokenizer.tokenize(text)[tokenizer.max_length - 2 :],
        praise="That is what a program has to show, or at least to say.",
        mistakes=(
            Mistake(lambda tokenizer, text: tokenizer.tokenize(text)[tokenizer.max_length :],
                    "You filled the whole frame with the text's tokens. Which places are taken already?"),
            Mistake(lambda tokenizer, text: tokenizer.tokenize(text)[tokenizer.max_length - 1 :],
                    "One place is set aside. What stands before the text, and what behind it?"),
            Mistake(lambda tokenizer, text: tokenizer.tokenize(text)[: tokenizer.max_length - 2],
                    "Those are the tokens that are kept."),
            Mistake(lambda tokenizer, text: text.split()[tokenizer.max_length - 2 :],
                    "You counted words between blanks. A place holds a token: try a word that was never seen."),
            Mistake(lambda tokenizer, text: list(text[tokenizer.max_length - 2 :]),
                    "You counted letters. A place holds a token: look at what tokenizer.tokenize gives."),
            Mistake(lambda tokenizer, text: tokenizer.tokenize(text)[30:],
                    "You took a fixed number. Does it hold for another frame? Try it with clip_sized."),
            Mistake(lambda tokenizer, text: tokenizer.tokenize(text)[32:],
                    "You took a fixed number, and that of the whole frame. Try it with clip_sized."),
            Mistake(lambda tokenizer, text: tokenizer.tokenize(text)[75:],
                    "You took a fixed number. Does it hold for a shorter frame? Try it with tokenizer."),
            Mistake(lambda tokenizer, text: tokenizer.tokenize(text)[77:],
                    "You took a fixed number, and that of the whole frame. Try it with tokenizer."),
            Mistake(lambda tokenizer, text: text,
                    "You return a text. Tokens are asked for, in a list, each for itself."),
        ),
        otherwise="Print both what you return and encode_and_show_work(text).cut, for a short text and a long one.",
        ask=ask_lost,
    ),
    "06.6": Exercise(
        start="How many chunks does it take? And how many places has each, once it has its frame?",
        right=231,
        praise="The last chunk is filled up with padding, and the padding is read like everything else.",
        mistakes=(
            Mistake(225, "So many places are there for words. Does the U-Net see the vectors of start and end?"),
            Mistake(200, "Those are the tokens of the text. What does each chunk get around it?"),
            Mistake(202, "One start and one end for all? Each chunk is read by itself: look at the printed chunks of "
                    "section 8."),
            Mistake(206, "Start and end are there for each chunk. Is the last chunk shorter than the others?"),
            Mistake(154, "That holds the tokens of two full chunks. Where do the others go?"),
            Mistake(77, "That is one chunk. The point of chunks is that nothing is cut off."),
        ),
        otherwise="Count the ids: sum(map(len, chunked(clip_sized, ...))) with so many cats.",
        tolerance=0,
    ),
}  # fmt: skip
