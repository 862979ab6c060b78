"""The exercises of chapter 08, cross-attention."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor

from sdlearn.exercises.core import Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(8)
Q = torch.randn(6, 16, generator=GENERATOR)
K, V = torch.randn(2, 4, 16, generator=GENERATOR)
SHARES = torch.rand(4, 2, 9, 5, generator=GENERATOR).softmax(dim=-1)  # two pictures, with each of two prompts


def ask_attend(function: Callable) -> Tensor:
    """Queries (6, 16), keys and values (4, 16). PyTorch's own function is not to be had."""
    ready = ValueError(
        "this is the ready-made function. Write its three lines yourself, and compare with it."
    )
    with patch("torch.nn.functional.scaled_dot_product_attention", side_effect=ready):
        try:
            return function(Q, K, V)
        except RuntimeError as error:
            if "shapes cannot be multiplied" not in str(error):
                raise
            message = f"{error}. The scores are to be (L, S), one row for each query: in which order do q and k stand?"
            raise ValueError(message) from error


def ask_edit(function: Callable) -> Tensor:
    """Weights (4, heads, places, tokens): two pictures of the old prompt, then two of the new one."""
    return function(SHARES.clone())


def scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.T / q.shape[-1] ** 0.5


EXERCISES = {
    "08.1": Exercise(
        start="Softmax: take e to the power of each score. What share of the sum has each?",
        right=17.5,
        praise="A score that is larger by ln 3 means three times the share, whatever the other scores are.",
        mistakes=(
            Mistake(20.0, "That is the value of the better key: a hard look-up. The soft one takes a share of every "
                    "value."),
            Mistake(15.0, "That is the plain mean, as if both keys fitted equally well. Which share has each?"),
            Mistake(70.0, "Those are the right proportions. But shares must sum to 1."),
            Mistake(12.5, "The right two shares, given to the wrong values: the larger score gets the larger share."),
        ),
        otherwise="Try torch.tensor([0, math.log(3)]).softmax(0): these are the shares.",
    ),
    "08.2": Exercise(
        start="Take the two loops apart: what did each line compute, and for all queries and keys at once?",
        right=lambda q, k, v: scores(q, k).softmax(dim=-1) @ v,
        praise="Three lines, and every transformer has them.",
        mistakes=(
            Mistake(lambda q, k, v: scores(q, k).softmax(dim=0) @ v,
                    "Your softmax runs over the queries: they compete for each key. It is the keys that compete for "
                    "each query. Print the sums of your shares, along both axes."),
            Mistake(lambda q, k, v: (q @ k.T).softmax(dim=-1) @ v,
                    "The scores are not divided: their spread grows with the width of the vectors, and one key takes "
                    "all."),
            Mistake(lambda q, k, v: (q @ k.T / q.shape[-1]).softmax(dim=-1) @ v,
                    "You divide by the width. A sum of d products of random numbers has a *variance* of d: what is its "
                    "spread?"),
            Mistake(lambda q, k, v: (q @ k.T).softmax(dim=-1) / q.shape[-1] ** 0.5 @ v,
                    "You divide after the softmax: then the rows no longer sum to 1. Divide the scores."),
            Mistake(lambda q, k, v: (q @ k.T / k.shape[0] ** 0.5).softmax(dim=-1) @ v,
                    "You divide by the root of the number of keys. What makes the scores large is how many products "
                    "each is the sum of."),
            Mistake(lambda q, k, v: scores(q, k) @ v,
                    "These are scores, not shares: some are negative, and a row can sum to anything."),
        ),
        otherwise="Compare with F.scaled_dot_product_attention(q, k, v): which line differs first?",
        ask=ask_attend,
    ),
    "08.3": Exercise(
        start="How many places are there? In self-attention each looks at each, and each head does so for itself.",
        right=8 * 4096**2,
        praise="In half precision a quarter of a gigabyte for one layer and one picture. Therefore nobody stores it.",
        mistakes=(
            Mistake(4096**2, "That is one head. Each has shares of its own."),
            Mistake(8 * 64**2, "You let each place look at one. Each of the 64 x 64 looks at all of them."),
            Mistake(8 * 4096 * 77, "That is the cross-attention: places look at tokens. In self-attention they look at "
                    "places."),
            Mistake(8 * 64**3, "A place is one of 64 x 64, and so is what it looks at: two numbers for each end."),
            Mistake(320 * 4096**2, "Width does not count: each score is *one* number, the sum over a head's width."),
        ),
        otherwise="An exact number, please. Who asks, how many does each ask, and which number given plays no part?",
        tolerance=0,
    ),
    "08.4": Exercise(
        start="Choose A, B, C or D. Write the output of one place as a sum: w1 v1 + w2 v2 + …, and exchange.",
        right="C",
        praise="The sum does not know an order. If keys and values move together, nothing changes at all: attention "
        "hears word order only because the text vectors hold their positions.",
        mistakes=(
            Mistake("A", "The keys, yes. But look at the sum: is there another pair whose exchange gives the same two "
                    "products?"),
            Mistake("B", "The values, yes. And where does a column of the weights come from? Exchange *that* instead."),
            Mistake("D", "If keys and values move together, each weight meets its own value again. Write the sum "
                    "down: what has changed?"),
        ),
        otherwise="Choose A, B, C or D.",
    ),
    "08.5": Exercise(
        start="Cut the batch in its two halves. What is to become of each?",
        right=lambda weights: torch.cat([weights.chunk(2)[0]] * 2),
        praise="That is the whole of prompt-to-prompt's replacement of a word.",
        mistakes=(
            Mistake(lambda weights: torch.cat([weights.chunk(2)[1]] * 2),
                    "Now the old picture looks where the new one would. The maps of the *old* prompt are to be kept."),
            Mistake(lambda weights: torch.cat(weights.chunk(2)[::-1]),
                    "You exchanged the halves: the old picture changes, too. It must stay as it is."),
            Mistake(lambda weights: (weights + torch.cat(weights.chunk(2)[::-1])) / 2,
                    "A mean of both is no keeping: and the old picture changes with it."),
            Mistake(lambda weights: weights.chunk(2)[0],
                    "The new pictures still need weights: the batch must stay as long as it was."),
            Mistake(lambda weights: weights, "Nothing is replaced: both look where they like."),
        ),
        otherwise="The answer has the shape of the weights. Its first half is the weights' first half.",
        ask=ask_edit,
    ),
    "08.6": Exercise(
        start="Four linear layers. Which of them see text vectors, and which have a bias?",
        right=2 * 320 * 320 + 2 * 768 * 320 + 320,
        praise="The number of heads does not appear: heads only cut the vectors.",
        mistakes=(
            Mistake(4 * 320 * 320 + 320, "That is the self-attention. Keys and values are made from the text here: how "
                    "wide are its vectors?"),
            Mistake(2 * 320 * 320 + 2 * 768 * 320 + 4 * 320, "Look at the class: which of the four layers has a bias?"),
            Mistake(2 * 320 * 320 + 2 * 768 * 320, "The weights are all there. One of the four layers has a bias, "
                    "too."),
            Mistake(8 * (2 * 320 * 320 + 2 * 768 * 320) + 320, "Heads do not multiply the layers: each works on its "
                    "own part of the 320 numbers."),
            Mistake(320 * 320 + 3 * 768 * 320 + 320, "One too many sees the text. Whose query is it?"),
            Mistake(320 * 320 + 3 * 768 * 320, "One too many sees the text: whose query is it? And has no layer a "
                    "bias?"),
            Mistake(4 * 320 * 320, "That is a self-attention, and without its bias. How wide are the vectors that keys "
                    "and values are made from?"),
            Mistake(320 * 320 + 2 * 768 * 320 + 320, "Three layers of four. What happens to the answers after the "
                    "heads are put side by side?"),
            Mistake(320 * 320 + 2 * 768 * 320, "Three layers of four, and no bias. What happens to the answers after "
                    "the heads are put side by side?"),
        ),
        otherwise="For each of the four layers write down: from how many numbers, to how many, with a bias or not.",
        tolerance=0,
    ),
}  # fmt: skip
