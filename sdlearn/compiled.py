"""The U-Net in machine code of its own: ``compile=True`` (torch.compile), for those who draw much in one shape."""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from sdlearn.unet import UNet

SHAPES = 8  # torch.compile makes no more of one network

# What was measured to be quickest on a CPU: weights sorted for oneDNN, and no Python between the kernels.
ON_CPU = {"freezing": True, "cpp_wrapper": True}


class CompiledUNet:
    """The U-Net compiled for each shape it meets, when it first meets it: that takes a minute or more, and says so.

    A compiled network does not see weights that change later, nor hooks: with hooks the U-Net itself answers.
    """

    def __init__(self, unet: UNet, device: torch.device):
        self.unet = unet
        self.device = device
        # On a GPU: kernels chosen by trial, and a whole call recorded as one launch (CUDA graph).
        self.compiled = torch.compile(
            unet, dynamic=False, mode="max-autotune" if device.type == "cuda" else None
        )
        self.met: set[tuple] = set()

    def __call__(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """As the U-Net's. The answer is a tensor of its own, which the next call does not overwrite."""
        shape = (tuple(x.shape), tuple(context.shape), x.dtype)
        hooked = any(layer._forward_hooks or layer._forward_pre_hooks for layer in self.unet.modules())
        if hooked or (shape not in self.met and len(self.met) == SHAPES):
            return self.unet(x, timesteps, context)
        if shape not in self.met:
            self._warm_up(x, timesteps, context)
            self.met.add(shape)
        return self.compiled(x, timesteps, context).clone()

    def _warm_up(self, x: Tensor, timesteps: Tensor, context: Tensor) -> None:
        """Compile, and time it: the first call does the work, the next ones what a GPU records."""
        batch, _, height, width = x.shape
        words = f"the U-Net for {batch} latents of {height}x{width} and {context.shape[1]} tokens"
        print(f"sdlearn: compiling {words}; once a shape, about a minute…", file=sys.stderr, flush=True)
        start = time.perf_counter()
        with torch._inductor.config.patch(ON_CPU if self.device.type == "cpu" else {}):
            for _ in range(3):
                self.compiled(x, timesteps, context)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds = time.perf_counter() - start
        print(f"sdlearn: compiled in {seconds:.0f} s.", file=sys.stderr, flush=True)


def check_compiler(device: torch.device) -> None:
    """ValueError on a CPU without the C++ compiler that torch.compile needs there."""
    if device.type != "cpu":
        return
    import torch._inductor.cpp_builder as builder

    try:
        builder.get_cpp_compiler()
    except RuntimeError as error:
        raise ValueError(
            "compile=True (--compile) needs a C++ compiler on a CPU, such as g++, and found none. Draw without it."
        ) from error
