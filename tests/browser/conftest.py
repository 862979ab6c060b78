"""Marks what is in this folder; skips it, with a reason, where there is no browser."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from lab import CHROMIUM

HERE = Path(__file__).parent
NEEDED = [name for name in ("playwright", "jupyterlab", "ipywidgets") if find_spec(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder; skip it where there is no browser."""
    missing = [*([] if CHROMIUM else ["Chromium (Debian, Ubuntu: apt-get install chromium)"]), *NEEDED]
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"the browser tests need {', '.join(missing)}"))
