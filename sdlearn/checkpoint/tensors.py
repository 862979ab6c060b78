"""Tensors into networks, strictly: every one is there, none is left over, all fit and all are numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.checkpoint.files import Weights, open_weights

# Far beyond any model: only to refuse at once what would take hours to build.
MOST = {"layers_per_block": 32, "num_hidden_layers": 128, "block_out_channels": 16}


@dataclass(frozen=True)
class Place:
    """Where a tensor of ours stands in a file: under which name, and in which third of it, if three are in one."""

    name: str
    third: int | None = None

    def cut(self, tensor: Tensor, shape: torch.Size) -> Tensor:
        """Our tensor out of theirs. 1 x 1 convolutions become matrices where our network has a matrix, and back."""
        if self.third is not None and tensor.ndim:
            tensor = tensor.tensor_split(3)[self.third]
        same = tensor.shape[:2] == shape[:2] and tensor.numel() == shape.numel()
        return tensor.reshape(shape) if same else tensor


class NoInitialisation(TorchFunctionMode):
    """Inside this context new layers leave out their random weights, which are to be replaced at once.

    Even on the meta device the first of them makes torch load its compiler, which takes two seconds.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)


def outline(make: Callable[[Any], nn.Module], config: Any, source: object) -> nn.Module:
    """The network on the "meta" device, where tensors have shapes but no numbers. Raises CheckpointError."""
    for name, most in MOST.items():
        value = getattr(config, name, 0)
        if not (len(value) if isinstance(value, tuple) else value) <= most:
            raise CheckpointError(
                f"{source} claims {str(value)[:40]} as {name}, no model has that: take another copy."
            )
    try:
        with torch.device("meta"), NoInitialisation():
            return make(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise CheckpointError(
            f"{source}: no network can be made from its config ({brief(error)}): copy it again."
        ) from error


def check_fit(
    wanted: dict[str, Tensor], tensors: dict[str, Tensor], table: dict[str, Place], source: object
) -> None:
    """Raise CheckpointError unless ``table`` names exactly the ``wanted`` tensors, in their shapes."""
    both = [name for name in wanted if name in table]
    shapes = {
        name: tuple(table[name].cut(tensors[table[name].name], wanted[name].shape).shape) for name in both
    }
    problems = {
        "missing": [name for name in wanted if name not in table],
        "unexpected": [name for name in table if name not in wanted],
        "of another shape": [
            f"{name} {shapes[name]} instead of {tuple(wanted[name].shape)}"
            for name in both
            if shapes[name] != tuple(wanted[name].shape)
        ],
        "of integers": [name for name in both if not tensors[table[name].name].is_floating_point()],
    }
    found = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names)
    if found:
        raise CheckpointError(
            f"{source} does not fit the network that its config describes: {found}. "
            "Take weights and config from the same checkpoint."
        )


def fill(
    network: nn.Module, weights: Weights, table: dict[str, Place], dtype: torch.dtype, device: str
) -> nn.Module:
    """Give an outlined network its numbers, one tensor at a time, in evaluation mode. Raises CheckpointError."""
    filled = read_numbers(network.state_dict(), weights, table, dtype, device)
    network.load_state_dict(filled, strict=True, assign=True)
    empty = [name for name, t in chain(network.named_parameters(), network.named_buffers()) if t.is_meta]
    if empty:
        raise CheckpointError(f"{weights.files[0]}: no weights for {_some(empty)}.")
    return network.eval()


def read_numbers(
    wanted: dict[str, Tensor],
    weights: Weights,
    table: dict[str, Place],
    dtype: torch.dtype,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """The numbers of tensors that ``check_fit``, in the shapes of ``wanted``. CheckpointError unless all are finite."""
    ours_by_name: dict[str, list[str]] = {}
    for ours, place in table.items():
        ours_by_name.setdefault(place.name, []).append(ours)
    filled = {}
    for name, tensor in weights.read(ours_by_name):
        if not is_finite(tensor):
            raise CheckpointError(
                f"{weights.places[name]} holds NaN or infinite numbers in {name}: its training or conversion failed; "
                "take another copy."
            )
        for ours in ours_by_name[name]:
            cut = table[ours].cut(tensor, wanted[ours].shape)
            filled[ours] = cut.to(device=device, dtype=dtype, copy=True)
            if dtype != tensor.dtype and not is_finite(filled[ours]):
                remedy = "load in torch.float32 or torch.bfloat16"
                raise CheckpointError(
                    f"{weights.places[name]} holds numbers in {name} that are too large for {dtype}: "
                    f"{remedy if dtype == torch.float16 else 'take another copy'}."
                )
    return filled


def is_finite(tensor: Tensor) -> bool:
    """False if any number is NaN or infinite."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    if tensor.element_size() == 1:  # eight-bit floats know no minimum
        tensor = tensor.float()
    return all(math.isfinite(end.item()) for end in tensor.aminmax())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of one file, copied into memory. CheckpointError when it is damaged or a number is not finite."""
    weights = open_weights([path])
    tensors = {name: tensor.clone() for name, tensor in weights.read(weights.tensors)}
    broken = [name for name, tensor in tensors.items() if not is_finite(tensor)]
    if broken:
        raise CheckpointError(
            f"{path} holds NaN or infinite numbers in {_some(broken)}: its training or conversion failed; "
            "take another copy."
        )
    return tensors


def write_tensors(tensors: dict[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    """Write tensors in ``dtype``. Raises CheckpointError when a number is NaN, or too large for ``dtype``."""
    broken = [name for name, tensor in tensors.items() if not is_finite(tensor)]
    converted = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    too_large = [name for name, tensor in converted.items() if not is_finite(tensor)]
    if broken or too_large:
        cause = (
            "are NaN or infinite" if broken else f"are too large for {dtype}: save with dtype=torch.float32"
        )
        raise CheckpointError(f"cannot save {path.name}: numbers in {_some(broken or too_large)} {cause}.")
    save_file(converted, path, metadata={"format": "pt"})  # other readers insist on this mark


def _some(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
