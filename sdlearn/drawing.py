"""What a caller asks the pipeline for, checked from the first argument to the last before a network runs.

A ValueError or TypeError names the argument, what was given and what is allowed. What comes out, a Drawing,
is plain data that nothing can go wrong with any more.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from sdlearn.arguments import (
    check_eta,
    check_guidance_scale,
    check_interval,
    check_reading,
    check_rescale,
    one_each,
    seeds_of,
    starting_noise,
    steps_left,
    texts_of,
    whole_number,
)
from sdlearn.image import check_size, load_image, to_tensor
from sdlearn.inpainting import latent_mask, mask_tensor
from sdlearn.plan import default_sampler, get_sampler, make_plan
from sdlearn.trace import Step
from sdlearn.wishes import Drawing, Model, Wishes, wishes_of

Picture = Image.Image | str | Path


def text_to_image(
    model: Model, /, prompt: str | Sequence[str], latents: Tensor | None = None, **asked: Any
) -> Drawing:
    """The request of ``StableDiffusion.txt2img``. Without a size: the latents', else the model's own."""
    if model.repaints:
        raise ValueError("this is an inpainting model: its U-Net needs a picture and a mask; use inpaint.")
    wishes = wishes_of(asked, model, "prompt", "latents", "record")
    own = (model.sample_size, model.sample_size)
    rows, columns = latents.shape[-2:] if isinstance(latents, Tensor) and latents.ndim == 4 else own
    height = rows * model.factor if wishes.height is None else wishes.height
    width = columns * model.factor if wishes.width is None else wishes.width
    drawing = _request(model, prompt, replace(wishes, height=height, width=width))
    if latents is None:
        return drawing
    settings = {**drawing.settings, "seed": None, "latents": "given"}
    return replace(drawing, latents=starting_noise(latents, drawing.shape), settings=settings)


def image_to_image(
    model: Model,
    /,
    image: Picture | Sequence[Picture],
    prompt: str | Sequence[str],
    strength: float = 0.75,
    **asked: Any,
) -> Drawing:
    """The request of ``StableDiffusion.img2img``: the last ``strength`` of the plan, from a noisy picture."""
    if model.repaints:
        raise ValueError(
            "this is an inpainting model: its U-Net needs a mask beside the picture; use inpaint."
        )
    wishes = wishes_of(asked, model, "image", "prompt", "strength", "record")
    images, size = _pictures(model, "image", image, wishes)
    drawing = _request(model, prompt, replace(wishes, width=size[0], height=size[1]))
    drawing = _later_start(drawing, strength)
    return replace(drawing, pictures=to_tensor(_fitted("image", images, drawing)), from_noise=False)


def repainting(
    model: Model,
    /,
    image: Picture | Sequence[Picture],
    mask: Picture | Sequence[Picture],
    prompt: str | Sequence[str],
    strength: float = 1.0,
    paste_original: bool = False,
    **asked: Any,
) -> Drawing:
    """The request of ``StableDiffusion.inpaint``: the mask is white where to paint, and of the picture's size.

    What is transparent in the mask is kept, as what is black: a mask painted on an empty layer means that.
    """
    wishes = wishes_of(asked, model, "image", "mask", "prompt", "strength", "paste_original", "record")
    images, size = _pictures(model, "image", image, wishes)
    masks = [load_image(one, behind="black") for one in (mask if isinstance(mask, list | tuple) else [mask])]
    pairs = zip(
        images * (len(masks) if len(images) == 1 else 1), masks * (len(images) if len(masks) == 1 else 1)
    )
    if not masks or any(one.size != image.size for image, one in pairs):
        sizes = ", ".join(sorted({f"{w}x{h}" for w, h in (one.size for one in masks)})) or "none"
        raise ValueError(
            f"mask must have the size of the image, {images[0].width}x{images[0].height} pixels, got {sizes}."
        )
    drawing = _request(model, prompt, replace(wishes, width=size[0], height=size[1]))
    drawing = _later_start(drawing, strength)
    painted = mask_tensor(_fitted("mask", masks, drawing))
    if not latent_mask(painted, model.factor).flatten(1).any(dim=1).all():
        raise ValueError(
            "mask is black all over, or white in strokes too thin to see: there is nothing to paint. Paint is "
            f"where it is white, in squares of {model.factor} pixels, whose upper left corner decides."
        )
    settings = {**drawing.settings, "paste_original": bool(paste_original)}
    return replace(
        drawing,
        pictures=to_tensor(_fitted("image", images, drawing)),
        mask=painted,
        from_noise=strength == 1,  # as in diffusers: nothing is known of the picture at the first step
        paste_original=bool(paste_original),
        settings=settings,
    )


def resumed(
    drawing: Drawing, steps: Sequence[Step], step: int, asked: dict[str, Any], model: Model
) -> Drawing:
    """The request to go on with ``drawing`` after its first ``step`` steps, where some wishes may have changed."""
    allowed = ("prompt", "negative_prompt", "guidance_scale", "guidance_rescale", "guidance_interval")
    wrong = [name for name in asked if name not in allowed]
    if wrong:
        raise TypeError(
            f"a resumed run cannot change {wrong[0]}: its start is fixed; it can change {', '.join(allowed)}."
        )
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise TypeError(f"step must be a whole number, got {step!r}.")
    last = min(len(steps), len(drawing.plan.timesteps) - 1)
    if not 0 <= step <= last or not steps:
        raise ValueError(f"step must be from 0 to {last}, the recorded steps (record=True), got {step}.")
    step = operator.index(step)
    prompt = asked.get("prompt", drawing.settings["prompt"])
    number = len(drawing.prompts) // drawing.wishes.num_images_per_prompt
    if len(texts_of("prompt", prompt)) == 1 < number:
        prompt = texts_of("prompt", prompt) * number
    if len(texts_of("prompt", prompt)) != number:
        several = f"{number} prompts; give one, or {number}" if number > 1 else "one prompt; give one"
        raise ValueError(f"a resumed run has as many pictures as before. This one is of {several}.")
    wishes = replace(drawing.wishes, **{name: value for name, value in asked.items() if name != "prompt"})
    checked = _request(model, prompt, wishes)
    return replace(
        drawing,
        prompts=checked.prompts,
        negative_prompts=checked.negative_prompts,
        wishes=checked.wishes,
        settings=_resumed_settings(drawing.settings, checked.settings, asked, step),
        done=tuple(steps[:step]),
    )


def _resumed_settings(
    before: dict[str, Any], now: dict[str, Any], asked: dict[str, Any], step: int
) -> dict[str, Any]:
    """The settings of a resumed run: where something has changed, also at which step and what it was before."""
    changed = [name for name in asked if now.get(name) != before.get(name)]
    if not changed:
        return before
    kept = {name: value for name, value in before.items() if name not in changed}
    kept |= {name: now[name] for name in changed if name in now}  # what is at rest is left out
    return {**kept, "resumed": {"step": step, **{name: before.get(name) for name in changed}}}


def _pictures(
    model: Model, name: str, given: Any, wishes: Wishes
) -> tuple[list[Image.Image], tuple[int, int]]:
    """The pictures of a request, read, and the (width, height) to draw: as asked, else their own."""
    images = [load_image(one) for one in (given if isinstance(given, list | tuple) else [given])]
    sizes = {one.size for one in images}
    if not images or (len(sizes) > 1 and None in (wishes.height, wishes.width)):
        raise ValueError(f"{name} must be one picture, or several of one size; else give height and width.")
    width, height = images[0].size
    if wishes.height is None and wishes.width is None and (width % model.factor or height % model.factor):
        side = model.sample_size * model.factor
        raise ValueError(
            f"the picture has {width}x{height} pixels, and sides must be multiples of {model.factor}: give "
            f"height and width (--size), such as {side} and {side}, and it is cut to that shape."
        )
    return images, (
        width if wishes.width is None else wishes.width,
        height if wishes.height is None else wishes.height,
    )


def _fitted(name: str, images: list[Image.Image], drawing: Drawing) -> list[Image.Image]:
    """One picture each for all of the request, cut to its size."""
    per_prompt = drawing.wishes.num_images_per_prompt
    size = drawing.wishes.width, drawing.wishes.height
    return [load_image(one, size) for one in one_each(name, images, len(drawing.prompts), per_prompt)]


def _later_start(drawing: Drawing, strength: float) -> Drawing:
    """The request with the last ``strength`` of its plan."""
    steps = drawing.wishes.num_inference_steps
    planned = len(drawing.plan.timesteps)  # of 1000 steps a plan may lack one
    skipped = min(steps - steps_left(strength, steps), planned - 1)
    settings = {**drawing.settings, "strength": float(strength)}
    return replace(drawing, plan=drawing.plan.after(skipped), settings=settings)


def _request(model: Model, prompt: Any, wishes: Wishes) -> Drawing:
    """What all kinds of requests have in common: every wish checked, the sizes known."""
    per_prompt = whole_number("num_images_per_prompt", wishes.num_images_per_prompt)
    negative_prompt = "" if wishes.negative_prompt is None else wishes.negative_prompt  # diffusers' default
    prompts, negatives = texts_of("prompt", prompt), texts_of("negative_prompt", negative_prompt)
    number = len(prompts) * per_prompt
    steps = whole_number(
        "num_inference_steps", wishes.num_inference_steps, model.schedule.config.num_train_timesteps
    )
    scale = check_guidance_scale(wishes.guidance_scale)
    config = model.schedule.config
    name = wishes.sampler
    name = default_sampler(config.scheduler, config.algorithm_type) if name is None else name
    sampler = get_sampler(name)
    check_size(wishes.width, wishes.height, model.factor)
    check_reading(prompts + negatives, wishes, model.text_layers)
    seeds = seeds_of(wishes.seed, number)
    if scale == 1 and any(negatives):
        warnings.warn(
            "negative_prompt has no effect at guidance_scale=1: it needs a scale above 1.", stacklevel=4
        )
    wishes = replace(
        wishes,
        num_inference_steps=steps,
        guidance_scale=scale,
        guidance_rescale=check_rescale(wishes.guidance_rescale),
        guidance_interval=None
        if wishes.guidance_interval is None
        else check_interval(wishes.guidance_interval),
        cache_interval=whole_number("cache_interval", wishes.cache_interval),
        clip_skip=operator.index(wishes.clip_skip),
        eta=check_eta(wishes.eta, name, sampler),
        num_images_per_prompt=per_prompt,
    )
    return Drawing(
        prompts=one_each("prompt", prompts, number, per_prompt),
        negative_prompts=one_each("negative_prompt", negatives, number, per_prompt),
        wishes=wishes,
        sampler=sampler,
        plan=make_plan(sampler, model.schedule, steps, wishes.spacing, name),
        seeds=seeds,
        shape=(number, model.channels, wishes.height // model.factor, wishes.width // model.factor),
        settings=_settings(model, prompt, prompts, negative_prompt, negatives, name, seeds, wishes),
    )


def _settings(
    model, prompt, prompts, negative_prompt, negatives, name, seeds, wishes: Wishes
) -> dict[str, Any]:
    """For the record: what was asked, under the names of the arguments; what is at rest is left out."""
    always = {
        "model": model.name,
        "prompt": prompts if isinstance(prompt, list | tuple) else prompt,
        "negative_prompt": negatives if isinstance(negative_prompt, list | tuple) else negative_prompt,
        "num_inference_steps": wishes.num_inference_steps,
        "guidance_scale": wishes.guidance_scale,
        "sampler": name,
        "height": wishes.height,
        "width": wishes.width,
        "num_images_per_prompt": wishes.num_images_per_prompt,
        "seed": seeds[0] if len(seeds) == 1 else seeds,
    }
    always |= {} if model.dtype == "float32" else {"dtype": model.dtype}
    always |= {} if model.vae is None else {"vae": model.vae}
    at_rest = Wishes()
    rest = {
        field.name: getattr(wishes, field.name)
        for field in fields(Wishes)
        if field.name not in always and getattr(wishes, field.name) != getattr(at_rest, field.name)
    }
    return always | rest
