"""What the command line's commands do: refuse bad arguments, work, write files that did not exist.

torch and the networks are imported inside the functions, so that ``sdlearn --help`` is instantaneous.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.pipeline import StableDiffusion

OUTPUTS = Path("outputs")


# Files: only new ones, and known to be writable before any work starts.


def check_folder(folder: Path) -> None:
    """Raise ValueError unless ``folder`` is one that can be written into."""
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist; create it first"
        raise ValueError(f"cannot write into {str(folder)!r}: it {problem}.")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"cannot write into {str(folder)!r}: no permission.")


def new_file(path: Path, suffix: str = ".png") -> Path:
    """``path`` if a new file of this kind can be written there, else a ValueError that says why not."""
    if path.suffix.lower() != suffix:
        raise ValueError(f"{str(path)!r}: the name must end in {suffix}.")
    check_folder(path.parent)
    if path.exists():
        raise ValueError(f"{str(path)!r} exists and is not overwritten; choose another name.")
    return path


def default_file(name: str) -> Path:
    """outputs/<name>, with a number if that is taken. The folder may still have to be created."""
    from sdlearn.image import unused_path

    check_folder(OUTPUTS if OUTPUTS.exists() else Path("."))
    return unused_path(OUTPUTS / name)


# The model.


def choose_device(name: str | None) -> str:
    """The device to run on; a ValueError if it is unknown or not there."""
    import torch

    from sdlearn.arguments import usable_device

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    usable_device(name)
    return name


def load_model(args: argparse.Namespace) -> StableDiffusion:
    """The pipeline that --model, --device, --dtype and the like name."""
    from sdlearn.pipeline import StableDiffusion

    device = choose_device(args.device)
    pipe = StableDiffusion.from_pretrained(
        args.model,
        args.dtype,
        "cpu" if args.save_memory else device,
        prediction_type=args.prediction,
        variant=args.variant,
        tokenizer=args.tokenizer,
        vae=args.vae,
        safety_checker=not args.no_safety_checker,
        compile=args.compile,
    )
    drawn_with = getattr(args, "drawn_with", pipe.name)
    if drawn_with != pipe.name:
        warnings.warn(
            f"the settings are of model {drawn_with!r}, this is {pipe.name!r}, which draws another picture: name that "
            "one by --model.",
            stacklevel=2,
        )
    vae_drawn_with = getattr(args, "vae_drawn_with", None)
    if hasattr(args, "drawn_with") and vae_drawn_with != pipe.vae_name:
        then = f"with --vae {vae_drawn_with}" if vae_drawn_with else "without --vae"
        warnings.warn(f"the picture of these settings was drawn {then}: this one will differ.", stacklevel=2)
    return pipe.save_memory(device) if args.save_memory else pipe


def inspect(args: argparse.Namespace) -> None:
    """Say what is in a checkpoint, or with what a picture was drawn."""
    if args.model.lower().endswith(".png") and Path(args.model).is_file():
        from sdlearn.metadata import read_settings

        for name, value in read_settings(args.model).items():
            print(f"{ascii(name)[1:-1]:24}{value!r}")
        return
    from sdlearn.checkpoint import open_checkpoint

    print(open_checkpoint(args.model, prediction_type=args.prediction, variant=args.variant))


def scenes(args: argparse.Namespace) -> None:
    """Draw a sheet of training pictures; or print the words of their captions."""
    if args.words:
        from sdlearn.scenes.captions import words

        for kind, known in words().items():
            print(f"{kind:13}{', '.join(known)}")
        return
    path = new_file(args.out) if args.out else default_file(f"scenes-{args.seed}.png")
    from sdlearn.image import save_png
    from sdlearn.scenes.dataset import sheet

    print("wrote", save_png(sheet(args.n, args.seed), path, {"scenes": args.n, "seed": args.seed}))


# Training and measuring.


def recipe_changes(settings: Sequence[str]) -> dict[str, Any]:
    """{"training.steps": 100} from ["training.steps=100"]. Values are TOML; what is none is a text."""
    changes = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting!r} must look like training.steps=100.")
        try:
            changes[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changes[name.strip()] = value.strip()
    return changes


def train(args: argparse.Namespace) -> None:
    """Train one part, or all."""
    changes = recipe_changes(args.set)
    try:
        from sdlearn.training.commands import train
    except ModuleNotFoundError as error:
        raise ValueError(
            f'training needs {error.name}; in the clone: python -m pip install --editable ".[train]"'
        ) from error
    model = train(
        args.part, args.out, recipe=args.recipe, changes=changes, resume=args.resume, cpu=args.device == "cpu"
    )
    print("wrote", model)


def check(args: argparse.Namespace) -> int:
    """Print the environment report; 1 if something is wrong."""
    from sdlearn.environment import check_environment

    wrong = 0
    for finding in check_environment(args.model):
        mark = {True: "ok", False: "WRONG", None: ""}[finding.ok]
        print(f"{mark:>5}  {finding.name:<16}{finding.text}", flush=True)
        wrong += finding.ok is False
    print(f"{wrong} of these must be mended." if wrong else "All is well.")
    return 1 if wrong else 0


def lab(args: argparse.Namespace) -> int:
    """Start JupyterLab on the notebooks."""
    from importlib.util import find_spec

    notebooks = Path(__file__).resolve().parent.parent / "notebooks"
    if not notebooks.is_dir():
        raise ValueError(
            "the notebooks are in the project's repository, not in the installed package; clone it."
        )
    if find_spec("jupyterlab") is None:
        raise ValueError(
            'JupyterLab is not installed; in the clone: python -m pip install --editable ".[course]"'
        )
    options = ["--no-browser"] if args.no_browser else []
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(notebooks), *options])
