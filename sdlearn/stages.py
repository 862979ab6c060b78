"""The four stages of a drawing, as plain functions of the networks and a checked request.

    1 text vectors -> 2 a start in noise -> 3 (U-Net, guidance, sampler) once a step -> 4 pictures

Text to image, image to image and inpainting take the same way. They start in different places, and a mask puts
three wrappers around the third stage.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from sdlearn.denoise import Denoiser, Network
from sdlearn.guidance import classifier_free_guidance
from sdlearn.image import to_images
from sdlearn.memory import visiting
from sdlearn.networks import Networks
from sdlearn.samplers import Denoise, Noise
from sdlearn.trace import Step
from sdlearn.wishes import Drawing


def text_vectors(networks: Networks, drawing: Drawing) -> tuple[Tensor | None, Tensor | None]:
    """Stage 1. (cond, uncond): of the prompts and of the negative prompts, equally long; None where nobody asks."""
    wishes, prompts, negatives = drawing.wishes, drawing.prompts, drawing.negative_prompts
    how = {name: getattr(wishes, name) for name in ("clip_skip", "prompt_weights", "long_prompts")}
    if wishes.long_prompts and wishes.guidance_scale not in (0, 1):
        both = networks.encode_prompt([*prompts, *negatives], **how)
        return both[: len(prompts)], both[len(prompts) :]
    cond = networks.encode_prompt(prompts, **how) if wishes.guidance_scale != 0 else None
    return cond, networks.encode_prompt(negatives, **how) if wishes.guidance_scale != 1 else None


def noise_of(drawing: Drawing, device: torch.device) -> Noise:
    """A function that draws the next noise of every picture, (n, channels, h, w), each from its own seed."""
    generators = drawing.generators()

    def noise() -> Tensor:
        drawn = drawing.noise(generators)
        if device.type == "cuda":  # from pinned memory, so that nobody waits for the copy
            drawn = drawn.pin_memory()
        return drawn.to(device, non_blocking=True)

    return noise


def starting_point(
    networks: Networks, drawing: Drawing, noise: Noise
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Stage 2. x at the plan's first noise level, the picture's latents or None, the noise: each (n, channels, h, w).

    The order of the draws is that of diffusers: the autoencoder's comes first.
    """
    plan, known = drawing.plan, None
    keeps = drawing.mask is not None and not networks.model.repaints
    if drawing.pictures is not None and (keeps or not drawing.from_noise):
        known = networks.encode_image(drawing.pictures, noise())
    first = noise() if drawing.latents is None else drawing.latents.to(networks.device)
    if drawing.from_noise:
        return plan.start * first, known, first
    return networks.schedule.add_noise(known, first, plan.sigmas[0]), known, first


def network_of(networks: Networks, drawing: Drawing) -> Network:
    """The U-Net as this run asks it; with a ``cache_interval`` not the whole of it in every call."""
    from sdlearn.reuse import reusing_deep_features

    interval = drawing.wishes.cache_interval
    unet = networks.for_a_run(interval)
    return reusing_deep_features(partial(networks.predict, unet=unet), unet, interval)


def guided_denoiser(
    networks: Networks, drawing: Drawing, network: Network, cond: Tensor | None, uncond: Tensor | None
) -> Denoise:
    """The network as a denoiser that follows the prompt as strongly as was asked."""
    wishes, kind = drawing.wishes, networks.schedule.config.prediction_type
    return classifier_free_guidance(
        Denoiser(network, networks.schedule, kind, drawing.plan.timestep),
        cond,
        uncond,
        wishes.guidance_scale,
        rescale=wishes.guidance_rescale,
        interval=wishes.guidance_interval,
        prediction_type=kind,
    )


def loop(networks: Networks, drawing: Drawing, denoise: Denoise, x: Tensor, noise: Noise) -> Iterator[Step]:
    """Stage 3. The sampler's steps from x, each when it is asked for, without those that the run has behind it."""
    plan, sampler, wishes = drawing.plan, drawing.sampler, drawing.wishes
    if drawing.done:
        x = drawing.done[-1].x_next.to(networks.device)
        for _ in drawing.done if sampler.stochastic or wishes.eta else ():
            noise()  # what these steps drew
    with visiting(networks.unet, networks.device):
        yield from sampler.run(denoise, x, plan.sigmas[len(drawing.done) :], noise, drawing.done, wishes.eta)


class Wrappers(NamedTuple):
    """What is put around the network, the denoiser and the steps of a run; by itself each stays as it is."""

    network: Callable[[Network], Network] = lambda network: network
    denoise: Callable[[Denoise], Denoise] = lambda denoise: denoise
    steps: Callable[[Iterator[Step]], Iterator[Step]] = lambda steps: steps


def around_a_mask(networks: Networks, drawing: Drawing, known: Any, first: Tensor, noise: Noise) -> Wrappers:
    """The wrappers of inpainting: a model made for it sees mask and picture, others are held to the known part."""
    from sdlearn import inpainting

    mask = inpainting.latent_mask(drawing.mask, networks.vae.config.factor).to(networks.device)
    noise_of_hole = noise()  # drawn for every model, as in diffusers
    if networks.model.repaints:
        hole = networks.encode_image(drawing.pictures * (drawing.mask < 0.5), noise_of_hole)
        extra = torch.cat([mask, hole], dim=1)  # (n, 1 + channels, h, w)
        return Wrappers(network=partial(inpainting.with_extra_channels, extra=extra))
    sigmas = drawing.plan.sigmas
    start = sigmas[0] if drawing.from_noise else None
    held = {"known": known, "mask": mask}
    return Wrappers(
        denoise=partial(inpainting.keep_known, **held, noise=first, unknown_above=start),
        steps=partial(inpainting.end_at_known, **held, end=sigmas[-1]),
    )


def steps_of(networks: Networks, drawing: Drawing) -> Iterator[Step]:
    """Stages 1 to 3 one after the other: the steps of the run, each when it is asked for."""
    noise, around = noise_of(drawing, networks.device), Wrappers()
    cond, uncond = text_vectors(networks, drawing)
    x, known, first = starting_point(networks, drawing, noise)
    if drawing.mask is not None:
        around = around_a_mask(networks, drawing, known, first, noise)
    network = around.network(network_of(networks, drawing))
    denoise = around.denoise(guided_denoiser(networks, drawing, network, cond, uncond))
    yield from around.steps(loop(networks, drawing, denoise, x, noise))


def pictures_of(
    networks: Networks, drawing: Drawing, latents: Tensor
) -> tuple[list[Image.Image], list[bool] | None]:
    """Stage 4. Latents in diffusers' scaling as pictures, and whether the safety checker, if any, flagged each."""
    if not torch.isfinite(latents).all():
        raise FloatingPointError(f"the latents hold NaN or infinity in {networks.dtype}; draw in float32.")
    images = networks.decode(latents)
    if drawing.paste_original:
        from sdlearn.inpainting import paste

        originals = to_images(drawing.pictures)
        softness = 2.0 * networks.vae.config.factor
        triples = zip(images, originals, drawing.mask, strict=True)
        images = [paste(*triple, softness) for triple in triples]
    if networks.safety_checker is None:
        return images, None
    images, flagged = networks.safety_checker.black_out(images)
    if any(flagged):
        warnings.warn(
            f"the safety checker blacked out {sum(flagged)} of {len(flagged)} pictures; load with "
            "safety_checker=False to see them.",
            stacklevel=4,
        )
    return images, flagged
