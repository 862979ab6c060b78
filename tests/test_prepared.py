"""The prepared U-Net of a run answers as the plain one does, and leaves that one alone."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sdlearn import speed
from sdlearn.attention import Attention
from sdlearn.compiled import CompiledUNet
from sdlearn.pipeline import StableDiffusion
from sdlearn.speed import PackedConv2d, PackedLinear, attend_in_portions, of_each_place, prepared
from sdlearn.together import Together, alike
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


@torch.no_grad()
@pytest.mark.parametrize("many", [0, speed.MANY_PRODUCTS])
@pytest.mark.parametrize("dtype, allowed", [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_a_prepared_network_answers_as_the_plain_one(unet, dtype, allowed, many, monkeypatch):
    """In float32 with all linear layers packed, and with none."""
    monkeypatch.setattr(speed, "MANY_PRODUCTS", many)
    unet = unet.to(dtype)
    quick = prepared(unet)
    for batch, height, width in [(3, 9, 7), (3, 9, 7), (2, 8, 12)]:  # again, and in another shape
        for seed in (1, 2):  # another text, other keys
            x, timesteps, _ = question(unet, batch, height, width)
            text = question(unet, batch, seed=seed)[2].to(dtype)
            expected = unet(x.to(dtype), timesteps, text)
            for _ in range(2):  # the second time the text is remembered
                answer = quick(x.to(dtype), timesteps, text)
                assert (answer - expected).abs().max() <= allowed * expected.abs().max()


@torch.no_grad()
def test_single_layers_answer_as_the_plain_ones(monkeypatch):
    assert speed.packing_works(torch.float32), "every machine that tests this has oneDNN"
    x = torch.randn(2, 48, 13, 9).to(memory_format=torch.channels_last)
    for layer in (nn.Conv2d(48, 40, 3, padding=1), nn.Conv2d(48, 40, 3, stride=2, padding=1)):
        assert torch.allclose(PackedConv2d(randomise(layer, 1))(x), layer(x), atol=1e-5)
    layer = randomise(nn.Conv2d(48, 40, 1), 2)
    assert torch.allclose(of_each_place(layer)(x), layer(x), atol=1e-5)
    for bias in (True, False):
        linear, rows = randomise(nn.Linear(320, 400, bias=bias), 3), torch.randn(2, 60, 320)
        packed = PackedLinear(linear.weight, linear.bias)
        for few in (rows, rows[:1], rows[:, :7]):
            monkeypatch.setattr(speed, "MANY_PRODUCTS", 0)
            assert torch.allclose(packed(few), linear(few), atol=1e-4)
        assert packed.sorted is not None


@torch.no_grad()
def test_attention_in_portions_is_attention():
    """Beside float64: at most two and a half times the error of PyTorch's own kernel."""
    attend = F.scaled_dot_product_attention
    q, k, v = (torch.randn(2, 3, 1100, 40, generator=torch.Generator().manual_seed(i)) for i in range(3))
    for keys in (1100, 77):
        short = [t[:, :, :keys].bfloat16() for t in (k, v)]
        exact = attend(q.bfloat16().double(), *(t.double() for t in short))
        ours, torchs = attend_in_portions(q.bfloat16(), *short), attend(q.bfloat16(), *short)
        assert ours.dtype == torch.bfloat16 and ours.shape == exact.shape
        assert (ours - exact).pow(2).mean() ** 0.5 <= 2.5 * (torchs - exact).pow(2).mean() ** 0.5
        assert not torch.equal(ours, torchs), "long enough for the other way"
    assert torch.equal(attend_in_portions(q, k, v), attend(q, k, v)), "float32 stays as it is"


@torch.no_grad()
def test_every_kind_of_layer_has_its_quick_way(unet):
    ways = {name: type(layer.forward).__name__ for name, layer in prepared(unet).named_modules()}
    assert ways["conv_in"] == "PackedConv2d" and ways["conv_norm_out"] == "method"
    assert ways["time_embedding.linear_1"] == "PackedLinear"
    block = "down_blocks.1.attentions.0."
    joint = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn2.to_k", "attn2.to_v")
    assert {ways[f"{block}transformer_blocks.0.{name}"] for name in joint} == {"function"}
    assert (
        ways[f"{block}proj_in"] == "function" and ways["down_blocks.0.resnets.0.time_emb_proj"] == "function"
    )
    assert ways[f"{block}transformer_blocks.0.attn2.to_q"] == "PackedLinear"


@torch.no_grad()
def test_the_network_itself_is_untouched_and_its_hooks_are_heard(unet):
    given = question(unet)
    before = copy.deepcopy(vars(unet.conv_in)), {name: id(p) for name, p in unet.named_parameters()}
    quick = prepared(unet)
    expected = quick(*given)
    assert "forward" not in vars(unet.conv_in) and all("forward" not in vars(m) for m in unet.modules())
    assert vars(unet.conv_in).keys() == before[0].keys()
    assert {name: id(p) for name, p in quick.named_parameters()} == before[1], "the same weights, not copies"
    copy.deepcopy(unet)
    heard = []
    hook = unet.mid_block.attentions[0].register_forward_hook(lambda layer, x, answer: heard.append(layer))
    assert torch.equal(quick(*given), expected) and len(heard) == 1
    hook.remove()
    quick(*given)
    assert len(heard) == 1


@torch.no_grad()
def test_layers_that_were_changed_stay_as_they_are(unet):
    """An adapter in the place of a layer, and a ``forward`` of somebody's own, as LoRA is put on."""

    class Adapted(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    attention = unet.down_blocks[1].attentions[0].transformer_blocks[0].attn1
    given = question(unet)
    plain = unet(*given)
    old = attention.to_v
    attention.to_v = Adapted(old.in_features, old.out_features, bias=False)
    attention.to_v.weight = old.weight
    original = unet.conv_in.forward
    unet.conv_in.forward = lambda x: 0.5 * original(x)
    expected = unet(*given)
    assert (expected - plain).abs().max() > 1e-2
    assert torch.allclose(prepared(unet)(*given), expected, atol=1e-5)
    assert "forward" in vars(unet.conv_in)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "change",
    [
        *("weight norm", "old weight norm", "attend", "same", "strided"),
        pytest.param("wrapped", marks=pytest.mark.slow),
    ],
)
def test_unusual_networks_are_answered_for_as_they_are(unet, change, dtype):
    """Each of them once crashed a prepared network, or was overlooked by it."""
    from torch.nn.utils import parametrizations, weight_norm

    conv = unet.conv_in
    if change == "weight norm":
        parametrizations.weight_norm(conv)
        parametrizations.weight_norm(unet.mid_block.resnets[0].time_emb_proj)
    elif change == "old weight norm":
        weight_norm(conv).weight_g.mul_(2)
    elif change == "attend":
        for layer in unet.modules():
            if isinstance(layer, Attention):
                layer.attend = lambda q, k, v: 2 * F.scaled_dot_product_attention(q, k, v)
    elif change == "same":
        conv.padding = "same"
    elif change == "strided":
        down = unet.down_blocks[0].downsamplers[0]
        down.conv = randomise(nn.Conv2d(down.conv.in_channels, down.conv.out_channels, 1, stride=2), 4)
    unet = unet.to(dtype)
    x, timesteps, context = question(unet)
    given = x.to(dtype), timesteps, context.to(dtype)
    expected = unet(*given)
    network = torch.compile(unet, backend="eager") if change == "wrapped" else unet
    answer = prepared(network)(*given)
    assert (answer - expected).abs().max() <= (
        1e-4 if dtype == torch.float32 else 5e-2
    ) * expected.abs().max()
    assert torch.equal(unet(*given), expected), "the network itself still works"


@torch.no_grad()
def test_what_is_remembered_is_asked_again_where_it_was_changed(unet):
    """A text changed in place, and a hook that changes an answer in place: at each call anew, as in a plain network."""
    x, timesteps, context = question(unet)
    quick = prepared(unet)
    quick(x, timesteps, context)
    context.mul_(1.5)
    assert torch.allclose(quick(x, timesteps, context), unet(x, timesteps, context), atol=1e-5)
    layer = unet.down_blocks[1].attentions[0].transformer_blocks[0].attn2.to_v
    layer.register_forward_hook(lambda layer, given, answer: answer.mul_(1.3))
    expected = unet(x, timesteps, context)
    for _ in range(3):
        assert torch.allclose(quick(x, timesteps, context), expected, atol=1e-5)


@torch.no_grad()
def test_weights_changed_between_runs_are_seen(unet):
    given = question(unet)
    first = prepared(unet)(*given)
    unet.conv_in.weight.mul_(1.5)
    unet.down_blocks[1].attentions[0].transformer_blocks[0].attn2.to_v.weight.mul_(1.5)
    unet.mid_block.resnets[0].time_emb_proj.bias.add_(1.0)
    second = prepared(unet)(*given)
    assert torch.allclose(second, unet(*given), atol=1e-5) and (second - first).abs().max() > 1e-2


@torch.no_grad()
def test_the_text_is_asked_once_and_the_time_in_one_product(unet, monkeypatch):
    x, timesteps, context = question(unet)
    rows = []
    original = PackedLinear.__call__

    def counted(self, given):
        rows.append(tuple(given.shape))
        return original(self, given)

    monkeypatch.setattr(PackedLinear, "__call__", counted)
    quick = prepared(unet)
    for expected in (1, 0):
        rows.clear()
        quick(x, timesteps, context)
        assert rows.count(tuple(context.shape)) == expected
        assert (
            rows.count((3, 4 * unet.config.block_out_channels[0])) == 2
        )  # the embedding's second layer; all blocks


@torch.no_grad()
def test_only_the_text_is_remembered(unet):
    """Between two calls no layer holds on to what it was asked."""
    quick, given = prepared(unet), question(unet)
    quick(*given)
    groups = {
        cell.cell_contents
        for layer in quick.modules()
        for cell in getattr(layer.forward, "__closure__", None) or ()
    }
    asked = [one.question for one in groups if isinstance(one, Together)]
    assert len(asked) > 3 and [x for x in asked if x is not None] == [given[2]]


def test_where_the_operators_are_missing_all_is_plain(unet, monkeypatch):
    def missing(*_):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(PackedConv2d, "__call__", missing)
    speed.packing_works.cache_clear()
    try:
        assert not speed.packing_works(torch.float32)
        with torch.no_grad():
            assert torch.allclose(prepared(unet)(*question(unet)), unet(*question(unet)), atol=1e-5)
    finally:
        speed.packing_works.cache_clear()
    assert not speed.packing_works(torch.float16)


def test_the_global_random_state_stays(unet):
    speed.packing_works.cache_clear()
    before = torch.get_rng_state()
    prepared(unet)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
def test_runs_in_any_mode(mode):
    """The shipped model: its layers are large enough to be packed."""
    with mode():
        pipe = StableDiffusion.from_pretrained("scenes")
        inside = pipe.txt2img(PROMPT, num_inference_steps=2).latents
    outside = pipe.txt2img(PROMPT, num_inference_steps=2).latents
    assert torch.equal(inside, outside)


@pytest.mark.slow
@pytest.mark.parametrize("cache_interval", [1, 2])
def test_several_threads_draw_with_one_pipeline(cache_interval):
    pipe = small_pipeline()

    def draw(seed):
        asked = {"num_inference_steps": 4, "seed": seed, "cache_interval": cache_interval}
        return pipe.txt2img(PROMPT, **asked).latents

    expected = [draw(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as threads:
        drawn = threads.map(draw, [*range(8)] * 3)
        for number, latents in enumerate(drawn):
            assert (latents - expected[number % 8]).abs().max() <= 1e-5


@pytest.mark.parametrize(
    "more", [{}, {"guidance_interval": (1.0, 5.0)}, {"sampler": "heun", "guidance_scale": 1}]
)
def test_the_pipeline_draws_the_same(more):
    """The same picture as without the quick ways."""
    pipe, slow = small_pipeline(), small_pipeline()
    slow.for_a_run = lambda cache_interval: slow.unet
    asked = {"num_inference_steps": 4, "num_images_per_prompt": 2, "seed": 5} | more
    quick, expected = (one.txt2img(PROMPT, **asked).latents for one in (pipe, slow))
    assert (quick - expected).abs().max() <= 1e-4


@pytest.mark.slow
def test_save_memory_prepares_nothing_and_does_not_compile():
    pipe = small_pipeline().save_memory()
    assert pipe.for_a_run() is pipe.unet
    with pytest.raises(ValueError, match="exclude each other"):
        pipe.compile()
    compiled = small_pipeline().compile()
    with pytest.raises(ValueError, match="exclude each other"):
        compiled.save_memory()
    assert isinstance(compiled.for_a_run(), CompiledUNet)
    assert not isinstance(compiled.for_a_run(cache_interval=2), CompiledUNet), "its parts are asked alone"
    compiled.unet = small_pipeline().unet
    assert not isinstance(compiled.for_a_run(), CompiledUNet), "another U-Net than the compiled one"


def test_without_a_compiler_one_message_says_so(monkeypatch):
    def none():
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler"):
        small_pipeline().compile()


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


def test_layers_of_which_only_one_has_a_bias_are_not_asked_together():
    with_bias, without = torch.nn.Linear(4, 3), torch.nn.Linear(4, 5, bias=False)
    assert alike([with_bias, torch.nn.Linear(4, 5)]) and alike([without])
    assert not alike([with_bias, without]) and not alike([with_bias, torch.nn.Linear(3, 4)]) and not alike([])
