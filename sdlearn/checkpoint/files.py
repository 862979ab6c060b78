"""Weight files: ``.safetensors``, or PyTorch's ``.ckpt``, ``.bin`` and ``.pt``, in which no code ever runs.

Everything is checked before a number is read. The numbers stay on the disk until they are used ("memory-mapped"), and
are read a portion at a time, so that no model is ever in memory twice.
"""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.checkpoint.header import read_header

DOWNLOAD_AGAIN = "download or copy the file again"
PICKLED = (".ckpt", ".bin", ".pt", ".pth")
LONGEST_HEADER = 2**23  # bytes: some thirty times that of a whole Stable Diffusion
PORTION = 2**26  # bytes that are read before a file is opened anew, which lets go of them
PICTURE = "is a picture, not a model: give a file of weights, or a folder"
# What the first bytes of a file say when it is something else.
MISTAKEN = {
    b"\x89PNG": PICTURE,
    b"\xff\xd8\xff": PICTURE,
    b"version https://git-lfs": "is a git-lfs pointer, not the weights: run `git lfs pull`, or download it",
    b"<": f"is a web page, perhaps an error page of a download: {DOWNLOAD_AGAIN}",
}
PICKLES = (b"PK\x03\x04", b"\x80")


@dataclass(frozen=True)
class Weights:
    """Named tensors in one file, or in several ("shards")."""

    files: tuple[Path, ...]
    tensors: dict[str, Tensor]  # on the "meta" device: shapes and types, no numbers
    places: dict[str, Path]  # which file holds which tensor

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of each name, mapped from the disk; copy what you keep."""
        wanted = set(names)
        for path in self.files:
            mapped: dict[str, Tensor] = {}
            used = PORTION
            for name in [name for name, place in self.places.items() if place == path and name in wanted]:
                if used >= PORTION:
                    mapped, used = map_file(path), 0
                used += mapped[name].numel() * mapped[name].element_size()
                yield name, mapped[name]


def open_weights(paths: Sequence[Path]) -> Weights:
    """The tensors of these files, each of which must be whole. Raises CheckpointError."""
    tensors: dict[str, Tensor] = {}
    places: dict[str, Path] = {}
    for path in paths:
        for name, tensor in map_file(path).items():
            if name in places:
                raise CheckpointError(f"{path} and {places[name].name} both hold {name!r}: {DOWNLOAD_AGAIN}.")
            tensors[name], places[name] = torch.empty_like(tensor, device="meta"), path
    return Weights(tuple(paths), tensors, places)


def map_file(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, mapped from the disk: none is read yet. Raises CheckpointError."""
    if path.suffix in PICKLED:
        return _map_pickle(path)
    check_safetensors(path)
    try:
        return load_file(path)
    except (
        Exception
    ) as error:  # the library's own error type, and OSError, ValueError, KeyError on odd headers
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({brief(error)}): {DOWNLOAD_AGAIN}."
        ) from error


def read_start(path: Path) -> tuple[int, bytes]:
    """The size of a plain file and its first 64 bytes; CheckpointError for what is no file of weights at all."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise CheckpointError(f"{path} is a folder, and a file was expected: give the file in it.")
        if not stat.S_ISREG(found.st_mode):  # a pipe or a device could be read for ever
            raise CheckpointError(f"{path} is not a plain file: give a file of weights.")
        with path.open("rb") as file:
            start = file.read(64)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        raise CheckpointError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    if not start:
        raise CheckpointError(f"{path} is empty: {DOWNLOAD_AGAIN}.")
    return found.st_size, start


def _check_mistaken(path: Path, start: bytes) -> None:
    for beginning, meaning in MISTAKEN.items():
        if start.lstrip().startswith(beginning):
            raise CheckpointError(f"{path} {meaning}.")


def check_safetensors(path: Path) -> None:
    """Raise CheckpointError unless ``path`` is a whole safetensors file; reads the header only."""
    size, start = read_start(path)
    length = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{":  # a true file may begin with any bytes, but then its header follows
        _check_mistaken(path, start)
        if start.startswith(PICKLES):
            raise CheckpointError(
                f"{path} is a PyTorch file (pickle), not safetensors: take the .safetensors of the same model."
            )
    if size < 8 or length == 0 or 8 + length > size:
        raise CheckpointError(f"{path} is not a whole safetensors file ({size} bytes): {DOWNLOAD_AGAIN}.")
    if length > LONGEST_HEADER:
        raise CheckpointError(
            f"{path} claims a header of {length} bytes, no model has one: {DOWNLOAD_AGAIN}."
        )
    try:
        entries, before = read_header(path)
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        expected = before + max(ends, default=0)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path} has a damaged header ({brief(error)}): {DOWNLOAD_AGAIN}.") from error
    if size != expected:
        state = "is cut short" if size < expected else "has bytes at its end that belong to nothing"
        raise CheckpointError(f"{path} {state} ({size} bytes, its header says {expected}): {DOWNLOAD_AGAIN}.")


def _check_archive(path: Path) -> None:
    """Raise CheckpointError unless ``path`` is a plain archive of PyTorch: nothing compressed, nothing too large."""
    size, start = read_start(path)
    _check_mistaken(path, start)
    if start[8:9] == b"{":
        raise CheckpointError(f"{path} seems to be a safetensors file: rename it to end in .safetensors.")
    if start.startswith(b"\x80"):
        raise CheckpointError(
            f"{path} is in PyTorch's format from before 2020: take the .safetensors of the same model."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} is no whole PyTorch file ({brief(error)}): {DOWNLOAD_AGAIN}."
        ) from error
    programs = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or len(programs) != 1 or sum(entry.file_size for entry in entries) > size:
        raise CheckpointError(f"{path} is an archive, but none that PyTorch wrote: {DOWNLOAD_AGAIN}.")
    if programs[0].file_size > LONGEST_HEADER:
        raise CheckpointError(f"{path} lists more than any model holds: {DOWNLOAD_AGAIN}.")


def _map_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch file. Only torch's restricted loader reads it, which runs nothing that it names."""
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # unpickling raises whatever it likes
        asked = re.search(
            r"GLOBAL (\S+)", str(error)
        )  # torch's message is long, and advises to trust the file
        cause = f"it asks for {asked[1][:100]}" if asked else brief(error)
        raise CheckpointError(
            f"{path} holds more than tensors ({cause}), and sdlearn runs no code from a file: "
            "take the .safetensors of the same model."
        ) from error
    for _ in range(3):  # trainings put the weights beside other things, under this name
        if isinstance(content, dict) and "state_dict" in content:
            content = content["state_dict"]
    if isinstance(content, dict) and "string_to_param" in content:
        raise CheckpointError(
            f"{path} is a textual inversion, a few word vectors that sdlearn does not read: take a whole model."
        )
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no table of tensors: take another copy.")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors or not all(isinstance(name, str) and _is_plain(value) for name, value in tensors.items()):
        raise CheckpointError(f"{path} holds no table of plain tensors: take another copy.")
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _is_plain(tensor: Tensor) -> bool:
    """Whether each number of the tensor is one of its own on the disk: no sparse, packed or endlessly repeated ones."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
