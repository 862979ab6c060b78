"""What every test shares: no network, fixed seeds, few threads, a cache of its own."""

import gc
import os
import random
import sys
from pathlib import Path

OFFLINE = Path(__file__).parent / "offline"
sys.path[:0] = [str(OFFLINE), str(Path(__file__).resolve().parent.parent / "tools")]
import no_network  # noqa: E402, F401  (from here on, this process refuses every connection beyond the loopback)

# Two threads are enough for these small networks. OMP_NUM_THREADS=1 is faster by far on a busy machine, where
# threads wait for one another.
ALONE = "PYTEST_XDIST_WORKER" not in os.environ
THREADS = os.environ.get("OMP_NUM_THREADS") or str(min(2, os.cpu_count() or 1) if ALONE else 1)
# Processes that a test starts find the same: no network, this clone, no downloads, few threads, no windows.
searched = [str(OFFLINE), str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, searched))
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", OMP_NUM_THREADS=THREADS, MPLBACKEND="Agg")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(int(THREADS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, and say so."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(
                pytest.mark.skip(reason="needs an NVIDIA GPU: torch.cuda.is_available() is False")
            )


def pytest_collection_finish() -> None:
    """A million objects of the libraries stay to the end: Python need not search them for rubbish after every few."""
    gc.freeze()
    gc.set_threshold(100_000)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Each test starts from the same random state, whichever tests ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from or left in the user's cache folder."""
    os.environ["SDLEARN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the clone."""
    return Path(__file__).resolve().parent.parent
