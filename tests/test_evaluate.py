"""The evaluation itself is checked: on perfect pictures it must say so, on pictures of other prompts too."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from sdlearn.evaluate import Share, as_json, colours_of, evaluate, fixed_cases, guidance_table, table_text
from sdlearn.scenes import is_held_out, render
from sdlearn.scenes.oracle import Oracle


@dataclass
class DrawsByHand:
    """Instead of a model: the true render of the prompt's scene, or of its neighbour's."""

    cases: list
    shift: int = 0

    def txt2img(self, prompts, seed, num_inference_steps, guidance_scale=7.5):
        shift = self.shift if guidance_scale else 1
        number = {case.seed: index for index, case in enumerate(self.cases)}
        chosen = [self.cases[(number[s] + shift) % len(self.cases)] for s in seed]
        return SimpleNamespace(images=[render(case.scene) for case in chosen])


def test_share_has_wilsons_interval():
    low, high = Share(95, 100).interval
    assert (low, high) == (pytest.approx(0.8882, abs=1e-4), pytest.approx(0.9785, abs=1e-4))
    assert Share(10, 10).interval[1] == pytest.approx(1.0)
    assert Share(10, 10).interval[0] == pytest.approx(0.7225, abs=1e-4)
    assert Share(0, 0).interval == (0.0, 1.0)
    assert str(Share(0, 0)) == "  none asked"
    assert "95.0 %" in str(Share(95, 100)) and "95/100" in str(Share(95, 100))


def test_the_cases_are_fixed_and_of_their_split():
    seen, held_out = fixed_cases(60, "train"), fixed_cases(60, "held_out")
    assert fixed_cases(3, "train") == seen[:3]
    assert not any(is_held_out(case.scene) for case in seen)
    assert all(is_held_out(case.scene) for case in held_out)
    assert len({case.prompt for case in seen}) > 50


@pytest.mark.slow
def test_true_pictures_score_high_and_shuffled_ones_low():
    oracle, cases = Oracle.load(), fixed_cases(60, "train")
    good = evaluate(DrawsByHand(cases), oracle, cases)
    bad = evaluate(DrawsByHand(cases, shift=1), oracle, cases)
    assert all(good[measure].value >= 0.97 for measure in good)
    assert bad["objects"].value < 0.4 and bad["colours"].value < 0.3 and bad["all right"].value < 0.1
    assert good["relations"].asked == sum(case.scene.relation != "alone" for case in cases)
    assert good["objects"].asked == sum(len(case.scene.things) for case in cases)


def test_guidance_table_shows_chance():
    oracle, cases = Oracle.load(), fixed_cases(20, "train")
    table = guidance_table(DrawsByHand(cases), oracle, cases)
    assert list(table) == ["0", "1", "2", "4", "7.5", "12", "chance"]
    assert table["0"]["all right"].value < 0.2 < 0.9 < table["7.5"]["all right"].value
    assert table["chance"]["all right"].value < 0.2
    assert "7.5" in table_text(table, "title")
    assert as_json(table)["1"]["objects"]["share"] == round(table["1"]["objects"].value, 4)


def test_colours_are_counted():
    oracle = Oracle.load()
    cats = [case for case in fixed_cases(400, "train") if [t.kind for t in case.scene.things] == ["cat"]][:8]
    model = DrawsByHand([SimpleNamespace(scene=case.scene, seed=k) for k, case in enumerate(cats)])
    counted = colours_of(model, oracle, "a cat", "cat", len(cats))
    wanted = [case.scene.things[0].colour for case in cats]
    assert counted.total() == len(cats)
    assert sum(min(counted[c], wanted.count(c)) for c in counted) >= len(cats) - 1
