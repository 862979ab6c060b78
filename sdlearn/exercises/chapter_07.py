"""The exercises of chapter 07, CLIP."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from sdlearn.exercises.core import Exercise, Mistake

GENERATOR = torch.Generator().manual_seed(7)
IMAGE, TEXT = F.normalize(torch.randn(2, 5, 8, generator=GENERATOR), dim=-1)
SCALE = 6.0
HIDDEN = torch.randn(3, 7, 4, generator=GENERATOR)
EOS = 20
IDS = torch.tensor(  # 25 and 31 are larger than the end token
    [[1, 25, 3, EOS, EOS, EOS, EOS], [1, 4, 31, 9, 2, EOS, EOS], [1, 5, 25, 8, EOS, EOS, EOS]]
)


def ask_share(function: Callable) -> Tensor:
    """What each of five pictures gives to its own caption."""
    return function(IMAGE, TEXT, SCALE)


def ask_end(function: Callable) -> Tensor:
    """The vectors of three sentences of different length."""
    return function(HIDDEN, IDS, EOS)


def first_end(hidden: Tensor, ids: Tensor, eos: int) -> Tensor:
    """The right answer to 07.4."""
    return hidden[torch.arange(len(ids)), (ids == eos).int().argmax(dim=1)]


EXERCISES = {
    "07.1": Exercise(
        start="Draw the mask for 3 places. Which entries are forbidden?",
        right=496,
        praise="Half of what is off the diagonal: each pair of places looks in one direction only.",
        mistakes=(
            Mistake(528, "You counted the diagonal among the forbidden ones, or counted the allowed ones. May a token "
                    "look at itself? Look at the figure of the mask in section 3."),
            Mistake(512, "Half of all entries would be right if none were on the diagonal. Try it with 3 places."),
            Mistake(992, "That is all of the mask but the diagonal. A token may look at what came *before* it."),
            Mistake(31, "That is what the first token may not see. The others must not look ahead either."),
            Mistake(1024, "That is all of the mask. With it no token could look anywhere, not even at itself."),
        ),
        otherwise="Count row by row: how many places lie after the first, after the second, and so on?",
        tolerance=0,
    ),
    "07.2": Exercise(
        start="All logits are equal. What does a softmax make of 128 equal numbers?",
        right=math.log(128),
        praise="Who knows nothing guesses one of 128. Above that a loss is worse than knowing nothing.",
        mistakes=(
            Mistake(0.0, "A loss of 0 is perfect. Here each caption fits each picture equally well: what share has the "
                    "right one?"),
            Mistake(1 / 128, "That is the share of the right caption. The loss is -log of it."),
            Mistake(math.log2(128), "You took the logarithm to the base 2. Cross-entropy in PyTorch takes the natural "
                    "one."),
            Mistake(2 * math.log(128), "Both directions count, but the loss is their *mean*."),
            Mistake(math.log(128) / 128, "Divided once too often: the mean over the pictures is already that of 128 "
                    "equal numbers."),
        ),
        otherwise="Begin with 4 pairs. Which share has each caption, and what is -log of it? Give four digits.",
    ),
    "07.3": Exercise(
        start="First the matrix of all logits. Along which axis does a picture choose?",
        right=lambda image, text, scale: (scale * image @ text.T).softmax(dim=1).diagonal(),
        praise="The mean of -log of it is the first of the two cross-entropies. The loss is the mean of both.",
        mistakes=(
            Mistake(lambda image, text, scale: (scale * image @ text.T).softmax(dim=0).diagonal(),
                    "Here the *captions* choose among the pictures. Pictures are in the rows: what has to sum to 1?"),
            Mistake(lambda image, text, scale: (image @ text.T).softmax(dim=1).diagonal(),
                    "The scale is missing. Cosines lie between -1 and 1: without it all shares are nearly equal."),
            Mistake(lambda image, text, scale: (image @ text.T / scale).softmax(dim=1).diagonal(),
                    "A temperature would divide. This is its reciprocal: in CLIP.forward the scale makes cosines "
                    "*larger*."),
            Mistake(lambda image, text, scale: scale * (image * text).sum(dim=1),
                    "That is the logit of each pair. A share needs the other captions, too."),
            Mistake(lambda image, text, scale: (scale * image @ text.T).softmax(dim=1),
                    "These are the shares of all captions. Which of them belong to the pairs?"),
            Mistake(lambda image, text, scale: (scale * image @ text.T).log_softmax(dim=1).diagonal(),
                    "That is the logarithm of the share, as in the loss."),
            Mistake(lambda image, text, scale: -(scale * image @ text.T).log_softmax(dim=1).diagonal(),
                    "That is the loss of each picture, -log of the share. The share itself lies between 0 and 1."),
            Mistake(lambda image, text, scale: (scale * image @ text.T).softmax(dim=1).amax(dim=1),
                    "That is the share of the caption that each picture likes best. Is it always its own?"),
            Mistake(lambda image, text, scale: (scale * image @ text.T).softmax(dim=1)[:, 0],
                    "That is the share of the first caption, for all pictures. Whose own is it?"),
            Mistake(lambda image, text, scale: (math.exp(scale) * image @ text.T).softmax(dim=1).diagonal(),
                    "You are given the scale, not its logarithm. CLIP.forward has taken exp already."),
            Mistake(lambda image, text, scale: scale * (image @ text.T).softmax(dim=1).diagonal(),
                    "The scale stretches the cosines. Behind the softmax it comes too late, and shares exceed 1."),
            Mistake(lambda image, text, scale: (scale * image @ text.T).sigmoid().diagonal(),
                    "A sigmoid looks at one pair alone. In a quiz all captions compete for one whole."),
            Mistake(lambda image, text, scale: (scale * image @ text.T).diagonal().softmax(dim=0),
                    "Here the pairs compete with each other. Who are a picture's rivals: pairs, or captions?"),
            Mistake(lambda image, text, scale: (scale * image @ text.T).flatten().softmax(0).view(5, 5).diagonal(),
                    "One softmax over the whole matrix lets the pictures compete with each other. Each picture has a "
                    "quiz of its own."),
        ),
        otherwise="Test yourself: the shares that one picture gives to all captions sum to 1. You want its *own*.",
        ask=ask_share,
    ),
    "07.4": Exercise(
        start="Where in a row of ids does the end token stand for the first time? `(ids == eos).int()` is a row "
        "of zeros and ones.",
        right=first_end,
        praise="argmax returns the first of equal values, so the padding behind does no harm.",
        mistakes=(
            Mistake(lambda hidden, ids, eos: hidden[:, -1],
                    "That is the last place of all: padding. It has seen the sentence, too, but CLIP was not trained "
                    "to put the summary there. Print the ids of a short sentence."),
            Mistake(lambda hidden, ids, eos: hidden[torch.arange(len(ids)), ids.argmax(dim=1)],
                    "ids.argmax works as long as no token has a larger id than the end token. It is so in CLIP's "
                    "published vocabulary, until somebody adds a token. Compare with eos instead."),
            Mistake(lambda hidden, ids, eos: hidden[ids == eos],
                    "Those are the vectors of all end tokens, padding included. Only the first of each row is wanted."),
            Mistake(lambda hidden, ids, eos: hidden.mean(dim=1),
                    "A mean over all places: most of them are words that have not seen the rest, or padding."),
            Mistake(lambda hidden, ids, eos: hidden[:, 0],
                    "The first place is the start token. Who can see it, and whom can it see? Look at row one of the "
                    "mask."),
            Mistake(lambda hidden, ids, eos: hidden[torch.arange(len(ids)), (ids == eos).int().argmax(dim=1) - 1],
                    "One place too early: that is the last word."),
            Mistake(lambda hidden, ids, eos: hidden[torch.arange(len(ids)), (ids == eos).int().sum(dim=1)],
                    "You counted the end tokens. How many there are says how much padding there is, not where it "
                    "begins."),
        ),
        otherwise="Compare with pool_at_end(hidden, ids, eos) for two sentences of different length.",
        ask=ask_end,
    ),
    "07.5": Exercise(
        start="Choose A, B, C or D. Look at the padding's column in section 1.",
        right="C",
        praise="They are computed like all others, and stand behind the words. The probes of section 9 can read nearly "
        "everything off them.",
        mistakes=(
            Mistake("A", "The padding has an id, so it has a row in the table, and goes through all layers. Print the "
                    "vector at place 20."),
            Mistake("B", "That would be so if a token saw only itself. Compare tower(ids_of(['a cat'])) and "
                    "tower(ids_of([''])) at place 20."),
            Mistake("D", "Some models have such a mask. Look at CLIPTextModel: which mask is there, and what does it "
                    "hide?"),
        ),
        otherwise="Choose A, B, C or D.",
    ),
    "07.6": Exercise(
        start="Four linear layers of attention, two of the small network, two norms. A linear layer has weights and a "
        "bias.",
        right=198272,
        praise="The heads cost nothing: they share the width. Four such layers make up most of the tower.",
        mistakes=(
            Mistake(196608, "Those are the matrices. Each linear layer has a bias, and a norm has a factor and a bias "
                    "for each number."),
            Mistake(197760, "Nearly: the two norms have parameters, too."),
            Mistake(181760, "You counted three linear layers in the attention. There is one behind it, too."),
            Mistake(346880, "Each head has a part of q, k and v of its own, not four full copies: x.view(...) in "
                    "SelfAttention splits the width."),
            Mistake(197120, "The biases are missing. Print the names: [name for name, _ in layer.named_parameters()]."),
            Mistake(198016, "Half of the norms is missing: there are two, and each has a factor and a bias for each of "
                    "128 numbers."),
        ),
        otherwise="Begin with a small part: how many parameters has nn.Linear(2, 3), how many nn.LayerNorm(2)?",
        tolerance=0,
    ),
}  # fmt: skip
