"""Notebooks and package are one; and the check that says so sees each way in which they could differ."""

from dataclasses import dataclass, replace
from pathlib import Path

import oneness
import pytest
import rewrite
from course import CHAPTERS, Course

COURSE = Course()

NOISE = '''\
"""How noisy."""

import math

LARGEST = 80.0  # of all noise levels


# what the next function is for
def grow(sigma: float) -> float:
    """Twice as noisy."""
    return min(2 * sigma, LARGEST)  # never more


class Noise:
    """One noise level."""

    def __init__(self, sigma):
        self.root = math.sqrt(sigma)


def _half(sigma):
    return sigma / 2
'''
NET = '''\
"""A network."""

from sdlearn.noise import grow


def answer(x):
    """The noise in x."""
    return grow(x)


def look(x):
    """A promise: a later chapter builds what this needs."""
    from sdlearn.looking import stare

    return stare(x)
'''
LOOKING = '''\
"""Looking."""


def stare(x):
    """At x."""
    return x
'''
CHAPTER_1 = '''\
# ---
# jupyter: {}
# ---

# %% [markdown]
# # Noise

# %%
small = 1

# %%
# -> sdlearn/noise.py
import math

LARGEST = 80.0


def grow(sigma: float) -> float:
    """Twice as noisy."""
    return min(2 * sigma, LARGEST)


# %% [markdown]
# Not a cell: `# -> sdlearn/noise.py`

# %%
# -> sdlearn/noise.py


class Noise:
    """One noise level."""

    def __init__(self, sigma):
        # the root
        self.root = math.sqrt(sigma)
'''
CHAPTER_3 = '''\
# %%
# -> sdlearn/looking.py
def stare(x):
    """At x."""
    return x
'''
AGAIN = '''\
# %%
# -> sdlearn/net.py
def answer(x):
    """The noise in x."""
    return grow(x)
'''
CHAPTER_2 = '''\
# %%
# -> sdlearn/net.py
from sdlearn.noise import grow


def answer(x):
    """The noise in x."""
    return grow(x)


# %%
# -> sdlearn/net.py
def look(x):
    """A promise: a later chapter builds what this needs."""
    from sdlearn.looking import stare

    return stare(x)
'''


@dataclass
class Small:
    """A made-up course of three chapters."""

    course: Course

    def file(self, name: str) -> Path:
        chapters = {"1": "01_noise", "2": "02_net", "3": "03_looking"}
        place = f"notebooks/source/{chapters[name]}.py" if name in chapters else f"sdlearn/{name}.py"
        return self.course.root / place

    def read(self, name: str) -> str:
        return self.file(name).read_text(encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        self.file(name).parent.mkdir(parents=True, exist_ok=True)
        self.file(name).write_text(text, encoding="utf-8")

    def change(self, name: str, old: str, new: str) -> None:
        assert self.read(name).count(old) == 1
        self.write(name, self.read(name).replace(old, new))

    def faults(self) -> list[str]:
        return oneness.check(self.course)


@pytest.fixture
def small(tmp_path) -> Small:
    chapters = {"01": ("noise",), "02": ("net",), "03": ("looking",)}
    made = Small(Course(tmp_path, chapters, {"net": frozenset({"looking"})}))
    texts = {"noise": NOISE, "net": NET, "looking": LOOKING, "1": CHAPTER_1, "2": CHAPTER_2, "3": CHAPTER_3}
    for name, text in texts.items():
        made.write(name, text)
    made.write("__init__", '_HOME = {"Noise": "noise", "stare": "looking"}\n')
    return made


def test_notebooks_and_package_are_one():
    assert oneness.check(COURSE) == []


def test_the_table_names_modules_that_exist_each_once():
    modules = [module for modules in CHAPTERS.values() for module in modules]
    assert len(set(modules)) == len(modules)
    missing = [path for module in modules for path in COURSE.files(module) if not path.is_file()]
    assert missing == []


def test_comments_layout_private_names_and_promises_are_free(small):
    assert small.faults() == []


# What is changed (file, old, new), and the one fault that says so: its place, then words of it.
CHANGES = {
    "a constant in the package": (
        ("noise", "80.0", "81.0"),
        ["notebooks/source/01_noise.py:15: LARGEST is not the one at sdlearn/noise.py:5"]
        + ["-LARGEST = 81.0  # of all noise levels", "+LARGEST = 80.0"],
    ),
    "a constant in the notebook": (
        ("1", "80.0", "79.0"),
        ["01_noise.py:15: LARGEST", "sdlearn/noise.py:5", "-LARGEST = 80.0", "+LARGEST = 79.0"],
    ),
    "a number within a function": (
        ("noise", "2 * sigma", "3 * sigma"),
        ["01_noise.py:18: grow", "sdlearn/noise.py:9", "-    return min(3 * ", "+    return min(2 * "],
    ),
    "a docstring": (
        ("1", "One noise level.", "A noise level."),
        ["01_noise.py:30: Noise", '-    """One noise level."""', '+    """A noise level."""'],
    ),
    "an annotation": (
        ("noise", "sigma: float", "sigma: int"),
        ["01_noise.py:18: grow", "-def grow(sigma: int)"],
    ),
    "a public function that no notebook shows": (
        ("noise", "def _half", "def half"),
        ["sdlearn/noise.py:21: no notebook shows half of chapter 01"],
    ),
    "a public constant that no notebook shows": (
        ("net", "\n\ndef answer", "\nDEPTH = 3\n\n\ndef answer"),
        ["sdlearn/net.py:5: no notebook shows DEPTH of chapter 02"],
    ),
    "a definition shown twice": (
        ("2", "# %%\n# -> sdlearn/net.py\ndef look", f"{AGAIN}\n\n\n# %%\n# -> sdlearn/net.py\ndef look"),
        ["02_net.py:13: answer of sdlearn/net.py is shown before, at notebooks/source/02_net.py:6"],
    ),
    "a name that the module does not have": (
        ("1", "class Noise:", "EXTRA = 1\n\n\nclass Noise:"),
        ["01_noise.py:30: sdlearn/noise.py has no EXTRA"],
    ),
    "a file that does not exist": (
        ("1", "small = 1", "# -> sdlearn/no_noise.py\nsmall = 1"),
        ["01_noise.py:9: there is no sdlearn/no_noise.py"],
    ),
    "an import that the module does not have": (
        ("1", "import math", "import cmath\nimport math"),
        ["01_noise.py:13: sdlearn/noise.py does not say `import cmath`"],
    ),
    "another statement": (
        ("1", "import math\n", "import math\n\nprint(math.pi)\n"),
        ["01_noise.py:15: a marked cell holds definitions and imports"],
    ),
    "a mark that is not the first line": (
        ("1", "small = 1", "small = 1\n# -> sdlearn/noise.py"),
        ["01_noise.py:10: a mark is the first line of its cell"],
    ),
    "a misspelt mark": (
        ("1", "small = 1", "#-> sdlearn/noise.py\nsmall = 1"),
        ["01_noise.py:9: a mark is the first line of its cell"],
    ),
    "no Python": (("1", "small = 1", "small = "), ["01_noise.py:9: not Python: invalid syntax"]),
    "a cell that imports from a later chapter": (
        ("1", "small = 1", "from sdlearn.net import answer"),
        ["01_noise.py:9: net is built later, in chapter 02"],
    ),
    "a function in a cell that does": (
        ("1", "small = 1", "def f():\n    import sdlearn.net"),
        ["01_noise.py:10: net is built later, in chapter 02"],
    ),
    "a cell that does by the package's own name": (
        ("1", "small = 1", "from sdlearn import stare"),
        ["01_noise.py:9: looking is built later, in chapter 03"],
    ),
    "a cell that mentions it": (
        ("1", "small = 1", "import sdlearn\nsdlearn.stare(1)"),
        ["01_noise.py:10: looking is built later, in chapter 03"],
    ),
    "a module that imports from a later chapter": (
        ("noise", "import math", "import math\n\nfrom sdlearn.net import answer"),
        ["sdlearn/noise.py:5: noise belongs to chapter 01, net to chapter 02"],
    ),
    "a function of a module that does, unpromised": (
        ("noise", "    return sigma / 2", "    import sdlearn.net\n\n    return sigma / 2"),
        ["sdlearn/noise.py:22: noise belongs to chapter 01, net to chapter 02"],
    ),
    "a promise at the top of the module": (
        ("net", "from sdlearn.noise import grow", "import sdlearn.looking\nfrom sdlearn.noise import grow"),
        ["sdlearn/net.py:3: net belongs to chapter 02, looking to chapter 03"],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_difference_is_reported_with_its_place(small, name):
    change, words = CHANGES[name]
    small.change(*change)
    (fault,) = small.faults()
    assert [word for word in words if word not in fault] == []


def test_a_name_that_neither_side_can_resolve(small):
    """A cell can take a name from another cell; in its module the function would fail."""
    for side in ("1", "noise"):
        small.change(side, "2 * sigma", "small * sigma")
    (fault,) = small.faults()
    assert "01_noise.py:18: grow uses small, which sdlearn/noise.py neither defines nor imports" in fault


def test_a_definition_shown_before_its_chapter(small):
    cell = CHAPTER_2[CHAPTER_2.index("# %%\n# -> sdlearn/net.py\ndef look") :]
    small.write("2", CHAPTER_2.replace(cell, ""))
    small.write("1", CHAPTER_1 + "\n\n" + cell)
    (fault,) = small.faults()
    assert "01_noise.py:40: look is built in chapter 02, sdlearn/net.py" in fault


def test_a_later_chapter_may_show_a_definition(small):
    cell = CHAPTER_1[CHAPTER_1.index("# %%\n# -> sdlearn/noise.py\n\n\nclass") :]
    small.write("1", CHAPTER_1.replace(cell, ""))
    small.write("2", CHAPTER_2 + "\n\n" + cell)
    assert small.faults() == []


def test_a_long_difference_is_cut(small):
    small.change(
        "noise", '"""One noise level."""', "\n".join(f"x{k} = {k}" for k in range(99)).replace("\n", "\n    ")
    )
    (fault,) = small.faults()
    assert 30 < len(fault.split("\n")) < 40 and "more lines" in fault


def test_a_module_of_the_table_must_exist(small):
    small.course = replace(small.course, chapters={**small.course.chapters, "04": ("new",)})
    (fault,) = small.faults()
    assert fault == "course.py names sdlearn/new.py, which does not exist"


def test_a_file_in_a_folder_may_be_a_module_of_its_own(small):
    """It is named with a slash in the table; the folder's other files belong to nobody, or to the folder."""
    deep = small.course.root / "sdlearn/deep"
    deep.mkdir()
    deep.joinpath("inner.py").write_text("def dig(x):\n    return x\n", encoding="utf-8")
    deep.joinpath("other.py").write_text("def rest(x):\n    return x\n", encoding="utf-8")
    small.course = replace(small.course, chapters={**small.course.chapters, "04": ("deep/inner",)})
    assert small.faults() == ["sdlearn/deep/inner.py:1: no notebook shows dig of chapter 04"]
    chapter_4 = small.course.root / "notebooks/source/04_deep.py"
    chapter_4.write_text("# %%\n# -> sdlearn/deep/inner.py\ndef dig(x):\n    return x\n", encoding="utf-8")
    assert small.faults() == []
    small.change("2", "from sdlearn.noise import grow\n", "from sdlearn.deep import inner, other\n")
    small.change("net", "from sdlearn.noise import grow\n", "from sdlearn.deep.inner import dig as grow\n")
    told = "\n".join(small.faults())
    assert "02_net.py:3: deep/inner is built later, in chapter 04" in told
    assert "sdlearn/net.py:3: net belongs to chapter 02, deep/inner to chapter 04" in told
    assert "other is built" not in told and "deep is built" not in told


EDITS = [
    ("80.0", "81.0"),
    ("2 * sigma", "3 * sigma"),
    ('"""One noise level."""', '"""One."""\n\n    UNIT = 1'),
]


def test_the_package_is_written_from_the_notebook_and_back(small):
    """Both ways, only what differs is touched, and the round trip ends where it began."""
    before = small.read("1"), small.read("noise")
    for edit in EDITS:
        small.change("1", *edit)
    edited = small.read("1")
    assert len(rewrite.to_package(small.course, "01")) == 3
    assert small.faults() == [] and small.read("1") == edited
    assert "# what the next function is for" in small.read("noise")  # not a part of a definition
    assert "def _half" in small.read("noise")
    assert rewrite.to_package(small.course, "01") == []

    small.write("noise", before[1])
    assert len(rewrite.to_notebook(small.course, "01")) == 3
    assert small.faults() == [] and small.read("noise") == before[1]
    assert small.read("1").count("# -> sdlearn/noise.py\n") == 2
    assert rewrite.to_notebook(small.course, "01") == []
    assert rewrite.to_package(small.course, "01") == []
    assert small.read("noise") == before[1]  # the round trip


def test_a_new_definition_and_its_import_are_added_after_their_neighbours(small):
    small.change("1", "import math\n", "import math\nfrom cmath import pi\n")
    small.change("1", "\n\ndef grow", '\n\ndef turn():\n    """Half a turn."""\n    return pi\n\n\ndef grow')
    changed = rewrite.to_package(small.course, "01")
    assert changed == ["sdlearn/noise.py: turn, new", "sdlearn/noise.py: from cmath import pi"]
    assert small.faults() == []
    text = small.read("noise")
    assert text.index("import math") < text.index("from cmath") < text.index("LARGEST =")
    assert text.index("LARGEST =") < text.index("def turn") < text.index("def grow")


def test_a_new_module_is_written_whole(small):
    small.file("net").unlink()
    rewrite.to_package(small.course, "02")
    assert small.faults() == []
    assert small.read("net").startswith("from sdlearn.noise import grow\n\n\ndef answer")


def test_what_is_shown_twice_is_not_written(small):
    small.write("1", CHAPTER_1 + "\n\n# %%\n# -> sdlearn/noise.py\nLARGEST = 1.0\n")
    with pytest.raises(ValueError, match="shows LARGEST of sdlearn/noise.py twice"):
        rewrite.to_package(small.course, "01")
    assert small.read("noise") == NOISE


def test_what_would_be_no_python_is_not_written(small):
    with pytest.raises(SyntaxError):
        rewrite.apply(small.file("noise"), [(1, 1, ["def"])])
    assert small.read("noise") == NOISE


@pytest.mark.parametrize(
    ("arguments", "status", "words"), [(["check"], 0, "one."), (["to-package", "99"], 2, "'99'")]
)
def test_the_command(monkeypatch, capsys, arguments, status, words):
    monkeypatch.setattr("sys.argv", ["oneness.py", *arguments])
    try:
        assert oneness.main() == status
    except SystemExit as stopped:
        assert stopped.code == status
    assert words in "".join(capsys.readouterr())
