"""The size of progress bars."""

from __future__ import annotations

import os
import sys


def bar_size() -> dict[str, int]:
    """For ``tqdm``: {} where the terminal says how large it is, else a usual size.

    Some do not (of containers, of programs that record): tqdm takes their 0 x 0 at its word, and shows nothing.
    """
    try:
        known = all(os.get_terminal_size(sys.stderr.fileno()))
    except (OSError, ValueError, AttributeError):
        return {}  # no terminal, or none that can be asked: tqdm knows what to do
    return {} if known else {"ncols": 79, "nrows": 24}
