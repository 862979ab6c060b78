"""A real JupyterLab server and a real browser, both on this machine alone, for as long as they are needed."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from page import Notebook

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
WIDTH, HEIGHT = 1280, 900  # of a projector
SECONDS_TO_START = 120
SECONDS_TO_STOP = 30
SECONDS_LEFT_BEHIND = 120  # where the tests were killed: a kernel nobody looks at ends, then the server
SETTINGS = {  # cells below the screen are drawn too; no question about news
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}


@contextmanager
def jupyter_lab() -> Iterator[Callable[[nbformat.NotebookNode, str], Notebook]]:
    """A function that opens a notebook under a name, runs all of it and gives the page. At the end nothing is left."""
    from playwright.sync_api import sync_playwright

    with (
        TemporaryDirectory(prefix="sdlearn-lab-", ignore_cleanup_errors=True) as home,
        server(Path(home)) as (address, token),
        sync_playwright() as tool,
        tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS, env=of_its_own(home)) as browser,
    ):

        def opened(book: nbformat.NotebookNode, name: str) -> Notebook:
            nbformat.write(book, Path(home, "notebooks", f"{name}.ipynb"))
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            return Notebook(page, f"{address}/doc/tree/{name}.ipynb?token={token}&reset", name)

        yield opened


def of_its_own(home: str) -> dict[str, str | float | bool]:
    """The environment of a browser that keeps its settings, reports and caches there, not in the user's folders."""
    return os.environ | {"XDG_CONFIG_HOME": f"{home}/config", "XDG_CACHE_HOME": f"{home}/cache"}


@contextmanager
def server(home: Path) -> Iterator[tuple[str, str]]:
    """(address, token) of a JupyterLab of this Python that has no settings of the user, and keeps all it has there."""
    for name, text in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    (home / "notebooks").mkdir()
    names = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(home / name.lower()) for name in names} | {
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings")
    }
    token = secrets.token_hex(16)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.ip=127.0.0.1",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={home / 'notebooks'}",
        f"--ServerApp.shutdown_no_activity_timeout={SECONDS_LEFT_BEHIND}",
        f"--MappingKernelManager.cull_idle_timeout={SECONDS_LEFT_BEHIND}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        "--no-browser",
        "--allow-root",
    ]
    log = home / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], env=os.environ | own, stdout=file, stderr=file
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api?token={token}", process, log)
        yield address, token
    finally:
        process.terminate()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    """Until the server answers."""
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
