"""How much there is to compute, counted from the shapes alone: networks without numbers, on the "meta" device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sdlearn.bench.subjects import Task
from sdlearn.checkpoint.tensors import outline
from sdlearn.clip import CLIPTextModel
from sdlearn.config import CLIPTextConfig, UNetConfig, VAEConfig
from sdlearn.pipeline import StableDiffusion
from sdlearn.unet import UNet
from sdlearn.vae import AutoencoderKL

CONVOLUTION = ("convolution", "_convolution")
LINEAR = ("addmm", "mm")


@dataclass(frozen=True)
class Work:
    """FLOPs of one call (a multiplication and an addition are two), and the bytes of weights that it must read."""

    convolution: int = 0
    linear: int = 0
    attention: int = 0  # the products of queries, keys and values
    weights: int = 0

    @property
    def flops(self) -> int:
        return self.convolution + self.linear + self.attention

    def __add__(self, other: Work) -> Work:
        names = ("convolution", "linear", "attention", "weights")
        return Work(*(getattr(self, name) + getattr(other, name) for name in names))

    def __mul__(self, times: int) -> Work:
        return Work(*(times * n for n in (self.convolution, self.linear, self.attention, self.weights)))


def count(call: Callable[[], object], network: nn.Module, itemsize: int = 4) -> Work:
    """The work of ``call``, which asks ``network``; weights of ``itemsize`` bytes a number."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    by_name = {operator.__name__: flops for operator, flops in counter.get_flop_counts()["Global"].items()}
    convolution = sum(by_name.get(name, 0) for name in CONVOLUTION)
    linear = sum(by_name.get(name, 0) for name in LINEAR)
    weights = itemsize * sum(
        parameter.numel()
        for layer in network.modules()
        if not isinstance(layer, nn.Embedding)  # a few of its rows are looked up
        for parameter in layer.parameters(recurse=False)
    )
    return Work(convolution, linear, counter.get_total_flops() - convolution - linear, weights)


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that has a shape and no numbers."""
    return torch.empty(*shape, dtype=dtype, device="meta")


def text_work(config: CLIPTextConfig, tokens: int, batch: int = 1, itemsize: int = 4) -> Work:
    """Of ``batch`` texts through the text encoder."""
    tower = outline(CLIPTextModel, config, "the text encoder")
    return count(lambda: tower(empty(batch, tokens, dtype=torch.long)), tower, itemsize)


def unet_work(
    config: UNetConfig, tokens: int, height: int, width: int, batch: int = 1, itemsize: int = 4
) -> Work:
    """Of one U-Net call on ``batch`` latents of (height, width)."""
    unet = outline(UNet, config, "the U-Net")
    context = empty(batch, tokens, config.cross_attention_dim)
    sample = empty(batch, config.in_channels, height, width)
    return count(lambda: unet(sample, empty(batch), context), unet, itemsize)


def decode_work(config: VAEConfig, height: int, width: int, batch: int = 1, itemsize: int = 4) -> Work:
    """Of ``batch`` latents of (height, width) through the decoder."""
    vae = outline(AutoencoderKL, config, "the autoencoder")
    latents = empty(batch, config.latent_channels, height, width)
    work = count(lambda: vae.decode(latents), vae, itemsize)
    unused = sum(p.numel() for part in (vae.encoder, vae.quant_conv) for p in part.parameters())
    return work + Work(weights=-itemsize * unused)


def work_of(pipe: StableDiffusion, task: Task) -> dict[str, Work]:
    """Of each thing that is timed, under its name in subjects.py."""
    size, tokens, batch = pipe.dtype.itemsize, pipe.tokenizer.max_length, task.batch
    h, w = task.height // pipe.vae.config.factor, task.width // pipe.vae.config.factor
    text = text_work(pipe.text_encoder.config, tokens, batch, size)
    one = unet_work(pipe.unet.config, tokens, h, w, batch, size)
    two = unet_work(pipe.unet.config, tokens, h, w, 2 * batch, size)
    decode = decode_work(pipe.vae.config, h, w, batch, size)
    return {
        "text encoder": text,
        "U-Net call": one,
        "guided step": two,
        "VAE decode": decode,
        "picture": text * 2 + two * task.steps + decode,
    }
