"""How much memory a call needs at its peak, and how much a process holds now."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Answer = TypeVar("Answer")
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def held() -> int | None:
    """Bytes of memory that this process holds now (macOS: held at most so far); None where it is not told."""
    if STATUS.exists():
        return _status("VmRSS")
    return _most_so_far()


def _status(name: str) -> int:
    """An entry of Linux' table of this process, in bytes; it stands there in KiB."""
    return int(STATUS.read_text(encoding="utf-8").split(f"{name}:")[1].split()[0]) * 1024


def _most_so_far() -> int | None:
    if sys.platform == "win32":  # has no such table in Python's own library
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # macOS counts in bytes


def with_peak(call: Callable[[], Answer], device: torch.device) -> tuple[Answer, int | None]:
    """The answer, and the bytes at the peak: allocated on a GPU, else held by the process with all its libraries.

    Where the system does not let the peak begin anew (all but Linux), that of the process so far; None: not told.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return call(), torch.cuda.max_memory_allocated(device)
    anew = _begin_anew()
    return call(), _status("VmHWM") if anew else _most_so_far()


def _begin_anew() -> bool:
    """Ask Linux to forget the peak; False where it cannot."""
    try:
        RESET.write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True
