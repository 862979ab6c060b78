"""How a command line is read: the kinds of its values, and errors that name what was probably meant."""

from __future__ import annotations

import argparse
import re
import secrets
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from sdlearn.wording import OPTIONS

DIFFERENT = {"width": "--size", "height": "--size"}  # of diffusers' names, beside those in wording.OPTIONS


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line on stderr, which names what was probably meant."""

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        near = get_close_matches(found[1], re.findall(r"[\w-]+", found[2]), 1) if found else []
        meant = f"; did you mean {near[0]}?" if near else ""
        self.exit(2, f"sdlearn: error: {message}{meant} (see: {self.prog} --help)\n")

    def parse_known_args(self, *arguments: Any, **more: Any) -> tuple[argparse.Namespace, list[str]]:
        """Refuses here what it does not know, so that the command's own help is named."""
        known, unknown = super().parse_known_args(*arguments, **more)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._instead(unknown)}")
        return known, unknown

    def _instead(self, unknown: Sequence[str]) -> str:
        """What was probably meant: the option that diffusers calls otherwise, a name much like it, or a sentence."""
        options = [name for action in self._actions for name in action.option_strings]
        for word in unknown:
            name = word.partition("=")[0]
            theirs = name.removeprefix("--").replace("-", "_")
            ours = (OPTIONS | DIFFERENT).get(theirs)
            if name.startswith("--") and ours in options:
                return f"; {name} is {ours} here"
            if near := get_close_matches(name, options, 1) if name.startswith("-") else []:
                return f"; did you mean {near[0]}?"
        if any(action.dest == "prompt" for action in self._actions) and unknown[0][:1] != "-":
            return '; put the sentence in quotes: "a cat on a house"'
        return ""


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


def seed(text: str) -> int:
    """A whole number; one by lot for "random"."""
    if text == "random":
        return secrets.randbelow(2**31)
    if not re.fullmatch(r"-?\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, or random")
    return int(text)


def interval(text: str) -> tuple[float, float]:
    """Two noise levels from a text such as 0.3:5."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must look like 0.3:5 (two noise levels)") from None
