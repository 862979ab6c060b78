"""Tensor names that differ between published files of the same layout. All functions give new dicts."""

from __future__ import annotations

from torch import Tensor

# The autoencoder's attention under its old names, which official Stable Diffusion files still have.
OLD_VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
TEXT_PREFIX = "text_model."  # in files always, in transformers' own modules until version 5.6
# In some files, of no use here: a table of 0, 1, 2, … and what CLIP needs to compare texts with pictures.
TEXT_UNUSED = ("embeddings.position_ids", "text_projection.weight", "logit_scale")


def from_old_vae(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The autoencoder's tensors with today's names for its attention."""

    def renamed(name: str) -> str:
        segments = name.split(".")  # whole segments: a plain replacement would make to_to_q of to_q
        return ".".join(OLD_VAE_ATTENTION.get(s, s) for s in segments) if "attentions" in segments else name

    return {renamed(name): tensor for name, tensor in tensors.items()}


def from_text_encoder(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The text encoder's tensors without prefix and without those that nothing here reads."""
    plain = {name.removeprefix(TEXT_PREFIX): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in plain.items() if name not in TEXT_UNUSED}


def to_text_encoder(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The text encoder's tensors with the prefix that every version of transformers reads."""
    return {TEXT_PREFIX + name: tensor for name, tensor in tensors.items()}
