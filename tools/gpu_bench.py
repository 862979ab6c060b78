"""The GPU's part of the benchmark in one call of under ten minutes: python tools/gpu_bench.py

Stable Diffusion 1.5's shape against diffusers, eager with scaling tables, then both compiled; and the small model. JSON
and figure of each go into data/benchmarks/ as soon as it is done, under a dated name; nothing is overwritten.
``--device cpu --quick`` tries it all in small where there is no GPU, without the compiler.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from course import ROOT

sys.path.insert(0, str(ROOT))  # this clone, installed or not

LIMIT = 420.0  # seconds after which no further part is begun; the longest takes about three minutes more


def parts(device: str, quick: bool) -> dict[str, list[str]]:
    """Name of a part -> its arguments of ``sdlearn bench``, the most important first."""
    common = ["--device", device, *(["--quick"] if quick else []), "--against", "diffusers"]
    large = ["--model", "sd15", "--dtype", "bfloat16", *common]
    large += [] if quick else ["--steps", "50", "--runs", "5"]
    found = {"sd15-bfloat16": [*large, "--scaling"]}
    if device != "cpu":
        found["sd15-bfloat16-compiled"] = [*large, "--compile"]
    found["scenes-float32"] = [*common, "--scaling", "--leak", "20" if quick else "500"]
    return found


def machine_name(device: str) -> str:
    """nvidia-h200, or cpu."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def main(arguments: Sequence[str] | None = None) -> int:
    """Every part there is time for; the largest exit code among them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small and few: to see that everything runs")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "benchmarks", metavar="FOLDER")
    args = parser.parse_args(arguments)
    from sdlearn.cli import main as sdlearn
    from sdlearn.commands import choose_device

    try:
        choose_device(args.device)
    except ValueError as error:
        parser.error(str(error))
    args.out.mkdir(parents=True, exist_ok=True)
    stamp, start, code = datetime.now().strftime("%Y-%m-%d-%H%M"), time.perf_counter(), 0
    for name, wanted in parts(args.device, args.quick).items():
        if time.perf_counter() - start > LIMIT:
            print(f"no time is left for {name}: python -m sdlearn bench {' '.join(wanted)}")
            continue
        stem = args.out / f"{stamp}-{machine_name(args.device)}-{name}"
        print(f"\n== {name}", flush=True)
        files = ["--json", f"{stem}.json", "--figure", f"{stem}.png"]
        code = max(code, sdlearn(["bench", *wanted, *files]))
    return code


if __name__ == "__main__":
    sys.exit(main())
