"""The model of chapter 02: cats and dogs, their noise predictor in pixels, its training and its folder."""

import diffusers
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sdlearn.checkpoint import CheckpointError, load_pixel_model, save_pixel_model
from sdlearn.config import ScheduleConfig
from sdlearn.scenes.cats_and_dogs import cats_and_dogs
from sdlearn.schedule import Schedule
from sdlearn.training import commands, pixels
from sdlearn.training.loop import Share
from sdlearn.training.recipe import RECIPES, load_recipe
from sdlearn.unet import UNet

TINY = {
    "model.block_out_channels": [16, 24],
    "model.sample_size": 16,
    "data.pictures": 20,
    "training.steps": 2,
    "training.warmup_steps": 1,
    "training.batch_size": 4,
    "training.precision": "no",
    "training.sample_every": 2,
    "training.log_every": 1,
}


@pytest.mark.slow
def test_cats_and_dogs_are_repeatable_and_both_there():
    pictures, labels = cats_and_dogs(200, seed=3)
    again, same = cats_and_dogs(200, seed=3)
    assert pictures.shape == (200, 32, 32, 3) and pictures.dtype == np.uint8
    assert np.array_equal(pictures, again) and np.array_equal(labels, same)
    assert 70 < labels.sum() < 130 and set(labels) == {0, 1}
    assert not np.array_equal(pictures, cats_and_dogs(200, seed=4)[0])


def test_the_loss_compares_with_the_noise_that_was_mixed_in(monkeypatch, tmp_path):
    recipe = load_recipe(RECIPES / "pixels.toml", {**TINY, "training.batch_size": 256})
    monkeypatch.setattr(pixels, "fit", lambda model, loss_of, *_, **__: loss_of)
    picture = np.full((20, 32, 32, 3), 51, np.uint8)  # -0.6 everywhere
    monkeypatch.setattr(pixels, "cats_and_dogs", lambda *_: (picture, None))
    loss_of = pixels.train_pixels(recipe, tmp_path)
    kept = Schedule(ScheduleConfig(**recipe["schedule"])).alpha_bar.float()

    class Knows(nn.Linear):  # some module with parameters, which tell the device
        def forward(self, noisy, timesteps):
            level = kept[timesteps][:, None, None, None]
            return (noisy + 0.6 * level.sqrt()) / (1 - level).sqrt()

    class Nothing(Knows):
        def forward(self, noisy, timesteps):
            return torch.zeros_like(noisy)

    assert loss_of(Knows(1, 1), 0, Share(0, 1))["loss"] < 1e-6
    assert loss_of(Nothing(1, 1), 0, Share(0, 1))["loss"].item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.slow
def test_training_leaves_a_folder_that_opens(tmp_path):
    commands.train("pixels", tmp_path, changes=TINY, cpu=True)
    assert (tmp_path / "pixels" / "sample-000002.png").exists()
    unet, schedule = load_pixel_model(tmp_path / "cats_and_dogs")
    assert schedule.config.beta_schedule == "linear" and unet.config.in_channels == 3
    with pytest.raises(ValueError, match="holds an earlier training"):
        commands.train("pixels", tmp_path, changes=TINY, cpu=True)
    file = tmp_path / "cats_and_dogs" / "unet" / "diffusion_pytorch_model.safetensors"
    content = file.read_bytes()
    commands.train("pixels", tmp_path, changes=TINY, resume=True, cpu=True)  # finished: nothing changes
    assert file.read_bytes() == content and not (tmp_path / "pixels" / "model.whole").exists()
    file.unlink()
    commands.train("pixels", tmp_path, changes=TINY, resume=True, cpu=True)
    assert file.read_bytes() == content


@torch.no_grad()
def test_a_saved_model_is_the_same_here_and_in_diffusers(tmp_path):
    torch.manual_seed(0)
    recipe = load_recipe(RECIPES / "pixels.toml", TINY)
    config = ScheduleConfig(**recipe["schedule"], scheduler="DDPMScheduler")
    unet = UNet(pixels.pixel_config(recipe["model"])).half().float()  # the file's numbers
    folder = save_pixel_model(unet, config, tmp_path / "model")
    opened, schedule = load_pixel_model(str(folder))
    assert schedule.config == config
    theirs = diffusers.DDPMPipeline.from_pretrained(folder)
    x, t = torch.randn(3, 3, 16, 16), torch.tensor([1, 500, 999])
    assert torch.equal(opened(x, t), unet(x, t))
    torch.testing.assert_close(theirs.unet(x, t).sample, unet(x, t), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        theirs.scheduler.alphas_cumprod.double(), schedule.alpha_bar, rtol=1e-5, atol=0
    )
    with pytest.raises(CheckpointError, match="not empty"):
        save_pixel_model(unet, config, folder)


def test_other_sources_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no model named 'nothing' comes with sdlearn"):
        load_pixel_model("nothing")
    with pytest.raises(CheckpointError, match="scenes is a StableDiffusionPipeline.*from_pretrained"):
        load_pixel_model("scenes")
    with pytest.raises(CheckpointError, match="model_index.json is missing"):
        load_pixel_model(tmp_path)


@torch.no_grad()
def test_a_dream_depends_on_its_own_seed_alone():
    torch.manual_seed(0)
    recipe = load_recipe(RECIPES / "pixels.toml", TINY)
    unet, schedule = (
        UNet(pixels.pixel_config(recipe["model"])),
        Schedule(ScheduleConfig(**recipe["schedule"])),
    )
    three = pixels.dream(unet, schedule, 3, steps=4, seed=5)
    torch.testing.assert_close(
        pixels.dream(unet, schedule, 1, steps=4, seed=7)[0], three[2], rtol=1e-4, atol=1e-3
    )


@pytest.mark.slow
def test_the_shipped_model_is_whole_small_and_draws_what_it_has_learnt():
    """A dream is hardly further from the nearest drawing than a drawing is from the nearest other one."""
    from sdlearn.environment import wrong_files
    from sdlearn.paths import shipped_model

    folder = shipped_model("cats_and_dogs")
    assert wrong_files(folder) == []
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 8e6
    unet, schedule = load_pixel_model("cats_and_dogs")
    dreams = pixels.dream(unet, schedule, 16, steps=20)
    drawn, labels = cats_and_dogs(1000, seed=2)
    drawings = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1

    def distances(pictures):
        return torch.cdist(pictures.flatten(1), drawings.flatten(1))

    usual = distances(drawings[:16]).topk(2, largest=False).values[:, 1].mean()
    blurred = F.interpolate(F.avg_pool2d(drawings[:16], 4), scale_factor=4)
    assert distances(dreams).amin(dim=1).mean() < 1.2 * usual < distances(blurred).amin(dim=1).mean()
    animals = labels[distances(dreams).argmin(dim=1)]
    assert 3 <= animals.sum() <= 13  # both occur


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_what_can_be_no_path_is_refused_as_any_name(name):
    with pytest.raises(CheckpointError):
        load_pixel_model(name)
