"""The small world: drawn scenes with captions, their dataset, and an oracle that reads pictures back.

Drawing needs no torch; the oracle's names load it when they are first used.
"""

from importlib import import_module
from typing import Any

from .captions import canonical_caption, caption
from .dataset import SceneDataset, example, render_dataset, sheet
from .draw import render
from .truth import LABELS, render_depth, render_outline, render_segmentation
from .world import (
    BACKGROUNDS,
    COLOURS,
    FAVOURITE,
    FAVOURITE_SHARE,
    HELD_OUT_COLOURED,
    HELD_OUT_STACKED,
    KINDS,
    RELATIONS,
    SIZE,
    SIZES,
    STYLES,
    UNSEEN_KINDS,
    UNSEEN_STYLES,
    Scene,
    Thing,
    arrange,
    is_held_out,
    sample_scene,
)

_WITH_TORCH = {
    "Oracle": "oracle",
    "Reading": "oracle",
    "Score": "oracle",
    "score": "oracle",
    "confusion": "oracle",
}
_WITH_TORCH |= {
    "train_oracle": "oracle_training",
    "read_renders": "oracle_training",
    "accuracy": "oracle_training",
}

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "FAVOURITE",
    "FAVOURITE_SHARE",
    "HELD_OUT_COLOURED",
    "HELD_OUT_STACKED",
    "KINDS",
    "LABELS",
    "RELATIONS",
    "SIZE",
    "SIZES",
    "STYLES",
    "UNSEEN_KINDS",
    "UNSEEN_STYLES",
    "Oracle",
    "Reading",
    "Scene",
    "SceneDataset",
    "Score",
    "Thing",
    "accuracy",
    "arrange",
    "canonical_caption",
    "caption",
    "confusion",
    "example",
    "is_held_out",
    "read_renders",
    "render",
    "render_dataset",
    "render_depth",
    "render_outline",
    "render_segmentation",
    "sample_scene",
    "score",
    "sheet",
    "train_oracle",
]


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module 'sdlearn.scenes' has no attribute {name!r}")
    return getattr(import_module(f"sdlearn.scenes.{_WITH_TORCH[name]}"), name)
