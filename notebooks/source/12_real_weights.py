# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Real weights
#
# > *You have built every part. Now somebody hands you four gigabytes of numbers. How do they get into your parts, and
# > what may go wrong on the way?*
#
# The code of this course draws with a real Stable Diffusion as it is. What lies between is a file. In this chapter you
# open it by hand: what is in it, under which names, and what is *not* in it, though one needs it to draw.
#
# | | |
# |---|---|
# | **You will build** | a reader of safetensors heads, and the rules between two ways to name all tensors |
# | **You need** | the parts of chapters 02 to 09 (here they are only filled); ᾱ and σ (01, 03) |
# | **Your time** | {reading} minutes of reading; {seconds} seconds of computing on {cores} CPU cores |
# | **Memory** | {megabytes} MB (real weights: several GB more); no graphics card, no network connection |
#
# **Do you have real weights?** Before you start Jupyter, write into the environment variable `SDLEARN_WEIGHTS` where
# they are: a folder in the layout of diffusers, a single file, or a name on the Hugging Face hub. This notebook then
# uses them, without a change. (A single file of Stable Diffusion 2 needs `SDLEARN_PREDICTION`, too; section 8 says
# why.) Else a model of the same shape, with random numbers, stands in for them, and no cell is skipped.

# %% [markdown]
# ## 1 · Opening a file
#
# Weights were first passed around as `.ckpt` files, which PyTorch writes with Python's `pickle`.

# %%
import copy
import io
import json
import math
import os
import pickle
import re
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import cosine_similarity, normalize
from torch.utils.flop_counter import FlopCounterMode

PROMPT, SEED = "an orange cat standing on a red castle", 7
scratch = tempfile.TemporaryDirectory()  # for files that we make; gone when the kernel stops
folder = Path(scratch.name)
mine = os.environ.get("SDLEARN_WEIGHTS")  # yours, or None

# %% [markdown]
# And from the course:

# %%
import sdlearn
from sdlearn import viz
from sdlearn.checkpoint import CheckpointError, open_checkpoint, write_single_file
from sdlearn.checkpoint.single_file import join_open_clip
from sdlearn.checkpoint.tensors import outline
from sdlearn.clip import CLIPTextModel
from sdlearn.config import CLIPTextConfig, ScheduleConfig, UNetConfig, VAEConfig
from sdlearn.denoise import from_epsilon, from_v, to_v
from sdlearn.evaluate import draw, fixed_cases, read_scores, shares
from sdlearn.image import to_images, to_tensor
from sdlearn.paths import shipped_model
from sdlearn.safety import SafetyChecker
from sdlearn.scenes import Oracle, render, sample_scene
from sdlearn.schedule import Schedule
from sdlearn.tokenizer import Tokenizer
from sdlearn.training.commands import load_clip
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

pipe = sdlearn.StableDiffusion.from_pretrained("scenes")  # the small model of this course

# %% [markdown]
# ### Guess before you read on
#
# You download `model.ckpt` from a stranger. You do not draw with it. You only load it, to see which tensors it holds.
# **What is the worst that can happen?**
#
# * **A**: The numbers are bad. Then the pictures are bad; loading is only reading.
# * **B**: The file is broken. Then loading ends with an error.
# * **C**: Whatever the stranger wants, on your computer, in your name.
#
# Here is such a file. It holds a tensor, and one more thing: an object that tells pickle how it wants to be rebuilt.
# `__reduce__` returns a function and its arguments.

# %%
guess = "A"


class Greeting:
    def __reduce__(self):
        return print, ("This was said by the file, while it was loaded.",)


torch.save({"weight": torch.ones(2), "greeting": Greeting()}, folder / "model.ckpt")
print("your guess:", guess)
found = torch.load(folder / "model.ckpt", weights_only=False)  # what programs did for years
print("and the tensor is there, too:", found["weight"])

# %% [markdown]
# It is C. A pickle is not data but a *program* for a small machine, and one of its instructions is "call this function
# with these arguments". Here it is `print`. It could be any function of any module that Python finds. Nobody has to
# use the object: it has run before `torch.load` returns.
#
# What can one do? First idea: look which functions the program asks for, and refuse all but a few. `Unpickler` lets us:
# whenever the program names something, it calls `find_class`.

# %%
ALLOWED = {("collections", "OrderedDict")}


class Careful(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"the file asks for {module}.{name}")
        return super().find_class(module, name)


for thing in ({"a": 1}, {"greeting": Greeting()}, copy.deepcopy):
    try:
        print("read:", Careful(io.BytesIO(pickle.dumps(thing))).load())
    except pickle.UnpicklingError as error:
        print("refused:", error)

# %% [markdown]
# `torch.load(…, weights_only=True)` does the like, more strictly, by a small machine of its own; today it is the
# default. (Guards have holes, too: keep PyTorch new.) sdlearn takes this way and no other. It does not ask "do you
# trust this file?", for a question that everybody answers with yes protects nobody.

# %%
try:
    open_checkpoint(folder / "model.ckpt")
except CheckpointError as error:
    print(str(error).replace(f"{folder}{os.sep}", ""))

# %% [markdown]
# ## 2 · A file without a program
#
# Better than a guarded program is no program. A `.safetensors` file has three parts: eight bytes that say how long the
# next part is; a text, which lists all tensors; and the numbers, one after the other. Look at our own model's U-Net:

# %%
file = shipped_model("scenes") / "unet" / "diffusion_pytorch_model.safetensors"
raw = file.read_bytes()
length = int.from_bytes(raw[:8], "little")
print(f"{len(raw):,} bytes; the text has {length:,} of them and begins so:")
print(raw[8:230].decode())

# %% [markdown]
# Names, types, shapes, and from where to where: nothing in it can be called. To read one:


# %%
# -> sdlearn/checkpoint/header.py
def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """{name: {"dtype", "shape", "data_offsets"}}, and how many bytes lie before the first number.

    ``data_offsets`` are where the tensor begins and ends, counted from the first number. Raises ValueError where the
    text is no JSON, has a name twice, or is said to be longer than the file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size - 8:
            raise ValueError(f"a head of {length} bytes is announced, and the file is shorter")
        entries = json.loads(file.read(length), object_pairs_hook=each_once)
    return entries, 8 + length


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dict. Raises ValueError if a name is there twice: which of the two would be meant?"""
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the name {twice[0]!r} appears twice")
    return dict(pairs)


# %%
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}


def read_by_hand(path):
    """All tensors of a safetensors file of these types. Copies the file in memory, which libraries avoid."""
    entries, before = read_header(path)
    numbers, tensors = bytearray(path.read_bytes()[before:]), {}
    for name, entry in entries.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            flat = torch.frombuffer(numbers[begin:end], dtype=TYPES[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


by_hand, by_library = read_by_hand(file), load_file(file)
equal = all(torch.equal(by_hand[name], tensor) for name, tensor in by_library.items())
print(f"{len(by_hand)} tensors, all equal to what the library reads: {equal}")
assert equal and by_hand.keys() == by_library.keys()

# %% [markdown]
# ## 3 · What is in Stable Diffusion
#
# The real file is too large to come with a course. Its *head* is not: it follows from the shapes of the networks, and
# shapes need no numbers. PyTorch has a device for this, `meta`, on which tensors have a shape and nothing else. We
# write the heads of Stable Diffusion 1.5 and 2.1, in the names that they were published with. (They come from the
# package here; section 4 builds them.)

# %%
from sdlearn.checkpoint import single_file_names

UNETS = {
    "SD 1.5": UNetConfig(),
    "SD 1.5 inpainting": UNetConfig(in_channels=9),
    "SD 2.1": UNetConfig(
        sample_size=96, num_heads=(5, 10, 20, 20), cross_attention_dim=1024, use_linear_projection=True
    ),
}
OPEN_CLIP = CLIPTextConfig(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=23,
    num_attention_heads=16,
    hidden_act="gelu",
    pad_token_id=0,
)
TEXTS = {name: OPEN_CLIP if "2" in name.split()[1] else CLIPTextConfig() for name in UNETS}


# %%
def networks_of(name):
    """The three networks of a family on the meta device: shapes without numbers."""
    kinds = (UNet, UNETS[name]), (AutoencoderKL, VAEConfig()), (CLIPTextModel, TEXTS[name])
    return [outline(kind, config, name) for kind, config in kinds]


def write_head(name, path):
    """The head of a single file in float16: eight bytes and a text. The numbers are left out."""
    unet, vae, text = (network.state_dict() for network in networks_of(name))
    file = {theirs: unet[ours] for ours, theirs in single_file_names.unet_table(unet, UNETS[name]).items()}
    file |= {theirs: vae[ours] for ours, theirs in single_file_names.vae_table(vae, VAEConfig()).items()}
    if TEXTS[name] is OPEN_CLIP:
        file |= join_open_clip(text)  # query, key and value lie in one tensor there
    else:
        file |= {theirs: text[ours] for ours, theirs in single_file_names.clip_table(text).items()}
    entries, place = {}, 0
    for key, tensor in file.items():
        size, shape = 2 * tensor.numel(), list(tensor.shape)
        if re.search(r"attn_1\.(q|k|v|proj_out)\.weight", key):  # of the autoencoder
            shape += [1, 1]  # written as 1 x 1 convolutions: the same as a linear layer at each place
        entries[key] = {"dtype": "F16", "shape": shape, "data_offsets": [place, place + size]}
        place += size
    head = json.dumps(entries).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)


# %%
PREFIXES = {
    "U-Net": "model.diffusion_model.",
    "autoencoder": "first_stage_model.",
    "text tower": "cond_stage_model.",
}
heads, gigabytes = {}, {}
for name in UNETS:
    write_head(name, folder / name)
    heads[name], _ = read_header(folder / name)
    print(name)
    for part, prefix in PREFIXES.items():
        shapes = [entry["shape"] for key, entry in heads[name].items() if key.startswith(prefix)]
        numbers = sum(math.prod(shape) for shape in shapes)
        gigabytes.setdefault(name, {})[part] = 2 * numbers / 1e9
        print(f"  {part:12} {len(shapes):4} tensors {numbers:>12,} numbers")

# %%
bytes_32 = 4 * sum(math.prod(entry["shape"]) for entry in heads["SD 1.5"].values())
print(
    f"SD 1.5 in float32: {bytes_32:,} bytes of numbers; the published file, head and tables, has 4,265,146,304"
)
assert abs(bytes_32 - 4_265_146_304) < 3e5
viz.stacked_bars(
    {name: gigabytes[name] for name in ("SD 1.5", "SD 2.1")},
    "gigabytes at two bytes a number",
    alt="Two lying bars. Stable Diffusion 1.5: 1.72 gigabytes of U-Net, 0.17 of autoencoder, 0.25 of "
    "text tower. 2.1: about the same U-Net and autoencoder, and a text tower nearly three times as large.",
)

# %% [markdown]
# Each bar is what we use of a file, at two bytes a number (the published file of 1.5 takes four). Most of it is the
# U-Net. The autoencoder is the same in both. What grew from 1 to 2 is the part that reads.
#
# If you have weights of your own, this is what they are. (Only heads are read. In a terminal: `sdlearn inspect FILE`.)

# %%
opened = None
if mine:
    opened = open_checkpoint(mine, prediction_type=os.environ.get("SDLEARN_PREDICTION"))
    print(opened)
else:
    print("SDLEARN_WEIGHTS is not set: a model of the same shape with random numbers will stand in.")

# %% [markdown]
# ## 4 · Two names for everything
#
# The same tensors go by two kinds of names. The first releases numbered the blocks of the U-Net straight through.
# Folders, and this course, name them by what they are. Here is the way down, in both:

# %%
ours = {key: tuple(t.shape) for key, t in networks_of("SD 1.5")[0].state_dict().items()}
prefix = PREFIXES["U-Net"]
theirs = {
    key.removeprefix(prefix): tuple(e["shape"])
    for key, e in heads["SD 1.5"].items()
    if key.startswith(prefix)
}


def places(names, pattern):
    """The distinct beginnings of names that fit a pattern, in order."""
    return list(dict.fromkeys(match[0] for name in names if (match := re.match(pattern, name))))


left = sorted(places(theirs, r"input_blocks\.\d+\.\d"), key=lambda place: int(place.split(".")[1]))
right = places(ours, r"down_blocks\.\d\.\w+\.\d")
for block in range(4):  # three numbers and one block in each row, both in the order of computing
    row = [one.removeprefix("input_blocks.") for one in left if (int(one.split(".")[1]) - 1) // 3 == block]
    names = [one.split(".")[2:] for one in right if one.startswith(f"down_blocks.{block}")]
    names.sort(key=lambda name: (name[0] == "downsamplers", name[1], name[0] == "attentions"))
    print(f"input_blocks:  {'  '.join(row):26} down_blocks.{block}:  {'  '.join(map('.'.join, names))}")

# %% [markdown]
# How do we find out what belongs to what? First idea: by shape. Where only one tensor has a shape, it must be that one.

# %%
count = Counter(theirs.values())
alone = sum(number == 1 for number in count.values())
shape, most = count.most_common(1)[0]
print(f"{alone} of {len(theirs)} tensors are the only one of their shape; {most} have the shape {shape}")

# %% [markdown]
# Shapes tell little: a deep network repeats itself. Second idea: replace pieces of text, `q.weight` by `to_q.weight`
# and so on, as programs do. It works until a file already has the newer name:

# %%
for key in ("mid.attn_1.q.weight", "mid.attn_1.to_q.weight"):
    print(f"{key:24} becomes {key.replace('q.weight', 'to_q.weight')}")

# %% [markdown]
# The second is wrong. So: *rules*, for whole segments between dots. `input_blocks.0` is our `conv_in`. From 1 on, each
# level takes three numbers: two residual blocks (`.0`, with attention as `.1`), and a downsampler; the last level has
# none, and takes two. On the way up counting begins at 0, and the upsampler sits in the third block, behind the
# attention if there is one.
#
# We write the rules in one direction, *from ours to theirs*, for names that we know completely. That makes a table;
# read backwards, it is the other direction. One set of rules both reads and writes.


# %%
# -> sdlearn/checkpoint/single_file_names.py
UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
CLIP_PREFIX = "cond_stage_model.transformer.text_model."  # SD 1
OPEN_CLIP_PREFIX = "cond_stage_model.model."  # SD 2

RESIDUAL_BLOCK = {  # within a residual block of the U-Net
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
TEXT_LAYER = {  # within a layer of OpenCLIP's text tower
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


# %%
# -> sdlearn/checkpoint/single_file_names.py
def _first_segments(name: str, table: dict[str, str]) -> str:
    """``name`` with its beginning exchanged by the table: whole segments only."""
    for ours, theirs in table.items():
        if name == ours or name.startswith(ours + "."):
            return theirs + name[len(ours) :]
    return name


def unet_name(name: str, config: UNetConfig) -> str:
    """CompVis' name of a tensor of our U-Net, without the prefix."""
    blocks, layers = len(config.block_out_channels), config.layers_per_block
    plain = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "mid_block.attentions.0": "middle_block.1",
    }
    place, kind, rest = "", "", ""
    if found := re.match(r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d+)\.(.*)", name):
        block, kind, number, rest = int(found[1]), found[2], int(found[3]), found[4]
        index = 1 + block * (layers + 1) + (layers if kind == "downsamplers" else number)
        place = f"input_blocks.{index}.{1 if kind == 'attentions' else 0}"
    elif found := re.match(r"up_blocks\.(\d+)\.(resnets|attentions|upsamplers)\.(\d+)\.(.*)", name):
        block, kind, number, rest = int(found[1]), found[2], int(found[3]), found[4]
        index = block * (layers + 1) + (layers if kind == "upsamplers" else number)
        has_attention = config.attention_levels[blocks - 1 - block]
        after = {"resnets": 0, "attentions": 1, "upsamplers": 2 if has_attention else 1}[kind]
        place = f"output_blocks.{index}.{after}"
    elif found := re.match(r"mid_block\.resnets\.(\d)\.(.*)", name):
        kind, place, rest = "resnets", f"middle_block.{2 * int(found[1])}", found[2]
    else:
        return _first_segments(name, plain)
    if kind == "resnets":
        rest = _first_segments(rest, RESIDUAL_BLOCK)
    elif kind == "downsamplers":
        rest = rest.replace("conv.", "op.", 1)
    return f"{place}.{rest}"


# %%
for key in (
    "conv_in.bias",
    "down_blocks.1.attentions.0.proj_in.weight",
    "down_blocks.2.resnets.1.conv1.bias",
):
    print(f"{key:42} becomes {unet_name(key, UNETS['SD 1.5'])}")

# %% [markdown]
# The autoencoder has its own peculiarity: its decoder counts levels from the picture's side, ours from the latents'.
# And OpenCLIP, the text tower of SD 2, keeps query, key and value in *one* tensor: ours is a third of it.


# %%
# -> sdlearn/checkpoint/single_file_names.py
def vae_name(name: str, config: VAEConfig) -> str:
    """CompVis' name of a tensor of our autoencoder, without the prefix. The decoder's levels count downwards there."""
    last = len(config.block_out_channels) - 1
    name = re.sub(r"\bdown_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"\bdown_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"\bup_blocks\.(\d+)\.resnets\.", lambda m: f"up.{last - int(m[1])}.block.", name)
    name = re.sub(r"\bup_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{last - int(m[1])}.upsample.", name)
    name = re.sub(r"\bmid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", name)
    if found := re.match(r"(.*)mid_block\.attentions\.0\.(.*)", name):
        return f"{found[1]}mid.attn_1.{_first_segments(found[2], VAE_ATTENTION)}"
    name = name.replace("conv_shortcut", "nin_shortcut")
    return name.replace("conv_norm_out", "norm_out")


def open_clip_name(name: str) -> tuple[str, int | None]:
    """OpenCLIP's name of a tensor of our text tower, without the prefix, and which third of that tensor it is."""
    plain = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding": "token_embedding",
        "final_layer_norm": "ln_final",
    }
    found = re.match(r"encoder\.layers\.(\d+)\.(.*)", name)
    if not found:
        return _first_segments(name, plain), None
    layer, rest = f"transformer.resblocks.{found[1]}", found[2]
    if third := re.match(r"self_attn\.([qkv])_proj\.(weight|bias)", rest):
        return f"{layer}.attn.in_proj_{third[2]}", "qkv".index(third[1])
    return f"{layer}.{_first_segments(rest, TEXT_LAYER)}", None


# %%
# -> sdlearn/checkpoint/single_file_names.py
def unet_table(names: Iterable[str], config: UNetConfig) -> dict[str, str]:
    """{our name: name in the single file} for every tensor of the U-Net."""
    return {name: UNET_PREFIX + unet_name(name, config) for name in names}


def vae_table(names: Iterable[str], config: VAEConfig) -> dict[str, str]:
    """{our name: name in the single file} for every tensor of the autoencoder."""
    return {name: VAE_PREFIX + vae_name(name, config) for name in names}


def clip_table(names: Iterable[str]) -> dict[str, str]:
    """{our name: name in the single file} for every tensor of the text tower of SD 1."""
    return {name: CLIP_PREFIX + name for name in names}


def open_clip_table(names: Iterable[str]) -> dict[str, tuple[str, int | None]]:
    """{our name: (name in the single file, third)} for every tensor of the text tower of SD 2."""
    return {
        name: (OPEN_CLIP_PREFIX + theirs, third) for name in names for theirs, third in [open_clip_name(name)]
    }


# %% [markdown]
# Does every one of their tensors get exactly one of ours, in the same shape? No name may be left over on either side: a
# loader that overlooks what it does not know (`strict=False`) draws noise and says nothing. (Our heads were written
# with the same rules, so this shows that they are one-to-one. Weights of your own were checked in section 3.) Real
# files hold more: tables of the schedule, averaged weights, whole numbers named `position_ids`, and in SD 2 a 24th
# layer of text. sdlearn knows such names, leaves them out, and counts them in its report. Any other name is an error.

# %%
for name in UNETS:
    unet, vae, text = (network.state_dict() for network in networks_of(name))
    table = unet_table(unet, UNETS[name])
    same = all(list(unet[o].shape) == heads[name][t]["shape"] for o, t in table.items())
    second = TEXTS[name] is OPEN_CLIP
    words = [t for t, _ in open_clip_table(text).values()] if second else list(clip_table(text).values())
    used = {*table.values(), *vae_table(vae, VAEConfig()).values(), *words}
    pairs = [(list(vae[o].shape), heads[name][t]["shape"]) for o, t in vae_table(vae, VAEConfig()).items()]
    other = [their_shape for our_shape, their_shape in pairs if their_shape != our_shape]
    assert all(their_shape in (our_shape, our_shape + [1, 1]) for our_shape, their_shape in pairs)
    print(
        f"{name:18} U-Net shapes agree: {same}; autoencoder: {len(other)} shapes with 1, 1 behind; "
        f"names left over: {len(heads[name].keys() ^ used)}"
    )
    assert same and used == heads[name].keys() and len(set(table.values())) == len(table)

small = {f"encoder.layers.0.self_attn.{kind}_proj.weight": torch.randn(4, 4) for kind in "qkv"}
joined = join_open_clip(small)  # as SD 2 has them: one tensor of (12, 4)
for our_name, (their_name, third) in open_clip_table(small).items():
    assert torch.equal(joined[their_name].chunk(3)[third], small[our_name])
print(
    "query, key and value joined, and found again in their thirds:",
    *(tuple(t.shape) for t in joined.values()),
)

# %% [markdown]
# The shapes with 1, 1 behind are 1 × 1 convolutions, the same as our linear layers. They are reshaped.
#
# ## 5 · Which family?
#
# A single file has no settings beside it. But a few shapes give the family away:

# %%
middle = prefix + "middle_block.1."
for name, head in heads.items():
    words = head[middle + "transformer_blocks.0.attn2.to_k.weight"]["shape"][1]
    channels = head[prefix + "input_blocks.0.0.weight"]["shape"][1]
    linear = len(head[middle + "proj_in.weight"]["shape"]) == 2
    print(
        f"{name:18} text vectors {words:4} wide, input {channels} channels, "
        f"into the transformer by a {'linear layer' if linear else '1 x 1 convolution'}"
    )

# %% [markdown]
# And what do shapes *not* say? In how many heads attention is split. Which activation the text tower uses. What pads a
# short prompt. Whether the U-Net answers with ε. All of these fit the same tensors, and none of them may be guessed
# wrongly. A folder has `config.json` files for them. For a single file one must know the family. Section 8 shows what
# happens else.

# %% [markdown]
# ## 6 · Estimate, then load
#
# Before you load gigabytes, compute what it will cost. The memory of the weights follows from the head. The time
# follows from the number of multiplications and additions, which PyTorch counts on `meta`, and from how many of them
# your machine does in a second.
#
# The stand-in draws 128 pixels in two steps, so that nobody has to wait. Weights of your own draw their own size on a
# graphics card; on a CPU, in ten steps, the largest size that the estimate puts below ten minutes, down to half. (A
# real model draws poorly at a size that it has not learnt.) An inpainting model cannot draw from nothing: it gets a
# grey picture, and a mask that says "all of it".

# %%
device = "cuda" if mine and torch.cuda.is_available() else "cpu"
dtype = torch.float16 if device == "cuda" else torch.float32
if opened:
    configs = [opened.parts[part].config for part in ("unet", "vae", "text_encoder")]
else:
    configs = [UNETS["SD 1.5"], VAEConfig(), TEXTS["SD 1.5"]]
shapes = [outline(*each, "shapes") for each in zip((UNet, AutoencoderKL, CLIPTextModel), configs)]
factor, own_side = configs[1].factor, configs[0].sample_size * configs[1].factor
steps = 25 if device == "cuda" else 10 if mine else 2
sides, patience = [own_side, own_side * 3 // 4, own_side // 2] if mine else [128], 600  # seconds


def operations(ask, *sizes):
    """How many multiplications and additions a network needs for inputs of these sizes."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ask(*(torch.empty(size, device="meta") for size in sizes))
    return counter.get_total_flops()


def operations_a_second(number=1024):
    """Measured on one product of two matrices, the best that the machine can do."""
    a = torch.rand(number, number, device=device, dtype=dtype)
    (a @ a).sum().item()  # the first time is slower
    begin = time.perf_counter()
    (a @ a @ a @ a).sum().item()
    return 3 * 2 * number**3 / (time.perf_counter() - begin)


# %%
context, rate = (1, configs[2].max_position_embeddings, configs[2].hidden_size), operations_a_second()
print(f"this machine: {rate / 1e9:,.0f} billion operations a second")
for side in sides:
    latent = (1, configs[0].in_channels, side // factor, side // factor)
    answer = operations(shapes[0], latent, (1,), context)
    decoding = operations(shapes[1].decode, (1, configs[1].latent_channels, *latent[2:]))
    estimate = (2 * steps * answer + decoding) / rate  # with guidance the U-Net answers twice a step
    print(
        f"{side} pixels: one answer of the U-Net {answer / 1e9:,.0f} billion operations, decoding "
        f"{decoding / 1e9:,.0f} billion; {steps} steps take {estimate:.1f} s"
    )
    if device == "cuda" or estimate < patience:
        break
weights = sum(t.numel() for one in shapes for t in one.state_dict().values())
for kind in (torch.float32, torch.float16):
    print(f"memory for the weights in {str(kind)[6:]}: {weights * kind.itemsize / 1e9:.2f} GB")
scores = 2 * configs[0].num_heads[0] * (own_side // factor) ** 4 * 4  # each place with each, twice a step
print(
    f"and while it draws {own_side} pixels: {scores / 1e9:.2f} GB for one attention's scores, if kept whole"
)
if not mine:
    full = operations(shapes[0], (1, 4, 64, 64), (1,), context)
    print(f"at 512 pixels, one answer: {full / 1e9:,.0f} billion, {full / answer:.1f} times as many")

# %% [markdown]
# Sixteen times the pixels, but more than that many operations: attention compares all places with all (chapter 08). So
# weights are not all the memory: 8 GB are tight in float32, and many CPUs are slow in float16.
#
# Now load. Without weights, the cell makes some: a billion random numbers would take gigabytes, so tensors with equally
# many inputs share theirs. The shapes are exact.


# %%
def with_random_numbers(networks):
    """Fill outlined networks; numbers up to 1 / sqrt(inputs), as new layers have them."""
    generator, largest, blocks = torch.Generator().manual_seed(0), Counter(), {}
    for tensor in (t for network in networks for t in network.state_dict().values() if t.ndim > 1):
        largest[tensor[0].numel()] = max(largest[tensor[0].numel()], tensor.numel())
    for inputs, size in largest.items():
        blocks[inputs] = torch.empty(size).uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
    for network in networks:
        numbers = {}
        for name, tensor in network.state_dict().items():
            if tensor.ndim == 1:
                numbers[name] = torch.full(tensor.shape, float("norm" in name and name.endswith("weight")))
                continue
            numbers[name] = blocks[tensor[0].numel()][: tensor.numel()].view(tensor.shape)
            if tensor.ndim == 4:  # in the order in which a pipeline wants them: no copy is made
                o, i, h, w = tensor.shape
                numbers[name] = numbers[name].view(o, h, w, i).permute(0, 3, 1, 2)  # (o, i, h, w)
        network.load_state_dict(numbers, assign=True)
    return networks


# %%
begin = time.perf_counter()
if mine:
    kind = os.environ.get("SDLEARN_PREDICTION")
    big = sdlearn.StableDiffusion.from_pretrained(mine, dtype, device, prediction_type=kind)
else:
    words = pipe.tokenizer  # to random weights all words are equal
    words = Tokenizer(words.vocab, words.merges, configs[2].max_position_embeddings)
    big = sdlearn.StableDiffusion(*with_random_numbers(shapes), words, ScheduleConfig(), name="stand-in")
if device == "cpu":
    big.save_memory()  # else a run keeps a second copy of the U-Net, sorted for speed
print(f"loaded in {time.perf_counter() - begin:.1f} s")

begin = time.perf_counter()
wish = dict(seed=SEED, num_inference_steps=steps, height=side, width=side, record=False)
if configs[0].in_channels > configs[0].out_channels:  # made for inpainting
    grey, all_of_it = (Image.new("RGB", (side, side), colour) for colour in ("grey", "white"))
    first = big.inpaint(grey, all_of_it, PROMPT, **wish)
else:
    first = big.txt2img(PROMPT, **wish)
seconds = time.perf_counter() - begin
print(f"drawn in {seconds:.1f} s, {seconds / estimate:.1f} times the estimate")
viz.strip(
    {"": first.images},
    [f"{big.name or 'yours'}, {side} pixels, {steps} steps"],
    zoom=2,
    alt="One square picture. From the stand-in's random numbers: a blur without any thing.",
)

# %% [markdown]
# Random numbers draw nothing, of course; but every layer of Stable Diffusion has run. The estimate is rough: a product
# of two matrices is the best case, and small pictures wait for weights to be fetched. It tells minutes from hours. With
# weights of your own, expect something orange and something red. (We have not tried: the course has no real weights.
# Two colours for two things are hard for these models.)
#
# ## 7 · Half the bits
#
# The text of section 2 says F16. Numbers of 16 bits (*half precision*) need half the memory, and a graphics card
# computes several times faster with them. There are two ways to spend 16 bits:

# %%
for kind in (torch.float32, torch.float16, torch.bfloat16):
    facts = torch.finfo(kind)
    stored = torch.tensor([1000.3, 70000.0]).to(kind).tolist()
    print(
        f"{str(kind)[6:]:8} largest {facts.max:10.5g}, next after 1: {1 + facts.eps:.7f}, "
        f"1000.3 is stored as {stored[0]:.7g}, 70,000 as {stored[1]:.7g}"
    )

# %% [markdown]
# float16 keeps eleven binary digits and ends at 65504. bfloat16 has the range of float32 and keeps 8. (A number halfway
# between two goes to the one whose last digit is 0.) Which is better? Few digits make small errors everywhere. We draw
# in both, and compare with float32:

# %%
exact = pipe.txt2img(PROMPT, seed=SEED)
drawn = {"float32": exact.images[0]}
for kind in (torch.float16, torch.bfloat16):
    half = sdlearn.StableDiffusion.from_pretrained("scenes", kind)
    out = half.txt2img(PROMPT, seed=SEED, record=False)
    off = (out.latents - exact.latents).abs() / exact.latents.std()
    print(f"{str(kind)[6:]:8} off by {off.mean():.4f} of the spread on average, {off.max():.3f} at most")
    drawn[str(kind)[6:]] = out.images[0]
    off = (to_tensor(out.images) - to_tensor(exact.images)).abs() * 10 - 1
    drawn[f"{str(kind)[6:]}, off × 10"] = to_images(off.clamp(-1, 1))[0]
viz.strip(
    {"": list(drawn.values())},
    list(drawn),
    zoom=2,
    alt="The same orange cat on a red castle in three types, alike to the eye. Ten times their differences from "
    "float32: nearly black for float16, coloured edges for bfloat16.",
)

# %% [markdown]
# In this picture bfloat16 errs several times as much as float16: each rounding is 2³ = 8 times coarser. (And the
# shipped numbers are float16 already, so only bfloat16 had to round them.) It takes a magnifier to see it.
#
# The other failure is seen by everybody. Beyond 65504 float16 has only infinity; infinity minus infinity is NaN, "not a
# number"; and one NaN in a normalisation makes all pixels NaN.
#
# Where do such large numbers come from? In a decoder, features run through a *stream*, to which each block adds. Each
# block first normalises what it takes from the stream; only shortcuts and upsamplers pass it on as it is. So nothing
# holds its size in check: multiply all that is written into it by 1,000, and the picture stays the same. We do just
# that to our decoder.

# %%
WRITERS = ("conv_in", "conv2", "to_out.0")  # what writes into the stream
# Two kinds of layers pass the stream on. What they take in is 1,000 times larger already; only their biases are not.
PASSERS = ("conv_shortcut.bias", "upsamplers.0.conv.bias")


def louder(vae, times):
    vae = copy.deepcopy(vae)
    for name, parameter in vae.decoder.named_parameters():
        if name.rsplit(".", 1)[0].endswith(WRITERS) or name.endswith(PASSERS):
            parameter.data *= times
    return vae


def largest_number(vae, latents):
    """The largest number that any layer of the decoder answers with."""
    seen, layers = [], [layer for layer in vae.decoder.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(lambda _, __, out: seen.append(out.abs().max())) for layer in layers]
    vae.decode(latents)
    for hook in hooks:
        hook.remove()
    return float(max(seen))


latents = exact.latents / pipe.vae.config.scaling_factor
loud, shown = louder(pipe.vae, 1000), {}
with torch.no_grad():
    quiet = pipe.vae.decode(latents)
    for name, vae in {"as it is": pipe.vae, "1,000 times louder": loud}.items():
        print(f"{name:18} largest number on the way {largest_number(vae, latents):,.0f}")
        for kind in (torch.float32, torch.float16, torch.bfloat16):
            pixels = copy.deepcopy(vae).to(kind).decode(latents.to(kind)).float()
            shown[f"{name}, {str(kind)[6:]}"] = to_images(pixels.nan_to_num(nan=-1.0))[0]  # black
            off = (pixels - quiet).abs().max()
            print(
                f"    {str(kind)[6:]:8} {pixels.isnan().float().mean():4.0%} NaN, pixels off by at most {off:.4f}"
            )

# %% [markdown]
# In float16 the loud decoder gives NaN and nothing else; programs show that as a black picture. SDXL, a later model,
# has such a decoder; somebody trained it further, so that smaller weights give nearly the same picture. sdlearn looks
# at the decoder's answer. If it is not finite, it decodes once more in float32 and says so. And weights that do not fit
# into the asked type are refused when they are loaded.
#
# That does not help where the *latents* are NaN already. In SD 2.1 for 768 pixels the scores of attention overflow in
# the U-Net; its settings say `upcast_attention`, and then sdlearn computes them in float32. So, which is better? The
# networks in float16, and what overflows in bfloat16 or float32.

# %%
half = sdlearn.StableDiffusion.from_pretrained("scenes", torch.float16)
half.vae = louder(pipe.vae, 1000).half()
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    shown["1,000 times louder, sdlearn"] = half.decode(exact.latents)[0]
print(*(one.message for one in said))
titles = ["1,000 times louder, " + kind for kind in ("float32", "float16", "bfloat16", "sdlearn")]
viz.strip(
    {"": [shown[title] for title in titles]},
    ["float32", "float16", "bfloat16", "float16 in sdlearn"],
    zoom=1.2,
    alt="The loud decoder: in float32 the orange cat on the castle, in float16 all black, in bfloat16 and "
    "in sdlearn's float16 the cat again.",
)

# %% [markdown]
# ## 8 · Stable Diffusion 1 beside 2
#
# Nearly everything is the same: autoencoder, schedule, vocabulary, the shape of the U-Net. What differs:

# %%
one, two = (UNETS[name] for name in ("SD 1.5", "SD 2.1"))
ROWS = {
    "text tower": ["OpenAI's CLIP, ViT-L", "OpenCLIP's, ViT-H"],
    "  its layers": [f"{TEXTS['SD 1.5'].num_hidden_layers}", f"{OPEN_CLIP.num_hidden_layers} of 24 are used"],
    "  its activation": [TEXTS["SD 1.5"].hidden_act, OPEN_CLIP.hidden_act],
    "  pads with token": [TEXTS["SD 1.5"].pad_token_id, OPEN_CLIP.pad_token_id],
    "text vectors": [f"77 of {TEXTS['SD 1.5'].hidden_size}", f"77 of {OPEN_CLIP.hidden_size}"],
    "heads by width": [one.num_heads, two.num_heads],
    "attention scores": ["as the rest", "in float32 (768 pixels)"],
    "into transformers": ["1 x 1 convolution", "linear layer"],
    "pixels": [8 * one.sample_size, f"512 (base) or {8 * two.sample_size}"],
    "answers with": ["ε", "ε (base) or v (768 pixels)"],
    "training": ["LAION aesthetics; 595,000 steps", "LAION, filtered; 550,000 steps at 256,"],
    "   ": ["after those of 1.2", "850,000 at 512; for v 150,000,"],
    " ": ["", "140,000 at 768; then as 2.1"],
    "  ": ["", "55,000 and, less filtered, 155,000"],
    "prompt left out": ["in 10 % of the steps", "(we found no figure)"],
}
for title, (first_column, second_column) in {"": ["SD 1.5", "SD 2.1"], **ROWS}.items():
    print(f"{title:17} {first_column!s:34} {second_column}")

# %% [markdown]
# (From the model cards. Leaving the prompt out makes guidance possible, chapter 09.) The surprise is "answers with v".
# What is v?
#
# Draw x0 to the right and ε upwards. (In many dimensions noise is at nearly a right angle to any picture.) A noisy
# picture is $x_t = \sqrt{\bar\alpha}\,x_0 + \sqrt{1-\bar\alpha}\,\varepsilon$, and the squares of the two factors add
# up to 1. So they are the cosine and the sine of an angle φ: adding noise is *turning*. The arrow that says where x_t
# goes as φ grows is called v (Salimans and Ho 2022):

# %%
alpha_bar = pipe.schedule.alpha_bar
viz.turning(
    {f"t = {t}": float((1 / alpha_bar[t] - 1).sqrt().atan()) for t in (0, 500, 999)},
    alt="A quarter of a circle from x0, right, to ε, above. Three arrows x_t: at t = 0 along x0, at 500 more than half "
    "way up, at 999 nearly along ε. From the end of each a shorter arrow v, at a right angle, along the circle.",
)

# %% [markdown]
# In numbers:
#
# $$\begin{pmatrix} x_t \\ v \end{pmatrix} = \begin{pmatrix} \cos\varphi & \sin\varphi \\ -\sin\varphi & \cos\varphi
# \end{pmatrix} \begin{pmatrix} x_0 \\ \varepsilon \end{pmatrix}, \qquad v = \sqrt{\bar\alpha}\,\varepsilon -
# \sqrt{1-\bar\alpha}\,x_0$$
#
# To undo a rotation, turn back, by the transposed matrix: $x_0 = \cos\varphi\, x_t - \sin\varphi\, v$, and
# $\varepsilon = \sin\varphi\, x_t + \cos\varphi\, v$. There is no division. Compare ε: there $x_0 = (x_t -
# \sin\varphi\,\varepsilon)/\cos\varphi$, and with much noise the cosine is nearly 0. So an error of the answer is
# multiplied by another factor. And how large is it? We ask our network about sixteen noisy scenes.

# %%
generator = torch.Generator().manual_seed(0)
x0, eps = torch.randn(2, 1, 4, 16, 16, generator=generator, dtype=torch.float64)
for t in (0, 500, 999):
    cos, sin = alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt()
    x_t, v = cos * x0 + sin * eps, cos * eps - sin * x0
    wrong = (cos * x_t - sin * v - x0).abs().max(), (sin * x_t + cos * v - eps).abs().max()
    sigma = float(sin / cos)  # the package counts in σ: x = x0 + σ ε
    as_package = from_v(x0 + sigma * eps, sigma, to_v(x0, eps, sigma))
    wrong += tuple((a - b).abs().max() for a, b in zip(as_package, (x0, eps)))
    assert max(wrong) < 1e-12  # turned back by hand, and by the package

cases = fixed_cases(16, "train")
with torch.no_grad():
    z = (
        pipe.vae.encode(to_tensor([render(case.scene) for case in cases])).mean
        * pipe.vae.config.scaling_factor
    )
    noise, context = (
        torch.randn(z.shape, generator=generator),
        pipe.encode_prompt([case.prompt for case in cases]),
    )
    for t in (20, 500, 999):
        cos, sin = alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt()
        off = pipe.unet(cos * z + sin * noise, torch.full((16,), float(t)), context) - noise  # in ε
        in_eps = off.square().mean().sqrt()
        in_v = in_eps / cos  # v = (ε - sin x_t) / cos
        print(
            f"t = {t:3d}: error in ε {in_eps:.2f} times {sin / cos:5.2f}, or in v {in_v:.2f} times {sin:.2f}, "
            f"is in x0 {sin * in_v:.2f}"
        )

# %% [markdown]
# One belief has one error in x0, whatever it is called. Near t = 999 ε is easy, for x is nearly ε: so SD 1 can live
# with the large factor. But if the noise is *complete*, ᾱ = 0, then ε says nothing about x0, and v does: there it is
# needed (Lin et al. 2023).
#
# We have no v-network, but we can disguise one: ours, whose answer is turned into v before it leaves the house.


# %%
class AnswersWithV(UNet):
    def forward(self, sample, timesteps, context=None):
        eps = super().forward(sample, timesteps, context)
        sigma = pipe.schedule.sigma(float(timesteps[0]))
        x0, _ = from_epsilon(Schedule.from_vp(sample, sigma), sigma, eps)
        return to_v(x0, eps, sigma)


disguised = AnswersWithV(pipe.unet.config)
disguised.load_state_dict(pipe.unet.state_dict())  # the same names, the same shapes


def drawn_as(unet, prediction_type, **more):
    config = replace(pipe.schedule.config, prediction_type=prediction_type)
    other = sdlearn.StableDiffusion(unet, pipe.vae, pipe.text_encoder, pipe.tokenizer, config)
    return other.txt2img(PROMPT, seed=SEED, **more)


as_v, as_epsilon = (drawn_as(disguised, kind) for kind in ("v_prediction", "epsilon"))
off = (as_v.latents - exact.latents).abs().max()
print(
    f"read as v: latents differ by at most {off:.0e}; read as ε: their spread is {as_epsilon.latents.std():,.0f}"
)
assert off < 1e-3
viz.strip(
    {"": [exact.images[0], as_v.images[0], as_epsilon.images[0]]},
    ["the ε-network", "the v-network, read as v", "the v-network, read as ε"],
    zoom=1.4,
    alt="Three pictures. The first two are the same orange cat on a red castle. The third is made of gaudy, blurred "
    "patches.",
)

# %% [markdown]
# Nothing in names and shapes says which of the two they are. Folders write it down (`scheduler_config.json`). For a
# single file of SD 2 sdlearn asks, and loads nothing until it is told. Could one find out? Ask! At t = 999 the noise is
# nearly x itself. So an ε-network returns what it was given:

# %%
x = torch.randn(8, 4, 16, 16, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    for name, unet in {"the ε-network": pipe.unet, "the v-network": disguised}.items():
        said = unet(x, torch.full((8,), 999.0), pipe.encode_prompt([PROMPT] * 8))
        near = cosine_similarity(said.flatten(1), x.flatten(1))
        print(f"{name}: cosine of answer and x from {near.min():.2f} to {near.max():.2f}")

# %% [markdown]
# A cosine near 1 gives the ε-network away, in one answer; some programs do the like.
#
# ## 9 · The safety checker
#
# SD 1 came with one more network, which looks at the *finished* picture. CLIP's image tower (chapter 07) makes a vector
# of it; if that is too near to one of 17 vectors, the picture is blacked out. Three more vectors are looked at first:
# near them, all thresholds become a little stricter. What the concepts are was never said. Researchers have found out
# by comparing: they are sexual, and there is none for violence (Rando et al. 2022).
#
# Our own CLIP can play this. The forbidden concept is "a cat"; its vector is that of the text.

# %%
clip = load_clip(shipped_model("scenes")).clip
with torch.no_grad():
    concept = clip.encode_text(torch.tensor([pipe.tokenizer.encode("a cat")]))  # (1, D)
none = torch.zeros_like(concept)  # the three stricter vectors: we have none
checker = SafetyChecker(  # black if the cosine to the concept is above the threshold
    clip.image_model, concept, thresholds=torch.tensor([0.5]), special=none, special_thresholds=torch.ones(1)
)
scenes = [sample_scene(Random(k)) for k in range(400)]
pictures = [render(scene) for scene in scenes]
with torch.no_grad():
    near = (normalize(checker.tower(to_tensor(pictures)), dim=-1) @ normalize(concept, dim=-1).T)[:, 0]
flags = (near > 0.5).tolist()
assert flags[:50] == checker.flags(to_tensor(pictures[:50]))
kinds = [[thing.kind for thing in scene.things] for scene in scenes]
groups = {
    "a cat alone": [there == ["cat"] for there in kinds],
    "a cat and something": ["cat" in there and len(there) > 1 for there in kinds],
    "no cat": ["cat" not in there for there in kinds],
}
print("blacked out at a threshold of" + " " * 9 + "0.2   0.4   0.5   0.6")
for title, chosen in groups.items():
    counts = [int((near[chosen] > threshold).sum()) for threshold in (0.2, 0.4, 0.5, 0.6)]
    print(f"{title:20} of {sum(chosen):3}:       ", *(f"{count:5}" for count in counts))
alarms = [k for k in range(len(scenes)) if flags[k] and "cat" not in kinds[k]]
print("in the false alarms at 0.5:", dict(Counter(kind for k in alarms for kind in kinds[k])))

# %%
caught = [k for k in range(400) if flags[k] and "cat" in kinds[k]][:2]
missed = [k for k in range(400) if not flags[k] and "cat" in kinds[k]][:2]
viz.strip(
    {"": [pictures[k] for k in caught + alarms[:2] + missed]},
    ["blacked out"] * 2 + ["wrongly blacked out"] * 2 + ["missed"] * 2,
    zoom=2,
    alt="Six scenes. Blacked out: two cats alone. Wrongly blacked out: two small orange dogs. Missed: two cats beside "
    "something else.",
)

# %% [markdown]
# The pictures are those of the threshold 0.5, which we chose. Cats that are alone are caught. Cats in company are not,
# or only at a threshold that blacks out many pictures without a cat: a vector of the *whole* picture is nearer to "a
# cat" if there is nothing else. And dogs and stars are taken for cats.
#
# The real checker is larger, and of the same kind. Whoever offers pictures to others needs more than that. sdlearn uses
# the checker of a checkpoint that has one, and warns when it blacks out a picture. SD 2 comes without one; its training
# data were filtered instead (for 2.1 less strictly).
#
# ## 10 · What you may do with them
#
# Code and weights have different licences: open code does not make the weights open. SD 1 comes under *CreativeML Open
# RAIL-M*, SD 2 under *Open RAIL++-M*. In plain words, and no legal advice: read the text that came with your file.
#
# * You may use, change and pass on the model, for money, too.
# * Not for everything: an attachment lists forbidden uses. Breaking laws, harming minors, spreading falsehoods to harm,
#   harassing people, medical advice, and some more.
# * Who passes the model on, or one trained further from it, passes on the licence and these limits, and says what was
#   changed.
# * The licensors claim no rights in your pictures; you answer for what you do with them.
# * There is no warranty. What the training pictures' authors may say to all this, the licence does not settle.
#
# ## 11 · Your reader in the pipeline
#
# The package writes our small model as a *single file*, in the old names. Your reader opens it, your rules name its
# tensors, your parts are filled, and draw. The picture must be the same.

# %%
from sdlearn.checkpoint import Parts

parts = Parts(pipe.unet, pipe.vae, pipe.text_encoder, pipe.tokenizer, pipe.schedule.config)
written = write_single_file(parts, folder / "one_file.safetensors", torch.float32)
tensors = read_by_hand(written)
new = [copy.deepcopy(network) for network in (pipe.unet, pipe.vae, pipe.text_encoder)]
tables = (
    unet_table(new[0].state_dict(), pipe.unet.config),
    vae_table(new[1].state_dict(), pipe.vae.config),
    clip_table(new[2].state_dict()),
)
for network, table in zip(new, tables):
    for parameter in network.parameters():
        parameter.data.zero_()  # nothing of the old numbers is left
    shapes = network.state_dict()  # reshaped to these: (width, width, 1, 1) is (width, width) here
    network.load_state_dict({ours: tensors[t].reshape(shapes[ours].shape) for ours, t in table.items()})
yours = sdlearn.StableDiffusion(*new, pipe.tokenizer, pipe.schedule.config)
picture = yours.txt2img(PROMPT, seed=SEED)
off = (picture.latents - exact.latents).abs().max()
print(f"{len(tensors)} tensors read; latents differ by at most {off:.0e}")
print("the same picture, byte by byte:", picture.images[0].tobytes() == exact.images[0].tobytes())
assert off < 1e-4

# %% [markdown]
# ## 12 · Spot the bug
#
# Somebody writes a loader for folders. It reads `config.json`, which is right, builds the U-Net, and fills it strictly.
# Every name is known, every shape fits, no number is lost. It draws cats and castles. And yet, on sixteen prompts of
# the training list, in 8 steps:


# %%
def another_loader(data, tensors):
    """A U-Net from the content of its config.json, and its tensors."""
    widths, sizes = data["block_out_channels"], data["attention_head_dim"]  # one for each level
    heads = tuple(width // size for width, size in zip(widths, sizes))
    unet = UNet(replace(UNetConfig.from_json(data), num_heads=heads))
    unet.load_state_dict(tensors, strict=True)
    return unet.eval()


strange = another_loader(pipe.unet.config.to_json(), pipe.unet.state_dict())
x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(SEED))
with torch.no_grad():
    question = x, torch.tensor([500.0]), pipe.encode_prompt([PROMPT])
    right, wrong = pipe.unet(*question), strange(*question)
print(f"one answer of the U-Net differs by {(wrong - right).norm() / right.norm():.0%}")

# %%
oracle, cases, sheets = Oracle.load(), fixed_cases(16, "train"), {}
for name, unet in {"as it should be": pipe.unet, "with the bug": strange}.items():
    other = sdlearn.StableDiffusion(unet, pipe.vae, pipe.text_encoder, pipe.tokenizer, pipe.schedule.config)
    sheets[name] = draw(other, cases, num_inference_steps=8)
    scenes = [case.scene for case in cases]
    found = shares(read_scores(oracle, sheets[name], scenes), scenes)
    print(f"{name:16} objects {found['objects']}   colours {found['colours']}")
wanted = [", ".join(f"{one.colour} {one.kind}" for one in case.scene.things) for case in cases[:7]]
viz.strip(
    {name: pictures[:7] for name, pictures in sheets.items()},
    wanted,
    zoom=1,
    alt="Two rows of seven pictures. Above, a pink castle and an orange star, two cats, a red ball, a pink dog and a "
    "yellow cat, and so on. Below, the same things in other colours: a red castle and star, two yellow cats, a purple "
    "ball, an orange dog, a pink boat.",
)

# %% [markdown]
# (Above the columns: what was asked for. In brackets: where the true share may lie. They overlap: 22 colours are little
# evidence. The firm number is the first line.)
#
# **Find it.** The file is the same, the shapes agree, the objects are there. What could still be different?

# %%
# your prints

# %% [markdown]
# Think before you scroll.
#
# ...
#
# `attention_head_dim` is *not* the dimension of a head. In these files it is the **number of heads**; the name is
# wrong, and has stayed because all files have it. The loader believes the name, divides, and gets 16, 24 and 40 heads
# of 4 numbers each. Attention computes with that: the matrices are the same, only cut into more pieces. So nothing can
# fail; but each head compares with other numbers than in training. (SD 1.5 says 8 and means 8 heads; for SD 2 the same
# entry is `[5, 10, 20, 20]`.)
#
# The confusion is a real one, of diffusers itself (issue `#2011`; pull request `#3797` corrects it inside the code, and
# the name in the files stays). Strict loading cannot catch it, nor a look at one picture. What does: the same question
# to a trusted program and to yours, and the *numbers* compared, as in the first line above.

# %%
print(f"heads as trained {pipe.unet.config.num_heads}, as loaded {strange.config.num_heads}")

# %% [markdown]
# ## 13 · Your turn
#
# Replace each `...`, run the cell, read what it says.

# %%
from sdlearn.exercises import check

# %% [markdown]
# **12.1** A safetensors file has a text of 1,000 bytes, and one tensor: F16, of the shape [320, 4, 3, 3]. How many
# bytes has the file?

# %%
answer = ...  # for F16, [320, 4, 3, 3]
check("12.1", answer)

# %% [markdown]
# **12.2** Where is `input_blocks.n` in our names, for n from 1 on? In a U-Net with `layers` residual blocks a level.
# Return two numbers, b and j, both counted from 0: the j-th part of `down_blocks.b`. (The downsampler is the last
# part.)


# %%
def down_place(n, layers):
    return ...


check("12.2", down_place)

# %% [markdown]
# **12.3** You have the names and shapes of a U-Net's tensors, and nothing else. What can you read off them?
#
# * **A**: in how many heads its attention is split.
# * **B**: whether it answers with ε or with v.
# * **C**: how wide the text vectors are that it wants.
# * **D**: which noise schedule it was trained with.

# %%
answer = ...
check("12.3", answer)

# %% [markdown]
# **12.4** A v-network has answered. What is its belief about the picture? `x` is in the papers' scaling,
# x = √ᾱ x0 + √(1 − ᾱ) ε.


# %%
def belief(x, v, alpha_bar):
    return ...


check("12.4", belief)

# %% [markdown]
# **12.5** bfloat16 keeps 8 binary digits of a number (the leading one included). What is 256 + 1 in it?

# %%
answer = ...
check("12.5", answer)

# %% [markdown]
# **12.6** `torch.load("old.ckpt", weights_only=True)` fails: the file asks for
# `pytorch_lightning.callbacks.ModelCheckpoint`. You need these weights. What do you do?
#
# * **A**: pass `weights_only=False`: the name is one of a well-known library.
# * **B**: take the same model as `.safetensors`.
# * **C**: rename the file to `old.safetensors`.
# * **D**: unpickle it with Python's own `pickle.load`, which has no such complaint.

# %%
answer = ...
check("12.6", answer)

# %% [markdown]
# ## 14 · All of it on one screen
#
# The reader, the rule of the way down, a careful unpickler, and v; checked on values of the cells above.


# %%
def read_head(path):
    with path.open("rb") as file:
        return json.loads(file.read(int.from_bytes(file.read(8), "little")))


def way_down(block, kind, number, layers=2):
    index = 1 + block * (layers + 1) + (layers if kind == "downsamplers" else number)
    return f"input_blocks.{index}.{1 if kind == 'attentions' else 0}."


class Refusing(pickle.Unpickler):
    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"no {module}.{name}")


def turn(x, v, alpha_bar):  # back by the angle: x0 and ε
    cos, sin = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    return cos * x - sin * v, sin * x + cos * v


same_head = read_head(file) == read_header(file)[0]
places_agree = all(
    unet_name(name, UNETS["SD 1.5"]).startswith(way_down(int(b), kind, int(k)))
    for name in ours
    if (found := re.match(r"down_blocks\.(\d)\.(\w+)\.(\d)", name))
    for b, kind, k in [found.groups()]
)
half_turn = torch.stack(turn(x_t, v, alpha_bar[999])) - torch.stack([x0, eps])
try:
    Refusing(io.BytesIO(pickle.dumps(Greeting()))).load()
    refused = False
except pickle.UnpicklingError:
    refused = True
print(
    f"head {same_head}, way down {places_agree}, refused {refused}, turned back to {half_turn.abs().max():.0e}"
)
assert same_head and places_agree and refused and half_turn.abs().max() < 1e-12

# %% [markdown]
# A checkpoint is a table of names and numbers. Read it as data, never as a program. Account for every name. Do not
# believe that what fits is right: compare *numbers* with a trusted program. Estimate before you load. Read the licence.
# Chapter 13 makes the same model fast.

# %% [markdown]
# ## Sources
#
# * The safetensors format: [its description](https://github.com/huggingface/safetensors#format). Python's
#   [pickle](https://docs.python.org/3/library/pickle.html), with the warning in red and "Restricting Globals".
# * Files that ask for `ModelCheckpoint`: [easydiffusion
#   1911](https://github.com/easydiffusion/easydiffusion/issues/1911).
# * R. Rombach et al.: *High-Resolution Image Synthesis with Latent Diffusion Models* (2022),
#   [arXiv:2112.10752](https://arxiv.org/abs/2112.10752). Names, shapes and settings:
#   [CompVis/stable-diffusion](https://github.com/CompVis/stable-diffusion),
#   [Stability-AI/stablediffusion](https://github.com/Stability-AI/stablediffusion), and the conversion in diffusers'
#   `single_file_utils.py`. The size of the published file: its git-lfs pointer.
# * Model cards: [Stable Diffusion 1.5](https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5);
#   [2.1](https://huggingface.co/stabilityai/stable-diffusion-2-1), 2 and 2-base (their cards are gone from their first
#   addresses, and copied in many places).
# * T. Salimans, J. Ho: *Progressive Distillation for Fast Sampling of Diffusion Models* (2022),
#   [arXiv:2202.00512](https://arxiv.org/abs/2202.00512). Appendix D: v, and the angle.
# * S. Lin et al.: *Common Diffusion Noise Schedules and Sample Steps are Flawed* (2023),
#   [arXiv:2305.08891](https://arxiv.org/abs/2305.08891). ᾱ = 0 at the end, and v.
# * Black pictures of SD 2.1: [A1111 5503](https://github.com/AUTOMATIC1111/stable-diffusion-webui/issues/5503),
#   [InvokeAI 2329](https://github.com/invoke-ai/InvokeAI/issues/2329). The quieter decoder:
#   [sdxl-vae-fp16-fix](https://huggingface.co/madebyollin/sdxl-vae-fp16-fix).
# * ε or v told by one answer: `is_using_v_parameterization_for_sd2` in
#   [A1111](https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/master/modules/sd_models_config.py).
# * v read as ε: [InvokeAI 7495](https://github.com/invoke-ai/InvokeAI/issues/7495),
#   [EveryDream2 55](https://github.com/victorchall/EveryDream2trainer/issues/55).
# * J. Rando et al.: *Red-Teaming the Stable Diffusion Safety Filter* (2022),
#   [arXiv:2210.04610](https://arxiv.org/abs/2210.04610).
# * Licences: [CreativeML Open RAIL-M](https://huggingface.co/spaces/CompVis/stable-diffusion-license), of August 2022;
#   [Open RAIL++-M](https://github.com/Stability-AI/stablediffusion/blob/main/LICENSE-MODEL), of November 2022:
#   paragraphs 4 to 6, 9, and attachment A.
# * The bug of section 12: [diffusers 2011](https://github.com/huggingface/diffusers/issues/2011) and
#   [3797](https://github.com/huggingface/diffusers/pull/3797).
