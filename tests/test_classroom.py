"""The zip for a classroom works on its own, and holds no solution and no way to one; the teacher's holds them all."""

import json
import os
import re
import subprocess
import sys
import zipfile

import classroom
import links
import pytest

pytestmark = pytest.mark.slow  # two zips of forty megabytes


def extracted(path, kit):
    """The folder that a zip makes beside itself."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(path.parent)
    return path.parent / kit.name


def names_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def zipped(tmp_path_factory):
    return classroom.write(classroom.CLASSROOM, tmp_path_factory.mktemp("zip") / "course.zip")


@pytest.fixture(scope="module")
def unpacked(zipped):
    return extracted(zipped, classroom.CLASSROOM)


@pytest.fixture(scope="module")
def for_teachers(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher.zip"
    return extracted(classroom.write(classroom.TEACHER, path), classroom.TEACHER)


def test_it_holds_notebooks_package_data_and_environment(unpacked, repository):
    names = names_in(unpacked)
    chapters = {f"notebooks/{path.name}" for path in repository.glob("notebooks/*.ipynb")}
    wanted = {"README.md", "LICENSE", "pyproject.toml", "constraints.txt", "environment.yml"}
    wanted |= {"notebooks/GLOSSARY.md"}
    assert names >= chapters | wanted | {"sdlearn/unet.py", "sdlearn/exercises/core.py"}
    assert names >= {"data/models/scenes/model_index.json", "sdlearn/training/recipes/unet.toml"}
    tracked = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True)
    if tracked.returncode == 0 and tracked.stdout:
        package = {name for name in tracked.stdout.split("\n") if name.startswith(("sdlearn/", "data/"))}
        assert package <= names


def test_it_holds_no_solutions_and_nothing_that_is_not_for_readers(unpacked):
    names = [path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*")]
    assert [name for name in names if "solution" in name.lower()] == []
    tops = {name.split("/")[0] for name in names}
    assert not tops & {"tests", "tools", "Makefile", ".git", ".ci", "outputs", "runs", "dist"}
    assert not [name for name in names if "__pycache__" in name or name.startswith("notebooks/source")]
    assert [name for name in names if re.search("exam|teach", name.lower())] == []
    for path in unpacked.rglob("*"):
        if path.suffix in {".py", ".ipynb", ".md", ".toml"}:
            text = path.read_text(encoding="utf-8")
            assert "# solution " not in text and "](solutions" not in text and "/solutions/" not in text, path


def test_the_teachers_zip_holds_the_same_and_all_that_students_do_not_get(for_teachers, unpacked, repository):
    names = names_in(for_teachers)
    sources = repository.glob("notebooks/source/**/*.py")
    assert names >= names_in(unpacked)
    assert names >= {path.relative_to(repository).as_posix() for path in sources}
    solutions = {f"notebooks/solutions/{path.name}" for path in repository.glob("notebooks/[0-9]*.ipynb")}
    texts = {"TEACHING.md", "EXAM.md", "GLOSSARY.md", "solutions/EXAM.md"}
    assert names >= solutions | {f"notebooks/{text}" for text in texts} | {"STUDENTS.md"}
    assert (for_teachers / "STUDENTS.md").read_bytes() == (unpacked / "README.md").read_bytes()
    chapter = "notebooks/01_forward_diffusion.ipynb"  # as it is: its links to solutions lead somewhere here
    assert (for_teachers / chapter).read_bytes() == (repository / chapter).read_bytes()


@pytest.mark.parametrize("kit", ["unpacked", "for_teachers"])
def test_its_links_lead_somewhere(kit, request):
    folder = request.getfixturevalue(kit)
    texts = [*folder.glob("*.md"), *folder.glob("notebooks/**/*.md"), *folder.glob("notebooks/**/*.ipynb")]
    assert len(texts) >= 2
    assert [dead for path in texts for dead in links.dead_links(path, folder)] == []


def test_a_kit_that_is_not_there_is_refused_by_name():
    with pytest.raises(SystemExit, match="'pupils' is no kit; there are classroom, teacher"):
        classroom.main(["pupils"])


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("[the answers](solutions/01_a.ipynb)", False),
        ("[the answers](solutions/)", False),
        ("[the answers](./solutions/01_a.ipynb#2)", False),
        ("[how to help](../CONTRIBUTING.md)", False),
        ("[before](00_a.ipynb#the-end)", True),
        ("[the file](../sdlearn/unet.py)", True),
        ("[the package](../sdlearn)", True),
        ("[above](#the-beginning)", True),
        ("[a paper](https://arxiv.org/abs/2006.11239)", True),
    ],
)
def test_links_to_what_is_left_out_are_plain_text(link, kept):
    names = {"notebooks/00_a.ipynb", "notebooks/01_a.ipynb", "sdlearn/unet.py"}
    words = link[1 : link.index("]")]
    text = classroom.unlinked(f"See {link}, please.", "notebooks/01_a.ipynb", names)
    assert text == f"See {link if kept else words}, please."


def test_a_notebook_that_names_its_solutions_is_handed_out_without_the_link(tmp_path):
    """A made-up clone: what is not for readers stays behind."""
    cells = [{"cell_type": "markdown", "source": ["See [the answers](solutions/01_a.ipynb)."]}]
    for name, text in {
        "notebooks/01_a.ipynb": json.dumps({"cells": cells}),
        "notebooks/solutions/01_a.ipynb": "{}",
        "notebooks/source/01_a.py": "# solution 01.1",
        "sdlearn/a.py": "",
        "sdlearn/__pycache__/a.pyc": "",
        "sdlearn/.ipynb_checkpoints/a.py": "",
        "data/.DS_Store": "",
        "tests/exercises/test_chapter_01.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    kit = classroom.CLASSROOM
    with zipfile.ZipFile(classroom.write(kit, tmp_path / "a.zip", tmp_path)) as archive:
        names = [name.removeprefix(f"{kit.name}/") for name in archive.namelist()]
        assert names == ["README.md", "notebooks/01_a.ipynb", "sdlearn/a.py"]
        text = archive.read(f"{kit.name}/notebooks/01_a.ipynb").decode()
    assert json.loads(text)["cells"][0]["source"] == ["See the answers."]


@pytest.mark.slow
def test_the_same_files_give_the_same_zip(zipped, tmp_path):
    assert classroom.write(classroom.CLASSROOM, tmp_path / "again.zip").read_bytes() == zipped.read_bytes()


def test_notebooks_without_such_links_are_handed_out_unchanged(unpacked, repository):
    name = "notebooks/00_how_stable_diffusion_works.ipynb"
    assert (unpacked / name).read_bytes() == (repository / name).read_bytes()


def run(unpacked, *command) -> subprocess.CompletedProcess:
    """A command in the unpacked folder, with its package before all others."""
    path = os.pathsep.join([str(unpacked), os.environ["PYTHONPATH"]])
    return subprocess.run(
        [sys.executable, *command],
        cwd=unpacked,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_its_package_draws_a_picture(unpacked):
    code = (
        "import sdlearn, sdlearn.paths as p; print(sdlearn.__file__, p.shipped_model('scenes'))\n"
        "pipe = sdlearn.StableDiffusion.from_pretrained('scenes')\n"
        "print(pipe.txt2img('a cat', num_inference_steps=1).images[0].size)"
    )
    done = run(unpacked, "-c", code)
    places, size = done.stdout.splitlines()
    assert size == "(128, 128)"
    assert all(str(unpacked) in place for place in places.split())


@pytest.mark.slow
def test_check_finds_it_whole(unpacked):
    done = run(unpacked, "-m", "sdlearn", "check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checksums match" in done.stdout and "a picture of 4 steps" in done.stdout
