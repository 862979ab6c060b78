"""Stable Diffusion put together: a prompt in, pictures out, every step in between within reach.

    text encoder -> [noise -> (U-Net, guidance, sampler) once a step] -> decoder

Every call is checked before a network runs (sdlearn.drawing).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sdlearn.denoise import Denoiser
from sdlearn.drawing import Picture, image_to_image, repainting, resumed, text_to_image
from sdlearn.guidance import classifier_free_guidance
from sdlearn.image import to_images
from sdlearn.inpainting import end_at_known, keep_known, latent_mask, paste, with_extra_channels
from sdlearn.memory import explain_lack, visiting
from sdlearn.networks import Networks
from sdlearn.reuse import reusing_deep_features
from sdlearn.trace import Generation, Step
from sdlearn.wishes import Drawing

SECONDS_BEFORE_A_BAR = 2.0  # shorter work shows no progress bar


class StableDiffusion(Networks):
    """A loaded model and the methods that draw with it."""

    def txt2img(
        self,
        prompt: str | Sequence[str],
        negative_prompt: str | Sequence[str] = "",
        num_inference_steps: int = 25,
        guidance_scale: float = 7.5,
        sampler: str | None = "dpmpp_2m",
        height: int | None = None,
        width: int | None = None,
        num_images_per_prompt: int = 1,
        seed: int | Sequence[int] = 0,
        latents: Tensor | None = None,
        record: bool = True,
        **more: Any,
    ) -> Generation:
        """Draw what a text says: one picture a prompt, or ``num_images_per_prompt`` of each.

        ``sampler`` is a name in ``sdlearn.plan.SAMPLERS``, None for the one of the checkpoint. ``height``
        and ``width`` are pixels, None for the model's own. Picture k starts from ``seed`` + k, from its own
        seed of a list, or from ``latents``: unit-variance noise (n, channels, height/factor, width/factor).
        ``guidance_scale`` 1 follows the prompt alone (no negative prompt), 0 ignores it (diffusers: as 1).
        ``record=False`` keeps no steps; the pictures are the same.

        More, in ``img2img`` and ``inpaint`` too, all off at rest: ``spacing`` ("leading", "trailing", "linspace",
        "karras", "exponential"; None: the checkpoint's); ``eta``, the share of fresh noise for ddim, ddpm and
        euler_a; ``guidance_rescale`` (0 to 1) and ``guidance_interval`` (low, high noise level), see
        sdlearn.guidance; ``cache_interval``, which runs the whole U-Net in every so many calls only, see
        sdlearn.reuse; ``clip_skip``, ``prompt_weights``, ``long_prompts``, see sdlearn.prompts.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "record", "more")}
        return self._draw(text_to_image(self.model, **given, **more), record)

    def img2img(
        self,
        image: Picture | Sequence[Picture],
        prompt: str | Sequence[str],
        strength: float = 0.75,
        negative_prompt: str | Sequence[str] = "",
        num_inference_steps: int = 25,
        guidance_scale: float = 7.5,
        sampler: str | None = "dpmpp_2m",
        height: int | None = None,
        width: int | None = None,
        num_images_per_prompt: int = 1,
        seed: int | Sequence[int] = 0,
        record: bool = True,
        **more: Any,
    ) -> Generation:
        """Redraw a picture so that it fits a text: add noise, then run the last ``strength`` of the steps.

        ``image``: one for all prompts, or one a prompt; ``height`` and ``width`` cut it to shape, else its
        own size must do. The rest as in ``txt2img``.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "record", "more")}
        return self._draw(image_to_image(self.model, **given, **more), record)

    def inpaint(
        self,
        image: Picture | Sequence[Picture],
        mask: Picture | Sequence[Picture],
        prompt: str | Sequence[str],
        strength: float = 1.0,
        negative_prompt: str | Sequence[str] = "",
        num_inference_steps: int = 25,
        guidance_scale: float = 7.5,
        sampler: str | None = "dpmpp_2m",
        height: int | None = None,
        width: int | None = None,
        num_images_per_prompt: int = 1,
        seed: int | Sequence[int] = 0,
        paste_original: bool = False,
        record: bool = True,
        **more: Any,
    ) -> Generation:
        """Paint where ``mask`` is white (lighter than middle grey); keep what is black or transparent in it.

        With any model; one made for inpainting (9 channels) is shown mask and picture, others are held to the known
        part at each step. Known pixels still pass through the autoencoder; ``paste_original`` puts the original ones
        back, with a soft edge. The rest as in ``img2img``.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "record", "more")}
        return self._draw(repainting(self.model, **given, **more), record)

    def resume(self, generation: Generation, step: int, **changes: Any) -> Generation:
        """Go on from the first ``step`` recorded steps of a run: of a result, or of ``interrupted``.

        ``changes`` may be another prompt, negative_prompt, guidance_scale, guidance_rescale or guidance_interval.
        Without any the result is the same. With a ``cache_interval`` the first call is a whole one, since what is kept
        between steps is not recorded: the same if it was whole before, too, else a little different.
        """
        if not isinstance(generation, Generation):
            raise TypeError(f"generation must be the result of a drawing, got {type(generation).__name__}.")
        if generation.drawing is None:
            raise ValueError("this generation was drawn with record=False: there is no step to go on from.")
        return self._draw(resumed(generation.drawing, generation.steps, step, changes, self.model), True)

    def txt2img_steps(self, prompt: str | Sequence[str], **arguments: Any) -> Iterator[Step]:
        """The steps of ``txt2img``: arguments are checked now, each step runs when it is asked for.

        The picture so far is ``decode(step.pred.x0)``, the last one
        ``decode(schedule.to_vp(step.x_next, step.sigma_next))``.
        """
        return self._steps(text_to_image(self.model, prompt, **arguments))

    def img2img_steps(self, image: Any, prompt: str | Sequence[str], **arguments: Any) -> Iterator[Step]:
        """The steps of ``img2img``: arguments are checked now, each step runs when it is asked for."""
        return self._steps(image_to_image(self.model, image, prompt, **arguments))

    def inpaint_steps(
        self, image: Any, mask: Any, prompt: str | Sequence[str], **arguments: Any
    ) -> Iterator[Step]:
        """The steps of ``inpaint``: arguments are checked now, each step runs when it is asked for."""
        return self._steps(repainting(self.model, image, mask, prompt, **arguments))

    def _steps(self, drawing: Drawing) -> Iterator[Step]:
        """Text vectors, a starting point, a denoiser with guidance; then the sampler's steps."""
        plan, wishes, generators = drawing.plan, drawing.wishes, drawing.generators()

        def noise() -> Tensor:
            drawn = drawing.noise(generators)
            if self.device.type == "cuda":  # from pinned memory, so that nobody waits for the copy
                drawn = drawn.pin_memory()
            return drawn.to(self.device, non_blocking=True)

        cond, uncond = self._text_vectors(drawing)
        x, known, first_noise = self._start(drawing, noise)
        unet = self.for_a_run(wishes.cache_interval)
        network = reusing_deep_features(partial(self.predict, unet=unet), unet, wishes.cache_interval)
        mask = None
        if drawing.mask is not None:
            mask = latent_mask(drawing.mask, self.vae.config.factor).to(self.device)
            noise_of_hole = noise()  # drawn for every model, as in diffusers
            if self.model.repaints:
                hole = self.encode_image(drawing.pictures * (drawing.mask < 0.5), noise_of_hole)
                network = with_extra_channels(network, torch.cat([mask, hole], dim=1))
        keeps = mask is not None and not self.model.repaints
        kind = self.schedule.config.prediction_type
        denoise = classifier_free_guidance(
            Denoiser(network, self.schedule, kind, plan.timestep),
            cond,
            uncond,
            wishes.guidance_scale,
            rescale=wishes.guidance_rescale,
            interval=wishes.guidance_interval,
            prediction_type=kind,
        )
        if keeps:
            start = plan.sigmas[0] if drawing.from_noise else None
            denoise = keep_known(denoise, known, mask, first_noise, start)
        if drawing.done:
            x = drawing.done[-1].x_next.to(self.device)
            for _ in drawing.done if drawing.sampler.stochastic or wishes.eta else ():
                noise()  # what these steps drew
        sigmas = plan.sigmas[len(drawing.done) :]
        with visiting(self.unet, self._visits):
            steps = drawing.sampler.run(denoise, x, sigmas, noise, drawing.done, wishes.eta)
            yield from end_at_known(steps, known, mask, plan.sigmas[-1]) if keeps else steps

    def _text_vectors(self, drawing: Drawing) -> tuple[Tensor | None, Tensor | None]:
        """(cond, uncond): of the prompts and of the negative prompts, equally long; None where nobody asks."""
        wishes, prompts, negatives = drawing.wishes, drawing.prompts, drawing.negative_prompts
        how = {name: getattr(wishes, name) for name in ("clip_skip", "prompt_weights", "long_prompts")}
        if wishes.long_prompts and wishes.guidance_scale not in (0, 1):
            both = self.encode_prompt([*prompts, *negatives], **how)
            return both[: len(prompts)], both[len(prompts) :]
        cond = self.encode_prompt(prompts, **how) if wishes.guidance_scale != 0 else None
        return cond, self.encode_prompt(negatives, **how) if wishes.guidance_scale != 1 else None

    def _start(
        self, drawing: Drawing, noise: Callable[[], Tensor]
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Where the run begins, (n, channels, h, w) at the plan's first noise level; the picture's latents; the noise.

        The order of the draws is that of diffusers: the autoencoder's comes first.
        """
        plan, known = drawing.plan, None
        keeps = drawing.mask is not None and not self.model.repaints
        if drawing.pictures is not None and (keeps or not drawing.from_noise):
            known = self.encode_image(drawing.pictures, noise())
        first = noise() if drawing.latents is None else drawing.latents.to(self.device)
        if drawing.from_noise:
            return plan.start * first, known, first
        return self.schedule.add_noise(known, first, plan.sigmas[0]), known, first

    def _draw(self, drawing: Drawing, record: bool) -> Generation:
        """Run all the steps, behind a progress bar where someone watches and it takes long, and decode."""
        from tqdm import tqdm

        bar = tqdm(
            self._steps(drawing),
            desc="drawing",
            total=len(drawing.plan.timesteps),
            initial=len(drawing.done),
            delay=SECONDS_BEFORE_A_BAR,
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        steps: list[Step] = list(drawing.done)
        last: Step | None = None
        self.interrupted = None
        try:
            for last in bar:
                steps = [*steps, last] if record else [last]
            return self._finish(drawing, steps, record)
        except KeyboardInterrupt:
            if last is not None and record:
                latents = self.schedule.to_vp(last.x_next, last.sigma_next)
                self.interrupted = Generation([], latents, steps if record else [], drawing.settings, drawing)
            raise
        except torch.OutOfMemoryError as error:
            raise explain_lack(error, self.device) from error

    def _finish(self, drawing: Drawing, steps: list[Step], record: bool) -> Generation:
        """The last step's latents as pictures, checked."""
        latents = self.schedule.to_vp(steps[-1].x_next, steps[-1].sigma_next)
        if not torch.isfinite(latents).all():
            raise FloatingPointError(f"the latents hold NaN or infinity in {self.dtype}; draw in float32.")
        images, flagged = self.decode(latents), None
        if drawing.paste_original:
            originals = to_images(drawing.pictures)
            softness = 2.0 * self.vae.config.factor
            images = [
                paste(*pair, mask, softness)
                for *pair, mask in zip(images, originals, drawing.mask, strict=True)
            ]
        if self.safety_checker is not None:
            images, flagged = self.safety_checker.black_out(images)
            if any(flagged):
                warnings.warn(
                    f"the safety checker blacked out {sum(flagged)} of {len(flagged)} pictures; load with "
                    "safety_checker=False to see them.",
                    stacklevel=4,
                )
        kept = steps if record else []
        return Generation(images, latents, kept, drawing.settings, drawing if record else None, flagged)
