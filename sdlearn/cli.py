"""The command line: ``sdlearn txt2img "an orange cat on a red castle"``.

Here are the arguments and the exit codes; what each command does is in commands.py, drawing_commands.py and
measuring_commands.py. Exit codes: 0 done, 1 a check failed, 2 bad input (one message on stderr, no file written),
130 interrupted.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sdlearn import __version__, commands, drawing_commands, measuring_commands
from sdlearn.wording import for_command_line

SAMPLER_NAMES = (
    "ddpm, ddim, euler, euler_a, heun, pndm, lms, dpmpp_2m, dpmpp_2m_karras, dpmpp_2m_sde, unipc, lcm"
)
MANY_OBJECTS = 100_000  # that Python makes between two searches for rubbish; its own habit is 700
SPACING_NAMES = "leading, trailing, linspace, karras, exponential"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line on stderr."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"sdlearn: error: {message} (see: {self.prog} --help)\n")


def size(text: str) -> tuple[int, int]:
    """Width and height from a text such as 192x128."""
    found = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} must look like 192x128 (width x height)")
    return int(found[1]), int(found[2])


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not re.fullmatch("0*[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def interval(text: str) -> tuple[float, float]:
    """Two noise levels from a text such as 0.3:5."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must look like 0.3:5 (two noise levels)") from None


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Which checkpoint, and what it may not say itself."""
    parser.add_argument(
        "--model",
        default="scenes",
        help="a shipped model's name, a folder, a .safetensors or .ckpt file, or owner/name on the hub (scenes)",
    )
    parser.add_argument(
        "--prediction",
        choices=["epsilon", "v_prediction"],
        help="what the U-Net predicts, where a file of SD 2 does not say it",
    )
    parser.add_argument("--variant", metavar="NAME", help="fp16 or non_ema, among a folder's weights")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which networks, and where they run."""
    add_source_arguments(parser)
    parser.add_argument("--tokenizer", type=Path, metavar="FOLDER", help="a vocabulary, for a single file")
    parser.add_argument(
        "--vae", metavar="FILE", help="another autoencoder: a file, a folder, or owner/name on the hub"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: cuda if there is one, else cpu)")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--save-memory", action="store_true", help="for small graphics cards; slower")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="machine code of its own for the U-Net: a minute once, then quicker",
    )
    parser.add_argument("--no-safety-checker", action="store_true", help="do not use the checkpoint's")


def add_drawing_arguments(parser: argparse.ArgumentParser) -> None:
    """What txt2img and img2img have in common."""
    parser.add_argument("--negative", default="", metavar="PROMPT", help="what should not be in the picture")
    parser.add_argument("--sampler", default="dpmpp_2m", help=f"{SAMPLER_NAMES} (default: dpmpp_2m)")
    parser.add_argument("--steps", type=int, default=25, help="denoising steps (default: 25)")
    parser.add_argument(
        "--cfg",
        type=float,
        default=7.5,
        metavar="SCALE",
        help="guidance scale; 1: the prompt alone, 0: no prompt at all (default: 7.5)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="same seed, same picture; another number, another picture (default: 0)",
    )
    parser.add_argument(
        "--size", type=size, metavar="WxH", help="pixels (default: the model's, or the picture's)"
    )
    parser.add_argument(
        "--n",
        type=count,
        default=1,
        help="pictures, with seeds SEED, SEED+1, ..., which end their names (default: 1)",
    )
    parser.add_argument("--spacing", help=f"of the noise levels: {SPACING_NAMES} (default: the model's)")
    parser.add_argument("--eta", type=float, help="share of fresh noise, 0 to 1: for ddim, ddpm, euler_a")
    parser.add_argument(
        "--rescale",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="take back what guidance makes glaring, 0 to 1",
    )
    parser.add_argument(
        "--guidance-interval", type=interval, metavar="LOW:HIGH", help="guide only between these noise levels"
    )
    parser.add_argument(
        "--cache-interval",
        type=count,
        default=1,
        metavar="N",
        help="run the whole U-Net at every Nth call only, else its two ends: faster, other pictures (1)",
    )
    parser.add_argument(
        "--clip-skip", type=int, default=0, metavar="N", help="leave out the last N text layers"
    )
    parser.add_argument("--prompt-weights", action="store_true", help="(word:1.3) counts more, [word] less")
    parser.add_argument("--long-prompts", action="store_true", help="read all of a prompt that does not fit")
    parser.add_argument(
        "--from",
        dest="from_file",
        type=Path,
        metavar="FILE.png",
        help="the settings of this picture, unless given",
    )
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="default: outputs/<prompt>-<seed>.png")
    parser.add_argument("--steps-strip", action="store_true", help="also save how each picture came about")
    add_model_arguments(parser)


Command = Callable[[str, Callable[[argparse.Namespace], int | None], str], argparse.ArgumentParser]


def add_drawing_commands(command: Command, settings: dict[str, Any]) -> None:
    """txt2img, img2img and inpaint; ``settings`` stand for what the command line does not say."""
    txt2img = command("txt2img", drawing_commands.txt2img, "draw a sentence")
    txt2img.add_argument("prompt", nargs="?", help="may be left out with --from")
    add_drawing_arguments(txt2img)

    img2img = command("img2img", drawing_commands.img2img, "redraw a picture so that it fits a sentence")
    img2img.add_argument("image", type=Path, help="the picture to redraw")
    img2img.add_argument("prompt", nargs="?", help="may be left out with --from")
    img2img.add_argument(
        "--strength",
        type=float,
        default=0.75,
        help="above 0 (nearly keep the picture) to 1 (nearly ignore it); default: 0.75",
    )
    add_drawing_arguments(img2img)

    inpaint = command(
        "inpaint", drawing_commands.inpaint, "paint a part of a picture anew, so that it fits a sentence"
    )
    inpaint.add_argument("image", type=Path, help="the picture to paint in")
    inpaint.add_argument(
        "mask", type=Path, help="a picture of the same size, white where to paint, else black or transparent"
    )
    inpaint.add_argument("prompt", nargs="?", help="may be left out with --from")
    inpaint.add_argument("--strength", type=float, default=1.0, help="1: forget what was there (default)")
    inpaint.add_argument(
        "--paste-original", action="store_true", help="put the original pixels back outside the mask, softly"
    )
    add_drawing_arguments(inpaint)

    for drawing in (txt2img, img2img, inpaint):
        drawing.set_defaults(**settings)


def add_training_commands(command: Command) -> None:
    """train and eval."""
    train = command("train", commands.train, "train a part of the model, or all of it in order")
    train.add_argument("part", choices=["vae", "clip", "oracle", "unet", "all"])
    train.add_argument("--device", choices=["cpu"], help="stay on the CPU (default: a GPU if there is one)")
    train.add_argument(
        "--recipe", type=Path, metavar="FILE.toml", help="default: the shipped recipe of the part"
    )
    train.add_argument("--out", type=Path, default=Path("runs"), metavar="FOLDER", help="default: runs")
    train.add_argument("--resume", action="store_true", help="go on from the last state saved in FOLDER")
    train.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="such as training.steps=100"
    )

    evaluate = command(
        "eval", measuring_commands.evaluate, "does the model draw what it is told? with 95 %% intervals"
    )
    evaluate.add_argument(
        "--n", type=count, default=500, help="captions of each kind, seen and held out (500)"
    )
    evaluate.add_argument("--steps", type=count, default=25, help="denoising steps (default: 25)")
    evaluate.add_argument("--cfg", type=float, default=7.5, metavar="SCALE", help="guidance scale (7.5)")
    evaluate.add_argument("--full", action="store_true", help='also other scales, and the colours of "a cat"')
    evaluate.add_argument(
        "--savings",
        action="store_true",
        help="instead: what fewer network calls save and cost; draws all captions 20 times, so take --n 100",
    )
    evaluate.add_argument(
        "--out", type=Path, metavar="FILE.json", help="also save the figures, of --savings as .png too"
    )
    add_model_arguments(evaluate)


def add_other_commands(command: Command) -> None:
    """What looks at checkpoints, training pictures and the installation, and opens the course."""
    inspect = command("inspect", commands.inspect, "say what is in a checkpoint, without loading its weights")
    inspect.add_argument("model", help="a folder, a file, a shipped model's name, or owner/name on the hub")
    inspect.add_argument("--prediction", choices=["epsilon", "v_prediction"], help="see txt2img")
    inspect.add_argument("--variant", metavar="NAME", help="see txt2img")

    scenes = command(
        "scenes", commands.scenes, "draw a sheet of the pictures and captions the model learns from"
    )
    scenes.add_argument("--n", type=count, default=16, help="scenes (default: 16)")
    scenes.add_argument("--seed", type=int, default=0, help="another seed, other scenes (default: 0)")
    scenes.add_argument("--out", type=Path, metavar="FILE.png", help="default: outputs/scenes-<seed>.png")

    check = command("check", commands.check, "report on this environment; exit code 1 if something is wrong")
    check.add_argument("--model", default="scenes", help="a shipped model's name, or a folder (scenes)")

    lab = command("lab", commands.lab, "open the notebooks in JupyterLab")
    lab.add_argument("--no-browser", action="store_true", help="only start the server")


def add_bench_command(command: Command) -> None:
    """bench."""
    bench = command(
        "bench",
        measuring_commands.bench,
        "how fast is it here, beside what this machine can do at most; --model sd15: with random weights in the shape "
        "of Stable Diffusion 1.5",
    )
    bench.add_argument(
        "--batch", type=count, nargs="+", default=[1], metavar="N", help="pictures at once (1)"
    )
    bench.add_argument("--steps", type=count, help="of a whole picture (default: 25)")
    bench.add_argument(
        "--against", choices=["diffusers"], help="the same there, by turns: ratios pair by pair"
    )
    bench.add_argument("--scaling", action="store_true", help="tables over steps, batch and size")
    bench.add_argument("--leak", type=count, metavar="N", help="does memory grow over N pictures?")
    bench.add_argument("--quick", action="store_true", help="small and few: to see that everything runs")
    bench.add_argument("--runs", type=count, default=5, help="repetitions; medians are printed (default: 5)")
    bench.add_argument("--json", type=Path, metavar="FILE.json", help="also save every single run")
    bench.add_argument("--figure", type=Path, metavar="FILE.png", help="also save a figure")
    add_model_arguments(bench)


def build_parser(settings: dict[str, Any] | None = None) -> argparse.ArgumentParser:
    """The parser of every command; ``run`` is the function that carries it out.

    ``settings``, of a picture, stand for what the command line of a drawing does not say.
    """
    parser = Parser(prog="sdlearn", description="Stable Diffusion, built from scratch to be understood.")
    parser.add_argument("--version", action="version", version=f"sdlearn {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int | None], summary: str
    ) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        return added

    add_drawing_commands(command, settings or {})
    add_training_commands(command)
    add_bench_command(command)
    add_other_commands(command)
    return parser


def warning_lines() -> Callable[..., None]:
    """For ``warnings.showwarning``: each warning once, a line for a reader, without its place in the code."""
    said: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in said:
            said.add(str(message))
            print(f"sdlearn: warning: {for_command_line(str(message))}", file=sys.stderr)

    return show


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code; bad input becomes one message on stderr and code 2."""
    args = build_parser().parse_args(arguments)
    args.given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warning_lines()
            if getattr(args, "from_file", None):
                args = build_parser(drawing_commands.settings_of(args.from_file)).parse_args(arguments)
            return args.run(args) or 0
    except KeyboardInterrupt as stop:
        print("sdlearn: interrupted" + (f", {stop}" if str(stop) else ""), file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError) as error:  # CheckpointError is a ValueError
        print(f"sdlearn: error: {for_command_line(str(error))}", file=sys.stderr)
        return 2
    except MemoryError as error:
        lack = for_command_line(str(error)) or "this machine has no room for it: ask for less."
        print(f"sdlearn: error: {lack}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if "out of memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        brief = str(error).splitlines()[0][:200]
        print(
            f"sdlearn: error: {brief} Ask for less at once: a smaller size, number or batch.", file=sys.stderr
        )
        return 2


def entry() -> NoReturn:
    """The installed command ``sdlearn``."""
    # torch makes 160,000 objects that stay to the end. Python's search for rubbish would go through all of
    # them several times while they are imported, and again at the end: a quarter of the time of one small picture.
    gc.set_threshold(MANY_OBJECTS)
    atexit.register(gc.freeze)
    sys.exit(main())
