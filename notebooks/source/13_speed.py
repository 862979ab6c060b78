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
# # Speed
#
# > *The same picture in half the time. Where was the other half, and how do you know that it is gone?*
#
# Everybody's program is the fastest, on their own machine, in their own benchmark. In this chapter you will build the
# clock first, and trust it only when it has been caught cheating. Then you will see where the time of a picture goes,
# how far your machine is from its limits, and what the known tricks are worth, one by one.
#
# | | |
# |---|---|
# | **You will build** | a fair clock, a profile, the roof of your machine, joint layers, feature reuse |
# | **You need** | the U-Net (02), samplers (03), attention (08), guidance and its interval (09) |
# | **Your time** | {reading} minutes of reading; {seconds} seconds of computing on {cores} CPU cores |
# | **Memory** | {megabytes} MB, no graphics card, no network connection |

# %% [markdown]
# All seconds below are of the machine that runs the notebook; the saved copy comes from a processor with two cores.
# Yours will differ, and so may their order. No graphics card has been near the saved run.

# %%
import copy
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import get_ident
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

import sdlearn
from sdlearn import viz
from sdlearn.attention import Attention  # chapter 08
from sdlearn.bench.flops import unet_work, work_of
from sdlearn.bench.subjects import Task, guided_steps, subjects
from sdlearn.blocks import timestep_embedding  # chapter 02
from sdlearn.checkpoint.tensors import outline
from sdlearn.config import UNetConfig
from sdlearn.denoise import Network
from sdlearn.evaluate import Share, draw, fixed_cases, read_scores
from sdlearn.savings import psnr, ways_to_save
from sdlearn.scenes import Oracle
from sdlearn.speed import prepared
from sdlearn.unet import UNet

torch.set_grad_enabled(False)  # nothing is trained here
PROMPT, SEED, CPU = "an orange cat standing on a red castle", 7, torch.device("cpu")
pipe = sdlearn.StableDiffusion.from_pretrained("scenes")
side, tokens = pipe.unet.config.sample_size, pipe.tokenizer.max_length

# %% [markdown]
# ### Guess before you read on
#
# A picture takes 25 guided steps, and each asks the U-Net twice, with the prompt and without. **Which of these changes
# saves the most time on your machine?**
#
# * **A**: attention in one fused kernel (a *kernel* is a compiled routine that runs in one go), in place of two
#   matrix products with a softmax between them;
# * **B**: both questions of a step as one batch of two, in place of two calls;
# * **C**: half as many bits: bfloat16 in place of float32;
# * **D**: 12 steps in place of 25.
#
# Note your order of the four. Sections 5 and 6 measure them.
#
# ## 1 · A clock that cannot be trusted
#
# The first attempt is everybody's first attempt. Read the time, call, read the time.

# %%
x = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(SEED))
context = pipe.encode_prompt(["", PROMPT])  # (2, tokens, width)
t = torch.full((2,), 500.0)


def step(unet):
    """One call of a U-Net for both questions of a guided step."""
    return unet(x, t, context)


def milliseconds(call):
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


fresh = copy.deepcopy(pipe.unet)
calls = [milliseconds(lambda: step(fresh)) for _ in range(40)]
print(f"first call {calls[0]:.1f} ms, second {calls[1]:.1f} ms")
print(
    f"the others: from {min(calls[1:]):.1f} to {max(calls[1:]):.1f}, median {statistics.median(calls[1:]):.1f} ms"
)
viz.curves(
    {"milliseconds of one U-Net call": {"": calls}},
    range(1, 41),
    "number of the call",
    alt="A line: the time of each of forty equal calls of the same network, in milliseconds, from zero.",
)

# %% [markdown]
# Forty equal calls, forty times. Two flaws can be seen.
#
# **The first call is not like the others.** It pays for what is done only once: memory is asked for, code is loaded,
# weights are sorted. Whoever times one call times this. So the first one does not count: it *warms up*.
#
# **The rest is scattered**, on a quiet machine to one side: nothing makes a call quicker than the machine allows, but a
# browser, a backup or a hot processor makes it slower. A mean is drawn away by each of them; the *median* hardly. (And
# the minimum? It is one call, the luckiest. Two rivals need not have the same luck.)
#
# Two more flaws cannot be seen. Machines change while one measures. Imagine one that slows down: each call takes longer
# than the one before, by 2 % of the first. Two exactly equal rivals run on it: first twenty calls of one, then twenty
# of the other; then by turns:

# %%
slowing = [1 + 0.02 * k for k in range(40)]  # seconds of the k-th call, whoever it is
one_after_the_other = statistics.median(slowing[20:]) / statistics.median(slowing[:20])
orders = [(k, k + 1) if k % 4 == 0 else (k + 1, k) for k in range(0, 40, 2)]  # who begins changes
by_turns = statistics.median(slowing[b] / slowing[a] for a, b in orders)
print(f"one after the other: the second takes {one_after_the_other:.2f} times as long as the first")
print(f"by turns:            the second takes {by_turns:.2f} times as long")

# %% [markdown]
# One after the other, the second rival *loses by a third* against itself. By turns, each pair sees the same machine.
#
# The last flaw belongs to graphics cards. There a call returns when the work has been handed over, not when it is done.
# A second thread can play the card:

# %%
matrix = torch.randn(1024, 1024)
with ThreadPoolExecutor(1) as card:
    start = time.perf_counter()
    promise = card.submit(lambda: [matrix @ matrix for _ in range(5)])
    handed_over = 1000 * (time.perf_counter() - start)
    promise.result()
    done = 1000 * (time.perf_counter() - start)
print(f"handed over after {handed_over:.2f} ms, done after {done:.2f} ms")
assert handed_over < done

# %% [markdown]
# On a card one has to wait, before and after (`torch.accelerator.synchronize`). Four flaws, four cures; here is the
# package's clock.


# %%
# -> sdlearn/bench/timing.py
Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """The seconds of each run of one thing."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def finished(device: torch.device) -> float:
    """The time in seconds, read when the device has done all its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def clocked(call: Call, device: torch.device) -> tuple[float, object]:
    """(seconds, answer) of one call."""
    start = finished(device)
    answer = call()
    return finished(device) - start, answer


def time_calls(name: str, call: Call, runs: int, device: torch.device, parts: int = 1) -> Timing:
    """Time ``runs`` calls after one that warms up, each the time of ``parts`` equal things."""
    call()
    return Timing(name, tuple(clocked(call, device)[0] / parts for _ in range(runs)))


# %% [markdown]
# And for two rivals, by turns. Beside the seconds it compares what they *answer*. A change that makes a program quick
# and its answers wrong is quickly made.


# %%
# -> sdlearn/bench/timing.py
@dataclass(frozen=True)
class Pairs:
    """The seconds of two rivals who ran by turns.

    ``difference``: the largest between their last answers, over the largest number in theirs.
    """

    name: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    difference: float

    @property
    def ratios(self) -> tuple[float, ...]:
        """Our seconds over theirs, pair by pair: below 1 we are faster."""
        return tuple(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def time_pairs(name: str, ours: Call, theirs: Call, runs: int, device: torch.device, parts: int = 1) -> Pairs:
    """Time two calls that answer with tensors by turns, after a warm-up of each; who begins changes every time."""
    calls, seconds = (ours, theirs), ([], [])
    answers = [call() for call in calls]
    for run in range(runs):
        for who in (0, 1) if run % 2 == 0 else (1, 0):
            took, answers[who] = clocked(calls[who], device)
            seconds[who].append(took / parts)
    a, b = (answer.detach().float().cpu() for answer in answers)
    return Pairs(name, tuple(seconds[0]), tuple(seconds[1]), float((a - b).abs().max() / b.abs().max()))


# %% [markdown]
# A clock is tested on what is known. A network against itself must come out at 1, and a network that is asked twice
# against once at 2. But how near? Each ratio falls above the true median or below it, like a coin. So sort them, and
# cut off on both sides as many as coins seldom leave there. What remains holds the true median in about 95 % of cases:


# %%
def typical(ratios):
    """The median, and an interval that holds the true one in about 95 % of cases; for six ratios and more."""
    each = sorted(ratios)
    cut = int((len(each) - 1.96 * len(each) ** 0.5) / 2)  # 1.96 standard deviations of the count of heads
    return statistics.median(each), each[cut], each[-1 - cut]


itself = time_pairs("itself", lambda: step(pipe.unet), lambda: step(pipe.unet), 15, CPU)
twice = time_pairs("twice", lambda: step(pipe.unet) + 0 * step(pipe.unet), lambda: step(pipe.unet), 15, CPU)
for pairs in (itself, twice):
    ratio, low, high = typical(pairs.ratios)
    print(
        f"{pairs.name:7s} ratio {ratio:.2f}  [{low:.2f}, {high:.2f}], single pairs from {min(pairs.ratios):.2f} "
        f"to {max(pairs.ratios):.2f}; answers differ by {pairs.difference:.0e}"
    )
assert 0.5 < itself.ratio < 1.5 < twice.ratio < 3 and itself.difference == twice.difference == 0

# %% [markdown]
# The range of single pairs shows how restless this machine is; the interval, in brackets, shows what the clock knows.
# From here on: **a gain whose interval holds 1 is none that you have seen.**
#
# ## 2 · Where the time goes
#
# How much *is* there to compute? One number out of a convolution is a sum of products: a multiplication and an
# addition for each weight of its filter. These are *FLOPs*, floating-point operations. (Some count the pair as one,
# a MAC. Ask, before you compare.) A linear layer is the same; attention has two matrix products. Let each layer of a
# copy of the U-Net write down its kind, its FLOPs, the bytes that it must at least read or write, and its time:

# %%
KIND = {nn.Conv2d: "convolution", nn.Linear: "linear", nn.GroupNorm: "norm", nn.LayerNorm: "norm"}


def flops_of(layer, given, answer):
    """The FLOPs of one call of a layer."""
    if isinstance(layer, Attention):  # Q K^T, then times V: (B, heads, L, d) and (B, heads, S, d)
        return 2 * 2 * given[0].numel() * given[1].shape[-2]
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        return 2 * answer.numel() * layer.weight[0].numel()
    return 5 * answer.numel()  # a norm: about so many for each number


def watched(unet, heard):
    """A copy whose layers write (kind, FLOPs, bytes, seconds) into ``heard`` whenever they are asked."""
    unet = copy.deepcopy(unet)

    def watch(kind, layer, ask):
        def forward(*given):
            seconds, answer = clocked(lambda: ask(*given), CPU)
            moved = sum(each.nbytes for each in (*given, answer, *layer.parameters(recurse=False)))
            heard.append((kind, flops_of(layer, given, answer), moved, seconds))
            return answer

        return forward

    for layer in unet.modules():
        if isinstance(layer, Attention):
            layer.attend = watch("attention", layer, layer.attend)
        elif type(layer) in KIND:
            layer.forward = watch(KIND[type(layer)], layer, layer.forward)
    return unet


# %%
heard = []
step(watched(pipe.unet, heard))
counted = sum(flops for kind, flops, *_ in heard if kind != "norm")
work = unet_work(pipe.unet.config, tokens, side, side, batch=2)
print(
    f"{len(heard)} layers, {counted / 1e9:.3f} GFLOP by hand, {work.flops / 1e9:.3f} GFLOP by PyTorch's own counter"
)
assert counted == work.flops

# %% [markdown]
# Equal to the last operation. Now the time. PyTorch's profiler writes down each operator that runs. The package sorts
# them by what they compute; the names are those of the libraries below PyTorch.


# %%
# -> sdlearn/bench/kinds.py
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


# %%
# -> sdlearn/bench/kinds.py
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


# %%
task = Task(batch=1, height=128, width=128, steps=25, parts=10)
works, asked = work_of(pipe, task), subjects(pipe, task, runs=3)
times = {
    "text encoder": time_calls("text encoder", asked["text encoder"], 7, CPU).median,
    "25 guided steps": 25 * time_calls("guided step", asked["guided step"], 3, CPU, parts=10).median,
    "decoder": time_calls("decoder", asked["VAE decode"], 7, CPU).median,
}
flops = dict(
    zip(times, (works["text encoder"].flops, 25 * work.flops, works["VAE decode"].flops), strict=True)
)
kinds = vars(seconds_by_kind(guided_steps(pipe, task, 1), CPU, parts=10))
by_kind = {kind: getattr(work, kind, 0) for kind in kinds}
for name, seconds in times.items():
    print(
        f"{name:16s}{flops[name] / 1e9:7.2f} GFLOP in {1000 * seconds:7.1f} ms: "
        f"{flops[name] / seconds / 1e9:4.0f} GFLOP/s"
    )


def shares_of(work, seconds):
    return {
        name: (work[name] / sum(work.values()), seconds[name] / sum(seconds.values())) for name in seconds
    }


viz.work_and_time({"a picture": shares_of(flops, times), "a guided step": shares_of(by_kind, kinds)})

# %% [markdown]
# Above the share of the FLOPs, below it, hatched, the share of the time. Left, the parts of a picture. Nearly all of it
# is the U-Net, because it runs in every step. So whoever wants speed begins there.
#
# Right, inside a step. `other` is all that is neither of the three: norms, activations, additions, copies. Nobody
# counts its operations, they are so few; its share of the *time* is no such trifle. (The profiler's own work for each
# operator is in it, and swells it.) The printed lines say the same without a profiler: the decoder does more FLOPs in a
# second than the U-Net does. **Time is not proportional to FLOPs.** Why not?
#
# ## 3 · The roof
#
# A layer must compute, and bring numbers from memory; the slower of the two decides. For each byte that it moves, a
# layer has some FLOPs to do; this ratio is its *arithmetic intensity*. If it is small, the processor waits for the
# memory, however quick it is. So the best speed of a layer is the lower of two lines:
#
# $$\text{FLOP/s} \;\le\; \min(\text{peak},\; \text{intensity} \times \text{bytes/s})$$
#
# Drawn with logarithmic axes it looks like a roof (Williams, Waterman, Patterson 2009). Both limits can be measured:
# with a product of large matrices, which has hundreds of FLOPs a byte, and with a copy, which has none.


# %%
# -> sdlearn/bench/limits.py
SIDES = {"cpu": (1024, 2048, 4096), "cuda": (4096, 8192)}  # of square matrices; the best of them counts
COPIED = {"cpu": 2**28, "cuda": 2**30}  # bytes, more than any cache holds


@dataclass(frozen=True)
class Limits:
    """Of one device in one precision."""

    matmul: float  # FLOP/s
    copy: float  # bytes/s, read and written


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int, runs: int) -> float:
    """FLOP/s of a product of two square matrices: 2 side^3 operations in the median time."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / time_calls("", lambda: a @ b, runs, device).median


def copy_rate(device: torch.device, number: int, runs: int) -> float:
    """Bytes/s of a copy within the device's memory; each byte is read once and written once."""
    source, target = (torch.zeros(number, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * number / time_calls("", lambda: target.copy_(source), runs, device).median


def measure_limits(device: torch.device, dtype: torch.dtype, runs: int = 5, quick: bool = False) -> Limits:
    """Both limits, in a few seconds. A convolution may be faster than any product of matrices is in torch."""
    kind = "cpu" if device.type == "cpu" else "cuda"
    matmul = max(matmul_rate(device, dtype, side, runs) for side in SIDES[kind][: 1 if quick else None])
    return Limits(matmul, copy_rate(device, COPIED[kind], runs))


# %% [markdown]
# Below are the layers of the course's model, each with the median of nine calls. They are there twice. The library
# below PyTorch (oneDNN) reads weights in an order of its own, and PyTorch sorts those of a convolution anew at every
# call. The package's `prepared`, in `sdlearn/speed.py`, sorts them once.

# %%
peak = max(matmul_rate(CPU, torch.float32, side, 9) for side in (256, 512, 1024, 2048))
limits = Limits(peak, copy_rate(CPU, COPIED["cpu"], 7))
print(
    f"{limits.matmul / 1e9:.0f} GFLOP/s, {limits.copy / 1e9:.0f} GB/s; "
    f"they meet at {limits.matmul / limits.copy:.1f} FLOPs a byte"
)


def points(heard, calls):
    """Each layer as (FLOPs a byte, FLOP/s) under its kind: (calls * layers) lines, each call with the same layers."""
    found, layers = {}, len(heard) // calls
    for place in range(layers):
        kind, flops, moved, _ = heard[place]
        seconds = statistics.median(heard[place + k * layers][3] for k in range(calls))
        found.setdefault(kind, []).append((flops / moved, flops / seconds))
    return found


with patch("sdlearn.speed.groups_of", lambda layers: []):  # no joint layers yet (section 4)
    sorted_once = prepared(pipe.unet)
panels = {}
for name, unet in {"weights sorted at every call": pipe.unet, "weights sorted once": sorted_once}.items():
    heard = []
    unet = watched(unet, heard)
    for _ in range(10):
        step(unet)
    panels[name] = points(heard[len(heard) // 10 :], 9)
    rates = {kind: statistics.median(rate for _, rate in each) / 1e9 for kind, each in panels[name].items()}
    print(f"{name}: " + ", ".join(f"{kind} {rate:.1f}" for kind, rate in rates.items()) + " GFLOP/s")
one = torch.ones(1, 1)
least = time_calls("", lambda: [F.linear(one, one) for _ in range(100)], 9, CPU, parts=100).median
usual = statistics.median(seconds for *_, seconds in heard)
print(f"a call costs {1e6 * least:.1f} us at least; a layer takes {1e6 * usual:.0f} us (median)")
viz.roofline(limits.matmul, limits.copy, panels)

# %% [markdown]
# The ridge, where the two lines meet, divides the layers. Norms lie far to the left: a few FLOPs a number, and each
# number is read and written. No better arithmetic helps them, only fewer trips to memory; that is what fused kernels
# and compilers give. (The linear layers at the far left are those of the time: a whole matrix of weights is read for
# two rows of numbers.)
#
# Many layers lie well below *both* lines. For convolutions the printed medians tell a part of the reason: sorted once,
# they are quicker. The price of a call is only a small part (last printed line). But a product as small as these has
# hardly begun when it ends: preparations, and units that are idle at its edges, weigh more than in a large one.
#
# (Points may lie above the lines: numbers were still in the processor's cache, or a convolution beats PyTorch's product
# of matrices.)
#
# And Stable Diffusion 1.5? It is not run: its layers' FLOPs and bytes follow from their shapes, which PyTorch's `meta`
# device carries through a network without computing a number. A stroke for each layer; the lines are ridges. The card's
# is drawn at half its place, because with 16 bits half the bytes are moved.

# %%
large, empty = [], {"device": "meta"}
sd15 = watched(outline(UNet, UNetConfig(), "the U-Net"), large)
sd15(torch.empty(2, 4, 64, 64, **empty), torch.empty(2, **empty), torch.empty(2, 77, 768, **empty))
guided = sum(flops for kind, flops, *_ in large if kind != "norm")
print(f"SD 1.5: {len(large)} layers, {guided / 1e12:.3f} TFLOP in a guided step")
ridges = {
    "this machine": limits.matmul / limits.copy,
    "A100, 16 bits": 312e12 / 2.0e12 / 2,
}  # makers' figures
for name, ridge in ridges.items():
    left = sum(f / b < ridge for kind, f, b, _ in large if kind in ("linear", "convolution"))
    both = sum(kind in ("linear", "convolution") for kind, *_ in large)
    print(f"{name}: {left} of {both} convolutions and linear layers lie left of the ridge")
intensities = {}
for kind, f, b, _ in large:
    intensities.setdefault(kind, []).append(f / b)
viz.intensities(intensities, ridges)

# %% [markdown]
# Nearly all of them could use this whole processor. On the card it is another matter: there almost a third must wait
# for memory.
#
# ## 4 · One product in place of many
#
# Small products can be made one large product. Self-attention asks three linear layers about the same x, for queries,
# keys and values. Put their three matrices on top of each other, multiply once, cut the answer in three. First for one
# layer:

# %%
layer = next(m for m in pipe.unet.modules() if isinstance(m, Attention))
places = torch.randn(2, 64, layer.to_q.in_features)  # (B, places, width)
three = [layer.to_q(places), layer.to_k(places), layer.to_v(places)]
stacked = torch.cat([layer.to_q.weight, layer.to_k.weight, layer.to_v.weight])  # (3 * width, width)
joint = F.linear(places, stacked).chunk(3, dim=-1)
print(f"differ by at most {max(float((a - b).abs().max()) for a, b in zip(three, joint, strict=True)):.0e}")

# %% [markdown]
# The same can be done for the time's embedding. And for the text: each cross-attention asks two layers about the same
# vectors, *and the text is the same in all steps*. Its keys and values can be kept for the whole run.
#
# The package does this without touching the U-Net's code. Each layer's `forward` is replaced by a member of a group.
# The member that is asked first computes for all; the others take their part. It must not answer from memory if it is
# asked something *else*: another tensor (`is not`), or the same one after it was changed in place (`version`).


# %%
# -> sdlearn/together.py
Linear = Callable[[Tensor], Tensor]


class Together:
    """Linear layers that are asked about the same tensor: one product for all of them."""

    def __init__(
        self,
        layers: Sequence[nn.Linear],
        product: Callable[[Tensor, Tensor | None], Linear],
        lasting: bool,
    ):
        self.widths = [layer.out_features for layer in layers]
        self.lasting = lasting  # answers are kept for the next step; else until the last layer has been asked
        self.question: Tensor | None = None
        self.joint: Tensor | None = None
        self.answers: tuple[Tensor, ...] = ()  # parts of the joint one
        self.changed = (0, 0)
        with torch.no_grad():
            weight = torch.cat([layer.weight for layer in layers])
            bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
        self.product = product(weight, bias)

    def member(self, number: int) -> Linear:
        """What stands for the ``forward`` of layer ``number``."""

        def forward(x: Tensor) -> Tensor:
            if x is not self.question or self.changed != (version(x), version(self.joint)):
                self.question, self.joint = x, self.product(x)
                self.changed = version(x), version(self.joint)
                self.answers = self.joint.split(self.widths, dim=-1)
            answer = self.answers[number]
            if number == len(self.widths) - 1 and not self.lasting:
                self.question, self.joint, self.answers = None, None, ()
            return answer

        return forward


def version(x: Tensor) -> int:
    """How often ``x`` was changed in place, as PyTorch counts it; in inference mode it does not."""
    return 0 if x.is_inference() else x._version


# %% [markdown]
# Which layers belong together is read off their published names:


# %%
# -> sdlearn/together.py
def groups_of(layers: dict[str, nn.Linear]) -> list[tuple[list[str], bool]]:
    """Names of layers that are asked about the same tensor, and whether it is the same in all steps."""
    text = [name for name in layers if name.endswith(("attn2.to_k", "attn2.to_v"))]
    time = [name for name in layers if name.endswith("time_emb_proj")]
    places = [name.removesuffix("q") for name in layers if name.endswith("attn1.to_q")]
    own = [[at + one for one in "qkv"] for at in places if {at + "k", at + "v"} <= set(layers)]
    found = [(text, True), (time, False), *((group, False) for group in own)]
    return [(group, lasting) for group, lasting in found if alike([layers[name] for name in group])]


def alike(layers: Sequence[nn.Linear]) -> bool:
    """Whether there are layers, and all ask for as many numbers, and have a bias or have none."""
    return len({(layer.in_features, layer.bias is None) for layer in layers}) == 1


# %%
linear = {name: layer for name, layer in pipe.unet.named_modules() if type(layer) is nn.Linear}
groups = groups_of(linear)
inside = sum(len(names) for names, _ in groups)
print(
    f"{inside} of {len(linear)} linear layers answer in {len(groups)} groups; kept for the run: "
    f"{sum(len(names) for names, lasting in groups if lasting)} of them"
)

# %% [markdown]
# It is exact, and elegant. Is it quicker?
#
# ## 5 · One improvement after the other
#
# Now the ladder, from a program that follows the formulas to the one that this package runs. A guided step each time,
# by turns, and what it answers beside what the first one answers. (*Channels side by side*, `torch.channels_last`: in
# memory, all channels of a place lie together, in place of one channel's whole picture after the other's. Some kernels
# read them in this order, above all on cards.)


# %%
def by_products(q, k, v):
    """Attention as chapter 08 wrote it first: the weights are stored."""
    return (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1) @ v


def like(dtype=torch.float32, memory=torch.contiguous_format, fused=True):
    unet = copy.deepcopy(pipe.unet).to(dtype, memory_format=memory)
    for layer in unet.modules():
        if isinstance(layer, Attention) and not fused:
            layer.attend = by_products
    return unet


def two_calls(unet):
    first, second = context[:1], context[1:]
    return lambda: torch.cat([unet(x[:1], t[:1], first), unet(x[1:], t[1:], second)])


def one_call(unet):
    dtype = next(unet.parameters()).dtype
    question, text = x.to(dtype), context.to(dtype)
    return lambda: unet(question, t, text).float()


def joined(unet):
    """With joint layers, and the text's keys and values kept; weights are not sorted."""
    with patch("sdlearn.speed.packing_works", lambda dtype: False):
        return prepared(unet)


LAST = {"memory": torch.channels_last}
ways = {
    "as the formulas stand": two_calls(like(fused=False)),
    "+ fused attention": two_calls(like()),
    "+ both questions in one call": one_call(like()),
    "+ channels side by side": one_call(like(**LAST)),
    "+ joint layers, text kept": one_call(joined(like(**LAST))),
    "+ sorted weights": one_call(prepared(like(**LAST))),
    "+ bfloat16": one_call(prepared(like(torch.bfloat16, **LAST))),
}


# %%
def race(ways, rounds):
    """Seconds of each way, by turns after a warm-up, and the last answers."""
    seconds, names = {name: [] for name in ways}, [*ways]
    answers = {name: call() for name, call in ways.items()}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:  # who begins changes
            took, answers[name] = clocked(ways[name], CPU)
            seconds[name].append(took)
    return seconds, answers


seconds, answers = race(ways, 20)
plain = answers["as the formulas stand"]
gains = {}


def gain(slow, quick):
    """How many times quicker, pair by pair."""
    return typical(a / b for a, b in zip(seconds[slow], seconds[quick], strict=True))


print(f"{'':28s}{'median':>10s}   times quicker than the rung before")
for name, before in zip(ways, [*ways][:1] + [*ways][:-1], strict=True):
    off = float((answers[name] - plain).abs().max() / plain.abs().max())
    middle, low, high = gains[name] = gain(before, name)
    print(
        f"{name:28s}{1000 * statistics.median(seconds[name]):7.1f} ms   {middle:.2f}  [{low:.2f}, {high:.2f}]   "
        f"off by {off:.0e}"
    )
    assert off < (0.1 if "bfloat16" in name else 1e-4)
middle, low, high = gain("as the formulas stand", "+ sorted weights")
print(f"with the same numbers: {middle:.2f}  [{low:.2f}, {high:.2f}] times quicker")
viz.improvements(seconds)

# %% [markdown]
# Read the last column first. All but the last way give the same numbers, up to rounding. bfloat16 keeps eight binary
# digits of each number, so it is off by more, about a hundredth of the largest.
#
# Then the factors, pair by pair (the figure's are of its bars), each on top of the rungs before. Which intervals hold
# 1? Expect little of fused attention: it was made for long sequences, and here are at most 64 places. Expect little of
# joint layers, too: what they join is a small part of the work. One call in place of two makes every product larger,
# and weights are read and sorted once for both. bfloat16 is a matter of the processor: with instructions for it, it
# helps; without, it can be slower.
#
# One rung is missing. `torch.compile` writes a program for this network and this shape. It needs a C++ compiler and a
# minute, so it is not run here. Measured by `sdlearn bench`, on two cores:

# %%
RECORDED = {  # data/benchmarks/2026-11-21-cpu-scenes-float32.json and ...-bfloat16-compiled.json: ms a guided step
    "alone": (19.4, 11.8),  # float32 prepared, bfloat16 compiled
    "by turns with diffusers": (15.9, 10.4),
}
for name, (float32, compiled) in RECORDED.items():
    print(
        f"{name:24s} float32, prepared {float32} ms; bfloat16, compiled {compiled} ms: x {float32 / compiled:.2f}"
    )

# %% [markdown]
# Two things changed at once, bits and compiler, and the figures of a line are of two different runs. So this factor is
# not the compiler's, and it is rough.
#
# ## 6 · Doing less
#
# To go further one must not compute better, but compute *less*. There are three ways. They change the picture, and so
# each has to show what it costs.
#
# **Fewer questions.** Guidance asks twice. Chapter 09's interval guides only while the noise is strong; the steps after
# that ask once.
#
# **Fewer steps**, with a solver of higher order: DPM-Solver++ 2M (chapter 03), as in the full run, or UniPC, a relative
# that corrects each step once more without a further question.
#
# **Fewer layers.** The U-Net's last block joins two tensors: one has come up through all of the U and says *what* is
# where; the other comes straight over from the first layer and knows the fine detail. The deep one should change slowly
# from step to step. Does it?


# %%
# -> sdlearn/reuse.py
@contextmanager
def coming_up(unet: UNet) -> Iterator[list[Tensor]]:
    """Inside ``with``: at each call of the U-Net the list gets what its last block joins with the first skip."""
    heard: list[Tensor] = []
    thread = get_ident()  # in another one the same layer may work for another run

    def hear(block: nn.Module, given: tuple[Tensor, ...]) -> None:
        if get_ident() == thread:
            heard.append(given[0].chunk(2, dim=1)[0])

    hook = (
        unet.up_blocks[-1].resnets[-1].register_forward_pre_hook(hear)
    )  # it is given both, equally wide, joined
    try:
        yield heard
    finally:
        hook.remove()


# %%
with coming_up(pipe.unet) as deep:
    generation = pipe.txt2img(PROMPT, seed=SEED)


def change(now, before):
    """How far a tensor has moved from one step to the next, as a share of its own size."""
    return float((now - before).norm() / now.norm())


beliefs = [each.pred.x0 for each in generation.steps]
moved = {
    "deep features": [change(b, a) for a, b in zip(deep, deep[1:], strict=False)],
    "the belief x0": [change(b, a) for a, b in zip(beliefs, beliefs[1:], strict=False)],
}
for name, line in moved.items():
    print(f"{name:14s} first change {line[0]:.2f}, median {statistics.median(line):.2f}, last {line[-1]:.2f}")
viz.curves(
    {"change from step to step": moved},
    range(2, 26),
    "step",
    alt="Two lines over the steps 2 to 25, changes as a share of the size. The belief x0 rises to its highest at step "
    "5 and falls; the deep features do the same, less than half as high, and lie above it from the middle on.",
)

# %% [markdown]
# In the first half of the run, where the picture is decided, the deep features change less than the belief does; from
# the middle on it is the other way round. That makes reuse worth a trial; it does not prove that it is harmless. Only
# pictures can. The trial: run the whole U-Net in every second step only. In the steps between, compute the two ends
# anew, the first layer and the last block, and take what should come up through all of the U from the step before. This
# is **DeepCache** (Ma, Fang, Wang 2024).


# %%
# -> sdlearn/reuse.py
def both_ends(unet: UNet, sample: Tensor, timesteps: Tensor, context: Tensor | None, deep: Tensor) -> Tensor:
    """The answer of ``unet`` if ``deep``, (B, C_0, H, W), comes up to its last block. Of the type of ``deep``."""
    time = timestep_embedding(timesteps, unet.config.block_out_channels[0]).to(deep.dtype)
    time = F.silu(unet.time_embedding(time))  # (B, 4 * C_0)
    skip = unet.conv_in(sample.to(deep.dtype))
    up = unet.up_blocks[-1]
    h = up.resnets[-1](torch.cat([deep, skip], dim=1), time)
    if up.attentions is not None:
        h = up.attentions[-1](h, context)
    return unet.conv_out(F.silu(unet.conv_norm_out(h)))


def reusing_deep_features(network: Network, unet: UNet, interval: int) -> Network:
    """``network``, which asks ``unet``, with only every ``interval``-th call of it whole; 1: every call, ``network``.

    The calls between begin and end as the U-Net does, and take what lies between from the last whole call. Make one
    for each run: it remembers. A call of another shape, as where guidance sets in, is whole.
    """
    if interval == 1:
        return network
    kept: list[Tensor] = []  # (B, C, H, W) in all; in pieces where ``network`` asks for one picture at a time
    shape, calls = None, 0  # of the last call; since the last whole one

    @torch.no_grad()  # as the pipeline's network: what is kept has no gradient
    def reusing(x: Tensor, timesteps: Tensor, context: Tensor | None) -> Tensor:
        nonlocal kept, shape, calls
        calls = calls + 1
        if calls == interval or x.shape != shape:
            with coming_up(unet) as kept:
                answer = network(x, timesteps, context)
            shape, calls = x.shape, 0
            return answer
        if len(kept) == 1:
            return both_ends(unet, x, timesteps, context, kept[0]).float()
        sizes = [len(deep) for deep in kept]
        texts = [None] * len(kept) if context is None else context.split(sizes)
        parts = zip(x.split(sizes), timesteps.split(sizes), texts, kept, strict=True)
        return torch.cat([both_ends(unet, *part).float() for part in parts])

    return reusing


# %% [markdown]
# A check that needs no taste: give `both_ends` the deep features of *this very* call, and it must answer as the whole
# network does. Then the work and the time of the two ends alone.

# %%
with coming_up(pipe.unet) as deep:
    whole = step(pipe.unet)
ends = both_ends(pipe.unet, x, t, context, deep[0])
print(f"with its own deep features: differs by at most {(ends - whole).abs().max():.0e}")
assert (ends - whole).abs().max() < 1e-5
heard = []
both_ends(watched(pipe.unet, heard), x, t, context, deep[0])
rest = time_pairs(
    "ends", lambda: both_ends(pipe.unet, x, t, context, deep[0]), lambda: step(pipe.unet), 15, CPU
)
share = sum(flops for kind, flops, *_ in heard if kind != "norm") / work.flops
print(f"the two ends: {100 * share:.0f} % of the FLOPs, {100 * rest.ratio:.0f} % of the time")

# %% [markdown]
# ### What is lost
#
# Now all three ways, on twelve prompts of combinations that the model was never trained on, from the same noise, by
# turns in two rounds. Two judges look at the pictures. *PSNR* asks: is it the picture of the full run? The oracle
# (chapter 09) asks: is all there that the prompt names? In both panels of the figure, left is quicker and up is better;
# number 1 is not on the right, because equal pictures have an infinite PSNR (printed as 99).

# %%
NAMES = ["25 steps", "cache 2", "cache 5", "8 steps", "8 steps + guided 40 %"]
every, oracle = ways_to_save(pipe.schedule), Oracle.load()
full = {"num_inference_steps": 25, "guidance_scale": 7.5, "sampler": "dpmpp_2m"}
cases = fixed_cases(12, "held_out")
scenes = [case.scene for case in cases]
drawn, spent = {name: [] for name in NAMES}, {name: [] for name in NAMES}
for half in (cases[:6], cases[6:]):
    for name in NAMES:
        asked = full | every[name]
        took, images = clocked(partial(draw, pipe, half, record=False, **asked), CPU)
        drawn[name] += images
        spent[name].append(took)

rows = {}
for name in NAMES:
    likeness = [psnr(*pair) for pair in zip(drawn[name], drawn["25 steps"], strict=True)]
    right = Share(sum(score.all_right for score in read_scores(oracle, drawn[name], scenes)), len(cases))
    rows[name] = {
        "asked": full | every[name],
        "time": statistics.median(a / b for a, b in zip(spent[name], spent["25 steps"], strict=True)),
        "psnr": np.percentile(likeness, (10, 50, 90)).tolist(),
        "right": {"both": {"share": right.value, "interval": right.interval}},
    }
    print(f"{name:22s} time {rows[name]['time']:.2f}   PSNR {rows[name]['psnr'][1]:5.1f}   all right {right}")

# %%
viz.quality_against_time(rows)

# %%
viz.strip(
    {
        name: drawn[name][:6]
        for name in ("25 steps", "cache 2", "cache 5", "8 steps", "8 steps + guided 40 %")
    },
    zoom=0.8,
    alt="Five rows of six pictures. 25 steps and cache 2: nearly the same. Cache 5: a dog and a heart have turned from "
    "orange to red, a star is in pieces. 8 steps: castle, dog and heart are yellow, the star has blots. 8 steps with "
    "early guidance alone: all colours and things as in the first row, a little flatter.",
)

# %% [markdown]
# Twelve pictures are few, and two rounds of times: look how wide the intervals are. `sdlearn eval --savings` has asked
# for eighty captions, with twenty settings. Nine rows of its record. The last column asks: would chance alone take so
# many pictures from right to wrong, and so few back (a sign test)?

# %%
EIGHTY = {  # of data/benchmarks/savings-2026-11-21.json: time, PSNR, right of 80, p of the sign test against the first
    "25 steps": (1.01, 99.0, 80, 1.0),
    "guided 40 %": (0.80, 23.3, 80, 1.0),
    "cache 2": (0.60, 31.2, 79, 1.0),
    "cache 5": (0.32, 20.2, 52, 7.5e-9),
    "15 steps": (0.62, 35.8, 75, 0.0625),
    "10 steps": (0.43, 25.4, 63, 1.5e-5),
    "8 steps": (0.37, 22.5, 53, 1.5e-8),
    "unipc 8 steps": (0.38, 20.7, 45, 5.8e-11),
    "8 steps + guided 40 %": (0.27, 21.4, 80, 1.0),
}
for name, (share, likeness, right, p) in EIGHTY.items():
    print(f"{name:22s} time {share:.2f}   PSNR {likeness:4.1f}   all right {Share(right, 80)}   p {p:.1e}")

# %% [markdown]
# Three lessons of the record.
#
# **Likeness is not rightness.** `guided 40 %` is less like the full run than `cache 2` is, and as right. `cache 5`,
# `8 steps` and the last row are about as unlike it; the first two get a third of the pictures wrong, the last none.
#
# **Two savings can be better than one.** Eight steps alone fail by their colours: look at what should be
# orange. Late guidance in long steps does that (chapter 09). Take it away, and eight steps are right in all eighty, in
# about a quarter of the time.
#
# **A solver's fame is of another place.** UniPC is made for few steps. On *this* model it does no better than 2M.
#
# Not here: networks trained once more for few steps (LCM-LoRA needs four, without guidance), numbers of eight bits,
# smaller decoders, and larger batches, which save time for each picture and none for the first.
#
# Now your guesses of the beginning. A, B and C are rungs of section 5; D is run here against the full 25.

# %%
made = {}


def in_steps(number):
    made[number] = pipe.txt2img(PROMPT, seed=SEED, num_inference_steps=number, record=False)
    return made[number].latents


guesses = time_pairs("D", lambda: in_steps(12), lambda: in_steps(25), 3, CPU)
for name, rung in {"A": "+ fused attention", "B": "+ both questions in one call", "C": "+ bfloat16"}.items():
    print(f"{name}: {gains[rung][0]:.2f} times quicker, a step")
print(
    f"D: {1 / guesses.ratio:.2f} times quicker, a picture; PSNR {psnr(made[12].images[0], made[25].images[0]):.1f}"
)
assert 1 / guesses.ratio > 1.2

# %% [markdown]
# D leaves out half of the steps, so on any machine it should come near a factor of two. The others have to find their
# gain in how the work is done. But D pays with the picture: in the record see `15 steps` and `10 steps`.
#
# ## 7 · The marks of others
#
# How good are real programs on real cards? Published for Stable Diffusion 1.5 at 512 × 512 pixels are seconds of a
# picture of 50 steps (82.9 TFLOP with text encoder and decoder) or steps a second (1.607 TFLOP each, as counted in
# section 3). So each can be put beside the peak of its card, as its maker states it (dense, 16 bits). Ours are beside a
# measured peak. (TensorRT is a card maker's compiler for networks.)

# %%
MARKS = {  # TFLOP of the work, its seconds, and the peak in TFLOP/s
    "A100, diffusers (fal.ai)": (82.9, 1.604, 312),
    "A100, compiled (fal.ai)": (82.9, 1.354, 312),
    "A100, compiled, channels last (fal.ai)": (82.9, 1.058, 312),
    "A100, TensorRT 9 (fal.ai)": (82.9, 50 / 61.1, 312),
    "H100, diffusers (stable-fast)": (1.607, 1 / 54.5, 989),
    "H100, stable-fast (stable-fast)": (1.607, 1 / 104.6, 989),
    "2 CPU cores, this package, bfloat16 (recorded)": (1.607, 5.10, 0.418),
}
speeds = {name: (1e12 * tera / each, peak * 1e12) for name, (tera, each, peak) in MARKS.items()}
mine = "this machine, the course's model, float32"
speeds[mine] = (work.flops / (times["25 guided steps"] / 25), limits.matmul)
viz.rates(speeds, [mine])

# %% [markdown]
# The best programs reach about a third of an A100, and a smaller share of an H100 (if it was the SXM card; that is not
# said). A quicker card is harder to keep busy: one picture is too little work for it, and many layers wait for memory
# (section 3). On two cores the same network reaches three quarters of the peak: large layers fill a narrow machine. The
# course's small layers do not (last row). Figures of different pages are of different machines and days; compare only
# what was measured by turns.
#
# What each change was worth there, for one card and one program (A100, diffusers, 30 steps):

# %%
viz.improvements(
    {
        "float32": [1.512],
        "+ bfloat16": [1.302],
        "+ fused attention": [1.178],
        "+ compiled, channels last": [0.500],
        "+ joint products": [0.494],
    },
    "seconds of a picture, as published",
)

# %% [markdown]
# The large step is two at once: the compiler fuses kernels and launches a whole recorded call as one (*CUDA graphs*),
# and the layout changes. fal.ai has them one by one, in another mode of the compiler; there the layout brought more
# (rows one to three of the figure before). Joint products gave one percent.

# %% [markdown]
# ## 8 · Your parts in the pipeline
#
# For a moment the pipeline's `groups_of`, `Together` and `reusing_deep_features` are those of *this notebook*. The
# course's sentence, with whole steps and with features kept. Every pixel must be the same.

# %%
wishes = {"whole": {}, "cache 2": {"cache_interval": 2}}
shipped = {name: pipe.txt2img(PROMPT, seed=SEED, **more).images[0] for name, more in wishes.items()}
with (
    patch("sdlearn.speed.Together", Together),
    patch("sdlearn.speed.groups_of", groups_of),
    patch("sdlearn.reuse.reusing_deep_features", reusing_deep_features),
):
    ours = {name: pipe.txt2img(PROMPT, seed=SEED, **more).images[0] for name, more in wishes.items()}
for name in wishes:
    off = np.abs(np.asarray(shipped[name], int) - np.asarray(ours[name], int)).max()
    print(f"{name}: differs by at most {off} of 255")
    assert off == 0
viz.strip(
    {"": [shipped["whole"], ours["whole"], shipped["cache 2"], ours["cache 2"]]},
    ["the pipeline's", "with your parts", "the pipeline's, cache 2", "yours, cache 2"],
    zoom=1.2,
    alt="Four pictures of an orange cat on a red castle; the two of each pair are equal.",
)

# %% [markdown]
# ## 9 · Spot the bug
#
# Somebody has put `reusing_deep_features` into a program that draws many pictures:


# %%
ready = {}


def with_a_bug(network, unet, interval):
    """The network that a run asks."""
    if interval not in ready:
        ready[interval] = reusing_deep_features(network, unet, interval)
    return ready[interval]


def dog_then_cat(steps):
    """A dog, then the course's sentence, each drawn with a cache interval of 3."""
    how = {"seed": SEED, "cache_interval": 3, "num_inference_steps": steps, "record": False}
    return [pipe.txt2img(prompt, **how).images[0] for prompt in ("a blue dog on the beach", PROMPT)]


right = dog_then_cat(25)
with patch("sdlearn.reuse.reusing_deep_features", with_a_bug):
    wrong = dog_then_cat(25)
for name, pair in {"first picture": (wrong[0], right[0]), "second picture": (wrong[1], right[1])}.items():
    print(f"{name}: PSNR to the right one {psnr(*pair):.1f} dB")
assert psnr(wrong[0], right[0]) == 99 and psnr(wrong[1], right[1]) < 20
viz.strip(
    {"right": right, "with the bug": wrong},
    ["first", "second"],
    zoom=1.2,
    alt="Two rows of two pictures. Right: a blue dog on a beach; an orange cat on a red castle in the snow. With the "
    "bug: the same dog; a red cat that has grown together with a red castle, on a beach.",
)

# %% [markdown]
# No error, no warning, and no second more. The first picture is right in every pixel, so a test that draws one picture
# passes. But look at the second: snow has become a beach. Nobody said "beach" in *its* prompt. **How does it get
# there?** Try other numbers of steps: with 24, nothing is wrong.

# %%
# your prints (no idea? print which calls are whole)

# %% [markdown]
# Think before you scroll.
#
# ...
#
# The count and the kept features outlive the run. After 25 calls the last one was whole, so the next two are not, and
# these are the *first two of the next picture*: its noise is joined with what came up through the U at the end of the
# dog. The first steps decide the background. After 24 calls the next one is whole, by luck.
#
# It is reported, and feared, in real programs. A user of DeepCache, with an interval of 3, saw the quality fall "after
# multi-inferences" and was not sure of the cause (issue `#54`). For another method that keeps features, a review of
# Unsloth's program, by a machine, asks that they be reset before each picture (pull request `#6703`). A test that
# catches it draws *two* pictures and compares the second with the one drawn alone. So does ours:


# %%
def second_alone(make):
    """How far the second picture is from the same one drawn alone: 99 dB if it is equal."""
    with patch("sdlearn.reuse.reusing_deep_features", make):
        return psnr(dog_then_cat(25)[1], right[1])


ready.clear()
print(
    f"with the bug: {second_alone(with_a_bug):.1f} dB, without: {second_alone(reusing_deep_features):.1f} dB"
)

# %% [markdown]
# ## 10 · Your turn
#
# Replace each `...`, run the cell, read what it says.

# %%
from sdlearn.exercises import check

# %% [markdown]
# **13.1** A convolution with filters of 3 × 3 and a stride of 2 makes 128 channels of 16 × 16 places out of 64 channels
# of 32 × 32, for a batch of 4. How many FLOPs is that, without the bias?

# %%
answer = ...
check("13.1", answer)

# %% [markdown]
# **13.2** A machine has a peak of 200 GFLOP/s and moves 40 GB/s. A layer has 2 FLOPs for each byte that it moves. How
# many GFLOP/s does it reach at best?

# %%
answer = ...  # GFLOP/s; the peak is 200
check("13.2", answer)


# %% [markdown]
# **13.3** Two rivals ran by turns; `ours[k]` and `theirs[k]` are neighbours. How long do we take, as a share of their
# time? Neither a slowing machine nor one bad run should matter.


# %%
def ratio(ours, theirs):
    return ...


check("13.3", ratio)

# %% [markdown]
# **13.4** A run of 25 steps, `cache_interval=4`, guidance in every step. In how many of the steps does the whole U-Net
# run?

# %%
answer = ...
check("13.4", answer)

# %% [markdown]
# **13.5** The U-Net takes 90 % of a picture's time. Somebody makes it three times as quick, and nothing else. How many
# times as quick is the picture?

# %%
answer = ...
check("13.5", answer)


# %% [markdown]
# **13.6** Wrap a costly function of one tensor. The new function keeps the last answer, and computes only when it is
# asked about *another tensor* than the last time: another object, whatever its numbers. (None is changed in place here;
# some are gone after the call.)


# %%
def remembering(costly):
    return ...  # a function of x


check("13.6", remembering)

# %% [markdown]
# ## 11 · All of it on one screen
#
# A fair race, a roof, joint layers that remember, and a network that reuses its depth.


# %%
def race_of_two(ours, theirs, rounds):
    ours(), theirs()  # warm up
    pairs = []
    for k in range(rounds):
        first, second = (ours, theirs) if k % 2 == 0 else (theirs, ours)
        a, b = (clocked(call, CPU)[0] for call in (first, second))
        pairs.append(a / b if k % 2 == 0 else b / a)
    return statistics.median(pairs)


def roof(flops, moved, peak, copy):
    return min(peak, copy * flops / moved)


def joint_layers(layers):
    weight, asked = torch.cat([each.weight for each in layers]), [None, None]

    def answers(x):
        if x is not asked[0]:
            asked[:] = x, F.linear(x, weight).split([each.out_features for each in layers], dim=-1)
        return asked[1]

    return answers


def reusing(network, unet, interval):
    deep, calls, shape = [], 0, None

    def ask(x, timesteps, text):
        nonlocal deep, calls, shape
        calls += 1
        if calls < interval and x.shape == shape:
            return both_ends(unet, x, timesteps, text, deep[0])
        with coming_up(unet) as deep:
            answer = network(x, timesteps, text)
        calls, shape = 0, x.shape
        return answer

    return ask


# %%
print(f"itself against itself: {race_of_two(lambda: step(pipe.unet), lambda: step(pipe.unet), 10):.2f}")
print(f"the roof over 2 FLOPs a byte: {roof(2, 1, limits.matmul, limits.copy) / 1e9:.0f} GFLOP/s")
again = joint_layers([layer.to_q, layer.to_k, layer.to_v])(places)
gap = max(float((a - b).abs().max()) for a, b in zip(three, again, strict=True))
print(f"joint layers differ from three by at most {gap:.0e}")
with patch("sdlearn.reuse.reusing_deep_features", reusing):
    short = pipe.txt2img(PROMPT, seed=SEED, cache_interval=2).images[0]
off = np.abs(np.asarray(short, int) - np.asarray(shipped["cache 2"], int)).max()
print(f"the short reuse differs from the long one by at most {off} of 255")
assert gap < 1e-5 and off <= 1

# %% [markdown]
# A clock is warm, waits, runs by turns, takes medians with an interval, and compares answers. A layer is below a roof
# of two lines. And the other half of the time, in the epigraph? What can go without changing a number was in calls that
# could be one, and in work done again at every call. Section 5 prints how much that is on your machine; it need not be
# half. After that only doing less is left, and what it costs is asked of the pictures, not of a likeness.

# %% [markdown]
# ## Sources
#
# * S. Williams, A. Waterman, D. Patterson: *Roofline: An Insightful Visual Performance Model for Multicore
#   Architectures*, Communications of the ACM 52 (2009). The roof.
# * X. Ma, G. Fang, X. Wang: *DeepCache: Accelerating Diffusion Models for Free* (2024),
#   [arXiv:2312.00858](https://arxiv.org/abs/2312.00858). Reuse of deep features: section 3.3.
# * T. Kynkäänniemi et al.: *Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in
#   Diffusion Models* (2024), [arXiv:2404.07724](https://arxiv.org/abs/2404.07724). Guidance for some steps.
# * C. Lu et al.: *DPM-Solver++* (2022), [arXiv:2211.01095](https://arxiv.org/abs/2211.01095), the solver of the full
#   run; W. Zhao et al.: *UniPC* (2023), [arXiv:2302.04867](https://arxiv.org/abs/2302.04867).
# * S. Luo et al.: *LCM-LoRA* (2023), [arXiv:2311.05556](https://arxiv.org/abs/2311.05556). A network for few steps.
# * E. B. Wilson: *Probable Inference, the Law of Succession, and Statistical Inference* (1927). The intervals.
# * PyTorch forum: [how to measure execution time](https://discuss.pytorch.org/t/how-to-measure-execution-time-in-pytorch/111458).
#   A card returns before it is done; warm up and wait.
# * Marks of section 7: [fal.ai](https://github.com/fal-ai/stable-diffusion-benchmarks) (A100),
#   [stable-fast](https://github.com/chengzeyi/stable-fast) (H100, steps a second), and the
#   [tables of the diffusers project](https://huggingface.co/datasets/sayakpaul/sample-datasets) to its
#   [diffusion-fast](https://github.com/huggingface/diffusion-fast) (A100, seconds of 30 steps). The makers' peaks, as
#   G. Lockwood collects them: [A100](https://glennklockwood.com/garden/processors/A100),
#   [H100](https://glennklockwood.com/garden/processors/h100).
# * This package's own records: `sdlearn bench` and `sdlearn eval --savings`, in `data/benchmarks`.
# * DeepCache, issue [54](https://github.com/horseee/DeepCache/issues/54); Unsloth, pull request
#   [6703](https://github.com/unslothai/unsloth/pull/6703). The bug of section 9.
