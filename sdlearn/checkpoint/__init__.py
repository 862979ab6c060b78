"""Checkpoints: weights and settings of a whole Stable Diffusion, read strictly, written for all."""

from sdlearn.checkpoint.errors import CheckpointError
from sdlearn.checkpoint.folder import Parts, load_folder
from sdlearn.checkpoint.saving import save_folder
from sdlearn.checkpoint.single_file import load_single_file, tokenizer_for, write_single_file

__all__ = [
    "CheckpointError",
    "Parts",
    "load_folder",
    "load_single_file",
    "save_folder",
    "tokenizer_for",
    "write_single_file",
]
