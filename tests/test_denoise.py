"""What the network is given, and how its answer becomes x0 and eps."""

import math

import pytest
import torch

from sdlearn.denoise import Denoiser, from_epsilon, from_v, to_v
from sdlearn.schedule import Schedule


def tensors(count, shape=(2, 3, 4, 5)):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.03, 1.0, 14.6])
def test_eps_v_and_x0_are_three_ways_to_say_the_same(sigma):
    x0, eps = tensors(2)
    x = x0 + sigma * eps
    alpha_bar = 1 / (1 + sigma**2)
    v = math.sqrt(alpha_bar) * eps - math.sqrt(1 - alpha_bar) * x0  # Salimans and Ho 2022
    torch.testing.assert_close(to_v(x0, eps, sigma), v, rtol=0, atol=1e-12)
    for got in (from_epsilon(x, sigma, eps), from_v(x, sigma, v)):
        torch.testing.assert_close(got[0], x0, rtol=0, atol=1e-12)
        torch.testing.assert_close(got[1], eps, rtol=0, atol=1e-12)


def test_the_network_sees_unit_variance_its_timestep_and_the_context():
    seen = []

    def network(x, timesteps, context):
        seen.append((x, timesteps, context))
        return x * 0 + 2.0

    schedule, context = Schedule(), torch.ones(2, 7, 3)
    (x,) = tensors(1)
    pred = Denoiser(network, schedule)(x, schedule.sigma(500), context)
    x_in, timesteps, given = seen[0]
    torch.testing.assert_close(x_in, x * float(schedule.alpha_bar[500]) ** 0.5)
    assert timesteps.tolist() == [500.0, 500.0] and timesteps.dtype == torch.float32
    assert given is context
    assert pred.timestep == pytest.approx(500)
    torch.testing.assert_close(pred.x0, x - schedule.sigma(500) * 2.0)
    Denoiser(network, schedule, timestep=lambda sigma: 33.0)(x, 1.0)
    assert seen[1][1].tolist() == [33.0, 33.0] and seen[1][2] is None


def test_prediction_types():
    (x,) = tensors(1)
    v = Denoiser(lambda x, t, c: x, Schedule(), "v_prediction")(x, 1.0)
    # v = x / sqrt(2) at sigma 1, so x0 = x / 2 - x / 2 and eps = x / 2 + x / 2.
    torch.testing.assert_close(v.x0, 0 * x, rtol=0, atol=1e-12)
    torch.testing.assert_close(v.eps, x)
    with pytest.raises(ValueError, match="'velocity'.*epsilon, v_prediction"):
        Denoiser(lambda x, t, c: x, Schedule(), "velocity")
