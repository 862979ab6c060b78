"""The widgets, without a browser: frames are made once, a move changes an image's bytes, models run on release."""

import importlib
import io
import sys

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image
from small_pipeline import small_pipeline

from sdlearn.config import ScheduleConfig
from sdlearn.scenes.sketch import Stamp, draw_sketch
from sdlearn.schedule import Schedule
from sdlearn.viz import Plot, frames, widgets, widgets_guidance, widgets_sketch
from sdlearn.viz.attention_maps import attention_maps, listening, word_maps

PROMPT = "an orange cat on a red castle"


@pytest.fixture(scope="module")
def pipe():
    return small_pipeline()


@pytest.fixture(scope="module")
def run(pipe):
    return pipe.txt2img(PROMPT, num_inference_steps=5, seed=7)


@pytest.fixture(scope="module")
def other(pipe):
    return pipe.txt2img("a cat", num_inference_steps=3, guidance_scale=1, seed=7)


class Counting:
    """A pipeline that counts the latents it decodes."""

    def __init__(self, pipe):
        self.pipe, self.decoded = pipe, 0

    def __getattr__(self, name):
        return getattr(self.pipe, name)

    def decode(self, latents):
        self.decoded += len(latents)
        return self.pipe.decode(latents)


def inside(widget) -> list:
    """A widget and all within it."""
    children = [inner for child in getattr(widget, "children", ()) for inner in inside(child)]
    return [widget, *children]


def shown(explorer) -> list[bytes]:
    return [bytes(one.value) for one in inside(explorer) if isinstance(one, ipywidgets.Image)]


def changes(explorer, move) -> set:
    """(class, trait) of everything within that changes while ``move`` is done."""
    seen = set()

    def note(change):
        seen.add((type(change["owner"]).__name__, change["name"]))

    for widget in inside(explorer):
        widget.observe(note)
    move()
    for widget in inside(explorer):
        widget.unobserve(note)
    return seen


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


MAKERS = {
    "run": lambda pipe, run, other: widgets.run_explorer(run, pipe=pipe),
    "two runs": lambda pipe, run, other: widgets.run_explorer(run, other, pipe=pipe),
    "schedule": lambda pipe, run, other: widgets.schedule_explorer(run.images[0]),
    "guidance": lambda pipe, run, other: widgets.guidance_dial("a cat", pipe, scales=(0, 1, 7.5), steps=2),
    "attention": lambda pipe, run, other: widgets.attention_explorer(run, pipe),
    "walk": lambda pipe, run, other: widgets.latent_walk(run.latents, other.latents, pipe.decode, number=5),
    "sketch": lambda pipe, run, other: widgets.sketch_pad(pipe, "a cat", steps=2),
}
each_widget = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
# The sliders and buttons that move among recorded frames.
MOVES = [("run", "step"), ("two runs", "step"), ("schedule", "timestep"), ("guidance", "guidance")]
MOVES += [("attention", "word"), ("attention", "step"), ("walk", "stop"), ("walk", "way")]
each_move = pytest.mark.parametrize(
    ("name", "control"),
    [pytest.param(*move, marks=[pytest.mark.slow] * (move[0] == "schedule")) for move in MOVES],
)


def values(control) -> list:
    if isinstance(control, ipywidgets.IntSlider):
        return list(range(control.min, control.max + 1))
    return [value for _, value in control.options]


def half_way(explorer) -> None:
    """Every recorded control to its middle: the ways of a walk, say, have the same ends."""
    for name, control in explorer.controls.items():
        if name != "another scale":
            places = values(control)
            control.value = places[len(places) // 2]


@each_move
def test_a_move_changes_bytes_and_captions_only(name, control, pipe, run, other, monkeypatch):
    counting = Counting(pipe)
    explorer = MAKERS[name](counting, run, other)
    moved = explorer.controls[control]
    assert moved.continuous_update if hasattr(moved, "continuous_update") else True
    places = values(moved)
    half_way(explorer)
    moved.value = places[-1]
    decoded, pictures = counting.decoded, shown(explorer)
    monkeypatch.setattr(Image.Image, "save", None)  # rendering a frame now would fail

    def move():
        for value in [*places, *reversed(places)]:
            moved.value = value
        moved.value = places[-1]

    allowed = {("Image", "value"), ("Label", "value")}
    own = {(type(moved).__name__, trait) for trait in ("value", "index", "label")}
    assert ("Image", "value") in changes(explorer, move) <= allowed | own
    assert counting.decoded == decoded
    moved.value = places[0]
    assert shown(explorer) != pictures


@each_move
def test_a_hundred_moves_end_at_the_last_value(name, control, pipe, run, other):
    explorer = MAKERS[name](pipe, run, other)
    moved = explorer.controls[control]
    places = values(moved)
    half_way(explorer)
    moved.value = places[1]
    expected, captions = shown(explorer), told(explorer)
    for k in range(100):
        moved.value = places[(5 * k + k // 7) % len(places)]
    moved.value = places[0]
    assert shown(explorer) != expected
    moved.value = places[1]
    assert (shown(explorer), told(explorer)) == (expected, captions)


def told(explorer) -> list[str]:
    return [one.value for one in inside(explorer) if isinstance(one, ipywidgets.Label)]


@each_widget
def test_each_widget_is_labelled_described_and_has_its_twin(make, pipe, run, other):
    explorer = make(pipe, run, other)
    for control in explorer.controls.values():
        assert control.description
    saved = explorer._repr_mimebundle_()
    assert saved["text/plain"] == repr(explorer) and "kernel" in saved["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in saved
    assert "object at" not in repr(explorer) and "/" not in repr(explorer)
    plot = explorer.static()
    assert isinstance(plot, Plot) and len(plot.alt) > 60 and plot.png()
    assert not [name for name in told(explorer) if not name]  # each line says something


def test_the_run_explorer_decodes_each_latent_once_and_shows_the_steps(pipe, run):
    counting = Counting(pipe)
    explorer = widgets.run_explorer(run, pipe=counting)
    number = len(run.steps)
    assert counting.decoded == number + 1 + number  # states before and after each step; beliefs
    explorer.controls["step"].value = number
    before, belief, after, *_ = shown(explorer)
    assert np.array_equal(pixels(after), np.asarray(run.images[0]))
    last = run.steps[-1]
    assert np.array_equal(pixels(belief), np.asarray(pipe.decode(last.pred.x0)[0]))
    noisy = pipe.schedule.to_vp(last.x, last.sigma)
    assert np.array_equal(pixels(before), np.asarray(pipe.decode(noisy)[0]))
    assert any(f"Step {number} of {number}" in text for text in told(explorer))


def test_a_shorter_run_beside_a_longer_one_waits_at_its_end(pipe, run, other):
    explorer = widgets.run_explorer(run, other, pipe=pipe, names=("long", "short"))
    explorer.controls["step"].value = len(run.steps)
    texts = " ".join(told(explorer))
    assert "Step 5 of 5" in texts and "Step 3 of 3" in texts and "long" in texts and "short" in texts
    titles = told(explorer)
    assert titles.count("noise with prompt") == 2
    assert titles.count("noise without") == 1  # the short one was asked with the prompt alone


def test_steps_alone_are_a_run_and_unguided_steps_are_grey(pipe):
    steps = list(
        pipe.txt2img_steps("a cat", num_inference_steps=4, guidance_interval=(0.0, 2.0), guidance_scale=3.0)
    )
    assert steps[0].pred.eps_uncond is None and steps[-1].pred.eps_uncond is not None
    explorer = widgets.run_explorer(steps, pipe=pipe)
    assert (pixels(shown(explorer)[5]) == 0xDD).all()
    explorer.controls["step"].value = 4
    assert not (pixels(shown(explorer)[5]) == 0xDD).all()


def test_channel_maps_are_signed_colours_in_reading_order():
    values = torch.zeros(1, 4, 2, 2)
    values[0, 0], values[0, 3] = -9.0, 3.0
    (sheet,) = frames.channel_maps(values, limit=3.0, size=20)
    first, second, third, fourth = (sheet.getpixel(place) for place in ((2, 2), (16, 2), (2, 16), (16, 16)))
    assert sheet.size == (20, 20)
    assert first[0] > first[2] and fourth[2] > fourth[0]  # orange below zero, purple above
    assert min(second) > 240 and min(third) > 240  # white at zero
    assert sheet.getpixel((9, 9)) == (255, 255, 255)


def test_frames_are_small_enough_to_send():
    large = Image.new("RGB", (1024, 512), "red")
    assert pixels(frames.png(large)).shape == (160, 320, 3)
    assert large.size == (1024, 512)
    assert np.array_equal(pixels(frames.png(large.resize((64, 64)))), np.asarray(large.resize((64, 64))))


@pytest.mark.slow
def test_the_schedule_explorer_shows_the_noised_picture(run):
    explorer = widgets.schedule_explorer(run.images[0], {"own": Schedule()}, seed=3)
    timestep = explorer.controls["timestep"]
    times = [int(label) for label, _ in timestep.options]
    assert (times[0], times[-1]) == (0, 999)
    timestep.index = 20
    x0 = torch.from_numpy(np.array(run.images[0])).permute(2, 0, 1)[None].float() / 127.5 - 1
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(3))
    alpha_bar = float(Schedule().alpha_bar[times[20]])
    expected = alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * noise
    expected = ((expected[0].clamp(-1, 1) / 2 + 0.5) * 255).permute(1, 2, 0).numpy()
    assert np.abs(pixels(shown(explorer)[1]) - expected).max() <= 0.51
    assert f"ᾱ {alpha_bar:.2g}" in " ".join(told(explorer))


@pytest.mark.slow
def test_the_line_in_the_curves_stands_at_the_timestep(run):
    explorer = widgets.schedule_explorer(run.images[0])
    columns = []
    for index in (0, 20, 40):
        explorer.controls["timestep"].index = index
        image = pixels(shown(explorer)[0]).astype(int)
        height = image.shape[0]
        dark = (image.max(axis=2) < 80).sum(axis=0) > 0.5 * height  # axes and marks are this tall
        columns.append(set(np.flatnonzero(dark)))
    marks = [ones - set.union(*(other for other in columns if other is not ones)) for ones in columns]
    assert len(marks[1]) == 8  # four lines of two pixels
    assert min(marks[2]) > min(marks[1])


def test_the_dial_draws_on_release_only_and_keeps_what_it_drew(pipe, monkeypatch):
    calls = []

    def draw(pipe, prompt, scale, seed, steps, tick):
        calls.append(scale)
        for _ in range(steps):
            tick()
        return Image.new("RGB", (8, 8), (int(10 * scale), 0, 0))

    monkeypatch.setattr(widgets_guidance, "_draw", draw)
    explorer = widgets.guidance_dial("a cat", pipe, scales=(7.5, 1, 1.0), steps=2)
    assert calls == [1.0, 7.5]
    dial, between = explorer.controls["guidance"], explorer.controls["another scale"]
    assert dial.continuous_update and not between.continuous_update
    (progress,) = [one for one in inside(explorer) if isinstance(one, ipywidgets.IntProgress)]
    seen = []
    progress.observe(
        lambda change: seen.append((change["new"], progress.layout.visibility, between.disabled)), "value"
    )
    between.value = 3.0
    assert calls == [1.0, 7.5, 3.0] and seen == [(1, "visible", True), (2, "visible", True)]
    assert progress.layout.visibility == "hidden" and not between.disabled
    assert tuple(pixels(shown(explorer)[0])[0, 0]) == (30, 0, 0)
    assert any("Guidance 3, seed 0, drawn in" in text for text in told(explorer))
    between.value = 7.5
    between.value = 3.0
    assert calls == [1.0, 7.5, 3.0]
    assert "guidance 1, 3, 7.5" in explorer.static().alt


def test_a_drawing_that_fails_unlocks_the_dial(pipe, monkeypatch):
    explorer = widgets.guidance_dial("a cat", pipe, scales=(1, 7.5), steps=2)
    picture = shown(explorer)

    def fail(*arguments):
        raise MemoryError("no room")

    monkeypatch.setattr(widgets_guidance, "_draw", fail)
    with pytest.raises(MemoryError):
        explorer.controls["another scale"].value = 3.0
    assert not explorer.controls["another scale"].disabled and shown(explorer) == picture
    assert any("no room" in text for text in told(explorer))


def test_the_dial_shows_what_the_pipeline_draws(pipe):
    explorer = widgets.guidance_dial("a cat", pipe, scales=(1, 7.5), seed=3, steps=2)
    drawn = pipe.txt2img("a cat", guidance_scale=7.5, seed=3, num_inference_steps=2).images[0]
    assert np.array_equal(pixels(shown(explorer)[0]), np.asarray(drawn))


def test_attention_maps_are_shares_and_leave_the_network_as_it_was(pipe, run):
    hooks = [len(module._forward_hooks) for module in pipe.unet.modules()]
    maps = attention_maps(pipe, run)
    assert maps.shape == (len(run.steps), pipe.tokenizer.max_length, 8, 8)
    assert torch.allclose(maps.sum(dim=1), torch.ones(len(run.steps), 8, 8), atol=1e-5) and maps.min() >= 0
    assert [len(module._forward_hooks) for module in pipe.unet.modules()] == hooks
    with pytest.raises(RuntimeError), listening(pipe.unet):
        raise RuntimeError
    assert [len(module._forward_hooks) for module in pipe.unet.modules()] == hooks


def test_the_maps_are_those_of_the_recorded_step(pipe, run):
    """The weights that the layers have in the run itself, at the step's own latents and noise level."""
    heard = {}
    block = pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2

    def listen(layer, given, answer):
        heard.setdefault("run", layer.weights(*given))

    hook = block.register_forward_hook(listen)
    list(pipe.txt2img_steps(PROMPT, num_inference_steps=5, seed=7, guidance_scale=1.0))
    hook.remove()
    with listening(pipe.unet) as layers:
        first = run.steps[0]
        context = pipe.encode_prompt([PROMPT])
        timesteps = torch.full((1,), first.timestep)
        pipe.predict(pipe.schedule.to_vp(first.x, first.sigma), timesteps, context)
    assert torch.allclose(layers[0], heard["run"], atol=1e-6)


def test_a_word_of_several_tokens_has_the_mean_of_its_maps(pipe):
    prompt = "a dog on a boat"
    run = pipe.txt2img(prompt, num_inference_steps=2)
    words, maps = word_maps(pipe, run)
    tokens = pipe.tokenizer.tokenize(prompt)
    assert words == prompt.split() and len(tokens) > len(words)
    assert maps.shape == (len(run.steps), len(words), 8, 8)
    each = attention_maps(pipe, run)
    ends = [k for k, token in enumerate(tokens, 1) if token.endswith("</w>")]
    starts = [1, *(end + 1 for end in ends)]
    for k, (start, end) in enumerate(zip(starts, ends)):
        assert torch.allclose(maps[:, k], each[:, start : end + 1].mean(dim=1))


def test_the_attention_explorer_lays_the_words_own_map_over_the_belief_on_one_scale(pipe, run):
    explorer = widgets.attention_explorer(run, pipe)
    words, maps = word_maps(pipe, run)
    limit = float(maps.amax(dim=(0, 2, 3)).median())
    for step, word in ((1, 2), (4, 0)):
        explorer.controls["step"].value, explorer.controls["word"].value = step, word
        (belief,) = pipe.decode(run.steps[step].pred.x0)
        plain, veiled, _ = map(pixels, shown(explorer))
        assert np.array_equal(plain, np.asarray(belief))
        assert np.array_equal(veiled, np.asarray(frames.laid_over(belief, maps[step, word], limit)))
        assert f"Step {step + 1} of 5, “{words[word]}”" in " ".join(told(explorer))


def test_the_token_explorer_shows_what_is_typed_and_what_is_cut(pipe):
    explorer = widgets.token_explorer(pipe.tokenizer, "a cat")
    (before,), words = shown(explorer), " ".join(told(explorer))
    assert "2 words, 2 tokens." in words
    assert changes(explorer, lambda: explorer.controls["text"].set_trait("value", "cat " * 20)) >= {
        ("Image", "value"),
        ("Label", "value"),
    }
    (after,) = shown(explorer)
    assert after != before and after == explorer.static().png()
    room = pipe.tokenizer.max_length - 2
    assert f"20 words, 20 tokens; {20 - room} of them are cut off." in " ".join(told(explorer))
    explorer.controls["text"].value = ""
    assert "0 words, 0 tokens." in " ".join(told(explorer)) and "Token explorer" in repr(explorer)
    with pytest.raises(TypeError, match="needs a Tokenizer, not str"):
        widgets.token_explorer("cat", "cat")


def test_the_walk_is_straight_or_keeps_its_strength(pipe, run):
    from sdlearn.viz.widgets_walk import along_the_sphere, straight

    a, b = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    assert torch.allclose(straight(a, b, 0.5), torch.tensor([[1.5, 1.5]]))
    for share in (0.0, 0.25, 0.5, 1.0):
        angle = torch.tensor(share * np.pi / 2)
        expected = 3 * torch.stack([angle.cos(), angle.sin()])[None]
        assert torch.allclose(along_the_sphere(a, b, share), expected.float(), atol=1e-6)
    assert torch.allclose(along_the_sphere(a, 2 * a, 0.5), 1.5 * a)
    counting = Counting(pipe)
    widgets.latent_walk(run.latents, 2 * run.latents, counting.decode, number=4)
    assert counting.decoded == 8


@pytest.fixture
def pad(pipe, monkeypatch):
    """A sketch pad whose pictures are of one colour, and the calls of its model."""
    calls = []

    def draw(pipe, sketch, prompt, strength, seed, steps, tick):
        calls.append((strength, sketch))
        tick()
        return Image.new("RGB", (8, 8), (int(200 * strength), 0, 0))

    monkeypatch.setattr(widgets_sketch, "_draw", draw)
    stamps = [Stamp("block", "red", 40, 90, 50), Stamp("disc", "blue", 80, 40, 30)]
    return widgets.sketch_pad(pipe, "a cat", stamps, "snow", steps=4), calls


def test_the_sketch_pad_draws_on_release_only_and_keeps_what_it_drew(pad):
    explorer, calls = pad
    x, power = explorer.controls["x"], explorer.controls["strength"]
    assert not any(explorer.controls[name].continuous_update for name in ("x", "y", "size", "strength"))
    assert [strength for strength, _ in calls] == [0.5]
    (progress,) = [one for one in inside(explorer) if isinstance(one, ipywidgets.IntProgress)]
    locked = []
    progress.observe(lambda change: locked.append((progress.layout.visibility, x.disabled)), "value")
    sketch, picture = shown(explorer)
    x.value = 90
    assert locked == [("visible", True)] and not x.disabled and progress.layout.visibility == "hidden"
    assert shown(explorer)[0] != sketch and shown(explorer)[1] == picture and len(calls) == 2
    power.value = 1.0
    assert tuple(pixels(shown(explorer)[1])[0, 0]) == (200, 0, 0) and len(calls) == 3
    assert any("Strength 1: 4 of 4 steps" in text for text in told(explorer))
    power.value, x.value = 0.5, 40
    assert shown(explorer) == [sketch, picture] and len(calls) == 3


def test_the_controls_of_the_sketch_pad_belong_to_the_chosen_stamp(pad):
    explorer, calls = pad
    controls = explorer.controls
    assert (controls["x"].value, controls["shape"].value) == (40, "block")
    controls["stamp"].value = 1
    assert (controls["x"].value, controls["shape"].value, controls["colour"].value) == (80, "disc", "blue")
    assert len(calls) == 1  # to choose changes nothing
    controls["colour"].value, controls["size"].value, controls["background"].value = "green", 60, "night"
    wanted = [Stamp("block", "red", 40, 90, 50), Stamp("disc", "green", 80, 40, 60)]
    expected = draw_sketch(wanted, "night")
    assert calls[-1][1].tobytes() == expected.tobytes()
    assert np.array_equal(pixels(shown(explorer)[0]), np.asarray(expected))
    assert "red block and green disc, night" in explorer.static().alt


def test_a_failing_sketch_unlocks_the_pad(pad, monkeypatch):
    explorer, _ = pad
    before = shown(explorer)

    def fail(*arguments):
        raise MemoryError("no room")

    monkeypatch.setattr(widgets_sketch, "_draw", fail)
    with pytest.raises(MemoryError):
        explorer.controls["y"].value = 10
    assert not explorer.controls["y"].disabled and shown(explorer) == before
    assert any("no room" in text for text in told(explorer))


def test_the_sketch_pad_shows_what_the_pipeline_draws(pipe):
    explorer = widgets.sketch_pad(pipe, "a cat", strength=0.5, seed=3, steps=2)
    wishes = {"strength": 0.5, "seed": 3, "num_inference_steps": 2, "guidance_scale": widgets_sketch.GUIDANCE}
    drawn = pipe.img2img(draw_sketch(widgets_sketch.STAMPS), "a cat", **wishes).images[0]
    assert np.array_equal(pixels(shown(explorer)[1]), np.asarray(drawn))


FOUR = {str(k): Schedule() for k in range(4)}
UNEQUAL = {"long": Schedule(), "short": Schedule(ScheduleConfig(num_train_timesteps=10))}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p, r: widgets.run_explorer(pipe=p), ValueError, "one run, or two"),
        (lambda p, r: widgets.run_explorer(r, r, r, pipe=p), ValueError, "got 3"),
        (lambda p, r: widgets.run_explorer([], pipe=p), ValueError, "no steps.*record=True"),
        (lambda p, r: widgets.run_explorer("x", pipe=p), TypeError, "not str"),
        (lambda p, r: widgets.run_explorer(r, pipe=p, names=("a", "b")), ValueError, "2 names for 1 runs"),
        (lambda p, r: widgets.schedule_explorer(r.images[0], FOUR), ValueError, "1 to 3"),
        (lambda p, r: widgets.schedule_explorer(r.images[0], UNEQUAL), ValueError, r"\[10, 1000\] timesteps"),
        (lambda p, r: widgets.guidance_dial("a", p, scales=(1,)), ValueError, "two or more"),
        (lambda p, r: widgets.guidance_dial("a", p, scales=(1, -2)), ValueError, ">= 0"),
        (lambda p, r: widgets.attention_explorer(r.steps, p), TypeError, "not list"),
        (lambda p, r: widgets.latent_walk(r.latents, r.latents[..., 1:], p.decode), ValueError, "one shape"),
        (lambda p, r: widgets.latent_walk(r.latents, r.latents, p.decode, number=1), ValueError, "two ends"),
        (lambda p, r: widgets.sketch_pad(p, "a", stamps=()), ValueError, "one or more stamps"),
        (lambda p, r: widgets.sketch_pad(p, "a", strength=0.25), ValueError, "0.1, 0.2"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_clear_error(call, error, message, pipe, run):
    with pytest.raises(error, match=message):
        call(pipe, run)


def test_without_ipywidgets_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delitem(sys.modules, "sdlearn.viz.widgets")
    with pytest.raises(ImportError, match="pip install ipywidgets"):
        importlib.import_module("sdlearn.viz.widgets")
