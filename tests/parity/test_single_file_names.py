"""The names of single-file checkpoints: one name for each tensor, and the place that diffusers gives it."""

import pytest
import torch

from sdlearn.checkpoint.single_file_names import clip_table, open_clip_table, unet_table, vae_table
from sdlearn.clip import CLIPTextModel
from sdlearn.config import CLIPTextConfig, UNetConfig, VAEConfig
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

single_file_utils = pytest.importorskip("diffusers.loaders.single_file_utils")

UNETS = {
    "SD 1": UNetConfig(),
    "SD 1 inpainting": UNetConfig(in_channels=9),
    "SD 2": UNetConfig(num_heads=(5, 10, 20, 20), cross_attention_dim=1024, use_linear_projection=True),
}
OPEN_CLIP = CLIPTextConfig(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=23,
    num_attention_heads=16,
    hidden_act="gelu",
)
SIZES = {  # tensors and parameters as published
    "SD 1": (686, 859_520_964),
    "SD 1 inpainting": (686, 859_535_364),
    "SD 2": (686, 865_910_724),
}


def tensors_of(make, config) -> dict[str, torch.Tensor]:
    """The network at full size, without numbers."""
    with torch.device("meta"):
        return make(config).state_dict()


def test_names_from_published_files():
    """A name of each kind, as it stands in the files."""
    unet = unet_table(tensors_of(UNet, UNETS["SD 1"]), UNETS["SD 1"])
    start = "model.diffusion_model."
    assert unet["down_blocks.0.downsamplers.0.conv.weight"] == start + "input_blocks.3.0.op.weight"
    assert unet["down_blocks.2.resnets.1.time_emb_proj.bias"] == start + "input_blocks.8.0.emb_layers.1.bias"
    assert unet["up_blocks.0.upsamplers.0.conv.weight"] == start + "output_blocks.2.1.conv.weight"
    assert unet["up_blocks.1.upsamplers.0.conv.weight"] == start + "output_blocks.5.2.conv.weight"
    assert unet["mid_block.resnets.1.conv2.bias"] == start + "middle_block.2.out_layers.3.bias"
    vae = vae_table(tensors_of(AutoencoderKL, VAEConfig()), VAEConfig())
    name = "decoder.up_blocks.0.resnets.2.conv1.weight"
    assert vae[name] == "first_stage_model.decoder.up.3.block.2.conv1.weight"
    assert vae["encoder.mid_block.attentions.0.to_out.0.bias"] == (
        "first_stage_model.encoder.mid.attn_1.proj_out.bias"
    )


@pytest.mark.parametrize("family", UNETS)
def test_unet_names_are_a_bijection_and_diffusers(family):
    config = UNETS[family]
    tensors = tensors_of(UNet, config)
    assert (len(tensors), sum(t.numel() for t in tensors.values())) == SIZES[family]
    table = unet_table(tensors, config)
    assert len(set(table.values())) == len(table)
    file = {theirs: tensors[ours] for ours, theirs in table.items()}
    read = single_file_utils.convert_ldm_unet_checkpoint(file, config.to_json())
    assert read.keys() == tensors.keys()
    assert all(read[name] is tensor for name, tensor in tensors.items())


def test_vae_names_are_a_bijection_and_diffusers():
    tensors = tensors_of(AutoencoderKL, VAEConfig())
    assert (len(tensors), sum(t.numel() for t in tensors.values())) == (248, 83_653_863)
    table = vae_table(tensors, VAEConfig())
    assert len(set(table.values())) == len(table)
    file = {theirs: tensors[ours] for ours, theirs in table.items()}
    read = single_file_utils.convert_ldm_vae_checkpoint(file, VAEConfig().to_json())
    assert read.keys() == tensors.keys()
    assert all(read[name].numel() == tensor.numel() for name, tensor in tensors.items())
    different = [name for name, tensor in tensors.items() if read[name] is not tensor]
    assert all("attentions" in name for name in different)  # there diffusers takes off trailing ones


def test_clip_names():
    tensors = tensors_of(CLIPTextModel, CLIPTextConfig())
    assert (len(tensors), sum(t.numel() for t in tensors.values())) == (196, 123_060_480)
    table = clip_table(tensors)
    name = "encoder.layers.3.self_attn.q_proj.weight"
    assert table[name] == "cond_stage_model.transformer.text_model." + name


def test_open_clip_names_are_a_bijection_and_diffusers():
    tensors = tensors_of(CLIPTextModel, OPEN_CLIP)
    assert (len(tensors), sum(t.numel() for t in tensors.values())) == (372, 340_387_840)
    table = open_clip_table(tensors)
    assert len(set(table.values())) == len(table)
    joined: dict[str, dict[int | None, torch.Tensor]] = {}
    for ours, (theirs, third) in table.items():
        joined.setdefault(theirs, {})[third] = tensors[ours]
    file = {
        name: parts[None] if None in parts else torch.cat([parts[third] for third in range(3)])
        for name, parts in joined.items()
    }

    class Tower:
        config = OPEN_CLIP

    read = single_file_utils.convert_open_clip_checkpoint(Tower, file)
    plain = {name.removeprefix("text_model."): tensor for name, tensor in read.items()}
    assert {name: t.shape for name, t in plain.items()} == {name: t.shape for name, t in tensors.items()}
