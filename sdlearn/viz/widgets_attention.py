"""The attention explorer: press a word, see where in the picture the U-Net uses it, step by step."""

from __future__ import annotations

import ipywidgets
from PIL import Image
from torch import Tensor

from sdlearn.trace import Generation
from sdlearn.viz.attention_maps import word_maps
from sdlearn.viz.figure import spread
from sdlearn.viz.frames import colour_key, laid_over, png
from sdlearn.viz.plots import Plot, strip
from sdlearn.viz.widgets_parts import Explorer, Panel, caption, choice, player, row, slider

MOST_STEPS = 13  # that are rendered, evenly spaced, for each word
NAMES = (("lower", "middle", "upper"), ("left", "middle", "right"))


def attention_explorer(run: Generation, pipe: object) -> Explorer:
    """Press a word of a recorded run's prompt: its cross-attention map over the picture, at each step.

    All words and steps have one colour scale, from 0 to the median of the words' largest shares: one word, often the
    first, takes so much that a scale up to its largest would leave the others dark. The U-Net is asked once more at
    each step (sdlearn.viz.attention_maps), up front.
    """
    if not isinstance(run, Generation):
        raise TypeError(f"attention_explorer needs a Generation with its prompt, not {type(run).__name__}.")
    words, maps = word_maps(pipe, run)
    places = spread(len(run.steps), MOST_STEPS)
    maps = maps[places]
    limit = float(maps.amax(dim=(0, 2, 3)).median())
    beliefs = [pipe.decode(run.steps[place].pred.x0[:1])[0] for place in places]
    # Frame number k * len(words) + word: step k, that word.
    veiled = [laid_over(belief, one, limit) for belief, ones in zip(beliefs, maps) for one in ones]
    panel, picture = (
        Panel("where the word is used", veiled, 256),
        Panel("what the network believes", beliefs, 256),
    )
    line = caption()
    word = choice("word", [(name, k) for k, name in enumerate(words)])
    step = slider(
        ipywidgets.SelectionSlider, "step", options=[(str(place + 1), k) for k, place in enumerate(places)]
    )
    step.value = len(places) // 2

    def show(change: object = None) -> None:
        k, one = step.value, word.value
        panel.show(k * len(words) + one)
        picture.show(k)
        line.value = f"Step {places[k] + 1} of {len(run.steps)}, “{words[one]}”: {_told(maps[k, one])}"

    for control in (word, step):
        control.observe(show, "value")
    show()
    bounds = ipywidgets.Label("0"), ipywidgets.Label(f"{limit:.2f} or more of a place's attention")
    key = row(
        bounds[0], ipywidgets.Image(value=png(colour_key()), layout={"align_self": "center"}), bounds[1]
    )
    about = f"Attention explorer: a button for each of the {len(words)} words of “{' '.join(words)}”."
    children = [word, row(step, player(step, len(places) - 1, "index")), row(picture, panel), key, line]
    return Explorer(
        about, {"word": word, "step": step}, children, lambda: _film(words, maps, veiled, places, limit)
    )


def _told(shares: Tensor) -> str:
    """Where the largest share lies, in words."""
    place = int(shares.argmax())
    height, width = shares.shape
    thirds = (2 - 3 * (place // width) // height, 3 * (place % width) // width)
    where = " ".join(dict.fromkeys(names[third] for names, third in zip(NAMES, thirds)))
    return f"most attention in the {where}, {float(shares.max()):.2f}; mean {float(shares.mean()):.2f}."


def _film(words: list[str], maps: Tensor, veiled: list[Image.Image], places: list[int], limit: float) -> Plot:
    """Every word, one column each, at an early, a middle and the last step."""
    chosen = sorted({1 if len(places) > 3 else 0, len(places) // 2, len(places) - 1})
    key = f" (share of a place's attention: dark is 0, light {limit:.2f} or more)"
    rows = {
        f"step {places[k] + 1}{'' if number else key}": veiled[k * len(words) : (k + 1) * len(words)]
        for number, k in enumerate(chosen)
    }
    told = " ".join(f"“{word}”: {_told(shares)}" for word, shares in zip(words, maps[chosen[-1]]))
    alt = f"Attention to each word over the picture; dark is 0, light {limit:.2f} or more. At the last step: {told}"
    return strip(rows, words, alt=alt, zoom=1)
