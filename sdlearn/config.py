"""Shapes and constants of every network, as plain data.

A config says *how big*, the modules say *how*. The small model of this course and Stable Diffusion 1.5 or 2.1
differ in these numbers only. Field names follow the JSON files of published checkpoints wherever those names
are clear; ``from_json`` is the one place that knows the others (such as ``attention_head_dim``, which in
published U-Net files holds the *number of heads*).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

CROSS_ATTENTION_DOWN, CROSS_ATTENTION_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
PLAIN_DOWN, PLAIN_UP = "DownBlock2D", "UpBlock2D"
TEXT_CLASS, PLAIN_CLASS = "UNet2DConditionModel", "UNet2DModel"  # diffusers' names of the whole network


def _per_level(value: Any, levels: int, name: str) -> tuple:
    """One value per level: a single number is repeated, a list must have the right length."""
    values = tuple(value) if isinstance(value, list | tuple) else (value,) * levels
    if len(values) != levels:
        raise ValueError(
            f"{name} has {len(values)} entries for {levels} levels: {value!r}; give one per level."
        )
    return values


def _known(cls: type, data: dict[str, Any]) -> dict[str, Any]:
    """The entries of ``data`` that are fields of ``cls``; lists become tuples, null means "not given"."""
    names = {field.name for field in fields(cls)}
    found = {key: value for key, value in data.items() if key in names and value is not None}
    known = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    for field in fields(cls):
        if field.name in known and field.name != "num_heads":
            _check_type(field.name, known[field.name], field.default)
    return known


def _check_type(name: str, value: Any, default: Any) -> None:
    """Raise ValueError unless ``value`` is of the kind of ``default``: a file may hold anything."""
    if isinstance(default, tuple):
        right = isinstance(value, tuple) and all(type(one) is type(default[0]) for one in value)
    elif isinstance(default, float):
        right = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    else:
        right = type(value) is type("" if default is None else default)
    if not right:
        raise ValueError(f"{name} must be like {default!r}, not {str(value)[:80]!r}")


@dataclass(frozen=True)
class UNetConfig:
    """The noise predictor. The defaults are Stable Diffusion 1.5 (859,520,964 parameters)."""

    in_channels: int = 4
    out_channels: int = 4
    sample_size: int = 64  # latent height and width the model was trained on
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    attention_levels: tuple[bool, ...] = (True, True, True, False)  # which levels hold transformers
    mid_attention: bool = True  # whether the bottom of the U holds one
    num_heads: tuple[int, ...] = (8, 8, 8, 8)
    cross_attention_dim: int = 768  # width of the text vectors
    use_linear_projection: bool = False  # True in SD 2.x: proj_in/out are Linear, not 1x1 convolutions
    upcast_attention: bool = False  # True in SD 2.1 768: attention scores in float32
    norm_num_groups: int = 32
    norm_eps: float = 1e-5

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> UNetConfig:
        """Read the ``unet/config.json`` of a published checkpoint."""
        known = _known(cls, data)
        levels = len(known.get("block_out_channels", cls.block_out_channels))
        if "down_block_types" in data:
            allowed = (CROSS_ATTENTION_DOWN, PLAIN_DOWN)
            unknown = [kind for kind in data["down_block_types"] if kind not in allowed]
            if unknown:
                raise ValueError(
                    f"unet config: block type {unknown[0]!r} is not one of {', '.join(allowed)}."
                )
            known["attention_levels"] = tuple(
                kind == CROSS_ATTENTION_DOWN for kind in data["down_block_types"]
            )
        if data.get("_class_name") == PLAIN_CLASS:  # a U-Net without text
            if data.get("add_attention", True):
                raise ValueError("unet config: a U-Net without text is read with add_attention false only.")
            known["mid_attention"] = False
        heads = data.get("num_attention_heads") or data.get("attention_head_dim")
        if heads is not None:
            known["num_heads"] = heads
        known["num_heads"] = _per_level(
            known.get("num_heads", cls.num_heads[0]), levels, "attention_head_dim"
        )
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """The same numbers under the names that diffusers reads."""
        down = [CROSS_ATTENTION_DOWN if level else PLAIN_DOWN for level in self.attention_levels]
        up = [CROSS_ATTENTION_UP if level else PLAIN_UP for level in reversed(self.attention_levels)]
        data = {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }
        del data["attention_levels"], data["mid_attention"]
        heads = data.pop("num_heads")
        common = {"down_block_types": down, "up_block_types": up}
        if not self.mid_attention:
            for name in ("cross_attention_dim", "use_linear_projection", "upcast_attention"):
                del data[name]
            return {"_class_name": PLAIN_CLASS, **data, **common, "add_attention": False}
        return {
            "_class_name": TEXT_CLASS,
            **data,
            **common,
            "attention_head_dim": heads,
            "mid_block_type": "UNetMidBlock2DCrossAttn",
            "act_fn": "silu",
            "flip_sin_to_cos": True,
            "freq_shift": 0,
            "downsample_padding": 1,
            "mid_block_scale_factor": 1,
            "center_input_sample": False,
        }


@dataclass(frozen=True)
class VAEConfig:
    """The autoencoder between pixels and latents. The defaults are Stable Diffusion's (83,653,863 parameters)."""

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    norm_eps: float = 1e-6
    scaling_factor: float = 0.18215  # makes the latents' standard deviation about 1
    sample_size: int = 512  # pixels

    @property
    def factor(self) -> int:
        """How many pixels one latent stands for, along one side: 8 for four levels."""
        return 2 ** (len(self.block_out_channels) - 1)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> VAEConfig:
        """Read ``vae/config.json``. Published SD 1.x files omit ``scaling_factor``: it is then 0.18215."""
        if data.get("scaling_factor") is not None and not data["scaling_factor"] > 0:
            raise ValueError(f"scaling_factor must be above 0, not {data['scaling_factor']!r}")
        return cls(**{key: value for key, value in _known(cls, data).items() if key != "norm_eps"})

    def to_json(self) -> dict[str, Any]:
        """The same numbers under the names that diffusers reads."""
        levels = len(self.block_out_channels)
        data = {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }
        del data["norm_eps"]  # 1e-6 in every published autoencoder, and not a setting there
        return {
            "_class_name": "AutoencoderKL",
            **data,
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
            "act_fn": "silu",
        }


@dataclass(frozen=True)
class CLIPTextConfig:
    """The text tower. The defaults are CLIP ViT-L/14, the text encoder of Stable Diffusion 1.x."""

    vocab_size: int = 49408
    max_position_embeddings: int = 77
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    hidden_act: str = "quick_gelu"  # "gelu" in SD 2.x
    layer_norm_eps: float = 1e-5
    projection_dim: int = 768
    bos_token_id: int = 49406
    eos_token_id: int = 49407
    pad_token_id: int = 49407

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CLIPTextConfig:
        """Read ``text_encoder/config.json``. The special ids published there (0, 1, 2) are known to be wrong."""
        known = _known(cls, data)
        if known.get("eos_token_id") == 2:
            for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
                known.pop(name, None)
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """The same numbers under the names that transformers reads."""
        return {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", **asdict(self)}


@dataclass(frozen=True)
class CLIPVisionConfig:
    """The image tower of CLIP, needed to train the text tower. The defaults are CLIP ViT-L/14."""

    image_size: int = 224
    patch_size: int = 14
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int = 768

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CLIPVisionConfig:
        """Read a vision ``config.json`` in transformers' layout."""
        return cls(**_known(cls, data))

    def to_json(self) -> dict[str, Any]:
        """The same numbers under the names that transformers reads."""
        return {
            "architectures": ["CLIPVisionModelWithProjection"],
            "model_type": "clip_vision_model",
            **asdict(self),
        }


DIFFUSERS_SCHEDULE = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "steps_offset": 0}


@dataclass(frozen=True)
class ScheduleConfig:
    """How much noise each of the training's timesteps holds, and how a sampler walks through them.

    The defaults are ``scheduler_config.json`` of Stable Diffusion 1.5. ``timestep_spacing`` None means that each
    sampler uses its own usual spacing, as diffusers does when the file does not name one.
    """

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"  # or "linear", "squaredcos_cap_v2"
    prediction_type: str = "epsilon"  # or "v_prediction"
    steps_offset: int = 1
    set_alpha_to_one: bool = False
    clip_sample: bool = False
    skip_prk_steps: bool = True
    timestep_spacing: str | None = None
    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    algorithm_type: str | None = None  # "sde-dpmsolver++" where a multistep solver draws noise
    scheduler: str = "PNDMScheduler"  # the class named in the file; its sampler is the model's default

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ScheduleConfig:
        """Read ``scheduler/scheduler_config.json``. What it leaves out is what diffusers' classes take then."""
        given = DIFFUSERS_SCHEDULE | {key: value for key, value in data.items() if value is not None}
        return cls(**_known(cls, given), scheduler=data.get("_class_name", cls.scheduler))

    def to_json(self) -> dict[str, Any]:
        """The same numbers under the names that diffusers reads."""
        data = {key: value for key, value in asdict(self).items() if value is not None and key != "scheduler"}
        for name in ("use_karras_sigmas", "use_exponential_sigmas"):  # readers that do not know them complain
            if not data[name]:
                del data[name]
        return {"_class_name": self.scheduler, **data, "trained_betas": None}
