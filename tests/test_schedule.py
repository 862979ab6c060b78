"""Noise tables to the published digits, the spacings, and the two scalings of a noisy picture."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sdlearn import plan, spacing
from sdlearn.config import ScheduleConfig
from sdlearn.schedule import Schedule

# Stable Diffusion 1.x: t, alpha_bar, sigma (computed from the published settings in float64).
SD1_TABLE = [
    (0, 0.999150000, 0.0291672),
    (1, 0.998296028, 0.0413144),
    (21, 0.980380748, 0.1414633),
    (261, 0.655669333, 0.7246786),
    (500, 0.276332684, 1.6182788),
    (741, 0.060355572, 3.9456911),
    (951, 0.008155005, 11.0283312),
    (981, 0.005775500, 13.1204107),
    (999, 0.004660099, 14.6146412),
]


@pytest.mark.parametrize("t, alpha_bar, sigma", SD1_TABLE)
def test_tables_of_stable_diffusion_1(t, alpha_bar, sigma):
    schedule = Schedule()
    assert schedule.alpha_bar.dtype == schedule.sigmas.dtype == torch.float64
    assert float(schedule.alpha_bar[t]) == pytest.approx(alpha_bar, abs=6e-10)
    assert schedule.sigma(t) == pytest.approx(sigma, abs=6e-8)
    assert schedule.snr(t) == pytest.approx(alpha_bar / (1 - alpha_bar), rel=1e-5)


def test_other_beta_schedules():
    linear = Schedule(replace(ScheduleConfig(), beta_schedule="linear"))
    assert linear.sigma(999) == pytest.approx(25.1, abs=0.05)  # the mistake that is seen at once
    cosine = Schedule(replace(ScheduleConfig(), beta_schedule="squaredcos_cap_v2"))
    whole = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    half = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2
    assert float(cosine.alpha_bar[499]) == pytest.approx(half / whole, rel=1e-12)
    assert float(cosine.betas[999]) == 0.999
    with pytest.raises(ValueError, match="'sigmoid'.*scaled_linear"):
        Schedule(replace(ScheduleConfig(), beta_schedule="sigmoid"))


def test_sigma_between_timesteps_and_back():
    schedule = Schedule()
    assert schedule.sigma(500.25) == pytest.approx(0.75 * schedule.sigma(500) + 0.25 * schedule.sigma(501))
    torch.testing.assert_close(schedule.sigma(torch.tensor([3, 999])), schedule.sigmas[[3, 999]])
    for t in (0, 1, 21, 500, 999):
        assert schedule.sigma_to_t(schedule.sigma(t)) == pytest.approx(t, abs=1e-9)
    between = math.sqrt(schedule.sigma(10) * schedule.sigma(11))  # halfway in the logarithm
    assert schedule.sigma_to_t(between) == pytest.approx(10.5)
    assert schedule.sigma_to_t(0.0) == 0 and schedule.sigma_to_t(1e6) == 999


@pytest.mark.parametrize(
    "function, steps, first, last",
    [
        (spacing.leading, 50, [981, 961], [21, 1]),
        (spacing.leading, 20, [951, 901], [51, 1]),
        (spacing.leading, 7, [853, 711], [143, 1]),
        (spacing.trailing, 50, [999, 979], [39, 19]),
        (spacing.trailing, 7, [999, 856], [285, 142]),
        (spacing.linspace, 50, [999, 999 - 999 / 49], [999 / 49, 0]),
        (plan.rounded_linspace, 50, [999, 979], [20, 0]),
        (plan.open_linspace, 50, [999, 979], [40, 20]),
        (plan.open_leading, 20, [941, 894], [95, 48]),
    ],
)
def test_spacings(function, steps, first, last):
    timesteps = function(steps, 1000, 1)
    assert len(timesteps) == steps
    np.testing.assert_allclose([*timesteps[:2], *timesteps[-2:]], [*first, *last], rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 500, 501, 999, 1000])
@pytest.mark.parametrize("name", ["leading", "trailing", "linspace", "rounded_linspace", "open_linspace"])
def test_spacings_stay_in_the_table_and_fall(name, steps):
    timesteps = getattr(spacing if hasattr(spacing, name) else plan, name)(steps, 1000, 1)
    assert timesteps.max() <= 999 and timesteps.min() >= 0
    assert (np.diff(timesteps) < 0).all()


def test_karras_levels():
    levels = spacing.karras(0.1, 10.0, 5)
    assert levels[0] == pytest.approx(10) and levels[-1] == pytest.approx(0.1)
    np.testing.assert_allclose(np.diff(levels ** (1 / 7)), np.diff(levels ** (1 / 7))[0], rtol=1e-9)


def test_noise_and_the_two_scalings():
    schedule = Schedule()
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 3, 4, 5, 6, generator=generator, dtype=torch.float64)
    t = torch.tensor([20, 800, 999])
    x = schedule.add_noise(x0, noise, schedule.sigma(t))
    alpha_bar = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    expected = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise  # Ho et al. 2020, eq. 4
    vp = schedule.to_vp(x, schedule.sigma(t))
    torch.testing.assert_close(vp, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(schedule.from_vp(vp, schedule.sigma(t)), x, rtol=1e-12, atol=0)
    one = schedule.add_noise(x0[:1], noise[:1], schedule.sigma(20))
    torch.testing.assert_close(one, x[:1], rtol=1e-12, atol=0)
