"""Checkpoint folders: written and read exactly, and clear about every damage."""

import json
import os
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sdlearn.checkpoint import (
    CheckpointError,
    Parts,
    load_classifier,
    load_folder,
    load_pixel_model,
    save_classifier,
    save_decoder,
    save_folder,
    save_pixel_model,
    swap_decoder,
)
from sdlearn.config import ScheduleConfig
from sdlearn.noisy_classifier import NoisyClassifier
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL
from tests.small_pipeline import randomise, small_model

UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
TEXT_WEIGHTS = "text_encoder/model.safetensors"
VAE_WEIGHTS = "vae/diffusion_pytorch_model.safetensors"


def make_parts(**unet_settings) -> Parts:
    parts = small_model(attention_levels=(False, True, True), **unet_settings)
    return replace(parts, schedule_config=ScheduleConfig(scheduler="DDIMScheduler", beta_end=0.013))


@pytest.fixture(scope="module")
def parts() -> Parts:
    return make_parts()


@pytest.fixture(scope="module")
def saved(parts, tmp_path_factory) -> Path:
    return save_folder(parts, tmp_path_factory.mktemp("saved") / "model", dtype=torch.float32)


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy to damage."""
    copy = tmp_path / "model"
    for path in saved.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(saved)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(saved)).write_bytes(path.read_bytes())
    return copy


def same_numbers(ours: torch.nn.Module, theirs: dict[str, torch.Tensor]) -> bool:
    state = ours.state_dict()
    return state.keys() == theirs.keys() and all(torch.equal(state[name], theirs[name]) for name in state)


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_gives_the_same_parts(parts, saved):
    read = load_folder(saved)
    for name in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(read, name), getattr(parts, name)
        assert same_numbers(ours, theirs.state_dict()) and ours.config == theirs.config
        assert not ours.training and not any(parameter.is_meta for parameter in ours.parameters())
    assert (read.tokenizer.vocab, read.tokenizer.merges) == (parts.tokenizer.vocab, parts.tokenizer.merges)
    assert read.tokenizer.max_length == 16 and read.schedule_config == parts.schedule_config
    with torch.no_grad():
        ids = torch.tensor([read.tokenizer.encode("an orange cat")])
        assert torch.equal(read.text_encoder(ids), parts.text_encoder(ids))


def test_a_second_model_with_other_switches(tmp_path):
    # As in Stable Diffusion 2: linear projections, attention in float32.
    other = make_parts(use_linear_projection=True, upcast_attention=True, in_channels=9)
    read = load_folder(save_folder(other, tmp_path / "two", dtype=torch.float32))
    assert read.unet.config == other.unet.config and same_numbers(read.unet, other.unet.state_dict())


def test_half_precision_files(parts, tmp_path):
    folder = save_folder(parts, tmp_path / "half")
    on_disk = load_file(folder / UNET_WEIGHTS)
    assert {tensor.dtype for tensor in on_disk.values()} == {torch.float16}
    wanted = {name: tensor.half().float() for name, tensor in parts.unet.state_dict().items()}
    read = load_folder(folder)
    assert {p.dtype for p in read.unet.parameters()} == {torch.float32} and same_numbers(read.unet, wanted)
    assert {p.dtype for p in load_folder(folder, dtype=torch.bfloat16).vae.parameters()} == {torch.bfloat16}
    for part in ("unet", "vae"):
        path = folder / part / "diffusion_pytorch_model.safetensors"
        path.rename(path.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert same_numbers(load_folder(folder).unet, wanted)


def test_files_are_written_as_every_version_of_the_libraries_reads_them(saved):
    assert all(name.startswith("text_model.") for name in load_file(saved / TEXT_WEIGHTS))
    with safe_open(saved / UNET_WEIGHTS, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_loading_does_not_touch_the_files_or_share_them(saved):
    before = {path: path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    read = load_folder(saved)
    with torch.no_grad():
        for parameter in read.unet.parameters():
            parameter.add_(1)
    assert {path: path.read_bytes() for path in before} == before


def test_flat_and_old_names_are_read(parts, folder):
    flat = {name.removeprefix("text_model."): t for name, t in load_file(folder / TEXT_WEIGHTS).items()}
    assert "embeddings.token_embedding.weight" in flat
    flat["embeddings.position_ids"] = torch.arange(16)[None]
    save_file(flat, folder / TEXT_WEIGHTS)
    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    vae = load_file(folder / VAE_WEIGHTS)
    for new, old in old_names.items():
        vae = {name.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): t for name, t in vae.items()}
    assert "encoder.mid_block.attentions.0.proj_attn.bias" in vae
    save_file(vae, folder / VAE_WEIGHTS)
    read = load_folder(folder)
    assert same_numbers(read.text_encoder, parts.text_encoder.state_dict())
    assert same_numbers(read.vae, parts.vae.state_dict())


def refusal(folder: Path) -> str:
    """The message of the CheckpointError that load_folder raises: one short paragraph."""
    with pytest.raises(CheckpointError) as caught:
        load_folder(folder)
    message = str(caught.value)
    assert isinstance(caught.value, ValueError) and "\n" not in message and len(message) < 900
    return message


def lacking(message: str, *texts: str) -> list[str]:
    """Those of ``texts`` that are not in the message."""
    return [text for text in texts if text not in message]


def test_no_folder(tmp_path):
    assert lacking(refusal(tmp_path / "nothing"), "nothing does not exist", "model_index.json") == []
    (tmp_path / "file").write_text("")
    assert lacking(refusal(tmp_path / "file"), "is a file") == []
    (tmp_path / "empty").mkdir()
    assert lacking(refusal(tmp_path / "empty"), "model_index.json is missing") == []


@pytest.mark.parametrize(
    "name",
    [
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        UNET_WEIGHTS,
        VAE_WEIGHTS,
        TEXT_WEIGHTS,
    ],
)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert lacking(refusal(folder), str(Path(name)), "copy") == []


def test_a_file_with_the_ending_of_another_format(folder):
    (folder / UNET_WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    assert lacking(refusal(folder), "rename it to end in .safetensors", "diffusion_pytorch_model.bin") == []


def damaged(kind: str, good: bytes) -> bytes:
    length = struct.unpack("<Q", good[:8])[0]
    header, data = good[8 : 8 + length], good[8 + length :]

    def file(new_header: bytes) -> bytes:
        return struct.pack("<Q", len(new_header)) + new_header + data

    return {
        "empty": b"",
        "tiny": good[:5],
        "cut": good[:-100],
        "cut in header": good[:50],
        "longer": good + b"xx",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3438167540\n",
        "html": b"\n<!DOCTYPE html><html>404</html>" * 9,
        "zip": b"PK\x03\x04" + bytes(500),
        "pickle": b"\x80\x02}q\x00" + bytes(500),
        "zeros": bytes(len(good)),
        "garbage": bytes(byte ^ 0x5A for byte in good),
        "not json": file(b"{" + b"?" * (length - 1)),
        "a list": file(b"[1, 2]"),
        "twice": file(b'{"a":{"data_offsets":[0,4]},"a":{"data_offsets":[0,4]}}'),
        "no offsets": file(b'{"a":{"dtype":"F32"}}'),
        "strange type": file(header.replace(b'"F32"', b'"F99"')),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "cause"),
    {
        "empty": "is empty",
        "tiny": "not a whole safetensors file (5 bytes)",
        "cut": "is cut short",
        "cut in header": "not a whole safetensors file",
        "longer": "bytes at its end",
        "lfs": "git-lfs pointer",
        "html": "web page",
        "zip": "PyTorch file",
        "pickle": "PyTorch file",
        "zeros": "not a whole",
        "garbage": "safetensors",
        "not json": "damaged header",
        "a list": "damaged header",
        "twice": "'a' appears twice",
        "no offsets": "damaged header",
        "strange type": "cannot be read",
    }.items(),
)
def test_damaged_weights_are_named(folder, kind, cause):
    path = folder / UNET_WEIGHTS
    path.write_bytes(damaged(kind, path.read_bytes()))
    assert lacking(refusal(folder), str(path), cause) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite(folder, value, dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder / VAE_WEIGHTS).items()}
    tensors["decoder.conv_in.bias"][3] = value
    save_file(tensors, folder / VAE_WEIGHTS)
    assert (
        lacking(
            refusal(folder),
            VAE_WEIGHTS.split("/")[1],
            "NaN or infinite numbers in decoder.conv_in.bias",
            "another copy",
        )
        == []
    )


def test_missing_unexpected_and_misshaped_tensors(folder):
    tensors = load_file(folder / UNET_WEIGHTS)
    count = len(tensors)
    gone = [name for name in tensors if name.startswith("mid_block.")]
    kept = {name: tensor for name, tensor in tensors.items() if name not in gone}
    kept["conv_in.weight"] = torch.zeros(8, 5, 3, 3)
    kept["../../x"] = torch.zeros(1)
    save_file(kept, folder / UNET_WEIGHTS)
    message = refusal(folder)
    assert (
        lacking(
            message,
            UNET_WEIGHTS,
            f"{len(gone)} missing",
            f"and {len(gone) - 3} more",
            "1 unexpected: ../../x",
        )
        == []
    )
    assert "1 of another shape: conv_in.weight (8, 5, 3, 3) instead of (8, 4, 3, 3)" in message
    assert len(re.findall("mid_block", message)) == 3 and len(gone) > 10 and count > len(gone)
    save_file({"x": torch.zeros(1)}, folder / UNET_WEIGHTS)
    assert lacking(refusal(folder), f"{count} missing") == []
    save_file(tensors | {"conv_in.bias": torch.zeros(8, dtype=torch.int64)}, folder / UNET_WEIGHTS)
    assert lacking(refusal(folder), "1 of integers: conv_in.bias") == []


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"', "\x00", "null", "[" * 100_000])
def test_broken_json_is_named(folder, content):
    for name in ("unet/config.json", "model_index.json", "scheduler/scheduler_config.json"):
        before = (folder / name).read_text()
        (folder / name).write_text(content)
        assert lacking(refusal(folder), str(Path(name)), "JSON") == []
        (folder / name).write_text(before)


@pytest.mark.parametrize(
    ("name", "changes", "texts"),
    [
        ("model_index.json", {"_class_name": "StableDiffusionXLPipeline"}, ["StableDiffusionXLPipeline"]),
        ("unet/config.json", {"freq_shift": 1}, ["freq_shift is 1"]),
        ("unet/config.json", {"addition_embed_type": "text_time"}, ["addition_embed_type is 'text_time'"]),
        ("unet/config.json", {"down_block_types": ["DownBlock3D"] * 3}, ["DownBlock3D"]),
        ("unet/config.json", {"attention_head_dim": [1, 2]}, ["attention_head_dim"]),
        ("unet/config.json", {"block_out_channels": "wide"}, ["unet"]),
        ("unet/config.json", {"norm_num_groups": 5}, ["no network can be made"]),
        ("unet/config.json", {"norm_num_groups": 0}, ["unet"]),
        ("unet/config.json", {"layers_per_block": 2}, ["missing"]),
        ("unet/config.json", {"block_out_channels": [8, 16, 48]}, ["of another shape"]),
        (
            "unet/config.json",
            {"cross_attention_dim": 32},
            ["width 24, the U-Net reads 32", "different models"],
        ),
        ("vae/config.json", {"latent_channels": 8}, ["gives 4 channels, the autoencoder reads 8"]),
        ("vae/config.json", {"use_quant_conv": False}, ["use_quant_conv is False"]),
        ("text_encoder/config.json", {"hidden_act": "relu"}, ["relu"]),
        ("text_encoder/config.json", {"vocab_size": 100}, ["the text encoder knows 100"]),
        ("text_encoder/config.json", {"max_position_embeddings": 8}, ["16 ids, the text encoder reads 8"]),
        ("scheduler/scheduler_config.json", {"beta_schedule": "steep"}, ["steep", "scheduler_config.json"]),
        ("scheduler/scheduler_config.json", {"trained_betas": [0.1]}, ["trained_betas"]),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "many"}, ["scheduler_config.json"]),
        ("tokenizer/tokenizer_config.json", {"model_max_length": "long"}, ["tokenizer"]),
    ],
)
def test_settings_that_do_not_fit(folder, name, changes, texts):
    edit(folder / name, **changes)
    assert lacking(refusal(folder), *texts) == []


def test_settings_are_checked_before_weights_are_read(folder):
    (folder / UNET_WEIGHTS).write_bytes(b"")
    edit(folder / "text_encoder" / "config.json", hidden_size=30)
    assert lacking(refusal(folder), "width 30") == []


def test_the_published_ids_of_the_text_encoder_and_a_missing_scaling_factor(folder):
    edit(folder / "text_encoder" / "config.json", bos_token_id=0, eos_token_id=2, pad_token_id=1)
    config = json.loads((folder / "vae" / "config.json").read_text())
    del config["scaling_factor"]
    (folder / "vae" / "config.json").write_text(json.dumps(config))
    read = load_folder(folder)
    assert read.vae.config.scaling_factor == 0.18215 and read.text_encoder.config.eos_token_id == 49407


def test_saving_never_destroys(parts, tmp_path):
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.png").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match="holds other files"):
            save_folder(parts, other, overwrite=overwrite)
    with pytest.raises(CheckpointError, match="it is a file"):
        save_folder(parts, other / "cat.png")
    assert (other / "cat.png").read_text() == "precious"
    model = tmp_path / "deep" / "model"
    save_folder(parts, model)
    with pytest.raises(CheckpointError, match="pass overwrite=True"):
        save_folder(parts, model)
    (model / "README.md").write_text("a model card")
    changed = replace(parts, unet=randomise(UNet(parts.unet.config), 9))
    save_folder(changed, model, dtype=torch.float32, overwrite=True)
    assert same_numbers(load_folder(model).unet, changed.unet.state_dict())
    assert (model / "README.md").read_text() == "a model card"
    (tmp_path / "empty").mkdir()
    save_folder(parts, tmp_path / "empty")
    assert sorted(os.listdir(tmp_path)) == ["deep", "empty", "photos"] and os.listdir(model.parent) == [
        "model"
    ]


@pytest.mark.parametrize(("value", "cause"), [(float("nan"), "NaN"), (1e6, "too large for torch.float16")])
def test_a_failed_save_leaves_the_old_model(parts, tmp_path, value, cause):
    model = save_folder(parts, tmp_path / "model", dtype=torch.float32)
    spoilt = randomise(AutoencoderKL(parts.vae.config), 4)
    with torch.no_grad():
        spoilt.quant_conv.bias[0] = value
    with pytest.raises(CheckpointError, match=f"quant_conv.bias are {cause}"):
        save_folder(replace(parts, vae=spoilt), model, overwrite=True)
    assert same_numbers(load_folder(model).vae, parts.vae.state_dict())
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.slow
def test_loading_does_not_start_the_compiler_of_torch(saved, repository):
    # Random numbers on the meta device would load torch._dynamo: two seconds in front of every first picture.
    code = f"import sys, sdlearn.checkpoint as c; c.load_folder({str(saved)!r}); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    modules = result.stdout.split()
    assert "sdlearn.unet" in modules and "torch._dynamo" not in modules, result.stderr


def of_one_network(parts: Parts, kind: str):
    """A network, how to save and to open it, for each kind of folder that holds one network."""
    if kind == "a classifier":
        return NoisyClassifier(["cat"], [16]), save_classifier, load_classifier
    if kind == "a decoder":
        vae = AutoencoderKL(parts.vae.config)
        return vae, save_decoder, lambda folder: swap_decoder(vae, folder)
    unet = UNet(replace(parts.unet.config, attention_levels=(False,) * 3, mid_attention=False))
    return unet, lambda unet, folder: save_pixel_model(unet, ScheduleConfig(), folder), load_pixel_model


@pytest.mark.parametrize("kind", ["a classifier", "a decoder", "a model of pixels"])
def test_one_network_is_written_whole_or_not_at_all(parts, tmp_path, kind):
    network, save, opened = of_one_network(parts, kind)
    last = [t for name, t in network.state_dict().items() if name.endswith("out.bias")][-1]
    kept = last[0].item()
    for broken, cause in ((float("nan"), "NaN or infinite"), (1e6, "too large for torch.float16")):
        last[0] = broken
        with pytest.raises(CheckpointError, match=cause):
            save(network, str(tmp_path / "new"))
        assert list(tmp_path.iterdir()) == []
    last[0] = kept
    save(network, str(tmp_path / "new"))  # nothing stands in the way of a second try
    opened(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="is not empty; name another folder"):
        save(network, tmp_path / "new")
    file = next(iter(before))
    with pytest.raises(CheckpointError, match="it is a file; name a folder"):
        save(network, file)
    with pytest.raises(CheckpointError, match="cannot write .*; name another place"):
        save(network, file / "below")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (tmp_path / "empty").mkdir()
    save(network, tmp_path / "empty")
    opened(tmp_path / "empty")
