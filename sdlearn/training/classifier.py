"""Training the classifier of noisy latents that guides in chapter 09 (Dhariwal and Nichol 2021, section 4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.config import ScheduleConfig
from sdlearn.noisy_classifier import NoisyClassifier
from sdlearn.scenes import BACKGROUNDS, COLOURS, KINDS, Scene, render
from sdlearn.scenes.dataset import example
from sdlearn.schedule import Schedule
from sdlearn.training.data import pick, send
from sdlearn.training.latents import FrozenLatents, encode_all, noised
from sdlearn.training.loop import Share, TrainingSettings, fit, step_generator
from sdlearn.vae import AutoencoderKL

WORDS = (*KINDS, *COLOURS, *BACKGROUNDS)  # the questions: is a cat there? is something orange? is it night?


def words_of(scene: Scene) -> Tensor:
    """1 for each word that fits the scene, 0 for each that does not: (words,)."""
    things = {word for thing in scene.things for word in (thing.kind, thing.colour)}
    return torch.tensor([float(word in things or word == scene.background) for word in WORDS])


def labelled_latents(
    vae: AutoencoderKL, number: int, seed: int, split: str = "train"
) -> tuple[FrozenLatents, Tensor]:
    """Scenes drawn afresh, as latents, and the words that fit each: (number, words)."""
    scenes = [example(seed, index, split)[0] for index in range(number)]
    pictures = np.stack([np.asarray(render(scene)) for scene in scenes])
    return encode_all(vae, pictures), torch.stack([words_of(scene) for scene in scenes])


def train_classifier(
    recipe: dict, folder: Path, vae: AutoencoderKL, *, resume: bool = False, cpu: bool = False
) -> NoisyClassifier:
    """Follow ``recipes/classifier.toml`` and return the classifier with averaged weights.

    Each step: latents, timesteps and noise as for a noise predictor, but the network guesses which words fit.
    """
    settings = TrainingSettings(**recipe["training"])
    latents, labels = labelled_latents(vae, recipe["data"]["pictures"], recipe["data"]["seed"])
    alpha_bar = Schedule(ScheduleConfig(**recipe["schedule"])).alpha_bar.float()  # (T,)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        classifier = NoisyClassifier(WORDS, recipe["model"]["widths"])
    shape = (settings.batch_size, *latents.mean.shape[1:])

    def loss_of(model: nn.Module, step: int, share: Share) -> dict[str, Tensor]:
        generator = step_generator(settings.seed, step)
        chosen = pick(len(labels), settings.batch_size, generator)
        timesteps = pick(len(alpha_bar), settings.batch_size, generator)
        spread, noise = (torch.randn(shape, generator=generator) for _ in range(2))
        chosen, timesteps, spread, noise = (share.take(whole) for whole in (chosen, timesteps, spread, noise))
        noisy = noised(latents.draw(chosen, spread), timesteps, noise, alpha_bar)
        noisy, timesteps, fits = send((noisy, timesteps, labels[chosen]), next(model.parameters()).device)
        return {"loss": F.binary_cross_entropy_with_logits(model(noisy, timesteps).float(), fits)}

    return fit(classifier, loss_of, settings, folder, resume=resume, cpu=cpu)
