"""Checkpoints: weights and settings of a whole Stable Diffusion, read strictly, written for all."""

from sdlearn.checkpoint.classifier_model import load_classifier, save_classifier
from sdlearn.checkpoint.decoder import is_decoder, save_decoder, swap_decoder
from sdlearn.checkpoint.errors import CheckpointError
from sdlearn.checkpoint.folder import load_folder, open_folder
from sdlearn.checkpoint.hub import is_hub_id
from sdlearn.checkpoint.opening import load_checkpoint, locate, open_checkpoint
from sdlearn.checkpoint.parts import Checkpoint, Parts
from sdlearn.checkpoint.pixel_model import load_pixel_model, save_pixel_model
from sdlearn.checkpoint.saving import save_folder
from sdlearn.checkpoint.single_file import open_single_file, open_vae, write_single_file

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Parts",
    "is_decoder",
    "is_hub_id",
    "load_checkpoint",
    "load_classifier",
    "load_folder",
    "load_pixel_model",
    "locate",
    "open_checkpoint",
    "open_folder",
    "open_single_file",
    "open_vae",
    "save_classifier",
    "save_decoder",
    "save_folder",
    "save_pixel_model",
    "swap_decoder",
    "write_single_file",
]
