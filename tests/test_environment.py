"""`sdlearn check` and the benchmark: they find what is wrong, and report what they measured."""

import hashlib
import json
from importlib import metadata
from pathlib import Path

import pytest
import torch
from small_pipeline import small_pipeline

from sdlearn import bench, environment
from sdlearn.cli import main


@pytest.fixture
def model(tmp_path):
    """A tiny random model with its checksums."""
    folder = small_pipeline().save_pretrained(tmp_path / "small")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files
    ]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
    return folder


def lines_of(capsys) -> dict[str, str]:
    """The report's lines by what they are about."""
    return {line[7:23].strip(): line for line in capsys.readouterr().out.splitlines()}


def test_check_of_a_whole_environment(model, capsys):
    assert main(["check", "--model", str(model)]) == 0
    lines = lines_of(capsys)
    assert f"{torch.__version__} (at least {environment.REQUIRED['torch']})" in lines["torch"]
    assert lines["model"].startswith("   ok") and "checksums match" in lines["model"]
    assert lines["drawing"].startswith("   ok") and "a picture of 4 steps took" in lines["drawing"]
    assert f"{torch.get_num_threads()} for torch" in lines["threads"]
    assert not [line for line in lines.values() if "WRONG" in line]


def test_check_finds_a_changed_and_a_missing_file(model, capsys):
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # a single bit
    weights.write_bytes(content)
    (model / "tokenizer" / "merges.txt").unlink()
    assert sorted(environment.wrong_files(model)) == [
        "tokenizer/merges.txt",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    assert main(["check", "--model", str(model)]) == 1
    lines = lines_of(capsys)
    assert lines["model"].startswith("WRONG") and "merges.txt" in lines["model"]
    assert "drawing" not in lines


def test_check_finds_a_missing_model(capsys):
    assert main(["check", "--model", "nosuch"]) == 1
    assert "no model named 'nosuch'" in lines_of(capsys)["model"]


def test_check_tells_when_drawing_fails(model, monkeypatch):
    import sdlearn

    monkeypatch.setattr(sdlearn.StableDiffusion, "predict", lambda *_: 1 / 0)
    found = environment.check_drawing(str(model))
    assert (found.ok, found.text) == (False, "failed: ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    "version, ok",
    [("2.13.0+cpu", True), ("2.11", True), ("2.9.1", False), ("3.0", True), (None, False)],
)
def test_versions_are_compared_as_numbers(monkeypatch, version, ok):
    def installed(name):
        if version is None:
            raise metadata.PackageNotFoundError
        return version

    monkeypatch.setattr(metadata, "version", installed)
    assert environment.check_version("torch", "2.11", "install it").ok is ok


def test_what_only_notebooks_need_may_be_missing_but_not_old(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "version", missing)
    assert environment.check_version("jupyterlab", "4.6.2", "", required=False).ok is None
    monkeypatch.setattr(metadata, "version", lambda name: "4.5")
    assert environment.check_version("jupyterlab", "4.6.2", "", required=False).ok is False


# The benchmark: that it measures what it says, not how fast this machine is.


def test_a_timing_is_the_median_of_the_runs_after_a_warm_up(monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    calls = []
    timing = bench.time_calls("x", lambda: calls.append(1), 3, torch.device("cpu"))
    assert timing.seconds == (5.0, 1.0, 2.0) and timing.median == 2.0 and len(calls) == 4
    assert bench.table([timing]).splitlines()[1].split() == ["x", "2.000", "s", "1.000", "s", "5.000", "s"]


@pytest.mark.slow
def test_bench_times_every_stage(model, tmp_path, capsys):
    file = tmp_path / "timings.json"
    assert main(["bench", "--model", str(model), "--runs", "1", "--device", "cpu", "--json", str(file)]) == 0
    saved = json.loads(Path(file).read_text(encoding="utf-8"))
    printed = capsys.readouterr().out
    assert "cpu, float32" in saved["machine"] and torch.__version__ in saved["machine"]
    names = [row["name"] for row in saved["timings"]]
    assert len(names) == 8 and all(name in printed for name in names)
    by_name = {row["name"]: row["median"] for row in saved["timings"]}
    assert all(seconds > 0 for seconds in by_name.values())
    # a whole picture holds 25 U-Net steps, a cold command holds the import of torch and a picture
    assert by_name["one picture, 25 guided steps"] > 5 * by_name["U-Net, one guided step (batch 2)"]
    assert by_name["sdlearn txt2img, cold, to PNG"] > by_name["import sdlearn, after torch"]
