"""`sdlearn check`: it finds what is wrong, and says what to do."""

import hashlib
from importlib import metadata

import pytest
import torch
from small_pipeline import small_pipeline

from sdlearn import environment
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

    monkeypatch.setattr(sdlearn.StableDiffusion, "predict", lambda *_, **__: 1 / 0)
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
