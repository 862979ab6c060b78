"""Figures that chapter 13 copies from this package's records are those of the files in data/benchmarks."""

import ast
import json
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "data" / "benchmarks"


@pytest.fixture(scope="module")
def copied():
    """The tables of the chapter's source, by name."""
    tree = ast.parse((ROOT / "notebooks" / "source" / "13_speed.py").read_text(encoding="utf-8"))
    tables = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    wanted = {"RECORDED", "EIGHTY", "MARKS"}
    found = {node.targets[0].id: node.value for node in tables if node.targets[0].id in wanted}
    return {name: eval(compile(ast.Expression(value), name, "eval"), {}) for name, value in found.items()}


def record(name):
    return json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))


def guided_step(name):
    (row,) = [row for row in record(name)["rows"] if row["name"] == "guided step"]
    return row["median"]


def by_turns(name):
    """Ours, in the last race of guided steps against diffusers."""
    return median([pair for pair in record(name)["pairs"] if pair["name"] == "guided step"][-1]["ours"])


def test_milliseconds_are_those_recorded(copied):
    names = [f"2026-11-21-cpu-scenes-{kind}" for kind in ("float32", "bfloat16-compiled")]
    for measured, told in zip((guided_step, by_turns), copied["RECORDED"].values(), strict=True):
        assert told == tuple(round(1000 * measured(name), 1) for name in names)


def test_savings_are_those_recorded(copied):
    settings = record("savings-2026-11-21")["settings"]
    for name, (time, likeness, right, p) in copied["EIGHTY"].items():
        row = settings[name]
        assert time == round(row["time"], 2)
        assert likeness == round(row["psnr"][1], 1)
        assert right == round(80 * row["right"]["both"]["share"])
        lost, gained = row["lost"], row["gained"]
        assert gained == 0 and p == pytest.approx(min(1.0, 2 * 0.5**lost), rel=0.02)


def test_the_rate_on_two_cores_is_the_one_recorded(copied):
    ((work, seconds, peak),) = (pair for name, pair in copied["MARKS"].items() if "recorded" in name)
    name = "2026-11-21-cpu-sd15-bfloat16"
    assert seconds == pytest.approx(guided_step(name), rel=1e-3)
    (row,) = [row for row in record(name)["rows"] if row["name"] == "guided step"]
    assert work == pytest.approx(row["flops"] / 1e12, rel=1e-3)
    assert peak == pytest.approx(record(name)["limits"]["matmul"] / 1e12, rel=1e-3)
