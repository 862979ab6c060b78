"""Where the words of a single file come from: such files hold no vocabulary, but every CLIP has the same one."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.tokenizer import Tokenizer
from sdlearn.tokenizer_training import vocabulary

PACKAGES = ("open_clip", "clip")  # Python packages that bring CLIP's merges along
PACKED_MERGES = "bpe_simple_vocab_16e6.txt.gz"
CLIP_MERGES = 49152 - 256 - 2  # the file lists more than CLIP uses


def tokenizer_for(path: Path, folder: str | Path | None, vocab_size: int, pad_with_end: bool) -> Tokenizer:
    """The tokenizer for the single file ``path``, whose text tower knows ``vocab_size`` tokens.

    From ``folder``; else from a folder ``tokenizer`` beside the file, an installed package or the hub's cache. The
    padding follows the family: the end token in SD 1, id 0 in SD 2. Raises CheckpointError.
    """
    found = _read(Path(folder)) if folder is not None else next(_search(path, vocab_size), None)
    if found is None:
        raise CheckpointError(
            f"{path} holds no vocabulary, and none is beside it, in {' or '.join(PACKAGES)}, or in {hub_cache()}: "
            "pass tokenizer=FOLDER with CLIP's vocab.json and merges.txt, such as the tokenizer folder of any "
            "Stable Diffusion."
        )
    if found.vocab_size != vocab_size:
        raise CheckpointError(
            f"{path} knows {vocab_size} tokens, the given vocabulary has {found.vocab_size}: take CLIP's."
        )
    # The vocabulary may come from the other family: the same words, another padding.
    return Tokenizer(found.vocab, found.merges, found.max_length, found.eos_token_id if pad_with_end else 0)


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it downloaded."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _read(folder: Path) -> Tokenizer:
    folder = folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder  # a whole model was named
    try:
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder with vocab.json and merges.txt.")
        return Tokenizer.from_folder(folder)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def _search(path: Path, vocab_size: int) -> Iterator[Tokenizer]:
    """Vocabularies of the right size, nearest first. What lies beside the file must fit; elsewhere misfits are left."""
    beside = path.parent / "tokenizer"
    if beside.is_dir():
        yield _read(beside)
    for package in PACKAGES:
        found = find_spec(package)
        for place in (found.submodule_search_locations or []) if found else []:
            packed = Path(place) / PACKED_MERGES
            if packed.is_file():
                yield _unpack(packed)
    for merges in sorted(hub_cache().glob("models--*/snapshots/*/**/merges.txt")):
        try:
            tokenizer = Tokenizer.from_folder(merges.parent)
        except ValueError:
            continue  # of another model
        if tokenizer.vocab_size == vocab_size:
            yield tokenizer


def _unpack(path: Path) -> Tokenizer:
    """CLIP's merges as it was published with them: one a line, under a headline; the vocabulary follows from them."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
        merges = [tuple(line.split()) for line in lines[1 : 1 + CLIP_MERGES]]
        return Tokenizer(vocabulary(merges), merges)
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({brief(error)}): install its package again."
        ) from error
