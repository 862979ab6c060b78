"""A single file that holds all networks, as Stable Diffusion was first published: ``.safetensors`` or ``.ckpt``.

Such a file has no settings beside it: see single_file_configs.py. What its U-Net predicts, only the caller may know.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sdlearn.checkpoint import names as folder_names
from sdlearn.checkpoint import single_file_names as names
from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.checkpoint.files import Weights, open_weights
from sdlearn.checkpoint.folder import open_part
from sdlearn.checkpoint.parts import UNTOLD, Checkpoint, Part, Parts
from sdlearn.checkpoint.single_file_configs import text_config_of, unet_config_of, vae_config_of
from sdlearn.checkpoint.tensors import Place, outline, write_tensors
from sdlearn.clip import CLIPTextModel
from sdlearn.config import ScheduleConfig, UNetConfig
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

V_SAMPLE_SIZE = 96  # latents of SD 2 with v-prediction, which draws 768 pixels
PREDICTION_TYPES = ("epsilon", "v_prediction")
LAST_LAYER = "the last layer of the text tower, to which SD 2 does not listen"
COMPARING = "for comparing texts with pictures"
# Tensors of a training that drawing does not need, and why.
UNUSED = {
    r"model_ema\.": "averaged weights: the plain ones are used",
    r"(betas|alphas_cumprod|sqrt_|posterior_|log_one_minus|lvlb_weights|logvar|scale_factor)": "the noise schedule",
    r"first_stage_model\.(model_ema|loss)\.": "the autoencoder's training",
    r"cond_stage_model\..*position_ids$": "a table of 0, 1, 2, ...",
    r"cond_stage_model\.((model|transformer)\.)?(logit_scale|text_projection)": COMPARING,
    r"cond_stage_model\.model\.(attn_mask|visual\.)": COMPARING,
    r"(global_step|model\.optimizer|optimizer)": "the training's state",
}
# Names by which another kind of model is known.
OTHER_KINDS = {
    r"conditioner\.|.*label_emb\.": "Stable Diffusion XL",
    r"lora_|.*\.lora_|.*lora_(up|down|A|B)\.": "a LoRA, a small addition to a model that sdlearn does not read",
    r"control_model\.|.*zero_convs\.": "a ControlNet",
    r".*joint_blocks\.|.*double_blocks\.": "a newer kind (Stable Diffusion 3, Flux)",
    r"emb_params|string_to_param|clip_[gl]$": "a textual inversion, a few word vectors that sdlearn does not read",
    r"(down_blocks|up_blocks|mid_block)\.|(text_model\.)?encoder\.layers\.": "one network of a checkpoint folder",
}
VAE_ALONE = rf"({re.escape(names.VAE_PREFIX)})?(encoder|decoder)\.(conv_in|mid)"
WORD_WIDTHS = ((768,), (1024,))  # of the word vectors of SD 1 and 2
PARTS = {"U-Net": names.UNET_PREFIX, "autoencoder": names.VAE_PREFIX, "text encoder": "cond_stage_model."}


def with_usual_names(found: Iterable[str]) -> dict[str, str]:
    """{usual name: name in this file}: some files leave out ``text_model.``, or say ``vae.`` for the autoencoder."""
    bare = names.CLIP_PREFIX.removesuffix("text_model.")
    lacking = re.compile(re.escape(bare) + r"(embeddings|encoder|final_layer_norm)\.")
    usual: dict[str, str] = {}
    for name in found:
        today = name
        if lacking.match(name):
            today = names.CLIP_PREFIX + name[len(bare) :]
        elif name.startswith("vae."):
            today = names.VAE_PREFIX + name[len("vae.") :]
        if today in usual:
            raise CheckpointError(
                f"the file holds both {usual[today]!r} and {name!r}, two names of one tensor: take another copy."
            )
        usual[today] = name
    return usual


def is_open_clip(found: Iterable[str]) -> bool:
    """Whether the text tower is OpenCLIP's (SD 2)."""
    return any(name.startswith(names.OPEN_CLIP_PREFIX) for name in found)


def open_single_file(path: str | Path, prediction_type: str | None = None) -> Checkpoint:
    """A single file, read but for its numbers. Raises CheckpointError naming file, cause and remedy.

    ``prediction_type``, "epsilon" or "v_prediction", must be given to load SD 2 with 4 channels: both exist, and the
    file does not say which one it is.
    """
    path = Path(path)
    weights = open_weights([path])
    usual = with_usual_names(weights.tensors)
    found = {name: weights.tensors[theirs] for name, theirs in usual.items()}
    _check_kind(found, path)
    try:
        unet_config, vae_config, text_config = (
            unet_config_of(found),
            vae_config_of(found),
            text_config_of(found),
        )
    except (LookupError, ValueError, ArithmeticError) as error:
        raise CheckpointError(
            f"{path} is not of Stable Diffusion 1 or 2: no tensor {str(error)[:200]}; take one that is."
        ) from error
    second = is_open_clip(found)
    prediction_type = _prediction_type(second, unet_config, prediction_type)
    if prediction_type == "v_prediction":  # as published beside the one model that needs both
        unet_config = replace(unet_config, sample_size=V_SAMPLE_SIZE, upcast_attention=True)
    shapes = {
        "unet": outline(UNet, unet_config, path).state_dict(),
        "vae": outline(AutoencoderKL, vae_config, path).state_dict(),
        "text_encoder": outline(CLIPTextModel, text_config, path).state_dict(),
    }
    text = names.open_clip_table if second else names.clip_table
    tables = {
        "unet": _places(names.unet_table(shapes["unet"], unet_config), usual),
        "vae": _places(names.vae_table(shapes["vae"], vae_config), usual),
        "text_encoder": _places(text(shapes["text_encoder"]), usual),
    }
    used = {place.name for table in tables.values() for place in table.values()}
    last = f"{names.OPEN_CLIP_PREFIX}transformer.resblocks.{text_config.num_hidden_layers}." if second else ""
    left = _ignored([name for name, theirs in usual.items() if theirs not in used], last, path)
    parts = {
        "unet": Part(UNet, unet_config, weights, tables["unet"]),
        "vae": Part(AutoencoderKL, vae_config, weights, tables["vae"]),
        "text_encoder": Part(CLIPTextModel, text_config, weights, tables["text_encoder"]),
    }
    for part in parts.values():
        part.check()
    return Checkpoint(path, parts, ScheduleConfig(prediction_type=prediction_type), None, left)


def _check_kind(found: Mapping[str, Tensor], path: Path) -> None:
    """Raise CheckpointError, saying what the file is if its names tell, unless it holds all three networks."""
    lacking = [part for part, prefix in PARTS.items() if not any(name.startswith(prefix) for name in found)]
    for pattern, kind in OTHER_KINDS.items():
        if any(re.match(pattern, name) for name in found) and (lacking or kind.endswith("XL")):
            whole = path.resolve().parent.parent  # of one network in its folder
            take = "take a file or folder of one of these"
            if (whole / "model_index.json").is_file():
                take = f"give {whole}"
            raise CheckpointError(f"{path} is of {kind}, not a whole Stable Diffusion 1 or 2: {take}.")
    if len(lacking) > 1 and any(re.match(VAE_ALONE, name) for name in found):
        raise CheckpointError(
            f"{path} is an autoencoder (VAE) alone: give it beside a whole model, as --vae FILE (vae=FILE)."
        )
    if len(found) == 1 and next(iter(found.values())).shape[-1:] in WORD_WIDTHS:
        raise CheckpointError(
            f"{path} looks like a textual inversion, a few word vectors that sdlearn does not read: take a whole "
            "Stable Diffusion 1 or 2."
        )
    if lacking:
        first = ", ".join(sorted(found)[:2]) or "nothing"
        raise CheckpointError(
            f"{path} holds no {' and no '.join(lacking)} (it holds {first[:200]} ...): it is not a whole "
            "Stable Diffusion 1 or 2; take one."
        )


def _prediction_type(second: bool, unet: UNetConfig, given: str | None) -> str:
    """What the U-Net predicts, or that nobody has said it."""
    if given is not None and given not in PREDICTION_TYPES:
        raise CheckpointError(
            f"prediction_type {given!r} is unknown: pass one of {', '.join(map(repr, PREDICTION_TYPES))}."
        )
    if given is None and second and unet.in_channels == 4:
        return UNTOLD
    return given or "epsilon"


def _places(table: Mapping[str, str | tuple[str, int | None]], usual: Mapping[str, str]) -> dict[str, Place]:
    """{our name: place} of the tensors that the file has; the check of the part names the others."""
    places = {}
    for ours, theirs in table.items():
        name, third = theirs if isinstance(theirs, tuple) else (theirs, None)
        if name in usual:
            places[ours] = Place(usual[name], third)
    return places


def _ignored(left: Iterable[str], last_layer: str, path: Path) -> dict[str, int]:
    """Why the other tensors are of no use; CheckpointError for those that nobody knows."""
    counts: Counter[str] = Counter()
    for name in left:
        reason = next((why for pattern, why in UNUSED.items() if re.match(pattern, name)), None)
        if last_layer and name.startswith(last_layer):
            reason = LAST_LAYER
        if reason is None:
            raise CheckpointError(
                f"{path} holds {name[:200]!r}, which belongs to no Stable Diffusion 1 or 2: it is of another kind; "
                "take one of these."
            )
        counts[reason] += 1
    return dict(sorted(counts.items()))


def open_vae(path: str | Path) -> Part:
    """An autoencoder, to swap in: its folder, that of a model, or a file under any of the usual names."""
    path = Path(path)
    if (path / "vae" / "config.json").is_file():
        path = path / "vae"
    part = open_part(path, "vae") if path.is_dir() else _vae_of(open_weights([path]), path)
    part.check()
    return part


def _vae_of(weights: Weights, path: Path) -> Part:
    """The autoencoder in a file: with or without prefix, alone or in a whole model, under either kind of names."""
    usual = with_usual_names(weights.tensors)
    if not any(name.startswith(names.VAE_PREFIX) for name in usual):
        usual = {names.VAE_PREFIX + name: theirs for name, theirs in usual.items()}
    folder_like = {
        folder_names.vae_name(name.removeprefix(names.VAE_PREFIX)): theirs for name, theirs in usual.items()
    }
    if any(name.startswith("encoder.down_blocks.") for name in folder_like):
        raise CheckpointError(
            f"{path} has the names of a checkpoint folder: give the folder that holds it and its config.json."
        )
    found = {name: weights.tensors[theirs] for name, theirs in usual.items()}
    try:
        config = vae_config_of(found)
    except (LookupError, ValueError, ArithmeticError) as error:
        raise CheckpointError(
            f"{path} holds no autoencoder: no tensor {str(error)[:200]}; take one that does."
        ) from error
    shapes = outline(AutoencoderKL, config, path).state_dict()
    return Part(AutoencoderKL, config, weights, _places(names.vae_table(shapes, config), usual))


def join_open_clip(text: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text tower under OpenCLIP's names: query, key and value in one tensor."""
    places = sorted(names.open_clip_table(text).items(), key=lambda item: item[1][1] or 0)  # thirds in order
    joined: dict[str, list[Tensor]] = {}
    for ours, (theirs, _) in places:
        joined.setdefault(theirs, []).append(text[ours])
    return {theirs: parts[0] if len(parts) == 1 else torch.cat(parts) for theirs, parts in joined.items()}


def with_last_layer(file: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """OpenCLIP's tower has one layer more, to which SD 2 does not listen: a copy of the one before stands for it."""
    last, more = (f"{names.OPEN_CLIP_PREFIX}transformer.resblocks.{k}." for k in (layers - 1, layers))
    return file | {more + name[len(last) :]: t.clone() for name, t in file.items() if name.startswith(last)}


def write_single_file(parts: Parts, path: str | Path, dtype: torch.dtype = torch.float16) -> Path:
    """Write a single ``.safetensors`` file under the names of the first releases. Never overwrites."""
    path = Path(path)
    if path.exists():
        raise CheckpointError(f"cannot write {path}: it exists; give another name.")
    if path.suffix != ".safetensors":
        raise CheckpointError(f"cannot write {path}: the name must end in .safetensors.")
    unet, vae, text = (part.state_dict() for part in (parts.unet, parts.vae, parts.text_encoder))
    file = {theirs: unet[ours] for ours, theirs in names.unet_table(unet, parts.unet.config).items()}
    for ours, theirs in names.vae_table(vae, parts.vae.config).items():
        matrix = (
            ".attn_1." in theirs and vae[ours].ndim == 2
        )  # there the first releases had 1 x 1 convolutions
        file[theirs] = vae[ours][:, :, None, None] if matrix else vae[ours]
    if parts.text_encoder.config.hidden_act == "gelu":
        file |= with_last_layer(join_open_clip(text), parts.text_encoder.config.num_hidden_layers)
    else:
        file |= {theirs: text[ours] for ours, theirs in names.clip_table(text).items()}
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        write_tensors(file, unfinished, dtype)
        unfinished.rename(path)
    except CheckpointError:
        raise
    except Exception as error:  # OSError, and the library's own type
        raise CheckpointError(f"cannot write {path}: {brief(error)}; name another place.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return path
