"""The optimiser: orthogonal updates, equal in value to torch's own where that exists."""

import pytest
import torch
from torch import nn

from sdlearn.clip import CLIPTextModel
from sdlearn.config import CLIPTextConfig
from sdlearn.training.muon import Muon, orthogonalise, split


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (24, 60)])
def test_orthogonalise_makes_all_directions_about_equally_long(shape):
    matrix = torch.randn(shape, dtype=torch.float64) @ torch.diag(torch.logspace(0, 1, shape[1])).double()
    update = orthogonalise(matrix, torch.float64)
    lengths = torch.linalg.svdvals(update)
    assert 0.6 < lengths.min() and lengths.max() < 1.25
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    assert ((u.T @ update @ vt.T).diagonal() > 0.3).all()  # along the same directions, none turned round


def plainly(matrix: torch.Tensor) -> torch.Tensor:
    """Jordan et al. 2024, as written: one matrix, five steps on the matrix itself."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("shape", [(32, 32), (32, 300), (300, 32), (40, 24)])
def test_a_batch_of_matrices_moves_as_each_alone_by_the_plain_steps(shape):
    """Wide and tall ones go by their small squares. The last matrix has hardly a second direction."""
    matrices = torch.randn(3, *shape)
    matrices[2] = matrices[2, :, :1] @ matrices[2, :1] + 1e-4 * torch.randn(shape)
    expected = torch.stack([plainly(matrix.double()) for matrix in matrices])
    found = orthogonalise(matrices, torch.float32).double()
    assert (found - expected).norm() <= 1e-4 * expected.norm()
    assert torch.equal(
        orthogonalise(matrices[:1], torch.float32)[0], orthogonalise(matrices[0], torch.float32)
    )


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_matrices_move_as_with_torchs_muon(decay):
    start = torch.randn(24, 40)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = (
        Muon([ours], lr=0.02, weight_decay=decay, dtype=torch.bfloat16),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(4):
        gradient = torch.randn(24, 40)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    assert (theirs - start).abs().mean() > 0.005
    # Both round to bfloat16 within the iteration, in another order of operations.
    assert (ours - theirs).norm() <= 0.05 * (theirs - start).norm()


def test_a_convolution_moves_as_the_matrix_of_its_filters():
    kernel, flat = torch.randn(16, 20, 3, 3), None
    gradient = torch.randn_like(kernel)
    flat = nn.Parameter(kernel.flatten(1).clone())
    kernel = nn.Parameter(kernel.to(memory_format=torch.channels_last))
    kernel.grad, flat.grad = gradient, gradient.flatten(1).clone()
    for weight in (kernel, flat):
        Muon([weight], lr=0.1, weight_decay=0.0, dtype=torch.float32).step()
    torch.testing.assert_close(kernel.flatten(1), flat)
    assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_only_inner_matrices_are_muons():
    assert split(nn.Conv2d(16, 16, 3))[0] and not split(nn.Conv2d(15, 16, 3))[0]
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=20,
        )
    )
    matrices, rest = split(nn.ModuleList([text, nn.Conv2d(4, 32, 3), nn.Conv2d(32, 32, 3)]))
    shapes = sorted(tuple(weight.shape) for weight in matrices)
    assert shapes == [(32, 32)] * 4 + [(32, 32, 3, 3), (32, 64), (64, 32)]
    assert (50, 32) in {tuple(weight.shape) for weight in rest}  # the table of tokens
    assert len(matrices) + len(rest) == len(list(text.parameters())) + 4
