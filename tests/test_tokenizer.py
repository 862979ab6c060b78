"""The tokenizer on its own: each stage by value, files, errors, and learning merges."""

import json

import pytest

from sdlearn.bpe import (
    END,
    START,
    BytePairEncoder,
    byte_symbols,
    clean,
    merge_pair,
    merge_steps,
    split_words,
    text_of,
    word_symbols,
)
from sdlearn.paths import shipped_model
from sdlearn.scenes.dataset import example
from sdlearn.tokenizer import TokenIds, Tokenizer, word_work
from sdlearn.tokenizer_training import train_bpe, vocabulary
from sdlearn.training.recipe import RECIPES, load_recipe

TEXTS = ["a red cat on a red castle", "the red cat", "a cat and a castle", "a blue castle"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    merges = train_bpe(TEXTS, 20)
    return Tokenizer(vocabulary(merges), merges, max_length=12)


def test_byte_table_is_one_printable_symbol_a_byte_in_the_order_of_the_ids():
    table = byte_symbols()
    assert sorted(table) == list(range(256)) and len(set(table.values())) == 256
    assert list(table.values())[:3] == ["!", '"', "#"] and list(table)[188] == 0
    assert table[ord(" ")] == "Ġ" and table[ord("\n")] == "Ċ" and table[ord("é")] == "é"
    assert not any(symbol.isspace() for symbol in table.values())


def test_clean_composes_accents_and_lowers_without_looking_at_neighbours():
    assert clean("  A\tCAFE\u0301\u00a0\n ") == " a caf\u00e9 "
    assert clean("ΟΔΟΣ") == "οδοσ"
    assert clean("a\x00b\u200bc") == "a\x00b\u200bc"


def test_split_words_cuts_digits_one_by_one_and_contractions():
    assert split_words("the cat's 2024 hats, don't!!") == (
        ["the", "cat", "'s", "2", "0", "2", "4", "hats", ",", "don", "'t", "!!"]
    )
    assert split_words("ſ'ſ ½ 猫x") == ["ſ", "'", "ſ", "½", "猫x"]
    assert split_words("<|endoftext|>!!") == ["<|", "endoftext", "|>", "!!"]


def test_word_symbols_are_bytes_with_a_mark_on_the_last():
    assert word_symbols("cat") == ("c", "a", "t</w>")
    assert word_symbols("é") == ("Ã", "©</w>")


def test_merge_pair_joins_from_the_left():
    assert merge_pair(("a", "a", "a", "b"), ("a", "a")) == ("aa", "a", "b")
    assert merge_pair(("x", "a", "b</w>"), ("a", "b</w>")) == ("x", "ab</w>")


def test_train_bpe_follows_the_counts():
    # "ab" 3 times, "abc" twice: a-b</w> 3, then a-b and b-c</w> 2 each (a-b sorts first), then ab-c</w> 2.
    assert train_bpe(["ab ab abc", "ab abc"], 10) == [("a", "b</w>"), ("a", "b"), ("ab", "c</w>")]
    assert train_bpe(["ab ab abc", "ab abc"], 1) == [("a", "b</w>")]
    assert train_bpe(iter(["xx"] * 3 + ["yz"] * 4), 1) == [("y", "z</w>")]
    assert train_bpe(["cb", "ad"], 9) == [("a", "d</w>"), ("c", "b</w>")]
    assert train_bpe([], 5) == [] and train_bpe(["cat"], 0) == []
    with pytest.raises(ValueError, match="num_merges is -1"):
        train_bpe(["cat"], -1)


def test_train_bpe_never_spells_one_token_twice():
    merges = train_bpe(["aaaa aaab abab aabb", "aaaaaaab baab abba"], 200)
    tokens = [first + second for first, second in merges]
    assert len(set(tokens)) == len(tokens) > 8
    assert sorted(vocabulary(merges).values()) == list(range(514 + len(merges)))


def test_vocabulary_has_the_order_of_clip():
    vocab = vocabulary([("a", "b"), ("ab", "c</w>")])
    assert [vocab[token] for token in ("!", "!</w>", "ab", "abc</w>", START, END)] == [
        0,
        256,
        512,
        513,
        514,
        515,
    ]


def test_encode_frames_pads_and_cuts(tokenizer):
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    cat, red, a = (tokenizer.vocab[token] for token in ("cat</w>", "red</w>", "a</w>"))
    assert tokenizer.encode("a red cat") == [start, a, red, cat] + [end] * 8
    assert tokenizer.encode("") == [start] + [end] * 11
    assert tokenizer.encode("cat " * 10) == [start] + [cat] * 10 + [end]
    assert tokenizer.encode("cat " * 11) == [start] + [cat] * 10 + [end]
    padded = Tokenizer(tokenizer.vocab, tokenizer.merges, 6, pad_token_id=0)
    assert padded.encode("cat!!") == [
        start,
        cat,
        0,
        0,
        end,
        0,
    ]  # "!" is the padding token: as in Stable Diffusion 2


def test_special_tokens_inside_a_text(tokenizer):
    assert tokenizer.tokenize(f"cat{END}cat") == ["cat</w>", END, "cat</w>"]
    assert tokenizer.tokenize(END.upper()) == tokenizer.tokenize("<| endoftext |>")


def test_show_work_tells_every_stage_and_what_was_cut(tokenizer):
    work = tokenizer.encode_and_show_work("A  Castle " + "cat " * 11)
    castle = work.words[1]
    assert work.cleaned == "a castle " + "cat " * 11 and castle.text == "castle"
    assert castle.symbols == ("c", "a", "s", "t", "l", "e</w>") and castle.tokens == ("castle</w>",)
    assert castle.merges[0].pair == tokenizer.merges[castle.merges[0].rank]
    assert castle.merges[-1].symbols == castle.tokens and len(castle.merges) == 5
    assert work.kept == ("a</w>", "castle</w>") + ("cat</w>",) * 8 and work.cut == ("cat</w>",) * 3
    assert list(work.ids) == tokenizer.encode(work.text)
    assert tokenizer.encode_and_show_work("cat").cut == ()


@pytest.mark.parametrize(
    "text", ["", "a red cat", "zebra 42 é 猫 🐱!", f"cat{START}cat", "it's\x00 x\u200by", "ſ" * 9]
)
def test_show_work_and_encode_agree(tokenizer, text):
    work = tokenizer.encode_and_show_work(text)
    assert list(work.ids) == tokenizer.encode(text)
    assert work.kept + work.cut == tuple(tokenizer.tokenize(text))


def test_decode(tokenizer):
    assert tokenizer.decode(tokenizer.encode("A red  CAT, é!")) == "a red cat , é !"
    assert tokenizer.decode([tokenizer.bos_token_id, 0], skip_special_tokens=False) == START + "!"
    with pytest.raises(ValueError, match="id 99999 is not in the vocabulary"):
        tokenizer.decode([99999])


def test_a_folder_gives_the_same_tokenizer(tokenizer, tmp_path):
    wanted = Tokenizer(tokenizer.vocab, tokenizer.merges, 12, pad_token_id=0)
    wanted.save(tmp_path / "new" / "tokenizer")
    read = Tokenizer.from_folder(tmp_path / "new" / "tokenizer")
    assert (read.vocab, read.merges, read.max_length, read.pad_token_id) == (
        wanted.vocab,
        wanted.merges,
        12,
        0,
    )


def test_special_tokens_map_counts_more_than_the_config(tokenizer, tmp_path):
    # The published files of Stable Diffusion 2: pad "!" in one, the end token in the other.
    tokenizer.save(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"pad_token": {"content": "!", "lstrip": False}})
    )
    assert Tokenizer.from_folder(tmp_path).pad_token_id == 0
    (tmp_path / "special_tokens_map.json").unlink()
    assert Tokenizer.from_folder(tmp_path).pad_token_id == tokenizer.eos_token_id
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 1e30}))
    assert Tokenizer.from_folder(tmp_path).max_length == 77


def test_one_file_for_vocabulary_and_merges(tokenizer, tmp_path):
    # What transformers 5 writes instead of vocab.json and merges.txt; older versions wrote merges as "a b".
    for merges in (tokenizer.merges, [" ".join(pair) for pair in tokenizer.merges]):
        model = {"model": {"type": "BPE", "vocab": tokenizer.vocab, "merges": merges}}
        (tmp_path / "tokenizer.json").write_text(json.dumps(model))
        read = Tokenizer.from_folder(tmp_path)
        assert (read.vocab, read.merges, read.max_length) == (tokenizer.vocab, tokenizer.merges, 77)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {}}}')
    with pytest.raises(ValueError, match=r"tokenizer\.json holds no byte-pair encoding"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", None, "vocab.json"),
        ("vocab.json", "{", "vocab.json"),
        ("vocab.json", "[1]", "must hold a JSON object"),
        ("vocab.json", '{"<|endoftext|>": 0}', "vocabulary lacks 529 tokens"),
        ("merges.txt", None, "merges.txt"),
        ("merges.txt", "#version: 0.2\na b c\n", "two symbols a line, not 'a b c'"),
        ("merges.txt", "#version: 0.2\nq q\n", "lacks 1 tokens .* 'qq'"),
        ("special_tokens_map.json", '{"pad_token": "<pad>"}', "padding token '<pad>'"),
        ("tokenizer_config.json", '{"model_max_length": 2}', "max_length 2"),
        ("tokenizer_config.json", '{"model_max_length": "9"}', "model_max_length '9' is not a number"),
        ("vocab.json", '{"<|endoftext|>": "0"}', "whole numbers"),
    ],
)
def test_a_broken_folder_is_named(tokenizer, tmp_path, name, content, message):
    tokenizer.save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        Tokenizer.from_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_wrong_arguments(tokenizer):
    for wrong in (None, 3, ["a cat"]):
        with pytest.raises(TypeError, match=f"must be a str, not {type(wrong).__name__}"):
            tokenizer.encode(wrong)
    with pytest.raises(ValueError, match="pad_token_id -1"):
        Tokenizer(tokenizer.vocab, tokenizer.merges, 77, pad_token_id=-1)
    with pytest.raises(ValueError, match="max_length 2"):
        Tokenizer(tokenizer.vocab, tokenizer.merges, 2)


def test_merge_steps_follow_the_ranks_not_the_length():
    ranks = {("a", "t</w>"): 0, ("c", "a"): 1, ("ca", "t</w>"): 2}
    (step,) = merge_steps(("c", "a", "t</w>"), ranks)
    assert (step.pair, step.rank, step.symbols) == (("a", "t</w>"), 0, ("c", "at</w>"))
    assert list(merge_steps(("c",), ranks)) == [] and list(merge_steps(("x", "y"), ranks)) == []


def test_text_of_joins_bytes_and_ends_words():
    assert text_of(["c", "at</w>", *word_symbols("猫"), "!</w>"]) == "cat 猫 !"
    assert text_of(["ç"]) == "\ufffd" and text_of([]) == ""


def test_the_encoder_keeps_words_that_repeat_and_special_tokens_whole():
    encoder = BytePairEncoder([("c", "a"), ("ca", "t</w>")], special=["!"])
    assert encoder.tokenize("Cat!CAT") == ["cat</w>", "!", "cat</w>"]
    assert encoder.word_tokens("cat") is encoder.word_tokens("cat")
    assert list(encoder.segments("a!b")) == [("a", False), ("!", True), ("b", False)]


def test_a_frame_is_start_tokens_end_and_padding(tokenizer):
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    short = TokenIds(tokenizer.vocab, 5, pad_token_id=0)
    assert short.frame(["a</w>"]) == [start, tokenizer.vocab["a</w>"], end, 0, 0]
    assert short.frame([]) == [start, end, 0, 0, 0] and len(short) == short.vocab_size == len(tokenizer)


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 12, 500])
def test_a_text_of_any_length_keeps_its_end_token(tokenizer, number):
    """Lost in SLIP (issue 18) and in others: the frame was put on first, and then cut."""
    ids = tokenizer.encode("cat " * number)
    assert len(ids) == 12 and ids.index(tokenizer.eos_token_id) == 1 + min(number, 10)


@pytest.mark.slow
def test_the_shipped_vocabulary_is_learnt_from_the_captions_of_its_recipe():
    recipe = load_recipe(RECIPES / "clip.toml")
    data = recipe["data"]
    captions = [text for index in range(data["pictures"]) for text in example(data["seed"], index)[1]]
    shipped = Tokenizer.from_folder(shipped_model("scenes") / "tokenizer")
    merges = train_bpe(captions, recipe["tokenizer"]["merges"])
    assert (merges, vocabulary(merges)) == (shipped.merges, shipped.vocab)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": [1]}, "tokenizer.json holds no byte-pair encoding"),
        ({"merges": [1]}, "two symbols a line, not 1"),
        ({"merges": [["a", 1]]}, r"two symbols a line, not \['a', 1\]"),
        ({"merges": [[["a"], "b"]]}, "two symbols a line"),
        ({"merges": [{"a": 1, "b": 2}]}, "two symbols a line"),
        ({"merges": ["a " * 9999]}, "two symbols a line"),
        ({"vocab": {"twice": 0}}, "to each token one of its own"),
        ({"vocab": {"cat": [1]}}, "whole numbers"),
        ({"vocab": {"cat": -1}}, "whole numbers"),
        ({"pad_token": {"content": ["x"]}}, r"padding token \['x'\] is not in the vocabulary"),
        ({"pad_token": ["x"]}, "padding token"),
        ({"pad_token": 7}, "padding token"),
        ({"model_max_length": -float("inf")}, "model_max_length -inf is not a number"),
        ({"model_max_length": float("nan")}, "model_max_length nan is not a number"),
        ({"model_max_length": -5}, "model_max_length -5 is not a number"),
    ],
)
def test_a_hostile_tokenizer_json_is_refused_in_words(tokenizer, tmp_path, change, message):
    model = {"vocab": tokenizer.vocab | change.pop("vocab", {}), "merges": change.pop("merges", [])}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": change.pop("model", model)}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(change))
    with pytest.raises(ValueError, match=message) as caught:
        Tokenizer.from_folder(tmp_path)
    assert str(tmp_path) in str(caught.value) and len(str(caught.value)) < 500


def test_a_number_of_too_many_digits_is_of_its_file(tokenizer, tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": ' + "9" * 5000 + "}")
    with pytest.raises(ValueError, match=r"tokenizer\.json is not JSON"):
        Tokenizer.from_folder(tmp_path)


def test_ranks_may_have_gaps():
    ranks = {("c", "a"): 7, ("ca", "t</w>"): 900}
    assert [step.rank for step in merge_steps(("c", "a", "t</w>"), ranks)] == [7, 900]
    repeated = BytePairEncoder([("c", "a"), ("c", "a"), ("ca", "t</w>")])
    assert repeated.tokenize("cat") == ["cat</w>"]


def test_a_pair_that_was_learned_twice_is_refused(tokenizer):
    with pytest.raises(ValueError, match="the merges hold a pair twice"):
        Tokenizer(tokenizer.vocab, [*tokenizer.merges, tokenizer.merges[0]])


def test_a_token_outside_the_table_of_bytes_cannot_be_decoded(tokenizer):
    odd = TokenIds(tokenizer.vocab | {"猫": len(tokenizer)}, 12)
    with pytest.raises(ValueError, match="'猫' stands for no byte"):
        odd.decode([len(tokenizer)])


def test_a_frame_refuses_more_tokens_than_it_has_places_for(tokenizer):
    short = TokenIds(tokenizer.vocab, 5)
    assert len(short.frame(["a</w>"] * 3)) == 5
    with pytest.raises(ValueError, match="4 tokens and two special ones do not fit into 5 ids"):
        short.frame(["a</w>"] * 4)


def test_the_empty_word_has_no_tokens(tokenizer):
    work = word_work("", tokenizer.encoder.ranks)
    assert (work.symbols, work.merges, work.tokens) == ((), (), ())
    assert tokenizer.encoder.word_tokens("") == ()


@pytest.mark.parametrize("special", [[], [""]])
def test_an_encoder_without_special_tokens_cuts_nowhere(special):
    encoder = BytePairEncoder([("c", "a"), ("ca", "t</w>")], special)
    assert list(encoder.segments("cat")) == [("cat", False)] and encoder.tokenize("cat") == ["cat</w>"]
