"""Ids equal to transformers' CLIPTokenizer on 10,000 strings, with CLIP's vocabulary and with our own."""

import ast
import os
import random
from pathlib import Path

import pytest

from sdlearn.tokenizer import Tokenizer
from sdlearn.tokenizer_training import train_bpe, vocabulary

transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
CLIP_VOCAB = Path(os.environ.get("SDLEARN_CLIP_VOCAB", ROOT.parent / "shared" / "data" / "clip-vocab"))
SCENES = ROOT / "data" / "models" / "scenes" / "tokenizer"
STRINGS = 10_000

WORDS = "a an the cat castle orange photograph riding isn't they're I'll dog's 4k f/1.8 Über œuvre"
SPECIAL = "<|startoftext|> <|endoftext|> <|ENDOFTEXT|> <|StartOfText|> <| |> </w> <|pad|> Ġ"
# Assigned characters: ASCII, Latin, combining, Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai, Hangul,
# blanks, punctuation, fractions, symbols, kana, ideographs, half-width forms, letters as symbols, emoji.
RANGES = [
    (0x20, 0x7E), (0xA0, 0x17F), (0x300, 0x33F), (0x391, 0x3A1), (0x3A3, 0x3C9), (0x410, 0x45F),
    (0x5D0, 0x5EA), (0x620, 0x64A), (0x905, 0x939), (0xE01, 0xE3A), (0x1100, 0x1112), (0xAC00, 0xAC40),
    (0x2000, 0x200F), (0x2010, 0x205E), (0x2100, 0x214F), (0x2150, 0x218B), (0x2190, 0x23FF),
    (0x3041, 0x3096), (0x30A1, 0x30FF), (0x4E00, 0x4FFF), (0xF900, 0xF920), (0xFF01, 0xFF5E),
    (0x1D400, 0x1D454), (0x1F300, 0x1F64F), (0x1F1E6, 0x1F1FF),
]  # fmt: skip
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u2028", "\u3000", "\x0b", "\x0c", "\x85"]
ODD = [
    "ſ",
    "ß",
    "ẞ",
    "İ",
    "ı",
    "Σ",
    "ΟΔΟΣ",
    "ﬁ",
    "e\u0301",
    "K",
    "Å",
    "👨‍👩‍👧",
    "🇩🇪",
    "❤️",
    "\ufeff",
    "\u00ad",
    "\u200b",
    "½",
    "²",
    "٣",
]


def _piece(rng: random.Random) -> str:
    kind = rng.randrange(12)
    if kind < 4:
        word = rng.choice(WORDS.split())
        return rng.choice([word, word.upper(), word.capitalize()])
    if kind == 4:
        return str(rng.randrange(10 ** rng.randint(1, 9)))
    if kind == 5:
        return "".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(rng.randint(1, 6)))
    if kind == 6:
        return "".join(rng.choice("'’`´sSltTdDmMvVeErR") for _ in range(rng.randint(1, 8)))
    if kind == 7:
        return rng.choice(SPECIAL.split())
    if kind == 8:
        return rng.choice(ODD)
    if kind == 9:
        return "".join(chr(rng.choice([*range(32), *range(127, 160)])) for _ in range(rng.randint(1, 3)))
    low, high = rng.choice(RANGES)
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8)))


def generated_strings() -> list[str]:
    """Short and long mixtures of everything, the same each time."""
    rng = random.Random(0)
    texts = [
        "",
        " ",
        "\n\t ",
        "a" * 2000,
        "ab " * 2000,
        "'" * 500,
        "🐱" * 300,
        "7" * 300,
        "<|endoftext|>" * 90,
    ]
    while len(texts) < STRINGS:
        count = rng.choice([1, 2, 3, 5, 8, 12, 30] + [120] * (rng.random() < 0.1))
        texts.append("".join(_piece(rng) + rng.choice(["", "", *SPACES[:2], *SPACES]) for _ in range(count)))
    return texts


def differences(tokenizer: Tokenizer, folder: Path, texts: list[str]) -> list[str]:
    """The texts whose ids, or the text that comes back from them, are not those of transformers."""
    reference = transformers.CLIPTokenizer.from_pretrained(folder)
    length = tokenizer.max_length
    assert reference.model_max_length == length and reference.pad_token_id == tokenizer.pad_token_id
    expected = reference(texts, padding="max_length", truncation=True, max_length=length)["input_ids"]
    return [
        text
        for text, ids in zip(texts, expected, strict=True)
        if tokenizer.encode(text) != ids or tokenizer.decode(ids) != _decode(reference, ids)
    ]


def _decode(reference, ids: list[int]) -> str:
    return reference.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.fixture(scope="module")
def clip_tokenizer() -> Tokenizer:
    if not CLIP_VOCAB.is_dir():
        pytest.skip(
            f"no CLIP vocabulary in {CLIP_VOCAB}: let SDLEARN_CLIP_VOCAB name a checkpoint's tokenizer folder"
        )
    return Tokenizer.from_folder(CLIP_VOCAB)


@pytest.mark.slow
def test_clip_vocabulary(clip_tokenizer, tmp_path):
    clip_tokenizer.save(tmp_path)
    assert differences(clip_tokenizer, tmp_path, generated_strings()) == []


@pytest.mark.slow
def test_clip_vocabulary_with_the_padding_of_stable_diffusion_2(clip_tokenizer, tmp_path):
    tokenizer = Tokenizer(clip_tokenizer.vocab, clip_tokenizer.merges, 77, pad_token_id=0)
    tokenizer.save(tmp_path)
    assert differences(tokenizer, tmp_path, generated_strings()[:2000]) == []


def test_known_ids_of_clip(clip_tokenizer):
    ids = clip_tokenizer.encode("a photo photograph of an astronaut riding horse cat, !")
    known = [49406, 320, 1125, 8853, 539, 550, 18376, 6765, 4558, 2368, 267, 256, 49407]
    assert ids == known + [49407] * 64
    assert clip_tokenizer.vocab_size == 49408 and len(clip_tokenizer.merges) == 48894


def test_what_chapter_06_shows_as_recorded(clip_tokenizer):
    """Its table of texts, tokens and ids, which is all that the course has of CLIP's vocabulary."""
    tree = ast.parse((ROOT / "notebooks" / "source" / "06_tokenizer.py").read_text(encoding="utf-8"))
    (recorded,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RECORDED"
    ]
    assert len(recorded) >= 10
    for text, words in recorded.items():
        work = clip_tokenizer.encode_and_show_work(text)
        assert [list(word.tokens) for word in work.words] == [[token for token, _ in word] for word in words]
        ids = [id_ for word in words for _, id_ in word]
        assert list(work.ids) == [49406, *ids] + [49407] * (76 - len(ids))


@pytest.mark.slow
def test_a_vocabulary_trained_here(tmp_path):
    texts = generated_strings()
    merges = train_bpe(texts[9::5], 400)
    assert len(merges) == 400
    tokenizer = Tokenizer(vocabulary(merges), merges, max_length=33)
    tokenizer.save(tmp_path)
    assert differences(tokenizer, tmp_path, texts) == []


@pytest.mark.skipif(not SCENES.is_dir(), reason="the shipped model is not there")
@pytest.mark.slow
def test_the_shipped_vocabulary():
    assert differences(Tokenizer.from_folder(SCENES), SCENES, generated_strings()) == []
