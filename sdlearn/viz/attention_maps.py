"""Where a U-Net looks for each word: cross-attention maps of a recorded run.

Nothing is stored while a picture is drawn. Afterwards the network is asked once more at each recorded step, while
hooks listen to its cross-attention layers. The mean over heads and layers is that of Tang et al. 2022.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.attention import TransformerBlock
from sdlearn.trace import Generation, Step


@contextmanager
def listening(unet: nn.Module) -> Iterator[list[Tensor]]:
    """A list to which each cross-attention layer adds its weights (B, heads, places, tokens) when it works."""
    heard: list[Tensor] = []

    def listen(layer: nn.Module, arguments: tuple, answer: Tensor) -> None:
        heard.append(layer.weights(*arguments))

    blocks = [block for block in unet.modules() if isinstance(block, TransformerBlock)]
    hooks = [block.attn2.register_forward_hook(listen) for block in blocks]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def attention_maps(pipe: object, run: Generation) -> Tensor:
    """(steps, tokens, h, w): the share of attention that each place of the latents gives to each token.

    Over all tokens a place's shares sum to 1. Of a batch the first picture; the prompt as it stands, without
    weights, clip_skip and chunks.
    """
    if not run.steps:
        raise ValueError("this run has no steps: draw it with record=True (the default).")
    prompt = run.settings["prompt"]
    context = pipe.encode_prompt([prompt if isinstance(prompt, str) else prompt[0]])
    return torch.stack([_maps_of_step(pipe, step, context) for step in run.steps])


def _maps_of_step(pipe: object, step: Step, context: Tensor) -> Tensor:
    """(tokens, h, w), the mean of all heads and layers, each enlarged to the latents' size."""
    x = step.x[:1].to(pipe.device)
    size = x.shape[-2:]
    timesteps = torch.full((1,), step.pred.timestep, dtype=torch.float32, device=x.device)
    with listening(pipe.unet) as heard:
        pipe.predict(pipe.schedule.to_vp(x, step.sigma), timesteps, context)
    if not heard:
        raise ValueError("this U-Net has no cross-attention layer to listen to.")
    layers = []
    for weights in heard:  # (1, heads, places, tokens)
        h, w = _shape(weights.shape[2], size)
        maps = weights[0].mean(dim=0).T.unflatten(1, (h, w))  # (places, tokens) -> (tokens, h, w)
        layers.append(F.interpolate(maps[None], size=size, mode="bilinear")[0])
    return torch.stack(layers).mean(dim=0).cpu()


def _shape(places: int, size: Sequence[int]) -> tuple[int, int]:
    """Height and width of the level of the U-Net that has so many places: each level halves, rounding up."""
    h, w = size
    while h * w > places:
        h, w = (h + 1) // 2, (w + 1) // 2
    return h, w


def word_maps(pipe: object, run: Generation) -> tuple[list[str], Tensor]:
    """The prompt's words, and their maps (steps, words, h, w): a word of several tokens has the mean of theirs."""
    prompt = run.settings["prompt"]
    tokens = pipe.tokenizer.tokenize(prompt if isinstance(prompt, str) else prompt[0])
    tokens = tokens[: pipe.tokenizer.max_length - 2]
    if not tokens:
        raise ValueError("the prompt of this run has no words.")
    maps = attention_maps(pipe, run)[:, 1 : len(tokens) + 1]  # after (start)
    words, members = [""], [[]]
    for k, token in enumerate(tokens):
        words[-1] += token.replace("</w>", "")
        members[-1].append(k)
        if token.endswith("</w>") and k + 1 < len(tokens):
            words.append("")
            members.append([])
    return words, torch.stack([maps[:, ones].mean(dim=1) for ones in members], dim=1)
