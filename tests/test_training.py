"""Training: repeatable, resumable, the same on one process and on two."""

import copy
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

import pytest
import torch
import training_speed
from torch import nn

from sdlearn.config import VAEConfig
from sdlearn.scenes import Scene, Thing, canonical_caption, is_held_out
from sdlearn.scenes.dataset import example
from sdlearn.training import commands, loop
from sdlearn.training.clip import caption_loss, contradict, mostly_left
from sdlearn.training.data import Ahead, pixels_of
from sdlearn.training.latents import FrozenLatents, denoising_loss, encode_all, min_snr_weight, noised
from sdlearn.training.loop import (
    Share,
    TrainingSettings,
    fit,
    memory_layout,
    rise_and_fall,
    save_atomically,
    step_generator,
    update_ema,
)
from sdlearn.training.muon import split
from sdlearn.training.recipe import RECIPES, load_recipe
from sdlearn.training.vae import corners, edge_loss, initialise
from sdlearn.vae import AutoencoderKL
from tests.test_muon import plainly

TINY = {
    "training.precision": "no",
    "training.steps": 4,
    "training.warmup_steps": 2,
    "training.batch_size": 4,
    "training.log_every": 1,
    "training.save_every": 2,
    "training.sample_every": 100,
    "data.pictures": 40,
    "data.held_back": 8,
    "data.workers": 1,
}
TINY_VAE = {
    **TINY,
    "model.block_out_channels": [16, 16, 16, 16],
    "model.norm_num_groups": 4,
    "data.crop": 32,
    "data.crop_steps": 2,
}
TINY_CLIP = {**TINY, "text.num_hidden_layers": 1, "vision.num_hidden_layers": 1}
TINY_UNET = {**TINY, "model.block_out_channels": [16, 16, 16], "model.norm_num_groups": 4}


def settings(**changes) -> TrainingSettings:
    plain = {
        "steps": 6,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "save_every": 3,
        "log_every": 1,
    }
    return TrainingSettings(**{**plain, "precision": "no", "ema_decay": 0.9, **changes})


def line_model() -> nn.Sequential:
    """One matrix for Muon between two layers for AdamW."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 16), nn.Linear(16, 16), nn.Linear(16, 1))


def line_loss(stop_before: int | None = None):
    """Least squares on inputs that depend on the step alone; ``stop_before`` plays a power cut."""

    def loss_of(model: nn.Module, step: int, share: Share) -> dict[str, torch.Tensor]:
        if step == stop_before:
            raise KeyboardInterrupt
        x = share.take(torch.randn(4, 3, generator=step_generator(0, step)))
        return {"loss": (model(x) - x.sum(dim=1, keepdim=True)).square().mean()}

    return loss_of


def logged(folder: Path, key: str = "loss") -> list[float]:
    return [json.loads(line)[key] for line in (folder / "log.jsonl").read_text().splitlines()]


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_same_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    plan = settings(steps=60, learning_rate=0.02, muon_learning_rate=0.02)
    runs = [weights(fit(line_model(), line_loss(), plan, tmp_path / str(k), cpu=True)) for k in range(2)]
    assert torch.equal(*runs)
    assert logged(tmp_path / "0") == logged(tmp_path / "1")
    losses = logged(tmp_path / "0")
    assert sum(losses[-10:]) < 0.1 * sum(losses[:10])
    assert not torch.equal(
        torch.randn(3, generator=step_generator(0, 5)), torch.randn(3, generator=step_generator(1, 5))
    )


def test_an_interrupted_run_resumes_as_if_it_had_never_stopped(tmp_path):
    whole = weights(fit(line_model(), line_loss(), settings(), tmp_path / "whole", cpu=True))
    with pytest.raises(KeyboardInterrupt):
        fit(line_model(), line_loss(stop_before=5), settings(), tmp_path / "cut", cpu=True)
    assert not torch.equal(weights(line_model()), whole)
    again = weights(fit(line_model(), line_loss(), settings(), tmp_path / "cut", resume=True, cpu=True))
    assert torch.equal(again, whole)
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")


def small_network() -> nn.Sequential:
    """Square, wide and tall matrices, three of one shape, and a norm."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, inner = nn.Conv2d(3, 16, 3, padding=1), [nn.Conv2d(16, 16, 3, padding=1) for _ in range(3)]
        return nn.Sequential(
            first,
            *(nn.Sequential(nn.GroupNorm(4, 16), nn.SiLU(), layer) for layer in inner),
            nn.Flatten(),
            nn.Linear(16 * 16, 24),
            nn.Linear(24, 24),
            nn.Linear(24, 1),
        )


def small_loss(model: nn.Module, step: int, share: Share) -> dict[str, torch.Tensor]:
    x = torch.randn(8, 3, 4, 4, generator=step_generator(0, step)).to(memory_format=torch.channels_last)
    return {"loss": (model(x) - x.mean(dim=(1, 2, 3))[:, None]).square().mean()}


def plain_training(model: nn.Module, plan: TrainingSettings) -> tuple[list[float], nn.Module]:
    """The loop as the papers write it: one weight after another, nothing batched or fused."""
    average, matrices = copy.deepcopy(model), split(model)[0]
    memory = [torch.zeros_like(weight) for weight in matrices]
    adam = torch.optim.AdamW(split(model)[1], betas=(0.9, plan.beta2), weight_decay=plan.weight_decay)
    losses = []
    for step in range(plan.steps):
        loss = small_loss(model, step, Share(0, 1))["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), plan.gradient_clip)
        adam.param_groups[0]["lr"] = plan.learning_rate * rise_and_fall(plan, step)
        rate = plan.muon_learning_rate * rise_and_fall(plan, step)
        adam.step()
        with torch.no_grad():
            for weight, mean in zip(matrices, memory, strict=True):
                mean.copy_(0.95 * mean + 0.05 * weight.grad)
                ahead = (0.05 * weight.grad + 0.95 * mean).flatten(1)
                update = plainly(ahead).reshape(weight.shape) * 0.2 * max(ahead.shape) ** 0.5
                weight.copy_(weight * (1 - rate * plan.weight_decay) - rate * update)
            decay = min(plan.ema_decay, (1 + step) / (10 + step))
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.copy_(decay * slow + (1 - decay) * fast)
        model.zero_grad()
        losses.append(loss.item())
    return losses, average


def test_twenty_steps_give_the_losses_of_the_plain_loop(tmp_path):
    """All that makes a step fast changes rounding only."""
    plan = settings(steps=20, weight_decay=0.1, muon_learning_rate=1e-2, gradient_clip=0.5)
    losses, average = plain_training(small_network(), plan)
    found = fit(small_network(), small_loss, plan, tmp_path, cpu=True)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert logged(tmp_path) == pytest.approx(losses, rel=1e-4, abs=2e-6)  # the log has six places
    torch.testing.assert_close(weights(found), weights(average), rtol=1e-3, atol=1e-4)


def test_pictures_lie_in_memory_as_the_processor_likes_it(tmp_path, monkeypatch):
    """The loss hands over pictures with the channels last; the network sees what its processor likes."""
    seen, network = [], small_network()
    network[1].register_forward_hook(
        lambda _, inputs, output: seen.append(output.is_contiguous(memory_format=torch.channels_last))
    )
    fit(network, small_loss, settings(steps=1), tmp_path / "float32", cpu=True)
    layouts = [memory_layout(torch.device(name), "bf16") for name in ("cpu", "cuda")]
    assert layouts == [torch.contiguous_format, torch.channels_last]
    monkeypatch.setattr(loop, "memory_layout", lambda *_: layouts[0])  # one process has one precision only
    fit(network, small_loss, settings(steps=1), tmp_path / "bf16", cpu=True)
    assert seen == [True, False]


def test_the_next_batch_is_made_ahead_and_is_the_one_asked_for():
    made = []

    def make(step: int, share: Share) -> tuple[torch.Tensor, ...]:
        made.append(step)
        return (torch.tensor([step, share.rank]),)

    early, plain = Ahead(make), Share(0, 1)
    asked = [3, 4, 5, 9, 10]  # a run resumes at 3; 9 was not foreseen
    assert [early(step, plain)[0].tolist() for step in asked] == [[step, 0] for step in asked]
    assert sorted(made)[:6] == [3, 4, 5, 6, 9, 10]
    assert early(11, Share(1, 2))[0].tolist() == [11, 1]  # another share than that foreseen


@pytest.mark.parametrize("started_in", ["here", "there"])
def test_the_clone_that_is_named_is_timed_and_no_other(tmp_path, monkeypatch, started_in):
    here, there = tmp_path / "here", tmp_path / "there"
    for clone in (here, there):
        (clone / "sdlearn").mkdir(parents=True)
        (clone / "sdlearn" / "__init__.py").write_text(
            f"seconds = {[5.0, 7.0, 9.0] if clone == there else [1.0]}"
        )
    timing = tmp_path / "timing.py"
    timing.write_text("import sdlearn\ndef step_seconds(steps, precision): return sdlearn.seconds")
    monkeypatch.setattr(training_speed, "TIMING", timing)
    monkeypatch.chdir(tmp_path / started_in)
    assert training_speed.median_step(there, 3, "no") == 7.0


def test_a_clone_without_the_package_is_not_timed_in_the_name_of_another(tmp_path, monkeypatch):
    """What another folder would lend it, here the installed package's, is refused by name."""
    (tmp_path / "clone").mkdir()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sdlearn").mkdir(parents=True)
    (elsewhere / "sdlearn" / "__init__.py").touch()
    monkeypatch.setattr(
        training_speed,
        "SCRIPT",
        f"import sys; sys.path.insert(0, {str(elsewhere)!r})\n{training_speed.SCRIPT}",
    )
    with pytest.raises(SystemExit, match="this clone was to be timed, but sdlearn came from .*elsewhere"):
        training_speed.median_step(tmp_path / "clone", 3, "no")


def test_resuming_with_another_recipe_is_refused(tmp_path):
    fit(line_model(), line_loss(), settings(), tmp_path / "run", cpu=True)
    with pytest.raises(ValueError, match="learning_rate = 0.01, now it is 0.02"):
        fit(line_model(), line_loss(), settings(learning_rate=0.02), tmp_path / "run", resume=True, cpu=True)


def test_a_failed_save_leaves_the_old_state(tmp_path):
    save_atomically({"step": 1}, tmp_path / "state.pt")
    with pytest.raises(Exception, match="pickle|local"):
        save_atomically({"step": lambda: 2}, tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == {"step": 1}


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    def loss_of(model, step, share):
        return {"loss": model(torch.ones(1, 3)).mean() * float("nan")}

    with pytest.raises(FloatingPointError, match="step 1 is nan"):
        fit(line_model(), loss_of, settings(), tmp_path / "run", cpu=True)


def test_learning_rate_rises_and_falls():
    plan = settings(steps=102, warmup_steps=2)
    rates = [rise_and_fall(plan, step) for step in range(102)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[52] == pytest.approx(0.01 + 0.99 * 0.5)
    assert rates[-1] < 0.012
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_ema_is_the_weighted_mean():
    slow, fast = nn.Linear(1, 1), nn.Linear(1, 1)
    before = weights(slow)
    update_ema(slow, fast, decay=0.9, step=10_000)
    torch.testing.assert_close(weights(slow), 0.9 * before + 0.1 * weights(fast))
    update_ema(slow, fast, decay=0.9, step=0)  # the first steps move faster: 1/10
    torch.testing.assert_close(
        weights(slow), 0.1 * (0.9 * before + 0.1 * weights(fast)) + 0.9 * weights(fast)
    )


def test_min_snr_weight():
    snr = torch.tensor([0.01, 1.0, 5.0, 50.0])
    torch.testing.assert_close(min_snr_weight(snr, gamma=5.0), torch.tensor([1.0, 1.0, 1.0, 0.1]))
    assert min_snr_weight(torch.tensor([0.0, math.inf]), gamma=5.0).tolist() == [1.0, 0.0]
    snr = torch.logspace(-3, 5, 1000)
    assert torch.equal(min_snr_weight(snr, 5.0), snr.clamp(max=5.0) / snr)  # what the shipped model saw
    assert torch.equal(min_snr_weight(snr, math.inf), torch.ones(1000))


def test_pure_noise_has_a_loss():
    """The last timestep of a schedule with zero terminal SNR: nothing is left of the latents."""
    alpha_bar, x = torch.tensor([0.9, 0.0]), torch.ones(2, 4, 2, 2)
    found = denoising_loss(lambda x, *_: x, x, torch.tensor([1, 1]), 3 * x, torch.zeros(2, 1, 1), alpha_bar)
    assert found["loss"].item() == found["mse"].item() == 0.0


def test_the_loss_of_a_step_is_the_formulas_to_the_last_digit():
    """The shipped model was trained with these lines; a change of their order would change its weights."""
    alpha_bar = torch.linspace(0.99, 0.01, 10)
    clean, noise, context = torch.randn(5, 4, 6, 6), torch.randn(5, 4, 6, 6), torch.randn(5, 3, 2)
    t, asked = torch.tensor([0, 2, 5, 5, 9]), {}

    def network(noisy, timesteps, text):
        asked.update(noisy=noisy, timesteps=timesteps, text=text)
        return 0.5 * noisy

    found = denoising_loss(network, clean, t, noise, context, alpha_bar, gamma=2.0)
    kept = alpha_bar[t][:, None, None, None]
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    assert torch.equal(asked["noisy"], noisy) and torch.equal(noised(clean, t, noise, alpha_bar), noisy)
    assert asked["noisy"].is_contiguous(memory_format=torch.channels_last)
    assert asked["timesteps"] is t and asked["text"] is context
    error = (0.5 * noisy - noise).square().mean(dim=(1, 2, 3))
    snr = (kept / (1 - kept)).flatten()
    torch.testing.assert_close(found["mse"], error.mean(), rtol=1e-6, atol=0)
    torch.testing.assert_close(found["loss"], (error * snr.clamp(max=2.0) / snr).mean(), rtol=1e-6, atol=0)


def test_edge_loss_sees_blur_but_not_a_shifted_tone():
    stripes = torch.tensor([0.0, 1.0]).repeat(8).expand(1, 1, 16, 16)
    assert edge_loss(stripes + 0.3, stripes).item() == pytest.approx(0.0, abs=1e-6)
    assert edge_loss(torch.full_like(stripes, 0.5), stripes).item() == pytest.approx(1.0)


def test_share_takes_all_rows_once():
    rows = torch.arange(6)
    assert torch.cat([Share(rank, 3).take(rows) for rank in range(3)]).tolist() == rows.tolist()


def test_crops_hold_the_thing_and_stay_inside(tmp_path):
    scenes = commands.open_scenes({"pictures": 40, "seed": 1, "workers": 1})
    lots = torch.rand(40, 3)
    for index, (y, x) in enumerate(corners(scenes, torch.arange(40), 64, lots)):
        assert 0 <= y <= 64 and 0 <= x <= 64
        things = scenes.scene(index).things
        thing = things[int(lots[index, 0] * len(things))]
        assert x <= thing.x <= x + 64 and y <= thing.feet - thing.scale / 2 <= y + 64


def test_right_of_is_said_less_often_than_left_of():
    """A quarter as often where both are there; where only one is, that one; and never more than chance elsewhere."""
    both = ("a cat left of a dog", "a dog right of a cat")
    said = [mostly_left(both, Random(k)) for k in range(2000)]
    assert 0.17 < said.count(both[1]) / len(said) < 0.23
    assert mostly_left(both[1:], Random(1)) == both[1]
    plain = ("a bright cat", "a kitty", "a right house")
    counts = [[mostly_left(plain, Random(k)) for k in range(3000)].count(text) for text in plain]
    assert all(900 < count < 1100 for count in counts)


def test_things_side_by_side_are_mostly_contradicted_by_their_exchange():
    """Who is left is what the text tower learns last: more than half of the wrong captions ask for it."""
    scene = Scene((Thing("cat", "orange"), Thing("house", "red")), "left_of")
    wrong = [contradict(scene, Random(k)).things for k in range(600)]
    assert 0.45 < wrong.count(scene.things[::-1]) / len(wrong) < 0.65


def test_contradictions_differ_from_the_scene():
    things = (Thing("cat", "orange"), Thing("castle", "red"))
    scene = Scene(things, "on", "day", names_background=False)
    wrong = {canonical_caption(contradict(scene, Random(k))) for k in range(60)}
    assert canonical_caption(scene) not in wrong
    assert {"a red cat on an orange castle", "a red castle on an orange cat"} <= wrong


def test_held_out_combinations_are_no_wrong_captions_either():
    """Else the text tower would learn that "a green cat" is never right."""
    scenes = [example(1, index)[0] for index in range(300)]
    assert not any(is_held_out(contradict(scene, Random(k))) for k, scene in enumerate(scenes))


def test_caption_loss_prefers_the_right_caption():
    right = torch.eye(4)[:3]
    good = caption_loss(right, right, torch.eye(4)[3:].expand(3, 4), torch.tensor(10.0))
    bad = caption_loss(right, right.roll(1, 0), right, torch.tensor(10.0))
    assert good["loss"] < 0.01 < bad["loss"]
    assert (good["retrieval"], good["refuses_wrong"]) == (1.0, 1.0)
    assert (bad["retrieval"], bad["refuses_wrong"]) == (0.0, 0.0)


def test_recipes_refuse_what_they_do_not_know(tmp_path):
    assert load_recipe(RECIPES / "vae.toml", {"training.steps": 7})["training"]["steps"] == 7
    with pytest.raises(ValueError, match="no entry 'training.step'"):
        load_recipe(RECIPES / "vae.toml", {"training.step": 7})
    with pytest.raises(ValueError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(ValueError, match="vae does not exist yet; train vae first"):
        commands.train("unet", tmp_path / "empty", changes=TINY_UNET)
    with pytest.raises(ValueError, match="text_encoder does not exist yet; train clip first"):
        commands.load_text_encoder(tmp_path / "empty")
    with pytest.raises(ValueError, match="training.steps is 'many'; it must be like"):
        commands.train("vae", tmp_path / "empty", changes={"training.steps": "many"})
    (tmp_path / "short.toml").write_text("[model]\nsample_size = 16\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"\[model\] lacks '.*'; see"):
        commands.train("unet", tmp_path / "empty", recipe=tmp_path / "short.toml")


@pytest.mark.parametrize("part", ["all", "classifier"])
def test_what_is_in_the_way_is_said_before_the_work(tmp_path, part):
    (tmp_path / "noisy_classifier").mkdir()
    (tmp_path / "noisy_classifier" / "mine.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(ValueError, match="noisy_classifier is in the way"):
            commands.train(part, tmp_path, resume=resume, cpu=True)
    assert [path.name for path in tmp_path.iterdir()] == ["noisy_classifier"]
    (tmp_path / "scenes_detail").write_text("a file")
    with pytest.raises(ValueError, match="scenes_detail is in the way"):
        commands.train("decoder", tmp_path, cpu=True)


def test_a_resumed_run_must_have_the_whole_recipe(tmp_path):
    recipe = load_recipe(RECIPES / "unet.toml", TINY_UNET)
    commands._keep_recipe(recipe, tmp_path / "unet", resume=False)
    commands._keep_recipe(recipe, tmp_path / "unet", resume=True)
    other = load_recipe(RECIPES / "unet.toml", {**TINY_UNET, "data.seed": 2})
    with pytest.raises(ValueError, match="trained with data.seed = 1, now it is 2"):
        commands._keep_recipe(other, tmp_path / "unet", resume=True)


def test_a_spoilt_state_is_not_saved_over_a_good_one(tmp_path):
    def loss_of(model, step, share):
        good = line_loss()(model, step, share)["loss"]
        return {"loss": good * float("nan") if step >= 3 else good}

    with pytest.raises(FloatingPointError, match="step 4 is nan"):
        fit(line_model(), loss_of, settings(log_every=100, save_every=2), tmp_path / "run", cpu=True)
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 2


def test_a_run_without_a_state_begins_a_new_log(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(line_model(), line_loss(stop_before=2), settings(), tmp_path / "run", cpu=True)
    fit(line_model(), line_loss(), settings(), tmp_path / "run", resume=True, cpu=True)
    assert len(logged(tmp_path / "run")) == 6


def moved(**changes) -> dict[str, bool]:
    """Which parameters one step of training moves."""
    with tempfile.TemporaryDirectory() as folder:
        before = dict(line_model().named_parameters())
        plan = settings(steps=1, ema_decay=0.0, weight_decay=0.0, **changes)
        after = fit(line_model(), line_loss(), plan, Path(folder), cpu=True)
    return {name: not torch.equal(value, before[name]) for name, value in after.named_parameters()}


def test_each_optimizer_has_its_own_rate_and_its_own_parameters():
    everything = moved()
    assert all(everything.values())
    assert moved(learning_rate=0.0) == {name: name == "1.weight" for name in everything}
    assert moved(muon_learning_rate=0.0) == {name: name != "1.weight" for name in everything}


def test_the_first_step_has_the_size_of_its_learning_rate(tmp_path):
    """Adam's first step is the rate in every parameter; of ten steps to warm up the first takes a tenth."""
    plan = settings(steps=1, warmup_steps=10, ema_decay=0.0, weight_decay=0.0)
    after = fit(line_model(), line_loss(), plan, tmp_path, cpu=True)
    step = (after[2].weight - line_model()[2].weight).abs()
    torch.testing.assert_close(step, torch.full_like(step, 1e-3), rtol=1e-2, atol=0)


def test_the_noise_predictor_is_asked_for_the_noise(monkeypatch, tmp_path):
    """A model that knows the picture finds the noise: loss 0. One that answers 0 has the noise's variance."""
    from sdlearn.config import ScheduleConfig
    from sdlearn.schedule import Schedule
    from sdlearn.training import unet

    picture, asked = torch.randn(4, 16, 16), {}
    recipe = load_recipe(RECIPES / "unet.toml", {**TINY_UNET, "training.batch_size": 256})
    everywhere = FrozenLatents(picture.expand(40, -1, -1, -1), torch.zeros(40, 1, 1, 1))
    monkeypatch.setattr(unet, "_cached_latents", lambda *_: everywhere)
    monkeypatch.setattr(
        unet, "TextTable", lambda *_: lambda texts: asked.update(texts=texts) or torch.zeros(1)
    )
    monkeypatch.setattr(unet, "fit", lambda model, loss_of, *_, **__: loss_of)
    loss_of = unet.train_unet(recipe, tmp_path, None, None, None)
    kept = Schedule(ScheduleConfig(**recipe["schedule"])).alpha_bar.float()

    class Knows(nn.Linear):  # some module with parameters, which tell the device
        def forward(self, noisy, timesteps, context):
            level = kept[timesteps][:, None, None, None]
            return (noisy - level.sqrt() * picture) / (1 - level).sqrt()

    class Nothing(Knows):
        def forward(self, noisy, timesteps, context):
            return torch.zeros_like(noisy)

    knows, nothing = loss_of(Knows(1, 1), 0, Share(0, 1)), loss_of(Nothing(1, 1), 0, Share(0, 1))
    assert knows["mse"] < 1e-4
    assert nothing["mse"].item() == pytest.approx(1.0, abs=0.02)
    assert 0.2 < nothing["loss"] < 0.95  # almost clean latents count less
    assert 0.04 < sum(text == "" for text in asked["texts"]) / 256 < 0.17  # one caption in ten is dropped


@pytest.mark.slow
@pytest.mark.slow
def test_frozen_latents_are_the_encoders(trained):
    """What the U-Net learns from is what image to image encodes."""
    import sdlearn

    pipe = sdlearn.StableDiffusion.from_pretrained(trained / "model")
    pictures = torch.randint(0, 256, (3, 128, 128, 3), dtype=torch.uint8).numpy()
    noise = torch.randn(3, 4, 16, 16)
    expected = pipe.encode_image(pixels_of(pictures, torch.arange(3)), noise)
    found = encode_all(pipe.vae, pictures).draw(torch.arange(3), noise)
    assert (found - expected).abs().max() <= 0.03 * expected.abs().max()  # bfloat16 and half precision
    posterior = pipe.vae.encode(pixels_of(pictures, torch.arange(3)))
    std = encode_all(pipe.vae, pictures).std.float()
    torch.testing.assert_close(std, posterior.std * pipe.vae.config.scaling_factor, rtol=0.05, atol=0)


def test_the_autoencoder_starts_with_small_blocks_and_little_noise():
    vae = AutoencoderKL(VAEConfig(block_out_channels=(16, 16), layers_per_block=1, norm_num_groups=4))
    initialise(vae)
    block, x = vae.encoder.down_blocks[0].resnets[0], torch.randn(2, 16, 8, 8)
    change = block(x) - x
    torch.testing.assert_close(change, block.conv2.bias[:, None, None].expand_as(change))
    posterior = vae.encode(torch.randn(2, 3, 16, 16))
    assert posterior.std.mean().item() == pytest.approx(math.exp(-3), rel=0.1)
    assert posterior.mean.std() > 3 * posterior.std.mean()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """All parts, trained for four steps each by one process."""
    out = tmp_path_factory.mktemp("trained")
    for part, changes in (("vae", TINY_VAE), ("clip", TINY_CLIP), ("unet", TINY_UNET)):
        commands.train(part, out, changes=changes, cpu=True)
    return out


@pytest.mark.slow
def test_training_all_parts_leaves_a_model_that_draws(trained):
    import sdlearn

    pipe = sdlearn.StableDiffusion.from_pretrained(trained / "model")
    picture = pipe.txt2img("a cat", num_inference_steps=2).images[0]
    assert picture.size == (128, 128)
    clip = commands.load_clip(trained / "model")
    assert clip.clip.encode_image(torch.zeros(1, 3, 128, 128)).shape == (1, 128)
    with pytest.raises(ValueError, match="holds an earlier training"):
        commands.train("vae", trained, changes=TINY_VAE)


TWO_PROCESSES = """
import json, sys
from pathlib import Path
from sdlearn.training import commands
part, out, changes = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
commands.train(part, out, changes=changes, cpu=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("part", "changes"), [("vae", TINY_VAE), ("clip", TINY_CLIP), ("unet", TINY_UNET)])
def test_two_processes_give_the_losses_of_one(trained, tmp_path, part, changes):
    """Equal global batch: each of the two works on half of what the one had."""
    import shutil

    out = tmp_path / "two"
    (out / "model").mkdir(parents=True)
    if part == "unet":
        shutil.copytree(trained / "model", out / "model", dirs_exist_ok=True)
    script = tmp_path / "train_part.py"
    script.write_text(TWO_PROCESSES)
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29617",
    ]
    done = subprocess.run(
        [*launcher, str(script), part, str(out), json.dumps(changes)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(logged(out / part)) == 4
    assert logged(out / part) == pytest.approx(logged(trained / part), rel=1e-4)
