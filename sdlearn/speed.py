"""What makes a run fast and changes none of its formulas: a copy of the U-Net, some of whose layers answer quicker.

``prepared(unet)`` is the U-Net of chapter 02, line by line, and shares its weights and hooks. Only single layers have
another ``forward``:

- layers that are asked about the same tensor answer in one product (sdlearn.together);
- on a CPU, weights lie in the order in which oneDNN's kernels read them. PyTorch sorts them anew at every call, which
  takes longer than the convolution itself where a picture is small;
- on a CPU in bfloat16, long attention is two matrix products a head: there the fused kernel does not use the
  processor's bfloat16 instructions.

Layers that somebody has changed (an adapter, a ``forward`` of their own) stay as they are.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.attention import Attention
from sdlearn.together import Linear, Together, groups_of

LONG = 1024  # places from which on attention in bfloat16 is quicker head by head
AT_ONCE = 512  # places that ask together: their scores stay in the processor's cache
MANY_PRODUCTS = 10_000_000  # below, a linear layer in float32 is quicker as it is


def prepared(unet: nn.Module) -> nn.Module:
    """A U-Net that answers as ``unet`` does, quicker: for one run, one thread, and without gradients.

    It has the weights that ``unet`` has now; what changes later, it need not see. Hooks of ``unet`` are called with the
    twin's layers. On a CPU its sorted weights need as much memory as those of ``unet``, on a GPU joint ones a tenth. A
    network that ``torch.compile`` has wrapped stays as it is.
    """
    if hasattr(unet, "_orig_mod"):
        return unet
    network = twin(unet)
    weight = next(network.parameters())
    sorting = weight.device.type == "cpu" and torch.backends.mkldnn.enabled and packing_works(weight.dtype)
    layers = {name: layer for name, layer in network.named_modules() if untouched(layer, weight.dtype)}
    linear = {name: layer for name, layer in layers.items() if type(layer) is nn.Linear}
    product = PackedLinear if sorting else as_it_is
    for group, lasting in groups_of(linear):
        together = Together([linear.pop(name) for name in group], product, lasting)
        for number, name in enumerate(group):
            layers[name].forward = together.member(number)
    if not sorting:
        return network
    for layer in linear.values():
        layer.forward = PackedLinear(layer.weight, layer.bias)
    for layer in layers.values():
        if type(layer) is nn.Conv2d and (layer.groups, layer.padding_mode) == (1, "zeros"):
            if (layer.kernel_size, layer.stride, layer.padding) == ((1, 1), (1, 1), (0, 0)):
                layer.forward = of_each_place(layer)
            elif not isinstance(layer.padding, str):
                layer.forward = PackedConv2d(layer)
        if type(layer) is Attention and weight.dtype == torch.bfloat16:
            layer.attend = attend_in_portions
    return network


def twin(module: nn.Module) -> nn.Module:
    """Another module of the same parts, down to the leaves, with the same parameters and hooks: not one number more."""
    other = type(module).__new__(type(module))  # past __init__, and past a __setattr__ of the module's own
    vars(other).update(vars(module))
    vars(other)["_modules"] = {name: part and twin(part) for name, part in module._modules.items()}
    return other


def untouched(layer: nn.Module, dtype: torch.dtype) -> bool:
    """Whether a layer is as its class makes it: no ``forward`` of its own, and plain weights of the network's type."""
    weight = getattr(layer, "weight", None)
    plain = weight is None or (type(weight) is nn.Parameter and weight.dtype == dtype)
    return plain and not {"forward", "attend"} & set(vars(layer))


def as_it_is(weight: Tensor, bias: Tensor | None) -> Linear:
    """What ``nn.Linear`` answers, by the same operator."""
    return lambda x: F.linear(x, weight, bias)


class PackedLinear:
    """(…, C) -> what ``nn.Linear`` answers, from a weight sorted for oneDNN, once for each shape of the input.

    The operators are those to which ``torch.compile`` brings a frozen network on a CPU. They know no gradients.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None):
        self.weight, self.bias = weight, bias
        self.rows: int | None = None
        self.sorted: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32 and x.numel() * len(self.weight) < MANY_PRODUCTS:
            return F.linear(x, self.weight, self.bias)
        rows = x.numel() // x.shape[-1]
        if rows != self.rows:
            self.rows, self.sorted = rows, torch.ops.mkldnn._reorder_linear_weight(self.weight, rows)
        return torch.ops.mkldnn._linear_pointwise(x, self.sorted, self.bias, "none", [], "")


class PackedConv2d:
    """(B, C, H, W) -> what ``nn.Conv2d`` answers, from a weight sorted for oneDNN, once for each shape of the input."""

    def __init__(self, layer: nn.Conv2d):
        self.weight, self.bias = layer.weight, layer.bias
        self.how = layer.padding, layer.stride, layer.dilation, layer.groups
        self.shape: torch.Size | None = None
        self.sorted: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape != self.shape:
            self.shape = x.shape
            self.sorted = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self.how, list(x.shape))
        return torch.ops.mkldnn._convolution_pointwise(x, self.sorted, self.bias, *self.how, "none", [], "")


def of_each_place(layer: nn.Conv2d) -> Linear:
    """What stands for the ``forward`` of a 1x1 convolution: a linear layer of each place's channels."""
    product = PackedLinear(layer.weight.detach().flatten(1), layer.bias)
    return lambda x: product(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def attend_in_portions(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V, head by head and ``AT_ONCE`` places at a time: (B, heads, L, d) -> the same.

    The scores are rounded to bfloat16, which the fused kernel does not: the answer's error (of rounding) is twice its.
    """
    if q.dtype != torch.bfloat16 or q.shape[-2] < LONG:
        return F.scaled_dot_product_attention(q, k, v)
    heads = zip(*(t.flatten(0, 1).split(1) for t in (q * q.shape[-1] ** -0.5, k, v)), strict=True)
    answers = [
        torch.cat([(part @ keys.mT).softmax(dim=-1) @ values for part in places.split(AT_ONCE, dim=1)], dim=1)
        for places, keys, values in heads  # each (1, L, d)
    ]
    return torch.cat(answers).unflatten(0, q.shape[:2])


@cache
def packing_works(dtype: torch.dtype) -> bool:
    """Whether oneDNN's operators do here what is asked of them: PyTorch promises neither them nor every ``dtype``."""
    if not torch.backends.mkldnn.is_available() or dtype not in (torch.float32, torch.bfloat16):
        return False
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        convolution, x = nn.Conv2d(4, 8, 3, padding=1).to(dtype), torch.ones(1, 4, 5, 5, dtype=dtype)
        linear, rows = nn.Linear(4, 8).to(dtype), torch.ones(3, 4, dtype=dtype)
        near = {"atol": 1e-5 if dtype == torch.float32 else 0.05}
        try:
            packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight, 3)
            answer = torch.ops.mkldnn._linear_pointwise(rows, packed, linear.bias, "none", [], "")
            return torch.allclose(PackedConv2d(convolution)(x), convolution(x), **near) and torch.allclose(
                answer, linear(rows), **near
            )
        except (AttributeError, RuntimeError, TypeError):
            return False
