"""The safety checker that came with Stable Diffusion 1: a CLIP image tower that compares a picture with twenty vectors.

Where a checkpoint has one, pictures too near to one of seventeen concepts are blacked out. Three more, looked at first,
lower all thresholds a little. What the concepts are was not published; their vectors and thresholds are in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.checkpoint.files import open_weights
from sdlearn.checkpoint.folder import find_weights, read_json
from sdlearn.checkpoint.parts import Part
from sdlearn.checkpoint.tensors import Place, is_finite
from sdlearn.clip import CLIPVisionModel
from sdlearn.config import CLIPVisionConfig

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's pictures
CONCEPTS = ("concept_embeds", "concept_embeds_weights", "special_care_embeds", "special_care_embeds_weights")
STRICTER = 0.01  # how much nearer every concept counts beside one of special care


@dataclass(frozen=True)
class SafetyChecker:
    """The image tower, and the concepts with their thresholds."""

    tower: nn.Module
    concepts: Tensor  # (17, D)
    thresholds: Tensor  # (17,)
    special: Tensor  # (3, D)
    special_thresholds: Tensor  # (3,)

    @classmethod
    def from_folder(
        cls, folder: Path, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> SafetyChecker:
        """Read the ``safety_checker`` folder of a checkpoint. Raises CheckpointError."""
        data = read_json(folder / "config.json")
        vision = data.get("vision_config") or data.get("vision_config_dict") or {}
        width = data.get("projection_dim", CLIPVisionConfig.projection_dim)
        try:
            config = CLIPVisionConfig.from_json({**vision, "projection_dim": width})
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{folder / 'config.json'} describes no image tower ({brief(error)})."
            ) from error
        weights = open_weights(find_weights(folder, "model", "pytorch_model"))
        missing = [name for name in CONCEPTS if name not in weights.tensors]
        if missing:
            raise CheckpointError(f"{folder} holds no safety checker: {missing[0]} is missing.")
        shapes = [tuple(weights.tensors[name].shape) for name in CONCEPTS]
        if (
            shapes[0][1:] != (width,)
            or shapes[2][1:] != (width,)
            or shapes[1::2] != [shapes[0][:1], shapes[2][:1]]
        ):
            raise CheckpointError(f"{folder} holds no safety checker: its concepts are not of width {width}.")
        names = [
            name for name in weights.tensors if not name.endswith("position_ids") and name not in CONCEPTS
        ]
        table = {
            name.replace("vision_model.vision_model.", "vision_model.", 1): Place(name) for name in names
        }
        tower = Part(CLIPVisionModel, config, weights, table).load(dtype, device)
        tensors = {name: tensor.float() for name, tensor in weights.read(CONCEPTS)}
        if not all(map(is_finite, tensors.values())):
            raise CheckpointError(f"{folder} holds NaN or infinite numbers: take another copy.")
        return cls(tower, *(tensors[name].to(device) for name in CONCEPTS))

    @torch.no_grad()
    def flags(self, pixels: Tensor) -> list[bool]:
        """True for each picture that is too near to a concept; (n, 3, 224, 224) as ``clip_pixels`` makes them."""
        first = next(self.tower.parameters())
        vectors = F.normalize(self.tower(pixels.to(first)).float(), dim=-1)
        concepts, thresholds, special_concepts, special_thresholds = (
            tensor.to(vectors)
            for tensor in (self.concepts, self.thresholds, self.special, self.special_thresholds)
        )
        special = vectors @ F.normalize(special_concepts, dim=-1).T - special_thresholds
        nearness = vectors @ F.normalize(concepts, dim=-1).T - thresholds
        stricter = STRICTER * (_rounded(special) > 0).any(dim=1, keepdim=True)
        return (_rounded(nearness + stricter) > 0).any(dim=1).tolist()

    def black_out(self, images: Sequence[Image.Image]) -> tuple[list[Image.Image], list[bool]]:
        """The pictures, black where flagged, and the flags."""
        flags = self.flags(clip_pixels(images, self.tower.config.image_size))
        return [
            Image.new("RGB", one.size) if bad else one for one, bad in zip(images, flags, strict=True)
        ], flags


def _rounded(values: Tensor) -> Tensor:
    """To three digits, as published: nearer than the threshold by less than 0.0005 does not count."""
    return (values * 1000).round() / 1000


def clip_pixels(images: Sequence[Image.Image], size: int = 224) -> Tensor:
    """Pictures as CLIP's image tower expects them: (n, 3, size, size), shorter side resized, middle cut, normalised."""
    rows = []
    for image in images:
        width, height = (size * side // min(image.size) for side in image.size)
        resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        cut = resized.crop((left, top, left + size, top + size))
        pixels = torch.frombuffer(bytearray(cut.tobytes()), dtype=torch.uint8).reshape(size, size, 3)
        rows.append((pixels.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD))
    return torch.stack(rows).permute(0, 3, 1, 2)
