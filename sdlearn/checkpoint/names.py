"""Tensor names that differ between published files of the same layout: one name in, our name out."""

from __future__ import annotations

# The autoencoder's attention under its old names, which official Stable Diffusion files still have.
OLD_VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
TEXT_PREFIX = "text_model."  # in files always, in transformers' own modules until version 5.6
# In some files, of no use here.
TEXT_UNUSED = {
    "embeddings.position_ids": "a table of 0, 1, 2, ...",
    "text_projection.weight": "for comparing texts with pictures",
    "logit_scale": "for comparing texts with pictures",
}


def vae_name(name: str) -> str:
    """Today's name for a tensor of the autoencoder, whose attention had others."""
    segments = name.split(".")  # whole segments: a plain replacement would make to_to_q of to_q
    return ".".join(OLD_VAE_ATTENTION.get(s, s) for s in segments) if "attentions" in segments else name


def text_name(name: str) -> str:
    """The name of a tensor of the text encoder without prefix."""
    return name.removeprefix(TEXT_PREFIX)


def text_file_name(name: str) -> str:
    """The name with the prefix that every version of transformers reads."""
    return TEXT_PREFIX + name
