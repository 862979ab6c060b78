"""The benchmark: that it measures what it says, not how fast this machine is."""

import json
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from PIL import Image

from sdlearn import viz
from sdlearn.bench import (
    against,
    cold,
    flops,
    goals,
    kinds,
    limits,
    made_up,
    measure,
    memory,
    report,
    scaling,
    timing,
)
from sdlearn.bench.measure import Request, benchmark
from sdlearn.bench.subjects import NAMES, Task, guided_steps, subjects
from sdlearn.cli import main
from sdlearn.config import CLIPTextConfig, UNetConfig, VAEConfig
from tests.small_pipeline import PIXELS, small_pipeline

CPU = torch.device("cpu")
TASK = Task(batch=2, height=PIXELS, width=2 * PIXELS, steps=3, parts=2)


def clock(monkeypatch, *times):
    hands = iter(times)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(hands))


# Clocks.


def test_a_timing_is_the_median_of_the_runs_after_a_warm_up(monkeypatch):
    clock(monkeypatch, 0.0, 5.0, 10.0, 11.0, 20.0, 22.0)
    calls = []
    timed = timing.time_calls("x", lambda: calls.append(1), 3, CPU)
    assert timed.seconds == (5.0, 1.0, 2.0) and timed.median == 2.0 and len(calls) == 4


def test_rivals_take_turns_and_are_compared_pair_by_pair(monkeypatch):
    clock(monkeypatch, 0, 2, 10, 14, 20, 24, 30, 36, 40, 41, 50, 60)
    order = []

    def rival(name, answer):
        return lambda: order.append(name) or torch.tensor(answer)

    pairs = timing.time_pairs("x", rival("a", [1.0, 5.0]), rival("b", [1.5, 3.0]), 3, CPU, parts=2)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert pairs.ours == (1.0, 3.0, 0.5) and pairs.theirs == (2.0, 2.0, 5.0)
    assert pairs.ratios == (0.5, 1.5, 0.1) and pairs.ratio == 0.5
    assert pairs.difference == pytest.approx(2 / 3)


def test_the_limits_are_those_of_the_work_done(monkeypatch):
    clock(monkeypatch, 0, 1, 0, 2, 0, 4)
    assert limits.matmul_rate(CPU, torch.float32, 8, 3) == 2 * 8**3 / 2
    clock(monkeypatch, 0, 1)
    assert limits.copy_rate(CPU, 1000, 1) == 2000


def test_a_peak_is_seen():
    if memory.held() is None:
        pytest.skip("this system does not tell how much memory a process holds")
    before = memory.held()
    answer, most = memory.with_peak(lambda: len(torch.ones(30_000_000)), CPU)
    assert answer == 30_000_000 and most - before >= 100e6


# Counting.


@pytest.mark.slow
def test_the_flops_of_stable_diffusion_are_the_known_ones():
    """As counted by torch's counter for the classes of diffusers."""
    unet = flops.unet_work(UNetConfig(), tokens=77, height=64, width=64)
    decode = flops.decode_work(VAEConfig(), 64, 64)
    text = flops.text_work(CLIPTextConfig(), tokens=77)
    assert [round(work.flops / 1e9, 1) for work in (unet, decode, text)] == [803.3, 2514.5, 13.3]
    shares = [part / unet.flops for part in (unet.convolution, unet.linear, unet.attention)]
    assert shares == pytest.approx([0.553, 0.290, 0.157], abs=1e-3)
    assert unet.weights == 4 * 859_520_964 and decode.weights == 4 * 49_490_199
    assert flops.unet_work(UNetConfig(), 77, 64, 64, batch=2).flops == 2 * unet.flops


def test_a_convolution_is_counted_by_hand():
    layer = torch.nn.Conv2d(3, 8, 3, padding=1, device="meta")
    work = flops.count(lambda: layer(flops.empty(1, 3, 10, 20)), layer, itemsize=2)
    assert work == flops.Work(convolution=2 * 200 * 27 * 8, weights=2 * (27 * 8 + 8))
    assert work * 3 + work == work * 4


def test_a_picture_is_its_parts():
    work = flops.work_of(small_pipeline(), TASK)
    assert work["guided step"].flops == 2 * work["U-Net call"].flops
    parts = 2 * work["text encoder"].flops + 3 * work["guided step"].flops + work["VAE decode"].flops
    assert work["picture"].flops == parts and work.keys() == set(NAMES)


# What is timed.


def test_the_parts_are_those_of_a_drawing():
    """Five calls of five steps are a whole picture of 25."""
    pipe = small_pipeline()
    task = replace(TASK, steps=25, parts=5)
    further, whole = guided_steps(pipe, task, runs=4), subjects(pipe, task, 1)["picture"]()
    assert torch.equal([further() for _ in range(5)][-1], whole)


def test_the_seconds_of_a_step_are_told_apart_by_operator():
    shares = kinds.seconds_by_kind(guided_steps(small_pipeline(), TASK, 1), CPU, TASK.parts)
    assert shares.convolution > 0 and shares.linear > 0 and shares.attention > 0 and shares.other > 0


def test_random_weights_keep_numbers_in_range():
    config = UNetConfig(block_out_channels=(32, 64, 64, 64), layers_per_block=1, cross_attention_dim=24)
    vae = VAEConfig(block_out_channels=(32, 32, 32, 32), layers_per_block=1)
    text = CLIPTextConfig(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3)
    pipe = made_up.made_up_model(torch.bfloat16, "cpu", config, vae, text)
    assert pipe.tokenizer.vocab_size == CLIPTextConfig.vocab_size and pipe.dtype == torch.bfloat16
    latents = pipe.txt2img("a cat", num_inference_steps=2, height=64, width=64).latents
    assert torch.isfinite(latents).all() and 0.1 < latents.std() < 30


def test_diffusers_does_the_same_with_the_same_tensors():
    pytest.importorskip("diffusers")
    pipe = small_pipeline()
    theirs = against.same_in_diffusers(pipe)
    assert theirs.unet.conv_in.weight.data_ptr() == pipe.unet.conv_in.weight.data_ptr()
    for change in (lambda same: same, against.as_it_comes):
        ours, others = subjects(pipe, TASK, 1), against.their_subjects(change(theirs), pipe, TASK, 1)
        for name in NAMES:
            one_level = 2 / 255 + 1e-6 if name == "VAE decode" else 1e-4
            assert (ours[name]() - others[name]()).abs().max() <= one_level, name


def test_a_part_that_was_timed_holds_nothing_while_the_next_is(monkeypatch):
    """Each call is let go of when the next one is timed."""
    living = []

    def time_pairs(name, ours, theirs, *_):
        assert all(one() is None for one in living)
        living[:] = weakref.ref(ours), weakref.ref(theirs)
        return timing.Pairs(name, (1.0,), (1.0,), 0.0)

    def calls(*_):
        return {name: lambda name=name: name for name in NAMES}

    monkeypatch.setattr(measure, "time_pairs", time_pairs)
    monkeypatch.setattr(measure, "subjects", calls)
    monkeypatch.setattr(against, "their_subjects", calls)
    rows = measure.paired(small_pipeline(), None, "as it comes", TASK, NAMES, 1, lambda text: None)
    assert [row["name"] for row in rows] == list(NAMES)


def test_fused_projections_still_draw_the_same():
    """The recipe that compiles, up to the first call, at which torch would compile."""
    pytest.importorskip("diffusers")
    pipe = small_pipeline()
    theirs = against.compiled(against.same_in_diffusers(pipe))
    theirs.unet = theirs.unet._orig_mod
    ours, others = subjects(pipe, TASK, 1), against.their_subjects(theirs, pipe, TASK, 1)
    assert (ours["guided step"]() - others["guided step"]()).abs().max() <= 1e-4


def test_a_missing_reference_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match="diffusers must be installed: python -m pip install diffusers"):
        against.libraries()


@pytest.mark.slow
def test_a_cold_import_is_timed_in_a_process_of_its_own():
    assert len(cold.time_import("import json", 2).seconds) == 2


# Tables.


def test_the_line_through_the_steps(monkeypatch):
    """Two seconds for all else, half a second a step."""
    clock(monkeypatch, 0.0, 3.0, 0.0, 4.0, 0.0, 7.0)
    found = scaling.over_steps(small_pipeline(), TASK, (2, 4, 10), 1, lambda text: None)
    assert found["seconds"] == [3.0, 4.0, 7.0]
    assert (found["a step"], found["intercept"]) == pytest.approx((0.5, 2.0))
    assert found["farthest from the line"] == pytest.approx(0)


def test_memory_over_pictures_is_looked_at_after_a_warm_up(monkeypatch):
    sizes = iter([100, 103, 105, 107])
    monkeypatch.setattr(scaling, "bytes_in_use", lambda device: next(sizes))
    monkeypatch.setattr(scaling, "picture", lambda pipe, task: lambda: None)
    found = scaling.leak(small_pipeline(), TASK, 2, lambda text: None)
    assert (found["before"], found["on the way"], found["after"], found["growth"]) == (
        100,
        [103, 105],
        107,
        7,
    )


@pytest.fixture(scope="module")
def results():
    """All that can be measured of the small pipeline."""
    pytest.importorskip("diffusers")
    said = []
    asked = Request((1, 2), runs=1, diffusers=True, scaling=True, leak=2, quick=True)
    heading = report.heading("cpu", "float32", ["bench", "--quick"])
    return heading | {"model": "small", "cold": []} | benchmark(small_pipeline(), asked, said.append)


@pytest.mark.slow
def test_everything_is_measured_and_told(results):
    printed = report.table(results)
    assert [(row["name"], row["batch"]) for row in results["rows"]] == [(n, b) for b in (1, 2) for n in NAMES]
    assert len(results["pairs"]) == 20  # five things, two batches, two ways
    for row in results["rows"]:
        assert row["name"] in printed and f"{row['flops'] / 1e9:,.1f}" in printed
        rate = results["limits"]["matmul"]
        assert row["of matmul"] == pytest.approx(row["flops"] / row["median"] / rate)
    for pair in results["pairs"]:
        assert f"{pair['ratio']:.3f}" in printed and pair["ratios"] == (pair["ours"][0] / pair["theirs"][0],)
    assert "pixels a side, and its peak memory" in printed and "Goals" not in printed  # quick: none is judged


@pytest.mark.slow
def test_the_json_holds_what_was_measured(results):
    saved = json.loads(report.to_json(results))
    assert saved["command"] == "sdlearn bench --quick" and saved["date"][:2] == "20"
    assert saved["rows"][0]["seconds"] == list(results["rows"][0]["seconds"]) and saved["goals"] == []
    assert saved["scaling"] == json.loads(json.dumps(results["scaling"]))


def judged(**changes):
    """A good run of the full size on a processor, changed."""
    pair = {"name": "guided step", "batch": 1, "ratio": 0.95, "difference": 1e-5}
    good = {
        "model": "sd15", "size": [512, 512], "device": "cpu", "dtype": "float32", "quick": False, "steps": 50,
        "compiled": False, "leak": {"pictures": 500, "growth": 1e6}, "cold": [], "limits": {"matmul": 100.0},
        "rows": [
            {"name": "guided step", "batch": 1, "median": 0.015, "peak": None},
            {"name": "picture", "batch": 1, "median": 0.5, "peak": 2.5e9},
        ],
        "shares": {"rate": 85.0}, "pairs": [pair],
    }  # fmt: skip
    return [(goal.measured, goal.limit, goal.reached) for goal in goals.goals(good | changes)]


def test_goals_are_judged_where_they_apply():
    assert judged() == [(1.0, 50, True), (0.95, 1.0, True), (1e-5, 1e-4, True), (0.85, 0.8, True)]
    assert judged(dtype="bfloat16", shares=None)[1:] == [(0.95, 0.9, False)]
    assert judged(leak={"pictures": 500, "growth": 60e6}, pairs=[], shares=None) == [(60.0, 50, False)]
    assert judged(quick=True) == [] and len(judged(size=[128, 128])) == 1
    gpu = {"device": "cuda", "dtype": "bfloat16", "leak": None}
    speed = pytest.approx(1 / 0.95), pytest.approx(1 / 0.015)
    assert judged(**gpu) == [(speed[0], 1.2, False), (speed[1], 50, True), (2.5, 2.9, True)]
    compiled = [(speed[0], 1.05, True), (speed[1], 100, False), (0.5, 0.55, True), (2.5, 2.9, True)]
    assert judged(compiled=True, **gpu) == compiled
    slow = {"name": "guided step", "batch": 1, "ratio": 1.2, "difference": 1e-3}
    good = {"name": "guided step", "batch": 1, "ratio": 0.5, "difference": 0.0}
    assert judged(pairs=[good, slow])[1:3] == [(1.2, 1.0, False), (1e-3, 1e-4, False)]


@pytest.mark.slow
def test_the_figure_shows_the_measured_numbers(results):
    plot = viz.benchmark(results)
    bars = [patch.get_width() for patch in plot.axes[0].patches]
    pairs = results["pairs"]
    assert bars == [pair["ratio"] for pair in pairs]
    dots = [tuple(line.get_xdata()) for line in plot.axes[0].lines][: len(pairs)]
    assert dots == [tuple(pair["ratios"]) for pair in pairs]
    assert f"{pairs[0]['ratio']:.2f} x" in plot.axes[0].texts[0].get_text()
    steps = results["scaling"]["steps"]
    drawn = plot.axes[1].lines[0].get_xydata().tolist()
    assert drawn == [list(map(float, point)) for point in zip(steps["steps"], steps["seconds"])]
    assert f"ratio {pairs[-1]['ratio']:.2f}" in plot.alt
    alone = viz.benchmark(results | {"pairs": [], "scaling": None})
    assert [line.get_xdata()[0] for line in alone.axes[0].lines] == [row["median"] for row in results["rows"]]


# The command.


@pytest.mark.slow
def test_the_command_writes_new_files_only(tmp_path, capsys):
    small_pipeline().save_pretrained(tmp_path / "model")
    asked = ["bench", "--model", str(tmp_path / "model"), "--quick", "--device", "cpu"]
    files = ["--json", str(tmp_path / "b.json"), "--figure", str(tmp_path / "b.png")]
    assert main([*asked, *files]) == 0
    printed = capsys.readouterr()
    saved = json.loads((tmp_path / "b.json").read_text("utf-8"))
    assert saved["machine"] in printed.out and "... guided step, batch 1" in printed.err
    assert saved["command"].startswith("sdlearn bench --model") and "--figure" in saved["command"]
    assert Image.open(tmp_path / "b.png").width == 1000
    assert main([*asked, *files]) == 2
    assert "is not overwritten" in capsys.readouterr().err


def test_large_pictures_are_drawn_only_if_asked(monkeypatch):
    said = []
    monkeypatch.setattr(measure, "LARGE", 1)
    assert "picture" not in measure.names_of(small_pipeline(), Request(), said.append)
    assert "--steps 25" in said[0]
    assert "picture" in measure.names_of(small_pipeline(), Request(steps=3), said.append)
    assert "U-Net call" not in measure.names_of(small_pipeline(), Request(compiled=True), said.append)


@pytest.mark.parametrize(("steps", "runs", "told"), [(2000, 5, "--steps must"), (None, 100, "--runs must")])
def test_more_steps_than_the_model_knows_are_refused_before_anything_is_measured(steps, runs, told):
    said = []
    with pytest.raises(ValueError, match=f"{told} be from 1 to "):
        benchmark(small_pipeline(), Request(steps=steps, runs=runs), said.append)
    assert said == []


def test_options_that_a_made_up_model_does_not_have_are_refused(capsys):
    assert main(["bench", "--model", "sd15", "--save-memory", "--variant", "fp16"]) == 2
    assert "leave out --variant, --save-memory" in capsys.readouterr().err


def test_only_a_model_found_by_its_name_is_timed_in_fresh_processes():
    from sdlearn.cli import build_parser
    from sdlearn.measuring_commands import is_named

    given = ([], ["--vae", "x"], ["--save-memory"], ["--tokenizer", "x"], ["--compile"], ["--model", "sd15"])
    found = [is_named(build_parser().parse_args(["bench", *more])) for more in given]
    assert found == [True, False, False, False, False, False]


def test_the_script_for_the_gpu_asks_for_what_the_parser_knows():
    import gpu_bench

    from sdlearn.cli import build_parser

    for device, compiled in (("cpu", [False, False]), ("cuda", [False, True, False])):
        for quick in (True, False):
            parts = gpu_bench.parts(device, quick)
            asked = [build_parser().parse_args(["bench", *wanted]) for wanted in parts.values()]
            assert [one.compile for one in asked] == compiled
            assert all(one.quick == quick and one.against == "diffusers" for one in asked)


def test_the_script_for_the_gpu_asks_for_a_device_first(tmp_path, capsys):
    import gpu_bench

    with pytest.raises(SystemExit):
        gpu_bench.main(["--device", "cuda:99", "--out", str(tmp_path / "new")])
    assert "'cuda:99' is not available here" in capsys.readouterr().err and not (tmp_path / "new").exists()
