"""Chapter 12's exercises: answers of people who learn this, and the idea that each is taken for."""

import pytest
import torch
from safetensors.torch import save_file

from sdlearn.checkpoint.header import read_header
from sdlearn.checkpoint.single_file_names import unet_name
from sdlearn.config import UNetConfig
from sdlearn.denoise import from_v
from sdlearn.exercises import check
from sdlearn.exercises.chapter_12 import ALPHA_BAR, EXERCISES, V, X


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("12.1", 1000 + 23040, "where the text ends"),
        ("12.1", 1008 + 46080, "would be float32"),
        ("12.1", 11520 + 1008, "How many bytes has each"),
        ("12.1", 1008 + 184320, "number of bits"),
        ("12.1", 23040, "stands before them"),
        ("12.1", 1008 + 660, "added the four sides"),
        ("12.1", 1000, "take its size apart"),
        ("12.2", lambda n, layers: (n // (layers + 1), n % (layers + 1)), "what is `input_blocks.0`"),
        ("12.2", lambda n, layers: ((n - 1) // layers, (n - 1) % layers), "downsampler of block 0"),
        ("12.2", lambda n, layers: [(n - 1) // 3, (n - 1) % 3], "try layers = 1"),
        ("12.2", lambda n, layers: [(n - 1) % (layers + 1), (n - 1) // (layers + 1)], "Which of them is"),
        ("12.2", lambda n, layers: [(n - 1) // (layers + 1), n % (layers + 1)], "is it part 0"),
        ("12.2", lambda n, layers: [(n - 1) / (layers + 1), (n - 1) % (layers + 1)], "counts blocks"),
        ("12.2", lambda n, layers: [(n - 1) // (layers + 1) + 0.9, (n - 1) % (layers + 1)], "section 4"),
        ("12.2", lambda n, layers: [(n - 1) // (layers + 1), (n - 1) % (layers + 1) + 1], "count from 0"),
        ("12.2", lambda n, layers: divmod(n - 1, 1 + layers + layers), "attention as a part"),
        ("12.2", lambda n, layers: [0, n], "the list of section 4"),
        ("12.2", lambda n: n, "Your function stopped"),
        ("12.3", "a", "only the cutting differs"),
        ("12.3", "B", "to both uses"),
        ("12.3", "D", "a parameter of the U-Net"),
        ("12.3", "heads", "Choose A, B, C or D"),
        ("12.4", lambda x, v, a: a.sqrt() * x + (1 - a).sqrt() * v, "not back"),
        ("12.4", lambda x, v, a: x / a.sqrt() - ((1 - a) / a).sqrt() * v, "Is v the noise"),
        ("12.4", lambda x, v, a: a.sqrt() * v + (1 - a).sqrt() * x, "the other row"),
        ("12.4", lambda x, v, a: a * (x + v) - v, "but for the roots"),
        ("12.4", lambda x, v, a: (1 - a).sqrt() * x - a.sqrt() * v, "changed places"),
        ("12.4", lambda x, v, a: x - v, "of your own"),
        ("12.5", 256 + 1, "nine binary digits"),
        ("12.5", 260 - 2, "On a tie"),
        ("12.5", torch.tensor(torch.inf), "far later"),
        ("12.5", 512, "Try it"),
        ("12.6", "A", "the whole file"),
        ("12.6", "c", "not a format"),
        ("12.6", "D", "the danger"),
        ("12.6", "none", "Choose A, B, C or D"),
    ],
)
def test_wrong_answers_are_told_which_idea_they_are(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right
    assert words in verdict.text
    assert verdict.text != EXERCISES[name].start


def test_the_answers_are_those_of_the_programs(tmp_path):
    """Of the format, of the rules of names, of the denoiser, and of the numbers themselves."""
    path = tmp_path / "one.safetensors"
    save_file({"w": torch.zeros(320, 4, 3, 3, dtype=torch.float16)}, path)
    assert path.stat().st_size - read_header(path)[1] == EXERCISES["12.1"].right - 8 - 1000
    for kind, number, n in (("resnets", 1, 5), ("downsamplers", 0, 6)):
        name = unet_name(f"down_blocks.1.{kind}.{number}.conv.weight", UNetConfig())
        assert name.startswith(f"input_blocks.{n}.")
        assert EXERCISES["12.2"].right(n, 2) == (1, 2 if kind == "downsamplers" else number)
    sigma = float(((1 - ALPHA_BAR) / ALPHA_BAR) ** 0.5)
    x0, _ = from_v(X / ALPHA_BAR**0.5, sigma, V)
    assert torch.allclose(x0, EXERCISES["12.4"].right(X, V, ALPHA_BAR), atol=1e-6)
    assert torch.tensor(257.0).to(torch.bfloat16) == EXERCISES["12.5"].right


def test_two_numbers_in_a_tensor_are_an_answer():
    assert check("12.2", lambda n, layers: torch.tensor(divmod(n - 1, layers + 1))).right


@pytest.mark.parametrize("length", [2**40, 2**63 + 5])
def test_a_head_that_is_longer_than_its_file_is_not_read(tmp_path, length):
    path = tmp_path / "false.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="the file is shorter"):
        read_header(path)
