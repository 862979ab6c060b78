"""Is a training step faster here than in another clone? Both run in turn, and each pair gives a ratio.

git worktree add ../before COMMIT
python tools/training_speed.py ../before --pairs 4
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMING = ROOT / "sdlearn" / "training" / "timing.py"  # this clone's, for both: the other may have none
SCRIPT = """
import json, pathlib, runpy, sys
import sdlearn
if not pathlib.Path(sdlearn.__file__).resolve().is_relative_to(pathlib.Path.cwd().resolve()):
    sys.exit(f"this clone was to be timed, but sdlearn came from {sdlearn.__file__}; uninstall that one.")
timing = runpy.run_path(sys.argv[1])
print(json.dumps(timing["step_seconds"](int(sys.argv[2]), sys.argv[3])))
"""


def median_step(clone: Path, steps: int, precision: str) -> float:
    """The median seconds of a step, in a fresh process that imports the package of ``clone`` and of no other.

    SystemExit with the process's message if it fails.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, str(TIMING), str(steps), precision],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{clone}: {done.stderr.strip()}")
    return statistics.median(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="a clone of another version")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="of each run; their median counts")
    parser.add_argument("--precision", choices=["bf16", "no"], default="bf16")
    given = parser.parse_args()
    if not (given.other / "sdlearn" / "__init__.py").is_file():
        parser.error(f"{given.other} holds no package sdlearn; name the folder of a clone.")
    ratios = []
    for pair in range(given.pairs):
        order = (given.other.resolve(), ROOT)[:: 1 if pair % 2 == 0 else -1]
        seconds = {clone: median_step(clone, given.steps, given.precision) for clone in order}
        before, here = seconds[given.other.resolve()], seconds[ROOT]
        ratios.append(here / before)
        print(
            f"other {1000 * before:7.1f} ms   here {1000 * here:7.1f} ms   ratio {ratios[-1]:.3f}", flush=True
        )
    print(f"median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
