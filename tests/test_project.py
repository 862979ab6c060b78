"""The project itself: who imports whom, a light import, one set of pins, tests offline, a whole wheel."""

import ast
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import sdlearn
from sdlearn.environment import COURSE, LEAST_PYTHON, REQUIRED

# From the ground up: a module imports from its own layer or from those before it, and never in a circle.
LAYERS = [
    {"config", "trace", "image", "metadata", "paths", "memory", "progress"},
    {"schedule", "spacing", "blocks", "attention"},
    {"unet", "noisy_classifier", "vae", "clip", "bpe", "tokenizer", "tokenizer_files", "tokenizer_training"},
    {
        "denoise",
        "guidance",
        "samplers",
        "samplers_more",
        "plan",
        "prompts",
        "inpainting",
        "elsewhere",
        "arguments",
        "wishes",
        "drawing",
        "doubts",
    },
    {"together", "reuse"},
    {"speed", "compiled"},
    {"checkpoint"},
    {"safety"},
    {"networks"},
    {"stages"},
    {"pipeline"},
    {"scenes"},
    {"viz", "training", "evaluate", "savings", "environment", "bench", "exercises"},
    {"commands", "drawing_commands", "measuring_commands", "parser", "wording"},
    {"cli"},
    {"__main__"},
]
NETWORKS = {
    "unet",
    "noisy_classifier",
    "vae",
    "clip",
    "blocks",
    "attention",
    "reuse",
    "checkpoint",
    "safety",
    "networks",
    "pipeline",
}
CALLABLES_ONLY = {
    "denoise",
    "guidance",
    "samplers",
    "samplers_more",
    "spacing",
    "plan",
    "prompts",
    "inpainting",
    "arguments",
    "wishes",
    "elsewhere",
    "schedule",
    "drawing",
    "doubts",
}  # these know callables, never a network
WIDGETS = ("", "_parts", "_run", "_schedule", "_guidance", "_attention", "_walk", "_tokens", "_sketch")
# Third-party packages, and the only places that may import them. Reference libraries are for tests, and
# for the benchmark that compares with them.
HOMES = {
    "diffusers": ("bench.against",),
    "transformers": ("bench.against",),
    "torchvision": (),
    "IPython": ("viz",),
    "matplotlib": ("viz",),
    "ipywidgets": tuple(f"viz.widgets{part}" for part in WIDGETS),
    "accelerate": ("training",),
    "huggingface_hub": ("checkpoint.hub",),
}
RUNTIME = {"torch", "numpy", "PIL", "safetensors", "regex", "tqdm", "sdlearn"}


PACKAGE = Path(sdlearn.__file__).parent


def module_name(path: Path) -> str:
    """sdlearn/scenes/draw.py -> "scenes.draw"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports, at the top or in a function; not those for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in set(ast.walk(tree)) - for_types:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = path.parents[node.level - 1].relative_to(PACKAGE.parent).parts if node.level else ()
            origin = ".".join([*home, *filter(None, [node.module])])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTS = {module: imports(path) for module, path in FILES.items()}
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}


def internal(module: str) -> set[str]:
    """The top-level modules of sdlearn that a module imports, apart from its own package."""
    names = {name.split(".")[1] for name in IMPORTS[module] if name.startswith("sdlearn.")}
    return {name for name in names if name in RANK} - {module.split(".")[0]}


@pytest.mark.parametrize("module", [module for module in FILES if module])
def test_imports_point_one_way(module):
    own = module.split(".")[0]
    assert own in RANK, f"sdlearn/{own} is new: give it a layer in LAYERS"
    upwards = {other for other in internal(module) if RANK[other] > RANK[own]}
    assert not upwards, f"{module} imports {upwards}, which are built on top of it"
    if own in CALLABLES_ONLY:
        assert not internal(module) & NETWORKS, f"{module} must know callables, never a network"


def test_no_module_imports_itself_through_others():
    edges = {own: set() for own in RANK}
    for module in FILES:
        if module:
            edges[module.split(".")[0]] |= internal(module)
    while leaves := [own for own, others in edges.items() if not others & edges.keys()]:
        for own in leaves:
            del edges[own]
    assert not edges, f"a circle of imports among {sorted(edges)}"


@pytest.mark.parametrize("module", FILES)
def test_third_party_imports_stay_at_home(module):
    for package in {name.split(".")[0] for name in IMPORTS[module]}:
        if package in sys.stdlib_module_names or package in RUNTIME:
            continue
        assert package in HOMES, f"sdlearn/{module} imports {package}, which is no dependency"
        allowed = any(module == home or module.startswith(home + ".") for home in HOMES[package])
        assert allowed, f"sdlearn/{module} imports {package}; allowed in {HOMES[package] or 'tests only'}"


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
    )


def test_import_is_light_and_quiet():
    done = run_python(
        "import sdlearn, sys; print([m for m in ('torch', 'numpy', 'PIL', 'tqdm') if m in sys.modules])"
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


@pytest.mark.slow
def test_pipeline_imports_no_training_and_no_reference_library():
    heavy = ("accelerate", "diffusers", "transformers", "matplotlib", "torchvision", "sdlearn.training")
    done = run_python(
        f"import sdlearn, sys; sdlearn.StableDiffusion; print([m for m in {heavy} if m in sys.modules])"
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_public_names_exist():
    for name in sdlearn.__all__:
        assert getattr(sdlearn, name).__name__ == name if name != "__version__" else sdlearn.__version__
    assert set(sdlearn.__all__) <= set(dir(sdlearn))
    with pytest.raises(AttributeError, match="no attribute 'StabelDiffusion'.*StableDiffusion"):
        _ = sdlearn.StabelDiffusion


def test_one_set_of_pins(repository):
    """Every environment gets the same versions, above the lower bounds, and conda has what was asked for."""
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(
        line.lower().replace("_", "-").split("==") for line in lines if line and not line.startswith("#")
    )
    conda = yaml.safe_load((repository / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    named = dict(entry.split("==") for entry in pip if not entry.startswith("--"))
    wanted = {"torch", "jupyterlab", "matplotlib", "ipywidgets", "numpy", "transformers", "safetensors"}
    assert named.keys() >= wanted
    assert named == {name: pins[name] for name in named}
    assert "--constraint constraints.txt" in pip
    assert "--constraint constraints.txt" in (repository / "Makefile").read_text(encoding="utf-8")
    binder = (repository / ".binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {"--constraint ../constraints.txt", "--editable .[course]"} <= set(binder)
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["course"], *extras["train"], *extras["dev"]]:
        name, bound = re.fullmatch(r"([\w-]+)(?:>=([\d.]+)|==.*|\[.*\])", requirement).groups()
        if name != "sdlearn":
            assert numbers(pins[name]) >= numbers(bound or "0"), requirement


def test_check_knows_the_lower_bounds(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [f"{name}>={least}" for name, least in REQUIRED.items()] == project["dependencies"]
    course = {f"{name}>={least}" for name, least in COURSE.items()}
    assert course == set(project["optional-dependencies"]["course"]) - {"transformers>=5.6"}
    assert project["requires-python"] == f">={'.'.join(map(str, LEAST_PYTHON))}"


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@pytest.mark.parametrize("where", ["here", "in a process started by a test"])
def test_connections_beyond_the_loopback_are_refused(where):
    calls = [
        "socket.create_connection(('192.0.2.1', 80), timeout=1)",  # an address reserved for documentation
        "socket.getaddrinfo('example.org', 443)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "urllib.request.urlopen('http://example.org', timeout=1)",
    ]
    for call in calls:
        if where == "here":
            with pytest.raises(OSError, match="the tests are offline"):
                exec(f"import socket, urllib.request; {call}")
        else:
            done = run_python(f"import socket, urllib.request; {call}")
            assert done.returncode == 1 and "the tests are offline" in done.stderr, call


def test_the_loopback_works():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(("localhost", server.getsockname()[1]), timeout=5) as client:
            assert client.getpeername()[0] == "127.0.0.1"


@pytest.mark.slow
def test_wheel_holds_the_model_and_draws(repository, tmp_path):
    """An installed wheel needs nothing of the clone: unpacked elsewhere, it finds its model."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=repository, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("sdlearn-*.whl")
    assert f"-{sdlearn.__version__}-" in wheel.name
    assert wheel.stat().st_size < 40e6
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    models = repository / "data" / "models"
    shipped = {
        f"sdlearn/_data/models/{file.relative_to(models).as_posix()}"
        for file in models.rglob("*")
        if file.is_file()
    }
    assert "sdlearn/_data/models/scenes/model_index.json" in names
    assert shipped <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "data/", "notebooks/"))]
    code = (
        "import sdlearn, sdlearn.paths as p; print(sdlearn.__file__, p.shipped_model('scenes'))\n"
        "pipe = sdlearn.StableDiffusion.from_pretrained('scenes')\n"
        "print(pipe.txt2img('a cat', num_inference_steps=1).images[0].size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ["PYTHONPATH"]])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    places, size = done.stdout.splitlines()
    assert all(Path(place).is_relative_to(tmp_path) for place in places.split())
    assert size == "(128, 128)"


def test_commands_in_the_readme_exist(repository, capsys):
    """Each `make ...` of the README is a target and each `sdlearn ...` is accepted by the parser."""
    from sdlearn.cli import build_parser

    readme = (repository / "README.md").read_text(encoding="utf-8")
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```(?:sh|bat)\n(.*?)```", readme, flags=re.DOTALL))
    targets = set(re.findall(r"^([\w-]+):", makefile, flags=re.MULTILINE))
    made = set(
        re.findall(r"(?:^|\s)make ([\w-]+)", blocks + "\n" + " ".join(re.findall(r"`(make [\w-]+)`", readme)))
    )
    assert made >= {"demo", "test", "train", "eval"} and made <= targets
    commands = re.findall(r"^(?:.*python -m )?sdlearn (.*?)(?:\s+#.*)?$", blocks, flags=re.MULTILINE)
    assert len(commands) >= 5
    for line in commands:
        build_parser().parse_args(shlex.split(line))  # SystemExit fails the test
    capsys.readouterr()


def test_files_named_in_the_readme_exist(repository):
    readme = (repository / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", readme) if not link.startswith(("http:", "https:"))]
    missing = [link for link in links if not (repository / link).exists()]
    assert links and not missing
