"""Guidance: its formula, its sign, its batch order and its special scales; a classifier's gradient against Bayes."""

import math

import pytest
import torch

from sdlearn.denoise import Denoiser
from sdlearn.guidance import classifier_free_guidance, classifier_guidance
from sdlearn.samplers import euler
from sdlearn.schedule import Schedule
from sdlearn.trace import Prediction

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


# Classifier guidance, in a world where every density is known: two Gaussian classes in the plane.

MIDDLES = torch.tensor([[1.0, 0.5], [-0.7, 0.2]], dtype=torch.float64)
SPREAD = 0.6


def log_classes(x, sigma):
    return -((x[:, None] - MIDDLES) ** 2).sum(-1) / (2 * (SPREAD**2 + sigma**2))


def of_mixture(weights):
    def denoise(x, sigma):
        eps = sigma * (x - weights(x, sigma) @ MIDDLES) / (SPREAD**2 + sigma**2)
        return Prediction(x - sigma * eps, eps, timestep=17.0)

    return denoise


anything = of_mixture(lambda x, sigma: log_classes(x, sigma).softmax(1))
first = of_mixture(lambda x, sigma: torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(x), 2))


def log_first(x, sigma):
    return log_classes(x, sigma).log_softmax(1)[:, 0]


@pytest.mark.parametrize("sigma", [0.05, 1.0, 12.0])
def test_a_classifiers_gradient_leads_to_the_class_as_bayes_says(sigma):
    points = 3 * torch.randn(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():  # as samplers run
        found = {s: classifier_guidance(anything, log_first, s)(points, sigma) for s in (0, 1, 4)}
    with_class, without = first(points, sigma).eps, anything(points, sigma).eps
    for scale, pred in found.items():
        wanted = without + scale * (with_class - without)
        torch.testing.assert_close(pred.eps, wanted, rtol=0, atol=1e-9)
        torch.testing.assert_close(pred.x0, points - sigma * wanted, rtol=0, atol=1e-9)
        torch.testing.assert_close(pred.eps_cond, with_class, rtol=0, atol=1e-9)
        assert torch.equal(pred.eps_uncond, without) and pred.timestep == 17.0
        assert not pred.eps.requires_grad
    assert not points.requires_grad


def test_a_guided_sampler_ends_in_the_class():
    start = 10 * torch.randn(200, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for step in euler(
        classifier_guidance(anything, log_first, 2), start, [10, 5, 2.5, 1.2, 0.6, 0.3, 0.1, 0.0]
    ):
        end = step.x_next
    assert log_first(end, 0.0).exp().min() > 0.5


@pytest.mark.parametrize("scale", [-1.0, math.nan])
def test_impossible_scales_of_a_classifier(scale):
    with pytest.raises(ValueError, match="guidance_scale must be a finite number >= 0"):
        classifier_guidance(anything, log_first, scale)


@pytest.mark.parametrize(
    ("fit", "got"),
    [
        (log_classes, r"\(2, 2\), with a"),  # both classes
        (lambda x, sigma: log_first(x, sigma).sum(), r"\(\), with a"),
        (lambda x, sigma: log_first(x, sigma)[:1], r"\(1,\), with a"),
        (torch.no_grad()(log_first), r"\(2,\), without a"),
        (lambda x, sigma: torch.zeros(len(x)), r"\(2,\), without a"),
    ],
)
def test_a_classifier_must_give_one_number_for_each_x(fit, got):
    with pytest.raises(ValueError, match=f"a number with a gradient for each of the 2 x; got {got} gradient"):
        classifier_guidance(anything, fit, 2)(torch.ones(2, 2, dtype=torch.float64), 1.0)
