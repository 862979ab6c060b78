"""The names of the first Stable Diffusion files (CompVis, OpenCLIP) beside those of the folder layout.

A single file holds all networks under prefixes, and numbers the U-Net's blocks straight through. Every table here is
made from the names of a network of ours: {our name: their name}. Read from left to right it writes such a file, from
right to left it reads one. Most of our tensors are one of theirs; only OpenCLIP keeps query, key and value in one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sdlearn.config import UNetConfig, VAEConfig

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
CLIP_PREFIX = "cond_stage_model.transformer.text_model."  # SD 1
OPEN_CLIP_PREFIX = "cond_stage_model.model."  # SD 2

RESIDUAL_BLOCK = {  # within a residual block of the U-Net
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
TEXT_LAYER = {  # within a layer of OpenCLIP's text tower
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def _first_segments(name: str, table: dict[str, str]) -> str:
    """``name`` with its beginning exchanged by the table: whole segments only."""
    for ours, theirs in table.items():
        if name == ours or name.startswith(ours + "."):
            return theirs + name[len(ours) :]
    return name


def unet_name(name: str, config: UNetConfig) -> str:
    """CompVis' name of a tensor of our U-Net, without the prefix."""
    blocks, layers = len(config.block_out_channels), config.layers_per_block
    plain = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "mid_block.attentions.0": "middle_block.1",
    }
    place, kind, rest = "", "", ""
    if found := re.match(r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d+)\.(.*)", name):
        block, kind, number, rest = int(found[1]), found[2], int(found[3]), found[4]
        index = 1 + block * (layers + 1) + (layers if kind == "downsamplers" else number)
        place = f"input_blocks.{index}.{1 if kind == 'attentions' else 0}"
    elif found := re.match(r"up_blocks\.(\d+)\.(resnets|attentions|upsamplers)\.(\d+)\.(.*)", name):
        block, kind, number, rest = int(found[1]), found[2], int(found[3]), found[4]
        index = block * (layers + 1) + (layers if kind == "upsamplers" else number)
        has_attention = config.attention_levels[blocks - 1 - block]
        after = {"resnets": 0, "attentions": 1, "upsamplers": 2 if has_attention else 1}[kind]
        place = f"output_blocks.{index}.{after}"
    elif found := re.match(r"mid_block\.resnets\.(\d)\.(.*)", name):
        kind, place, rest = "resnets", f"middle_block.{2 * int(found[1])}", found[2]
    else:
        return _first_segments(name, plain)
    if kind == "resnets":
        rest = _first_segments(rest, RESIDUAL_BLOCK)
    elif kind == "downsamplers":
        rest = rest.replace("conv.", "op.", 1)
    return f"{place}.{rest}"


def vae_name(name: str, config: VAEConfig) -> str:
    """CompVis' name of a tensor of our autoencoder, without the prefix. The decoder's levels count downwards there."""
    last = len(config.block_out_channels) - 1
    name = re.sub(r"\bdown_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"\bdown_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"\bup_blocks\.(\d+)\.resnets\.", lambda m: f"up.{last - int(m[1])}.block.", name)
    name = re.sub(r"\bup_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{last - int(m[1])}.upsample.", name)
    name = re.sub(r"\bmid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", name)
    if found := re.match(r"(.*)mid_block\.attentions\.0\.(.*)", name):
        return f"{found[1]}mid.attn_1.{_first_segments(found[2], VAE_ATTENTION)}"
    name = name.replace("conv_shortcut", "nin_shortcut")
    return name.replace("conv_norm_out", "norm_out")


def open_clip_name(name: str) -> tuple[str, int | None]:
    """OpenCLIP's name of a tensor of our text tower, without the prefix, and which third of that tensor it is."""
    plain = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding": "token_embedding",
        "final_layer_norm": "ln_final",
    }
    found = re.match(r"encoder\.layers\.(\d+)\.(.*)", name)
    if not found:
        return _first_segments(name, plain), None
    layer, rest = f"transformer.resblocks.{found[1]}", found[2]
    if third := re.match(r"self_attn\.([qkv])_proj\.(weight|bias)", rest):
        return f"{layer}.attn.in_proj_{third[2]}", "qkv".index(third[1])
    return f"{layer}.{_first_segments(rest, TEXT_LAYER)}", None


def unet_table(names: Iterable[str], config: UNetConfig) -> dict[str, str]:
    """{our name: name in the single file} for every tensor of the U-Net."""
    return {name: UNET_PREFIX + unet_name(name, config) for name in names}


def vae_table(names: Iterable[str], config: VAEConfig) -> dict[str, str]:
    """{our name: name in the single file} for every tensor of the autoencoder."""
    return {name: VAE_PREFIX + vae_name(name, config) for name in names}


def clip_table(names: Iterable[str]) -> dict[str, str]:
    """{our name: name in the single file} for every tensor of the text tower of SD 1."""
    return {name: CLIP_PREFIX + name for name in names}


def open_clip_table(names: Iterable[str]) -> dict[str, tuple[str, int | None]]:
    """{our name: (name in the single file, third)} for every tensor of the text tower of SD 2."""
    return {
        name: (OPEN_CLIP_PREFIX + theirs, third) for name in names for theirs, third in [open_clip_name(name)]
    }
