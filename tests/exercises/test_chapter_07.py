"""Chapter 07's exercises: answers of people who learn this, and the idea that each is taken for."""

import math

import pytest
import torch
from torch.nn import functional as F

from sdlearn.clip import EncoderLayer, causal_mask, contrastive_loss, pool_at_end
from sdlearn.config import CLIPTextConfig
from sdlearn.exercises import check
from sdlearn.exercises.chapter_07 import EOS, EXERCISES, HIDDEN, IDS, IMAGE, SCALE, TEXT

ROWS = torch.arange(3)


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("07.1", 32 * 33 // 2, "look at itself"),
        ("07.1", 32 * 32 / 2, "none were on the diagonal"),
        ("07.1", 32 * 31, "what came *before* it"),
        ("07.1", 31, "the first token"),
        ("07.1", 32**2, "With it no token"),
        ("07.1", 100, "Count row by row"),
        ("07.2", 0, "perfect"),
        ("07.2", 0.0078125, "-log of it"),
        ("07.2", 7, "base 2"),
        ("07.2", 2 * math.log(128), "their *mean*"),
        ("07.2", math.log(128) / 128, "once too often"),
        ("07.2", 1.0, "4 pairs"),
        ("07.3", lambda i, t, s: F.softmax(s * i @ t.T, 0).diag(), "*captions* choose"),
        ("07.3", lambda i, t, s: F.softmax(s * t @ i.T, 1).diag(), "*captions* choose"),
        ("07.3", lambda i, t, s: F.softmax(i @ t.T, 1).diag(), "scale is missing"),
        ("07.3", lambda i, t, s: F.softmax(i @ t.T / s, 1).diag(), "reciprocal"),
        ("07.3", lambda i, t, s: s * torch.einsum("bd,bd->b", i, t), "logit of each pair"),
        ("07.3", lambda i, t, s: F.softmax(s * i @ t.T, -1), "belong to the pairs"),
        ("07.3", lambda i, t, s: F.softmax(s * i @ t.T, 1).diag().log(), "logarithm of the share"),
        ("07.3", lambda i, t, s: ((s * i @ t.T).exp() / (s * i @ t.T).exp().sum()).diag(), "quiz of its own"),
        ("07.3", lambda i, t, s: -F.softmax(s * i @ t.T, 1).diag().log(), "loss of each picture"),
        ("07.3", lambda i, t, s: F.softmax(s * i @ t.T, 1).max(1).values, "likes best"),
        ("07.3", lambda i, t, s: F.softmax(s * i @ t.T, 1).T[0], "first caption"),
        ("07.3", lambda i, t, s: F.softmax(torch.tensor(s).exp() * i @ t.T, 1).diag(), "not its logarithm"),
        ("07.3", lambda i, t, s: F.softmax(i @ t.T, 1).diag() * s, "too late"),
        ("07.3", lambda i, t, s: torch.sigmoid(s * (i * t).sum(1)), "one pair alone"),
        ("07.3", lambda i, t, s: F.softmax(s * (i * t).sum(1), 0), "pairs compete"),
        ("07.3", lambda i, t, s: torch.ones(5), "sum to 1"),
        ("07.3", lambda i, t: i, "Your function stopped"),
        ("07.4", lambda h, ids, eos: h[ROWS, -1], "last place"),
        ("07.4", lambda h, ids, eos: h[ROWS, ids.max(dim=1).indices], "larger id"),
        ("07.4", lambda h, ids, eos: h.sum(1) / h.shape[1], "A mean over all places"),
        ("07.4", lambda h, ids, eos: h[(ids == eos).nonzero(as_tuple=True)], "padding included"),
        ("07.4", lambda h, ids, eos: h[:, 0], "start token"),
        ("07.4", lambda h, ids, eos: h[ROWS, (ids == eos).float().argmax(1) - 1], "last word"),
        ("07.4", lambda h, ids, eos: h[ROWS, (ids == eos).sum(1)], "counted the end tokens"),
        ("07.4", lambda h, ids, eos: h[:, 1], "pool_at_end"),
        ("07.4", lambda h, ids, eos: (ids == eos).int().argmax(1), "shape"),
        ("07.5", "A", "has an id"),
        ("07.5", "b", "saw only itself"),
        ("07.5", "D", "which mask"),
        ("07.5", "E", "Choose A, B, C or D"),
        ("07.6", 4 * 128**2 + 2 * 128 * 512, "Those are the matrices"),
        ("07.6", 198272 - 512, "two norms"),
        ("07.6", 198272 - 128**2 - 128, "one behind it"),
        ("07.6", 198272 + 9 * (128**2 + 128), "not four full copies"),
        ("07.6", 4 * 128**2 + 2 * 128 * 512 + 512, "biases are missing"),
        ("07.6", 198272 - 256, "Half of the norms"),
        ("07.6", 1000, "small part"),
    ],
)
def test_wrong_answers_are_told_which_idea_they_are(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right
    assert words in verdict.text
    assert verdict.text != EXERCISES[name].start


def test_the_answers_are_those_of_the_programs():
    """Of the mask, the loss, the pooling and the layer themselves."""
    mask = causal_mask(32, torch.float32, torch.device("cpu"))
    assert mask.isinf().sum() == EXERCISES["07.1"].right
    same = torch.ones(128, 4) / 2
    assert contrastive_loss(same, same, 30.0).item() == pytest.approx(EXERCISES["07.2"].right)
    shares = EXERCISES["07.3"].right(IMAGE, TEXT, SCALE), EXERCISES["07.3"].right(TEXT, IMAGE, SCALE)
    half = [-share.log().mean().item() for share in shares]
    assert sum(half) / 2 == pytest.approx(contrastive_loss(IMAGE, TEXT, SCALE).item())
    assert torch.equal(EXERCISES["07.4"].right(HIDDEN, IDS, EOS), pool_at_end(HIDDEN, IDS, EOS))
    layer = EncoderLayer(CLIPTextConfig(hidden_size=128, intermediate_size=512, num_attention_heads=4))
    assert sum(p.numel() for p in layer.parameters()) == EXERCISES["07.6"].right
