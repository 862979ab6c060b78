"""The figures in words: which machine, tables, goals; and as JSON."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from sdlearn.bench.goals import goals

Results = dict[str, Any]


def processor() -> str:
    """Its name; only Linux tells more than the family."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe_machine(device: str, dtype: str) -> str:
    """One line on what was measured: without it a timing means nothing."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor()
    threads, python = torch.get_num_threads(), platform.python_version()
    return f"{name}, {device}, {dtype}, {threads} threads, torch {torch.__version__}, Python {python}"


def heading(device: str, dtype: str, command: Sequence[str]) -> dict[str, str]:
    """When, where and by which command."""
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(["sdlearn", *command]),
        "machine": describe_machine(device, dtype),
    }


def seconds(value: float) -> str:
    """In a unit that leaves three or four digits to be read."""
    return f"{value:.3f} s" if value >= 1 else f"{1000 * value:.2f} ms"


def spread(values: tuple[float, ...]) -> str:
    """From the fastest run to the slowest."""
    return f"{seconds(min(values))} to {seconds(max(values))}"


def gigabytes(number: int | None) -> str:
    return "not measured" if number is None else f"{number / 1e9:.2f} GB"


def rows_table(results: Results) -> list[str]:
    """A line for each thing: median, spread, FLOPs, shares of the limits, peak memory."""
    limits, (width, height) = results["limits"], results["size"]
    lines = [
        f"The machine's limits: {limits['matmul'] / 1e9:,.0f} GFLOP/s in matrix products, "
        f"{limits['copy'] / 1e9:,.1f} GB/s in copies.",
        f"{width} x {height} pixels, {results['steps']} steps a picture:",
        f"{'':16}{'batch':>5}{'median':>12}  {'fastest to slowest':26}{'GFLOP':>10}"
        f"{'of matmul':>11}{'of copy':>9}  peak memory",
    ]
    for row in results["rows"]:
        lines.append(
            f"{row['name']:16}{row['batch']:>5}{seconds(row['median']):>12}  {spread(row['seconds']):26}"
            f"{row['flops'] / 1e9:>10,.1f}{row['of matmul']:>11.1%}{row['of copy']:>9.1%}  {gigabytes(row['peak'])}"
        )
    return lines


def shares_line(results: Results) -> list[str]:
    """Where a guided step spends its time."""
    shares = results["shares"]
    if not shares:
        return []
    kinds = {kind: shares[kind] for kind in ("convolution", "linear", "attention", "other")}
    total = sum(kinds.values()) or 1.0
    told = ", ".join(f"{kind} {value / total:.0%}" for kind, value in kinds.items())
    lines = [f"A guided step's time by operator: {told}."]
    if shares["rate"]:
        share = shares["rate"] / results["limits"]["matmul"]
        lines.append(
            f"Convolutions and linear layers run at {shares['rate'] / 1e9:,.0f} GFLOP/s, "
            f"{share:.1%} of the rate of matrix products."
        )
    return lines


def pairs_table(results: Results) -> list[str]:
    """Ratios of our time to that of diffusers, pair by pair."""
    if not results["pairs"]:
        return []
    lines = [
        "",
        "Our time over that of diffusers, by turns; below 1 we are faster. Beside it the largest difference",
        "of the answers (vectors, latents, pixels), over the largest number in theirs.",
    ]
    for pair in results["pairs"]:
        ratios = " ".join(f"{ratio:.2f}" for ratio in pair["ratios"])
        name = f"{pair['name']}, batch {pair['batch']}, diffusers {pair['way']}"
        lines.append(f"{name:50} {pair['ratio']:.3f}  ({ratios})  difference {pair['difference']:.1e}")
    return lines


def scaling_tables(results: Results) -> list[str]:
    """Time against steps, batch and size, and memory against size."""
    if not results["scaling"]:
        return []
    steps, batch, size = (results["scaling"][name] for name in ("steps", "batch", "size"))
    lines = ["", "A picture of so many steps:"]
    lines += [f"{n:>8}  {seconds(y)}" for n, y in zip(steps["steps"], steps["seconds"], strict=True)]
    lines += [
        f"  a line: {seconds(steps['a step'])} a step, and {seconds(steps['intercept'])} for all else; no "
        f"point is farther from it than {steps['farthest from the line']:.1%}",
        "A guided step of so many pictures at once, and for each picture:",
    ]
    columns = zip(batch["batch"], batch["seconds"], batch["seconds a picture"], strict=True)
    lines += [f"{n:>8}  {seconds(y):>12}{seconds(each):>12}" for n, y, each in columns]
    lines += ["A guided step of so many pixels a side, and its peak memory:"]
    columns = zip(size["pixels"], size["seconds"], size["peak memory"], strict=True)
    lines += [f"{n:>8}  {seconds(y):>12}  {gigabytes(most)}" for n, y, most in columns]
    return lines


def other_lines(results: Results) -> list[str]:
    """Fresh processes, memory over many pictures, and the goals."""
    lines = [
        f"{timing['name']:50}{seconds(timing['median']):>12}  {spread(timing['seconds'])}"
        for timing in results["cold"]
    ]
    leak = results["leak"]
    if leak:
        grown = "not measured" if leak["growth"] is None else f"{leak['growth'] / 1e6:.1f} MB"
        lines.append(f"Memory grew over {leak['pictures']} pictures by: {grown}.")
    judged = [str(goal) for goal in goals(results)]
    return lines + (["", "Goals:", *judged] if judged else [])


def table(results: Results) -> str:
    """All of it."""
    parts = rows_table, shares_line, pairs_table, scaling_tables, other_lines
    return "\n".join(line for part in parts for line in part(results))


def to_json(results: Results) -> str:
    """The same with every single run, and which goals were reached."""
    judged = [
        {"goal": g.text, "measured": g.measured, "limit": g.limit, "reached": g.reached}
        for g in goals(results)
    ]
    return json.dumps(results | {"goals": judged}, indent=2) + "\n"
