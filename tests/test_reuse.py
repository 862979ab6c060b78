"""Reused features: the calls between equal a plain U-Net whose depth is held still, and a run counts its calls."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_pipeline import FAMILIES, noise, randomise, small_pipeline

from sdlearn.config import UNetConfig
from sdlearn.reuse import reusing_deep_features
from sdlearn.unet import UNet

QUICK = {"num_inference_steps": 6, "guidance_scale": 3.0}
SMALL = {"block_out_channels": (8, 16, 24), "norm_num_groups": 4, "cross_attention_dim": 12}
KINDS = {
    "the shipped model's": {
        "layers_per_block": 1,
        "attention_levels": (False, True, True),
        "num_heads": (2, 2, 2),
    },
    "with attention at the top": {"layers_per_block": 2, "attention_levels": (True, True, False)},
    "without text": {"attention_levels": (False, False, False), "mid_attention": False},
    "of one level": {"block_out_channels": (8,), "attention_levels": (True,), "num_heads": (2,)},
    "SD 1": {
        "block_out_channels": (64, 128, 192),
        "norm_num_groups": 32,
        "cross_attention_dim": 32,
        "attention_levels": (True, True, False),
        **FAMILIES["SD 1"],
    },
}


def network_and_inputs(kind, calls, batch=3, size=(9, 7)):
    """A U-Net with random numbers in every parameter, and the (x, timesteps, context) of some calls."""
    config = UNetConfig(**SMALL | KINDS[kind])
    context = None if kind == "without text" else noise(batch, 5, config.cross_attention_dim, seed=4)
    inputs = [
        (noise(batch, 4, *size, seed=k), torch.linspace(900 - 100 * k, 700 - 100 * k, batch), context)
        for k in range(calls)
    ]
    return randomise(UNet(config), seed=3), inputs


def with_still_depth(unet, before, now):
    """The plain U-Net's answer to ``now`` where the last block but one answers as it did to ``before``."""
    up = unet.up_blocks[-1]
    below = up.resnets[-2] if up.attentions is None else up.attentions[-2]
    said = []
    hooks = [below.register_forward_hook(lambda block, given, answer: said.append(answer))]
    unet(*before)
    hooks += [below.register_forward_hook(lambda block, given, answer: said[0])]
    answer = unet(*now)
    for hook in hooks:
        hook.remove()
    return answer


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_calls_between_are_those_of_a_still_depth(kind):
    unet, inputs = network_and_inputs(kind, 5)
    network = reusing_deep_features(unet, unet, 3)
    answers = [network(*given) for given in inputs]
    assert torch.equal(answers[0], unet(*inputs[0])) and torch.equal(answers[3], unet(*inputs[3]))
    for whole, k in ((0, 1), (0, 2), (3, 4)):
        wanted = with_still_depth(unet, inputs[whole], inputs[k])
        torch.testing.assert_close(answers[k], wanted, rtol=1e-5, atol=1e-5)
        assert (wanted - unet(*inputs[k])).abs().max() > 1e-2  # it is not the whole network's answer
    assert not any(module._forward_pre_hooks for module in unet.modules())


def test_an_interval_of_one_is_the_network_itself():
    unet, _ = network_and_inputs("with attention at the top", 0)
    assert reusing_deep_features(unet, unet, 1) is unet


@torch.no_grad()
def test_another_shape_is_asked_whole():
    unet, inputs = network_and_inputs("with attention at the top", 5)
    network = reusing_deep_features(unet, unet, 4)
    network(*inputs[0])
    smaller = [tuple(part[:2] for part in given) for given in inputs]
    assert torch.equal(network(*smaller[1]), unet(*smaller[1]))
    wanted = with_still_depth(unet, smaller[1], smaller[2])
    torch.testing.assert_close(network(*smaller[2]), wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(network(*inputs[3]), unet(*inputs[3]))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["with attention at the top", "without text"])
def test_a_network_that_asks_piece_by_piece(kind):
    """As with save_memory: pictures are asked for one after the other, also between the whole calls."""
    unet, inputs = network_and_inputs(kind, 2)

    def one_by_one(x, timesteps, context):
        texts = [None] * len(x) if context is None else context.split(1)
        return torch.cat([unet(*part) for part in zip(x.split(1), timesteps.split(1), texts, strict=True)])

    pieces, whole = (reusing_deep_features(network, unet, 2) for network in (one_by_one, unet))
    sizes = []
    hook = unet.conv_out.register_forward_hook(lambda layer, given, answer: sizes.append(len(answer)))
    answers = [pieces(*given) for given in inputs]
    hook.remove()
    assert sizes == [1] * 6
    for answer, given in zip(answers, inputs, strict=True):
        torch.testing.assert_close(answer, whole(*given), rtol=1e-4, atol=1e-5)


def counted(pipe, call):
    """What ``call`` draws, and how many samples went through all of the U-Net and through its end, call by call."""
    deep, end = [], []
    hooks = [
        pipe.unet.mid_block.register_forward_hook(lambda block, given, answer: deep.append(len(answer))),
        pipe.unet.conv_out.register_forward_hook(lambda layer, given, answer: end.append(len(answer))),
    ]
    drawn = call()
    for hook in hooks:
        hook.remove()
    return drawn, deep, end


def test_a_run_counts_its_own_calls():
    pipe = small_pipeline()
    plain = pipe.txt2img("a cat", **QUICK)
    assert torch.equal(pipe.txt2img("a cat", cache_interval=1, **QUICK).latents, plain.latents)
    for _ in range(2):  # nothing is left over from the run before
        drawn, deep, end = counted(pipe, lambda: pipe.txt2img("a cat", cache_interval=4, **QUICK))
        assert (deep, end) == ([2, 2], [2] * 6)
        assert drawn.settings["cache_interval"] == 4 and "cache_interval" not in plain.settings
    assert torch.equal(drawn.steps[0].pred.eps, plain.steps[0].pred.eps)
    assert not torch.equal(drawn.steps[1].pred.eps, plain.steps[1].pred.eps)
    lazy = list(pipe.txt2img_steps("a cat", cache_interval=4, **QUICK))
    assert torch.equal(lazy[-1].x_next, drawn.steps[-1].x_next)


def test_where_guidance_sets_in_and_ends_the_call_is_whole():
    pipe = small_pipeline()
    sigmas = [step.sigma for step in pipe.txt2img("a cat", **QUICK).steps]
    asked = {"cache_interval": 3, "guidance_interval": (sigmas[3], sigmas[2]), **QUICK}
    _, deep, end = counted(pipe, lambda: pipe.txt2img("a cat", **asked))
    assert (deep, end) == ([1, 2, 1], [1, 1, 2, 2, 1, 1])


@pytest.mark.parametrize("channels", [4, 9])
def test_pictures_are_redrawn_and_repainted_with_reuse(channels):
    pipe = small_pipeline(in_channels=channels)
    picture, mask = Image.new("RGB", (32, 32), "orange"), Image.new("L", (32, 32))
    mask.paste(255, (16, 0, 32, 32))
    _, deep, _ = counted(pipe, lambda: pipe.inpaint(picture, mask, "a cat", cache_interval=2, **QUICK))
    assert deep == [2, 2, 2]
    if channels == 4:
        _, deep, _ = counted(pipe, lambda: pipe.img2img(picture, "a cat", 0.5, cache_interval=2, **QUICK))
        assert deep == [2, 2]


def test_less_memory_same_picture_with_reuse():
    plain = small_pipeline().txt2img("a cat", seed=3, cache_interval=2, **QUICK)
    saving = small_pipeline().save_memory().txt2img("a cat", seed=3, cache_interval=2, **QUICK)
    assert (saving.latents - plain.latents).abs().max() <= 1e-4 * plain.latents.abs().max()
    assert np.abs(np.asarray(saving.images[0], float) - np.asarray(plain.images[0], float)).max() <= 1


@pytest.mark.parametrize("step, same", [(0, True), (2, True), (3, False), (4, True)])
def test_resumed_where_the_next_call_was_whole_it_is_the_same(step, same):
    pipe = small_pipeline()
    whole = pipe.txt2img("a cat", seed=3, cache_interval=2, **QUICK)
    resumed = pipe.resume(whole, step)
    assert torch.equal(resumed.latents, whole.latents) == same
    assert resumed.settings == whole.settings
