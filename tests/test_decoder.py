"""The second decoder of chapter 04: training moves nothing else, its file is read strictly, it keeps its promise."""

import copy
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file
from torch import nn

import sdlearn
from sdlearn.checkpoint import CheckpointError, save_decoder, swap_decoder
from sdlearn.checkpoint.decoder import FILE, is_tuned
from sdlearn.config import VAEConfig
from sdlearn.environment import wrong_files
from sdlearn.image import to_tensor
from sdlearn.paths import shipped_model
from sdlearn.scenes import render
from sdlearn.scenes.dataset import example
from sdlearn.training import commands
from sdlearn.training import decoder as training
from sdlearn.training.data import open_scenes, pixels_of
from sdlearn.training.decoder import Tuned, detail_weights, write_on
from sdlearn.training.loop import Share
from sdlearn.training.recipe import RECIPES, load_recipe
from sdlearn.training.vae import edge_loss
from sdlearn.vae import AutoencoderKL

TINY = {
    "training.steps": 2,
    "training.warmup_steps": 1,
    "training.batch_size": 2,
    "training.log_every": 1,
    "training.save_every": 2,
    "training.sample_every": 2,
    "data.pictures": 40,
    "data.held_back": 8,
    "data.crop": 32,
    "data.crop_steps": 1,
}


def small_vae(seed: int = 0, last: int = 8) -> AutoencoderKL:
    config = VAEConfig(
        block_out_channels=(8, 8, 8, last), layers_per_block=1, norm_num_groups=4, sample_size=128
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoencoderKL(config).half().float().eval()  # numbers that a file in half precision holds


def differing(one: AutoencoderKL, other: AutoencoderKL) -> set[str]:
    others = other.state_dict()
    return {name for name, value in one.state_dict().items() if not torch.equal(value, others[name])}


def test_a_decoder_is_saved_and_put_in_the_place_of_another(tmp_path):
    vae, tuned = small_vae(0), small_vae(1)
    before = copy.deepcopy(vae.state_dict())
    file = save_decoder(tuned, tmp_path / "mine")
    for source in (file, tmp_path / "mine", str(file)):
        swapped = swap_decoder(vae, source)
        assert differing(swapped, vae) <= {name for name in before if is_tuned(name)}
        assert not differing(swapped, tuned) & {name for name in before if is_tuned(name)}
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
    pixels = torch.rand(1, 3, 32, 32)
    assert torch.equal(swapped.encode(pixels).mean, vae.encode(pixels).mean)
    with pytest.raises(CheckpointError, match="is not empty"):
        save_decoder(tuned, tmp_path / "mine")


def test_what_does_not_fit_is_refused_by_name(tmp_path):
    vae = small_vae()
    tensors = {name: value.clone() for name, value in vae.state_dict().items() if is_tuned(name)}
    wrong = {
        "1 missing: decoder.conv_out.bias": {
            k: v for k, v in tensors.items() if k != "decoder.conv_out.bias"
        },
        "1 unexpected: decoder.conv_in.bias": tensors | {"decoder.conv_in.bias": torch.zeros(8)},
        r"1 of another shape: decoder.conv_out.bias \(4,\)": tensors
        | {"decoder.conv_out.bias": torch.zeros(4)},
        "NaN or infinite numbers": tensors | {"decoder.conv_out.bias": torch.full((3,), float("nan"))},
    }
    for k, (message, content) in enumerate(wrong.items()):
        save_file(content, tmp_path / f"{k}.safetensors")
        with pytest.raises(CheckpointError, match=message):
            swap_decoder(vae, tmp_path / f"{k}.safetensors")
    with pytest.raises(CheckpointError, match="no model named 'nothing' comes with sdlearn"):
        swap_decoder(vae, "nothing")
    with pytest.raises(CheckpointError, match="of another shape"):
        swap_decoder(vae, "scenes_detail")


@pytest.mark.slow
def test_training_moves_the_last_levels_only_and_resumes(tmp_path):
    model = tmp_path / "model"
    commands._save_network("vae", small_vae(), model)
    commands.train("decoder", tmp_path, changes=TINY, cpu=True)
    assert (tmp_path / "decoder" / "sample-000002.png").exists()
    before = commands.load_vae(model)
    after = swap_decoder(before, tmp_path / "scenes_detail")
    moved = differing(after, before)
    assert moved and all(is_tuned(name) for name in moved)
    assert {"decoder.conv_out.weight", "decoder.up_blocks.1.resnets.0.conv1.weight"} <= moved
    state = torch.load(tmp_path / "decoder" / "state.pt", weights_only=True)
    kept = before.state_dict()
    for weights in (state["model"], state["average"]):
        still = {name.removeprefix("vae."): value for name, value in weights.items()}
        assert all(torch.equal(value, kept[name]) for name, value in still.items() if not is_tuned(name))
    assert len((tmp_path / "decoder" / "log.jsonl").read_text().splitlines()) == 2
    with pytest.raises(ValueError, match="holds an earlier training"):
        commands.train("decoder", tmp_path, changes=TINY, cpu=True)
    file = tmp_path / "scenes_detail" / "decoder.safetensors"
    content = file.read_bytes()
    commands.train("decoder", tmp_path, changes=TINY, resume=True, cpu=True)  # finished: nothing changes
    assert file.read_bytes() == content and not (tmp_path / "decoder" / "model.whole").exists()
    file.unlink()
    commands.train("decoder", tmp_path, changes=TINY, resume=True, cpu=True)
    assert file.read_bytes() == content


@torch.no_grad()
def test_what_is_tuned_draws_as_the_autoencoder_does():
    vae, pixels = small_vae(), torch.rand(2, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(Tuned(vae)(pixels), vae.decode(vae.encode(pixels).mode()))


def test_writing_is_on_the_crop_and_nowhere_else_changed():
    plain = np.full((64, 64, 3), 200, dtype=np.uint8)
    written = [write_on(plain, Random(k), 64) for k in range(8)]
    assert all(one.shape == plain.shape and (one != plain).any() for one in written)
    assert np.array_equal(write_on(plain, Random(3), 64), written[3]) and (plain == 200).all()
    assert any((one == plain).mean() > 0.6 for one in written)  # small writing: most is as before


def test_edges_count_more():
    step = torch.zeros(1, 3, 8, 8)
    step[..., 4:] = 1.0
    weights = detail_weights(step, 4.0)
    assert weights[0, 0, 0].tolist() == [1, 1, 1, 5, 5, 1, 1, 1]
    assert torch.equal(detail_weights(step.mT, 4.0), weights.mT)  # lying edges count as standing ones do
    assert torch.equal(detail_weights(2 * step, 4.0), weights)  # from black to white no more than half of it
    assert torch.equal(detail_weights(step / 2, 4.0), (weights + 1) / 2)


def test_the_loss_of_a_step(monkeypatch, tmp_path):
    """By value, for a decoder that misses each pixel; a quarter of the pictures bear writing, and no others."""
    recipe = load_recipe(RECIPES / "decoder.toml", {**TINY, "training.batch_size": 8, "data.crop_steps": 0})
    monkeypatch.setattr(training, "fit", lambda model, loss_of, *_, **__: SimpleNamespace(vae=loss_of))
    loss_of = training.train_decoder(recipe, tmp_path, small_vae())
    miss, seen = torch.randn(8, 3, 128, 128) / 10, []

    class Misses(nn.Linear):  # some module with parameters, which tell the device
        def forward(self, pixels):
            seen.append(pixels)
            return pixels + miss

    found = loss_of(Misses(1, 1), 0, Share(0, 1))
    counts = detail_weights(seen[0], 4.0)
    l1, mse, edges = (counts * miss.abs()).mean(), (counts * miss.square()).mean(), edge_loss(miss, 0 * miss)
    torch.testing.assert_close([found[name] for name in ("l1", "mse", "edges")], [l1, mse, edges])
    torch.testing.assert_close(found["loss"], 0.2 * l1 + 4.0 * mse + 0.3 * edges)
    plain = pixels_of(open_scenes(recipe["data"]).pictures, torch.arange(40))
    drawn = [any(torch.equal(one, other) for other in plain) for one in seen[0]]
    assert drawn == [False] * 2 + [True] * 6


def psnr(a: torch.Tensor, b: torch.Tensor, where: torch.Tensor) -> float:
    error = ((a.clamp(-1, 1) - b) / 2).square()[where.expand_as(a)]
    return -10 * error.mean().log10().item()


@pytest.mark.slow
@torch.no_grad()
def test_the_shipped_decoder_is_whole_small_and_better_at_detail():
    folder = shipped_model("scenes_detail")
    assert wrong_files(folder) == []
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 3e6
    vae = sdlearn.StableDiffusion.from_pretrained("scenes").vae
    other = swap_decoder(vae, "scenes_detail")
    drawn = [render(example(1, 59_500 + k)[0]) for k in range(12)]  # never trained on
    written = [image.copy() for image in drawn]
    font, box = ImageFont.load_default(11), Image.new("L", drawn[0].size)
    for image in written:
        ImageDraw.Draw(image).text((6, 4), "small words", fill=(25, 25, 60), font=font)
    ImageDraw.Draw(box).rectangle((6, 4, 75, 18), fill=255)
    box = torch.from_numpy(np.asarray(box) > 0)[None, None]
    plain, written = to_tensor(drawn), to_tensor(written)
    edges, everywhere = detail_weights(plain, 1.0) > 1.3, torch.ones(1, 1, 128, 128, dtype=torch.bool)
    figures = {
        name: [
            psnr(one.decode(one.encode(x).mode()), x, where)
            for x, where in ((plain, everywhere), (plain, edges), (written, box.expand(12, -1, -1, -1)))
        ]
        for name, one in {"shipped": vae, "detail": other}.items()
    }
    everything, at_edges, in_text = (
        b - a for a, b in zip(figures["shipped"], figures["detail"], strict=True)
    )
    assert at_edges > 0.05 and in_text > 0.3 and everything > -0.1, figures
    assert FILE in {path.name for path in Path(folder).iterdir()}


def test_a_decoder_of_flat_convolutions_is_cut_to_shape_and_rests(tmp_path):
    """A matrix where the network has a 1 x 1 convolution, as in old files; and what comes back is not in training."""
    vae, tuned = small_vae(0, last=16).train(), small_vae(1, last=16)
    tensors = {name: value.clone() for name, value in tuned.state_dict().items() if is_tuned(name)}
    flat = [name for name, value in tensors.items() if value.ndim == 4 and value.shape[2:] == (1, 1)]
    assert flat
    tensors |= {name: tensors[name][:, :, 0, 0].clone() for name in flat}
    tensors["decoder.conv_out.bias"] = tensors["decoder.conv_out.bias"].double()
    save_file(tensors, tmp_path / "flat.safetensors")
    swapped = swap_decoder(vae, tmp_path / "flat.safetensors")
    assert not differing(swapped, tuned) & set(tensors) and not swapped.training and vae.training


@pytest.mark.parametrize(
    ("number", "dtype", "remedy"),
    [(1e6, torch.float16, "load in torch.float32"), (1e300, torch.float32, "take another copy")],
)
def test_numbers_too_large_for_the_autoencoder_are_refused(tmp_path, number, dtype, remedy):
    vae = small_vae().to(dtype)
    tensors = {name: value.double() for name, value in vae.state_dict().items() if is_tuned(name)}
    tensors["decoder.conv_out.bias"] = torch.full((3,), number, dtype=torch.float64)
    save_file(tensors, tmp_path / "large.safetensors")
    with pytest.raises(CheckpointError, match=f"too large for {dtype}: {remedy}"):
        swap_decoder(vae, tmp_path / "large.safetensors")
