"""A Stable Diffusion of some thousand random numbers: three levels, unequal heads, a true tokenizer."""

from dataclasses import replace
from functools import cache

import torch

from sdlearn.checkpoint import Parts
from sdlearn.clip import CLIPTextModel
from sdlearn.config import CLIPTextConfig, ScheduleConfig, UNetConfig, VAEConfig
from sdlearn.pipeline import StableDiffusion
from sdlearn.tokenizer import Tokenizer
from sdlearn.tokenizer_training import train_bpe, vocabulary
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

PIXELS = 32  # the model's own size: 8 latents of 4 pixels
MULTIPLE = 16  # 4 pixels a latent, halved twice in the U-Net


def randomise(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Random numbers in every parameter, of a size that keeps activations in range."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = max(parameter[0].numel(), 1) if parameter.dim() > 1 else 25
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
            if parameter.dim() == 1:
                parameter.add_(0.5)
    return module.eval()


def small_model(**unet_settings) -> Parts:
    """The same random model at every call; ``unet_settings`` change entries of its UNetConfig."""
    merges = train_bpe(["an orange cat standing on a red castle", "a cat and a castle"], 30)
    tokenizer = Tokenizer(vocabulary(merges), merges, max_length=16)
    text = CLIPTextConfig(
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=16,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=3,
        projection_dim=24,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNetConfig(
        sample_size=PIXELS // 4,
        block_out_channels=(8, 16, 24),
        layers_per_block=1,
        attention_levels=(True, True, False),
        num_heads=(1, 2, 3),
        cross_attention_dim=24,
        norm_num_groups=4,
    )
    vae = VAEConfig(
        block_out_channels=(4, 8, 12),
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=0.3,
        sample_size=PIXELS,
    )
    networks = UNet(replace(unet, **unet_settings)), AutoencoderKL(vae), CLIPTextModel(text)
    networks = [randomise(network, seed) for seed, network in enumerate(networks, 1)]
    return Parts(*networks, tokenizer, ScheduleConfig())


def small_pipeline(in_channels: int = 4, **schedule) -> StableDiffusion:
    """A pipeline of such a model; ``schedule`` changes entries of its ScheduleConfig."""
    parts = small_model(in_channels=in_channels)
    networks = parts.unet, parts.vae, parts.text_encoder
    return StableDiffusion(*networks, parts.tokenizer, ScheduleConfig(**schedule), name="small")


def noise(*shape: int, seed: int = 9) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# How the families differ, in small: heads as single files are read with them.
FAMILIES = {
    "SD 1": {"num_heads": (8, 8, 8), "in_channels": 4, "use_linear_projection": False},
    "SD 1 inpainting": {"num_heads": (8, 8, 8), "in_channels": 9, "use_linear_projection": False},
    "SD 2": {"num_heads": (1, 2, 3), "in_channels": 4, "use_linear_projection": True},
}


def small_parts(family, tokenizer) -> Parts:
    """A random model of a family. Its networks, of twelve million numbers, are shared: change copies only."""
    return Parts(*small_networks(family, tokenizer.vocab_size), tokenizer, ScheduleConfig())


@cache
def small_networks(family: str, vocab_size: int) -> list[torch.nn.Module]:
    second = family == "SD 2"
    unet = UNetConfig(
        block_out_channels=(64, 128, 192),
        layers_per_block=2,
        attention_levels=(True, True, False),
        cross_attention_dim=128,
        **FAMILIES[family],
    )
    vae = VAEConfig(block_out_channels=(32, 64), layers_per_block=1)
    text = CLIPTextConfig(
        vocab_size=vocab_size,
        max_position_embeddings=16,
        hidden_size=128,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act="gelu" if second else "quick_gelu",
        pad_token_id=0 if second else CLIPTextConfig.pad_token_id,
    )
    networks = (UNet(unet), AutoencoderKL(vae), CLIPTextModel(text))
    return [randomise(network, seed) for seed, network in enumerate(networks)]
