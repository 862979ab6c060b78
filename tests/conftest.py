"""What every test shares: no network, fixed seeds, few threads, a cache of its own, long work beside the others."""

import gc
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

OFFLINE = Path(__file__).parent / "offline"
sys.path[:0] = [str(OFFLINE), str(Path(__file__).resolve().parent.parent / "tools")]
import no_network  # noqa: E402, F401  (from here on, this process refuses every connection beyond the loopback)

# Two threads are enough for these small networks. OMP_NUM_THREADS=1 is faster by far on a busy machine, where
# threads wait for one another.
ONE_PROCESS = "PYTEST_XDIST_WORKER" not in os.environ
THREADS = int(os.environ.get("OMP_NUM_THREADS") or (min(2, os.cpu_count() or 1) if ONE_PROCESS else 1))
# Processes that a test starts find the same: no network, this clone, no downloads, few threads, no windows.
searched = [str(OFFLINE), str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, searched))
os.environ.update(
    HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", OMP_NUM_THREADS=str(THREADS), MPLBACKEND="Agg"
)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from beside import workers, works_of  # noqa: E402

torch.set_num_threads(THREADS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Most first, then what is marked ``beside``, then what is ``alone``. Skip what needs a GPU where there is none.

    While the first are tested, two other processes do the work that the tests marked ``beside`` then wait for. When
    all of these have their answers, nothing disturbs a test that must be alone.
    """
    items.sort(key=lambda item: [bool(item.get_closest_marker(name)) for name in ("alone", "beside")])
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
def works(request: pytest.FixtureRequest) -> dict[Path, Callable[[Path], object]]:
    """By source, what the chosen tests marked ``beside(work=...)`` wait for."""
    return works_of(request.session.items)


@pytest.fixture(autouse=True, scope="session")
def beside(works: dict, own_cache: None) -> Iterator[Callable[[Path], object]]:
    """Gives what ``work(source)`` returned.

    Two at a time with one thread each: sooner done than one by one with two. In processes, not in threads: a test may
    change this one's clock, folder or environment.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        pool = workers()
        ahead = {source: pool.submit(work, source) for source, work in works.items() if ONE_PROCESS}
    yield lambda source: (ahead.get(source) or pool.submit(works[source], source)).result()
    pool.shutdown(cancel_futures=True)


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest, works: dict) -> None:
    """One thread as long as other processes may work beside this one."""
    number = 1 if works and not request.node.get_closest_marker("alone") else THREADS
    torch.set_num_threads(number)
    os.environ["OMP_NUM_THREADS"] = str(number)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the clone."""
    return Path(__file__).resolve().parent.parent
