"""What fewer network calls save and cost: counted, compared and written down as they are."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from small_pipeline import small_pipeline

from sdlearn import savings
from sdlearn.cli import main
from sdlearn.evaluate import fixed_cases
from sdlearn.savings import Quality, Work, guided_for, psnr, qualities, table, ways_to_save, work_of
from sdlearn.scenes import render
from sdlearn.scenes.oracle import Oracle


@pytest.mark.slow
def test_work_is_counted_from_what_the_networks_do(monkeypatch):
    monkeypatch.setattr(savings, "STEPS", 5)
    monkeypatch.setitem(savings.FULL, "num_inference_steps", 5)
    pipe = small_pipeline()
    full = work_of(pipe, {})
    assert (full.samples, full.whole) == (10, 10)
    context = pipe.encode_prompt([savings.PROMPT])
    with savings.counting() as one, torch.no_grad():
        pipe.unet(torch.zeros(1, 4, 8, 8), torch.ones(1), context)
    assert full.flops == 10 * one.get_total_flops()
    interval = guided_for(pipe.schedule, 0.4)
    assert work_of(pipe, {"guidance_interval": interval}) == Work(7, 7, 7 * one.get_total_flops())
    reused = work_of(pipe, {"cache_interval": 3})
    assert (reused.samples, reused.whole) == (10, 4) and 4 / 10 < reused.flops / full.flops < 8 / 10
    assert not any(module._forward_hooks for module in pipe.unet.modules())


def test_attention_is_counted():
    """Its fused form on the CPU would count as nothing."""
    q = torch.zeros(1, 1, 6, 4)
    with savings.counting() as counter, torch.no_grad():
        torch.nn.functional.scaled_dot_product_attention(q, q, q)
    assert counter.get_total_flops() == 2 * 2 * 6 * 6 * 4


def test_the_settings_are_those_that_their_names_say():
    ways = ways_to_save(small_pipeline().schedule)
    assert list(ways.values())[0] == {}
    assert ways["guided 60 % + cache 2"] == ways["guided 60 %"] | {"cache_interval": 2}
    assert ways["unipc 8 steps"] == {"num_inference_steps": 8, "sampler": "unipc"}
    lows = [ways[f"guided {percent} %"]["guidance_interval"][0] for percent in (60, 40, 20)]
    assert lows == sorted(lows) and lows[0] > 0


@pytest.mark.parametrize("lost, gained, p", [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 64), (1, 7, 2 * 9 / 256)])
def test_the_sign_test(lost, gained, p):
    assert Quality([], 0.0, {}, lost, gained).p_value == pytest.approx(p)


def test_likeness_in_decibels():
    grey, lighter = (Image.new("RGB", (4, 4), (level,) * 3) for level in (100, 125))
    assert psnr(grey, grey) == 99.0
    assert psnr(grey, lighter) == pytest.approx(20.17, abs=0.01)  # 20 log10(255 / 25)


class DrawsByHand:
    """Instead of a model: true pictures; with ``cache_interval`` the first of each batch is its neighbour's."""

    def __init__(self, cases):
        self.cases = {(case.prompt, case.seed): case for case in cases}

    def txt2img(self, prompts, seed, cache_interval=1, **settings):
        images = [render(self.cases[pair].scene) for pair in zip(prompts, seed, strict=True)]
        return SimpleNamespace(images=images if cache_interval == 1 else [images[1], *images[1:]])


def test_lost_pictures_are_found(monkeypatch):
    monkeypatch.setattr(savings, "FINE_CAPTIONS", 2)
    seen, held_out = fixed_cases(6, "train"), fixed_cases(4, "held_out")
    settings = {"full": {}, "worse": {"cache_interval": 2}}
    found = qualities(DrawsByHand([*seen, *held_out]), Oracle.load(), seen, held_out, settings)
    full, worse = found["full"], found["worse"]
    assert (
        full.likeness == [99, 99, 99] and full.likeness_to_fine == 99 and (full.lost, full.gained) == (0, 0)
    )
    assert full.right["both"].asked == 10 and full.right["seen"].asked == 6
    assert (worse.lost, worse.gained) == (1, 0) and worse.likeness[0] < 99
    assert worse.right["both"].right == full.right["both"].right - 1
    assert worse.right["held out"].right == full.right["held out"].right  # the first of all is a seen one


def rows_of(*names):
    share = {"share": 0.9, "interval": [0.8, 0.95], "asked": 40}
    row = {
        **{
            "asked": dict(savings.FULL),
            "samples": 50,
            "whole": 26,
            "flops": 10,
            "work": 0.57,
            "seconds": 0.2,
        },
        **{"time": 0.6, "time_range": [0.5, 0.7], "psnr": [20, 31, 40], "psnr_to_200_steps": 29.0},
        **{"right": {"both": share}, "lost": 9, "gained": 0, "p_value": 0.0039},
    }
    return {name: row | ({} if k else {"p_value": 1.0}) for k, name in enumerate(names)}


def test_the_table_says_which_the_oracle_cannot_tell_apart():
    rows = rows_of("25 steps", "cache 2", "cache 3")
    rows["cache 2"] = rows["cache 2"] | {"p_value": 0.3}
    text = table(rows)
    assert text.endswith("(sign test, p of 0.05 or more): cache 2.")
    assert "90.0 %  [80.0,  95.0]" in text and "0.0039" in text
    assert table(rows_of("25 steps", "cache 3")).endswith("none.")


def test_the_command_saves_figures_and_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = []

    def fake(pipe, oracle, seen, held_out):
        asked.append((pipe.name, len(seen), len(held_out)))
        return rows_of("25 steps", "cache 2")

    monkeypatch.setattr(savings, "measure", fake)
    command = ["eval", "--savings", "--n", "3"]
    assert main([*command, "--out", "saved.json"]) == 0
    assert asked == [("scenes", 3, 3)]
    saved = json.loads(Path("saved.json").read_text(encoding="utf-8"))
    assert saved["command"] == "sdlearn eval --savings --n 3 --out saved.json" and saved["date"][:2] == "20"
    assert saved["captions"] == 6 and saved["settings"] == rows_of("25 steps", "cache 2")
    assert Image.open("saved.png").width == 1000
    assert "cache 2" in capsys.readouterr().out
    for more in (["--steps", "10"], ["--cfg", "3"], ["--full"]):
        assert main([*command, *more]) == 2
        assert "--savings compares with 25 steps" in capsys.readouterr().err
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "sdlearn.viz", None)
        assert main([*command, "--out", "third.json"]) == 2
    assert "a figure needs" in capsys.readouterr().err and len(asked) == 1
    Path("other.png").touch()
    assert main([*command, "--out", "other.json"]) == 2
    assert "'other.png' exists" in capsys.readouterr().err and len(asked) == 1
