"""A single file that holds all networks, as Stable Diffusion was first published: ``.safetensors`` or ``.ckpt``.

Such a file has no settings beside it. What the networks look like is read off the shapes of their tensors; what
shapes do not say (how many heads, what the U-Net predicts) follows from the family, or must be said by the caller.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from sdlearn.checkpoint import single_file_names as names
from sdlearn.checkpoint.errors import CheckpointError, brief
from sdlearn.checkpoint.folder import Parts
from sdlearn.checkpoint.tensors import build, read_tensors, write_tensors
from sdlearn.clip import CLIPTextModel
from sdlearn.config import CLIPTextConfig, ScheduleConfig, UNetConfig, VAEConfig
from sdlearn.tokenizer import Tokenizer
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

HEAD_WIDTH = 64  # of SD 2's U-Net and of both text towers; SD 1's U-Net has 8 heads everywhere
# Tensors of a training that drawing does not need, and why.
UNUSED = {
    r"model_ema\.": "averaged weights: the plain ones are used",
    r"(betas|alphas_cumprod|sqrt_|posterior_|log_one_minus|lvlb_weights|logvar|scale_factor)": "the noise schedule",
    r"first_stage_model\.loss\.": "the autoencoder's training loss",
    r"cond_stage_model\..*position_ids$": "a table of 0, 1, 2, ...",
    r"cond_stage_model\.(model\.)?(logit_scale|text_projection)": "for comparing texts with pictures",
    r"cond_stage_model\.(transformer\.)?(logit_scale|text_projection)": "for comparing texts with pictures",
    r"cond_stage_model\.model\.(attn_mask|visual\.)": "for comparing texts with pictures",
    r"(global_step|model\.optimizer|optimizer)": "the training's state",
}


@dataclass(frozen=True)
class Report:
    """What a file holds: its family, how many tensors each part used, and why the others were left."""

    family: str
    prediction_type: str
    used: dict[str, int]
    ignored: dict[str, int] = field(default_factory=dict)  # reason -> number of tensors

    def __str__(self) -> str:
        parts = ", ".join(f"{part} {count}" for part, count in self.used.items())
        left = "; ".join(f"{count} ignored ({reason})" for reason, count in self.ignored.items())
        return f"{self.family}, predicts {self.prediction_type}; tensors: {parts}" + (
            f"; {left}" if left else ""
        )


def read_file(path: Path) -> dict[str, Tensor]:
    """All tensors of a ``.safetensors`` or ``.ckpt`` file. No code in it ever runs. Raises CheckpointError."""
    if path.suffix != ".ckpt":
        return read_tensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # unpickling raises whatever it likes
        raise CheckpointError(
            f"{path} holds more than tensors ({brief(error)}), and sdlearn runs no code from a file: "
            "take the .safetensors of the same model."
        ) from error
    while isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no table of tensors: take another copy.")
    return content


def _numbers(found: Mapping[str, Tensor], pattern: str) -> list[int]:
    """The numbers that stand in the group of ``pattern`` in any name, sorted."""
    return sorted({int(match[1]) for name in found if (match := re.match(pattern, name))})


def unet_config_of(found: Mapping[str, Tensor]) -> UNetConfig:
    """The settings of a U-Net under CompVis' names."""
    start = re.escape(names.UNET_PREFIX)
    downs = _numbers(found, rf"{start}input_blocks\.(\d+)\.0\.op\.weight")
    blocks = _numbers(found, rf"{start}input_blocks\.(\d+)\.0\.out_layers\.3\.weight")
    layers = downs[0] - 1 if downs else len(blocks)
    firsts = [1, *(down + 1 for down in downs)]  # the first block of each level

    def tensor(name: str) -> Tensor:
        return found[names.UNET_PREFIX + name]

    channels = tuple(tensor(f"input_blocks.{first}.0.out_layers.3.weight").shape[0] for first in firsts)
    attention = tuple(f"{names.UNET_PREFIX}input_blocks.{first}.1.norm.weight" in found for first in firsts)
    middle = "middle_block.1."
    linear = tensor(middle + "proj_in.weight").ndim == 2
    return UNetConfig(
        in_channels=tensor("input_blocks.0.0.weight").shape[1],
        out_channels=tensor("out.2.weight").shape[0],
        block_out_channels=channels,
        layers_per_block=layers,
        attention_levels=attention,
        num_heads=tuple(width // HEAD_WIDTH if linear else 8 for width in channels),
        cross_attention_dim=tensor(middle + "transformer_blocks.0.attn2.to_k.weight").shape[1],
        use_linear_projection=linear,
    )


def vae_config_of(found: Mapping[str, Tensor]) -> VAEConfig:
    """The settings of an autoencoder under CompVis' names."""
    start = re.escape(names.VAE_PREFIX) + r"encoder\.down\."
    levels = _numbers(found, start + r"(\d+)\.block\.0\.conv1\.weight")
    key = names.VAE_PREFIX + "encoder.down.{}.block.0.conv1.weight"
    return VAEConfig(
        latent_channels=found[names.VAE_PREFIX + "post_quant_conv.weight"].shape[0],
        block_out_channels=tuple(found[key.format(level)].shape[0] for level in levels),
        layers_per_block=len(_numbers(found, start + r"0\.block\.(\d+)\.conv1\.weight")),
    )


def text_config_of(found: Mapping[str, Tensor]) -> CLIPTextConfig:
    """The settings of a text tower under CLIP's or OpenCLIP's names."""
    open_clip = names.OPEN_CLIP_PREFIX + "token_embedding.weight" in found
    prefix = names.OPEN_CLIP_PREFIX if open_clip else names.CLIP_PREFIX
    if open_clip:
        words, places = found[prefix + "token_embedding.weight"], found[prefix + "positional_embedding"]
        layers = len(_numbers(found, re.escape(prefix) + r"transformer\.resblocks\.(\d+)\.")) - 1  # see below
        inner = found[prefix + "transformer.resblocks.0.mlp.c_fc.weight"]
    else:
        words = found[prefix + "embeddings.token_embedding.weight"]
        places = found[prefix + "embeddings.position_embedding.weight"]
        layers = len(_numbers(found, re.escape(prefix) + r"encoder\.layers\.(\d+)\."))
        inner = found[prefix + "encoder.layers.0.mlp.fc1.weight"]
    # SD 2 listens to the last but one layer of its text tower: the last one is not built at all.
    return CLIPTextConfig(
        vocab_size=words.shape[0],
        max_position_embeddings=places.shape[0],
        hidden_size=words.shape[1],
        intermediate_size=inner.shape[0],
        num_hidden_layers=layers,
        num_attention_heads=words.shape[1] // HEAD_WIDTH,
        hidden_act="gelu" if open_clip else "quick_gelu",
        pad_token_id=0 if open_clip else CLIPTextConfig.pad_token_id,
    )


def is_open_clip(found: Mapping[str, Tensor]) -> bool:
    """Whether the text tower is OpenCLIP's (SD 2)."""
    return any(name.startswith(names.OPEN_CLIP_PREFIX) for name in found)


def with_text_prefix(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Some files leave out ``text_model.`` in the names of the text tower: put it in."""
    bare = names.CLIP_PREFIX.removesuffix("text_model.")
    lacking = re.compile(re.escape(bare) + r"(embeddings|encoder|final_layer_norm)\.")
    return {
        names.CLIP_PREFIX + name[len(bare) :] if lacking.match(name) else name: tensor
        for name, tensor in found.items()
    }


def take(
    found: Mapping[str, Tensor], table: Mapping[str, str], shapes: Mapping[str, torch.Size]
) -> dict[str, Tensor]:
    """{our name: tensor}; 1 x 1 convolutions become matrices where our network has a matrix, and back."""
    taken = {}
    for ours, theirs in table.items():
        if theirs not in found:
            continue  # `build` will name it
        tensor, shape = found[theirs], shapes[ours]
        same = tensor.shape[:2] == shape[:2] and tensor.numel() == shape.numel()
        taken[ours] = tensor.reshape(shape) if same else tensor
    return taken


def take_open_clip(
    found: Mapping[str, Tensor], table: Mapping[str, tuple[str, int | None]]
) -> dict[str, Tensor]:
    """{our name: tensor}; query, key and value are the thirds of one tensor."""
    return {
        ours: found[theirs] if third is None else found[theirs].chunk(3)[third]
        for ours, (theirs, third) in table.items()
        if theirs in found
    }


def join_open_clip(text: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text tower under OpenCLIP's names: the way back of `take_open_clip`."""
    places = sorted(names.open_clip_table(text).items(), key=lambda item: item[1][1] or 0)  # thirds in order
    joined: dict[str, list[Tensor]] = {}
    for ours, (theirs, _) in places:
        joined.setdefault(theirs, []).append(text[ours])
    return {theirs: parts[0] if len(parts) == 1 else torch.cat(parts) for theirs, parts in joined.items()}


def ignored(found: Mapping[str, Tensor], used: set[str], last_layer: str, path: Path) -> dict[str, int]:
    """Why the other tensors are of no use; CheckpointError for those that nobody knows."""
    reasons = {**UNUSED, last_layer: "the last layer of the text tower, to which SD 2 does not listen"}
    counts: Counter[str] = Counter()
    for name in found.keys() - used:
        reason = next((why for pattern, why in reasons.items() if pattern and re.match(pattern, name)), None)
        if reason is None:
            raise CheckpointError(
                f"{path} holds {name!r}, which belongs to no Stable Diffusion 1 or 2: it is another kind of model."
            )
        counts[reason] += 1
    return dict(sorted(counts.items()))


def tokenizer_for(path: Path, folder: str | Path | None) -> Tokenizer:
    """The vocabulary for a single file: from ``folder``, or from a folder ``tokenizer`` beside the file."""
    place = path.parent / "tokenizer" if folder is None else Path(folder)
    if not place.is_dir():
        raise CheckpointError(
            f"{path} holds no vocabulary, and {place} is no folder: pass tokenizer=FOLDER with CLIP's vocab.json and "
            "merges.txt, such as the tokenizer folder of any Stable Diffusion."
        )
    try:
        return Tokenizer.from_folder(place)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def load_single_file(
    path: str | Path,
    tokenizer: Tokenizer,
    prediction_type: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> tuple[Parts, Report]:
    """Read a single file. ``tokenizer`` comes from a folder: such files hold no vocabulary.

    ``prediction_type``, "epsilon" or "v_prediction", must be given for SD 2 with 4 channels: both exist, and the file
    does not say which one it is. Raises CheckpointError naming file, cause and remedy.
    """
    path = Path(path)
    found = with_text_prefix(read_file(path))
    for part, prefix in (("U-Net", names.UNET_PREFIX), ("autoencoder", names.VAE_PREFIX)):
        if not any(name.startswith(prefix) for name in found):
            raise CheckpointError(
                f"{path} holds no {part} (names beginning with {prefix}): it is not a whole model."
            )
    second = is_open_clip(found)
    try:
        unet_config, vae_config, text_config = (
            unet_config_of(found),
            vae_config_of(found),
            text_config_of(found),
        )
    except (KeyError, IndexError) as error:
        raise CheckpointError(
            f"{path} is not of Stable Diffusion 1 or 2: no tensor {brief(error)}."
        ) from error
    if prediction_type is None and second and unet_config.in_channels == 4:
        raise CheckpointError(
            f"{path} is of SD 2 and does not say what its U-Net predicts: pass prediction_type='epsilon' "
            "(SD 2 base, 512 pixels) or 'v_prediction' (SD 2 with 768 pixels)."
        )
    prediction_type = prediction_type or "epsilon"
    shapes = {}
    for part, make, config in (
        ("unet", UNet, unet_config),
        ("vae", AutoencoderKL, vae_config),
        ("text_encoder", CLIPTextModel, text_config),
    ):
        with torch.device("meta"):
            shapes[part] = {name: tensor.shape for name, tensor in make(config).state_dict().items()}
    unet_table = names.unet_table(shapes["unet"], unet_config)
    vae_table = names.vae_table(shapes["vae"], vae_config)
    if second:
        text_table = names.open_clip_table(shapes["text_encoder"])
        text, text_used = take_open_clip(found, text_table), {theirs for theirs, _ in text_table.values()}
        last = re.escape(f"{names.OPEN_CLIP_PREFIX}transformer.resblocks.{text_config.num_hidden_layers}.")
    else:
        clip = names.clip_table(shapes["text_encoder"])
        text, text_used, last = take(found, clip, shapes["text_encoder"]), set(clip.values()), ""
    used = {"unet": set(unet_table.values()), "vae": set(vae_table.values()), "text_encoder": text_used}
    left = ignored(found, set().union(*used.values()), last, path)
    # The vocabulary may come from the other family: the same words, another padding.
    padding = 0 if second else tokenizer.eos_token_id
    tokenizer = Tokenizer(tokenizer.vocab, tokenizer.merges, tokenizer.max_length, padding)
    if tokenizer.vocab_size != text_config.vocab_size:
        raise CheckpointError(
            f"{path} knows {text_config.vocab_size} tokens, the given vocabulary has {tokenizer.vocab_size}: "
            "take CLIP's."
        )
    parts = Parts(
        build(UNet, unet_config, take(found, unet_table, shapes["unet"]), path, dtype, device),
        build(AutoencoderKL, vae_config, take(found, vae_table, shapes["vae"]), path, dtype, device),
        build(CLIPTextModel, text_config, text, path, dtype, device),
        tokenizer,
        ScheduleConfig(prediction_type=prediction_type),
    )
    family = ("SD 2" if second else "SD 1") + (" inpainting" if unet_config.in_channels == 9 else "")
    return parts, Report(
        family, prediction_type, {part: len(tensors) for part, tensors in used.items()}, left
    )


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
        file |= join_open_clip(text)
    else:
        file |= {theirs: text[ours] for ours, theirs in names.clip_table(text).items()}
    write_tensors(file, path, dtype)
    return path
