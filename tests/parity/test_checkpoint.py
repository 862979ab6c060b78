"""Checkpoint folders: diffusers opens what we save, we open what diffusers saves, number for number."""

import logging
from dataclasses import replace

import pytest
import torch
from test_checkpoint import make_parts, same_numbers

from sdlearn.checkpoint import load_folder, save_folder

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")


def plain(state: dict) -> dict:
    return {
        name.removeprefix("text_model."): tensor
        for name, tensor in state.items()
        if "position_ids" not in name
    }


@pytest.fixture(scope="module", params=[torch.float32, torch.float16], ids=["float32", "float16"])
def opened(request, tmp_path_factory):
    """Our parts, and the pipeline that diffusers makes of their folder, with all its warnings."""
    parts = make_parts()
    folder = save_folder(parts, tmp_path_factory.mktemp("ours") / "model", dtype=request.param)
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    return request.param, parts, folder, pipeline, records


def test_diffusers_opens_our_folder_without_a_complaint(opened):
    _, _, _, pipeline, records = opened
    records = [message for message in records if "torchvision" not in message]  # said on each import
    assert records == []
    assert pipeline.safety_checker is None and pipeline.feature_extractor is None
    assert (
        type(pipeline.scheduler).__name__ == "DDIMScheduler" and pipeline.scheduler.config.beta_end == 0.013
    )
    assert pipeline.vae.config.scaling_factor == 0.3 and pipeline.vae_scale_factor == 4
    assert pipeline.unet.config.attention_head_dim == [1, 2, 3]


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_diffusers_reads_the_same_numbers(opened, part):
    dtype, parts, _, pipeline, _ = opened
    theirs = plain(getattr(pipeline, part).state_dict())
    assert {tensor.dtype for tensor in theirs.values()} == {torch.float32}
    wanted = {name: t.to(dtype).float() for name, t in getattr(parts, part).state_dict().items()}
    assert theirs.keys() == wanted.keys()
    assert all(torch.equal(theirs[name], wanted[name]) for name in wanted)


def test_transformers_gives_the_same_ids_from_our_folder(opened):
    _, parts, _, pipeline, _ = opened
    texts = ["an orange cat", "", "a castle! " * 9]
    theirs = pipeline.tokenizer(texts, padding="max_length", truncation=True)["input_ids"]
    assert theirs == [parts.tokenizer.encode(text) for text in texts]


def test_diffusers_draws_with_our_folder(opened):
    _, _, _, pipeline, _ = opened
    pipeline.set_progress_bar_config(disable=True)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    result = pipeline("a cat", num_inference_steps=2, latents=latents, output_type="np", height=32, width=32)
    assert result.images.shape == (1, 32, 32, 3)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_we_open_what_diffusers_saves(opened, tmp_path, variant):
    _, parts, _, pipeline, _ = opened
    pipeline.save_pretrained(tmp_path, variant=variant)
    read = load_folder(tmp_path)
    for part in ("unet", "vae", "text_encoder"):
        ours = getattr(read, part)
        assert same_numbers(ours, plain(getattr(pipeline, part).state_dict())), part
        assert ours.config == getattr(parts, part).config
    # diffusers writes down the usual spacing of its scheduler, which ours leaves open.
    assert read.schedule_config == replace(parts.schedule_config, timestep_spacing="leading")
    text = "an Orange cat, riding 42 castles!"
    assert read.tokenizer.encode(text) == parts.tokenizer.encode(text)
    assert read.tokenizer.max_length == 16
