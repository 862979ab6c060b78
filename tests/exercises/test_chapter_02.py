"""Chapter 02's exercises: answers of people who learn this, and the idea that each is taken for."""

import math

import pytest
import torch

from sdlearn.config import UNetConfig
from sdlearn.exercises import check
from sdlearn.exercises.chapter_02 import EXERCISES


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("02.1", 1, "the answer 0"),
        ("02.1", 0, "not the *same* noise"),
        ("02.1", math.sqrt(2), "no root"),
        ("02.1", 4, "variances add up"),
        ("02.1", 3, "torch.randn twice"),
        ("02.2", "A", "31 pictures"),
        ("02.2", "b", "the last axis"),
        ("02.2", "C", "one number"),
        ("02.2", "E", "Choose A, B, C or D"),
        ("02.2", 4, "is to be a text"),
        ("02.3", lambda x, x0, kept: x - x0, "at full size"),
        ("02.3", lambda x, x0, kept: x - kept.sqrt() * x0, "back to variance 1"),
        ("02.3", lambda x, x0, kept: (x - kept * x0) / (1 - kept), "without the roots"),
        ("02.3", lambda x, x0, kept: (x - (1 - kept).sqrt() * x0) / kept.sqrt(), "in the noise's place"),
        ("02.3", lambda x, x0, kept: (x - x0) / (1 - kept).sqrt(), "not all"),
        ("02.3", lambda x, x0, kept: (x - x0) / ((1 - kept) / kept).sqrt(), "picture of full size"),
        ("02.3", lambda x, x0, kept: x, "should be x again"),
        ("02.3", lambda x, x0: x, "Your function stopped"),
        ("02.4", 64 * 128 * 9, "the bias"),
        ("02.4", 128 * 9 + 128, "all 64 input channels"),
        ("02.4", 64 * 9 + 1, "There are 128 of them"),
        ("02.4", (64 + 128) * 9, "multiply"),
        ("02.4", (64 + 128) * 9 + 128, "multiply"),
        ("02.4", 64 * 128 + 128, "1 x 1"),
        ("02.4", 64 * 128 * 9 + 64, "each *output* channel"),
        ("02.4", 1000, "can be asked"),
        ("02.5", 4, "drawing of a U"),
        ("02.5", 3, "counted the halvings"),
        ("02.5", 8, "What else"),
        ("02.5", 11, "before the first DownBlock"),
        ("02.5", 13, "does not halve"),
        ("02.5", 9, "after halving"),
        ("02.5", 16, "How many does one UpBlock"),
        ("02.5", 7, "use up exactly"),
        ("02.6", "A", "punishes decisions"),
        ("02.6", "B", "only weights"),
        ("02.6", "D", "compared with is x0"),
        ("02.6", "cat", "Choose A, B, C or D"),
    ],
)
def test_wrong_answers_are_told_which_idea_they_are(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right
    assert words in verdict.text
    assert verdict.text != EXERCISES[name].start


def test_the_answers_are_those_of_the_programs():
    """Of the loss, of PyTorch's broadcasting and filter, and of the U-Net's own lists of skips."""
    from sdlearn.unet import UNet

    a, b = torch.randn(2, 100_000, generator=torch.Generator().manual_seed(0))
    assert (a - b).square().mean().item() == pytest.approx(EXERCISES["02.1"].right, rel=0.02)
    levels = torch.arange(32.0) * torch.ones(32, 3, 32, 32)
    assert (levels.std(dim=(0, 1, 2)) == 0).all() and (levels.std(dim=3) > 0).all()
    filters = torch.nn.Conv2d(64, 128, 3)
    assert sum(one.numel() for one in filters.parameters()) == EXERCISES["02.4"].right
    with torch.device("meta"):  # shapes alone
        unet = UNet(UNetConfig())
    made = 1 + sum(len(block.resnets) + (block.downsamplers is not None) for block in unet.down_blocks)
    assert made == sum(len(block.resnets) for block in unet.up_blocks) == EXERCISES["02.5"].right
