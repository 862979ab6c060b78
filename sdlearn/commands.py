"""What the command line's commands do: refuse bad arguments, work, write files that did not exist.

torch and the networks are imported inside the functions, so that ``sdlearn --help`` is instantaneous.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.evaluate import Case
    from sdlearn.pipeline import StableDiffusion
    from sdlearn.scenes.oracle import Oracle

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
    import torch

    from sdlearn.pipeline import StableDiffusion

    device = choose_device(args.device)
    pipe = StableDiffusion.from_pretrained(
        args.model,
        getattr(torch, args.dtype),
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
            f"the settings are of model {drawn_with!r}, this is {pipe.name!r} (--model).", stacklevel=2
        )
    return pipe.save_memory(device) if args.save_memory else pipe


def inspect(args: argparse.Namespace) -> None:
    """Say what is in a checkpoint."""
    from sdlearn.checkpoint import open_checkpoint

    print(open_checkpoint(args.model, prediction_type=args.prediction, variant=args.variant))


def scenes(args: argparse.Namespace) -> None:
    """Draw a sheet of training pictures."""
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


def evaluate(args: argparse.Namespace) -> None:
    """Draw fixed captions, print what came out right; --full adds guidance scales and an uncoloured cat."""
    path = new_file(args.out, ".json") if args.out else None
    if args.savings and (args.full or (args.steps, args.cfg) != (25, 7.5)):
        raise ValueError(
            "--savings compares with 25 steps at guidance scale 7.5; leave out --steps, --cfg, --full."
        )
    plotted = None
    if args.savings and path:
        new_file(path.with_suffix(".png"))
        plotted = savings_figure()
    from sdlearn import evaluate
    from sdlearn.scenes.oracle import Oracle

    pipe = load_model(args)
    own_oracle = Path(args.model) / "oracle"  # another model's pictures are read by the shipped oracle
    oracle = Oracle.load(own_oracle if own_oracle.is_dir() else None)
    seen, held_out = evaluate.fixed_cases(args.n, "train"), evaluate.fixed_cases(args.n, "held_out")
    if args.savings:
        return savings(pipe, oracle, seen, held_out, args.given, path, plotted)
    chosen = {"guidance_scale": args.cfg, "num_inference_steps": args.steps}
    rows = {
        "seen": evaluate.evaluate(pipe, oracle, seen, **chosen),
        "held out": evaluate.evaluate(pipe, oracle, held_out, **chosen),
    }
    print(
        evaluate.table_text(rows, f"{args.n} captions of combinations seen in training, {args.n} of others:")
    )
    figures = {**chosen, "main": evaluate.as_json(rows)}
    if args.full:
        scales = evaluate.guidance_table(pipe, oracle, seen[:200], num_inference_steps=args.steps)
        print(evaluate.table_text(scales, "By guidance scale, and by chance:"))
        figures |= {"guidance": evaluate.as_json(scales), "a cat": {}}
        for scale in (1.0, args.cfg):  # as learnt, and as drawn
            cats = evaluate.colours_of(
                pipe, oracle, "a cat", "cat", 200, **{**chosen, "guidance_scale": scale}
            )
            print(f'"a cat", 200 seeds, guidance {scale:g}: {dict(cats.most_common())}')
            figures["a cat"][f"{scale:g}"] = dict(cats)
    if path:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8", newline="\n")
        print("wrote", path)


def savings(
    pipe: StableDiffusion,
    oracle: Oracle,
    seen: Sequence[Case],
    held_out: Sequence[Case],
    command: Sequence[str],
    path: Path | None,
    plotted: Callable[[dict[str, Any]], Any] | None,
) -> None:
    """Print what fewer network calls save and cost; as JSON into ``path``, ``plotted`` beside it."""
    from sdlearn.bench.report import heading
    from sdlearn.savings import measure, table

    rows = measure(pipe, oracle, seen, held_out)
    print(table(rows))
    if path is None or plotted is None:
        return
    figures = {
        **heading(str(pipe.device), str(pipe.dtype).removeprefix("torch."), command),
        "model": pipe.name,
        "captions": len(seen) + len(held_out),
        "settings": rows,
    }
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8", newline="\n")
    print("wrote", path)
    picture = path.with_suffix(".png")
    picture.write_bytes(plotted(rows).png())
    print("wrote", picture)


def savings_figure() -> Callable[[dict[str, Any]], Any]:
    """The function that draws the savings; a ValueError where matplotlib is not installed."""
    try:
        from sdlearn.viz.speed_plots import quality_against_time
    except ModuleNotFoundError as error:
        raise ValueError(f"a figure needs {error.name}: python -m pip install {error.name}") from error
    return quality_against_time


def bench(args: argparse.Namespace) -> None:
    """Measure, print the tables, and save JSON and figure where asked."""
    from sdlearn.bench.made_up import NAME

    if args.model == NAME and special(args):
        raise ValueError(f"--model {NAME} is made of random numbers; leave out {', '.join(special(args))}.")
    json_file = new_file(args.json, ".json") if args.json else None
    figure_file = new_file(args.figure) if args.figure else None
    device = choose_device(args.device)
    from sdlearn.bench import report
    from sdlearn.bench.measure import Request, benchmark, check_request, cold_starts

    asked = Request(
        batches=tuple(args.batch),
        runs=min(args.runs, 2) if args.quick else args.runs,
        steps=args.steps,
        diffusers=args.against == "diffusers",
        compiled=args.compile,
        scaling=args.scaling,
        leak=args.leak,
        quick=args.quick,
    )
    if asked.diffusers:
        from sdlearn.bench.against import libraries

        libraries()  # says what is missing before anything is measured
    plotted = bench_figure() if figure_file else None
    told = report.heading(device, args.dtype, args.given)
    print(told["machine"])
    pipe = model_to_time(args, device)
    check_request(pipe, asked)  # before the fresh processes, too
    cold = cold_starts(args.model, device, args.dtype, asked.runs) if is_named(args) else []
    results = told | {"model": args.model, "cold": cold} | benchmark(pipe, asked, progress)
    print(report.table(results))
    if json_file:
        json_file.write_text(report.to_json(results), encoding="utf-8", newline="\n")
        print("wrote", json_file)
    if figure_file and plotted:
        figure_file.write_bytes(plotted(results).png())
        print("wrote", figure_file)


def progress(text: str) -> None:
    """What is being measured, on stderr: the tables alone are the output."""
    print(f"... {text}", file=sys.stderr, flush=True)


def model_to_time(args: argparse.Namespace, device: str) -> StableDiffusion:
    """The model that is named, or one of random numbers in the shape of Stable Diffusion 1.5."""
    import torch

    from sdlearn.bench.made_up import NAME, made_up_model

    if args.model != NAME:
        return load_model(args)
    pipe = made_up_model(getattr(torch, args.dtype), device)
    return pipe.compile() if args.compile else pipe


def special(args: argparse.Namespace) -> list[str]:
    """The given options that say more of a model than its name, its number type and where it runs."""
    names = "prediction", "variant", "tokenizer", "vae", "save_memory", "no_safety_checker"
    return [f"--{name.replace('_', '-')}" for name in names if getattr(args, name)]


def is_named(args: argparse.Namespace) -> bool:
    """Whether a fresh process would find the model by its name alone and draw as this one does."""
    from sdlearn.bench.made_up import NAME

    return args.model != NAME and not (args.compile or args.quick or special(args))


def bench_figure() -> Callable[[dict[str, Any]], Any]:
    """The function that draws the results; a ValueError where matplotlib is not installed."""
    try:
        from sdlearn.viz.bench_plots import benchmark
    except ModuleNotFoundError as error:
        raise ValueError(f"a figure needs {error.name}: python -m pip install {error.name}") from error
    return benchmark


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
