"""A terminal shows a progress bar, also one that does not say how large it is."""

import os
import struct

import pytest

from tests.small_pipeline import small_pipeline

pty = pytest.importorskip("pty")  # not on Windows
fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")


@pytest.mark.parametrize("rows, columns", [(24, 60), (0, 0)])
def test_a_terminal_of_any_size_shows_a_bar(rows, columns, monkeypatch):
    """tqdm alone shows nothing on a terminal of 0 x 0, as `script` and some containers make them."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    monkeypatch.setattr("sdlearn.pipeline.SECONDS_BEFORE_A_BAR", 0.0)
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        small_pipeline().txt2img("a cat", num_inference_steps=4)
        terminal.flush()
        shown = os.read(master, 65536).decode()
    os.close(master)
    bars = [line for line in shown.split("\r") if line.startswith("drawing:")]
    assert bars and all("/4 [" in bar for bar in bars)
    assert max(map(len, bars)) < (columns or 80)
