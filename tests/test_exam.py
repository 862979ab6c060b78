"""The exam: each question has one answer apart, and each value in the answers is computed here once more."""

import ast
import itertools
import math
import re
import time

import pytest
import torch
from course import ROOT
from torch.distributions import Normal
from torch.nn import functional as F

from sdlearn.arguments import steps_left
from sdlearn.attention import Attention
from sdlearn.blocks import ResnetBlock
from sdlearn.bpe import BytePairEncoder
from sdlearn.clip import contrastive_loss
from sdlearn.config import UNetConfig
from sdlearn.denoise import from_epsilon, from_v, to_v
from sdlearn.guidance import classifier_free_guidance
from sdlearn.samplers import euler, euler_ancestral
from sdlearn.schedule import Schedule
from sdlearn.tokenizer_training import train_bpe
from sdlearn.trace import Prediction
from sdlearn.unet import UNet
from sdlearn.vae import DiagonalGaussian

NOTEBOOKS = ROOT / "notebooks"
PART = re.compile(r"^\*\*(E\d\d\.\d)\*\* (.*?)(?=^\*\*E|^## |\Z)", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## (\d\d) · (.+)$", re.MULTILINE)
KINDS = ("explain", "compute", "explain and compute", "predict", "find the bug")


def parts(path):
    """The questions or answers of a text by their names, in order."""
    found = PART.findall(path.read_text(encoding="utf-8"))
    assert len({name for name, _ in found}) == len(found)
    return dict(found)


QUESTIONS = parts(NOTEBOOKS / "EXAM.md")
ANSWERS = parts(NOTEBOOKS / "solutions" / "EXAM.md")


def values(name):
    """What an answer says: {"alpha_bar": "0.324", ...}."""
    _, _, said = ANSWERS[name].lower().partition("values:")
    return dict(re.findall(r"`([^`]+)` = (-?\d+(?:\.\d+)?)", said.partition("*marks")[0]))


def program(name):
    """What the code of a question defines."""
    (code,) = re.findall("```python\n(.*?)```", QUESTIONS[name], re.DOTALL)
    defined = {"torch": torch, "time": time, "F": F}
    exec(code, defined)
    return defined


def e00_1():
    questions = 30 * 4
    return {"guided": 2 * questions, "plain": questions, "decoded": 4}


def e00_2():
    height, width = 192 // 8, 320 // 8
    return {"height": height, "width": width, "numbers": 4 * height * width, "times": 3 * 64 / 4}


def e00_4():
    bug = program("E00.4")["next_sheet"]
    assert bug(7, 2, 3, 0) == 7
    x, eps = torch.tensor([7.0]), torch.tensor([2.0])
    (right,) = euler(lambda x, sigma: Prediction(x - sigma * eps, eps), x, [3.0, 1.0])
    return {"bug": bug(7, 2, 3, 1), "right": float(right.x_next)}


def e01_1():
    alpha_bar = math.prod(1 - beta for beta in (0.1, 0.1, 0.2, 0.5))
    return {
        "alpha_bar": alpha_bar,
        "sigma": math.sqrt((1 - alpha_bar) / alpha_bar),
        "snr": alpha_bar / (1 - alpha_bar),
    }


def e01_3():
    last = float(Schedule().sigmas[-1])
    return {
        f"at_{sigma:.3g}": float(Normal(0.0, 1.0).cdf(torch.tensor(6 / (2 * sigma)))) for sigma in (3.0, last)
    }


def e01_4():
    x0, eps = torch.randn(2, 400_000, dtype=torch.float64)
    noisy = program("E01.4")["noisy"]
    for end in (0.0, 1.0):
        assert torch.equal(noisy(x0, eps, end), end**0.5 * x0 + (1 - end) ** 0.5 * eps)
    assert abs(noisy(x0, eps, 0.5).var() - 0.5) < 0.01
    return {"bug": 0.5**2 + 0.5**2, "right": 0.5 + 0.5}


def e02_1():
    return {"belief": 0.04 * (1 - 0.2) / 0.2}


def e02_2():
    block = ResnetBlock(32, 64, time_width=128, groups=8, eps=1e-5)
    return {"numbers": sum(p.numel() for p in block.parameters())}


def e02_4():
    _, noise = program("E02.4")["training_pair"](torch.zeros(1_000_000), torch.tensor(0.5))
    right = torch.randn(1_000_000)
    assert abs(noise.square().mean() - 1 / 3) < 0.01 and abs(noise.var() - 1 / 12) < 0.01
    assert abs(right.square().mean() - 1) < 0.01 and abs(right.var() - 1) < 0.01
    return {"zero": 1 / 3, "constant": 1 / 12, "zero_right": 1, "constant_right": 1}


def e03_1():
    steps = list(
        euler(
            lambda x, sigma: Prediction(torch.ones(1), (x - 1) / sigma), torch.tensor([5.0]), [4.0, 1.0, 0.0]
        )
    )
    return {
        "eps": float(steps[0].pred.eps),
        "after_first": float(steps[0].x_next),
        "end": float(steps[1].x_next),
    }


def e03_2():
    return {"a": 0.2 / (80 / 20) ** 1, "b": 0.2 / (80 / 20) ** 2}


def e03_4():
    bug = program("E03.4")["ancestral"]
    level = math.hypot(5 + bug(0.0, 1.0, 0.0, 5.0, 4.0), bug(0.0, 0.0, 1.0, 5.0, 4.0))
    one = torch.ones(1)
    (right,) = euler_ancestral(
        lambda x, sigma: Prediction(x - sigma * one, one), 0 * one, [5.0, 4.0], noise=lambda: 0 * one
    )
    up = bug(0.0, 0.0, 1.0, 5.0, 4.0)
    down = 5 + float(right.x_next)
    assert math.hypot(down, up) == pytest.approx(4)
    return {"level": level, "down": down, "up": up}


def e04_1():
    return {"psnr": 10 * math.log10(2**2 / 0.01), "rise": 10 * math.log10(4)}


def e04_2():
    def price(mean, std):
        moments = torch.full((1, 1, 1, 1), mean), torch.full((1, 1, 1, 1), math.log(std**2))
        return float(DiagonalGaussian(*moments).kl())

    return {"one": price(1.0, 0.5), "standard": price(0.0, 1.0)}


def e04_4():
    mean, std = torch.tensor([2.0], requires_grad=True), torch.tensor([0.5], requires_grad=True)
    program("E04.4")["draw"](mean, std).square().sum().backward()
    bug = float(mean.grad)
    mean.grad = std.grad = None
    (mean + std * 1.0).square().sum().backward()
    return {"bug": bug, "of_mean": float(mean.grad), "of_std": float(std.grad)}


def e05_1():
    places = (640 // 8) * (384 // 8)
    return {
        "places": places,
        "numbers": 4 * places,
        "pairs": places**2,
        "times": (640 * 384) ** 2 / places**2,
    }


def e05_4():
    defined = program("E05.4")
    assert {"to_latents", "to_pixels"} <= defined.keys()
    return {"times": 4**2}


def e06_1():
    merges = train_bpe(["low low low lower"], 2)
    assert merges == [("l", "o"), ("lo", "w</w>")]
    encoder = BytePairEncoder(merges)
    assert encoder.tokenize("lower") == ["lo", "w", "e", "r</w>"]
    assert encoder.tokenize("slow") == ["s", "low</w>"]
    return {word: len(encoder.tokenize(word)) for word in ("lower", "slow")}


def e06_2():
    chunks = math.ceil(160 / 75)
    return {"lost": 160 - 75, "chunks": chunks, "vectors": 77 * chunks}


def e06_4():
    merges = [("a", "t</w>"), ("c", "a")]
    encode = program("E06.4")["encode"]
    assert encode(("c", "a", "t</w>"), {pair: rank for rank, pair in enumerate(merges)}) == ["ca", "t</w>"]
    assert BytePairEncoder(merges).tokenize("cat") == ["c", "at</w>"]
    return {}


def e07_1():
    pairs = torch.eye(2)
    loss = float(contrastive_loss(pairs, pairs, math.log(3)))
    alike = torch.ones(2, 1)
    return {"share": math.exp(-loss), "loss": loss, "unknowing": float(contrastive_loss(alike, alike, 9.0))}


def e07_4():
    pictures, captions = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    nearest = program("E07.4")["nearest_caption"]
    bug = (nearest(pictures, captions) + 1).tolist()
    right = (nearest(pictures, F.normalize(captions, dim=-1)) + 1).tolist()
    names = ("first", "second")
    return {f"{way}_{name}": k for way, ks in (("bug", bug), ("right", right)) for name, k in zip(names, ks)}


def e08_1():
    shares = torch.tensor([1.0, 2.0, 5.0]).log().softmax(dim=0)
    soft = float(shares @ torch.tensor([8.0, 16.0, 0.0]))
    return dict(zip(("first", "second", "third"), shares.tolist())) | {"soft": soft, "hard": 0}


def e08_2():
    own, text = 8 * 64**2 * 64**2, 8 * 64**2 * 77
    return {"self": own, "cross": text, "times": own / text}


def e08_4():
    split, x = program("E08.4")["split"], torch.randn(2, 6, 16)
    for heads, same in ((1, True), (8, False)):
        right = Attention(16, heads)._split(x)
        assert right.shape == split(x, heads).shape and torch.equal(right, split(x, heads)) is same
    return {}


def e09_1():
    b, c, n = torch.tensor([[1.0, 3.0], [2.0, 1.0], [1.0, 1.0]])
    told = {1.0: b, 2.0: c, 3.0: n}

    def denoise(x, sigma, context):
        eps = torch.stack([told[float(text.flatten()[0])] for text in context])
        return Prediction(x - sigma * eps, eps)

    def guided(scale, without):
        texts = [torch.full((1, 1, 1), number) for number in (1.0, without)]
        return classifier_free_guidance(denoise, *texts, scale)(torch.zeros(1, 2), 1.0).eps[0]

    assert torch.allclose(guided(0.0, 2.0), c) and torch.allclose(guided(1.0, 2.0), b)
    (e_1, e_2), (n_1, n_2) = guided(4.0, 2.0).tolist(), guided(4.0, 3.0).tolist()
    return {"e_1": e_1, "e_2": e_2, "negative_1": n_1, "negative_2": n_2}


def e09_2():
    return {"plain": 30, "guided": 2 * 30, "interval": 2 * 12 + 18}


def e09_4():
    b, c = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 1.0])
    guided = program("E09.4")["guided"]
    assert all(torch.equal(guided(b, c, s), c + s * (b - c)) for s in (1, 3, 7.5))
    bug, right = guided(b, c, 0.5), c + 0.5 * (b - c)
    return {
        "bug_1": float(bug[0]),
        "bug_2": float(bug[1]),
        "right_1": float(right[0]),
        "right_2": float(right[1]),
    }


def e10_2():
    a, b = torch.eye(2, dtype=torch.float64)
    angle = math.pi / 2
    first, second = (math.sin(part * angle) / math.sin(angle) for part in (2 / 3, 1 / 3))
    middle = math.sin(angle / 2) * (a + b)
    return {
        "straight": float(((a + b) / 2).norm()),
        "arc": float(middle.norm()),
        "first": first,
        "second": second,
    }


def e10_3():
    shape, prompts = (4, 16, 16), ["a cat"] * 3
    batch = program("E10.3")["starting_noise"](prompts, 20, shape)
    alone = [torch.randn(shape, generator=torch.Generator().manual_seed(20 + k)) for k in range(3)]
    assert [torch.equal(one, other) for one, other in zip(batch, alone)] == [True, False, False]
    assert all(torch.equal(one, batch[0]) for one in batch)
    return {}


def e11_1():
    steps = steps_left(0.4, 30)
    assert steps_left(0.99, 30) < steps_left(1.0, 30) == 30
    return {"steps": steps, "answers": 2 * steps}


def e11_3():
    numbers = [sum(p.numel() for p in torch.nn.Conv2d(n, 320, 3).parameters()) for n in (4, 9)]
    return {"numbers": numbers[1], "more": numbers[1] - numbers[0], "places": (512 // 8) ** 2}


def e11_4():
    known, noise = torch.randn(2, 1, 1, 500, 500)
    before = program("E11.4")["before_the_step"]
    kept = torch.zeros_like(known)
    assert abs(before(known, known, noise, kept, 5.0).std() - 1) < 0.01
    assert abs((known + 5.0 * noise).std() - math.sqrt(26)) < 0.05
    return {"has": 1, "told": math.sqrt(1 + 5**2)}


def e12_1():
    with torch.device("meta"):
        numbers = sum(p.numel() for p in UNet(UNetConfig()).parameters())
    assert f"{numbers:,}" in QUESTIONS["E12.1"]
    return {"float32": 4 * numbers / 1e9, "float16": 2 * numbers / 1e9}


def e12_3():
    alpha_bar, x0, eps = 0.64, torch.tensor(2.0), torch.tensor(-1.0)
    sigma = math.sqrt((1 - alpha_bar) / alpha_bar)
    x, v = alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * eps, to_v(x0, eps, sigma)
    full = x / alpha_bar**0.5  # x0 + sigma eps, as the package has it
    return {
        "x": float(x),
        "v": float(v),
        "x0": float(from_v(full, sigma, v)[0]),
        "wrong": float(from_epsilon(full, sigma, v)[0]),
    }


def e12_4():
    assert torch.isinf(torch.tensor(300.0, dtype=torch.float16).square())
    return {"stored": float(torch.tensor(1027.0, dtype=torch.bfloat16))}


def e13_1():
    operations = 2 * 4096 * 320 * 320
    moved = 4 * (4096 * 320 + 320 * 320 + 4096 * 320)
    seconds = max(operations / 100e9, moved / 10e9)
    assert seconds == operations / 100e9
    return {
        "gflop": operations / 1e9,
        "megabytes": moved / 1e6,
        "intensity": operations / moved,
        "milliseconds": 1000 * seconds,
    }


def e13_2():
    return {"now": 1 / (0.1 + 0.9 / 1.5), "most": 1 / 0.1}


COMPUTED = {name: function for name, function in globals().items() if re.fullmatch(r"e\d\d_\d", name)}
COMPUTED = {f"E{name[1:3]}.{name[4]}": function for name, function in COMPUTED.items()}


def test_each_question_has_its_answer_and_the_answers_are_apart():
    assert list(QUESTIONS) == list(ANSWERS) == sorted(QUESTIONS)
    assert "*Marks" not in (NOTEBOOKS / "EXAM.md").read_text(encoding="utf-8")
    assert [name for name, answer in ANSWERS.items() if answer.count("*Marks: ") != 1] == []


def test_each_chapter_has_three_questions_or_more_of_different_kinds():
    for path in (NOTEBOOKS / "EXAM.md", NOTEBOOKS / "solutions" / "EXAM.md"):
        titles = dict(HEADING.findall(path.read_text(encoding="utf-8")))
        assert list(titles) == [f"{number:02d}" for number in range(14)]
        for notebook in NOTEBOOKS.glob("[0-9]*.ipynb"):
            first = re.search('"# (.+?)(?:\\\\n)?"', notebook.read_text(encoding="utf-8"))[1]
            assert titles[notebook.name[:2]] == first
    for chapter in range(14):
        asked = [text for name, text in QUESTIONS.items() if name.startswith(f"E{chapter:02d}.")]
        kinds = [re.match(r"\(([a-z ]+), (\d) points\)", text)[1] for text in asked]
        assert len(asked) >= 3 and len(set(kinds)) >= 2, chapter
        assert set(kinds) <= set(KINDS), kinds


def test_every_program_of_the_exam_can_be_read():
    programs = [
        code for text in QUESTIONS.values() for code in re.findall("```python\n(.*?)```", text, re.DOTALL)
    ]
    assert len(programs) >= 12
    for code in programs:
        ast.parse(code)
    bugs = {name for name, text in QUESTIONS.items() if text.startswith("(find the bug")}
    assert bugs == {name for name, text in QUESTIONS.items() if "```" in text} <= {*COMPUTED, "E13.3"}


def test_every_value_is_computed():
    assert {name for name in ANSWERS if values(name)} <= COMPUTED.keys()
    assert [
        name for name, answer in ANSWERS.items() if "values:" in answer.lower() and not values(name)
    ] == []


@pytest.mark.parametrize("name", COMPUTED)
def test_the_values_of_an_answer_are_right(name):
    said, computed = values(name), COMPUTED[name]()
    assert said.keys() == computed.keys()
    for value, text in said.items():
        digits = len(text.partition(".")[2])
        assert abs(float(text) - computed[value]) <= 0.51 * 10**-digits, f"{value}: {computed[value]}"


def test_a_benchmark_that_calls_once_finds_equal_ways_different(monkeypatch):
    """The code alone, with a clock and two equal ways of which the first call is slow."""
    clock, calls = itertools.count(), itertools.count()

    def way():
        if next(calls) == 0:
            next(clock), next(clock)

    (code,) = re.findall("```python\n(.*?)```", QUESTIONS["E13.3"], re.DOTALL)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    defined = {"time": time, "old_way": way, "new_way": way}
    exec(code, defined)
    assert defined["before"] == 3 * defined["after"]
