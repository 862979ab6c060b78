"""Attention: how places of a picture look at each other and at the words of the prompt.

softmax(Q K^T / sqrt(d)) V  (Vaswani et al. 2017, equation 1). Self-attention takes keys and values from the
picture itself, cross-attention from the text vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.config import UNetConfig


class Attention(nn.Module):
    """Multi-head attention: (B, L, width) -> (B, L, width).

    ``context`` (B, S, context_width) supplies keys and values; None means self-attention. Query, key and value
    have a bias only where a checkpoint has one (``bias=True``: the autoencoder and CLIP).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        bias: bool = False,
        upcast: bool = False,
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"Attention: width {width} is not a multiple of the number of heads {heads}.")
        self.heads = heads
        self.upcast = upcast
        context_width = width if context_width is None else context_width
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(context_width, width, bias=bias)
        self.to_v = nn.Linear(context_width, width, bias=bias)
        # A list of one, because published names say `to_out.0` (entry 1 was a dropout of probability 0).
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(Q K^T / sqrt(d)) V, without ever storing the weights: (B, heads, L, d) -> (B, heads, L, d)."""
        return F.scaled_dot_product_attention(q, k, v)

    def _split(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)  # (B, heads, L, d)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        q, k, v = self._split(self.to_q(x)), self._split(self.to_k(context)), self._split(self.to_v(context))
        if self.upcast:  # scores overflow in half precision in SD 2.1 at 768 pixels
            q, k, v = q.float(), k.float(), v.float()
        h = self.attend(q, k, v)  # (B, heads, L, d)
        h = h.transpose(1, 2).flatten(2).to(x.dtype)  # (B, L, width)
        return self.to_out[0](h)

    def weights(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Who looks at whom: (B, heads, L, S), every row sums to 1. ``forward`` never needs to store it."""
        context = x if context is None else context
        q, k = self._split(self.to_q(x)).float(), self._split(self.to_k(context)).float()
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # (B, heads, L, S)
        return scores.softmax(dim=-1)

    def gather(self, weights: Tensor, context: Tensor) -> Tensor:
        """What each place gets when it looks so: (B, heads, L, S), (B, S, context_width) -> (B, L, width)."""
        v = self._split(self.to_v(context)).to(weights.dtype)  # (B, heads, S, d)
        h = (weights @ v).transpose(1, 2).flatten(2)  # (B, L, width)
        return self.to_out[0](h.to(context.dtype))


class GEGLU(nn.Module):
    """A linear layer whose second half opens and closes the first (Shazeer 2020): (…, C) -> (…, out)."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.proj = nn.Linear(width, 2 * out)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Widen four times, gate, narrow again: the part of a transformer that treats each place alone."""

    def __init__(self, width: int):
        super().__init__()
        # Entry 1 was a dropout of probability 0 in training; it keeps the published name `net.2`.
        self.net = nn.ModuleList([GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


class TransformerBlock(nn.Module):
    """Look at the picture, look at the words, think; each with a way around it."""

    def __init__(self, width: int, heads: int, context_width: int, upcast: bool):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads, upcast=upcast)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, heads, context_width, upcast=upcast)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x))  # self-attention
        x = x + self.attn2(self.norm2(x), context)  # cross-attention
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer block on a picture: each place is a token. (B, C, H, W) -> (B, C, H, W).

    SD 1.x projects in and out by 1x1 convolutions, SD 2.x by linear layers; the arithmetic is the same, the
    shapes of the weights are not. The norm's eps is 1e-6 here, 1e-5 in the residual blocks.
    """

    def __init__(self, channels: int, heads: int, config: UNetConfig):
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_num_groups, channels, eps=1e-6)
        self.linear = config.use_linear_projection
        projection = nn.Linear if self.linear else lambda i, o: nn.Conv2d(i, o, 1)
        self.proj_in = projection(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            [TransformerBlock(channels, heads, config.cross_attention_dim, config.upcast_attention)]
        )
        self.proj_out = projection(channels, channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        h = self.norm(x)
        if not self.linear:
            h = self.proj_in(h)
        h = h.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, H*W, C)
        if self.linear:
            h = self.proj_in(h)
        for block in self.transformer_blocks:
            h = block(h, context)
        if self.linear:
            h = self.proj_out(h)
        h = h.transpose(1, 2).unflatten(2, (height, width))  # (B, H*W, C) -> (B, C, H, W)
        if not self.linear:
            h = self.proj_out(h)
        return x + h


@contextmanager
def editing(network: nn.Module, edit: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside ``with``: each cross-attention layer's weights (B, heads, L, S) pass through ``edit`` before their use.

    The layers are found by their published name, ``attn2``. Afterwards the network is as it was. It does not nest:
    of two edits the inner one alone is used. Whoever listens beside it hears the weights as they were before ``edit``.
    """

    def edited(layer: nn.Module, arguments: tuple[Tensor, Tensor], answer: Tensor) -> Tensor:
        x, context = arguments
        return layer.gather(edit(layer.weights(x, context)), context)

    layers = [layer for name, layer in network.named_modules() if name.rpartition(".")[2] == "attn2"]
    if not layers:
        raise ValueError("editing: this network has no cross-attention layer (attn2) to edit.")
    hooks = [layer.register_forward_hook(edited) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
