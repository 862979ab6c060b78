"""Chapter 05's exercises: answers of people who learn this, and the idea that each is taken for."""

import pytest
import torch

from sdlearn.exercises import check
from sdlearn.exercises.chapter_05 import EXERCISES


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("05.1", (4, 768 // 8, 512 // 8), "Which side is which"),
        ("05.1", [4, 128 // 8, 128 // 8], "own pictures"),
        ("05.1", [3, 512 // 8, 768 // 8], "colours of a picture"),
        ("05.1", torch.Size([3, 512, 768]), "behind the encoder"),
        ("05.1", [4, 512, 768], "still pixels"),
        ("05.1", [4, 512 // 8, 512 // 8], "a square"),
        ("05.1", [4, 512 // 64, 768 // 64], "divided by 64"),
        ("05.1", [4, 63, 95], "the rows"),
        ("05.1", [64, 96], "asked for"),
        ("05.2", 4**2, "each with *each*"),
        ("05.2", 4, "narrower"),
        ("05.2", 4**3, "three fours"),
        ("05.2", 64**2, "8 times shorter"),
        ("05.2", 2 * 4, "not squaring"),
        ("05.2", (8 / 32) ** 4, "other way round"),
        ("05.2", 100, "32 x 32"),
        ("05.3", lambda z, s, k, n: k.sqrt() * z + (1 - k).sqrt() * n, "own"),
        ("05.3", lambda z, s, k, n: k.sqrt() * (z / s) + (1 - k).sqrt() * n, "out of"),
        ("05.3", lambda z, s, k, n: (k.sqrt() * z + (1 - k).sqrt() * n) * s, "scaled the noise"),
        ("05.3", lambda z, s, k, n: k * s * z + (1 - k) * n, "shares of *variance*"),
        ("05.3", lambda z, s, k, n: s * z + (1 - k).sqrt() * n, "stays as large"),
        ("05.3", lambda z, s, k, n: z, "a latent of zeros"),
        ("05.3", lambda z, s: z, "Your function stopped"),
        ("05.4", 1 / 0.2, "mixing formula"),
        ("05.4", 0.2, "was forgotten"),
        ("05.4", 1 / 25, "the direction is not"),
        ("05.4", 1.0, "Was the noise"),
        ("05.4", 5 + 5, "not the square"),
        ("05.4", 625, "divide their variances"),
        ("05.5", "a", "not symmetric"),
        ("05.5", "B", "Noise is noise"),
        ("05.5", "D", "what comes out"),
        ("05.5", "flip", "Choose A, B, C or D"),
    ],
)
def test_wrong_answers_are_told_which_idea_they_are(name, answer, words):
    verdict = check(name, answer)
    assert not verdict.right
    assert words in verdict.text
    assert verdict.text != EXERCISES[name].start


def test_the_answers_are_those_of_the_programs():
    """Of the noise that a wide picture starts from, of the spread of latents, and of a mirrored picture's code."""
    import sdlearn
    from sdlearn.image import to_tensor
    from sdlearn.scenes import example, render

    pipe = sdlearn.StableDiffusion.from_pretrained("scenes")
    wide = pipe.txt2img("a cat", width=192, height=128, num_inference_steps=1).latents
    assert list(wide.shape[1:]) == [4, 128 // 8, 192 // 8]  # 05.1, with this model's numbers
    assert (5 * torch.ones(1)).square().item() == EXERCISES["05.4"].right
    picture = to_tensor([render(example(0, 0)[0])])
    with torch.no_grad():
        codes = [pipe.vae.encode(one).mean for one in (picture, picture.flip(3))]
    assert (codes[0].flip(3) - codes[1]).std() > 0.1 * codes[0].std()  # 05.5: A is not exact
