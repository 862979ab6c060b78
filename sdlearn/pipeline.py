"""Stable Diffusion put together: a prompt in, pictures out, every step in between within reach.

    text encoder -> [noise -> (U-Net, guidance, sampler) once a step] -> decoder

Every call is checked before a network runs (sdlearn.drawing).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sdlearn import checkpoint
from sdlearn.clip import CLIPTextModel
from sdlearn.config import ScheduleConfig
from sdlearn.denoise import Denoiser
from sdlearn.drawing import Drawing, Model, image_to_image, text_to_image
from sdlearn.guidance import classifier_free_guidance
from sdlearn.image import to_images
from sdlearn.paths import shipped_model
from sdlearn.schedule import Schedule
from sdlearn.tokenizer import Tokenizer
from sdlearn.trace import Generation, Step
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

SECONDS_BEFORE_A_BAR = 2.0  # shorter work shows no progress bar


class StableDiffusion:
    """Three networks, a tokenizer and a noise schedule, and the methods that draw with them."""

    def __init__(
        self,
        unet: UNet,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: Tokenizer,
        schedule_config: ScheduleConfig,
        name: str = "",
    ):
        if unet.config.in_channels != vae.config.latent_channels:
            raise ValueError(
                f"the U-Net reads {unet.config.in_channels} channels but the autoencoder's latents have "
                f"{vae.config.latent_channels}; only models for text to image can be used."
            )
        # Convolutions read a pixel's channels together: an eighth of the time of a picture saved on a CPU.
        self.unet = unet.eval().to(memory_format=torch.channels_last)
        self.vae = vae.eval().to(memory_format=torch.channels_last)
        self.text_encoder = text_encoder.eval()
        self.tokenizer, self.schedule, self.name = tokenizer, Schedule(schedule_config), name

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "scenes",
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        *,
        prediction_type: str | None = None,
        tokenizer: str | Path | None = None,
    ) -> StableDiffusion:
        """Load a folder in diffusers' layout, a single .safetensors or .ckpt file, or a shipped model by its name.

        A single file holds no vocabulary: ``tokenizer`` is a folder that does. ``prediction_type`` ("epsilon" or
        "v_prediction") overrides a folder's; a single file of SD 2 needs it. Raises CheckpointError.
        """
        place = Path(model)
        if not place.exists() and place.name == str(model):  # a bare name
            try:
                place = shipped_model(str(model))
            except FileNotFoundError as error:
                raise checkpoint.CheckpointError(str(error)) from None
        if place.is_file():
            words = checkpoint.tokenizer_for(place, tokenizer)
            parts, _ = checkpoint.load_single_file(place, words, prediction_type, dtype, device)
        else:
            parts = checkpoint.load_folder(place, dtype, device)
        schedule = parts.schedule_config
        if prediction_type is not None:
            schedule = replace(schedule, prediction_type=prediction_type)
        networks = parts.unet, parts.vae, parts.text_encoder
        return cls(
            *networks, parts.tokenizer, schedule, name=place.stem if place.is_file() else place.resolve().name
        )

    def save_pretrained(
        self, folder: str | Path, dtype: torch.dtype = torch.float16, overwrite: bool = False
    ) -> Path:
        """Write the folder that ``from_pretrained``, here and in diffusers, opens. Raises CheckpointError.

        In half precision, if ``dtype`` does not say otherwise.
        """
        networks = self.unet, self.vae, self.text_encoder
        parts = checkpoint.Parts(*networks, self.tokenizer, self.schedule.config)
        return checkpoint.save_folder(parts, folder, dtype, overwrite)

    def to(
        self, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> StableDiffusion:
        """Move the networks to a device, or to another type of numbers; returns itself."""
        for network in (self.unet, self.vae, self.text_encoder):
            network.to(device=device, dtype=dtype)
        return self

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The networks' type of numbers. Between two networks everything is float32."""
        return next(self.unet.parameters()).dtype

    @property
    def model(self) -> Model:
        """What a request must know of the networks."""
        vae, unet = self.vae.config, self.unet.config
        multiple = vae.factor * 2 ** (len(unet.block_out_channels) - 1)
        return Model(self.name, self.schedule, vae.latent_channels, vae.factor, multiple, unet.sample_size)

    # The networks, one method each.

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> Tensor:
        """n texts -> (n, length, width) text vectors. Warns about a prompt that does not fit whole."""
        for work in map(self.tokenizer.encode_and_show_work, dict.fromkeys(prompts)):
            if work.cut:
                unseen = self.tokenizer.decode(self.tokenizer.vocab[token] for token in work.cut)
                warnings.warn(f"prompt cut to {len(work.kept)} tokens, without {unseen!r}.", stacklevel=2)
        ids = torch.tensor([self.tokenizer.encode(prompt) for prompt in prompts], device=self.device)
        return self.text_encoder(ids)

    @torch.no_grad()
    def encode_image(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """(n, 3, H, W) in -1 ... 1 -> (n, channels, H / factor, W / factor), sampled with ``noise``."""
        posterior = self.vae.encode(pixels.to(self.device, self.dtype))
        latents = posterior.sample(noise.to(self.device, self.dtype))
        return latents.float() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Latents (n, channels, h, w) -> n pictures. A preview of a step is ``decode(step.pred.x0)``."""
        latents = latents.to(self.device).float() / self.vae.config.scaling_factor
        pixels = self.vae.decode(latents.to(self.dtype))
        if self.dtype != torch.float32 and not torch.isfinite(pixels).all():
            warnings.warn(f"the decoder overflowed in {self.dtype}; it runs again in float32.", stacklevel=2)
            before = self.dtype
            try:
                pixels = self.vae.float().decode(latents)
            finally:
                self.vae.to(before)
        return to_images(pixels)

    @torch.no_grad()
    def predict(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """The U-Net as the denoiser needs it: float32 in and out, (B, channels, h, w)."""
        return self.unet(x.to(self.dtype), timesteps, context).float()

    # Drawing.

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
    ) -> Generation:
        """Draw what a text says: one picture a prompt, or ``num_images_per_prompt`` of each.

        ``sampler`` is a name in ``sdlearn.samplers.SAMPLERS``, None for the one of the checkpoint. ``height``
        and ``width`` are pixels, None for the model's own. Picture k starts from ``seed`` + k, from its own
        seed of a list, or from ``latents``: unit-variance noise (n, channels, height/factor, width/factor).
        ``guidance_scale`` 1 follows the prompt alone (no negative prompt), 0 ignores it (diffusers: as 1).
        ``record=False`` keeps no steps; the pictures are the same.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "record")}
        return self._draw(text_to_image(self.model, **given), record)

    def img2img(
        self,
        image: Image.Image | str | Path | Sequence[Image.Image | str | Path],
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
    ) -> Generation:
        """Redraw a picture so that it fits a text: add noise, then run the last ``strength`` of the steps.

        ``image``: one for all prompts, or one a prompt; ``height`` and ``width`` cut it to shape, else its
        own size must do. The rest as in ``txt2img``.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "record")}
        return self._draw(image_to_image(self.model, **given), record)

    def txt2img_steps(self, prompt: str | Sequence[str], **arguments: Any) -> Iterator[Step]:
        """The steps of ``txt2img``: arguments are checked now, each step runs when it is asked for.

        The picture so far is ``decode(step.pred.x0)``, the last one
        ``decode(schedule.to_vp(step.x_next, step.sigma_next))``.
        """
        return self._steps(text_to_image(self.model, prompt, **arguments))

    def img2img_steps(self, image: Any, prompt: str | Sequence[str], **arguments: Any) -> Iterator[Step]:
        """The steps of ``img2img``: arguments are checked now, each step runs when it is asked for."""
        return self._steps(image_to_image(self.model, image, prompt, **arguments))

    def _steps(self, drawing: Drawing) -> Iterator[Step]:
        """Text vectors, a guided denoiser, a starting point; then the sampler's steps."""
        scale, plan = drawing.guidance_scale, drawing.plan
        cond = None if scale == 0 else self.encode_prompt(drawing.prompts)
        uncond = None if scale == 1 else self.encode_prompt(drawing.negative_prompts)
        denoise = Denoiser(self.predict, self.schedule, self.schedule.config.prediction_type, plan.timestep)
        guided = classifier_free_guidance(denoise, cond, uncond, scale)

        def noise() -> Tensor:
            return drawing.noise().to(self.device)

        if drawing.pictures is not None:  # the autoencoder's draw comes first, as in diffusers
            x = self.schedule.add_noise(self.encode_image(drawing.pictures, noise()), noise(), plan.sigmas[0])
        else:
            x = plan.start * (noise() if drawing.latents is None else drawing.latents.to(self.device))
        yield from drawing.sampler.run(guided, x, plan.sigmas, noise)

    def _draw(self, drawing: Drawing, record: bool) -> Generation:
        """Run all the steps, behind a progress bar where someone watches and it takes long, and decode."""
        from tqdm import tqdm

        bar = tqdm(
            self._steps(drawing),
            desc="drawing",
            total=len(drawing.plan.timesteps),
            delay=SECONDS_BEFORE_A_BAR,
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        steps: list[Step] = []
        for step in bar:
            steps = [*steps, step] if record else [step]
        last = steps[-1]
        latents = self.schedule.to_vp(last.x_next, last.sigma_next)
        if not torch.isfinite(latents).all():
            raise FloatingPointError(f"the latents hold NaN or infinity in {self.dtype}; draw in float32.")
        return Generation(self.decode(latents), latents, steps if record else [], drawing.settings)
