"""Muon: an optimiser that treats a weight matrix as a matrix, not as a list of numbers.

Adam scales every number of a gradient by itself. A gradient matrix, though, mostly points along a few directions, so
the rare ones hardly move. Muon makes all directions of the update equally long: of the averaged gradient U S Vᵀ it
keeps U Vᵀ (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/). On the autoencoder of this course it
reaches in 175 steps the error for which AdamW needs about 1,200 (measured on 64 unseen crops, the same batches).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

COEFFICIENTS = (
    3.4445,
    -4.7750,
    2.0315,
)  # of the odd polynomial, chosen by Jordan et al. to lift small values fast
SMALLEST = 16  # rows and columns from which a weight counts as a matrix


def orthogonalise(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Almost U Vᵀ of a matrix (m, n) = U S Vᵀ, by five Newton-Schulz steps and without computing U, S or V.

    x <- a x + b (x xᵀ) x + c (x xᵀ)² x acts on each singular value alone and drives it to about 1 (0.7 … 1.2), but for
    those below a thousandth of the matrix's norm, which stay small.
    """
    a, b, c = COEFFICIENTS
    x = matrix.to(dtype)
    x = x.T if matrix.shape[0] > matrix.shape[1] else x  # the smaller side first: x xᵀ is cheap
    x = x / (x.norm() + 1e-7)  # now no singular value is above 1
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if matrix.shape[0] > matrix.shape[1] else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, then `orthogonalise`; a convolution (out, in, h, w) counts as a matrix (out, in · h · w).

    The update is scaled by 0.2 √max(rows, columns), which gives it the size of AdamW's (Liu et al. 2025, "Muon is
    scalable", equation 4). ``dtype`` is that of the Newton-Schulz steps: bfloat16 is exact enough and fast.
    `torch.optim.Muon` is the same, but refuses convolutions.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, weight_decay: float, dtype: torch.dtype):
        super().__init__([{"params": parameters}], {"lr": lr, "momentum": 0.95, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["average"] = torch.zeros_like(weight)
                state["average"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["average"], group["momentum"]).flatten(
                    1
                )  # Nesterov's momentum
                update = orthogonalise(ahead, self.dtype).reshape(weight.shape)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(update, alpha=group["lr"] * 0.2 * max(ahead.shape) ** 0.5)


def split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weights for `Muon`, and the rest: biases, norms, embeddings, layers that touch pixels or latents."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    matrices, rest = [], []
    for weight in model.parameters():
        is_matrix = weight.ndim >= 2 and min(weight.shape[:2]) >= SMALLEST and id(weight) not in tables
        (matrices if is_matrix else rest).append(weight)
    return matrices, rest
