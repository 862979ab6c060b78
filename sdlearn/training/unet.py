"""Training the noise predictor on frozen latents and frozen text vectors (Rombach et al. 2022, equation 3)."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from sdlearn.clip import CLIPTextModel
from sdlearn.config import ScheduleConfig, UNetConfig
from sdlearn.schedule import Schedule
from sdlearn.tokenizer import Tokenizer
from sdlearn.training.data import Ahead, open_scenes, pick, send
from sdlearn.training.latents import FrozenLatents, denoising_loss, encode_all
from sdlearn.training.loop import Share, TrainingSettings, fit, save_atomically, step_generator
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL


class TextTable:
    """The vectors of all captions that training will ask for, computed once: the text tower is frozen."""

    def __init__(
        self,
        text_encoder: CLIPTextModel,
        tokenizer: Tokenizer,
        captions: Iterable[str],
        batch_size: int = 128,
    ):
        distinct, device = sorted(set(captions)), next(text_encoder.parameters()).device
        text_encoder, self._known = text_encoder.eval(), {}
        for start in tqdm(range(0, len(distinct), batch_size), desc="captions", disable=None):
            texts = distinct[start : start + batch_size]
            ids = torch.tensor([tokenizer.encode(text) for text in texts], device=device)
            with torch.no_grad():
                self._known.update(zip(texts, text_encoder(ids).half().cpu(), strict=True))

    def __call__(self, captions: list[str]) -> Tensor:
        """(B, L, D) text vectors."""
        return torch.stack([self._known[text] for text in captions]).float()


def train_unet(
    recipe: dict,
    folder: Path,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: Tokenizer,
    *,
    resume: bool = False,
    cpu: bool = False,
    preview: Callable[[nn.Module, Path], None] | None = None,
) -> UNet:
    """Follow ``recipes/unet.toml`` and return the U-Net with averaged weights.

    The four steps of Ho et al. 2020 (algorithm 1): take a latent and its caption, draw a timestep and noise, mix them,
    and let the network guess the noise. One caption in ten is replaced by "" (Ho & Salimans 2022), for guidance.
    """
    settings = TrainingSettings(**recipe["training"])
    scenes = open_scenes(recipe["data"])
    schedule = Schedule(ScheduleConfig(**recipe["schedule"]))
    alpha_bar = schedule.alpha_bar.float()  # (T,)
    alpha_bar_on = functools.cache(alpha_bar.to)  # once a device: to copy it at each step waits for the GPU
    latents = _cached_latents(vae, scenes, folder)
    texts = TextTable(text_encoder, tokenizer, ["", *itertools.chain.from_iterable(scenes.captions)])
    drop, gamma = recipe["loss"]["drop_captions"], recipe["loss"]["min_snr_gamma"]
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        unet = UNet(UNetConfig.from_json(recipe["model"]))
        nn.init.zeros_(unet.conv_out.weight)  # the first guess is almost "no noise at all"
    shape = (settings.batch_size, *latents.mean.shape[1:])
    trainable = len(scenes.pictures) - recipe["data"]["held_back"]

    def batch(step: int, share: Share) -> tuple[Tensor, ...]:
        """Clean latents, timesteps, noise and text vectors of a process's share of a step."""
        generator = step_generator(settings.seed, step)
        chosen = pick(trainable, settings.batch_size, generator)
        wording = torch.randint(len(scenes.captions[0]), (settings.batch_size,), generator=generator)
        dropped = torch.rand(settings.batch_size, generator=generator) < drop
        timesteps = torch.randint(len(alpha_bar), (settings.batch_size,), generator=generator)
        spread, noise = (torch.randn(shape, generator=generator) for _ in range(2))
        chosen, wording, dropped, timesteps, spread, noise = (
            share.take(whole) for whole in (chosen, wording, dropped, timesteps, spread, noise)
        )
        captions = [
            "" if d else scenes.captions[i][w] for i, w, d in zip(chosen, wording, dropped, strict=True)
        ]
        return latents.draw(chosen, spread), timesteps, noise, texts(captions)

    early = Ahead(batch)

    def loss_of(model: nn.Module, step: int, share: Share) -> dict[str, Tensor]:
        device = next(model.parameters()).device
        make = early if device.type == "cuda" else batch  # a CPU has no idle hands: measured, a third slower
        clean, timesteps, noise, context = send(make(step, share), device)
        return denoising_loss(model, clean, timesteps, noise, context, alpha_bar_on(device), gamma)

    return fit(unet, loss_of, settings, folder, resume=resume, preview=preview, cpu=cpu)


def _cached_latents(vae: AutoencoderKL, scenes, folder: Path) -> FrozenLatents:
    """Encode once per run folder; a resumed run reads what it wrote, if the autoencoder is still the same."""
    path, weights = folder / f"latents-{os.environ.get('RANK', '0')}.pt", vae.encoder.conv_out.weight.cpu()
    if path.exists():
        saved = torch.load(path, weights_only=True)
        if torch.equal(saved["encoder"], weights):
            return FrozenLatents(saved["mean"], saved["std"])
    latents = encode_all(vae, scenes.pictures)
    folder.mkdir(parents=True, exist_ok=True)
    save_atomically({"mean": latents.mean, "std": latents.std, "encoder": weights}, path)
    return latents
