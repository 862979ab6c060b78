"""The same in diffusers: the same weights, sampler, steps and precision, in the same process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdlearn.bench.subjects import SCALE, TIMESTEP, Task, drawing_length, first_noise
from sdlearn.bench.timing import Call
from sdlearn.checkpoint.folder import NETWORKS
from sdlearn.image import to_tensor
from sdlearn.pipeline import StableDiffusion

# What diffusers' guides to fast inference set for torch's compiler, beside mode="max-autotune".
INDUCTOR = {
    "conv_1x1_as_mm": True,
    "coordinate_descent_tuning": True,
    "coordinate_descent_check_all_directions": True,
    "epilogue_fusion": False,
}


def libraries() -> tuple[Any, Any]:
    """diffusers and transformers; a ValueError where they are not installed."""
    try:
        import diffusers
        import transformers

        transformers.logging.set_verbosity_error()  # it tells what is not installed, and not needed here
    except ModuleNotFoundError as error:
        raise ValueError(
            f"to be compared with diffusers, {error.name} must be installed: python -m pip install diffusers "
            "transformers"
        ) from error
    return diffusers, transformers


def same_weights(network: nn.Module, part: str, theirs: nn.Module) -> nn.Module:
    """``theirs`` with the very tensors of our network, under their names: nothing is copied."""
    name, wanted = NETWORKS[part].file_name, theirs.state_dict().keys()
    tensors = {name(ours): tensor for ours, tensor in network.state_dict().items()}
    if (
        not tensors.keys() <= wanted
    ):  # transformers 5 reads the files' names, but has no text_model of its own
        tensors = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    theirs.load_state_dict(tensors, strict=True, assign=True)
    return theirs.eval().requires_grad_(False)


def same_in_diffusers(pipe: StableDiffusion) -> Any:
    """Their pipeline with our networks' tensors, DPM-Solver++ 2M as sampler, and nothing else to do."""
    diffusers, transformers = libraries()
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel.from_config(pipe.unet.config.to_json())
        vae = diffusers.AutoencoderKL.from_config(pipe.vae.config.to_json())
    settings = transformers.CLIPTextConfig(**pipe.text_encoder.config.to_json())
    with tempfile.TemporaryDirectory() as folder:
        pipe.tokenizer.save(Path(folder))
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    theirs = diffusers.StableDiffusionPipeline(
        unet=same_weights(pipe.unet, "unet", unet),
        vae=same_weights(pipe.vae, "vae", vae),
        text_encoder=same_weights(pipe.text_encoder, "text_encoder", transformers.CLIPTextModel(settings)).to(
            pipe.device
        ),
        tokenizer=tokenizer,
        scheduler=diffusers.DPMSolverMultistepScheduler.from_config(pipe.schedule.config.to_json()),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    theirs.set_progress_bar_config(disable=True)
    return theirs


def as_it_comes(theirs: Any) -> Any:
    """Weights as ``from_pretrained`` lays them out; a copy of those of convolutions."""
    for network in (theirs.unet, theirs.vae):
        network.to(memory_format=torch.contiguous_format)
    return theirs


def compiled(theirs: Any) -> Any:
    """The best recipe of their guides: channels-last, fused queries, keys and values, max-autotune, tuned flags."""
    theirs.fuse_qkv_projections()
    for network in (theirs.unet, theirs.vae):
        network.to(memory_format=torch.channels_last)
    from torch._inductor import list_mode_options

    options = list_mode_options("max-autotune") | INDUCTOR
    theirs.unet = torch.compile(theirs.unet, fullgraph=True, options=options)
    theirs.vae.decode = torch.compile(theirs.vae.decode, fullgraph=True, options=options)
    return theirs


@torch.no_grad()
def their_steps(theirs: Any, task: Task, latents: Tensor, steps: int) -> Iterator[Tensor]:
    """The loop of their pipeline, which gives the latents after each step."""
    device, dtype = theirs.unet.device, theirs.unet.dtype
    cond, uncond = theirs.encode_prompt(task.prompts, device, 1, True)[:2]
    context = torch.cat([uncond, cond])
    theirs.scheduler.set_timesteps(steps, device=device)
    latents = latents.to(device, dtype) * theirs.scheduler.init_noise_sigma
    for timestep in theirs.scheduler.timesteps:
        pair = theirs.scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
        both = theirs.unet(pair, timestep, encoder_hidden_states=context, return_dict=False)[0]
        without, with_prompt = both.chunk(2)
        guided = without + SCALE * (with_prompt - without)
        latents = theirs.scheduler.step(guided, timestep, latents, return_dict=False)[0]
        yield latents


def their_picture(theirs: Any, task: Task, latents: Tensor) -> Call:
    """Their whole pipeline, to pictures; answers with the last latents."""

    def draw() -> Tensor:
        last: list[Tensor] = []

        def remember(pipeline: Any, step: int, timestep: object, tensors: dict) -> dict:
            last[:] = [tensors["latents"]]
            return tensors

        theirs(
            task.prompts,
            num_inference_steps=task.steps,
            guidance_scale=SCALE,
            latents=latents,
            height=task.height,
            width=task.width,
            callback_on_step_end=remember,
        )
        return last[0]

    return draw


def their_subjects(theirs: Any, pipe: StableDiffusion, task: Task, runs: int) -> dict[str, Call]:
    """What subjects.py times of ``pipe``, in diffusers."""
    device, dtype = theirs.unet.device, theirs.unet.dtype
    noise = first_noise(pipe, task).to(device, dtype)
    with torch.no_grad():
        context = theirs.encode_prompt(task.prompts, device, 1, False)[0]
    timestep = torch.tensor(TIMESTEP, device=device)
    steps = their_steps(theirs, task, noise, drawing_length(task, runs))

    @torch.no_grad()
    def decode() -> Tensor:
        pixels = theirs.vae.decode(noise / theirs.vae.config.scaling_factor, return_dict=False)[0]
        return to_tensor(theirs.image_processor.postprocess(pixels))

    return {
        "text encoder": torch.no_grad()(lambda: theirs.encode_prompt(task.prompts, device, 1, False)[0]),
        "U-Net call": torch.no_grad()(
            lambda: theirs.unet(noise, timestep, encoder_hidden_states=context, return_dict=False)[0].clone()
        ),
        "guided step": lambda: [next(steps) for _ in range(task.parts)][-1],
        "VAE decode": decode,
        "picture": their_picture(theirs, task, noise),
    }
