"""Samplers against textbook formulas and against an exact solution; noise levels; what a Step holds."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from sdlearn import samplers, samplers_more
from sdlearn.config import ScheduleConfig
from sdlearn.denoise import Denoiser
from sdlearn.plan import SAMPLERS, default_sampler, get_sampler, make_plan
from sdlearn.schedule import Schedule
from sdlearn.trace import Prediction

SHAPE = (2, 4, 3, 5)


def draw(seed, shape=SHAPE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noises(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def smooth_network(x, timesteps, context=None):
    t = timesteps.double().reshape(-1, 1, 1, 1)
    return 0.7 * x + 0.3 * torch.tanh(x.roll(1, dims=3) + torch.cos(t / 100))


def plan_and_denoise(name, steps, network=smooth_network, config=ScheduleConfig()):  # noqa: B008
    schedule = Schedule(config)
    plan = make_plan(SAMPLERS[name], schedule, steps)
    return plan, Denoiser(network, schedule, timestep=plan.timestep), schedule


def run(name, steps, x, noise=None):
    plan, denoise, schedule = plan_and_denoise(name, steps)
    return list(SAMPLERS[name].run(denoise, x * plan.start, plan.sigmas, noise or noises(0))), schedule


# --- the textbook, in alpha_bar notation ---


def alpha_bars(timesteps, last):
    alpha_bar = Schedule().alpha_bar
    return [*(float(alpha_bar[t]) for t in timesteps), last]


@pytest.mark.parametrize("steps", [2, 7, 50])
def test_ddim_is_euler(steps):
    """Song, Meng, Ermon 2020, eq. 12 with eta = 0, written out."""
    timesteps = [1 + i * (1000 // steps) for i in reversed(range(steps))]
    levels = alpha_bars(timesteps, last=float(Schedule().alpha_bar[0]))
    x = start = draw(1)
    ours, schedule = run("ddim", steps, start)
    for step, t, (here, there) in zip(ours, timesteps, pairwise(levels), strict=True):
        eps = smooth_network(x, torch.tensor([t, t]))
        x0 = (x - math.sqrt(1 - here) * eps) / math.sqrt(here)
        x = math.sqrt(there) * x0 + math.sqrt(1 - there) * eps
        assert step.timestep == t
        torch.testing.assert_close(step.pred.x0, x0, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(schedule.to_vp(step.x_next, step.sigma_next), x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("steps", [2, 7, 50])
def test_ddpm_is_ancestral_euler(steps):
    """Ho et al. 2020, eq. 7: mean and variance of the step back, with x0 put in its place."""
    timesteps = [1 + i * (1000 // steps) for i in reversed(range(steps))]
    x, noise = draw(2), noises(5)
    ours, schedule = run("ddpm", steps, draw(2), noises(5))
    for step, t, (here, there) in zip(
        ours, timesteps, pairwise(alpha_bars(timesteps, last=1.0)), strict=True
    ):
        x0 = (x - math.sqrt(1 - here) * smooth_network(x, torch.tensor([t, t]))) / math.sqrt(here)
        alpha = here / there
        beta = 1 - alpha
        mean = (math.sqrt(there) * beta * x0 + math.sqrt(alpha) * (1 - there) * x) / (1 - here)
        x = mean + math.sqrt(beta * (1 - there) / (1 - here)) * noise()
        torch.testing.assert_close(schedule.to_vp(step.x_next, step.sigma_next), x, rtol=1e-10, atol=1e-10)


def test_eta_between_ddim_and_ddpm():
    """Song, Meng, Ermon 2020, eq. 12 and 16, one step at eta = 0.4; eta = 0 is Euler, without noise."""
    here, there, eta = 0.3, 0.8, 0.4
    sigmas = [math.sqrt((1 - level) / level) for level in (here, there)]
    x, eps, fresh = draw(3), draw(4), draw(5)
    denoise = lambda x, sigma: Prediction(x - sigma * eps, eps)  # noqa: E731
    s = eta * math.sqrt((1 - there) / (1 - here)) * math.sqrt(1 - here / there)
    x0 = (x - math.sqrt(1 - here) * eps) / math.sqrt(here)
    expected = math.sqrt(there) * x0 + math.sqrt(1 - there - s**2) * eps + s * fresh
    (step,) = samplers.euler_ancestral(denoise, x / math.sqrt(here), sigmas, lambda: fresh, eta=eta)
    torch.testing.assert_close(step.x_next * math.sqrt(there), expected, rtol=1e-10, atol=1e-10)
    (plain,) = samplers.euler(denoise, x, sigmas)
    (zero,) = samplers.euler_ancestral(denoise, x, sigmas, None, eta=0)
    torch.testing.assert_close(zero.x_next, plain.x_next, rtol=1e-12, atol=0)


# --- a world where the answer is known: pictures drawn from N(0, SPREAD^2) ---

SPREAD = 0.7


def ideal(x, sigma):
    """The best possible denoiser for that world, and so the exact direction field."""
    return Prediction(x * SPREAD**2 / (SPREAD**2 + sigma**2), x * sigma / (SPREAD**2 + sigma**2))


def error(method, number):
    """Largest error at sigma 0.5 after ``number`` steps from 5 (even in sigma, or in log for DPM-Solver)."""
    ramp = torch.linspace(0, 1, number + 1, dtype=torch.float64)
    even = 5 + ramp * (0.5 - 5)
    sigmas = (5 * 0.1**ramp if method is samplers.dpmpp_2m else even).tolist()
    x = draw(6)
    *_, last = method(ideal, x, sigmas)
    exact = x * math.sqrt((SPREAD**2 + 0.5**2) / (SPREAD**2 + 5**2))
    return float((last.x_next - exact).abs().max())


@pytest.mark.parametrize(
    "method, order",
    [(samplers.euler, 1), (samplers.heun, 2), (samplers.dpmpp_2m, 2), (samplers.pndm, 3)],
)
def test_order_of_convergence(method, order):
    """Twice as many steps divide the error by 2^order. PNDM reaches 4 but for its start, a Heun step."""
    assert error(method, 320) < 1e-2
    assert math.log2(error(method, 320) / error(method, 640)) > order - 0.1


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_fresh_noise_keeps_the_right_spread(eta):
    """A stochastic sampler ends with pictures as spread as the data's, whatever eta."""
    generator = torch.Generator().manual_seed(8)
    noise = lambda: torch.randn(20_000, generator=generator, dtype=torch.float64)  # noqa: E731
    sigmas = [*(10 * 0.001 ** (i / 600) for i in range(601)), 0.0]
    *_, last = samplers.euler_ancestral(ideal, noise() * math.sqrt(10**2 + SPREAD**2), sigmas, noise, eta=eta)
    assert float(last.x_next.std()) == pytest.approx(SPREAD, rel=0.02)


@pytest.mark.parametrize("method", [samplers.euler, samplers.heun, samplers.pndm, samplers.dpmpp_2m])
def test_the_last_step_to_zero_gives_x0(method):
    *_, last = method(ideal, draw(9), [3.0, 2.0, 1.0, 0.0])
    assert torch.isfinite(last.x_next).all()
    if method is not samplers.pndm:  # which extrapolates there too
        torch.testing.assert_close(last.x_next, last.pred.x0, rtol=1e-12, atol=1e-12)


# --- steps ---


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_are_chained_and_nothing_is_changed_in_place(name):
    outputs, copies = [], []

    def network(x, timesteps, context=None):
        outputs.append(smooth_network(x, timesteps))
        copies.append(outputs[-1].clone())
        return outputs[-1]

    plan, denoise, _ = plan_and_denoise(name, 6, network)
    start = draw(10)
    before, seen, kept = start.clone(), [], []
    for step in SAMPLERS[name].run(denoise, start, plan.sigmas, noises(1)):
        seen.append(step)
        kept.append([t.clone() for t in (step.x, step.x_next, step.pred.x0, step.pred.eps)])
    assert torch.equal(start, before) and seen[0].x is start
    for step, copy in zip(seen, kept, strict=True):  # looked at again after the run
        for tensor, was in zip((step.x, step.x_next, step.pred.x0, step.pred.eps), copy, strict=True):
            assert torch.equal(tensor, was) and tensor._version == 0
    assert all(torch.equal(a, b) for a, b in zip(outputs, copies, strict=True))
    assert [step.i for step in seen] == list(range(6))
    assert [(step.sigma, step.sigma_next) for step in seen] == list(pairwise(plan.sigmas))
    assert [step.timestep for step in seen] == list(plan.timesteps)
    assert all(here.x_next is there.x for here, there in pairwise(seen))
    assert not any(torch.equal(step.x, step.x_next) for step in seen)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_network_calls(name, steps):
    asked = []

    def network(x, timesteps, context=None):
        asked.append(float(timesteps[0]))
        return x

    plan, denoise, _ = plan_and_denoise(name, steps, network)
    list(SAMPLERS[name].run(denoise, draw(11), plan.sigmas, noises(1)))
    assert len(asked) == {"heun": 2 * steps - 1, "pndm": steps + (steps > 1)}.get(name, steps)
    if name == "pndm" and steps == 6:  # the doubled timestep
        assert asked == [831, 665, 665, 499, 333, 167, 1]


def test_samplers_are_lazy():
    asked = []
    plan, denoise, _ = plan_and_denoise("euler", 10, lambda x, t, c: asked.append(t) or x)
    steps = samplers.euler(denoise, draw(12), plan.sigmas)
    assert asked == []
    next(steps)
    assert len(asked) == 1


# --- plans ---


@pytest.mark.parametrize(
    "name, steps, first_sigma, first_t, last_t, final, start",
    [
        ("ddim", 50, 13.1204107, 981, 1, 0.0291672, math.hypot(13.1204107, 1)),
        ("pndm", 20, 11.0283312, 951, 1, 0.0291672, math.hypot(11.0283312, 1)),
        ("ddpm", 20, 11.0283312, 951, 1, 0.0, math.hypot(11.0283312, 1)),
        ("euler", 20, 14.6146412, 999, 0, 0.0, 14.6146412),
        ("euler_a", 20, 14.6146412, 999, 0, 0.0, 14.6146412),
        ("heun", 20, 14.6146412, 999, 0, 0.0, 14.6146412),
        ("dpmpp_2m", 20, 14.6146412, 999, 50, 0.0, math.hypot(14.6146412, 1)),
        ("dpmpp_2m_karras", 20, 14.6146412, 999, 0, 0.0, math.hypot(14.6146412, 1)),
    ],
)
def test_plans_on_the_schedule_of_stable_diffusion_1(name, steps, first_sigma, first_t, last_t, final, start):
    plan, _, _ = plan_and_denoise(name, steps)
    assert len(plan.sigmas) == steps + 1 and len(plan.timesteps) == steps
    assert (plan.timesteps[0], plan.timesteps[-1]) == (first_t, last_t)
    assert plan.sigmas[0] == pytest.approx(first_sigma, abs=1e-7)
    assert plan.sigmas[-1] == pytest.approx(final, abs=1e-7)
    assert plan.start == pytest.approx(start, abs=1e-7)
    assert plan.timestep(plan.sigmas[3]) == plan.timesteps[3]
    later = plan.after(5)
    assert later.sigmas == plan.sigmas[5:] and later.timesteps == plan.timesteps[5:]


def test_karras_visits_between_the_timesteps_and_tells_whole_ones():
    plan, _, schedule = plan_and_denoise("dpmpp_2m_karras", 20)
    assert plan.sigmas[-2] == pytest.approx(0.0291672, abs=1e-7)
    assert all(t == int(t) for t in plan.timesteps)
    assert all(abs(schedule.sigma_to_t(s) - t) <= 0.5 for s, t in zip(plan.sigmas, plan.timesteps))


@pytest.mark.parametrize("spacing", [None, "leading", "trailing", "linspace"])
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [2, pytest.param(1000, marks=pytest.mark.slow)])
def test_every_number_of_steps_gives_a_finite_picture(name, spacing, steps):
    """Also where diffusers reads past its table (leading) or divides by zero (DPM-Solver) at 1000 steps."""
    config = replace(ScheduleConfig(), timestep_spacing=spacing)
    if name == "lcm" and steps > 50:
        with pytest.raises(ValueError, match="lcm visits at most 50 timesteps, not 1000: take 1 to 8 steps"):
            plan_and_denoise(name, steps, config=config)
        return
    plan, denoise, _ = plan_and_denoise(name, steps, config=config)
    assert all(a >= b for a, b in pairwise(plan.sigmas)) and max(plan.timesteps) <= 999
    *_, last = SAMPLERS[name].run(denoise, draw(13), plan.sigmas, noises(2))
    assert torch.isfinite(last.x_next).all()


def test_settings_change_the_plan():
    base = ScheduleConfig()
    ends_at_zero = plan_and_denoise("ddim", 10, config=replace(base, set_alpha_to_one=True))[0]
    assert ends_at_zero.sigmas[-1] == 0.0
    assert plan_and_denoise("ddim", 10, config=replace(base, steps_offset=0))[0].timesteps[-1] == 0
    leading = plan_and_denoise("euler", 10, config=replace(base, timestep_spacing="leading"))[0]
    assert leading.timesteps[:2] == (901, 801)
    assert leading.start == pytest.approx(math.hypot(leading.sigmas[0], 1))
    with pytest.raises(ValueError, match="'sideways'.*leading, trailing, linspace"):
        plan_and_denoise("ddim", 10, config=replace(base, timestep_spacing="sideways"))
    with pytest.raises(ValueError, match="skip_prk_steps"):
        plan_and_denoise("pndm", 10, config=replace(base, skip_prk_steps=False))


def test_names():
    names = "ddpm ddim euler euler_a heun pndm lms dpmpp_2m dpmpp_2m_karras dpmpp_2m_sde unipc lcm"
    assert list(SAMPLERS) == names.split()
    assert default_sampler("DPMSolverMultistepScheduler", "sde-dpmsolver++") == "dpmpp_2m_sde"
    assert default_sampler("PNDMScheduler") == "pndm" and default_sampler("DDIMScheduler") == "ddim"
    assert default_sampler("DPMSolverMultistepScheduler") == "dpmpp_2m"
    with pytest.raises(ValueError, match="'EDMEulerScheduler'.*PNDMScheduler"):
        default_sampler("EDMEulerScheduler")
    with pytest.raises(ValueError, match="unknown sampler 'eular'; use one of ddpm, ddim"):
        get_sampler("eular")


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("taken", [1, 2, 5, 9])
def test_a_resumed_run_takes_the_same_steps(name, taken):
    """From any recorded step, with what the method remembers of the steps before."""
    plan, denoise, _ = plan_and_denoise(name, 10)
    whole = list(SAMPLERS[name].run(denoise, draw(13) * plan.start, plan.sigmas, noises(2)))
    fresh = noises(2)
    for _ in range(taken if SAMPLERS[name].stochastic else 0):
        fresh()
    done = whole[:taken]
    rest = list(SAMPLERS[name].run(denoise, done[-1].x_next, plan.sigmas[taken:], fresh, done))
    assert [step.i for step in rest] == list(range(taken, len(whole)))
    for again, before in zip(rest, whole[taken:], strict=True):
        assert again.sigma == before.sigma
        assert torch.allclose(again.x_next, before.x_next, rtol=1e-6, atol=1e-6)


def test_lms_weights_are_exact_for_polynomials():
    """Up to the third degree an integral over the step is what four values of the polynomial give."""
    known, sigma_next = [4.0, 5.5, 8.0, 11.0], 2.5
    weights = samplers_more.lms_weights(known, sigma_next)
    for degree in range(4):
        exact = (sigma_next ** (degree + 1) - known[0] ** (degree + 1)) / (degree + 1)
        assert sum(w * sigma**degree for w, sigma in zip(weights, known, strict=True)) == pytest.approx(exact)


def test_a_spacing_that_the_sampler_does_not_know():
    with pytest.raises(
        ValueError, match="spacing 'karras' is not for ddim.*it is for euler, heun, lms, dpmpp_2m"
    ):
        make_plan(get_sampler("ddim"), Schedule(), 10, "karras", "ddim")
    with pytest.raises(ValueError, match="spacing 'cosine' is unknown; use one of leading, trailing"):
        make_plan(get_sampler("euler"), Schedule(), 10, "cosine")
