"""The settings of a picture, in the PNG itself: as JSON, and as the text that most tools for Stable Diffusion read."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

from PIL import Image

LONGEST = 2**20  # characters of text that are read from a PNG
LONGEST_LINE = 2**14  # characters of the line of entries
MOST_NAMED = 12  # entries in a warning
PAIR = re.compile(r'\s*(\w[\w \-/]{1,40}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')  # one entry of the last line
# What other tools call the samplers, in the text that they read from a PNG.
SAMPLER_TITLES = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "euler": "Euler",
    "euler_a": "Euler a",
    "heun": "Heun",
    "pndm": "PLMS",
    "lms": "LMS",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "unipc": "UniPC",
    "lcm": "LCM",
}


def parameters_text(settings: dict[str, Any]) -> str:
    """The settings in the text format of the key ``parameters``, which most tools for Stable Diffusion read.

    Prompt, negative prompt, then one line of ``Name: value`` pairs. Entries that the format does not know are
    left out: the JSON beside it has everything.
    """
    size = f"{settings['width']}x{settings['height']}" if {"width", "height"} <= settings.keys() else None
    sampler = settings.get("sampler")
    pairs = {
        "Steps": settings.get("num_inference_steps"),
        "Sampler": SAMPLER_TITLES.get(str(sampler), sampler),
        "CFG scale": settings.get("guidance_scale"),
        "Seed": settings.get("seed"),
        "Size": size,
        "Model": settings.get("model"),
        "Denoising strength": settings.get("strength"),
        "Clip skip": settings["clip_skip"] + 1 if settings.get("clip_skip") else None,  # counted from 1 there
        "RNG": "CPU",  # readers take a missing entry for noise drawn on a GPU
    }
    lines = [str(settings.get("prompt", ""))]
    if settings.get("negative_prompt"):
        lines.append(f"Negative prompt: {settings['negative_prompt']}")
    lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in pairs.items() if value is not None))
    return "\n".join(lines)


def _quoted(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ",:\n") else text


def parse_parameters(text: str) -> dict[str, Any]:
    """The settings in such a text, under the names of ``txt2img``'s arguments; {} where it is none.

    Warns of entries that are not read: without them the picture is another one. A line of the prompt that looks like
    another part of the format cannot be told from it: the JSON can.
    """
    *lines, last = text.strip().split("\n")
    pairs = dict(PAIR.findall(last)) if len(last) <= LONGEST_LINE else {}
    if len(pairs) < 3:
        return {}
    at = next((k for k, line in enumerate(lines) if line.startswith("Negative prompt:")), len(lines))
    negative = "\n".join(lines[at:]).removeprefix("Negative prompt:").strip()
    settings: dict[str, Any] = {"prompt": "\n".join(lines[:at]).strip(), "negative_prompt": negative}
    names = {title: name for name, title in SAMPLER_TITLES.items()}
    curve = pairs.get("Schedule type", "").strip().lower()  # newer files name it apart from the sampler
    read = {"Model hash", "Version"}  # nothing that the picture depends on
    if curve in ("karras", "exponential", "automatic"):
        read.add("Schedule type")
        settings["spacing"] = None if curve == "automatic" else curve
    if pairs.get("RNG") == "CPU":
        read.add("RNG")  # noise as drawn here
    known = {
        "Steps": ("num_inference_steps", int),
        "Sampler": ("sampler", lambda title: names.get(_unquoted(title))),
        "CFG scale": ("guidance_scale", float),
        "Seed": ("seed", int),
        "Model": ("model", _unquoted),
        "Denoising strength": ("strength", float),
        "Clip skip": ("clip_skip", lambda number: int(number) - 1),  # counted from 1 there
    }
    for title, (name, convert) in known.items():
        if title in pairs:
            try:
                settings[name] = convert(pairs[title])
            except ValueError:
                continue  # not a number: as if it were not there
            if settings[name] is not None:
                read.add(title)
    if size := re.fullmatch(r"(\d+)x(\d+)", pairs.get("Size", "")):
        settings["width"], settings["height"] = int(size[1]), int(size[2])
        read.add("Size")
    unread = [f"{title}: {printable(value[:40])}" for title, value in pairs.items() if title not in read]
    if unread:
        more = f" and {len(unread) - MOST_NAMED} more" if len(unread) > MOST_NAMED else ""
        warnings.warn(
            f"of the picture's settings these are not read: {', '.join(unread[:MOST_NAMED])}{more}.",
            stacklevel=3,
        )
    return {name: value for name, value in settings.items() if value is not None}


def printable(text: str) -> str:
    """The text with "?" for what no terminal shows as a letter: some of it are commands to the terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text)) if text.startswith('"') else text
    except ValueError:
        return text


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a PNG, of sdlearn or of another tool. Raises ValueError when the file holds none."""
    try:
        with Image.open(path) as image:
            texts = {name: image.info.get(name) for name in ("sdlearn", "parameters")}
    except FileNotFoundError:
        raise ValueError(f"there is no picture file {str(path)!r}.") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
        raise ValueError(f"cannot read settings from {str(path)!r}: {error}") from error
    texts = {name: text for name, text in texts.items() if isinstance(text, str) and len(text) <= LONGEST}
    try:
        settings = (
            json.loads(texts["sdlearn"]) if "sdlearn" in texts else parse_parameters(texts["parameters"])
        )
    except (KeyError, ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict) or not settings:
        raise ValueError(f"{str(path)!r} holds no settings of sdlearn, nor of a tool that writes like it.")
    return settings
