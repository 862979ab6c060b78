"""The safety checker: the same flags as diffusers' on random weights, black where flagged, never unseen."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from sdlearn import CheckpointError, StableDiffusion
from sdlearn.safety import SafetyChecker, clip_pixels
from tests.small_pipeline import randomise, small_pipeline

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def theirs():
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    vision = {
        "image_size": 28,
        "patch_size": 14,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
    }
    config = transformers.CLIPConfig(vision_config=vision, projection_dim=16)
    checker = randomise(StableDiffusionSafetyChecker(config), 4).eval()
    with torch.no_grad():  # thresholds near what random vectors reach, so that all answers occur
        checker.concept_embeds_weights.copy_(torch.linspace(0.3, 0.6, 17))
        checker.special_care_embeds_weights.copy_(torch.tensor([0.3, 0.4, 0.5]))
    return checker


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    folder = small_pipeline().save_pretrained(tmp_path_factory.mktemp("model") / "small")
    theirs.save_pretrained(folder / "safety_checker")
    return folder


def test_flags_are_those_of_diffusers(theirs, folder):
    ours = SafetyChecker.from_folder(folder / "safety_checker")
    pixels = torch.randn(2000, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    images = torch.ones(2000, 3, 2, 2)
    _, flags = theirs(clip_input=pixels, images=images)
    assert ours.flags(pixels) == flags and 200 < sum(flags) < 1800


def test_a_concept_of_special_care_lowers_the_other_thresholds():
    """A picture just below a threshold is flagged if it is near such a concept, and not otherwise."""
    tower = torch.nn.Linear(2, 2, bias=False)
    tower.weight.data = torch.eye(2)
    axis = torch.eye(2)
    checker = SafetyChecker(tower, axis[:1], torch.tensor([0.5]), axis[1:], torch.tensor([0.8]))
    pictures = torch.tensor([[0.495, 0.868], [0.495, -0.868], [0.48, 0.877], [0.6, -0.8], [0.5003, -0.866]])
    assert checker.flags(pictures) == [True, False, False, True, False]


@pytest.mark.parametrize("width, height", [(50, 40), (80, 360), (320, 680), (28, 28), (64, 30)])
def test_pictures_are_prepared_as_by_transformers(width, height):
    image = Image.effect_noise((width, height), 60).convert("RGB")
    processor = transformers.CLIPImageProcessor(
        crop_size={"height": 28, "width": 28}, size={"shortest_edge": 28}
    )
    theirs = torch.as_tensor(processor(image, return_tensors="np")["pixel_values"])
    ours = clip_pixels([image], 28)
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) < 0.03  # resizing rounds to 256 levels, or not


def test_flagged_pictures_are_black_and_said(folder):
    pipe = StableDiffusion.from_pretrained(folder)
    quick = {"num_inference_steps": 2, "seed": 1}
    always = replace(pipe.safety_checker, thresholds=pipe.safety_checker.thresholds - 9)
    never = replace(pipe.safety_checker, thresholds=pipe.safety_checker.thresholds + 9)
    pipe.safety_checker = always
    with pytest.warns(UserWarning, match="blacked out 1 of 1 pictures; load with safety_checker=False"):
        out = pipe.txt2img("a cat", **quick)
    assert out.flagged == [True] and out.images[0].getextrema() == ((0, 0),) * 3
    pipe.safety_checker = never
    out = pipe.txt2img("a cat", **quick)
    plain = StableDiffusion.from_pretrained(folder, safety_checker=False)
    assert plain.safety_checker is None
    free = plain.txt2img("a cat", **quick)
    assert out.flagged == [False] and free.flagged is None
    assert out.images[0].tobytes() == free.images[0].tobytes()


def test_the_concepts_go_where_the_tower_goes(folder):
    """To another type of numbers as well as to another device."""
    pipe = StableDiffusion.from_pretrained(folder).to(dtype=torch.bfloat16)
    assert pipe.txt2img("a cat", num_inference_steps=1).flagged is not None
    with pytest.warns(UserWarning, match="the safety checker is not saved"):
        pipe.save_pretrained(folder.parent / "again")


def test_a_damaged_checker_is_no_checker(folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(folder, tmp_path / "model") / "safety_checker"
    tensors = load_file(copy / "model.safetensors")
    del tensors["concept_embeds"]
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds no safety checker: concept_embeds is missing"):
        StableDiffusion.from_pretrained(tmp_path / "model")
