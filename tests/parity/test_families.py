"""Every family as diffusers saves it, loaded by us from a folder and from a single file: the same values.

Small random models of SD 1, SD 2 (noise and v) and SD 1 inpainting, made and saved by diffusers and transformers, with
random numbers in every parameter. Largest difference over the largest value of the reference.
"""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from sdlearn import StableDiffusion
from sdlearn.checkpoint import load_checkpoint, write_single_file
from tests.small_pipeline import noise, randomise, small_parts
from tests.test_single_file import tokenizer  # noqa: F401  (a fixture)

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.slow
FAMILIES = {
    "SD 1": ("SD 1", "epsilon"),
    "SD 2 base": ("SD 2", "epsilon"),
    "SD 2 v": ("SD 2", "v_prediction"),
    "SD 1 inpainting": ("SD 1 inpainting", "epsilon"),
}
HEIGHT, WIDTH, FACTOR = 32, 48, 2
PROMPTS, NEGATIVES = ["an orange cat", "a red castle on a cat"], ["castle", ""]
FEW = 4
ASKED = {"num_inference_steps": 20, "guidance_scale": 7.5}


def made_by_diffusers(family, kind, words):
    """A pipeline of diffusers' own classes, of the shapes of ``small_parts``."""
    shapes = small_parts(family, words)
    unet, vae, text = shapes.unet.config, shapes.vae.config, shapes.text_encoder.config
    second = family == "SD 2"
    down = ["CrossAttnDownBlock2D" if level else "DownBlock2D" for level in unet.attention_levels]
    up = ["CrossAttnUpBlock2D" if level else "UpBlock2D" for level in reversed(unet.attention_levels)]
    parts = {
        "unet": diffusers.UNet2DConditionModel(
            sample_size=16,
            in_channels=unet.in_channels,
            out_channels=4,
            block_out_channels=unet.block_out_channels,
            layers_per_block=unet.layers_per_block,
            down_block_types=down,
            up_block_types=up,
            attention_head_dim=list(unet.num_heads) if second else 8,
            cross_attention_dim=unet.cross_attention_dim,
            use_linear_projection=second,
            upcast_attention=kind == "v_prediction",
        ),
        "vae": diffusers.AutoencoderKL(
            block_out_channels=vae.block_out_channels,
            layers_per_block=vae.layers_per_block,
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
        ),
        "text_encoder": transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=text.vocab_size,
                max_position_embeddings=text.max_position_embeddings,
                hidden_size=text.hidden_size,
                intermediate_size=text.intermediate_size,
                num_hidden_layers=text.num_hidden_layers,
                num_attention_heads=text.num_attention_heads,
                hidden_act="gelu" if second else "quick_gelu",
                projection_dim=32,
            )
        ),
    }
    parts = {name: randomise(part, seed).eval() for seed, (name, part) in enumerate(parts.items(), 10)}
    schedule = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": kind,
    }
    scheduler = diffusers.DDIMScheduler(**schedule, clip_sample=False)
    inpainting = family.endswith("inpainting")
    cls = diffusers.StableDiffusionInpaintPipeline if inpainting else diffusers.StableDiffusionPipeline
    return cls(
        **parts,
        tokenizer=words,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tokenizer, tmp_path_factory):  # noqa: F811
    """(diffusers' pipeline, our pipelines by layout) of one family."""
    family, kind = FAMILIES[request.param]
    home = tmp_path_factory.mktemp("family")
    if family == "SD 2":  # pads with 0, as published
        tokenizer = type(tokenizer)(tokenizer.vocab, tokenizer.merges, tokenizer.max_length, 0)
    tokenizer.save(home / "words")
    words = transformers.CLIPTokenizer.from_pretrained(home / "words")
    theirs = made_by_diffusers(family, kind, tokenizer)
    theirs.tokenizer = words
    theirs.set_progress_bar_config(disable=True)
    folder = home / "folder"
    theirs.save_pretrained(folder)
    parts, _ = load_checkpoint(folder)
    file = write_single_file(parts, home / "model.safetensors", torch.float32)
    shutil.copytree(folder / "tokenizer", home / "tokenizer")
    single = StableDiffusion.from_pretrained(file, prediction_type=kind)
    return theirs, {"folder": StableDiffusion.from_pretrained(folder), "file": single}


def error(ours, theirs):
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


@torch.no_grad()
@pytest.mark.parametrize("layout", ["folder", "file"])
def test_networks(model, layout):
    theirs, ours = model[0], model[1][layout]
    ids = torch.tensor([ours.tokenizer.encode(prompt) for prompt in PROMPTS])
    padded = theirs.tokenizer(PROMPTS, padding="max_length", max_length=16, return_tensors="pt").input_ids
    assert torch.equal(ids, padded)
    context = theirs.text_encoder(ids)[0]
    assert error(ours.encode_prompt(PROMPTS), context) <= 1e-5
    x, t = noise(2, ours.unet.config.in_channels, 16, 24), torch.tensor([3.0, 801.0])
    assert error(ours.unet(x, t, context), theirs.unet(x, t, context).sample) <= 1e-5
    pixels, latents = noise(2, 3, HEIGHT, WIDTH).clamp(-1, 1), noise(2, 4, 16, 24)
    assert error(ours.vae.decode(latents), theirs.vae.decode(latents).sample) <= 1e-5
    posterior = theirs.vae.encode(pixels).latent_dist
    assert error(ours.vae.encode(pixels).mean, posterior.mean) <= 1e-5
    assert ours.vae.config.scaling_factor == theirs.vae.config.scaling_factor == 0.18215


@pytest.mark.parametrize("strength", [None, 0.3, 0.75, 1.0])
def test_latents_after_twenty_steps(model, strength):
    """Text to image (no strength) and image to image; inpainting with the model that is made for it.

    The folder's drawings are compared with those of diffusers; the file's with the folder's, for which few steps do.
    """
    theirs, ours = model
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    common = {"generator": generators, "output_type": "latent", "negative_prompt": NEGATIVES, **ASKED}
    rng = np.random.default_rng(4)
    image = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    mask = Image.fromarray(np.where(np.arange(WIDTH) < 20, 255, 0).astype(np.uint8)[None].repeat(HEIGHT, 0))
    asked = {
        "negative_prompt": NEGATIVES,
        "sampler": "ddim",
        "seed": 5,
        "guidance_scale": ASKED["guidance_scale"],
    }
    if ours["folder"].model.repaints:
        if strength is None:
            pytest.skip("a model for inpainting needs a picture")
        reference = theirs(
            PROMPTS, [image] * 2, [mask] * 2, height=HEIGHT, width=WIDTH, strength=strength, **common
        ).images

        def draw(pipe, steps):
            return pipe.inpaint(image, mask, PROMPTS, strength, num_inference_steps=steps, **asked).latents
    elif strength is None:
        reference = theirs(PROMPTS, height=HEIGHT, width=WIDTH, **common).images

        def draw(pipe, steps):
            return pipe.txt2img(
                PROMPTS, height=HEIGHT, width=WIDTH, num_inference_steps=steps, **asked
            ).latents
    else:
        pipe = diffusers.StableDiffusionImg2ImgPipeline(**theirs.components, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        reference = pipe(PROMPTS, [image] * 2, strength=strength, **common).images

        def draw(pipe, steps):
            return pipe.img2img(image, PROMPTS, strength, num_inference_steps=steps, **asked).latents

    assert error(draw(ours["folder"], ASKED["num_inference_steps"]), reference) <= 1e-4
    assert error(draw(ours["file"], FEW), draw(ours["folder"], FEW)) <= 1e-5
