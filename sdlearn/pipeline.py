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
from sdlearn.drawing import Drawing, Model, Picture, image_to_image, repainting, resumed, text_to_image
from sdlearn.guidance import classifier_free_guidance
from sdlearn.image import to_images
from sdlearn.inpainting import end_at_known, keep_known, latent_mask, paste, with_extra_channels
from sdlearn.memory import explain_lack, in_portions, tiled_decode, visiting
from sdlearn.prompts import chunks_of, equally_long
from sdlearn.safety import SafetyChecker
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
        safety_checker: SafetyChecker | None = None,
    ):
        latents = vae.config.latent_channels
        if unet.config.in_channels not in (latents, 2 * latents + 1):
            raise ValueError(
                f"the U-Net reads {unet.config.in_channels} channels but the autoencoder's latents have {latents}; "
                "only models for text to image, and for inpainting with mask and masked picture, can be used."
            )
        # Convolutions read a pixel's channels together: an eighth of the time of a picture saved on a CPU.
        self.unet = unet.eval().to(memory_format=torch.channels_last)
        self.vae = vae.eval().to(memory_format=torch.channels_last)
        self.text_encoder = text_encoder.eval()
        self.tokenizer, self.schedule, self.name = tokenizer, Schedule(schedule_config), name
        self.safety_checker = safety_checker
        self.checkpoint: checkpoint.Checkpoint | None = None  # what was loaded; print it for a report
        self.interrupted: Generation | None = None  # the steps of a run that was stopped; see ``resume``
        self._visits: torch.device | None = None  # where networks go to work, if they rest elsewhere
        self._tile: int | None = None  # latents along the side of a tile of the decoder

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "scenes",
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        *,
        prediction_type: str | None = None,
        variant: str | None = None,
        tokenizer: str | Path | None = None,
        vae: str | Path | None = None,
        safety_checker: bool = True,
    ) -> StableDiffusion:
        """Load a folder in diffusers' layout, a .safetensors or .ckpt file, a shipped model, or one of the hub.

        ``prediction_type`` ("epsilon" or "v_prediction") overrides a folder's; a single file of SD 2 needs it. A
        single file holds no vocabulary: ``tokenizer`` is a folder that does, where none is found. ``variant``
        ("fp16", "non_ema") chooses among a folder's weights; ``vae`` is another autoencoder, a file or a folder.
        A checkpoint's safety checker is used unless ``safety_checker`` is False. Raises CheckpointError.
        """
        parts, opened = checkpoint.load_checkpoint(
            model, dtype, device, prediction_type=prediction_type, variant=variant, tokenizer=tokenizer
        )
        schedule, decoder = parts.schedule_config, parts.vae
        if prediction_type is not None:
            schedule = replace(schedule, prediction_type=prediction_type)
        if vae is not None:
            decoder = checkpoint.open_vae(vae).load(dtype, device)
        place, checker = opened.source, None
        if safety_checker and (place / "safety_checker" / "config.json").is_file():
            checker = SafetyChecker.from_folder(place / "safety_checker", dtype, device)
        name = place.stem if place.is_file() else place.resolve().name
        pipe = cls(parts.unet, decoder, parts.text_encoder, parts.tokenizer, schedule, name, checker)
        pipe.checkpoint = opened
        return pipe

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
        for network in self._networks:
            network.to(device=device, dtype=dtype)
        return self

    def save_memory(
        self, device: str | torch.device | None = None, tile: int | None = None
    ) -> StableDiffusion:
        """Trade time for room on a graphics card; returns itself.

        The networks rest on the CPU, and each goes to ``device`` (default: where they are now) while it works; the
        two questions of guidance are asked one after the other; pictures are decoded in tiles of ``tile`` pixels
        (default: the model's own size).
        """
        self._visits = torch.device(device) if device is not None else self.device
        self._tile = max(
            16, (tile or self.unet.config.sample_size * self.vae.config.factor) // self.vae.config.factor
        )
        return self.to("cpu")

    @property
    def _networks(self) -> list[torch.nn.Module]:
        checker = [self.safety_checker.tower] if self.safety_checker else []
        return [self.unet, self.vae, self.text_encoder, *checker]

    @property
    def device(self) -> torch.device:
        """Where the networks work."""
        return self._visits or next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The networks' type of numbers. Between two networks everything is float32."""
        return next(self.unet.parameters()).dtype

    @property
    def model(self) -> Model:
        """What a request must know of the networks."""
        vae, unet = self.vae.config, self.unet.config
        return Model(
            name=self.name,
            schedule=self.schedule,
            channels=vae.latent_channels,
            factor=vae.factor,
            multiple=vae.factor * 2 ** (len(unet.block_out_channels) - 1),
            sample_size=unet.sample_size,
            text_layers=self.text_encoder.config.num_hidden_layers,
            repaints=unet.in_channels != vae.latent_channels,
        )

    # The networks, one method each.

    @torch.no_grad()
    def encode_prompt(
        self,
        prompts: Sequence[str],
        *,
        clip_skip: int = 0,
        prompt_weights: bool = False,
        long_prompts: bool = False,
    ) -> Tensor:
        """n texts -> (n, length, width) text vectors. Warns about a prompt that does not fit whole.

        ``clip_skip``, ``prompt_weights`` and ``long_prompts`` are told in sdlearn.prompts.
        """
        chunked = []
        for prompt in prompts:
            chunks, cut = chunks_of(self.tokenizer, prompt, prompt_weights, long_prompts)
            if cut:
                room = self.tokenizer.max_length - 2
                warnings.warn(f"prompt cut to {room} tokens, without {cut!r}.", stacklevel=2)
            chunked.append(chunks)
        chunked = equally_long(chunked, self.tokenizer)
        flat = [chunk for chunks in chunked for chunk in chunks]
        with visiting(self.text_encoder, self._visits) as tower:
            vectors = tower(torch.tensor([chunk.ids for chunk in flat], device=self.device), clip_skip)
            weights = torch.tensor([chunk.weights for chunk in flat], device=self.device).to(vectors)[
                ..., None
            ]
            if (weights != 1).any():
                empty = tower(torch.tensor([self.tokenizer.encode("")], device=self.device), clip_skip)
                vectors = empty + weights * (vectors - empty)
        return vectors.reshape(len(prompts), -1, vectors.shape[-1])  # chunks one after the other

    @torch.no_grad()
    def encode_image(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """(n, 3, H, W) in -1 ... 1 -> (n, channels, H / factor, W / factor), sampled with ``noise``."""
        with visiting(self.vae, self._visits) as vae:
            posterior = vae.encode(pixels.to(self.device, self.dtype))
        latents = posterior.sample(noise.to(self.device, self.dtype))
        return latents.float() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Latents (n, channels, h, w) -> n pictures. A preview of a step is ``decode(step.pred.x0)``."""
        latents = latents.to(self.device).float() / self.vae.config.scaling_factor
        with visiting(self.vae, self._visits) as vae:
            pixels = self._decode(vae, latents.to(self.dtype))
            if self.dtype != torch.float32 and not torch.isfinite(pixels).all():
                warnings.warn(
                    f"the decoder overflowed in {self.dtype}; it runs again in float32.", stacklevel=2
                )
                try:
                    pixels = self._decode(vae.float(), latents)
                finally:
                    vae.to(self.dtype)
        return to_images(pixels)

    def _decode(self, vae: AutoencoderKL, latents: Tensor) -> Tensor:
        factor = vae.config.factor
        if self._tile is not None:
            return torch.cat([tiled_decode(vae.decode, one, factor, self._tile) for one in latents.split(1)])
        return in_portions(vae.decode, latents, factor)

    @torch.no_grad()
    def predict(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """The U-Net as the denoiser needs it: float32 in and out, (B, channels, h, w)."""
        if self._visits is not None and len(x) > 1:  # one picture, one question at a time
            parts = zip(x.split(1), timesteps.split(1), context.split(1), strict=True)
            return torch.cat([self.unet(a.to(self.dtype), t, c).float() for a, t, c in parts])
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
        sdlearn.guidance; ``clip_skip``, ``prompt_weights``, ``long_prompts``, see sdlearn.prompts.
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
        """Paint where ``mask`` is white (lighter than middle grey), keep the rest of the picture.

        With any model; one made for inpainting (9 channels) is shown mask and picture, others are held to the known
        part at each step. Known pixels still pass through the autoencoder; ``paste_original`` puts the original ones
        back, with a soft edge. The rest as in ``img2img``.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "record", "more")}
        return self._draw(repainting(self.model, **given, **more), record)

    def resume(self, generation: Generation, step: int, **changes: Any) -> Generation:
        """Go on from the first ``step`` recorded steps of a run: of a result, or of ``interrupted``.

        ``changes`` may be another prompt, negative_prompt, guidance_scale, guidance_rescale or guidance_interval.
        Without any the result is the same.
        """
        if not isinstance(generation, Generation) or generation.drawing is None:
            raise TypeError(f"generation must be the result of a drawing, got {type(generation).__name__}.")
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
            return drawing.noise(generators).to(self.device)

        cond, uncond = self._text_vectors(drawing)
        x, known, first_noise = self._start(drawing, noise)
        network = self.predict
        if drawing.mask is not None:
            mask = latent_mask(drawing.mask, self.vae.config.factor).to(self.device)
            beside = self._hole(drawing, noise())  # drawn for every model, as in diffusers
            if self.model.repaints:
                network = with_extra_channels(network, torch.cat([mask, beside], dim=1))
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
        if known is not None and drawing.mask is not None and not self.model.repaints:
            start = plan.sigmas[0] if drawing.from_noise else None
            denoise = keep_known(denoise, known, mask, first_noise, start)
        if drawing.done:
            x = drawing.done[-1].x_next.to(self.device)
            for _ in drawing.done if drawing.sampler.stochastic or wishes.eta else ():
                noise()  # what these steps drew
        sigmas = plan.sigmas[len(drawing.done) :]
        with visiting(self.unet, self._visits):
            steps = drawing.sampler.run(denoise, x, sigmas, noise, drawing.done, wishes.eta)
            if known is not None and drawing.mask is not None and not self.model.repaints:
                steps = end_at_known(steps, known, mask, plan.sigmas[-1])
            yield from steps

    def _text_vectors(self, drawing: Drawing) -> tuple[Tensor | None, Tensor | None]:
        """(cond, uncond): of the prompts and of the negative prompts, equally long; None where nobody asks."""
        wishes, prompts, negatives = drawing.wishes, drawing.prompts, drawing.negative_prompts
        how = {name: getattr(wishes, name) for name in ("clip_skip", "prompt_weights", "long_prompts")}
        if wishes.long_prompts and wishes.guidance_scale not in (0, 1):
            both = self.encode_prompt([*prompts, *negatives], **how)
            return both[: len(prompts)], both[len(prompts) :]
        cond = self.encode_prompt(prompts, **how) if wishes.guidance_scale != 0 else None
        return cond, self.encode_prompt(negatives, **how) if wishes.guidance_scale != 1 else None

    def _start(self, drawing: Drawing, noise: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
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

    def _hole(self, drawing: Drawing, noise: Tensor) -> Tensor:
        """(n, 4, h, w): the latents of the picture with a grey hole, for a model made to repaint; else not computed."""
        return (
            self.encode_image(drawing.pictures * (drawing.mask < 0.5), noise)
            if self.model.repaints
            else noise
        )

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
        try:
            for last in bar:
                steps = [*steps, last] if record else [last]
            return self._finish(drawing, steps, record)
        except KeyboardInterrupt:
            if last is not None:
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
