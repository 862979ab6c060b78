"""Which work the tests marked ``beside`` wait for."""

from types import SimpleNamespace

import pytest
from beside import works_of


def item(work, *names):
    marks = {name: getattr(pytest.mark, name).mark for name in names}
    marks["beside"] = pytest.mark.beside(work=work).mark
    params = SimpleNamespace(params={"source": "chapter"})
    return SimpleNamespace(get_closest_marker=marks.get, callspec=params)


def test_a_browser_s_run_counts_whoever_asks_first():
    """The other one looks for no faults of widgets: its answer would let the browser's test pass."""
    plain, browser = item("plain"), item("in a browser", "browser")
    assert works_of([plain, browser]) == works_of([browser, plain]) == {"chapter": "in a browser"}


def test_what_is_skipped_does_no_work():
    assert works_of([item("in a browser", "browser", "skip"), item("plain")]) == {"chapter": "plain"}
    assert works_of([item("plain", "skip")]) == {}
