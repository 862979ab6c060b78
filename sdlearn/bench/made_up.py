"""A Stable Diffusion 1.5 of random numbers: as fast and as large as the real one, and nothing to download."""

from __future__ import annotations

import torch
from torch import nn

from sdlearn.bpe import byte_symbols
from sdlearn.checkpoint.tensors import outline
from sdlearn.clip import CLIPTextModel
from sdlearn.config import CLIPTextConfig, ScheduleConfig, UNetConfig, VAEConfig
from sdlearn.pipeline import StableDiffusion
from sdlearn.tokenizer import Tokenizer
from sdlearn.tokenizer_training import vocabulary
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

NAME = "sd15"  # on the command line
MERGES = 48894  # of CLIP's tokenizer


def made_up_tokenizer() -> Tokenizer:
    """As large as CLIP's, with merges of any two letters."""
    letters = list(byte_symbols().values())
    pairs = [(a, b + end) for a in letters for b in letters for end in ("", "</w>")][:MERGES]
    return Tokenizer(vocabulary(pairs), pairs)


def made_up_network(make: type[nn.Module], config: object, dtype: torch.dtype, device: str) -> nn.Module:
    """Uniform numbers up to 1 / sqrt(fan in), as new layers have them; norms at rest; all made on the device."""
    network = outline(make, config, NAME).to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1:
                bound = parameter[0].numel() ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
            else:
                parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return network


def made_up_model(
    dtype: torch.dtype,
    device: str,
    unet: UNetConfig | None = None,
    vae: VAEConfig | None = None,
    text: CLIPTextConfig | None = None,
) -> StableDiffusion:
    """The whole model; other configs than those of Stable Diffusion 1.5 make another one."""
    networks = [
        made_up_network(make, config, dtype, device)
        for make, config in (
            (UNet, unet or UNetConfig()),
            (AutoencoderKL, vae or VAEConfig()),
            (CLIPTextModel, text or CLIPTextConfig()),
        )
    ]
    return StableDiffusion(*networks, made_up_tokenizer(), ScheduleConfig(), name=NAME)
