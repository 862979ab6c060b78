"""What a layer gathers with given weights, and weights that are changed on their way."""

import pytest
import torch

from sdlearn.attention import Attention, editing
from sdlearn.config import UNetConfig
from sdlearn.unet import UNet
from sdlearn.viz.attention_maps import listening
from tests.small_pipeline import randomise

SMALL = UNetConfig(
    block_out_channels=(16, 32),
    attention_levels=(False, True),
    num_heads=(2, 2),
    cross_attention_dim=24,
    norm_num_groups=8,
)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def unet() -> UNet:
    unet = UNet(SMALL).eval()
    randomise(unet, 3)
    return unet


def ask(unet: UNet) -> torch.Tensor:
    with torch.no_grad():
        return unet(numbers(2, 4, 8, 8), torch.tensor([10.0, 700.0]), numbers(2, 5, 24, seed=1))


@pytest.mark.parametrize("context_width", [None, 24])
@torch.no_grad()
def test_to_gather_with_its_own_weights_is_what_a_layer_does(context_width):
    layer = Attention(16, 4, context_width, bias=True)
    x = numbers(2, 9, 16)
    context = x if context_width is None else numbers(2, 5, 24, seed=1)
    torch.testing.assert_close(layer.gather(layer.weights(x, context), context), layer(x, context))


@torch.no_grad()
def test_gather_takes_a_head_s_values_by_that_head_s_weights():
    layer = Attention(16, 4, 24)
    context = numbers(1, 5, 24)
    weights = torch.zeros(1, 4, 1, 5)
    for head, token in enumerate([2, 0, 4, 2]):
        weights[0, head, 0, token] = 1
    parts = layer.to_v(context)[0].unflatten(1, (4, 4))  # (tokens, heads, width of a head)
    chosen = torch.cat([parts[token, head] for head, token in enumerate([2, 0, 4, 2])])
    torch.testing.assert_close(layer.gather(weights, context)[0, 0], layer.to_out[0](chosen))


@torch.no_grad()
def test_gather_stays_in_the_kind_of_number_of_its_layer():
    layer = Attention(16, 4, 24).bfloat16()
    x, context = numbers(2, 9, 16).bfloat16(), numbers(2, 5, 24, seed=1).bfloat16()
    weights = layer.weights(x, context)
    assert weights.dtype == torch.float32
    gathered = layer.gather(weights, context)
    assert gathered.dtype == torch.bfloat16
    torch.testing.assert_close(gathered, layer(x, context), rtol=0.05, atol=0.02)


def test_weights_that_are_handed_on_unchanged_change_nothing(unet):
    heard = []

    def listen(weights):
        heard.append(weights)
        return weights

    with editing(unet, listen):
        same = ask(unet)
    torch.testing.assert_close(same, ask(unet), rtol=1e-4, atol=1e-5)
    assert len(heard) == 6  # 2 on the left side, 1 at the bottom, 3 on the right: the upper level has none
    assert all(one.shape == (2, 2, 16, 5) for one in heard)
    assert all(torch.allclose(one.sum(dim=-1), torch.ones(2, 2, 16)) for one in heard)


def test_changed_weights_are_used_and_afterwards_the_network_is_as_it_was(unet):
    before = ask(unet)
    with editing(unet, torch.zeros_like):
        deaf = ask(unet)
    assert (deaf - before).abs().max() > 1e-3
    assert torch.equal(ask(unet), before)
    with pytest.raises(RuntimeError, match="on purpose"), editing(unet, torch.zeros_like):
        raise RuntimeError("on purpose")
    assert torch.equal(ask(unet), before)


def test_whose_words_have_no_weight_hears_no_words(unet):
    with editing(unet, torch.zeros_like), torch.no_grad():
        answers = [
            unet(numbers(1, 4, 8, 8), torch.tensor([10.0]), numbers(1, 5, 24, seed=seed)) for seed in (1, 2)
        ]
    assert torch.equal(*answers)


def test_of_two_edits_the_inner_one_is_used_and_listeners_hear_what_was_before(unet):
    with editing(unet, lambda weights: 2 * weights):
        doubled = ask(unet)
    with editing(unet, torch.zeros_like), editing(unet, lambda weights: 2 * weights):
        assert torch.equal(ask(unet), doubled)
    with editing(unet, torch.zeros_like), listening(unet) as heard:
        ask(unet)
    assert len(heard) == 6
    assert all(torch.allclose(one.sum(dim=-1), torch.ones(2, 2, 16)) for one in heard)


def test_a_network_without_cross_attention_cannot_be_edited():
    with (
        pytest.raises(ValueError, match="no cross-attention layer"),
        editing(Attention(16, 4), torch.zeros_like),
    ):
        pass
