"""Every step of every sampler against the diffusers scheduler of the same name, on a smooth made-up network.

Both sides start from the same noise and use the same fresh noise. Latents are compared in the scheduler's own
scaling, step by step: max|a - b| / max|reference| <= 1e-5. Nothing is patched in diffusers: its
float32 tables make most of what is measured.

On purpose different, each with its test below: the next timestep of DDIM and PNDM under other spacings than
"leading", PNDM's averages of v-predictions, and PNDM's start in image to image.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sdlearn.config import ScheduleConfig
from sdlearn.denoise import Denoiser
from sdlearn.plan import SAMPLERS, make_plan
from sdlearn.schedule import Schedule

diffusers = pytest.importorskip("diffusers")

SHAPE = (2, 4, 6, 10)
TOLERANCE = 1e-5
SD1 = ScheduleConfig()  # the settings of Stable Diffusion 1.5, without a timestep_spacing


def fake_network():
    """A smooth function of x and t that behaves like a noise predictor: mostly x itself, plus a bent rest."""
    weight = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(5)) * 0.3

    def network(x, timesteps, context=None):
        t = timesteps.reshape(-1, 1, 1, 1).float()
        bent = torch.tanh(torch.nn.functional.conv2d(x, weight, padding=1) + torch.cos(t / 150))
        return (0.5 + t / 2500) * x + 0.4 * bent

    return network


def scheduler_of(name, config, **extra):
    """The diffusers scheduler as ``SchedulerClass.from_config(pipe.scheduler.config)`` makes it."""
    first = getattr(diffusers, config.scheduler).from_config(config.to_json())  # as a pipeline reads the file
    extra |= dict(SAMPLERS[name].settings)
    return getattr(diffusers, SAMPLERS[name].scheduler).from_config(first.config, **extra)


def their_steps(
    name,
    config,
    steps,
    start_noise,
    skip=0,
    x0=None,
    *,
    alpha_bar=None,
    double=False,
    eta=None,
    told=None,
    **more,
):
    """Latents after every interval, in the scheduler's scaling; ``skip`` steps left out as img2img does."""
    network, scheduler = fake_network(), scheduler_of(name, config, **more)
    if alpha_bar is not None:
        scheduler.alphas_cumprod = alpha_bar
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(77)
    timesteps = scheduler.timesteps[skip * scheduler.order :]
    if double:
        later = scheduler.timesteps.unique().flip(0)[skip:]
        timesteps = torch.cat([later[:2], later[1:]])
    if (
        name == "lms"
    ):  # started later it takes weights for steps that it has not seen: let it begin there instead
        scheduler.sigmas, scheduler.timesteps = scheduler.sigmas[skip:], scheduler.timesteps[skip:]
        scheduler.set_begin_index(0)
    elif hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skip * scheduler.order)
    x = start_noise * scheduler.init_noise_sigma
    if x0 is not None:
        x = scheduler.add_noise(x0, start_noise, timesteps[:1].repeat(len(x0)))
    extra = {"generator": generator} if SAMPLERS[name].stochastic or eta else {}
    extra |= {"eta": eta} if eta is not None else {}
    seen = []
    for k, t in enumerate(timesteps):
        asked = t if told is None else torch.tensor(told[k])
        output = network(scheduler.scale_model_input(x, t), asked.expand(len(x)))
        x = scheduler.step(output, t, x, **extra).prev_sample
        seen.append(x)
    if name == "heun":  # every interval but the last takes two calls: keep the second
        return [*seen[1:-1:2], seen[-1]]
    return seen[1:] if name == "pndm" and len(seen) > 1 else seen  # the first of N + 1 calls is corrected


def our_steps(name, config, steps, start_noise, skip=0, x0=None, spacing=None, eta=None):
    """The same from sdlearn, converted to the scheduler's scaling."""
    sampler, schedule = SAMPLERS[name], Schedule(config)
    plan = make_plan(sampler, schedule, steps, spacing).after(skip)
    denoise = Denoiser(fake_network(), schedule, config.prediction_type, plan.timestep)
    generator = torch.Generator().manual_seed(77)
    x = start_noise * plan.start if x0 is None else schedule.add_noise(x0, start_noise, plan.sigmas[0])
    fresh = lambda: torch.randn(SHAPE, generator=generator)  # noqa: E731
    run = sampler.run(denoise, x, plan.sigmas, fresh, eta=eta)
    if sampler.unit_start:  # the scheduler works in the papers' scaling
        return [schedule.to_vp(step.x_next, step.sigma_next) for step in run]
    return [step.x_next for step in run]


def worst(ours, theirs):
    assert len(ours) == len(theirs)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))


def noise(seed=3):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def compare(name, config, steps):
    return worst(our_steps(name, config, steps, noise()), their_steps(name, config, steps, noise()))


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 50])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step(name, steps):
    # Euler's only timestep at N = 1 is t = 0, where 1 - alpha_bar in float32 is off by 1e-5: see below.
    tolerance = 2e-5 if steps == 1 and not SAMPLERS[name].unit_start else TOLERANCE
    assert compare(name, SD1, steps) <= tolerance


@pytest.mark.parametrize("name", [name for name in SAMPLERS if not SAMPLERS[name].unit_start])
def test_one_step_from_exact_tables(name):
    """The same N = 1 with diffusers' alpha_bar table in float64: within 1e-6, so that was the cause."""
    exact = Schedule(SD1).alpha_bar
    ours, theirs = our_steps(name, SD1, 1, noise()), their_steps(name, SD1, 1, noise(), alpha_bar=exact)
    assert worst(ours, theirs) <= 1e-6


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "pndm"])
def test_every_step_of_a_v_prediction_model(name):
    """PNDM is left out: diffusers averages the v of different noise levels, we average their eps (below)."""
    config = replace(SD1, prediction_type="v_prediction", scheduler="DDIMScheduler")
    assert compare(name, config, 20) <= TOLERANCE


def test_pndm_with_v_prediction_differs_on_purpose():
    """One step has nothing to average and agrees; the averages of several stay close but are not the same."""
    config = replace(SD1, prediction_type="v_prediction")
    assert compare("pndm", config, 1) <= TOLERANCE
    assert 1e-4 < compare("pndm", config, 20) < 0.5


# DDIM and PNDM of diffusers always step to t - T // N, whatever the spacing: right for "leading", and for
# "trailing" where N divides T (issues 9261, 11347, 12633 there). We step to the next timestep of the list.
COUNTS = (1, 2, 7, 20, 50)
SPACED = [(name, "leading", steps) for name in SAMPLERS for steps in COUNTS]
SPACED += [
    (name, "trailing", steps)
    for name in SAMPLERS
    for steps in COUNTS
    if name not in ("ddim", "pndm") or 1000 % steps == 0
]
SPACED += [(name, "linspace", steps) for name in SAMPLERS for steps in COUNTS if name not in ("ddim", "pndm")]


@pytest.mark.slow
@pytest.mark.parametrize("name, spacing, steps", SPACED)
def test_every_spacing(name, spacing, steps):
    config = replace(SD1, timestep_spacing=spacing)
    ours, theirs = our_steps(name, config, steps, noise()), their_steps(name, config, steps, noise())
    near_zero = (
        steps == 1 and spacing != "trailing"
    )  # one timestep near 0, where float32 tables are off: see above
    assert worst(ours, theirs) <= (2e-5 if near_zero else TOLERANCE)


def test_ddim_goes_to_the_next_timestep_of_its_list():
    config = replace(SD1, timestep_spacing="trailing")
    ours, theirs = our_steps("ddim", config, 7, noise()), their_steps("ddim", config, 7, noise())
    assert worst(ours[:1], theirs[:1]) > 1e-4  # from 999 to 856 here, to 999 - 142 = 857 there
    plan = make_plan(SAMPLERS["ddim"], Schedule(config), 7)
    assert plan.timesteps == tuple(scheduler_timesteps(config, 7)) and plan.timesteps[:2] == (999, 856)


def scheduler_timesteps(config, steps):
    scheduler = scheduler_of("ddim", config)
    scheduler.set_timesteps(steps)
    return scheduler.timesteps.tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"set_alpha_to_one": True},
        {"steps_offset": 0},
        {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
        {"beta_schedule": "squaredcos_cap_v2"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["ddpm", "ddim", "euler", "pndm", "dpmpp_2m"])
def test_other_settings(name, change):
    config = replace(SD1, **change)
    if "squaredcos_cap_v2" in change.values():
        config = replace(
            config, timestep_spacing="leading"
        )  # linspace starts where nothing is left of the picture
    assert compare(name, config, 20) <= TOLERANCE


@pytest.mark.parametrize("skip", [1, 5, 19])
@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "pndm"])
def test_image_to_image_starts_later(name, skip):
    x0 = noise(9) * 0.8
    ours = our_steps(name, SD1, 20, noise(), skip, x0)
    theirs = their_steps(name, SD1, 20, noise(), skip, x0)
    assert len(ours) == 20 - skip
    assert worst(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize("skip", [1, 5, 18])
def test_image_to_image_with_pndm(skip):
    """diffusers cuts its list of N + 1 timesteps, whose second one is doubled, and loses the double: later
    calls work on samples one timestep noisier than they are told. With the double put back, the two agree."""
    x0 = noise(9) * 0.8
    ours = our_steps("pndm", SD1, 20, noise(), skip, x0)
    assert len(ours) == 20 - skip
    assert worst(ours, their_steps("pndm", SD1, 20, noise(), skip, x0, double=True)) <= TOLERANCE


def test_timesteps_are_those_that_diffusers_asks_with():
    for name in SAMPLERS:
        for steps in (7, 20, 50):
            scheduler = scheduler_of(name, SD1)
            scheduler.set_timesteps(steps)
            theirs = list(dict.fromkeys(scheduler.timesteps.tolist())) if name in ("heun", "pndm") else None
            theirs = theirs or scheduler.timesteps.tolist()
            ours = make_plan(SAMPLERS[name], Schedule(SD1), steps).timesteps
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


CURVES = [name for name in SAMPLERS if SAMPLERS[name].sigma_range and name != "dpmpp_2m_karras"]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 7, 20, 50])
@pytest.mark.parametrize("curve", ["karras", "exponential"])
@pytest.mark.parametrize("name", CURVES)
def test_every_curve(name, curve, steps):
    """Asked for by name, and by the settings of a checkpoint.

    On purpose different: with "exponential" the DPM solvers of diffusers cut timesteps off to whole ones (5.99 to 5,
    and 999 to 998, since it comes out as 998.99994), so that the network is told of less noise than there is. Ours
    are told the true ones, as Euler's are; here diffusers' network is told the same.
    """
    settings = {f"use_{curve}_sigmas": True}
    exact = make_plan(SAMPLERS[name], Schedule(SD1), steps, curve).timesteps
    cut = curve == "exponential" and SAMPLERS[name].sigma_range == "whole"
    theirs = their_steps(name, SD1, steps, noise(), told=exact if cut else None, **settings)
    assert worst(our_steps(name, SD1, steps, noise(), spacing=curve), theirs) <= 2e-5
    assert worst(our_steps(name, replace(SD1, **settings), steps, noise()), theirs) <= 2e-5


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_with_fresh_noise(eta):
    ours, theirs = (
        our_steps("ddim", SD1, 20, noise(), eta=eta),
        their_steps("ddim", SD1, 20, noise(), eta=eta),
    )
    assert worst(ours, theirs) <= TOLERANCE


def test_guidance_rescale_is_that_of_diffusers():
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    from sdlearn.guidance import rescaled

    mixed, cond = 3 * noise(1) + 0.5, noise(2)
    theirs = rescale_noise_cfg(mixed, cond, 0.7)
    assert torch.allclose(rescaled(mixed, cond, 0.7), theirs, rtol=1e-6)
    assert not torch.allclose(mixed, theirs, rtol=1e-2)


@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler"])
def test_settings_that_a_file_leaves_out_are_those_of_diffusers(name):
    config = ScheduleConfig.from_json({"_class_name": name, "beta_end": None})
    theirs = getattr(diffusers, name)()
    torch.testing.assert_close(
        Schedule(config).alpha_bar, theirs.alphas_cumprod.double(), rtol=1e-5, atol=1e-12
    )
    assert config.steps_offset == theirs.config.steps_offset
