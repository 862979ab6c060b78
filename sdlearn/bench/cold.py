"""Fresh processes: what an import takes, and the whole command from nothing to a file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sdlearn.bench.subjects import PROMPT
from sdlearn.bench.timing import Timing


def time_import(statement: str, runs: int) -> Timing:
    """What ``statement`` takes in a fresh process that has imported torch already."""
    code = f"import time, torch; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(runs)
    ]
    return Timing(f"{statement}, after torch", tuple(float(done.stdout) for done in outputs))


def time_command(model: str, device: str, dtype: str, runs: int) -> Timing:
    """The whole command in a fresh process, from nothing to a PNG on disk."""
    command = [sys.executable, "-m", "sdlearn", "txt2img", PROMPT]
    command += ["--model", model, "--device", device, "--dtype", dtype]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            start = time.perf_counter()
            subprocess.run(
                [*command, "--out", str(Path(folder, f"{run}.png"))], check=True, capture_output=True
            )
            seconds.append(time.perf_counter() - start)
    return Timing("sdlearn txt2img, cold, to PNG", tuple(seconds))
