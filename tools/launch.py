"""Links at the top of each notebook that open it in Colab or on Binder, and what Colab needs to run it.

Both fetch the course from its public address, which stands in one place: [project.urls] in pyproject.toml.
"""

from __future__ import annotations

import tomllib

import nbformat
from course import ROOT
from nbformat import NotebookNode, v4

BRANCH = "main"
COLAB_CELL = """\
# On Colab this fetches the course's package. Everywhere else it does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    course = "git+{repository}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", course], check=True)"""


def repository() -> str:
    """The public address of the course, without a slash at its end."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].rstrip("/")


def row(name: str, address: str) -> str:
    """The line of links for a notebook such as "00_how_stable_diffusion_works"."""
    place = address.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{place}/blob/{BRANCH}/notebooks/{name}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{place}/{BRANCH}?urlpath=lab/tree/notebooks/{name}.ipynb"
    return f"Run it without installing anything: [open in Colab]({colab}) · [open on Binder]({binder})"


def with_launch(notebook: NotebookNode, name: str) -> NotebookNode:
    """A copy with the links below the title, and Colab's cell after the card."""
    notebook = nbformat.from_dict(notebook)
    title, _, rest = notebook.cells[0].source.partition("\n")
    notebook.cells[0].source = f"{title}\n\n{row(name, repository())}\n{rest}".rstrip()
    cell = v4.new_code_cell(COLAB_CELL.format(repository=repository()), id="cell-colab")
    cell.metadata = NotebookNode(jupyter={"source_hidden": True}, tags=["colab"])
    notebook.cells.insert(1, cell)
    return notebook
