"""A checkpoint in three states: opened (known, not loaded), loaded into networks, and told in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdlearn.checkpoint.errors import CheckpointError
from sdlearn.checkpoint.files import Weights
from sdlearn.checkpoint.tensors import Place, check_fit, fill, outline
from sdlearn.clip import CLIPTextModel
from sdlearn.config import ScheduleConfig
from sdlearn.tokenizer import Tokenizer
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

UNTOLD = "what nobody has said (--prediction)"  # the prediction type of some single files


@dataclass(frozen=True)
class Parts:
    """A whole Stable Diffusion: three networks, the tokenizer, and the settings of the noise schedule."""

    unet: UNet
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: Tokenizer
    schedule_config: ScheduleConfig


@dataclass(frozen=True)
class Part:
    """One network of an opened checkpoint: what it is, and where each of its tensors stands."""

    network: type[nn.Module]
    config: Any
    weights: Weights
    table: dict[str, Place]  # {our name of a tensor: its place}
    ignored: dict[str, int] = field(default_factory=dict)  # reason -> number of tensors

    def check(self) -> None:
        """Raise CheckpointError unless the tensors are exactly those of the network; no number is read."""
        wanted = outline(self.network, self.config, self.weights.files[0]).state_dict()
        check_fit(wanted, self.weights.tensors, self.table, self.weights.files[0])

    def load(self, dtype: torch.dtype = torch.float32, device: str = "cpu") -> nn.Module:
        """The network with its numbers. Raises CheckpointError."""
        network = outline(self.network, self.config, self.weights.files[0])
        check_fit(network.state_dict(), self.weights.tensors, self.table, self.weights.files[0])
        return fill(network, self.weights, self.table, dtype, device)

    @property
    def parameters(self) -> int:
        """How many numbers the network has."""
        return sum(t.numel() for t in outline(self.network, self.config, "").state_dict().values())

    def __str__(self) -> str:
        types = sorted(
            {str(self.weights.tensors[p.name].dtype).removeprefix("torch.") for p in self.table.values()}
        )
        names = ", ".join(path.name for path in self.weights.files)
        return f"{len(self.table):5} tensors  {self.parameters:>13,} parameters  {'/'.join(types):9} {names}"


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint: everything about it is known and checked, and no weights are in memory."""

    source: Path
    parts: dict[str, Part]  # under "unet", "vae" and "text_encoder"
    schedule_config: ScheduleConfig
    tokenizer: Tokenizer | None  # None: the file holds no vocabulary
    ignored: dict[str, int] = field(default_factory=dict)  # reason -> number of tensors of no use here

    @property
    def family(self) -> str:
        """Stable Diffusion 1 or 2, told by how the U-Net's transformers read their input."""
        unet = self.parts["unet"].config
        inpainting = unet.in_channels > unet.out_channels
        return f"Stable Diffusion {2 if unet.use_linear_projection else 1}" + (
            " inpainting" if inpainting else ""
        )

    @property
    def safety_checker(self) -> Path | None:
        """The folder of its safety checker, if it has one."""
        folder = self.source / "safety_checker"
        return folder if (folder / "config.json").is_file() else None

    @property
    def size(self) -> str:
        """The side, in pixels, of the pictures that it has learnt; a file of SD 2 tells it by what it predicts."""
        if self.schedule_config.prediction_type == UNTOLD:
            return "depends on what it predicts"
        side = self.parts["unet"].config.sample_size * self.parts["vae"].config.factor
        return f"{side} x {side} pixels"

    def load(self, tokenizer: Tokenizer, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Parts:
        """All networks with their numbers, read one tensor at a time. Raises CheckpointError."""
        self.check_prediction()
        networks = {name: part.load(dtype, device) for name, part in self.parts.items()}
        return Parts(**networks, tokenizer=tokenizer, schedule_config=self.schedule_config)

    def check_prediction(self) -> None:
        """Raise CheckpointError where it is not known what the U-Net predicts."""
        if self.schedule_config.prediction_type == UNTOLD:
            raise CheckpointError(
                f"{self.source} is of SD 2 and does not say what its U-Net predicts: pass prediction_type='epsilon' "
                "(--prediction epsilon; SD 2 base, 512 pixels) or 'v_prediction' (SD 2 with 768 pixels)."
            )

    def __str__(self) -> str:
        """The report: family, components, size of its pictures, tensors used, tensors ignored and why."""
        kind = self.schedule_config.prediction_type
        lines = [
            f"{self.source}: {self.family}, predicts {kind}, sampler of {self.schedule_config.scheduler}"
        ]
        lines += [f"  {name:13}{part}" for name, part in self.parts.items()]
        words = f"{len(self.tokenizer)} tokens" if self.tokenizer else "not in the file: taken from elsewhere"
        lines.append(f"  {'vocabulary':13}{words}")
        lines.append(f"  {'pictures':13}{self.size}")
        lines.append(f"  {'safety':13}{'a checker, used' if self.safety_checker else 'no checker'}")
        reasons = total(self.ignored, *(part.ignored for part in self.parts.values()))
        lines += [f"  {'ignored':13}{count:5} tensors: {reason}" for reason, count in reasons.items()]
        return "\n".join(lines)


def total(*counts: Mapping[str, int]) -> dict[str, int]:
    """The sum of several counts, by reason."""
    reasons = sorted({reason for count in counts for reason in count})
    return {reason: sum(count.get(reason, 0) for count in counts) for reason in reasons}
