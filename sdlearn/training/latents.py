"""What a training step of latent diffusion does: frozen latents, noise mixed in, the loss (Rombach et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from sdlearn.training.data import pixels_of
from sdlearn.vae import AutoencoderKL


@dataclass(frozen=True)
class FrozenLatents:
    """The autoencoder's answer to every training picture, kept in half precision: mean and spread, (n, 4, h, w)."""

    mean: Tensor
    std: Tensor

    def draw(self, indices: Tensor, noise: Tensor) -> Tensor:
        """Fresh latents of the chosen pictures, already scaled to about unit variance: (B, 4, h, w)."""
        return self.mean[indices].float() + self.std[indices].float() * noise


@torch.no_grad()
def encode_all(vae: AutoencoderKL, pictures: np.ndarray, batch_size: int = 32) -> FrozenLatents:
    """Run the encoder once over all pictures, so that no training step has to."""
    device = next(vae.parameters()).device
    mean, std = [], []
    for indices in tqdm(torch.arange(len(pictures)).split(batch_size), desc="encoding", disable=None):
        with torch.autocast(device.type, torch.bfloat16):
            posterior = vae.encode(pixels_of(pictures, indices).to(device))
        mean.append((posterior.mean.float() * vae.config.scaling_factor).half().cpu())
        std.append((posterior.logvar.float().mul(0.5).exp() * vae.config.scaling_factor).half().cpu())
    return FrozenLatents(torch.cat(mean), torch.cat(std))


def noised(clean: Tensor, timesteps: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Pictures or latents (B, C, h, w), each at its own timestep (B,) (Ho et al. 2020, equation 4)."""
    kept = alpha_bar[timesteps].reshape(-1, 1, 1, 1)  # (B,) -> (B, 1, 1, 1)
    return kept.sqrt() * clean + (1 - kept).sqrt() * noise


def min_snr_weight(snr: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) / SNR for noise prediction: almost clean latents count less (Hang et al. 2023, section 3.4)."""
    return torch.where(snr > gamma, snr.clamp(max=gamma) / snr, 1.0)  # at SNR 0 as well


def denoising_loss(
    network: Callable[[Tensor, Tensor, Tensor], Tensor],
    clean: Tensor,
    timesteps: Tensor,
    noise: Tensor,
    context: Tensor,
    alpha_bar: Tensor,
    gamma: float = 5.0,
) -> dict[str, Tensor]:
    """How well ``network(noisy, timesteps, context)`` guesses the noise (Rombach et al. 2022, equation 3).

    ``mse`` is the mean squared error; ``loss``, which training makes small, weighs it by ``min_snr_weight``.
    ``context`` are the text vectors, (B, length, width). They lie where the network is; the rest may lie elsewhere.
    """
    noisy = noised(clean, timesteps, noise, alpha_bar).to(
        context.device, memory_format=torch.channels_last
    )  # as convolutions like it
    guess = network(noisy, timesteps.to(context.device), context)
    error = F.mse_loss(guess.float(), noise.to(context.device), reduction="none").mean(dim=(1, 2, 3))  # (B,)
    kept = alpha_bar[timesteps]
    weight = min_snr_weight(kept / (1 - kept), gamma).to(context.device)
    return {"loss": (weight * error).mean(), "mse": error.mean()}
