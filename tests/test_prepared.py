"""The quick ways of a run answer as the plain ones do, follow changed weights, and leave nothing behind."""

import contextlib

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sdlearn import speed
from sdlearn.attention import Attention
from sdlearn.compiled import CompiledUNet
from sdlearn.pipeline import StableDiffusion
from sdlearn.speed import PackedConv2d, PackedLinear, attend_in_portions, of_each_place, prepared
from tests.small_pipeline import randomise, small_model, small_pipeline

PROMPT = "an orange cat standing on a red castle"


@pytest.fixture
def unet():
    return small_model().unet.eval().to(memory_format=torch.channels_last)


def question(unet, batch=3, height=9, width=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, unet.config.in_channels, height, width, generator=generator)
    context = torch.randn(batch, 11, unet.config.cross_attention_dim, generator=generator)
    return x, torch.arange(batch) * 300.0 + 5, context


def own_forwards(network):
    return [name for name, layer in network.named_modules() if {"forward", "attend"} & set(vars(layer))]


@torch.no_grad()
@pytest.mark.parametrize("dtype, allowed", [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_a_prepared_network_answers_as_the_plain_one(unet, dtype, allowed):
    unet = unet.to(dtype)
    texts = [question(unet, seed=seed)[2].to(dtype) for seed in (1, 2)]
    cases = [(3, 9, 7), (3, 9, 7), (2, 8, 12)]  # the second asks again, the third in another shape
    with prepared(unet):
        for batch, height, width in cases:
            for text in texts:  # another text, other keys
                x, timesteps, _ = question(unet, batch, height, width)
                x, text = x.to(dtype), text[:batch]
                quick = unet(x, timesteps, text), unet(x, timesteps, text)  # the second remembers the text
                with plain(unet):
                    expected = unet(x, timesteps, text)
                for answer in quick:
                    assert (answer - expected).abs().max() <= allowed * expected.abs().max()


@contextlib.contextmanager
def plain(network):
    """Inside ``with`` no layer has a way of its own."""
    own = {
        layer: dict(vars(layer)) for layer in network.modules() if {"forward", "attend"} & set(vars(layer))
    }
    for layer in own:
        for way in ("forward", "attend"):
            vars(layer).pop(way, None)
    yield
    for layer, before in own.items():
        vars(layer).update({way: before[way] for way in ("forward", "attend") if way in before})


@torch.no_grad()
def test_single_layers_answer_as_the_plain_ones():
    assert speed.packing_works(torch.float32), "every machine that tests this has oneDNN"
    x = torch.randn(2, 48, 13, 9).to(memory_format=torch.channels_last)
    for layer in (nn.Conv2d(48, 40, 3, padding=1), nn.Conv2d(48, 40, 3, stride=2, padding=1)):
        assert torch.allclose(PackedConv2d(randomise(layer, 1))(x), layer(x), atol=1e-5)
    assert torch.allclose(
        of_each_place(nn_layer := randomise(nn.Conv2d(48, 40, 1), 2))(x), nn_layer(x), atol=1e-5
    )
    for bias in (True, False):
        linear, rows = randomise(nn.Linear(320, 400, bias=bias), 3), torch.randn(2, 60, 320)
        packed = PackedLinear(linear)
        assert packed.pays(rows) and torch.allclose(packed(rows), linear(rows), atol=1e-4)
        assert packed.weight is not None


@torch.no_grad()
def test_attention_in_portions_is_attention():
    """Beside float64: at most two and a half times the error of PyTorch's own kernel."""
    shapes = (2, 3, 1100, 40), (2, 3, 1100, 40), (2, 3, 1100, 40)
    q, k, v = (
        torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i, shape in enumerate(shapes)
    )
    for keys in (1100, 77):
        short = [t[:, :, :keys].bfloat16() for t in (k, v)]
        exact = F.scaled_dot_product_attention(q.bfloat16().double(), *(t.double() for t in short))
        ours, torchs = attend_in_portions(q.bfloat16(), *short), Attention.attend(q.bfloat16(), *short)
        assert ours.dtype == torch.bfloat16 and ours.shape == exact.shape
        assert (ours - exact).pow(2).mean() ** 0.5 <= 2.5 * (torchs - exact).pow(2).mean() ** 0.5
        assert not torch.equal(ours, torchs), "long enough for the other way"
    assert torch.equal(attend_in_portions(q, k, v), Attention.attend(q, k, v)), "float32 stays as it is"


@torch.no_grad()
def test_changed_weights_are_seen(unet):
    x, timesteps, context = question(unet)
    with prepared(unet):
        before = unet(x, timesteps, context)
        for layer in (unet.conv_in, unet.down_blocks[1].attentions[0].transformer_blocks[0].attn1.to_k):
            layer.weight.mul_(1.5)
            after = unet(x, timesteps, context)
            with plain(unet):
                expected = unet(x, timesteps, context)
            assert not torch.allclose(before, expected, rtol=1e-3)
            assert torch.allclose(after, expected, atol=1e-5)
            before = after


def test_gradients_flow_the_plain_way(unet):
    x, timesteps, context = question(unet)
    with prepared(unet):
        unet(x, timesteps, context).square().mean().backward()
    assert all(parameter.grad is not None for parameter in unet.parameters())


@torch.no_grad()
def test_the_text_is_asked_once_and_the_time_in_one_product(unet):
    x, timesteps, context = question(unet)
    rows = []
    original = PackedLinear.__call__

    def counted(self, given):
        rows.append(tuple(given.shape))
        return original(self, given)

    with pytest.MonkeyPatch.context() as patch, prepared(unet):
        patch.setattr(PackedLinear, "__call__", counted)
        for expected in (1, 0):
            rows.clear()
            unet(x, timesteps, context)
            assert rows.count(tuple(context.shape)) == expected
            time_width = 4 * unet.config.block_out_channels[0]
            assert (
                rows.count((3, time_width)) == 2
            )  # of the embedding's second layer, and of all blocks together


def test_nothing_stays_behind(unet):
    first, second = prepared(unet), prepared(unet)
    first.__enter__()
    second.__enter__()
    assert own_forwards(unet)
    first.__exit__(None, None, None)  # not in order, as two runs by turns would
    second.__exit__(None, None, None)
    assert not own_forwards(unet)
    with pytest.raises(RuntimeError), prepared(unet):
        raise RuntimeError
    assert not own_forwards(unet)


def test_where_the_operators_are_missing_all_is_plain(monkeypatch):
    def missing(*_):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(PackedConv2d, "sort", missing)
    speed.packing_works.cache_clear()
    try:
        assert not speed.packing_works(torch.float32)
        model = small_pipeline()
        assert len(model.txt2img(PROMPT, num_inference_steps=2).images) == 1
    finally:
        speed.packing_works.cache_clear()
    assert not speed.packing_works(torch.float16)


@pytest.mark.parametrize(
    "more", [{}, {"guidance_interval": (1.0, 5.0)}, {"sampler": "heun", "guidance_scale": 1}]
)
def test_the_pipeline_draws_the_same(more):
    """The same picture as without the quick ways, and the U-Net is its own again, also after a run that stopped."""
    pipe, slow = small_pipeline(), small_pipeline()
    slow._quick = contextlib.nullcontext
    asked = {"num_inference_steps": 4, "num_images_per_prompt": 2, "seed": 5} | more
    quick, expected = (one.txt2img(PROMPT, **asked).latents for one in (pipe, slow))
    assert (quick - expected).abs().max() <= 1e-4
    steps = pipe.txt2img_steps(PROMPT, num_inference_steps=4)
    next(steps)
    assert own_forwards(pipe.unet)
    steps.close()
    assert not own_forwards(pipe.unet)


def test_save_memory_prepares_nothing_and_does_not_compile():
    pipe = small_pipeline().save_memory()
    steps = pipe.txt2img_steps(PROMPT, num_inference_steps=2)
    next(steps)
    assert not own_forwards(pipe.unet)
    with pytest.raises(ValueError, match="exclude each other"):
        pipe.compile()
    with pytest.raises(ValueError, match="exclude each other"):
        small_pipeline().compile().save_memory()


@torch.no_grad()
def test_a_compiled_network_says_when_it_compiles_and_steps_back_for_hooks(unet, capsys, monkeypatch):
    """With a stand-in for the compiler; the real one is slow."""
    calls = []
    monkeypatch.setattr(
        torch, "compile", lambda network, **how: lambda *given: calls.append(1) or network(*given)
    )
    compiled = CompiledUNet(unet, torch.device("cpu"))
    given = question(unet)
    assert torch.equal(compiled(*given), unet(*given))
    assert len(calls) == 4 and capsys.readouterr().err.count("compiling") == 1  # three to warm up
    compiled(*given)
    assert len(calls) == 5 and not capsys.readouterr().err
    compiled(*question(unet, batch=2))
    assert capsys.readouterr().err.count("compiling") == 1
    calls.clear()
    heard = []
    hook = unet.mid_block.register_forward_hook(lambda *_: heard.append(1))
    compiled(*given)
    hook.remove()
    assert heard and not calls


@pytest.mark.slow
def test_the_real_compiler_draws_the_same(capsys):
    pytest.importorskip("torch._inductor")
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception:
        pytest.skip("no C++ compiler")
    plain_pipe, pipe = small_pipeline(), small_pipeline().compile()
    assert isinstance(pipe, StableDiffusion)
    asked = {"num_inference_steps": 3, "seed": 3}
    drawn = [one.txt2img(PROMPT, **asked).latents for one in (pipe, plain_pipe)]
    assert (drawn[0] - drawn[1]).abs().max() <= 1e-4
    assert "compiled in" in capsys.readouterr().err
