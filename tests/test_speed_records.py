"""Figures that chapter 13 copies from this package's records are those of the files in data/benchmarks."""

import ast
import json
from pathlib import Path

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


def test_milliseconds_are_those_recorded(copied):
    float32, compiled = (
        1000 * guided_step(f"2026-11-21-cpu-scenes-{kind}") for kind in ("float32", "bfloat16-compiled")
    )
    assert [*copied["RECORDED"].values()] == [round(float32, 1), round(compiled, 1)]


def test_savings_are_those_recorded(copied):
    settings = record("savings-2026-11-21")["settings"]
    for name, (time, likeness, right, p) in copied["EIGHTY"].items():
        row = settings[name]
        assert time == (round(row["time"], 2) if name != "25 steps" else 1)
        assert likeness == round(row["psnr"][1], 1)
        assert right == round(80 * row["right"]["both"]["share"])
        lost, gained = row["lost"], row["gained"]
        assert gained == 0 and p == pytest.approx(min(1.0, 2 * 0.5**lost), rel=0.02)


def test_the_rate_on_two_cores_is_the_one_recorded(copied):
    ((speed, peak),) = (pair for name, pair in copied["MARKS"].items() if "recorded" in name)
    name = "2026-11-21-cpu-sd15-bfloat16"
    assert 1 / speed == pytest.approx(guided_step(name), rel=1e-3)
    assert peak == pytest.approx(record(name)["limits"]["matmul"] / 1e12, rel=1e-3)
