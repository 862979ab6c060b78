"""Damaged, mistaken and malicious checkpoints: each ends in one short CheckpointError, at once, and no code runs.

Every case is a file or a folder that a user could be given. What must hold for each: at most six lines that name the
file and say what to do, under two seconds, less than 200 MB more memory, and no trace of the canary.
"""

import io
import json
import os
import pickle
import struct
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save, save_file

from sdlearn import CheckpointError, StableDiffusion
from sdlearn.checkpoint import open_vae, save_folder, write_single_file
from sdlearn.checkpoint.files import LONGEST_HEADER
from sdlearn.tokenizer import Tokenizer
from sdlearn.tokenizer_training import train_bpe, vocabulary
from tests.small_pipeline import small_parts

REMEDIES = (
    "again",
    "load in",
    "take",
    "give",
    "pass",
    "rename",
    "run",
    "download",
    "name",
    "finish",
    "unset",
    "copy",
)
SECONDS, MEGABYTES = 2.0, 200


@pytest.fixture(scope="module")
def tokenizer():
    merges = train_bpe(["an orange cat standing on a red castle"], 20)
    return Tokenizer(vocabulary(merges), merges, max_length=16)


@pytest.fixture(scope="module")
def good(tokenizer, tmp_path_factory):
    """The bytes of a whole, sound file of SD 1, and its tensors."""
    path = tmp_path_factory.mktemp("good") / "model.safetensors"
    write_single_file(small_parts("SD 1", tokenizer), path, torch.float16)
    return path.read_bytes(), load_file(path)


@pytest.fixture(scope="module")
def good_folder(tokenizer, tmp_path_factory):
    return save_folder(small_parts("SD 1", tokenizer), tmp_path_factory.mktemp("good") / "folder")


def peak():
    """Megabytes that this process has had at most; 0 where that is not told."""
    if sys.platform != "linux":
        return 0.0
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def refused(path, **arguments):
    """The message of the refusal, after what must hold of every one was checked."""
    before, start = peak(), time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        StableDiffusion.from_pretrained(path, **arguments)
    seconds, message = time.perf_counter() - start, str(caught.value)
    assert seconds < SECONDS, seconds
    assert peak() - before < MEGABYTES
    assert message.count("\n") < 6 and len(message) < 1000, message
    assert Path(str(path).replace("\0", "")).name[:20] in message or "\\x00" in message, message
    assert any(word in message.lower() for word in REMEDIES), message
    assert not Path("canary").exists()
    return message


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Each case has an empty folder to itself: a canary would be seen there. No vocabulary is found anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


# Files of bytes.


def parted(data):
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def changed(data, **entry):
    """The file with the first tensor's entry of the header changed."""
    header, numbers = parted(data)
    name = next(name for name in header if name != "__metadata__")
    header[name] = header[name] | entry
    return joined(header, numbers)


def two_in_one_place(data):
    header, numbers = parted(data)
    names = sorted((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    begin, end = header[names[1]]["data_offsets"]
    header[names[1]]["data_offsets"] = [begin - 2, end - 2]
    return joined(header, numbers)


def with_a_hole(data):
    header, numbers = parted(data)
    for name, entry in header.items():
        if name != "__metadata__":
            entry["data_offsets"] = [end + 8 for end in entry["data_offsets"]]
    return joined(header, bytes(8) + numbers)


def picture():
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    return file.getvalue()


BYTES = {
    "empty": (lambda g: b"", "is empty"),
    "one byte": (lambda g: b"x", "not a whole safetensors file"),
    "cut in the header": (lambda g: g[:99], "not a whole"),
    "cut in the numbers": (lambda g: g[:-1000], "is cut short"),
    "longer than it says": (lambda g: g + bytes(9), "bytes at its end"),
    "git-lfs pointer": (
        lambda g: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "git lfs pull",
    ),
    "web page": (lambda g: b"<!DOCTYPE html><html>" + bytes(900), "is a web page"),
    "web page after blanks": (lambda g: b"\n\n  <html>404</html>" * 30, "is a web page"),
    "error as JSON": (lambda g: b'{"error": "not found", "status": 404}', "safetensors"),
    "zip under another name": (lambda g: b"PK\x03\x04" + bytes(900), "is a PyTorch file"),
    "pickle under another name": (lambda g: b"\x80\x02}q\x00." + bytes(900), "is a PyTorch file"),
    "header of 2**63 bytes": (lambda g: struct.pack("<Q", 2**63) + g[8:], "not a whole"),
    "header of the whole file and more": (lambda g: struct.pack("<Q", len(g)) + g[8:], "not a whole"),
    "header of megabytes": (lambda g: joined(b" " * (LONGEST_HEADER + 1), b""), "claims a header of"),
    "no header": (lambda g: bytes(8) + g[8:], "not a whole"),
    "nested a thousand times": (lambda g: joined(b'{"a":' * 9999 + b"}" * 9999, b""), "damaged header"),
    "header not UTF-8": (lambda g: joined(b'{"\xff\xfe": 1}', b""), "damaged header"),
    "header a list": (lambda g: joined([1, 2, 3], b""), "damaged header"),
    "header a number": (lambda g: joined(b"7       ", b""), "damaged header"),
    "header cut by a quote": (lambda g: joined(b'{"a": "b', b""), "damaged header"),
    "a name twice": (
        lambda g: joined(b'{"a":{"data_offsets":[0,4]},"a":{"data_offsets":[0,4]}}', bytes(4)),
        "appears twice",
    ),
    "one place for two": (two_in_one_place, "cannot be read"),
    "a hole": (with_a_hole, "cannot be read"),
    "negative place": (lambda g: changed(g, data_offsets=[-4, 4]), "safetensors"),
    "place backwards": (lambda g: changed(g, data_offsets=[8, 0]), "safetensors"),
    "place of text": (lambda g: changed(g, data_offsets=["0", "x"]), "damaged header"),
    "place of three": (lambda g: changed(g, data_offsets=[0, 1, 2]), "safetensors"),
    "place of nothing": (lambda g: changed(g, data_offsets=None), "damaged header"),
    "shape not of its size": (lambda g: changed(g, shape=[3, 5]), "cannot be read"),
    "shape of 2**62": (lambda g: changed(g, shape=[2**62, 2**62]), "cannot be read"),
    "negative shape": (lambda g: changed(g, shape=[-1, 4]), "cannot be read"),
    "unknown type": (lambda g: changed(g, dtype="F31"), "cannot be read"),
    "type of text": (lambda g: changed(g, dtype={"x": 1}), "cannot be read"),
    "zeros": (lambda g: bytes(5000), "not a whole"),
    "noise": (lambda g: np.random.default_rng(1).bytes(5000), "safetensors"),
    "gzip": (lambda g: b"\x1f\x8b\x08" + bytes(900), "safetensors"),
    "a picture": (lambda g: picture(), "safetensors"),
    "no tensors": (lambda g: joined({}, b""), "holds no U-Net"),
    "metadata alone": (lambda g: joined({"__metadata__": {"format": "pt"}}, b""), "holds no U-Net"),
}


@pytest.mark.parametrize("kind", BYTES)
def test_bytes(good, kind, tmp_path):
    make, cause = BYTES[kind]
    path = tmp_path / "model.safetensors"
    path.write_bytes(make(good[0]))
    assert cause in refused(path)


# Whole files with the wrong tensors.

UNET, TEXT = "model.diffusion_model.", "cond_stage_model.transformer.text_model."
FIRST = UNET + "input_blocks.0.0.weight"


def without(tensors, prefix):
    return {name: t for name, t in tensors.items() if not name.startswith(prefix)}


def only(tensors, prefix, to=""):
    return {to + name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def spoilt(tensors, value):
    other = tensors[FIRST].clone()
    other.view(-1)[7] = value
    return tensors | {FIRST: other}


TENSORS = {
    "a NaN": (lambda t: spoilt(t, float("nan")), "holds NaN or infinite numbers in"),
    "an infinity": (lambda t: spoilt(t, float("inf")), "holds NaN or infinite"),
    "whole numbers": (lambda t: t | {FIRST: t[FIRST].to(torch.int32)}, "1 of integers"),
    "truth values": (lambda t: t | {FIRST: t[FIRST] > 0}, "1 of integers"),
    "one too few": (lambda t: without(t, UNET + "out.0.bias"), "1 missing: conv_norm_out.bias"),
    "one too many": (lambda t: t | {UNET + "extra": torch.zeros(1)}, "extra', which belongs to no"),
    "turned": (lambda t: t | {FIRST: t[FIRST].transpose(0, 1).contiguous()}, "conv_in.weight (4, 64, 3, 3)"),
    "a number for a matrix": (
        lambda t: t | {UNET + "time_embed.0.weight": torch.zeros(())},
        "1 of another shape",
    ),
    "nothing for a matrix": (
        lambda t: t | {UNET + "time_embed.0.weight": torch.zeros(0, 64)},
        "1 of another shape",
    ),
    "a first layer of no shape": (lambda t: t | {FIRST: torch.zeros(())}, "not of Stable Diffusion 1 or 2"),
    "Stable Diffusion XL": (
        lambda t: (
            t | {"conditioner.embedders.0.x": torch.zeros(1), UNET + "label_emb.0.0.weight": torch.zeros(1)}
        ),
        "of Stable Diffusion XL",
    ),
    "a LoRA": (
        lambda t: {"lora_unet_down_blocks_0_attn1_to_q.lora_down.weight": torch.zeros(4, 8)},
        "of a LoRA",
    ),
    "a LoRA of diffusers": (lambda t: {"unet.down.to_q.lora_A.weight": torch.zeros(4, 8)}, "of a LoRA"),
    "a ControlNet": (lambda t: {"control_model.zero_convs.0.0.weight": torch.zeros(4)}, "of a ControlNet"),
    "a textual inversion": (lambda t: {"emb_params": torch.zeros(2, 768)}, "of a textual inversion"),
    "Stable Diffusion 3": (
        lambda t: {"model.diffusion_model.joint_blocks.0.x": torch.zeros(2)},
        "of a newer kind",
    ),
    "an autoencoder alone": (lambda t: only(t, "first_stage_model."), "is an autoencoder (VAE) alone"),
    "an autoencoder with its prefix": (
        lambda t: {name: x for name, x in t.items() if name.startswith("first_stage_model.")},
        "is an autoencoder (VAE) alone",
    ),
    "no autoencoder": (lambda t: without(t, "first_stage_model."), "holds no autoencoder"),
    "no text encoder": (lambda t: without(t, "cond_stage_model."), "holds no text encoder"),
    "a U-Net of a folder": (
        lambda t: {"down_blocks.0.resnets.0.conv1.weight": torch.zeros(4)},
        "of one network",
    ),
    "of something else": (lambda t: {"bert.encoder.layer.0": torch.zeros(4)}, "holds no U-Net"),
    "a level without end": (
        lambda t: t | {UNET + "input_blocks.999999999.0.op.weight": torch.zeros(1)},
        "Stable Diffusion",
    ),
    "a block of a billion": (
        lambda t: (
            without(t, UNET + "input_blocks.3.0.op")
            | {UNET + "input_blocks.999999999.0.op.weight": torch.zeros(1)}
        ),
        "Stable Diffusion",
    ),
    "a number too long to read": (
        lambda t: t | {f"{UNET}input_blocks.{'9' * 5000}.0.op.weight": torch.zeros(1)},
        "Stable Diffusion",
    ),
    "no words": (
        lambda t: without(t, TEXT + "embeddings.token_embedding"),
        "not of Stable Diffusion 1 or 2",
    ),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors(good, tokenizer, kind, tmp_path):
    make, cause = TENSORS[kind]
    path = tmp_path / "model.safetensors"
    save_file(make(good[1]), path)
    tokenizer.save(tmp_path / "tokenizer")
    assert cause in refused(path)


def test_a_file_of_sd_2_must_be_told_what_it_predicts(tokenizer, tmp_path):
    path = write_single_file(small_parts("SD 2", tokenizer), tmp_path / "model.safetensors")
    message = refused(path)
    assert "'epsilon'" in message and "'v_prediction'" in message
    assert "is unknown" in str(
        pytest.raises(CheckpointError, StableDiffusion.from_pretrained, path, prediction_type="x").value
    )


def test_numbers_too_large_for_half_precision(good, tokenizer, tmp_path):
    tensors = {name: t.float() for name, t in good[1].items()}
    save_file(spoilt(tensors, 1e6), tmp_path / "model.safetensors")
    tokenizer.save(tmp_path / "tokenizer")
    assert "too large for torch.float16" in refused(tmp_path / "model.safetensors", dtype=torch.float16)


# Pickles.


class Call:
    """Unpickled by plain pickle, it calls; every one of these would leave a canary or worse."""

    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


TOUCH = "open('canary', 'w').close()"
CALLS = {
    "os.system": lambda: Call(os.system, "touch canary || echo > canary"),
    "os.popen": lambda: Call(os.popen, "touch canary"),
    "eval": lambda: Call(eval, TOUCH),
    "exec": lambda: Call(exec, TOUCH),
    "open": lambda: Call(open, "canary", "w"),
    "subprocess": lambda: Call(__import__("subprocess").call, [sys.executable, "-c", TOUCH]),
    "runpy": lambda: Call(__import__("runpy").run_path, "canary.py"),
    "__import__": lambda: Call(__import__, "antigravity"),
    "getattr": lambda: Call(getattr, "canary", "upper"),
    "pathlib": lambda: Call(Path.touch, Path("canary")),
    "shutil": lambda: Call(__import__("shutil").rmtree, "nothing"),
    "webbrowser": lambda: Call(__import__("webbrowser").open, "http://localhost"),
    "importlib": lambda: Call(__import__("importlib").import_module, "this"),
    "compile": lambda: Call(compile, TOUCH, "x", "exec"),
    "torch.load": lambda: Call(torch.load, "canary"),
    "torch.save": lambda: Call(torch.save, 1, "canary"),
    "pickle in a pickle": lambda: Call(pickle.loads, pickle.dumps(Call(eval, TOUCH))),
    "numpy.load": lambda: Call(np.load, "canary", None, True),
    "sys.exit": lambda: Call(sys.exit, 3),
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_no_code_of_a_pickle_runs(kind, wrapped, tmp_path):
    content = {"weight": torch.zeros(2), "evil": CALLS[kind]()}
    torch.save({"state_dict": content} if wrapped else content, tmp_path / "model.ckpt")
    message = refused(tmp_path / "model.ckpt")
    assert "(it asks for " in message and "sdlearn runs no code from a file" in message
    assert sorted(os.listdir(tmp_path)) == ["model.ckpt"]


def test_the_canary_sings():
    """Otherwise the cases above prove nothing: plain pickle does run them."""
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(Call(eval, "open('canary', 'w').close() + 1")))
    assert Path("canary").exists()


def own_state():
    content = {"x": torch.zeros(2)}
    content["state_dict"] = content
    return content


def repeated():
    """A tensor of a terabyte that is one number, repeated."""
    return {"x": torch.zeros(1).expand(2**40)}


def archive(write):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        write(opened)
    return file.getvalue()


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def bomb(opened):
    opened.writestr(zipfile.ZipInfo("model/data.pkl"), bytes(2**28), compress_type=zipfile.ZIP_DEFLATED)


def nested(opened):
    opened.writestr("model/inner.zip", saved({"x": torch.zeros(1)}))


def twice(opened):
    opened.writestr("a/data.pkl", pickle.dumps(1))
    opened.writestr("b/data.pkl", pickle.dumps(Call(eval, TOUCH)))


PICKLED = {
    "a list": (lambda: saved([torch.zeros(2)]), "holds no table"),
    "a tensor": (lambda: saved(torch.zeros(2)), "holds no table"),
    "a text": (lambda: saved("cat"), "holds no table"),
    "numbers": (lambda: saved({"a": 1, "b": 2}), "holds no table"),
    "itself in itself": (lambda: saved(own_state()), "holds no U-Net"),
    "names that are numbers": (lambda: saved({1: torch.zeros(2)}), "holds no table of plain tensors"),
    "sparse": (lambda: saved({"x": torch.zeros(3, 3).to_sparse()}), "holds no table of plain tensors"),
    "one number a terabyte long": (lambda: saved(repeated()), "holds no table of plain tensors"),
    "old format": (
        lambda: saved({"x": torch.zeros(2)}, _use_new_zipfile_serialization=False),
        "format from before 2020",
    ),
    "cut": (lambda: saved({"x": torch.zeros(99)})[:-300], "no whole PyTorch file"),
    "an archive of nothing": (lambda: archive(lambda opened: None), "none that PyTorch wrote"),
    "an archive in an archive": (lambda: archive(nested), "none that PyTorch wrote"),
    "a bomb": (lambda: archive(bomb), "none that PyTorch wrote"),
    "two programs": (lambda: archive(twice), "none that PyTorch wrote"),
    "a program alone": (
        lambda: archive(lambda opened: opened.writestr("m/data.pkl", pickle.dumps(Call(eval, TOUCH)))),
        "sdlearn runs no code",
    ),
    "safetensors under another name": (lambda: save({"x": torch.zeros(2)}), "rename it"),
    "empty": (lambda: b"", "is empty"),
    "web page": (lambda: b"<html>login</html>" * 9, "is a web page"),
    "git-lfs pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "noise": (lambda: np.random.default_rng(2).bytes(5000), "no whole PyTorch file"),
}


@pytest.mark.parametrize("kind", PICKLED)
def test_pickled_files(kind, tmp_path):
    make, cause = PICKLED[kind]
    (tmp_path / "model.ckpt").write_bytes(make())
    assert cause in refused(tmp_path / "model.ckpt")


# Things in the file system.


def test_places(good_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "model_index.json is missing" in refused(tmp_path / "empty")
    (tmp_path / "model.safetensors").mkdir()
    refused(tmp_path / "model.safetensors")
    refused(tmp_path / "nothing.safetensors")
    refused("x" * 5000)
    refused("model\0.safetensors")
    if sys.platform == "win32":
        return
    (tmp_path / "loop.safetensors").symlink_to(tmp_path / "loop.safetensors")
    refused(tmp_path / "loop.safetensors")
    (tmp_path / "broken.safetensors").symlink_to(tmp_path / "not there")
    refused(tmp_path / "broken.safetensors")
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "is not a plain file" in refused(tmp_path / "pipe.safetensors")
    (tmp_path / "zero.ckpt").symlink_to("/dev/zero")
    assert "is not a plain file" in refused(tmp_path / "zero.ckpt")


def config_of(part, **changes):
    def change(folder):
        path = folder / part
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def replaced(name, content):
    def change(folder):
        (folder / name).write_bytes(content)

    return change


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
FOLDERS = {
    "another pipeline": (
        config_of("model_index.json", _class_name="StableDiffusionXLPipeline"),
        "XLPipeline",
    ),
    "layers without end": (config_of("unet/config.json", layers_per_block=10**9), "no model has that"),
    "layers of text without end": (
        config_of("text_encoder/config.json", num_hidden_layers=10**9),
        "no model has that",
    ),
    "levels without end": (config_of("vae/config.json", block_out_channels=[8] * 10**5), "no model has that"),
    "channels of 10**12": (config_of("vae/config.json", block_out_channels=[10**12, 10**12]), "vae"),
    "channels that are text": (config_of("unet/config.json", block_out_channels="many"), "unet"),
    "no heads": (config_of("unet/config.json", attention_head_dim=0), "unet"),
    "settings that are a list": (replaced("unet/config.json", b"[1, 2]"), "must hold a JSON object"),
    "settings nested": (replaced("unet/config.json", b'{"a":' * 99999), "not readable JSON"),
    "settings of megabytes": (replaced("vae/config.json", b" " * (2**24 + 1)), "too long for settings"),
    "noise that is none": (config_of("scheduler/scheduler_config.json", beta_end="nan"), "scheduler"),
    "timesteps without end": (
        config_of("scheduler/scheduler_config.json", num_train_timesteps=10**12),
        "scheduler",
    ),
    "words that are a list": (replaced("tokenizer/vocab.json", b"[]"), "vocab.json"),
    "merges of one": (replaced("tokenizer/merges.txt", b"#version: 0.2\nabc\n"), "merges.txt"),
    "a number as text": (
        config_of("unet/config.json", layers_per_block="2"),
        "layers_per_block must be like 2",
    ),
    "a size as text": (config_of("text_encoder/config.json", vocab_size="x"), "vocab_size must be like"),
    "a factor as text": (config_of("vae/config.json", scaling_factor="x"), "vae"),
    "a factor of zero": (config_of("vae/config.json", scaling_factor=0), "scaling_factor must be above 0"),
    "a list for a number": (config_of("unet/config.json", sample_size=[8, 8]), "sample_size must be like"),
    "an offset as text": (config_of("scheduler/scheduler_config.json", steps_offset="x"), "steps_offset"),
    "a sample for a prediction": (
        config_of("scheduler/scheduler_config.json", prediction_type="sample"),
        "prediction_type is 'sample'",
    ),
    "a third order": (config_of("scheduler/scheduler_config.json", solver_order=3), "solver_order is 3"),
    "weights cut": (replaced(WEIGHTS, b"xyz"), "not a whole"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders(good_folder, kind, tmp_path):
    import shutil

    change, cause = FOLDERS[kind]
    copy = shutil.copytree(good_folder, tmp_path / "model")
    change(copy)
    assert cause in refused(copy)


def test_there_are_enough_cases():
    assert len(BYTES) + len(TENSORS) + 2 * len(CALLS) + len(PICKLED) + len(FOLDERS) >= 60


@pytest.mark.slow
def test_flipped_bits_of_a_header(tokenizer, tmp_path):
    """2,000 of them, each in a valid file: the same numbers, or a CheckpointError; nothing else, ever."""
    vae = small_parts("SD 1", tokenizer).vae
    whole = {f"first_stage_model.{name}": t for name, t in vae.state_dict().items()}
    path = tmp_path / "vae.safetensors"
    names = {name.removeprefix("first_stage_model."): name for name in whole}
    from sdlearn.checkpoint.single_file_names import vae_table

    table = vae_table(names, vae.config)
    save_file({table[ours]: t for ours, t in vae.state_dict().items()}, path)
    data = bytearray(path.read_bytes())
    length = 8 + struct.unpack("<Q", data[:8])[0]
    generator = torch.Generator().manual_seed(3)
    wanted, kept = vae.state_dict(), 0
    for _ in range(2000):
        place, bit = (int(torch.randint(0, end, (1,), generator=generator)) for end in (length, 8))
        data[place] ^= 1 << bit
        path.write_bytes(data)
        data[place] ^= 1 << bit
        try:
            read = open_vae(path).load().state_dict()
        except CheckpointError:
            continue
        kept += 1
        assert read.keys() == wanted.keys() and all(torch.equal(read[name], wanted[name]) for name in wanted)
    assert kept < 1000  # most flips are noticed


# A tokenizer in one file.

HOSTILE_TOKENIZERS = {
    "a model that is a list": ({"model": [1]}, "holds no byte-pair encoding"),
    "merges of numbers": ({"model": {"vocab": {}, "merges": [1]}}, "two symbols a line"),
    "merges of lists": ({"model": {"vocab": {}, "merges": [[["a"], "b"]]}}, "two symbols a line"),
    "nothing": ({}, "holds no byte-pair encoding"),
}


@pytest.mark.parametrize("kind", HOSTILE_TOKENIZERS)
def test_tokenizers_in_one_file(good_folder, kind, tmp_path):
    import shutil

    content, cause = HOSTILE_TOKENIZERS[kind]
    copy = shutil.copytree(good_folder, tmp_path / "model")
    (copy / "tokenizer" / "vocab.json").unlink()
    (copy / "tokenizer" / "tokenizer.json").write_text(json.dumps(content))
    assert cause in refused(copy)


@pytest.mark.parametrize(
    ("name", "entry", "cause"),
    [
        ("tokenizer_config.json", {"model_max_length": -float("inf")}, "is not a number"),
        ("special_tokens_map.json", {"pad_token": {"content": ["x"]}}, "padding token"),
    ],
)
def test_settings_of_a_tokenizer(good_folder, name, entry, cause, tmp_path):
    import shutil

    copy = shutil.copytree(good_folder, tmp_path / "model")
    (copy / "tokenizer" / name).write_text(json.dumps(entry))
    assert cause in refused(copy)
