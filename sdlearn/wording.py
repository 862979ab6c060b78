"""The library's messages for a reader of the command line: options instead of Python's arguments."""

from __future__ import annotations

import re

# What a message says -> what is typed.
OPTIONS = {
    "negative_prompt": "--negative",
    "num_inference_steps": "--steps",
    "guidance_scale": "--cfg",
    "guidance_rescale": "--rescale",
    "guidance_interval": "--guidance-interval",
    "cache_interval": "--cache-interval",
    "clip_skip": "--clip-skip",
    "num_images_per_prompt": "--n",
    "prompt_weights=True": "--prompt-weights",
    "safety_checker=False": "--no-safety-checker",
    "dtype=torch.float16": "--dtype float16",
    "pipe.save_memory()": "--save-memory",
    "height=": "--size: height=",
    "width=": "--size: width=",
    "strength=": "--strength=",
}
# Arguments, where a message begins with them.
FIRST = ("strength", "seed", "eta", "spacing", "device", "tokenizer")
QUOTED = r"(?<!\w)'[^']*'"  # what was given is shown as it is
TERM = re.compile("|".join([QUOTED, *(rf"(?<!\w){re.escape(name)}" for name in OPTIONS)]))


def for_command_line(message: str) -> str:
    """The same message with the options that a reader of the command line knows."""
    message = re.sub(rf"^({'|'.join(FIRST)})(?= (must|is|'))", r"--\1", message)
    return TERM.sub(lambda found: OPTIONS.get(found[0], found[0]), message)
