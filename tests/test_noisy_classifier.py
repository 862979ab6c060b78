"""The classifier of noisy latents: its words, its training, its folder, and what the shipped one can read."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sdlearn.checkpoint import CheckpointError, load_classifier, save_classifier
from sdlearn.config import ScheduleConfig
from sdlearn.noisy_classifier import NoisyClassifier
from sdlearn.paths import shipped_model
from sdlearn.scenes import Scene, Thing
from sdlearn.schedule import Schedule
from sdlearn.training import classifier as training
from sdlearn.training import commands
from sdlearn.training.latents import FrozenLatents
from sdlearn.training.loop import Share
from sdlearn.training.recipe import RECIPES, load_recipe

TINY = {
    "model.widths": [16, 32],
    "data.pictures": 6,
    "training.steps": 2,
    "training.warmup_steps": 1,
    "training.batch_size": 4,
    "training.precision": "no",
    "training.log_every": 1,
}


def test_words_of_a_scene():
    scene = Scene((Thing("cat", "red"), Thing("tree", "red")), "on", "snow", names_background=False)
    found = training.words_of(scene)
    assert {word for word, there in zip(training.WORDS, found.tolist(), strict=True) if there} == {
        "cat", "tree", "red", "snow"
    }  # fmt: skip
    assert len(training.WORDS) == len(set(training.WORDS)) == 24


def test_the_loss_asks_about_the_noisy_latent_and_its_timestep(monkeypatch, tmp_path):
    """Someone who undoes the mixing with the told timestep finds the word that the latent holds; no one else does.

    What is left is the latents' own spread of 0.5 and noise as strong as the timestep says, each drawn for itself.
    """
    recipe = load_recipe(RECIPES / "classifier.toml", {**TINY, "training.batch_size": 64})
    kept = Schedule(ScheduleConfig(**recipe["schedule"])).alpha_bar.float()
    labels = torch.eye(24)[:6]
    mean = torch.full((6, 4, 16, 16), 5.0) * torch.arange(6)[:, None, None, None]
    monkeypatch.setattr(training, "fit", lambda model, loss_of, *_, **__: loss_of)
    monkeypatch.setattr(
        training, "labelled_latents", lambda *_: (FrozenLatents(mean, torch.full_like(mean, 0.5)), labels)
    )
    loss_of, left = training.train_classifier(recipe, tmp_path, None), {}

    class Knows(nn.Linear):  # some module with parameters, which tell the device
        def forward(self, noisy, timesteps):
            level = kept[timesteps].sqrt()
            which = (noisy.mean(dim=(1, 2, 3)) / level / 5).round().long().clamp(0, 5)
            rest = noisy - level[:, None, None, None] * mean[which]
            left.update(zip(timesteps.tolist(), rest.square().mean(dim=(1, 2, 3)).tolist(), strict=True))
            return 40 * labels[which] - 20

    class Guesses(Knows):
        def forward(self, noisy, timesteps):
            return torch.zeros(len(noisy), 24)

    assert loss_of(Knows(1, 1), 0, Share(0, 1))["loss"] < 0.1 < math.log(2)
    assert min(left) < 100 and max(left) > 900
    for t, variance in left.items():
        assert variance == pytest.approx(1 - kept[t].item() * 0.75, rel=0.2), t
    assert loss_of(Guesses(1, 1), 0, Share(0, 1))["loss"].item() == pytest.approx(math.log(2))


def test_training_leaves_a_folder_that_opens(tmp_path, monkeypatch):
    (tmp_path / "model").symlink_to(shipped_model("scenes"))
    commands.train("classifier", tmp_path, changes=TINY, cpu=True)
    found = load_classifier(tmp_path / "noisy_classifier")
    assert found.widths == (16, 32) and found.words == training.WORDS
    with pytest.raises(ValueError, match="holds an earlier training"):
        commands.train("classifier", tmp_path, changes=TINY, cpu=True)
    file = tmp_path / "noisy_classifier" / "model.safetensors"
    content = file.read_bytes()
    commands.train("classifier", tmp_path, changes=TINY, resume=True, cpu=True)  # finished: nothing changes
    assert file.read_bytes() == content and not (tmp_path / "classifier" / "model.whole").exists()
    file.unlink()
    commands.train("classifier", tmp_path, changes=TINY, resume=True, cpu=True)
    assert file.read_bytes() == content


@torch.no_grad()
def test_a_saved_classifier_is_the_same(tmp_path):
    torch.manual_seed(0)
    classifier = NoisyClassifier(["cat", "dog", "night"], [16, 32]).half().float()
    opened = load_classifier(save_classifier(classifier, tmp_path / "new"))
    x, t = torch.randn(2, 4, 16, 16), torch.tensor([3, 800])
    assert opened(x, t).shape == (2, 3) and torch.equal(opened(x, t), classifier(x, t))
    assert not torch.allclose(opened(x, t), opened(x, torch.tensor([500, 10])))  # it hears the timestep
    with pytest.raises(CheckpointError, match="not empty"):
        save_classifier(classifier, tmp_path / "new")


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_works_in_half_precision(dtype):
    torch.manual_seed(0)
    classifier = NoisyClassifier(["cat", "dog"], [16, 32])
    x, t = torch.randn(2, 4, 16, 16), torch.tensor([3, 800])
    expected = classifier(x, t)
    found = classifier.to(dtype)(x.to(dtype), t)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.02)


def test_other_sources_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no model named 'nothing' comes with sdlearn"):
        load_classifier("nothing")
    with pytest.raises(CheckpointError, match="config.json is missing"):
        load_classifier(tmp_path)
    with pytest.raises(CheckpointError, match="is of no classifier"):
        load_classifier(shipped_model("scenes") / "oracle")
    save_classifier(NoisyClassifier(["cat"], [16]), tmp_path / "small")
    (tmp_path / "small" / "config.json").write_text(
        json.dumps({"_class_name": "NoisyClassifier", "words": ["cat", "dog"], "widths": [16]})
    )
    with pytest.raises(CheckpointError, match="does not fit the network that its config"):
        load_classifier(tmp_path / "small")


@pytest.mark.slow
@torch.no_grad()
def test_the_shipped_classifier_is_whole_small_and_reads():
    """Clean latents nearly always, pure noise no better than chance."""
    from sdlearn.checkpoint import open_vae
    from sdlearn.environment import wrong_files

    folder = shipped_model("noisy_classifier")
    assert wrong_files(folder) == []
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 2e6
    classifier = load_classifier()
    assert classifier.words == training.WORDS
    vae = open_vae(shipped_model("scenes")).load()
    latents, labels = training.labelled_latents(vae, 40, seed=77)
    noise = torch.randn(latents.mean.shape, generator=torch.Generator().manual_seed(0))
    right = {}
    for name, x, t in (("clean", latents.mean.float(), 0), ("noise", noise, 999)):
        guess = classifier(x, torch.full((40,), t)) > 0
        right[name] = (guess == labels.bool()).float().mean().item()
        things = classifier(x, torch.full((40,), t))[:, :12].argmax(1, keepdim=True)
        right[f"things, {name}"] = labels[:, :12].gather(1, things).mean().item()
    assert right["clean"] > 0.97 and right["things, clean"] > 0.95, right
    assert right["things, noise"] < 0.4, right


def reconfigured(tmp_path, **changes):
    """The folder of a small classifier whose config.json was changed."""
    folder = save_classifier(NoisyClassifier(["cat", "dog", "sun"], [16]), tmp_path / "changed")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": "cat"}, "words must be a list of texts, not 'cat'"),
        ({"words": [1, None, 1]}, r"words must be a list of texts, not \[1, None, 1\]"),
        ({"words": ["cat", "dog", ""]}, "words must be a list of texts"),
        ({"words": []}, "words must be a list of texts"),
        ({"words": None}, "words must be a list of texts"),
        ({"words": ["cat", "dog", "cat"]}, "each word must be there once"),
        ({"widths": 16}, "widths must be 1 to 16 whole numbers above 0, not 16"),
        ({"widths": [True]}, "widths must be"),
        ({"widths": ["16"]}, "widths must be"),
        ({"widths": []}, "widths must be"),
        ({"widths": [16] * 17}, "widths must be"),
        ({"widths": [0]}, "widths must be"),
        ({"widths": [17]}, "no network can be made from its config"),
        ({"widths": [2**70]}, "no network can be made from its config"),
        ({"widths": [2**40]}, "no network can be made from its config|does not fit the network"),
        ({"widths": [2048]}, "does not fit the network that its config describes"),
    ],
)
def test_other_words_and_widths_are_refused_by_name(tmp_path, changes, message):
    folder = reconfigured(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_classifier(folder)
    assert str(folder) in str(caught.value) and len(str(caught.value)) < 1000


def test_a_config_of_a_few_bytes_takes_no_memory(tmp_path, monkeypatch):
    """Only shapes are built before the weights are known to fit."""
    built = []
    conv = nn.Conv2d.__init__

    def watched(self, *arguments, **settings):
        conv(self, *arguments, **settings)
        built.append(self.weight.device.type)

    folder = reconfigured(tmp_path, widths=[2048])
    monkeypatch.setattr(nn.Conv2d, "__init__", watched)
    with pytest.raises(CheckpointError):
        load_classifier(folder)
    assert built and set(built) == {"meta"}


def test_weights_of_a_classifier_are_numbers_and_rest(tmp_path):
    folder = reconfigured(tmp_path)
    opened = load_classifier(folder)
    assert not opened.training and not any(p.requires_grad or p.is_meta for p in opened.parameters())
    weights = load_file(folder / "model.safetensors")
    for bias, message in (
        (torch.ones(3, dtype=torch.bool), "1 of integers: linear_out.bias"),
        (torch.full((3,), 1e300, dtype=torch.float64), "too large for torch.float32"),
        (torch.full((3,), float("nan")), "NaN or infinite numbers in linear_out.bias"),
        (torch.zeros(4), "of another shape"),
    ):
        save_file(weights | {"linear_out.bias": bias}, folder / "model.safetensors")
        with pytest.raises(CheckpointError, match=message):
            load_classifier(folder)
