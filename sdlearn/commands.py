"""What the command line's commands do: refuse bad arguments, work, write files that did not exist.

torch and the networks are imported inside the functions, so that ``sdlearn --help`` is instantaneous.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdlearn.pipeline import StableDiffusion
    from sdlearn.trace import Generation, Step

OUTPUTS = Path("outputs")
STRIP_COLUMNS = 8


# Files: only new ones, and known to be writable before any work starts.


def slug(prompt: str) -> str:
    """The stem of a file name from a prompt: lower-case letters and digits, joined by dashes, at most 60."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower())[:60].strip("-") or "picture"


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


def picture_files(out: Path | None, prompt: str, seeds: Sequence[int]) -> list[Path]:
    """One new file a picture: ``out``, with the seed if there are several; by default named by the prompt."""
    if out is None:
        return [default_file(f"{slug(prompt)}-{seed}.png") for seed in seeds]
    if len(seeds) == 1:
        return [new_file(out)]
    return [new_file(out.with_name(f"{out.stem}-{seed}{out.suffix}")) for seed in seeds]


# Drawing.


def choose_device(name: str | None) -> str:
    """The device to run on; a ValueError if it is unknown or not there."""
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device {name!r} is unknown; use cpu, cuda, cuda:1 or mps.") from None
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = {"cpu": True, "cuda": (device.index or 0) < cards, "mps": torch.backends.mps.is_available()}
    if not there.get(device.type):
        raise ValueError(f"--device {name!r} is not available here; leave it out to run on what there is.")
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
    )
    drawn_with = getattr(args, "drawn_with", pipe.name)
    if drawn_with != pipe.name:
        warnings.warn(
            f"the settings are of model {drawn_with!r}, this is {pipe.name!r} (--model).", stacklevel=2
        )
    return pipe.save_memory(device) if args.save_memory else pipe


# Settings of a picture -> the command line's name, and what the value must be.
SETTINGS = {
    "prompt": ("prompt", str),
    "negative_prompt": ("negative", str),
    "num_inference_steps": ("steps", int),
    "guidance_scale": ("cfg", (int, float)),
    "guidance_rescale": ("rescale", (int, float)),
    "guidance_interval": ("guidance_interval", list),
    "strength": ("strength", (int, float)),
    "sampler": ("sampler", str),
    "spacing": ("spacing", str),
    "eta": ("eta", (int, float)),
    "clip_skip": ("clip_skip", int),
    "prompt_weights": ("prompt_weights", bool),
    "long_prompts": ("long_prompts", bool),
    "paste_original": ("paste_original", bool),
    "seed": ("seed", int),
    "model": ("drawn_with", str),
}


def settings_of(picture: Path) -> dict[str, Any]:
    """A picture's settings under the names of the command line; warns about what cannot be drawn again.

    Raises ValueError where there are none, or where one is not of its type.
    """
    from sdlearn.metadata import read_settings

    found = read_settings(picture)
    settings = {}
    for name, (ours, kind) in SETTINGS.items():
        value = found.get(name)
        if value is None:
            continue
        if isinstance(value, list) and kind in (str, int):
            raise ValueError(
                f"{str(picture)!r} was drawn with several in one call ({name}); draw them one by one."
            )
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{str(picture)!r} says {name} is {str(value)[:80]!r}, which it cannot be.")
        settings[ours] = tuple(value) if kind is list else value
    if type(found.get("width")) is int and type(found.get("height")) is int:
        settings["size"] = found["width"], found["height"]
    for name, meaning in (
        ("latents", "began with noise of its own"),
        ("resumed", "was resumed with other settings"),
    ):
        if name in found:
            warnings.warn(
                f"{str(picture)!r} {meaning}: it cannot be drawn again from its settings.", stacklevel=2
            )
    return settings


def drawing_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The command line's arguments under the names of ``StableDiffusion.txt2img``."""
    width, height = args.size or (None, None)
    return {
        "negative_prompt": args.negative,
        "num_inference_steps": args.steps,
        "guidance_scale": args.cfg,
        "sampler": args.sampler,
        "height": height,
        "width": width,
        "num_images_per_prompt": args.n,
        "seed": args.seed,
        "spacing": args.spacing,
        "eta": args.eta,
        "guidance_rescale": args.rescale,
        "guidance_interval": args.guidance_interval,
        "clip_skip": args.clip_skip,
        "prompt_weights": args.prompt_weights,
        "long_prompts": args.long_prompts,
        "record": args.steps_strip,
    }


def steps_strip(pipe: StableDiffusion, steps: Sequence[Step], k: int) -> Image:
    """How picture ``k`` came about, in some of its steps.

    Above the noisy latents, decoded; below what the U-Net believes is in them.
    """
    import torch

    from sdlearn.image import grid

    columns = min(STRIP_COLUMNS, len(steps))
    shown = [steps[round(i * (len(steps) - 1) / max(1, columns - 1))] for i in range(columns)]
    noisy = torch.cat([pipe.schedule.to_vp(step.x[k : k + 1], step.sigma) for step in shown])
    believed = torch.cat([step.pred.x0[k : k + 1] for step in shown])
    return grid([*pipe.decode(noisy), *pipe.decode(believed)], columns)


def save_pictures(
    args: argparse.Namespace, pipe: StableDiffusion, drawn: Generation, files: Sequence[Path]
) -> None:
    """Write each picture with the settings that draw it alone, and its strip; say where they are."""
    from sdlearn.image import save_png

    for k, (image, path) in enumerate(zip(drawn.images, files, strict=True)):
        settings = {**drawn.settings, "num_images_per_prompt": 1, "seed": args.seed + k}
        print("wrote", save_png(image, path, settings))
        if args.steps_strip:
            strip = steps_strip(pipe, drawn.steps, k)
            print("wrote", save_png(strip, path.with_name(f"{path.stem}-steps.png"), settings))


def planned_files(args: argparse.Namespace) -> list[Path]:
    """Where the pictures of a drawing will go; their strips lie beside them."""
    if args.prompt is None:
        raise ValueError("give a prompt, or --from FILE.png with the settings of a picture.")
    files = picture_files(args.out, args.prompt, [args.seed + k for k in range(args.n)])
    if args.steps_strip:
        for path in files:
            strip = path.with_name(f"{path.stem}-steps.png")
            if strip.exists():
                raise ValueError(f"{str(strip)!r} exists and is not overwritten; choose another --out.")
    return files


def txt2img(args: argparse.Namespace) -> None:
    """Draw a sentence."""
    if hasattr(args, "strength"):
        warnings.warn("the settings are of a redrawn picture; txt2img draws without one.", stacklevel=2)
    files = planned_files(args)
    pipe = load_model(args)
    save_pictures(args, pipe, pipe.txt2img(args.prompt, **drawing_arguments(args)), files)


def img2img(args: argparse.Namespace) -> None:
    """Redraw a picture."""
    files = planned_files(args)
    pipe = load_model(args)
    arguments = drawing_arguments(args) | {"strength": args.strength}
    save_pictures(args, pipe, pipe.img2img(args.image, args.prompt, **arguments), files)


def inpaint(args: argparse.Namespace) -> None:
    """Paint a part of a picture anew."""
    files = planned_files(args)
    pipe = load_model(args)
    arguments = drawing_arguments(args) | {"strength": args.strength, "paste_original": args.paste_original}
    save_pictures(args, pipe, pipe.inpaint(args.image, args.mask, args.prompt, **arguments), files)


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
    from sdlearn import evaluate
    from sdlearn.scenes.oracle import Oracle

    pipe = load_model(args)
    own_oracle = Path(args.model) / "oracle"  # another model's pictures are read by the shipped oracle
    oracle = Oracle.load(own_oracle if own_oracle.is_dir() else None)
    seen, held_out = evaluate.fixed_cases(args.n, "train"), evaluate.fixed_cases(args.n, "held_out")
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


def bench(args: argparse.Namespace) -> None:
    """Print timings."""
    path = new_file(args.json, ".json") if args.json else None
    from sdlearn import bench

    device = choose_device(args.device)
    machine = bench.describe_machine(device, args.dtype)
    print(machine)
    timings = bench.run_benchmark(args.model, device, args.dtype, args.runs)
    print(bench.table(timings))
    if path:
        path.write_text(bench.to_json(timings, machine), encoding="utf-8", newline="\n")
        print("wrote", path)


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
