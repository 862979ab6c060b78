"""Processes that work beside the tests, and end with them however they end."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path

SECONDS_TO_CLOSE = 60


def workers() -> ProcessPoolExecutor:
    """Two. Fresh ones, not copies of this process with all that it has opened."""
    return ProcessPoolExecutor(2, get_context("spawn"), initializer=watch)


def works_of(items: Iterable) -> dict[Path, Callable[[Path], object]]:
    """By source, the work that tests marked ``beside(work=...)`` wait for.

    Where several ask, that of a browser's test, whatever their order: it finds faults that the others do not look for.
    """
    found = {}
    for item in sorted(items, key=lambda item: not item.get_closest_marker("browser")):
        mark = item.get_closest_marker("beside")
        if mark and not item.get_closest_marker("skip"):
            found.setdefault(item.callspec.params["source"], mark.kwargs["work"])
    return found


def watch() -> None:
    threading.Thread(target=follow, daemon=True).start()


def follow() -> None:
    """When the tests were killed, interrupt the work, so that it closes and deletes what it has opened."""
    parent_process().join()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(SECONDS_TO_CLOSE)
    os._exit(1)
