"""Checkpoints: weights and settings of a whole Stable Diffusion, read strictly, written for all."""

from sdlearn.checkpoint.errors import CheckpointError
from sdlearn.checkpoint.folder import Parts, load_folder
from sdlearn.checkpoint.saving import save_folder

__all__ = ["CheckpointError", "Parts", "load_folder", "save_folder"]
