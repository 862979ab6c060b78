"""Processes that work beside the tests, and end with them however they end."""

import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process

SECONDS_TO_CLOSE = 60


def workers() -> ProcessPoolExecutor:
    """Two. Fresh ones, not copies of this process with all that it has opened."""
    return ProcessPoolExecutor(2, get_context("spawn"), initializer=watch)


def watch() -> None:
    threading.Thread(target=follow, daemon=True).start()


def follow() -> None:
    """When the tests were killed, interrupt the work, so that it closes and deletes what it has opened."""
    parent_process().join()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(SECONDS_TO_CLOSE)
    os._exit(1)
