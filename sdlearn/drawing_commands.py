"""What txt2img, img2img and inpaint do: settings from the command line or a picture, drawings into new files.

torch and the networks are imported inside the functions, as in commands.py.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdlearn.commands import default_file, load_model, new_file

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdlearn.pipeline import StableDiffusion
    from sdlearn.trace import Generation, Step

STRIP_COLUMNS = 8
LONGEST_NAME = 200  # characters of what a picture says of its sampler, model and the like
PIXELS_TOGETHER = 256 * 256  # drawn at once: four of the small model's pictures, one of a large model's


def slug(prompt: str) -> str:
    """The stem of a file name from a prompt: lower-case letters and digits, joined by dashes, at most 60."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower())[:60].strip("-") or "picture"


def picture_files(out: Path | None, prompt: str, seeds: Sequence[int]) -> list[Path]:
    """One new file a picture: ``out``, with the seed if there are several; by default named by the prompt."""
    if out is None:
        return [default_file(f"{slug(prompt)}-{seed}.png") for seed in seeds]
    if len(seeds) == 1:
        return [new_file(out)]
    return [new_file(out.with_name(f"{out.stem}-{seed}{out.suffix}")) for seed in seeds]


# Settings of a picture -> the command line's name, and what the value must be.
SETTINGS = {
    "prompt": ("prompt", str),
    "negative_prompt": ("negative", str),
    "num_inference_steps": ("steps", int),
    "guidance_scale": ("cfg", (int, float)),
    "guidance_rescale": ("rescale", (int, float)),
    "guidance_interval": ("guidance_interval", list),
    "cache_interval": ("cache_interval", int),
    "strength": ("strength", (int, float)),
    "sampler": ("sampler", str),
    "spacing": ("spacing", str),
    "eta": ("eta", (int, float)),
    "clip_skip": ("clip_skip", int),
    "prompt_weights": ("prompt_weights", bool),
    "long_prompts": ("long_prompts", bool),
    "paste_original": ("paste_original", bool),
    "seed": ("seed", int),
    "dtype": ("dtype", str),
    "model": ("drawn_with", str),
    "vae": ("vae_drawn_with", str),
}


def odd(name: str, value: Any) -> bool:
    """Whether a value of the right type is none that a drawing can have had: too long a name, not two numbers."""
    if isinstance(value, list):
        return len(value) != 2 or any(type(end) not in (int, float) for end in value)
    return isinstance(value, str) and "prompt" not in name and len(value) > LONGEST_NAME


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
                f"{str(picture)!r} was drawn with several in one call, and does not say which it is ({name}): "
                "save each with out.settings_of(k)."
            )
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or odd(name, value):
            raise ValueError(f"{str(picture)!r} says {name!r} is {str(value)[:80]!r}, which it cannot be.")
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


def leave_out(args: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Drop a picture's eta and spacing, with a warning, where another sampler is asked for that does not know them."""
    from sdlearn.arguments import check_eta
    from sdlearn.config import ScheduleConfig
    from sdlearn.plan import choose_spacing, get_sampler
    from sdlearn.schedule import Schedule

    if args.sampler == settings.get("sampler"):
        return
    sampler = get_sampler(args.sampler)
    checks = {
        "eta": lambda: check_eta(args.eta, args.sampler, sampler),
        "spacing": lambda: choose_spacing(args.sampler, sampler, Schedule(ScheduleConfig()), args.spacing),
    }
    for name, check in checks.items():
        if getattr(args, name) is None or getattr(args, name) != settings.get(name):
            continue  # not there, or given on the command line
        try:
            check()
        except ValueError as error:
            warnings.warn(f"{error} It is of the picture's settings, and left out.", stacklevel=2)
            setattr(args, name, None)


def drawing_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The command line's arguments under the names of ``StableDiffusion.txt2img``; without --n, see ``draw``."""
    width, height = args.size or (None, None)
    return {
        "negative_prompt": args.negative,
        "num_inference_steps": args.steps,
        "guidance_scale": args.cfg,
        "sampler": args.sampler,
        "height": height,
        "width": width,
        "seed": args.seed,
        "spacing": args.spacing,
        "eta": args.eta,
        "guidance_rescale": args.rescale,
        "guidance_interval": args.guidance_interval,
        "cache_interval": args.cache_interval,
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
    args: argparse.Namespace, pipe: StableDiffusion, drawn: Generation, files: Sequence[Path], seed: int
) -> None:
    """Write the pictures, of ``seed`` and those after it, each with the settings that draw it alone.

    With --steps-strip also how they came about.
    """
    from sdlearn.image import save_png

    for k, (image, path) in enumerate(zip(drawn.images, files, strict=True)):
        settings = {**drawn.settings, "num_images_per_prompt": 1, "seed": seed + k}
        black = " (black: see the warning)" if drawn.flagged and drawn.flagged[k] else ""
        print(f"wrote {save_png(image, path, settings)}{black}", flush=True)
        if args.steps_strip:
            strip = steps_strip(pipe, drawn.steps, k)
            print("wrote", save_png(strip, path.with_name(f"{path.stem}-steps.png"), settings), flush=True)


def say_doubts(args: argparse.Namespace, pipe: StableDiffusion, request: Callable) -> None:
    """Warn of wishes that are likely to disappoint; ``request`` checks them as the pipeline's method will."""
    from sdlearn.doubts import doubts

    wishes = {name: value for name, value in drawing_arguments(args).items() if name != "record"}
    for doubt in doubts(request(**wishes), pipe.model, pipe.tokenizer):
        warnings.warn(doubt, stacklevel=2)


def draw(args: argparse.Namespace, pipe: StableDiffusion, files: Sequence[Path], one: Callable) -> None:
    """A file for each picture, written as soon as it is drawn: a run that is stopped keeps what it has finished.

    ``one`` is the pipeline's method, given its pictures and its prompt.
    """
    side = pipe.model.sample_size * pipe.model.factor
    together = max(1, PIXELS_TOGETHER // side**2)
    try:
        for start in range(0, args.n, together):
            now = files[start : start + together]
            wanted = drawing_arguments(args) | {
                "seed": args.seed + start,
                "num_images_per_prompt": len(now),
            }
            save_pictures(args, pipe, one(**wanted), now, args.seed + start)
    except KeyboardInterrupt:
        written = sum(path.exists() for path in files)
        groups = f" (they are drawn {together} at a time)" if min(together, args.n) > 1 else ""
        raise KeyboardInterrupt(f"{written} of {args.n} pictures are written{groups}") from None


def planned_files(args: argparse.Namespace) -> list[Path]:
    """Where the pictures of a drawing will go; their strips lie beside them."""
    if args.prompt is None:
        raise ValueError("give a prompt, or --from FILE.png with the settings of a picture.")
    if not args.prompt.strip() and args.cfg != 0:
        warnings.warn("the prompt is empty: the picture shows whatever the model likes.", stacklevel=2)
    if args.seed < 0:
        raise ValueError(
            f"seed must be from 0 to 2**63 - 1, got {args.seed}; --seed random takes one by lot."
        )
    if args.seed + args.n > 2**63:
        raise ValueError(f"seed must be from 0 to 2**63 - 1 for all {args.n} pictures, got {args.seed}.")
    files = picture_files(args.out, args.prompt, [args.seed + k for k in range(args.n)])
    if args.steps_strip:
        for path in files:
            strip = path.with_name(f"{path.stem}-steps.png")
            if strip.exists():
                raise ValueError(f"{str(strip)!r} exists and is not overwritten; choose another --out.")
    return files


def txt2img(args: argparse.Namespace) -> None:
    """Draw a sentence."""
    from sdlearn.drawing import text_to_image

    if hasattr(args, "strength"):
        warnings.warn("the settings are of a redrawn picture; txt2img draws without one.", stacklevel=2)
    files = planned_files(args)
    pipe = load_model(args)
    say_doubts(args, pipe, partial(text_to_image, pipe.model, args.prompt))
    draw(args, pipe, files, partial(pipe.txt2img, args.prompt))


def img2img(args: argparse.Namespace) -> None:
    """Redraw a picture."""
    from sdlearn.drawing import image_to_image

    files = planned_files(args)
    pipe = load_model(args)
    given, more = (args.image, args.prompt), {"strength": args.strength}
    say_doubts(args, pipe, partial(image_to_image, pipe.model, *given, **more))
    draw(args, pipe, files, partial(pipe.img2img, *given, **more))


def inpaint(args: argparse.Namespace) -> None:
    """Paint a part of a picture anew."""
    from sdlearn.drawing import repainting

    files = planned_files(args)
    pipe = load_model(args)
    given = args.image, args.mask, args.prompt
    more = {"strength": args.strength, "paste_original": args.paste_original}
    say_doubts(args, pipe, partial(repainting, pipe.model, *given, **more))
    draw(args, pipe, files, partial(pipe.inpaint, *given, **more))
