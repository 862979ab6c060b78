"""Widgets: sliders and buttons over what a run left behind, for notebooks with a running kernel.

    from sdlearn.viz import widgets
    widgets.run_explorer(first, pipe=pipe)

Frames are rendered once, when a widget is made; a move changes an image's bytes. ``.static()`` of each widget is a
figure of the same frames, for paper, projectors and saved notebooks. Plain ipywidgets, for every front end.
"""

from __future__ import annotations

try:
    import ipywidgets  # noqa: F401  (one clear message, before the parts import it)
except ImportError as error:
    raise ImportError(
        "the widgets need ipywidgets: python -m pip install ipywidgets. The figures of sdlearn.viz do without."
    ) from error

from sdlearn.viz.widgets_attention import attention_explorer
from sdlearn.viz.widgets_guidance import guidance_dial
from sdlearn.viz.widgets_run import run_explorer
from sdlearn.viz.widgets_schedule import schedule_explorer
from sdlearn.viz.widgets_sketch import sketch_pad
from sdlearn.viz.widgets_tokens import token_explorer
from sdlearn.viz.widgets_walk import latent_walk

__all__ = ["attention_explorer", "guidance_dial", "latent_walk", "run_explorer", "schedule_explorer"]
__all__ += ["sketch_pad", "token_explorer"]
