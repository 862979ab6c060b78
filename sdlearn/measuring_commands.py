"""What the commands that measure do: is the picture right (eval), how long does it take (bench).

torch and the networks are imported inside the functions, so that ``sdlearn --help`` is instantaneous.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdlearn.commands import choose_device, load_model, new_file

if TYPE_CHECKING:
    from sdlearn.evaluate import Case
    from sdlearn.pipeline import StableDiffusion
    from sdlearn.scenes.oracle import Oracle


def evaluate(args: argparse.Namespace) -> None:
    """Draw fixed captions, print what came out right; --full adds guidance scales and an uncoloured cat."""
    path = new_file(args.out, ".json") if args.out else None
    if args.savings and (args.full or (args.steps, args.cfg) != (25, 7.5)):
        raise ValueError(
            "--savings compares with 25 steps at guidance scale 7.5; leave out --steps, --cfg, --full."
        )
    if args.savings and path:
        new_file(path.with_suffix(".png"))
        need_matplotlib()
    from sdlearn import evaluate
    from sdlearn.scenes.oracle import Oracle

    pipe = load_model(args)
    own_oracle = Path(args.model) / "oracle"  # another model's pictures are read by the shipped oracle
    oracle = Oracle.load(own_oracle if own_oracle.is_dir() else None)
    seen, held_out = evaluate.fixed_cases(args.n, "train"), evaluate.fixed_cases(args.n, "held_out")
    if args.savings:
        return savings(pipe, oracle, seen, held_out, args.given, path)
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
) -> None:
    """Print what fewer network calls save and cost; as JSON into ``path``, as a figure beside it."""
    from sdlearn.bench.report import heading
    from sdlearn.savings import measure, table

    rows = measure(pipe, oracle, seen, held_out)
    print(table(rows))
    if path is None:
        return
    from sdlearn.viz import quality_against_time

    figures = {
        **heading(str(pipe.device), str(pipe.dtype).removeprefix("torch."), command),
        "model": pipe.name,
        "captions": len(seen) + len(held_out),
        "settings": rows,
    }
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8", newline="\n")
    print("wrote", path)
    picture = path.with_suffix(".png")
    picture.write_bytes(quality_against_time(rows).png())
    print("wrote", picture)


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
    if figure_file:
        need_matplotlib()
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
    if figure_file:
        from sdlearn import viz

        figure_file.write_bytes(viz.benchmark(results).png())
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


def need_matplotlib() -> None:
    """ValueError, before anything is measured, where figures cannot be drawn."""
    try:
        import sdlearn.viz  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(f"a figure needs {error.name}: python -m pip install {error.name}") from error
