"""The model card and the checksums of a trained model folder: written from measurements, never by hand.

python -m sdlearn.training.card data/models/scenes runs/eval.json runs
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from sdlearn.checkpoint.tensors import read_tensors
from sdlearn.training.recipe import RECIPES, load_recipe

CARD, SUMS = "README.md", "SHA256SUMS"
MEASURES = ("objects", "colours", "relations", "backgrounds", "all right")

TEXT = """\
# scenes: a small Stable Diffusion for drawn scenes

Draws captioned picture-book scenes of 128 x 128 pixels: one or two of twelve objects in eight colours on four
backgrounds, alone, one on the other, or side by side. `sdlearn` and `diffusers.StableDiffusionPipeline` open this
folder alike.

## Parts

{parts}

All weights are in half precision. `clip` (the image tower) and `oracle` (which reads pictures back) are for
measuring and for the course; drawing needs neither.

## Data and recipe

{pictures} scenes drawn by `sdlearn.scenes` (seed {seed}), the last {held_back} never trained on. Ten (colour, object)
pairs and ten object-on-object pairs are held out of training; see `HELD_OUT_COLOURED` and `HELD_OUT_STACKED` in
`sdlearn/scenes/world.py`. The recipes are the TOML files of `sdlearn/training/recipes`:

{recipes}

Everything is retrained by one command: `sdlearn train all --out runs` (or `make train`).

## What the oracle finds

`sdlearn eval` draws fixed prompts with fixed seeds, 25 steps of the default sampler, guidance scale
{guidance}. Share [95 % interval]:

{main}

{cat}

By guidance scale, on the first 200 of the seen combinations. "chance" is what the pictures of scale 1 score on prompts
that are not theirs:

{table}

## Limits

It knows only this world and its few dozen words; other words mean nothing to it. It has learnt pictures of 128 x 128
pixels, and with more room it is on its own. The smallest details (whiskers, window bars) soften in the
autoencoder{mse}. Two things in one sentence sometimes become two of a kind, or exchange colours.

Drawings, code and weights are this project's own, under its MIT licence.
"""


def write_card(model: Path, evaluation: dict, runs: Path) -> None:
    """Write README.md and SHA256SUMS into ``model`` from the figures of ``sdlearn eval`` and the runs' notes."""
    recipes = {part: load_recipe(RECIPES / f"{part}.toml") for part in ("vae", "clip", "oracle", "unet")}
    figures = runs / "vae" / "figures.json"
    mse = json.loads(figures.read_text("utf-8"))["reconstruction_mse"] if figures.exists() else None
    shares = {
        scale: f"{100 * colours.get('orange', 0) / sum(colours.values()):.0f} %"
        for scale, colours in evaluation["a cat"].items()
    }
    oranges = ", ".join(f"in {share} at guidance scale {scale}" for scale, share in shares.items())
    text = TEXT.format(
        parts=_parts(model),
        recipes="\n".join(f"- `{part}.toml`: {_size(r['training'])}" for part, r in recipes.items()),
        **recipes["unet"]["data"],
        guidance=f"{evaluation['guidance_scale']:g}",
        main=_table(evaluation["main"]),
        cat=f'"a cat", no colour named, is orange {oranges} (200 seeds). In the training pictures an uncoloured cat '
        "is orange in 70 %: scale 1 draws as it has learnt, a higher scale exaggerates what is likely.",
        table=_table(evaluation["guidance"]),
        mse=f" (mean squared error {mse:.4f} on pictures in -1 … 1)" if mse else "",
    )
    (model / CARD).write_text(text, encoding="utf-8", newline="\n")
    write_checksums(model)


def write_checksums(model: Path) -> None:
    """SHA256SUMS over every other file, in the form that ``sha256sum --check`` reads."""
    files = sorted(path for path in model.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(model).as_posix()}\n"
        for path in files
    ]
    (model / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")


def _size(training: dict) -> str:
    return f"{training['steps']} steps, batch {training.get('batch_size', training.get('batch'))}"


def _parts(model: Path) -> str:
    lines = ["| part | parameters | MB |", "|---|---|---|"]
    for path in sorted(model.glob("*/*.safetensors")):
        count = sum(tensor.numel() for tensor in read_tensors(path).values())
        lines.append(f"| {path.parent.name} | {count:,} | {path.stat().st_size / 1e6:.1f} |")
    return "\n".join(lines)


def _table(rows: dict) -> str:
    lines = ["| | " + " | ".join(MEASURES) + " |", "|---" * (len(MEASURES) + 1) + "|"]
    for name, row in rows.items():
        cells = [_cell(row[measure]) if measure in row else "" for measure in MEASURES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(entry: dict) -> str:
    low, high = entry["interval"]
    return f"{100 * entry['share']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    folder, evaluation_file, run_folder = map(Path, sys.argv[1:4])
    write_card(folder, json.loads(evaluation_file.read_text("utf-8")), run_folder)
