"""Single files: what we write, we and diffusers read; what a training left in them is told."""

import copy
import gzip
import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdlearn import StableDiffusion
from sdlearn.checkpoint import (
    CheckpointError,
    load_checkpoint,
    open_checkpoint,
    open_single_file,
    open_vae,
    save_folder,
    write_single_file,
)
from sdlearn.tokenizer import Tokenizer
from sdlearn.tokenizer_training import train_bpe, vocabulary
from sdlearn.vae import AutoencoderKL
from tests.small_pipeline import FAMILIES, randomise, small_parts


@pytest.fixture(scope="module")
def tokenizer():
    merges = train_bpe(["an orange cat standing on a red castle"], 20)
    return Tokenizer(vocabulary(merges), merges, max_length=16)


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_written_file_is_read_as_it_was(tmp_path, tokenizer, family):
    parts = small_parts(family, tokenizer)
    path = write_single_file(parts, tmp_path / "model.safetensors", torch.float32)
    opened = open_single_file(path, "epsilon")
    read = opened.load(tokenizer)
    for part in ("unet", "vae", "text_encoder"):
        assert equal(getattr(read, part), getattr(parts, part)), part
        assert getattr(read, part).config == getattr(parts, part).config
    assert opened.family == family.replace("SD", "Stable Diffusion")
    used = {place.name for part in opened.parts.values() for place in part.table.values()}
    assert len(used) + sum(opened.ignored.values()) == len(load_file(path))


@pytest.mark.parametrize("family", ["SD 1", "SD 2"])
def test_diffusers_reads_the_file(tmp_path, tokenizer, family):
    """With the settings of a folder beside it, and the same numbers in every tensor."""
    diffusers = pytest.importorskip("diffusers")
    parts = small_parts(family, tokenizer)
    folder = save_folder(parts, tmp_path / "folder", torch.float32)
    path = write_single_file(parts, tmp_path / "model.safetensors", torch.float32)
    theirs = diffusers.StableDiffusionPipeline.from_single_file(
        str(path), config=str(folder), local_files_only=True
    )
    for part in ("unet", "vae"):
        ours = getattr(parts, part).state_dict()
        read = getattr(theirs, part).state_dict()
        assert ours.keys() == read.keys()
        assert all(torch.equal(ours[name], read[name]) for name in ours), part
    text = {name.removeprefix("text_model."): t for name, t in theirs.text_encoder.state_dict().items()}
    ours = parts.text_encoder.state_dict()
    assert ours.keys() <= text.keys()
    assert all(torch.equal(ours[name], text[name]) for name in ours)


def test_what_a_training_left_is_ignored_and_counted(tmp_path, tokenizer):
    parts = small_parts("SD 1", tokenizer)
    file = load_file(write_single_file(parts, tmp_path / "model.safetensors", torch.float32))
    file |= {f"model_ema.{k}": torch.zeros(1) for k in range(3)}
    file |= {"betas": torch.zeros(2), "first_stage_model.loss.logvar": torch.zeros(1)}
    file["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(16)
    save_file(file, tmp_path / "left.safetensors")
    opened = open_single_file(tmp_path / "left.safetensors")
    assert equal(opened.load(tokenizer).unet, parts.unet)
    assert opened.ignored["averaged weights: the plain ones are used"] == 3
    assert sum(opened.ignored.values()) == 6
    report = str(opened)
    assert "Stable Diffusion 1, predicts epsilon" in report and "3 tensors: averaged weights" in report
    assert f"{sum(p.numel() for p in parts.unet.parameters()):,} parameters" in report


def test_ckpt_files_without_code_are_read_also_without_the_text_prefix(tmp_path, tokenizer):
    parts = small_parts("SD 1", tokenizer)
    file = load_file(write_single_file(parts, tmp_path / "model.safetensors", torch.float32))
    bare = {name.replace("transformer.text_model.", "transformer."): t for name, t in file.items()}
    torch.save({"state_dict": bare, "global_step": 7}, tmp_path / "model.ckpt")
    read = open_single_file(tmp_path / "model.ckpt").load(tokenizer)
    assert all(equal(getattr(read, part), getattr(parts, part)) for part in ("unet", "vae", "text_encoder"))


class Canary:
    def __reduce__(self):
        return (open, ("canary.txt", "w"))


def test_code_in_a_ckpt_never_runs(tmp_path, tokenizer, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"x": Canary()}}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="sdlearn runs no code from a file"):
        open_single_file(tmp_path / "model.ckpt")
    assert not (tmp_path / "canary.txt").exists()


def test_what_is_no_stable_diffusion_1_or_2(tmp_path, tokenizer):
    parts = small_parts("SD 2", tokenizer)
    path = write_single_file(parts, tmp_path / "model.safetensors", torch.float32)
    with pytest.raises(CheckpointError, match="does not say what its U-Net predicts"):
        open_single_file(path).load(tokenizer)
    assert "what nobody has said (--prediction)" in str(open_single_file(path))
    with pytest.raises(CheckpointError, match="it exists; give another name"):
        write_single_file(parts, path)
    file = load_file(path)
    save_file({**file, "conditioner.embedders.1.x": torch.zeros(1)}, tmp_path / "xl.safetensors")
    with pytest.raises(CheckpointError, match="is of Stable Diffusion XL"):
        open_single_file(tmp_path / "xl.safetensors", "epsilon")
    save_file(
        {name: t for name, t in file.items() if "first_stage" not in name}, tmp_path / "half.safetensors"
    )
    with pytest.raises(CheckpointError, match="holds no autoencoder"):
        open_single_file(tmp_path / "half.safetensors", "epsilon")
    save_file(
        {name: t for name, t in file.items() if "time_embed.0.bias" not in name},
        tmp_path / "less.safetensors",
    )
    with pytest.raises(CheckpointError, match="1 missing: time_embedding.linear_1.bias"):
        open_single_file(tmp_path / "less.safetensors", "epsilon")


@pytest.mark.parametrize("family", ["SD 1", pytest.param("SD 2", marks=pytest.mark.slow)])
def test_a_pipeline_from_a_file_draws_what_the_folder_draws(tmp_path, tokenizer, family):
    parts = small_parts(family, tokenizer)
    if family == "SD 2":
        padded = Tokenizer(tokenizer.vocab, tokenizer.merges, tokenizer.max_length, pad_token_id=0)
        parts = replace(parts, tokenizer=padded)
    folder = save_folder(parts, tmp_path / "folder", torch.float32)
    tokenizer.save(tmp_path / "words")  # without a word on padding other than SD 1's
    path = write_single_file(parts, tmp_path / "model v1.5.safetensors", torch.float32)
    noise = torch.randn(1, 4, 8, 8)
    one = StableDiffusion.from_pretrained(folder)
    two = StableDiffusion.from_pretrained(path, tokenizer=tmp_path / "words", prediction_type="epsilon")
    drawn = [
        pipe.txt2img("an orange cat", num_inference_steps=3, latents=noise).latents for pipe in (one, two)
    ]
    assert torch.equal(*drawn)
    assert two.name == "model v1.5" and two.tokenizer.pad_token_id == one.tokenizer.pad_token_id
    predicts_v = StableDiffusion.from_pretrained(folder, prediction_type="v_prediction")
    assert not torch.equal(
        predicts_v.txt2img("an orange cat", num_inference_steps=3, latents=noise).latents, drawn[0]
    )


def test_a_file_needs_a_vocabulary(tmp_path, tokenizer):
    path = write_single_file(small_parts("SD 1", tokenizer), tmp_path / "model.safetensors", torch.float32)
    with pytest.raises(CheckpointError, match="holds no vocabulary, and none is beside it"):
        StableDiffusion.from_pretrained(path)
    merges = train_bpe(["a cat"], 3)
    Tokenizer(vocabulary(merges), merges, max_length=16).save(tmp_path / "tokenizer")
    with pytest.raises(CheckpointError, match="the given vocabulary has"):
        StableDiffusion.from_pretrained(path)


def test_an_autoencoder_alone_under_all_its_names(tmp_path, tokenizer):
    parts = small_parts("SD 1", tokenizer)
    whole = load_file(write_single_file(parts, tmp_path / "model.safetensors", torch.float32))
    alone = {name: t for name, t in whole.items() if name.startswith("first_stage_model.")}
    bare = {name.removeprefix("first_stage_model."): t for name, t in alone.items()}
    save_file(alone, tmp_path / "prefixed.safetensors")
    save_file(bare, tmp_path / "bare.safetensors")
    torch.save({"state_dict": bare}, tmp_path / "bare.pt")
    folder = save_folder(parts, tmp_path / "folder", torch.float32) / "vae"
    for place in ("model.safetensors", "prefixed.safetensors", "bare.safetensors", "bare.pt"):
        assert equal(open_vae(tmp_path / place).load(), parts.vae), place
    assert equal(open_vae(folder).load(), parts.vae)
    with pytest.raises(CheckpointError, match="give the folder that holds it"):
        open_vae(folder / "diffusion_pytorch_model.safetensors")
    other = replace(parts, vae=randomise(AutoencoderKL(parts.vae.config), 99))
    other_folder = save_folder(other, tmp_path / "other", torch.float32)
    pipe = StableDiffusion.from_pretrained(other_folder, vae=tmp_path / "bare.safetensors")
    assert equal(pipe.vae, parts.vae.to(memory_format=torch.channels_last))


def test_what_is_no_whole_model_is_named_with_its_use(tmp_path, tokenizer):
    parts = small_parts("SD 1", tokenizer)
    folder = save_folder(parts, tmp_path / "model")
    whole = load_file(write_single_file(parts, tmp_path / "model.safetensors"))
    alone = {name: t for name, t in whole.items() if name.startswith("first_stage_model.")}
    vectors = torch.zeros(2, 768)
    files = {
        "prefixed.safetensors": alone,
        "bare.safetensors": {name.removeprefix("first_stage_model."): t for name, t in alone.items()},
        "lora.safetensors": {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": vectors},
        "new.safetensors": {"emb_params": vectors},
        "word.safetensors": {"<cat-toy>": vectors},
    }
    for name, tensors in files.items():
        save_file(tensors, tmp_path / name)
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}}, tmp_path / "old.pt")
    for place, message in {
        "prefixed.safetensors": "is an autoencoder .VAE. alone: give it beside a whole model, as --vae FILE",
        "bare.safetensors": "is an autoencoder .VAE. alone: give it beside a whole model, as --vae FILE",
        "model/vae/diffusion_pytorch_model.safetensors": "is an autoencoder .VAE. alone",
        "model/unet/diffusion_pytorch_model.safetensors": "one network of a checkpoint folder",
        "model/text_encoder/model.safetensors": "one network of a checkpoint folder",
        "model/vae": r"holds one network .AutoencoderKL.*: give it beside a whole model, as --vae FOLDER",
        "model/unet": r"holds one network .UNet2DConditionModel.*: give the folder that holds it and model_index",
        "model/text_encoder": r"holds one network .*CLIPTextModel.*: give the folder that holds it",
        "lora.safetensors": "is of a LoRA, a small addition to a model that sdlearn does not read",
        "new.safetensors": "is of a textual inversion, a few word vectors that sdlearn does not read",
        "word.safetensors": "looks like a textual inversion, a few word vectors that sdlearn does not read",
        "old.pt": "is a textual inversion, a few word vectors that sdlearn does not read",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(tmp_path / place)
    with pytest.raises(CheckpointError, match="give the folder that holds it and its config.json"):
        open_vae(folder / "vae" / "diffusion_pytorch_model.safetensors")


def test_the_report_tells_size_and_safety_checker(tmp_path, tokenizer):
    folder = save_folder(small_parts("SD 1", tokenizer), tmp_path / "model")
    assert "pictures     128 x 128 pixels" in str(open_checkpoint(folder))
    assert "safety       no checker" in str(open_checkpoint(folder))
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "config.json").write_text("{}")
    assert "safety       a checker, used" in str(open_checkpoint(folder))
    file = write_single_file(small_parts("SD 2", tokenizer), tmp_path / "model.safetensors")
    assert "pictures     depends on what it predicts" in str(open_checkpoint(file))
    v = open_checkpoint(file, prediction_type="v_prediction")
    assert "pictures     192 x 192 pixels" in str(v)


def test_the_vocabulary_is_found_in_a_package_and_in_the_hub_cache(tmp_path, monkeypatch):
    """Merges packed as in open_clip, and in a folder as the hub has them; none of the packages is imported."""
    from sdlearn.checkpoint.vocabulary import CLIP_MERGES, tokenizer_for

    words = [f"w{k}" for k in range(100)]
    merges = train_bpe(words, 40)
    monkeypatch.setattr("sdlearn.checkpoint.vocabulary.CLIP_MERGES", len(merges))
    size = len(vocabulary(merges))
    assert CLIP_MERGES == 48894
    cache = tmp_path / "hub" / "models--openai--clip" / "snapshots" / "abc"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    file = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match="pass tokenizer=FOLDER"):
        tokenizer_for(file, None, size, True)
    Tokenizer(vocabulary(merges), merges).save(cache)
    found = tokenizer_for(file, None, size, pad_with_end=False)
    assert found.merges == merges and found.pad_token_id == 0
    package = tmp_path / "site" / "open_clip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('a package is looked for, never imported')")
    text = "\n".join(["headline", *(" ".join(pair) for pair in merges), "one more", ""])
    (package / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nothing"))
    found = tokenizer_for(file, None, size, pad_with_end=True)
    assert found.vocab == vocabulary(merges) and found.pad_token_id == found.eos_token_id


def test_the_same_model_from_every_layout(tmp_path, tokenizer):
    """fp16 variant, shards with an index, .bin: one model, the same numbers."""
    parts = small_parts("SD 1", tokenizer)
    folder = save_folder(parts, tmp_path / "model", torch.float32)
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(unet)
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, own in shards.items():
        save_file({name: tensors[name] for name in own}, folder / "unet" / shard)
    table = {name: shard for shard, own in shards.items() for name in own}
    index = unet.with_name(f"{unet.name}.index.json")
    index.write_text(json.dumps({"weight_map": table}))
    unet.unlink()
    vae = folder / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(vae), vae.with_suffix(".bin"))
    vae.unlink()
    text = folder / "text_encoder" / "model.safetensors"
    torch.save(load_file(text), text.with_name("pytorch_model.bin"))
    save_file(
        {name: t.half() for name, t in load_file(text).items()}, text.with_name("model.fp16.safetensors")
    )
    text.unlink()
    read, _ = load_checkpoint(folder)
    assert equal(read.unet, parts.unet) and equal(read.vae, parts.vae)
    half = {name: t.half().float() for name, t in parts.text_encoder.state_dict().items()}
    assert all(torch.equal(read.text_encoder.state_dict()[name], half[name]) for name in half)
    (folder / "unet" / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match="b.safetensors is missing, one of 2 files"):
        load_checkpoint(folder)
    index.write_text(json.dumps({"weight_map": {"x": "../../secret.safetensors"}}))
    with pytest.raises(CheckpointError, match="which is not beside it"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="model.non_ema.safetensors is missing"):
        load_checkpoint(save_folder(parts, tmp_path / "plain"), variant="non_ema")


def test_hub_names_offline_give_one_clear_error(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        CheckpointError, match="'owner/name' is no folder or file here, not whole in the cache"
    ):
        StableDiffusion.from_pretrained("owner/name")
    with pytest.raises(CheckpointError, match="does not exist: give a folder"):
        StableDiffusion.from_pretrained("owner/name/more")


def test_a_hub_that_cannot_be_reached_is_asked_once(tmp_path, monkeypatch):
    """The library waits 24 seconds between its attempts, if it is let."""
    from huggingface_hub import constants

    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="cannot be had from the hub .*check name and connection"):
        StableDiffusion.from_pretrained("owner/name")
    assert waits == []


def in_hub_cache(cache, name, monkeypatch):
    """An empty snapshot in a cache of the hub, where the library's list of the model names a file more."""
    from huggingface_hub import constants

    home = cache / f"models--{name.replace('/', '--')}"
    for folder in ("refs", "snapshots", "trees"):
        (home / folder).mkdir(parents=True)
    commit = "0123456789abcdef" * 2 + "01234567"
    (home / "refs" / "main").write_text(commit)
    files = {"model.ckpt": {"size": 9, "blob_id": "a" * 40}}
    (home / "trees" / f"{commit}.json").write_text(json.dumps({"format_version": 1, "files": files}))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return home / "snapshots" / commit


def test_the_cache_is_enough_without_the_files_that_are_not_read(tmp_path, tokenizer, monkeypatch):
    snapshot = in_hub_cache(tmp_path / "hub", "own/model", monkeypatch)
    save_folder(small_parts("SD 1", tokenizer), snapshot)
    assert StableDiffusion.from_pretrained("own/model").name == "own/model"


@pytest.mark.slow
@pytest.mark.parametrize("whole_model", [False, True])
def test_an_autoencoder_by_its_name_on_the_hub(tmp_path, tokenizer, monkeypatch, whole_model):
    parts = small_parts("SD 1", tokenizer)
    model = save_folder(parts, tmp_path / "model", torch.float32)
    other = replace(parts, vae=randomise(AutoencoderKL(parts.vae.config), 99))
    folder = save_folder(other, tmp_path / "other", torch.float32) / "vae"
    snapshot = in_hub_cache(tmp_path / "hub", "own/vae", monkeypatch)
    shutil.copytree(folder, snapshot / "vae" if whole_model else snapshot)
    pipe = StableDiffusion.from_pretrained(model, vae="own/vae")
    assert equal(pipe.vae, other.vae.to(memory_format=torch.channels_last))
    for name in ("own/other", "no/such/folder"):
        with pytest.raises(CheckpointError, match=f"{name}.*give a folder"):
            StableDiffusion.from_pretrained(model, vae=name)


def test_of_an_autoencoder_on_the_hub_only_what_is_read_is_downloaded():
    from sdlearn.checkpoint.hub import needed_for_vae

    own = ["config.json", "diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors", "x.ckpt"]
    assert needed_for_vae(own) == ["config.json", "diffusion_pytorch_model.safetensors"]
    model = ["model_index.json", "vae/config.json", "vae/diffusion_pytorch_model.bin", "unet/config.json"]
    assert needed_for_vae(model) == ["vae/config.json", "vae/diffusion_pytorch_model.bin"]


def test_of_a_model_on_the_hub_only_what_is_read_is_downloaded():
    from sdlearn.checkpoint.hub import is_hub_id, needed_files

    files = [
        "model_index.json",
        "v1-5-pruned.ckpt",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.bin",
        "unet/diffusion_pytorch_model.bin",
        "vae/config.json",
        "vae/diffusion_pytorch_model.bin",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "tokenizer/vocab.json",
        "scheduler/scheduler_config.json",
    ]
    plain = needed_files(files)
    assert [name for name in files if name not in plain] == [files[1], *files[4:7]]
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in needed_files(files, "fp16")
    assert is_hub_id("stable-diffusion-v1-5/stable-diffusion-v1-5")
    assert not any(map(is_hub_id, ["scenes", "../x", "a/b/c", "/there/x", "a/..", "C:/x y"]))


def test_one_tensor_under_two_names_is_refused(tmp_path, tokenizer):
    file = load_file(write_single_file(small_parts("SD 1", tokenizer), tmp_path / "model.safetensors"))
    twice = {name.replace("first_stage_model.", "vae."): torch.zeros_like(t) for name, t in file.items()}
    save_file(file | twice, tmp_path / "twice.safetensors")
    with pytest.raises(CheckpointError, match="two names of one tensor"):
        open_single_file(tmp_path / "twice.safetensors")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, tokenizer):
    parts = small_parts("SD 1", tokenizer)
    with pytest.raises(CheckpointError, match="cannot write"):
        write_single_file(parts, tmp_path / "nowhere" / "model.safetensors")
    spoilt = replace(parts, unet=copy.deepcopy(parts.unet))
    with torch.no_grad():
        next(spoilt.unet.parameters()).view(-1)[0] = torch.nan
    with pytest.raises(CheckpointError, match="NaN"):
        write_single_file(spoilt, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_folder_can_be_told_what_it_predicts(tmp_path, tokenizer):
    folder = save_folder(small_parts("SD 1", tokenizer), tmp_path / "folder")
    assert StableDiffusion.from_pretrained(folder).schedule.config.prediction_type == "epsilon"
    told = StableDiffusion.from_pretrained(folder, prediction_type="v_prediction")
    assert told.schedule.config.prediction_type == "v_prediction" and "v_prediction" in str(told.checkpoint)
    with pytest.raises(CheckpointError, match="'banana' is unknown: pass 'epsilon' or 'v_prediction'"):
        StableDiffusion.from_pretrained(folder, prediction_type="banana")


def test_an_unfinished_download_is_not_taken_for_a_model(tmp_path, tokenizer, monkeypatch):
    """The cache's folder counts only if all of it is there; a whole one gives the model its name on the hub."""
    import huggingface_hub
    from huggingface_hub import constants

    snapshot = tmp_path / "models--own--name" / "snapshots" / "0123abc"
    save_folder(small_parts("SD 1", tokenizer), snapshot)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(snapshot))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert StableDiffusion.from_pretrained("own/name").name == "own/name"
    shutil.rmtree(snapshot / "vae")
    with pytest.raises(CheckpointError, match="not whole in the cache"):
        StableDiffusion.from_pretrained("own/name")
