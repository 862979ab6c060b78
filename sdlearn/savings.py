"""Fewer network calls, and what they cost: work, time, likeness to the full run, and what the oracle says.

``sdlearn eval --savings`` prints it. Every setting draws the same captions from the same seeds; times are of pairs.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from sdlearn.evaluate import Case, Share, draw, read_scores
from sdlearn.pipeline import StableDiffusion
from sdlearn.plan import get_sampler, make_plan
from sdlearn.scenes.oracle import Oracle
from sdlearn.schedule import Schedule

PROMPT = "an orange cat standing on a red castle"
STEPS = 25
FULL: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": 7.5, "sampler": "dpmpp_2m"}
FINE = FULL | {"num_inference_steps": 200}  # nearly what infinitely many steps draw
FINE_CAPTIONS = 12  # of each kind: the fine run takes as long as eight others

Settings = Mapping[str, dict[str, Any]]  # a name -> arguments of ``txt2img``


@dataclass(frozen=True)
class Work:
    """What one picture asks of the U-Net."""

    samples: int  # through its two ends, at least; with guidance two a step
    whole: int  # of these, through all of it
    flops: int


@dataclass(frozen=True)
class Quality:
    """What the pictures of a setting are, caption by caption beside those of the full run."""

    likeness: list[float]  # PSNR to the full run in dB, its 10, 50 and 90 % quantiles
    likeness_to_fine: float  # PSNR to the run of 200 steps, median of fewer captions
    right: dict[str, Share]  # "seen", "held out" and "both": pictures that are right in all
    lost: int  # right in the full run and wrong here
    gained: int  # the other way round

    @property
    def p_value(self) -> float:
        """How likely so uneven a ``lost`` and ``gained`` is by chance: the two-sided sign test, exact."""
        n, few = self.lost + self.gained, min(self.lost, self.gained)
        return min(1.0, 2 * sum(math.comb(n, k) for k in range(few + 1)) / 2**n)


def guided_for(schedule: Schedule, share: float) -> tuple[float, float]:
    """The ``guidance_interval`` that holds the first ``share`` of the full run's steps."""
    sigmas = make_plan(get_sampler(FULL["sampler"]), schedule, STEPS).sigmas
    last = sigmas[round(share * STEPS) - 1]
    return math.floor(float(last) * 1000) / 1000, float(math.ceil(sigmas[0]))


def ways_to_save(schedule: Schedule) -> dict[str, dict[str, Any]]:
    """The settings compared, the full run first; "guided 40 %" is guidance in the first 40 % of its steps."""
    guided = {
        f"guided {percent} %": {"guidance_interval": guided_for(schedule, percent / 100)}
        for percent in (60, 40, 20)
    }
    reuse = {f"cache {n}": {"cache_interval": n} for n in (2, 3, 5)}
    fewer = {f"{n} steps": {"num_inference_steps": n} for n in (15, 10, 8)}
    fewer |= {f"unipc {n} steps": {"num_inference_steps": n, "sampler": "unipc"} for n in (10, 8, 5)}
    parts = guided | reuse | fewer
    pairs = (
        ("guided 60 %", "cache 2"),
        ("guided 40 %", "cache 2"),
        ("15 steps", "guided 40 %"),
        ("15 steps", "cache 2"),
        ("10 steps", "guided 40 %"),
        ("8 steps", "guided 40 %"),
        ("unipc 8 steps", "guided 40 %"),
    )
    both = {f"{one} + {other}": parts[one] | parts[other] for one, other in pairs}
    return {f"{STEPS} steps": {}} | parts | both


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count floating-point operations; attention as matrix products, since its fused form on a CPU is not counted."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


def work_of(pipe: StableDiffusion, asked: dict[str, Any]) -> Work:
    """Count what one guided picture asks of the U-Net, without the text encoder and the decoder."""
    pipe = copy.copy(pipe)
    pipe.for_a_run = lambda cache_interval: pipe.unet  # nobody knows how much oneDNN's own operators compute
    whole: list[int] = []
    samples: list[int] = []
    hooks = [
        pipe.unet.mid_block.register_forward_hook(lambda block, given, answer: whole.append(len(answer))),
        pipe.unet.conv_out.register_forward_hook(lambda layer, given, answer: samples.append(len(answer))),
    ]
    try:
        with counting() as everything:
            for _ in pipe.txt2img_steps(PROMPT, **FULL | asked):
                pass
    finally:
        for hook in hooks:
            hook.remove()
    with counting() as text:
        pipe.encode_prompt([PROMPT])
        pipe.encode_prompt([""])
    return Work(sum(samples), sum(whole), everything.get_total_flops() - text.get_total_flops())


def seconds_in_pairs(
    pipe: StableDiffusion, settings: Settings, rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """For each setting ``rounds`` pairs of (seconds of the full run, seconds of the setting) for one picture.

    One after the other, so that both see the same machine; the first of each is not counted.
    """

    def seconds(asked: dict[str, Any]) -> float:
        start = time.perf_counter()
        pipe.txt2img(
            PROMPT, record=False, **FULL | asked
        )  # pictures are on the CPU: a GPU has been waited for
        return time.perf_counter() - start

    for asked in settings.values():
        seconds(asked)
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in settings}
    for _ in tqdm(range(rounds), desc="timing", disable=None, leave=False):
        for name, asked in settings.items():
            pairs[name].append((seconds({}), seconds(asked)))
    return pairs


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio of two pictures of 8 bits in dB; 99 for equal ones."""
    error = np.square(np.asarray(one, float) - np.asarray(other, float)).mean()
    return float(10 * np.log10(255**2 / error)) if error else 99.0


def qualities(
    pipe: StableDiffusion, oracle: Oracle, seen: Sequence[Case], held_out: Sequence[Case], settings: Settings
) -> dict[str, Quality]:
    """Draw all captions with each setting; the first ``FINE_CAPTIONS`` of each kind also in 200 steps."""
    cases = [*seen, *held_out]
    fine_places = [*range(len(seen))][:FINE_CAPTIONS] + [*range(len(seen), len(cases))][:FINE_CAPTIONS]
    fine = draw(pipe, [cases[k] for k in fine_places], record=False, **FINE)
    full = draw(pipe, cases, record=False, **FULL)

    def right(pictures: Sequence[Image.Image]) -> list[bool]:
        return [score.all_right for score in read_scores(oracle, pictures, [case.scene for case in cases])]

    at_best = right(full)
    found = {}
    for name, asked in tqdm(settings.items(), desc="settings", disable=None, leave=False):
        pictures = draw(pipe, cases, record=False, **FULL | asked) if asked else full
        here = right(pictures)
        parts = {"seen": here[: len(seen)], "held out": here[len(seen) :], "both": here}
        alike = [psnr(*pair) for pair in zip(pictures, full, strict=True)]
        found[name] = Quality(
            likeness=np.percentile(alike, (10, 50, 90)).tolist(),
            likeness_to_fine=median(
                psnr(pictures[k], image) for k, image in zip(fine_places, fine, strict=True)
            ),
            right={part: Share(sum(marks), len(marks)) for part, marks in parts.items()},
            lost=sum(before and not now for before, now in zip(at_best, here, strict=True)),
            gained=sum(now and not before for before, now in zip(at_best, here, strict=True)),
        )
    return found


def measure(
    pipe: StableDiffusion,
    oracle: Oracle,
    seen: Sequence[Case],
    held_out: Sequence[Case],
    rounds: int = 5,
) -> dict[str, dict[str, Any]]:
    """A row of plain numbers for each of ``ways_to_save``."""
    settings = ways_to_save(pipe.schedule)
    pairs = seconds_in_pairs(pipe, settings, rounds)
    found = qualities(pipe, oracle, seen, held_out, settings)
    work = {name: work_of(pipe, asked) for name, asked in settings.items()}
    full = next(iter(work.values()))
    return {
        name: {
            "asked": FULL | asked,
            **asdict(work[name]),
            "work": round(work[name].flops / full.flops, 4),
            "seconds": round(median(mine for _, mine in pairs[name]), 4),
            "time": round(median(mine / theirs for theirs, mine in pairs[name]), 4),
            "time_range": [
                round(end(mine / theirs for theirs, mine in pairs[name]), 4) for end in (min, max)
            ],
            "psnr": [round(value, 2) for value in found[name].likeness],
            "psnr_to_200_steps": round(found[name].likeness_to_fine, 2),
            "right": {
                part: {
                    "share": round(s.value, 4),
                    "interval": [round(x, 4) for x in s.interval],
                    "asked": s.asked,
                }
                for part, s in found[name].right.items()
            },
            "lost": found[name].lost,
            "gained": found[name].gained,
            "p_value": round(found[name].p_value, 6),
        }
        for name, asked in settings.items()
    }


def table(rows: Mapping[str, dict[str, Any]]) -> str:
    """A line a setting: what it asks of the U-Net, its time beside the full run's, its pictures, its mistakes."""
    lines = [
        f"{'':28}{'samples':>8}{'whole':>7}{'work':>7}{'time':>7}{'PSNR':>7}{'to 200':>8}  "
        f"{'right in all, 95 % interval':29}{'lost':>5}{'gained':>7}{'p':>8}"
    ]
    for name, row in rows.items():
        both = row["right"]["both"]
        low, high = (100 * end for end in both["interval"])
        lines.append(
            f"{name:28}{row['samples']:8}{row['whole']:7}{row['work']:7.2f}{row['time']:7.2f}{row['psnr'][1]:7.1f}"
            f"{row['psnr_to_200_steps']:8.1f}  "
            f"{100 * both['share']:5.1f} %  [{low:4.1f}, {high:5.1f}]{'':7}{row['lost']:6}{row['gained']:7}"
            f"{row['p_value']:8.2g}"
        )
    equal = [name for name, row in list(rows.items())[1:] if row["p_value"] >= 0.05]
    told = ", ".join(equal) if equal else "none"
    return "\n".join(
        [*lines, f"The oracle cannot tell from the full run (sign test, p of 0.05 or more): {told}."]
    )
