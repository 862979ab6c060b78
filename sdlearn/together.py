"""Linear layers that are asked about the same tensor: one product in place of many small ones.

Queries, keys and values of self-attention; what all residual blocks make of the time; and the text's keys and values,
which are computed at the first step alone: the text stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Linear = Callable[[Tensor], Tensor]


def groups_of(layers: dict[str, nn.Linear]) -> list[tuple[list[str], bool]]:
    """Names of layers that are asked about the same tensor, and whether it is the same in all steps."""
    text = [name for name in layers if name.endswith(("attn2.to_k", "attn2.to_v"))]
    time = [name for name in layers if name.endswith("time_emb_proj")]
    places = [name.removesuffix("q") for name in layers if name.endswith("attn1.to_q")]
    own = [[at + one for one in "qkv"] for at in places if {at + "k", at + "v"} <= set(layers)]
    found = [(text, True), (time, False), *((group, False) for group in own)]
    return [(group, lasting) for group, lasting in found if alike([layers[name] for name in group])]


def alike(layers: Sequence[nn.Linear]) -> bool:
    """Whether there are layers, and all ask for as many numbers, and have a bias or have none."""
    return len({(layer.in_features, layer.bias is None) for layer in layers}) == 1


class Together:
    """Linear layers that are asked about the same tensor: one product for all of them."""

    def __init__(
        self,
        layers: Sequence[nn.Linear],
        product: Callable[[Tensor, Tensor | None], Linear],
        lasting: bool,
    ):
        self.widths = [layer.out_features for layer in layers]
        self.lasting = lasting  # answers are kept for the next step; else until the last layer has been asked
        self.question: Tensor | None = None
        self.joint: Tensor | None = None
        self.answers: tuple[Tensor, ...] = ()  # parts of the joint one
        self.changed = (0, 0)
        with torch.no_grad():
            weight = torch.cat([layer.weight for layer in layers])
            bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
        self.product = product(weight, bias)

    def member(self, number: int) -> Linear:
        """What stands for the ``forward`` of layer ``number``."""

        def forward(x: Tensor) -> Tensor:
            if x is not self.question or self.changed != (version(x), version(self.joint)):
                self.question, self.joint = x, self.product(x)
                self.changed = version(x), version(self.joint)
                self.answers = self.joint.split(self.widths, dim=-1)
            answer = self.answers[number]
            if number == len(self.widths) - 1 and not self.lasting:
                self.question, self.joint, self.answers = None, None, ()
            return answer

        return forward


def version(x: Tensor) -> int:
    """How often ``x`` was changed in place, as PyTorch counts it; in inference mode it does not."""
    return 0 if x.is_inference() else x._version
