"""Stable Diffusion put together: a prompt in, pictures out, every step in between within reach.

Every call is checked before a network runs (sdlearn.drawing); what then happens is in sdlearn.stages.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from sdlearn.drawing import Picture, image_to_image, repainting, resumed, text_to_image
from sdlearn.elsewhere import with_a_mask
from sdlearn.memory import explain_lack
from sdlearn.networks import Networks
from sdlearn.progress import bar_size
from sdlearn.stages import pictures_of, steps_of
from sdlearn.trace import Generation, Step
from sdlearn.wishes import Drawing

SECONDS_BEFORE_A_BAR = 2.0  # shorter work shows no progress bar


class StableDiffusion(Networks):
    """A loaded model and the methods that draw with it."""

    def __call__(self, *_: Any, **__: Any) -> Generation:
        """Not here: a drawing has a name."""
        raise TypeError(
            "call pipe.txt2img(prompt), pipe.img2img(image, prompt) or pipe.inpaint(image, mask, prompt)."
        )

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

        ``sampler`` is a name in ``sdlearn.plan.SAMPLERS``, None for the one of the checkpoint: often pndm, which
        needs 50 steps or more at a strong guidance. ``height`` and ``width`` are pixels, None for the model's own.
        Picture k starts from ``seed`` + k, from its own seed of a list, or from ``latents``: unit-variance noise
        (n, channels, height/factor, width/factor).
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

    @with_a_mask
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
        if generation is None:
            raise TypeError("there is no run to go on from: none was stopped (pipe.interrupted is None).")
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

    @with_a_mask
    def inpaint_steps(
        self, image: Any, mask: Any, prompt: str | Sequence[str], **arguments: Any
    ) -> Iterator[Step]:
        """The steps of ``inpaint``: arguments are checked now, each step runs when it is asked for."""
        return self._steps(repainting(self.model, image, mask, prompt, **arguments))

    def _steps(self, drawing: Drawing) -> Iterator[Step]:
        return steps_of(self, drawing)

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
            **bar_size(),
        )
        steps: list[Step] = list(drawing.done)
        self.interrupted = None
        try:
            for step in bar:
                steps = [*steps, step] if record else [step]
            latents = self.schedule.to_vp(steps[-1].x_next, steps[-1].sigma_next)
            images, flagged = pictures_of(self, drawing, latents)
            steps = steps if record else []
            settings = deepcopy(drawing.settings)  # the caller's to change: the drawing keeps its own
            return Generation(images, latents, steps, settings, drawing if record else None, flagged)
        except KeyboardInterrupt:
            if steps and record:  # also those that a resumed run began with: nothing is lost
                latents = self.schedule.to_vp(steps[-1].x_next, steps[-1].sigma_next)
                self.interrupted = Generation([], latents, steps, deepcopy(drawing.settings), drawing)
            raise
        except torch.OutOfMemoryError as error:
            raise explain_lack(error, self.device) from error
