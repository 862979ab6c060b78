"""Our networks against diffusers and transformers, in value, with random weights in every parameter.

The largest absolute difference over the reference's largest absolute value must stay below 1e-5 in float32.
Three levels, unequal heads, non-square inputs, a batch of 2 or 3. Where activations vary so much that an eps of 1e-5
in the place of 1e-6 hides, the eps itself is compared.
"""

import pytest
import torch

from sdlearn.attention import Attention, SpatialTransformer
from sdlearn.clip import CLIPTextModel, CLIPVisionModel, pool_at_end
from sdlearn.config import CLIPTextConfig, CLIPVisionConfig, UNetConfig, VAEConfig
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL
from tests.small_pipeline import randomise

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-5


def randn(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative_error(ours: torch.Tensor, reference: torch.Tensor) -> float:
    assert ours.shape == reference.shape
    assert reference.abs().max() > 1e-3, "a reference of zeros would prove nothing"
    return ((ours - reference).abs().max() / reference.abs().max()).item()


def load_strictly(module: torch.nn.Module, reference: torch.nn.Module) -> torch.nn.Module:
    """Every published name has its place and none is left over: strict=True raises otherwise."""
    module.load_state_dict(reference.state_dict(), strict=True)
    return module.eval()


UNETS = {
    "SD 1 style": {"attention_head_dim": [2, 4, 8], "use_linear_projection": False, "layers_per_block": 2},
    "SD 2 style": {"attention_head_dim": [1, 2, 6], "use_linear_projection": True, "layers_per_block": 1},
    "upcast": {
        "attention_head_dim": [2, 4, 8],
        "use_linear_projection": True,
        "layers_per_block": 1,
        "upcast_attention": True,
    },
}


@pytest.mark.parametrize("style", UNETS)
@pytest.mark.parametrize("plain_level", ["first", "last"])
@torch.no_grad()
def test_unet(style, plain_level):
    down = ["CrossAttnDownBlock2D"] * 3
    down[0 if plain_level == "first" else -1] = "DownBlock2D"
    data = {
        "in_channels": 5,
        "out_channels": 4,
        "sample_size": 16,
        "block_out_channels": [16, 32, 48],
        "down_block_types": down,
        "up_block_types": [name.replace("Down", "Up") for name in reversed(down)],
        "cross_attention_dim": 20,
        "norm_num_groups": 8,
        **UNETS[style],
    }
    reference = randomise(diffusers.UNet2DConditionModel(**data), seed=0)
    config = UNetConfig.from_json(data)
    ours = load_strictly(UNet(config), reference)
    assert UNetConfig.from_json(config.to_json()) == config
    timesteps = torch.tensor([3.0, 500.25, 999.0])
    for scale in (1.0, 1e-3):  # at 1e-3 the variance is near the norms' eps
        sample, context = scale * randn(3, 5, 8, 12), randn(3, 7, 20, seed=2)
        expected = reference(sample, timesteps, context).sample
        assert relative_error(ours(sample, timesteps, context), expected) <= TOLERANCE
    for height, width in [(9, 14), (7, 12), (3, 5), (1, 1)]:  # sides that two halvings round up
        sample = randn(3, 5, height, width)
        expected = reference(sample, timesteps, context).sample
        assert relative_error(ours(sample, timesteps, context), expected) <= TOLERANCE


@torch.no_grad()
def test_unet_without_text():
    """The network of chapter 02: no attention anywhere, and no context is asked for."""
    data = {
        "_class_name": "UNet2DModel",
        "in_channels": 3,
        "out_channels": 3,
        "sample_size": 16,
        "block_out_channels": (16, 32, 48),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D",) * 3,
        "up_block_types": ("UpBlock2D",) * 3,
        "add_attention": False,
        "norm_num_groups": 8,
        "norm_eps": 1e-5,
    }
    reference = randomise(diffusers.UNet2DModel(**{k: v for k, v in data.items() if k[0] != "_"}), seed=0)
    config = UNetConfig.from_json(data)
    ours = load_strictly(UNet(config), reference)
    assert UNetConfig.from_json(config.to_json()) == config
    timesteps = torch.tensor([3.0, 500.25, 999.0])
    for scale in (1.0, 1e-3):
        sample = scale * randn(3, 3, 8, 12)
        expected = reference(sample, timesteps).sample
        assert relative_error(ours(sample, timesteps), expected) <= TOLERANCE
    with pytest.raises(ValueError, match="add_attention false"):
        UNetConfig.from_json({**data, "add_attention": True})


@pytest.mark.parametrize("linear", [False, True])
@torch.no_grad()
def test_spatial_transformer_where_its_eps_shows(linear):
    """Inside a whole U-Net the activations have too much variance to tell an eps of 1e-6 from 1e-5."""
    reference = diffusers.Transformer2DModel(
        num_attention_heads=3,
        attention_head_dim=8,
        in_channels=24,
        norm_num_groups=8,
        cross_attention_dim=20,
        use_linear_projection=linear,
    )
    config = UNetConfig(norm_num_groups=8, cross_attention_dim=20, use_linear_projection=linear)
    ours = load_strictly(SpatialTransformer(24, 3, config), randomise(reference, seed=10))
    for scale in (1.0, 1e-3):
        sample, context = scale * randn(2, 24, 6, 10), randn(2, 7, 20, seed=2)
        expected = reference(sample, encoder_hidden_states=context).sample
        assert relative_error(ours(sample, context), expected) <= TOLERANCE


def norms_of(module: torch.nn.Module) -> list[tuple[str, int, float]]:
    """Name, groups and eps of every group norm."""
    kind = torch.nn.GroupNorm
    return [(name, m.num_groups, m.eps) for name, m in module.named_modules() if isinstance(m, kind)]


@torch.no_grad()
def test_the_group_norms_are_those_of_the_reference():
    unet = {
        "block_out_channels": [16, 32],
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "attention_head_dim": 2,
        "norm_num_groups": 8,
        "cross_attention_dim": 20,
    }
    vae = {
        "block_out_channels": [16, 32],
        "layers_per_block": 2,
        "norm_num_groups": 8,
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
    }
    for ours, reference in (
        (UNet(UNetConfig.from_json(unet)), diffusers.UNet2DConditionModel(**unet)),
        (AutoencoderKL(VAEConfig.from_json(vae)), diffusers.AutoencoderKL(**vae)),
    ):
        found = norms_of(ours)
        assert found and sorted(found) == sorted(norms_of(reference))


def test_upcast_attention_computes_in_float32(monkeypatch):
    """Half-precision in and out, float32 where the scores are made."""
    seen = []

    def record(q, k, v):
        seen.append({q.dtype, k.dtype, v.dtype})
        return v

    monkeypatch.setattr("sdlearn.attention.F.scaled_dot_product_attention", record)
    x = torch.randn(1, 4, 16, dtype=torch.bfloat16)
    for upcast in (True, False):
        assert Attention(16, 2, upcast=upcast).bfloat16()(x).dtype == torch.bfloat16
    assert seen == [{torch.float32}, {torch.bfloat16}]
    config = UNetConfig(norm_num_groups=8, cross_attention_dim=20, upcast_attention=True)
    inner = [m for m in SpatialTransformer(24, 3, config).modules() if isinstance(m, Attention)]
    assert len(inner) == 2 and all(m.upcast for m in inner)


@torch.no_grad()
def test_the_spread_of_latents_is_clamped():
    data = {"block_out_channels": [16, 16], "norm_num_groups": 8, "layers_per_block": 1}
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    reference = randomise(diffusers.AutoencoderKL(**data, **blocks), seed=3)
    for logvar in (-100.0, 100.0):
        reference.quant_conv.bias[4:] = logvar
        ours = load_strictly(AutoencoderKL(VAEConfig.from_json({**data, **blocks})), reference)
        pixels = randn(1, 3, 8, 8)
        std, expected = ours.encode(pixels).std, reference.encode(pixels).latent_dist.std
        torch.testing.assert_close(std, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_vae_encodes_and_decodes(layers):
    data = {
        "block_out_channels": [16, 24, 32],
        "layers_per_block": layers,
        "norm_num_groups": 8,
        "latent_channels": 4,
        "sample_size": 32,
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
    }
    reference = randomise(diffusers.AutoencoderKL(**data), seed=3)
    config = VAEConfig.from_json(data)
    assert config.scaling_factor == 0.18215  # the published default where the file names none
    ours = load_strictly(AutoencoderKL(config), reference)
    for scale in (1.0, 1e-3):
        pixels = scale * randn(2, 3, 16, 28)
        expected, posterior = reference.encode(pixels).latent_dist, ours.encode(pixels)
        assert relative_error(posterior.mean, expected.mean) <= TOLERANCE
        assert relative_error(posterior.std, expected.std) <= TOLERANCE
        assert relative_error(posterior.kl(), expected.kl()) <= TOLERANCE
        noise = randn(*posterior.mean.shape, seed=5)
        assert torch.equal(posterior.sample(noise), posterior.mean + posterior.std * noise)
        latents = scale * randn(2, 4, 4, 7, seed=4)
        assert relative_error(ours.decode(latents), reference.decode(latents).sample) <= TOLERANCE


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@torch.no_grad()
def test_text_tower(activation):
    config = CLIPTextConfig(
        vocab_size=50,
        max_position_embeddings=12,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=3,
        hidden_act=activation,
        projection_dim=16,
        bos_token_id=48,
        eos_token_id=49,
        pad_token_id=49,
    )
    data = {
        key: value for key, value in config.to_json().items() if key not in ("architectures", "model_type")
    }
    reference_config = transformers.CLIPTextConfig(**data)
    reference_config._attn_implementation = "eager"
    reference = randomise(transformers.CLIPTextModel(reference_config), seed=6)
    ours = load_strictly(CLIPTextModel(config), reference)
    ids = torch.tensor(
        [[48, 5, 9, 30, 49, 49, 49, 49, 49, 49, 49, 49], [48, 7, 8, 1, 2, 3, 4, 5, 6, 7, 49, 49]]
    )
    for embedding_scale in (1.0, 1e-3):
        for model in (ours, reference):
            model.embeddings.token_embedding.weight.mul_(embedding_scale)
            model.embeddings.position_embedding.weight.mul_(embedding_scale)
        expected = reference(ids)
        hidden = ours(ids)
        assert relative_error(hidden, expected.last_hidden_state) <= TOLERANCE
        assert relative_error(pool_at_end(hidden, ids, 49), expected.pooler_output) <= TOLERANCE
    shorter = ours(ids[:, :6])
    torch.testing.assert_close(shorter, hidden[:, :6])  # causal: what comes later changes nothing


@torch.no_grad()
def test_image_tower():
    config = CLIPVisionConfig(
        image_size=32,
        patch_size=8,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=3,
        projection_dim=16,
    )
    data = {
        key: value for key, value in config.to_json().items() if key not in ("architectures", "model_type")
    }
    reference = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**data))
    reference = randomise(reference, seed=7)
    ours = load_strictly(CLIPVisionModel(config), reference)
    for scale in (1.0, 1e-3):
        pixels = scale * randn(2, 3, 32, 32)
        assert relative_error(ours(pixels), reference(pixels).image_embeds) <= TOLERANCE


@torch.no_grad()
def test_attention_weights_are_those_that_forward_uses():
    attention = randomise(Attention(24, 3, context_width=10), seed=8)
    x, context = randn(2, 6, 24), randn(2, 5, 10, seed=9)
    weights = attention.weights(x, context)  # (B, heads, L, S)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 6))
    value = attention.to_v(context).view(2, 5, 3, 8).transpose(1, 2)  # (B, heads, S, d)
    by_hand = attention.to_out[0]((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(by_hand, attention(x, context))


PUBLISHED = [  # (module, config, tensors, parameters), FACTS of the published checkpoints
    (UNet, UNetConfig(), 686, 859_520_964),
    (AutoencoderKL, VAEConfig(), 248, 83_653_863),
    (CLIPTextModel, CLIPTextConfig(), 196, 123_060_480),
]


@pytest.mark.parametrize(("module", "config", "tensors", "parameters"), PUBLISHED)
def test_full_size_has_the_published_number_of_weights(module, config, tensors, parameters):
    with torch.device("meta"):
        network = module(config)
    state = network.state_dict()
    assert len(state) == tensors
    assert sum(tensor.numel() for tensor in state.values()) == parameters
