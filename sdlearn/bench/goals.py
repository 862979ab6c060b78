"""What this package should reach, and whether this run has: each goal is judged where it applies, and only there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]
MEGABYTE, GIGABYTE = 1e6, 1e9


@dataclass(frozen=True)
class Goal:
    """A measured number and its limit."""

    text: str
    measured: float
    limit: float
    at_least: bool = False

    @property
    def reached(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        sign, verdict = ">=" if self.at_least else "<=", "reached" if self.reached else "MISSED"
        return f"{verdict:<8} {self.text}: {self.measured:.4g} (goal {sign} {self.limit:.4g})"


def row(results: Results, name: str) -> dict[str, Any] | None:
    """What was measured of ``name`` with one picture at a time."""
    found = [row for row in results["rows"] if row["name"] == name and row["batch"] == 1]
    return found[0] if found else None


def worst_pair(results: Results, name: str) -> dict[str, Any] | None:
    """Against the way in which diffusers does best: the pair with the largest ratio of our time to theirs."""
    found = [pair for pair in results["pairs"] if pair["name"] == name and pair["batch"] == 1]
    return max(found, key=lambda pair: pair["ratio"], default=None)


def goals(results: Results) -> Iterator[Goal]:
    """All that apply to this model, device and precision."""
    if results["quick"]:  # too few runs, and a smaller picture
        return
    full_size = results["model"] == "sd15" and results["size"] == [512, 512]
    judges: list[Callable[[Results], Iterator[Goal]]] = [of_memory]
    if full_size and results["device"] == "cuda" and results["dtype"] == "bfloat16":
        judges.append(of_the_gpu)
    elif full_size and results["device"] == "cpu":
        judges.append(of_full_size_on_a_cpu)
    elif results["model"] == "scenes" and results["device"] == "cpu":
        judges.append(of_the_small_model)
    for judge in judges:
        yield from judge(results)


def of_memory(results: Results) -> Iterator[Goal]:
    """Pictures leave nothing behind."""
    leak = results.get("leak")
    if leak and leak["growth"] is not None:
        yield Goal(f"growth over {leak['pictures']} pictures, MB", leak["growth"] / MEGABYTE, 50)


def of_the_gpu(results: Results) -> Iterator[Goal]:
    """Stable Diffusion 1.5 at 512 x 512, guided, bfloat16, one picture at a time."""
    compiled = results["compiled"]
    step, whole, pair = (
        row(results, "guided step"),
        row(results, "picture"),
        worst_pair(results, "guided step"),
    )
    if pair:
        text = "times as fast as diffusers, " + ("both compiled" if compiled else "both eager")
        yield Goal(text, 1 / pair["ratio"], 1.05 if compiled else 1.2, at_least=True)
    if step:
        yield Goal("guided steps a second", 1 / step["median"], 100 if compiled else 50, at_least=True)
    if whole and compiled and results["steps"] == 50:
        yield Goal("50 steps to a decoded picture, s", whole["median"], 0.55)
    if whole and whole["peak"]:
        yield Goal("peak memory, GB", whole["peak"] / GIGABYTE, 2.9)


def of_full_size_on_a_cpu(results: Results) -> Iterator[Goal]:
    """The same shape on a processor."""
    pair, exact = worst_pair(results, "guided step"), results["dtype"] == "float32"
    if pair:
        text = f"a guided step over that of diffusers, {results['dtype']}"
        yield Goal(text, pair["ratio"], 1.0 if exact else 0.9)
        if exact:
            yield Goal("largest difference from diffusers, over the largest number", pair["difference"], 1e-4)
    shares = results["shares"]
    if shares and shares["rate"]:
        text = "convolutions and linear layers over the rate of matrix products"
        yield Goal(text, shares["rate"] / results["limits"]["matmul"], 0.8, at_least=True)


def of_the_small_model(results: Results) -> Iterator[Goal]:
    """The shipped model on a processor."""
    pair, whole = worst_pair(results, "picture"), row(results, "picture")
    if pair and results["dtype"] == "float32":
        yield Goal("a picture over that of diffusers, float32", pair["ratio"], 0.75)
    if whole and results["steps"] == 25:
        yield Goal("a warm picture of 25 guided steps, s", whole["median"], 0.3)
    cold = [timing for timing in results["cold"] if timing["name"].startswith("sdlearn txt2img")]
    if cold:
        yield Goal("the cold command line to PNG, s", cold[0]["median"], 2.5)
