"""Classifier-free guidance: its formula, its sign, its batch order and its two special scales."""

import math

import pytest
import torch

from sdlearn.denoise import Denoiser
from sdlearn.guidance import classifier_free_guidance
from sdlearn.schedule import Schedule

CALLS = []


def network(x, timesteps, context):
    """Answers with the context's number, and remembers what it was asked."""
    CALLS.append((x, context))
    return 0.1 * x + context[:, :1, :1, None]


COND, UNCOND = torch.full((2, 3, 4), 5.0), torch.full((2, 3, 4), 2.0)


@pytest.fixture
def denoise():
    CALLS.clear()
    return Denoiser(network, Schedule())


@pytest.fixture
def x():
    return torch.randn(2, 4, 6, 3, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("scale", [0.5, 2, 7.5])
def test_formula_sign_and_batch_order(denoise, x, scale):
    sigma = 2.0
    pred = classifier_free_guidance(denoise, COND, UNCOND, scale)(x, sigma)
    common = 0.1 * x / math.sqrt(5)
    torch.testing.assert_close(pred.eps_uncond, common + 2.0)
    torch.testing.assert_close(pred.eps_cond, common + 5.0)
    torch.testing.assert_close(pred.eps, common + 2.0 + scale * 3.0)  # away from uncond, towards cond
    torch.testing.assert_close(pred.x0, x - sigma * pred.eps)
    assert len(CALLS) == 1  # one forward pass of [uncond, cond]
    given, context = CALLS[0]
    assert torch.equal(given[:2], given[2:])
    assert torch.equal(context, torch.cat([UNCOND, COND]))
    assert pred.timestep == denoise(x, sigma, COND).timestep


def test_scale_one_asks_only_with_the_prompt_and_zero_only_without(denoise, x):
    cases = [(1, COND, None, COND), (0, None, UNCOND, UNCOND), (1.0, COND, UNCOND, COND)]
    for scale, cond, uncond, used in cases:
        CALLS.clear()
        pred = classifier_free_guidance(denoise, cond, uncond, scale)(x, 1.0)
        assert [context is used for _, context in CALLS] == [True]
        torch.testing.assert_close(pred.eps, denoise(x, 1.0, used).eps)
        assert (pred.eps_cond is None) == (scale == 0) and (pred.eps_uncond is None) == (scale == 1)


@pytest.mark.parametrize("scale", [math.nan, math.inf, -1.0, -1e-9])
def test_impossible_scales(denoise, scale):
    with pytest.raises(ValueError, match="guidance_scale must be a finite number >= 0"):
        classifier_free_guidance(denoise, COND, UNCOND, scale)


@pytest.mark.parametrize("scale", ["7.5", None, True, [7.5]])
def test_scales_of_a_wrong_type(denoise, scale):
    with pytest.raises(TypeError, match="guidance_scale must be a number"):
        classifier_free_guidance(denoise, COND, UNCOND, scale)
