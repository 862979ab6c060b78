"""What the networks of a single file look like, read off the shapes of their tensors: the file holds no settings.

What shapes do not say (how many heads, which activation) follows from the family.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from sdlearn.checkpoint import single_file_names as names
from sdlearn.config import CLIPTextConfig, UNetConfig, VAEConfig

HEAD_WIDTH = 64  # of SD 2's U-Net and of both text towers; SD 1's U-Net has 8 heads everywhere


def _numbers(found: Mapping[str, Tensor], pattern: str) -> list[int]:
    """The numbers that stand in the group of ``pattern`` in any name, sorted."""
    return sorted({int(match[1]) for name in found if (match := re.match(pattern, name))})


def unet_config_of(found: Mapping[str, Tensor]) -> UNetConfig:
    """The settings of a U-Net under CompVis' names."""
    start = re.escape(names.UNET_PREFIX)
    downs = _numbers(found, rf"{start}input_blocks\.(\d+)\.0\.op\.weight")
    blocks = _numbers(found, rf"{start}input_blocks\.(\d+)\.0\.out_layers\.3\.weight")
    layers = downs[0] - 1 if downs else len(blocks)
    firsts = [1, *(down + 1 for down in downs)]  # the first block of each level

    def tensor(name: str) -> Tensor:
        return found[names.UNET_PREFIX + name]

    channels = tuple(tensor(f"input_blocks.{first}.0.out_layers.3.weight").shape[0] for first in firsts)
    attention = tuple(f"{names.UNET_PREFIX}input_blocks.{first}.1.norm.weight" in found for first in firsts)
    middle = "middle_block.1."
    linear = tensor(middle + "proj_in.weight").ndim == 2
    return UNetConfig(
        in_channels=tensor("input_blocks.0.0.weight").shape[1],
        out_channels=tensor("out.2.weight").shape[0],
        block_out_channels=channels,
        layers_per_block=layers,
        attention_levels=attention,
        num_heads=tuple(width // HEAD_WIDTH if linear else 8 for width in channels),
        cross_attention_dim=tensor(middle + "transformer_blocks.0.attn2.to_k.weight").shape[1],
        use_linear_projection=linear,
    )


def vae_config_of(found: Mapping[str, Tensor]) -> VAEConfig:
    """The settings of an autoencoder under CompVis' names."""
    start = re.escape(names.VAE_PREFIX) + r"encoder\.down\."
    levels = _numbers(found, start + r"(\d+)\.block\.0\.conv1\.weight")
    key = names.VAE_PREFIX + "encoder.down.{}.block.0.conv1.weight"
    return VAEConfig(
        latent_channels=found[names.VAE_PREFIX + "post_quant_conv.weight"].shape[0],
        block_out_channels=tuple(found[key.format(level)].shape[0] for level in levels),
        layers_per_block=len(_numbers(found, start + r"0\.block\.(\d+)\.conv1\.weight")),
    )


def text_config_of(found: Mapping[str, Tensor]) -> CLIPTextConfig:
    """The settings of a text tower under CLIP's or OpenCLIP's names."""
    open_clip = names.OPEN_CLIP_PREFIX + "token_embedding.weight" in found
    prefix = names.OPEN_CLIP_PREFIX if open_clip else names.CLIP_PREFIX
    if open_clip:
        words, places = found[prefix + "token_embedding.weight"], found[prefix + "positional_embedding"]
        layers = len(_numbers(found, re.escape(prefix) + r"transformer\.resblocks\.(\d+)\.")) - 1  # see below
        inner = found[prefix + "transformer.resblocks.0.mlp.c_fc.weight"]
    else:
        words = found[prefix + "embeddings.token_embedding.weight"]
        places = found[prefix + "embeddings.position_embedding.weight"]
        layers = len(_numbers(found, re.escape(prefix) + r"encoder\.layers\.(\d+)\."))
        inner = found[prefix + "encoder.layers.0.mlp.fc1.weight"]
    # SD 2 listens to the last but one layer of its text tower: the last one is not built at all.
    return CLIPTextConfig(
        vocab_size=words.shape[0],
        max_position_embeddings=places.shape[0],
        hidden_size=words.shape[1],
        intermediate_size=inner.shape[0],
        num_hidden_layers=layers,
        num_attention_heads=words.shape[1] // HEAD_WIDTH,
        hidden_act="gelu" if open_clip else "quick_gelu",
        pad_token_id=0 if open_clip else CLIPTextConfig.pad_token_id,
    )
