"""The networks of a Stable Diffusion, one method each: what the pipeline is made of."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from sdlearn import checkpoint
from sdlearn.arguments import texts_of, usable_device, usable_dtype
from sdlearn.clip import CLIPTextModel
from sdlearn.compiled import CompiledUNet, check_compiler
from sdlearn.config import ScheduleConfig
from sdlearn.denoise import Network
from sdlearn.elsewhere import ATTRIBUTES, LOADING, refuse
from sdlearn.image import to_images
from sdlearn.memory import in_portions, tiled_decode, visiting
from sdlearn.prompts import chunks_of, equally_long, unread
from sdlearn.safety import SafetyChecker
from sdlearn.schedule import Schedule
from sdlearn.speed import prepared
from sdlearn.tokenizer import Tokenizer
from sdlearn.trace import Generation
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL
from sdlearn.wishes import Model

LOADED = "model, dtype, device, prediction_type, variant, tokenizer, vae, safety_checker, compile"


class Networks:
    """Three networks, a tokenizer and a noise schedule: loaded, moved, saved, and asked one by one."""

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
        self._compiled: CompiledUNet | None = None
        self.vae_name: str | None = None  # where another autoencoder than the checkpoint's own came from

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "scenes",
        dtype: torch.dtype | str = torch.float32,
        device: str = "cpu",
        *,
        prediction_type: str | None = None,
        variant: str | None = None,
        tokenizer: str | Path | None = None,
        vae: str | Path | None = None,
        safety_checker: bool = True,
        compile: bool = False,
        **elsewhere: Any,
    ) -> Self:
        """Load a folder in diffusers' layout, a .safetensors or .ckpt file, a shipped model, or one of the hub.

        ``prediction_type`` ("epsilon" or "v_prediction") overrides a folder's; a single file of SD 2 needs it. A
        single file holds no vocabulary: ``tokenizer`` is a folder that does, where none is found. ``variant``
        ("fp16", "non_ema") chooses among a folder's weights; ``vae`` is another autoencoder: a file, a folder, a name
        on the hub, or "scenes_detail", a second decoder for "scenes". A checkpoint's safety checker is used unless
        ``safety_checker`` is False. ``compile`` is told at the method of this name. Raises CheckpointError.
        """
        refuse(elsewhere, LOADING, there=LOADED)
        dtype = usable_dtype(dtype)
        usable_device(device)
        parts, opened = checkpoint.load_checkpoint(
            model, dtype, device, prediction_type=prediction_type, variant=variant, tokenizer=tokenizer
        )
        decoder = parts.vae
        if vae is not None:
            other_place = checkpoint.locate(vae, vae=True)
            if checkpoint.is_decoder(other_place):
                decoder = checkpoint.swap_decoder(decoder, other_place)
            else:
                other = checkpoint.open_vae(other_place)
                kinds = {(one.config.factor, one.config.latent_channels) for one in (other, decoder)}
                if len(kinds) > 1:
                    raise checkpoint.CheckpointError(
                        f"{vae} has latents of other pixels or channels than the model's own: take one of its family."
                    )
                decoder = other.load(dtype, device)
        place, checker = opened.source, None
        if safety_checker and opened.safety_checker is not None:
            checker = SafetyChecker.from_folder(opened.safety_checker, dtype, device)
        name = place.stem if place.is_file() else place.resolve().name
        if not Path(model).exists() and checkpoint.is_hub_id(str(model)):
            name = str(model)  # folders of the hub's cache are named by a checksum
        pipe = cls(
            parts.unet, decoder, parts.text_encoder, parts.tokenizer, parts.schedule_config, name, checker
        )
        pipe.checkpoint = opened
        if vae is not None:
            pipe.vae_name = other_place.stem if Path(vae).exists() else str(vae)
        return pipe.compile() if compile else pipe

    @classmethod
    def from_single_file(cls, *_: Any, **__: Any) -> Self:
        """Not here: ``from_pretrained`` opens single files, too."""
        raise TypeError("from_pretrained opens single files, too: from_pretrained('model.safetensors').")

    def __getattr__(self, name: str) -> Any:
        """Only for names that are not there: those of diffusers are answered."""
        instead = f": {ATTRIBUTES[name]}" if name in ATTRIBUTES else ""
        raise AttributeError(f"{type(self).__name__} has no {name!r}{instead}.")

    def save_pretrained(
        self, folder: str | Path, dtype: torch.dtype | str = torch.float16, overwrite: bool = False
    ) -> Path:
        """Write the folder that ``from_pretrained``, here and in diffusers, opens. Raises CheckpointError.

        In half precision, if ``dtype`` does not say otherwise.
        """
        dtype = usable_dtype(dtype)
        if self.safety_checker is not None:
            warnings.warn("the safety checker is not saved; copy its folder.", stacklevel=2)
        networks = self.unet, self.vae, self.text_encoder
        parts = checkpoint.Parts(*networks, self.tokenizer, self.schedule.config)
        return checkpoint.save_folder(parts, folder, dtype, overwrite)

    def to(
        self, device: str | torch.device | torch.dtype | None = None, dtype: torch.dtype | str | None = None
    ) -> Self:
        """Move the networks to a device, or to another type of numbers; returns itself."""
        if isinstance(device, torch.dtype):  # pipe.to(torch.float16)
            device, dtype = None, device
        if device is not None:
            device = usable_device(device)
        if dtype is not None:
            dtype = usable_dtype(dtype)
        for network in self._networks:
            network.to(device=device, dtype=dtype)
        if self._compiled is not None:
            self._compiled = CompiledUNet(self.unet, self.device)
        return self

    def compile(self) -> Self:
        """Turn the U-Net into machine code of its own, for each shape that is drawn, at its first step; returns itself.

        That takes a minute or more (said on stderr), and pays for those who draw many pictures of one shape. Weights
        must not change afterwards. On a CPU it needs a C++ compiler.
        """
        if self._visits is not None:
            raise ValueError(
                "save_memory and compile exclude each other: a compiled network stays where it is."
            )
        check_compiler(self.device)
        self._compiled = CompiledUNet(self.unet, self.device)
        return self

    def save_memory(self, device: str | torch.device | None = None, tile: int | None = None) -> Self:
        """Trade time for room on a graphics card; returns itself.

        The networks rest on the CPU, and each goes to ``device`` (default: where they are now) while it works; the
        two questions of guidance are asked one after the other; pictures are decoded in tiles of ``tile`` pixels
        (default: the model's own size).
        """
        if self._compiled is not None:
            raise ValueError(
                "save_memory and compile exclude each other: a compiled network stays where it is."
            )
        self._visits = usable_device(device) if device is not None else self.device
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
            sample_size=unet.sample_size,
            text_layers=self.text_encoder.config.num_hidden_layers,
            repaints=unet.in_channels != vae.latent_channels,
            dtype=str(self.dtype).removeprefix("torch."),
            vae=self.vae_name,
        )

    def __repr__(self) -> str:
        model = self.model
        size = f"{model.sample_size * model.factor}x{model.sample_size * model.factor} pixels"
        return f"{type(self).__name__}({self.name!r}, {size}, {model.dtype} on {self.device})"

    # The networks, one method each.

    @torch.no_grad()
    def encode_prompt(
        self,
        prompts: str | Sequence[str],
        *,
        clip_skip: int = 0,
        prompt_weights: bool = False,
        long_prompts: bool = False,
    ) -> Tensor:
        """n texts, or one -> (n, length, width) text vectors. Warns about a prompt that does not fit whole.

        ``clip_skip``, ``prompt_weights`` and ``long_prompts`` are told in sdlearn.prompts.
        """
        layers = self.text_encoder.config.num_hidden_layers
        prompts = texts_of("prompts", prompts)
        if not 0 <= clip_skip < layers:
            raise ValueError(f"clip_skip must be from 0 to {layers - 1}, got {clip_skip!r}.")
        chunked = []
        for prompt in prompts:
            for message in unread(prompt, prompt_weights):
                warnings.warn(message, stacklevel=2)
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
        channels = self.vae.config.latent_channels
        if latents.ndim != 4 or latents.shape[1] != channels:
            raise ValueError(
                f"latents must have the shape (n, {channels}, h, w), got {tuple(latents.shape)}; "
                "latents[None] makes one picture's a batch of one."
            )
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
    def predict(self, x: Tensor, timesteps: Tensor, context: Tensor, unet: Network | None = None) -> Tensor:
        """The U-Net as the denoiser needs it: float32 in and out, (B, channels, h, w). ``unet``: see for_a_run."""
        if self._visits is not None and len(x) > 1:  # one picture, one question at a time
            parts = zip(x.split(1), timesteps.split(1), context.split(1), strict=True)
            return torch.cat([self.unet(a.to(self.dtype), t, c).float() for a, t, c in parts])
        unet = self.unet if unet is None else unet
        return unet(x.to(self.dtype), timesteps, context).float()

    def for_a_run(self, cache_interval: int = 1) -> Network:
        """The U-Net as one run asks it: compiled, prepared (sdlearn.speed), or itself, where memory is scarce."""
        if self._visits is not None:
            return self.unet
        compiled = self._compiled
        # With a cache_interval parts of it are asked alone: of a compiled network that is not possible.
        if compiled is not None and compiled.unet is self.unet and cache_interval == 1:
            return compiled
        return prepared(self.unet)
