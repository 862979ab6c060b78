"""The folder layout of published checkpoints (diffusers'): one folder a part, and a ``model_index.json``.

    model_index.json
    unet/ vae/          config.json, diffusion_pytorch_model.safetensors
    text_encoder/       config.json, model.safetensors
    tokenizer/          vocab.json, merges.txt, special_tokens_map.json, tokenizer_config.json
    scheduler/          scheduler_config.json

Weights may also be in half precision (``….fp16.safetensors``), without averaging (``….non_ema.…``), in several files
with an index, or in PyTorch's older ``….bin``. What is written here, ``diffusers`` opens as it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdlearn.checkpoint import names
from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.checkpoint.files import open_weights
from sdlearn.checkpoint.parts import Checkpoint, Part, Parts
from sdlearn.checkpoint.tensors import Place
from sdlearn.clip import CLIPTextModel
from sdlearn.config import CLIPTextConfig, ScheduleConfig, UNetConfig, VAEConfig
from sdlearn.paths import shipped_model
from sdlearn.schedule import Schedule
from sdlearn.tokenizer import Tokenizer
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

LONGEST_JSON = 2**24  # bytes
COPY_AGAIN = "download or copy it again"
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
DECODER_FILE = "decoder.safetensors"  # of a second decoder, see decoder.py
MOST_TIMESTEPS = 100_000
VARIANTS = ("", "fp16", "non_ema")  # looked for in this order


@dataclass(frozen=True)
class NetworkFiles:
    """How one network lies in its folder: its classes, its weight files, and the names in them."""

    network: type[nn.Module]
    config: type
    weights: str  # the weight file's name, without its ending
    old_weights: str  # the same for PyTorch's .bin
    our_name: Callable[[str], str] = str
    file_name: Callable[[str], str] = str
    unused: tuple[tuple[str, str], ...] = ()  # our name -> why it is of no use


NETWORKS = {
    "unet": NetworkFiles(UNet, UNetConfig, "diffusion_pytorch_model", "diffusion_pytorch_model"),
    "vae": NetworkFiles(
        AutoencoderKL, VAEConfig, "diffusion_pytorch_model", "diffusion_pytorch_model", names.vae_name
    ),
    "text_encoder": NetworkFiles(
        CLIPTextModel,
        CLIPTextConfig,
        "model",
        "pytorch_model",
        names.text_name,
        names.text_file_name,
        tuple(names.TEXT_UNUSED.items()),
    ),
}

# Settings that change the numbers and that the networks here know in one form only. null counts as not given.
FIXED = {
    "unet": {
        "act_fn": "silu",
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "center_input_sample": False,
        "downsample_padding": 1,
        "mid_block_scale_factor": 1,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "only_cross_attention": False,
        "mid_block_only_cross_attention": False,
        "cross_attention_norm": None,
        "attention_type": "default",
        "dual_cross_attention": False,
        "transformer_layers_per_block": 1,
        "resnet_time_scale_shift": "default",
        "resnet_skip_time_act": False,
        "resnet_out_scale_factor": 1,
        "time_embedding_type": "positional",
        "time_embedding_dim": None,
        "time_embedding_act_fn": None,
        "timestep_post_act": None,
        "conv_in_kernel": 3,
        "conv_out_kernel": 3,
        "class_embed_type": None,
        "addition_embed_type": None,
        "encoder_hid_dim": None,
        "num_class_embeds": None,
        "time_cond_proj_dim": None,
    },
    "vae": {
        "act_fn": "silu",
        "use_quant_conv": True,
        "use_post_quant_conv": True,
        "mid_block_add_attention": True,
        "shift_factor": None,
        "latents_mean": None,
        "latents_std": None,
    },
    "text_encoder": {},
    "scheduler": {
        "trained_betas": None,
        "clip_sample": False,
        "rescale_betas_zero_snr": False,
        "thresholding": False,
        "use_beta_sigmas": False,
        "use_lu_lambdas": False,
        "use_flow_sigmas": False,
        "final_sigmas_type": "zero",
        "solver_order": 2,
    },
}


def on_disk(source: str | Path) -> Path:
    """A file or folder that is there, or else the shipped model of that name. Raises CheckpointError for neither."""
    path = Path(source)
    try:
        return path if path.exists() else shipped_model(str(source))
    except (OSError, ValueError) as error:  # not shipped; or no path at all: too long, or with a NUL in it
        raise CheckpointError(str(error)) from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        if path.stat().st_size > LONGEST_JSON:
            raise CheckpointError(f"{path} is too long for settings: {COPY_AGAIN}.")
        data = json.loads(path.read_text(encoding="utf-8"))
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing, the checkpoint is not complete: {COPY_AGAIN}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({brief(error)}): {COPY_AGAIN}.") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not a {type(data).__name__}: {COPY_AGAIN}.")
    return data


def _read_config(folder: Path, part: str, config: type, file: str = "config.json") -> Any:
    """The settings of one part; raises CheckpointError on settings that would be silently wrong here."""
    path = folder / file
    data = read_json(path)
    for name, allowed in FIXED[part].items():
        if data.get(name) not in (None, allowed):
            raise CheckpointError(
                f"{path}: {name} is {data[name]!r}, and sdlearn knows {allowed!r} only: take another model."
            )
    try:
        return config.from_json(data)
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise CheckpointError(
            f"{path} does not describe a {part} that sdlearn knows ({brief(error)}): {COPY_AGAIN}."
        ) from error


def read_schedule(folder: Path) -> ScheduleConfig:
    """The noise schedule in ``folder``; raises CheckpointError where there is none that can be drawn with."""
    file = "scheduler_config.json"
    config = _read_config(folder, "scheduler", ScheduleConfig, file)
    try:
        _check_schedule(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise CheckpointError(
            f"{folder / file} gives no noise schedule ({brief(error)}): {COPY_AGAIN}."
        ) from error
    return config


def _check_schedule(config: ScheduleConfig) -> None:
    """Raise ValueError for a table that would fill the memory, unless its noise levels are finite and grow, or for an
    answer of the network that is not known."""
    if config.prediction_type not in ("epsilon", "v_prediction"):
        raise ValueError(f"prediction_type is {config.prediction_type!r}")
    if not 1 <= config.num_train_timesteps <= MOST_TIMESTEPS:
        raise ValueError(f"num_train_timesteps is {config.num_train_timesteps}")
    sigmas = Schedule(config).sigmas
    if not bool((sigmas > 0).all() and torch.isfinite(sigmas).all() and (sigmas.diff() > 0).all()):
        raise ValueError("its noise levels do not grow from timestep to timestep")


def _check_together(configs: dict[str, Any], tokenizer: Tokenizer, folder: Path) -> None:
    """Raise CheckpointError when the parts are each fine but come from different models."""
    unet, vae, text = configs["unet"], configs["vae"], configs["text_encoder"]
    problem = ""
    if unet.cross_attention_dim != text.hidden_size:
        problem = f"text vectors have width {text.hidden_size}, the U-Net reads {unet.cross_attention_dim}"
    elif unet.out_channels != vae.latent_channels:
        problem = f"the U-Net gives {unet.out_channels} channels, the autoencoder reads {vae.latent_channels}"
    elif tokenizer.vocab_size > text.vocab_size:
        problem = (
            f"the tokenizer gives ids below {tokenizer.vocab_size}, the text encoder knows {text.vocab_size}"
        )
    elif tokenizer.max_length > text.max_position_embeddings:
        length = text.max_position_embeddings
        problem = f"the tokenizer gives {tokenizer.max_length} ids, the text encoder reads {length}"
    if problem:
        raise CheckpointError(f"{folder} holds parts of different models: {problem}. Take all from one.")


def find_weights(folder: Path, name: str, old_name: str, variant: str | None = None) -> list[Path]:
    """The weight file of a part, or its shards. safetensors before .bin; without ``variant`` the plain ones first."""
    for stem, ending in ((name, ".safetensors"), (old_name, ".bin")):
        for kind in VARIANTS if variant is None else (variant,):
            dotted = f".{kind}" if kind else ""
            whole = folder / f"{stem}{dotted}{ending}"
            if whole.exists():
                return [whole]
            for index in (f"{stem}{ending}.index{dotted}.json", f"{stem}{dotted}{ending}.index.json"):
                if (folder / index).exists():
                    return _shards(folder / index)
    wanted = f"{name}.{variant}.safetensors" if variant else f"{name}.safetensors"
    there = sorted(
        path.name for path in folder.glob("*") if path.suffix in (".safetensors", ".bin", ".msgpack")
    )
    remedy = f"there is {', '.join(there[:3])}" if there else COPY_AGAIN
    raise CheckpointError(f"{folder / wanted} is missing: {remedy}.")


def _shards(index: Path) -> list[Path]:
    """The files that an index names, which must lie beside it."""
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise CheckpointError(f"{index} names no files: {COPY_AGAIN}.")
    shards = sorted(set(table.values()))
    for name in shards:
        if Path(name).name != name or "\\" in name:
            raise CheckpointError(f"{index} names {name!r}, which is not beside it: {COPY_AGAIN}.")
        if not (index.parent / name).is_file():
            raise CheckpointError(
                f"{index.parent / name} is missing, one of {len(shards)} files: {COPY_AGAIN}."
            )
    return [index.parent / name for name in shards]


def open_part(folder: Path, part: str, variant: str | None = None) -> Part:
    """One network, from its own folder: settings and names, no numbers yet. Raises CheckpointError."""
    return _part(folder, part, _read_config(folder, part, NETWORKS[part].config), variant)


def _part(folder: Path, part: str, config: Any, variant: str | None) -> Part:
    files, unused = NETWORKS[part], dict(NETWORKS[part].unused)
    weights = open_weights(find_weights(folder, files.weights, files.old_weights, variant))
    ours = {files.our_name(name): Place(name) for name in weights.tensors}
    ignored = Counter(unused[name] for name in ours if name in unused)
    table = {name: place for name, place in ours.items() if name not in unused}
    return Part(files.network, config, weights, table, dict(ignored))


def _check_folder(folder: Path) -> None:
    """Raise CheckpointError for what is no checkpoint folder, or that of another kind of model."""
    if not folder.is_dir():
        kind = "is a file, not a checkpoint folder" if folder.exists() else "does not exist"
        raise CheckpointError(f"{folder} {kind}: give the folder that holds model_index.json.")
    if not (folder / "model_index.json").exists():
        if (folder / "model" / "model_index.json").exists():  # the --out folder of a training
            raise CheckpointError(
                f"{folder} holds a training, its model is in {folder / 'model'}: give that."
            )
        if (folder / DECODER_FILE).is_file():
            raise CheckpointError(
                f"{folder} is a second decoder, not a whole model: give it beside one, as --vae {folder} "
                "(vae=...)."
            )
        if (folder / "config.json").is_file():
            _refuse_part(folder)
        untrained = [part for part in NETWORKS if not (folder / part).is_dir()]
        if len(untrained) < len(NETWORKS):
            raise CheckpointError(
                f"{folder} has no model_index.json and no {', '.join(untrained) or 'scheduler'}: "
                "finish its training (sdlearn train) or copy it again."
            )
    pipeline = read_json(folder / "model_index.json").get("_class_name")
    if pipeline == "DDPMPipeline":  # such as the shipped cats_and_dogs
        raise CheckpointError(
            f"{folder} draws pixels, without text: open it in Python, with sdlearn.checkpoint.load_pixel_model "
            "(chapter 02)."
        )
    if pipeline not in PIPELINES:
        known = ", ".join(PIPELINES)
        raise CheckpointError(f"{folder / 'model_index.json'} is of a {pipeline}: take one of {known}.")


def _refuse_part(folder: Path) -> None:
    """CheckpointError for a folder of one network: what it is, and how it is used."""
    data, use = read_json(folder / "config.json"), "give the folder that holds it and model_index.json"
    kind = str(data.get("_class_name") or data.get("architectures") or "without a name")
    if kind == "AutoencoderKL":
        use = "give it beside a whole model, as --vae FOLDER (vae=FOLDER)"
    if kind == "NoisyClassifier":
        use = "open it in Python, with sdlearn.checkpoint.load_classifier (chapter 09)"
    raise CheckpointError(f"{folder} holds one network ({kind[:80]}), not a whole model: {use}.")


def open_folder(folder: str | Path, variant: str | None = None) -> Checkpoint:
    """A checkpoint folder, read but for its numbers. Raises CheckpointError naming file, cause and remedy."""
    folder = Path(folder)
    _check_folder(folder)
    # All settings first: they are small, and most mistakes show there.
    configs = {part: _read_config(folder / part, part, files.config) for part, files in NETWORKS.items()}
    schedule_config = read_schedule(folder / "scheduler")
    try:
        tokenizer = Tokenizer.from_folder(folder / "tokenizer")
    except ValueError as error:
        raise CheckpointError(f"{error} Remedy: {COPY_AGAIN}.") from error
    _check_together(configs, tokenizer, folder)
    parts = {part: _part(folder / part, part, config, variant) for part, config in configs.items()}
    for part in parts.values():
        part.check()
    return Checkpoint(folder, parts, schedule_config, tokenizer)


def load_folder(folder: str | Path, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Parts:
    """Read a checkpoint folder. Raises CheckpointError naming file, cause and remedy; nothing is guessed."""
    opened = open_folder(folder)
    return opened.load(opened.tokenizer, dtype, device)
