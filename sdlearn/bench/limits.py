"""What this machine can do at most, measured: products of matrices, and copies of memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sdlearn.bench.timing import time_calls

SIDES = {"cpu": (1024, 2048, 4096), "cuda": (4096, 8192)}  # of square matrices; the best of them counts
COPIED = {"cpu": 2**28, "cuda": 2**30}  # bytes, more than any cache holds


@dataclass(frozen=True)
class Limits:
    """Of one device in one precision."""

    matmul: float  # FLOP/s
    copy: float  # bytes/s, read and written


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int, runs: int) -> float:
    """FLOP/s of a product of two square matrices: 2 side^3 operations in the median time."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / time_calls("", lambda: a @ b, runs, device).median


def copy_rate(device: torch.device, number: int, runs: int) -> float:
    """Bytes/s of a copy within the device's memory; each byte is read once and written once."""
    source, target = (torch.zeros(number, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * number / time_calls("", lambda: target.copy_(source), runs, device).median


def measure_limits(device: torch.device, dtype: torch.dtype, runs: int = 5, quick: bool = False) -> Limits:
    """Both limits, in a few seconds. A convolution may be faster than any product of matrices is in torch."""
    kind = "cpu" if device.type == "cpu" else "cuda"
    matmul = max(matmul_rate(device, dtype, side, runs) for side in SIDES[kind][: 1 if quick else None])
    return Limits(matmul, copy_rate(device, COPIED[kind], runs))
