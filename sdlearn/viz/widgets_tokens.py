"""The token explorer: a box to type in, and below it the tokens and ids of what stands there."""

from __future__ import annotations

from ipywidgets import Image, Text

from sdlearn.tokenizer import Tokenizer
from sdlearn.viz.text_plots import token_table
from sdlearn.viz.widgets_parts import LABEL_WIDTH, Explorer, caption

LONGEST = 400  # characters that are read: every letter typed draws the table anew


def token_explorer(tokenizer: Tokenizer, text: str) -> Explorer:
    """A line to type in, beginning with ``text``: its tokens with their ids, and what is cut, at every letter."""
    if not hasattr(tokenizer, "encode_and_show_work"):  # also a reader's own class
        raise TypeError(f"token_explorer needs a Tokenizer, not {type(tokenizer).__name__}.")
    line, table = caption(), Image(format="png", layout={"max_width": "100%"})
    typed = Text(
        value=text,
        description="text",
        continuous_update=True,
        style={"description_width": LABEL_WIDTH},
        layout={"width": "95%"},
    )

    def show(change: object = None) -> None:
        work = tokenizer.encode_and_show_work(typed.value[:LONGEST])
        plot = token_table(work)
        table.value = plot.png()
        table.layout.width = f"{round(plot.get_figwidth() * plot.dpi)}px"
        words, tokens = len(work.words), len(work.kept) + len(work.cut)
        cut = f"; {len(work.cut)} of them are cut off" if work.cut else ""
        line.value = f"{words} {_one(words, 'word')}, {tokens} {_one(tokens, 'token')}{cut}."

    typed.observe(show, "value")
    show()
    about = f"Token explorer: a line to type in, with the tokens of what stands there, at first “{text}”."
    return Explorer(
        about,
        {"text": typed},
        [typed, table, line],
        lambda: token_table(tokenizer.encode_and_show_work(typed.value[:LONGEST])),
    )


def _one(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"
