"""A second decoder for the same latents: what is passed around as a "VAE file".

The file holds the last levels of the decoder only. The encoder and the decoder's first half are those of the model
that it belongs to, so its latents, and with them the U-Net, stay as they are.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from sdlearn.checkpoint.files import open_weights
from sdlearn.checkpoint.folder import DECODER_FILE as FILE
from sdlearn.checkpoint.folder import on_disk
from sdlearn.checkpoint.saving import new_folder
from sdlearn.checkpoint.tensors import Place, check_fit, read_numbers, write_tensors
from sdlearn.vae import AutoencoderKL

TUNED = ("up_blocks.1.", "up_blocks.2.", "up_blocks.3.", "conv_norm_out.", "conv_out.")


def is_tuned(name: str) -> bool:
    """True for the parameters of an autoencoder that such a file replaces: the levels that draw the pixels."""
    return name.startswith(tuple(f"decoder.{part}" for part in TUNED))


def is_decoder(place: Path) -> bool:
    """Whether a folder, or a file, is such a second decoder."""
    return (place / FILE).is_file() or (place.name == FILE and place.is_file())


def swap_decoder(vae: AutoencoderKL, source: str | Path) -> AutoencoderKL:
    """A copy of ``vae`` with the decoder of ``source``: a file, its folder, or a shipped name ("scenes_detail").

    Raises CheckpointError unless the tensors are exactly those that a decoder of this shape and precision needs.
    """
    path = on_disk(source)
    path = path / FILE if path.is_dir() else path
    weights = open_weights([path])
    wanted = {name: tensor for name, tensor in vae.state_dict().items() if is_tuned(name)}
    table = {name: Place(name) for name in weights.tensors}
    check_fit(wanted, weights.tensors, table, path)
    last = vae.decoder.conv_out.weight
    tuned = read_numbers(wanted, weights, table, last.dtype, last.device)
    swapped = copy.deepcopy(vae)
    swapped.load_state_dict(vae.state_dict() | tuned)
    return swapped.eval()


def save_decoder(vae: AutoencoderKL, folder: str | Path) -> Path:
    """Write the tuned levels of ``vae`` in half precision, for ``swap_decoder``; returns the file.

    Raises CheckpointError when the folder holds something, or a number is not finite in half precision.
    """
    tensors = {name: tensor for name, tensor in vae.state_dict().items() if is_tuned(name)}
    with new_folder(folder) as new:
        write_tensors(tensors, new / FILE, torch.float16)
    return Path(folder) / FILE
