"""Where the seconds of a guided step go: convolutions, linear layers, attention, all else."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from sdlearn.bench.timing import Call

# Operators by what they compute, as torch's profiler names them; time is that of an operator without those it calls.
KINDS = {
    "convolution": {
        "aten::mkldnn_convolution",
        "mkldnn::_convolution_pointwise",
        "mkldnn::_convolution_pointwise_",
        "aten::cudnn_convolution",
        "aten::convolution",
        "aten::_convolution",
        "aten::conv2d",
        "aten::thnn_conv2d",
        "aten::_slow_conv2d_forward",
    },
    "linear": {
        "aten::addmm",
        "aten::mm",
        "aten::linear",
        "aten::mkldnn_linear",
        "aten::_addmm_activation",
        "mkldnn::_linear_pointwise",
    },
    "attention": {
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention",
        "aten::_scaled_dot_product_efficient_attention",
        "aten::_scaled_dot_product_cudnn_attention",
        "aten::_flash_attention_forward",
        "aten::_efficient_attention_forward",
        "aten::_cudnn_attention_forward",
        "aten::bmm",
        "aten::baddbmm",
        "aten::softmax",
        "aten::_softmax",
    },
}


@dataclass(frozen=True)
class Shares:
    """Seconds of one guided step by kind of operator."""

    convolution: float
    linear: float
    attention: float
    other: float


def seconds_by_kind(step: Call, device: torch.device, parts: int = 1) -> Shares:
    """Profile one call of ``parts`` guided steps, after one that warms up."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler says nothing on stderr
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    step()
    with profile(activities=activities) as seen:
        step()
    clock = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    operators = [event for event in seen.key_averages() if "::" in event.key]
    seconds = {event.key: getattr(event, clock) / 1e6 / parts for event in operators}
    known = {kind: sum(seconds.get(name, 0.0) for name in names) for kind, names in KINDS.items()}
    return Shares(**known, other=sum(seconds.values()) - sum(known.values()))
