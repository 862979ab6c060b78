"""Chapter 12 with weights of one's own: its cells take them without a change, whatever their family and layout."""

import re
from pathlib import Path

import jupytext
import pytest
import torch

import sdlearn
from sdlearn.checkpoint import save_folder, write_single_file
from sdlearn.tokenizer import Tokenizer
from sdlearn.tokenizer_training import train_bpe, vocabulary
from tests.small_pipeline import small_parts

SOURCE = Path(__file__).resolve().parent.parent / "notebooks" / "source" / "12_real_weights.py"
# What the cells know of the reader's weights. Beyond the cell that draws, no cell asks for any of it.
OF_THE_READER = ("mine", "opened", "big", "configs", "SDLEARN_")


def cells():
    """The code up to the cell that draws with the reader's weights, and all code after it."""
    codes = [
        cell.source for cell in jupytext.read(SOURCE, fmt="py:percent").cells if cell.cell_type == "code"
    ]
    (drawing,) = (k for k, code in enumerate(codes) if "big.txt2img(" in code)
    return codes[: drawing + 1], codes[drawing + 1 :]


def run(monkeypatch, place, prediction=None):
    """The names that the cells leave behind, run with SDLEARN_WEIGHTS on a machine that takes hours for anything."""
    monkeypatch.setenv("SDLEARN_WEIGHTS", str(place))
    if prediction:
        monkeypatch.setenv("SDLEARN_PREDICTION", prediction)
    names = {}
    for code in cells()[0]:
        if "for side in sides:" in code:
            names["operations_a_second"] = lambda: 1.0
        exec(code, names)
    return names


@pytest.fixture
def model(tmp_path):
    """A small random model in the layout of its family, as a folder and as a single file with the words beside it."""

    def make(family):
        merges = train_bpe(["an orange cat standing on a red castle"], 20)
        tokenizer = Tokenizer(vocabulary(merges), merges, max_length=16)
        parts = small_parts(family, tokenizer)
        return save_folder(parts, tmp_path / "model"), write_single_file(
            parts, tmp_path / "model" / "one.safetensors"
        )

    return make


def test_no_cell_after_the_drawing_asks_whose_weights_they_are():
    """So what is run below is all that can differ."""
    for code in cells()[1]:
        assert [name for name in OF_THE_READER if re.search(rf"\b{name}", code)] == []


@pytest.mark.slow  # six sections of a chapter are run: ten seconds each
@pytest.mark.parametrize("family, layout", [("SD 1 inpainting", "folder"), ("SD 2", "file")])
@pytest.mark.filterwarnings("ignore:prompt cut")  # these models read sixteen tokens
def test_the_cells_draw_with_weights_of_ones_own(monkeypatch, capsys, model, family, layout):
    folder, file = model(family)
    place = folder if layout == "folder" else file
    names = run(monkeypatch, place, "v_prediction" if layout == "file" else None)
    big, told = names["big"], capsys.readouterr().out
    assert names["opened"].source == place and big.checkpoint.source == place
    assert (
        f"Stable {family.replace('SD', 'Diffusion')}, predicts {names['big'].schedule.config.prediction_type}"
        in told
    )
    assert "will stand in" not in told and "loaded in" in told and "times the estimate" in told
    written = sdlearn.StableDiffusion.from_pretrained(
        place, prediction_type="v_prediction" if layout == "file" else None
    )
    ours, theirs = big.unet.state_dict(), written.unet.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (
        names["steps"] == 10 and names["side"] == names["own_side"] // 2 and told.count(" steps take ") == 3
    )
    (picture,) = names["first"].images
    assert picture.size == (names["side"], names["side"])
    assert names["weights"] == sum(t.numel() for one in big._networks for t in one.state_dict().values())


@pytest.mark.slow  # the cells up to the estimate: six seconds
def test_a_model_that_takes_seconds_draws_at_its_own_size(monkeypatch, capsys, model):
    monkeypatch.setenv("SDLEARN_WEIGHTS", str(model("SD 1")[0]))
    names = {}
    for code in cells()[0]:
        if "big.txt2img(" not in code:
            exec(code, names)
    assert names["steps"] == 10 and names["side"] == names["own_side"]
    assert capsys.readouterr().out.count(" steps take ") == 1
