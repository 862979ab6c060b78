"""What makes a run fast and changes none of its formulas: some layers answer the same question in a quicker way.

Inside ``with prepared(unet):`` the U-Net is the one of chapter 02, line by line, and so are its weights, names and
hooks. Only the ``forward`` of single layers is replaced, for as long as a run takes:

- layers that are asked about the same tensor answer in one product: queries, keys and values of self-attention; what
  all residual blocks make of the time; the text's keys and values, at the first step alone: the text stays the same;
- on a CPU, weights lie in the order in which oneDNN's kernels read them. PyTorch sorts them anew at every call, which
  takes longer than the convolution itself where a picture is small;
- on a CPU in bfloat16, long attention is two matrix products a head: there the fused kernel does not use the
  processor's bfloat16 instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from sdlearn.attention import Attention

LONG = 1024  # places from which on attention in bfloat16 is quicker head by head
AT_ONCE = 512  # places that ask together: their scores stay in the processor's cache
MANY_PRODUCTS = 10_000_000  # below, a linear layer in float32 is quicker as it is


class Together:
    """Linear layers that are asked about the same tensor: one product for all of them, once for each tensor."""

    def __init__(self, layers: Sequence[nn.Linear], on_cpu: bool):
        self.layers = layers
        first = layers[0]
        widths = [layer.out_features for layer in layers]
        with torch.device("meta"):
            self.joint = nn.Linear(first.in_features, sum(widths), bias=first.bias is not None)
        self.product = PackedLinear(self.joint) if on_cpu else self.joint.forward
        self.widths = widths
        self.joined: tuple | None = None
        self.question: Tensor | None = None
        self.answers: tuple[Tensor, ...] = ()

    def member(self, number: int) -> Callable[[Tensor], Tensor]:
        """What stands for ``layers[number].forward``."""
        layer = self.layers[number]

        def forward(x: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                return type(layer).forward(layer, x)
            if x is not self.question:
                self.join()
                self.question, self.answers = x, self.product(x).split(self.widths, dim=-1)
            return self.answers[number]

        return forward

    def join(self) -> None:
        """The weights of all, below each other; again if they were changed."""
        now = tuple((layer.weight.data_ptr(), layer.weight._version) for layer in self.layers)
        if now == self.joined:
            return
        self.joined = now
        for name in ["weight"] if self.joint.bias is None else ["weight", "bias"]:
            joint = torch.cat([getattr(layer, name) for layer in self.layers])
            setattr(self.joint, name, nn.Parameter(joint, requires_grad=False))


class Packed:
    """A convolution or linear layer whose weights are sorted for oneDNN, once for each shape of its input.

    The operators are those to which ``torch.compile`` brings a frozen network on a CPU. They know no gradients.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear):
        self.layer = layer
        self.sorted_for: tuple | None = None
        self.weight: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        layer, weight = self.layer, self.layer.weight
        if torch.is_grad_enabled() or x.dtype != weight.dtype or not self.pays(x):
            return type(layer).forward(layer, x)
        now = (x.shape, weight.data_ptr(), weight._version)  # weights that were changed are sorted again
        if now != self.sorted_for:
            self.sorted_for, self.weight = now, self.sort(x)
        return self.product(x)

    def pays(self, x: Tensor) -> bool:
        return True

    def sort(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def product(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class PackedConv2d(Packed):
    """(B, C, H, W) -> what ``nn.Conv2d`` answers."""

    def __init__(self, layer: nn.Conv2d):
        super().__init__(layer)
        self.shape = layer.padding, layer.stride, layer.dilation, layer.groups

    def sort(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._reorder_convolution_weight(self.layer.weight, *self.shape, list(x.shape))

    def product(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.layer.bias, *self.shape, "none", [], ""
        )


class PackedLinear(Packed):
    """(…, C) -> what ``nn.Linear`` answers."""

    def pays(self, x: Tensor) -> bool:
        return x.dtype == torch.bfloat16 or x.numel() * self.layer.out_features >= MANY_PRODUCTS

    def sort(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(self.layer.weight, x.numel() // x.shape[-1])

    def product(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.layer.bias, "none", [], "")


def of_each_place(layer: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    """What stands for the ``forward`` of a 1x1 convolution: a linear layer of each place's channels."""
    with torch.device("meta"):
        linear = nn.Linear(layer.in_channels, layer.out_channels, bias=False)
    linear.weight = nn.Parameter(layer.weight.flatten(1), requires_grad=False)
    linear.bias = layer.bias
    product = PackedLinear(linear)

    def forward(x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return type(layer).forward(layer, x)
        return product(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    return forward


def attend_in_portions(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V, head by head and ``AT_ONCE`` places at a time: (B, heads, L, d) -> the same.

    The scores are rounded to bfloat16, which the fused kernel does not: the answer's error (of rounding) is twice its.
    """
    if q.dtype != torch.bfloat16 or q.shape[-2] < LONG or torch.is_grad_enabled():
        return Attention.attend(q, k, v)
    scaled = q * q.shape[-1] ** -0.5
    answers = [
        torch.cat([(part @ keys.T).softmax(dim=-1) @ values for part in places.split(AT_ONCE)])
        for places, keys, values in zip(
            scaled.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), strict=True
        )  # each (L, d)
    ]
    return torch.stack(answers).unflatten(0, q.shape[:2])


@cache
def packing_works(dtype: torch.dtype) -> bool:
    """Whether oneDNN's operators do here what is asked of them: PyTorch promises neither them nor every ``dtype``."""
    if not torch.backends.mkldnn.is_available() or dtype not in (torch.float32, torch.bfloat16):
        return False
    layers = nn.Conv2d(4, 8, 3, padding=1).to(dtype), nn.Linear(4, 8).to(dtype)
    questions = torch.ones(1, 4, 5, 5, dtype=dtype), torch.ones(3, 4, dtype=dtype)
    try:
        with torch.no_grad():
            for packed, layer, x in zip((PackedConv2d, PackedLinear), layers, questions, strict=True):
                one = packed(layer)
                one.weight = one.sort(x)
                if not torch.allclose(
                    one.product(x), layer(x), atol=1e-5 if dtype == torch.float32 else 0.05
                ):
                    return False
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True


def groups_of(network: nn.Module) -> list[list[str]]:
    """Names of linear layers that are asked about the same tensor: the text, the time, a layer's places."""
    names = [name for name, layer in network.named_modules() if type(layer) is nn.Linear]
    text = [name for name in names if name.endswith(("attn2.to_k", "attn2.to_v"))]
    time = [name for name in names if name.endswith("time_emb_proj")]
    own = [name.removesuffix("to_q") for name in names if name.endswith("attn1.to_q")]
    return [group for group in (text, time, *([f"{at}to_{one}" for one in "qkv"] for at in own)) if group]


def quicker(network: nn.Module) -> Iterator[tuple[nn.Module, str, Callable[..., Tensor]]]:
    """(layer, attribute, what it is during a run) for each layer that has a quicker way."""
    one = next(network.parameters())
    on_cpu = one.device.type == "cpu" and packing_works(one.dtype)
    layers = dict(network.named_modules())
    grouped = groups_of(network)
    for group in grouped:
        together = Together([layers[name] for name in group], on_cpu)
        for number, name in enumerate(group):
            yield layers[name], "forward", together.member(number)
    others = set(layers) - {name for group in grouped for name in group}
    for name in others if on_cpu else ():
        layer = layers[name]
        if isinstance(layer, Attention):
            yield layer, "attend", attend_in_portions
        if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and layer.groups == 1:
            alone = layer.kernel_size == layer.stride == (1, 1) and layer.padding == (0, 0)
            yield layer, "forward", of_each_place(layer) if alone else PackedConv2d(layer)
        if type(layer) is nn.Linear:
            yield layer, "forward", PackedLinear(layer)


@contextmanager
def prepared(network: nn.Module) -> Iterator[None]:
    """Inside ``with``: the network's layers answer in the quickest way known for where they are.

    On a CPU the sorted weights need as much memory as the network. Without gradients only; with them all is plain.
    """
    replaced = list(quicker(network))
    for layer, name, way in replaced:
        vars(layer)[name] = way  # an object's own attribute goes before its class's
    try:
        yield
    finally:
        for layer, name, way in replaced:
            if vars(layer).get(name) is way:
                del vars(layer)[name]
