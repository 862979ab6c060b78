"""The training loop that the autoencoder, CLIP and the U-Net share.

The script is the same on one CPU, one GPU, several GPUs and several machines: `accelerate` decides. For that, every
random choice of step s (which pictures, how much noise, which captions are dropped) is a function of (seed, s) alone,
made for the *whole* batch; each process then takes its share. So two processes train on what one would have, and a
resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.hooks import RemovableHandle
from tqdm import tqdm

from sdlearn.progress import bar_size
from sdlearn.training.muon import Muon, split


@dataclass(frozen=True)
class TrainingSettings:
    """What every training needs to know. ``batch_size`` counts the examples of one step over all processes."""

    steps: int
    batch_size: int
    learning_rate: float  # of AdamW, which moves biases, norms, embeddings, first and last layers
    muon_learning_rate: float = 4e-3  # of Muon, which moves the matrices
    warmup_steps: int = 100
    weight_decay: float = 0.01
    beta2: float = 0.99  # of AdamW: how long it remembers the size of gradients
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    precision: str = "bf16"  # or "no" for float32
    seed: int = 0
    log_every: int = 20
    sample_every: int = 500
    save_every: int = 250


@dataclass(frozen=True)
class Share:
    """The part of a step's batch that one process works on."""

    rank: int
    processes: int

    def take(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor made for the whole batch: (B, …) -> (B / processes, …)."""
        size = whole.shape[0] // self.processes
        return whole[self.rank * size : (self.rank + 1) * size]


def step_generator(seed: int, step: int) -> torch.Generator:
    """The source of every random choice of one step. The large odd factor keeps neighbouring seeds apart."""
    return torch.Generator("cpu").manual_seed(seed * 1_000_003 + step)


def rise_and_fall(settings: TrainingSettings, step: int) -> float:
    """The share of the learning rate that this step uses: it rises linearly for the warm-up, then falls along half a
    cosine to a hundredth (Loshchilov & Hutter 2017)."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    way = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * way))


def optimizers_of(model: nn.Module, settings: TrainingSettings) -> tuple[torch.optim.AdamW, Muon]:
    """Muon for the matrices, AdamW for the rest."""
    matrices, rest = split(model)
    exact_enough = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    return (
        torch.optim.AdamW(
            rest,
            lr=settings.learning_rate,
            betas=(0.9, settings.beta2),
            weight_decay=settings.weight_decay,
            fused=True,
        ),
        Muon(matrices, settings.muon_learning_rate, settings.weight_decay, exact_enough),
    )


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights a little towards the model's; faster in the first steps, when all is still moving."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def memory_layout(device: torch.device, precision: str) -> torch.memory_format:
    """How pictures and weights lie in memory: channels last, as convolutions like it, but for bfloat16 on a CPU.

    There torch 2.13's GroupNorm is nine times slower with the channels last, unless each group has a multiple of 16:
    more than the convolutions lose without (measured on the U-Net: 83 ms a step against 9, and 216 against 234).
    """
    slow_norm = device.type == "cpu" and precision == "bf16"
    return torch.contiguous_format if slow_norm else torch.channels_last


def lay_out_inputs(model: nn.Module, layout: torch.memory_format) -> RemovableHandle:
    """Let ``model`` put the pictures that it is given in ``layout``: convolutions pass on that of their input."""

    def laid_out(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x.contiguous(memory_format=layout) if x.ndim == 4 else x for x in inputs)

    return model.register_forward_pre_hook(laid_out)


def save_atomically(content: dict, path: Path) -> None:
    """Write beside, then rename: a crash leaves the old file or the new one, never half of one."""
    temporary = path.with_suffix(".unfinished")
    torch.save(content, temporary)
    os.replace(temporary, path)


def fit(
    model: nn.Module,
    loss_of: Callable[[nn.Module, int, Share], dict[str, Tensor]],
    settings: TrainingSettings,
    folder: Path,
    *,
    resume: bool = False,
    preview: Callable[[nn.Module, Path], None] | None = None,
    cpu: bool = False,
) -> nn.Module:
    """Train ``model`` and return the moving average of its weights.

    ``loss_of(model, step, share)`` computes one step's losses; its entry "loss" is minimised, the others are logged.
    ``folder`` receives ``log.jsonl``, ``state.pt`` (to resume) and what ``preview(average, path)`` draws.
    """
    accelerator = Accelerator(mixed_precision=settings.precision, cpu=cpu)
    share = Share(accelerator.process_index, accelerator.num_processes)
    if settings.batch_size % share.processes:
        raise ValueError(
            f"batch_size {settings.batch_size} cannot be shared by {share.processes} processes; take a multiple."
        )
    folder.mkdir(parents=True, exist_ok=True)
    layout = memory_layout(accelerator.device, settings.precision)
    model = model.to(accelerator.device, memory_format=layout).train()
    average = copy.deepcopy(model).requires_grad_(False).eval()
    optimizers = optimizers_of(model, settings)
    highest = (settings.learning_rate, settings.muon_learning_rate)
    first = _resume(folder, settings, model, average, optimizers) if resume else 0
    wrapped, *optimizers = accelerator.prepare(model, *optimizers)
    chief = accelerator.is_main_process
    bar = tqdm(
        total=settings.steps,
        initial=first,
        disable=None if chief else True,
        desc=folder.name,
        **bar_size(),
    )
    with ExitStack() as stack:
        stack.callback(lay_out_inputs(model, layout).remove)
        if (
            accelerator.device.type == "cpu"
        ):  # measured: the fused kernel's backward takes a third of a CPU step
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for step in range(first, settings.steps):
            for optimizer, rate in zip(optimizers, highest, strict=True):
                optimizer.param_groups[0]["lr"] = rate * rise_and_fall(settings, step)
            losses = loss_of(wrapped, step, share)
            accelerator.backward(losses["loss"])
            accelerator.clip_grad_norm_(wrapped.parameters(), settings.gradient_clip)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            update_ema(average, model, settings.ema_decay, step)
            bar.update()
            done = step + 1
            if done % settings.log_every == 0 or done == settings.steps:
                _log(accelerator, folder, done, losses, bar)
            if chief and (done % settings.save_every == 0 or done == settings.steps):
                _check_finite(done, losses["loss"].item())
                _save(folder, settings, done, model, average, optimizers)
            if chief and preview and (done % settings.sample_every == 0 or done == settings.steps):
                preview(average, folder / f"sample-{done:06d}.png")
    bar.close()
    accelerator.wait_for_everyone()
    return average


def _check_finite(step: int, loss: float) -> None:
    """Raise FloatingPointError before a spoilt state is saved over a good one."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss of step {step} is {loss}: lower the learning rate.")


def _log(accelerator: Accelerator, folder: Path, step: int, losses: dict[str, Tensor], bar: tqdm) -> None:
    """One line of JSON per entry: the mean over all processes."""
    means = {key: accelerator.reduce(value.detach().float(), "mean").item() for key, value in losses.items()}
    _check_finite(step, means["loss"])
    if accelerator.is_main_process:
        bar.set_postfix(loss=f"{means['loss']:.4f}")
        with open(folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(
                json.dumps({"step": step, **{key: round(value, 6) for key, value in means.items()}}) + "\n"
            )


def _save(folder: Path, settings: TrainingSettings, step: int, model, average, optimizers) -> None:
    state = {
        "step": step,
        "settings": asdict(settings),
        "model": model.state_dict(),
        "average": average.state_dict(),
    }
    inner = [optimizer.state_dict() for optimizer in optimizers]
    save_atomically({**state, "optimizers": inner}, folder / "state.pt")


def _resume(folder: Path, settings: TrainingSettings, model, average, optimizers) -> int:
    """Load ``state.pt`` and return the step to go on with; 0 where there is none."""
    path = folder / "state.pt"
    if not path.exists():
        (folder / "log.jsonl").unlink(missing_ok=True)
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    changed = {
        key: (old, asdict(settings)[key])
        for key, old in state["settings"].items()
        if old != asdict(settings)[key]
    }
    if changed:
        key, (old, new) = next(iter(changed.items()))
        raise ValueError(
            f"{path} was trained with {key} = {old!r}, now it is {new!r}; resume with the same recipe."
        )
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    for optimizer, inner in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(inner)
    log = folder / "log.jsonl"  # lines after the saved step will be written again
    if log.exists():
        lines = [
            line for line in log.read_text("utf-8").splitlines() if json.loads(line)["step"] <= state["step"]
        ]
        log.write_text("".join(line + "\n" for line in lines), "utf-8")
    return state["step"]
