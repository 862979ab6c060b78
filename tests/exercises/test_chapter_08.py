"""Chapter 08's exercises: answers of people who learn this, and the idea that each is taken for."""

import math

import pytest
import torch
from torch.nn import functional as F

from sdlearn.attention import Attention
from sdlearn.exercises import check
from sdlearn.exercises.chapter_08 import EXERCISES, SHARES, K, Q, V


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("08.1", 20, "a hard look-up"),
        ("08.1", (10 + 20) / 2, "the plain mean"),
        ("08.1", 1 * 10 + 3 * 20, "must sum to 1"),
        ("08.1", 0.75 * 10 + 0.25 * 20, "wrong values"),
        ("08.1", 30, "softmax(0)"),
        ("08.2", lambda q, k, v: torch.softmax(q @ k.mT / 4, 0) @ v, "compete for each key"),
        ("08.2", lambda q, k, v: F.softmax(q @ k.mT, -1) @ v, "not divided"),
        ("08.2", lambda q, k, v: F.softmax(q @ k.mT / 16, -1) @ v, "its spread"),
        ("08.2", lambda q, k, v: (F.softmax(q @ k.mT, -1) @ v) / 4, "after the softmax"),
        ("08.2", lambda q, k, v: F.softmax(q @ k.mT / 2, -1) @ v, "number of keys"),
        ("08.2", lambda q, k, v: q @ k.mT / 4 @ v, "not shares"),
        ("08.2", lambda q, k, v: q, "differs first"),
        ("08.2", lambda q, k: q, "Your function stopped"),
        ("08.2", lambda q, k, v: F.scaled_dot_product_attention(q, k, v), "ready-made"),
        ("08.2", lambda q, k, v: (k @ q.T / 4).softmax(-1) @ v, "in which order"),
        ("08.3", 64**4, "one head"),
        ("08.3", 8 * 64 * 64, "look at one"),
        ("08.3", 64 * 64 * 77 * 8, "cross-attention"),
        ("08.3", 64 * 64 * 64 * 8, "each end"),
        ("08.3", 64**4 * 320, "Width does not count"),
        ("08.3", 5, "plays no part"),
        ("08.3", 134.2e6, "exact number"),
        ("08.4", "a", "another pair"),
        ("08.4", "B", "come from"),
        ("08.4", "D", "own value again"),
        ("08.4", "E", "Choose A, B, C or D"),
        ("08.5", lambda w: w[2:].repeat(2, 1, 1, 1), "*old* prompt"),
        ("08.5", lambda w: w.roll(2, 0), "exchanged the halves"),
        ("08.5", lambda w: (w + w.roll(2, 0)) / 2, "no keeping"),
        ("08.5", lambda w: w[:2], "as long as it was"),
        ("08.5", lambda w: w * 1, "Nothing is replaced"),
        ("08.5", lambda w: w * 2, "first half"),
        ("08.6", 4 * 320**2 + 320, "how wide"),
        ("08.6", 696_320 + 1280, "has a bias?"),
        ("08.6", 696_320, "One of the four"),
        ("08.6", 8 * 696_320 + 320, "do not multiply"),
        ("08.6", 102_400 + 3 * 245_760 + 320, "One too many"),
        ("08.6", 409_600, "without its bias"),
        ("08.6", 102_400 + 3 * 245_760, "whose query"),
        ("08.6", 593_920 + 320, "Three layers of four. What"),
        ("08.6", 593_920, "and no bias. What"),
        ("08.6", 320, "from how many numbers"),
    ],
)
def test_wrong_answers_are_told_which_idea_they_are(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right
    assert words in verdict.text
    assert verdict.text != EXERCISES[name].start


def test_the_answers_are_those_of_the_programs():
    shares = torch.tensor([0, math.log(3)]).softmax(dim=0)
    assert (shares @ torch.tensor([10.0, 20.0])).item() == pytest.approx(EXERCISES["08.1"].right)
    torch.testing.assert_close(
        EXERCISES["08.2"].right(Q, K, V), F.scaled_dot_product_attention(Q[None], K[None], V[None])[0]
    )
    layer = Attention(320, 8, 768)
    assert sum(one.numel() for one in layer.parameters()) == EXERCISES["08.6"].right
    kept = EXERCISES["08.5"].right(SHARES)
    assert torch.equal(kept[:2], SHARES[:2]) and torch.equal(kept[2:], SHARES[:2])


def test_exchanged_columns_are_exchanged_keys_or_exchanged_values():
    other = [1, 0, 2, 3]
    weights = (Q @ K.T / 4).softmax(dim=-1)
    columns = weights[:, other] @ V
    torch.testing.assert_close(columns, (Q @ K[other].T / 4).softmax(dim=-1) @ V)
    torch.testing.assert_close(columns, weights @ V[other])
    torch.testing.assert_close(weights @ V, (Q @ K[other].T / 4).softmax(dim=-1) @ V[other])
