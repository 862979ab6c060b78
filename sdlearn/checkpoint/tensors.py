"""Weights: read a safetensors file with every check, and fill a network with it, strictly.

The format: 8 bytes with the length of a JSON header; the header (name -> type, shape, place); the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sdlearn.checkpoint.errors import CheckpointError, brief

DOWNLOAD_AGAIN = "download or copy the file again"
# What the first bytes of a file say when it is something else.
MISTAKEN = {
    b"version https://git-lfs": "is a git-lfs pointer, not the weights: run `git lfs pull`, or download it",
    b"<": f"is a web page, perhaps an error page of a download: {DOWNLOAD_AGAIN}",
    b"PK\x03\x04": "is a PyTorch file (pickle), not safetensors: convert it",
    b"\x80": "is a PyTorch file (pickle), not safetensors: convert it",
}


def _unique(pairs: list[tuple]) -> dict:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the name {twice!r} appears twice")
    return dict(pairs)


def check_file(path: Path) -> None:
    """Raise CheckpointError unless ``path`` is a whole safetensors file; reads the header only."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
            length = int.from_bytes(start[:8], "little")
            header = (start[8:] + file.read(max(length - 56, 0)))[:length] if 8 + length <= size else b""
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}.") from error
    if size == 0:
        raise CheckpointError(f"{path} is empty: {DOWNLOAD_AGAIN}.")
    for beginning, meaning in MISTAKEN.items():
        # A true file may begin with any of these bytes, but then its header follows.
        if start.lstrip().startswith(beginning) and not header.startswith(b"{"):
            raise CheckpointError(f"{path} {meaning}.")
    if size < 8 or not header:
        raise CheckpointError(f"{path} is not a whole safetensors file ({size} bytes): {DOWNLOAD_AGAIN}.")
    try:
        entries = json.loads(header, object_pairs_hook=_unique)
        expected = 8 + length + max((entry["data_offsets"][1] for entry in _tensors_in(entries)), default=0)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged header ({brief(error)}): {DOWNLOAD_AGAIN}.") from error
    if size != expected:
        state = "is cut short" if size < expected else "has bytes at its end that belong to nothing"
        raise CheckpointError(f"{path} {state} ({size} bytes, its header says {expected}): {DOWNLOAD_AGAIN}.")


def _tensors_in(entries: dict) -> Iterable[dict]:
    return (entry for name, entry in entries.items() if name != "__metadata__")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. CheckpointError when it is damaged or a number is not finite."""
    check_file(path)
    try:
        tensors = load_file(path)
    except (
        Exception
    ) as error:  # the library's own error type, and OSError, ValueError, KeyError on odd headers
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({brief(error)}): {DOWNLOAD_AGAIN}."
        ) from error
    broken = not_finite(tensors)
    if broken:
        raise CheckpointError(
            f"{path} holds NaN or infinite numbers in {_some(broken)}: its training or conversion failed; "
            "take another copy."
        )
    return tensors


def not_finite(tensors: dict[str, Tensor]) -> list[str]:
    """The names of the tensors that hold NaN or an infinite number."""
    filled = {name: t for name, t in tensors.items() if t.is_floating_point() and t.numel()}
    return [name for name, tensor in filled.items() if not all(map(torch.isfinite, tensor.aminmax()))]


class NoInitialisation(TorchFunctionMode):
    """Inside this context new layers leave out their random weights, which are to be replaced at once.

    Even on the meta device the first of them makes torch load its compiler, which takes two seconds.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)


def build(
    make: Callable[[Any], nn.Module],
    config: Any,
    tensors: dict[str, Tensor],
    source: object,
    dtype: torch.dtype,
    device: str,
) -> nn.Module:
    """The network ``make(config)`` with these weights, in evaluation mode. CheckpointError unless all fits.

    It is made on the "meta" device, where tensors have shapes but no numbers.
    """
    try:
        with torch.device("meta"), NoInitialisation():
            network = make(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise CheckpointError(
            f"{source}: no network can be made from its config ({brief(error)})."
        ) from error
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors]
    unexpected = [name for name in tensors if name not in wanted]
    shapes = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    whole = [name for name in wanted if name in tensors and not tensors[name].is_floating_point()]
    problems = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": shapes,
        "of integers": whole,
    }
    found = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names)
    if found:
        raise CheckpointError(
            f"{source} does not fit the network that its config describes: {found}. "
            "Take weights and config from the same checkpoint."
        )
    converted = {name: tensor.to(device=device, dtype=dtype) for name, tensor in tensors.items()}
    network.load_state_dict(converted, strict=True, assign=True)
    empty = [name for name, t in chain(network.named_parameters(), network.named_buffers()) if t.is_meta]
    if empty:
        raise CheckpointError(f"{source}: no weights for {_some(empty)}.")
    return network.eval()


def write_tensors(tensors: dict[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    """Write tensors in ``dtype``. Raises CheckpointError when a number is NaN, or too large for ``dtype``."""
    broken = not_finite(tensors)
    converted = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    too_large = not_finite(converted)
    if broken or too_large:
        cause = (
            "are NaN or infinite" if broken else f"are too large for {dtype}: save with dtype=torch.float32"
        )
        raise CheckpointError(f"cannot save {path.name}: numbers in {_some(broken or too_large)} {cause}.")
    save_file(converted, path, metadata={"format": "pt"})  # other readers insist on this mark


def _some(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
