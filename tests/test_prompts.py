"""How prompts are read: weights, chunks, and what each does to the text vectors."""

import pytest
import torch

from sdlearn.prompts import chunks_of, equally_long, parse_weights, unread
from tests.small_pipeline import small_pipeline


@pytest.fixture(scope="module")
def pipe():
    return small_pipeline()


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("a cat", [("a cat", 1)]),
        ("", []),
        ("a (red) cat", [("a ", 1), ("red", 1.1), (" cat", 1)]),
        ("a ((red)) cat", [("a ", 1), ("red", 1.21), (" cat", 1)]),
        ("a (red:1.3) cat", [("a ", 1), ("red", 1.3), (" cat", 1)]),
        ("a (red: 0) cat", [("a ", 1), ("red", 0), (" cat", 1)]),
        ("[red] cat", [("red", 1 / 1.1), (" cat", 1)]),
        ("(a (red:1.5) cat)", [("a ", 1.1), ("red", 1.65), (" cat", 1.1)]),
        ("([red] cat)", [("red", 1), (" cat", 1.1)]),
        (r"a \(red\) cat", [("a (red) cat", 1)]),
        ("a (red", [("a ", 1), ("red", 1.1)]),
        ("a red) cat]", [("a red) cat]", 1)]),
        ("16:9 cat", [("16:9 cat", 1)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("[red:1.3]", [("red:1.3", 1 / 1.1)]),
    ],
)
def test_grammar(text, pieces):
    found = parse_weights(text)
    assert [piece for piece, _ in found] == [piece for piece, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])


def test_any_text_has_a_reading():
    """No text is lost but the signs of the grammar."""
    generator = torch.Generator().manual_seed(1)
    signs = "()[]:\\a1. "
    for _ in range(500):
        length = int(torch.randint(0, 30, (1,), generator=generator))
        text = "".join(signs[int(k)] for k in torch.randint(0, len(signs), (length,), generator=generator))
        try:
            found = parse_weights(text)
        except ValueError as error:
            assert "must be a number from 0 to 10" in str(error)
            continue
        assert "".join(piece for piece, _ in found).count("a") == text.count("a")


def test_weights_move_vectors_on_a_line_from_the_empty_prompt(pipe):
    empty, plain = pipe.encode_prompt([""]), pipe.encode_prompt(["a red cat"])
    tokens = pipe.tokenizer.tokenize
    first = 1 + len(tokens("a"))
    place = slice(first, first + len(tokens("red")))
    for weight in (0.0, 0.5, 1.7):
        moved = pipe.encode_prompt([f"a (red:{weight}) cat"], prompt_weights=True)
        expected = plain.clone()
        expected[:, place] = empty[:, place] + weight * (plain[:, place] - empty[:, place])
        torch.testing.assert_close(moved, expected)
    assert torch.equal(pipe.encode_prompt(["a (red:1) cat"], prompt_weights=True), plain)
    with pytest.warns(UserWarning, match="looks like weights"):
        as_text = pipe.encode_prompt(["a (red:2) cat"])
    assert as_text.shape == plain.shape and not torch.equal(as_text, plain)


def test_weights_that_are_not_read_are_said(pipe):
    with pytest.warns(UserWarning, match="'a \\(red:1.3\\) cat' looks like weights"):
        pipe.encode_prompt(["a (red:1.3) cat"])


def test_signs_of_other_programs_are_ordinary_words_and_said_so(pipe):
    with pytest.warns(UserWarning) as said:
        pipe.encode_prompt(["a cat BREAK a castle <lora:ghibli:0.8> <lora:x:1>"], prompt_weights=True)
    messages = [str(one.message) for one in said if "prompt cut" not in str(one.message)]
    assert messages == [
        "'BREAK' in a prompt is read as ordinary words: sdlearn knows no such sign.",
        "'<lora:ghibli:0.8>' in a prompt is read as ordinary words: sdlearn knows no such sign.",
    ]
    assert unread("a break, BREAKFAST, 1 < 2 > 0, <cat>", False) == []


def test_long_prompts_are_read_in_chunks(pipe):
    room = pipe.tokenizer.max_length - 2
    word = "cat"
    per_word = len(pipe.tokenizer.tokenize(word))
    words = [word] * (2 * room // per_word + 1)
    text = " ".join(words)
    chunks, cut = chunks_of(pipe.tokenizer, text, long=True)
    assert len(chunks) == 3 and not cut
    assert all(chunk.ids[0] == pipe.tokenizer.bos_token_id for chunk in chunks)
    vectors = pipe.encode_prompt([text, "a cat"], long_prompts=True)
    assert vectors.shape == (2, 3 * pipe.tokenizer.max_length, 24)
    torch.testing.assert_close(
        vectors[1, 16:32], pipe.encode_prompt([""])[0]
    )  # the short one ends in empty chunks
    tokens = pipe.tokenizer.tokenize(text)
    ids = torch.tensor([pipe.tokenizer.frame(tokens[room : 2 * room])])
    torch.testing.assert_close(vectors[0, 16:32], pipe.text_encoder(ids)[0])
    with pytest.warns(UserWarning, match="prompt cut to 14 tokens, without 'cat"):
        assert pipe.encode_prompt([text]).shape[1] == 16
    lengths = {len(chunks) for chunks in equally_long([chunks, chunks[:1]], pipe.tokenizer)}
    assert lengths == {3}


def test_a_long_prompt_draws_beside_a_short_negative_one(pipe):
    text = " ".join(["a red cat on a castle"] * 9)
    with torch.no_grad():
        out = pipe.txt2img(text, "castle", long_prompts=True, num_inference_steps=2)
    assert out.settings["long_prompts"] is True and out.images[0].size == (32, 32)
