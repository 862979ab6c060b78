"""Every widget in JupyterLab: each control moves pixels, 100 quick moves end at the last, moves are shown at once."""

import statistics

import pytest
from lab import jupyter_lab
from nbformat import v4
from page import same, wait_until

PLAIN_MOVE = 300  # milliseconds, the median of moves over recorded frames
MODEL_MOVE = 1500  # milliseconds of a move that runs the small model
DRAWS = "another scale"  # the slider that runs the model
CELLS = {
    "prepare": """\
import sdlearn
from sdlearn.viz import widgets

pipe = sdlearn.StableDiffusion.from_pretrained("scenes")
first = pipe.txt2img("an orange cat standing on a red castle", num_inference_steps=12, seed=7)
second = pipe.txt2img("a blue dog at night", num_inference_steps=10, seed=7)""",
    "run": "widgets.run_explorer(first, pipe=pipe)",
    "two runs": "widgets.run_explorer(first, second, pipe=pipe)",
    "schedule": "widgets.schedule_explorer(first.images[0])",
    "guidance": 'widgets.guidance_dial("an orange cat", pipe, scales=(0, 1, 3, 7.5, 15), seed=7)',
    "attention": "widgets.attention_explorer(first, pipe)",
    "walk": "widgets.latent_walk(first.latents, second.latents, pipe.decode, number=9)",
}
NAMES = [name for name in CELLS if name != "prepare"]
each_widget = pytest.mark.parametrize("name", NAMES)


def quickest(measure, enough: float, rounds: int = 3) -> float:
    """The median of a round of measurements, the least of up to three: others may use this machine, too."""
    median = statistics.median(measure())
    for _ in range(rounds - 1):
        if median >= enough:
            median = min(median, statistics.median(measure()))
    return median


@pytest.fixture(scope="session")  # not of the module: those of its tests that must be alone come later
def notebook():
    cells = [v4.new_code_cell(source) for source in CELLS.values()]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    with jupyter_lab() as opened:
        yield opened(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), "widgets")


@pytest.fixture
def widget(notebook, name):
    yield notebook.widgets()[NAMES.index(name)]
    assert notebook.errors == []


def test_all_cells_run_and_a_saved_notebook_reads_well(notebook):
    assert [output for output in notebook.outputs() if output["output_type"] == "error"] == []
    assert len(notebook.widgets()) == len(NAMES)
    texts = [output["data"]["text/plain"] for output in notebook.outputs() if "data" in output]
    assert sum("A widget: it moves" in text for text in texts) == len(NAMES)
    assert "5 pictures recorded" in texts  # what is left of the progress bar
    assert notebook.errors == []


@each_widget
def test_dragging_each_slider_moves_the_picture(widget, name):
    before = widget.pictures(f"{name} at the beginning")
    for slider in widget.sliders().values():
        if slider.name == DRAWS:
            continue
        slider.drag(0.0)
        widget.settle()
        left, low = widget.pictures(), slider.readout()
        slider.drag(0.6)
        widget.settle()
        right = widget.pictures(f"{name} {slider.name} dragged")
        assert slider.readout() != low
        assert not same(left, right)
        assert [one.shape for one in right] == [one.shape for one in before]  # nothing jumps


@each_widget
def test_a_hundred_quick_moves_end_at_the_last_value(widget):
    for slider in widget.sliders().values():
        if slider.name == DRAWS:
            continue
        slider.press("End")
        widget.settle()
        expected, text, value = widget.pictures(), widget.text(), slider.readout()
        slider.press("Home")
        widget.settle()
        assert not same(widget.pictures(), expected)
        slider.drag(1.0, moves=100)
        widget.settle()
        assert (slider.readout(), widget.text()) == (value, text)
        assert same(widget.pictures(), expected)


@pytest.mark.alone
@each_widget
def test_a_move_is_shown_at_once(widget, name, record_property):
    slider = next(iter(widget.sliders().values()))
    slider.press("Home")
    widget.settle()
    number = 4 if name == "guidance" else 8
    keys = ["ArrowRight"] * number + ["ArrowLeft"] * number
    median = quickest(lambda: [slider.milliseconds(key) for key in keys], PLAIN_MOVE)
    record_property("milliseconds", median)
    print(f"{name}: a move is shown after {median:.0f} ms (median of {len(keys)})")
    assert median < PLAIN_MOVE


@pytest.mark.parametrize("name", ["attention", "walk"])
def test_pressing_a_button_moves_the_picture(widget, name):
    slider, buttons = next(iter(widget.sliders().values())), widget.buttons()
    slider.drag(0.5)
    buttons.nth(0).click()
    widget.settle()
    first = widget.pictures()
    buttons.nth(1).focus()
    widget.page.keyboard.press("Enter")  # with the keyboard alone
    widget.settle()
    assert not same(widget.pictures(f"{name} second button"), first)


@pytest.mark.parametrize("name", ["run", "walk"])
def test_play_runs_to_the_end(widget):
    slider = next(slider for slider in widget.sliders().values())
    slider.press("End")
    widget.settle()
    expected, end = widget.pictures(), slider.readout()
    slider.press("Home")
    widget.settle()
    widget.root.locator(".widget-play button").first.click()
    assert wait_until(lambda: slider.readout() == end, 20)
    widget.settle()
    assert same(widget.pictures(), expected)


@pytest.mark.alone
@pytest.mark.parametrize("name", ["guidance"])
def test_the_model_runs_when_the_slider_is_let_go(widget, record_property):
    slider = widget.sliders()[DRAWS]
    before = widget.pictures()
    track, handle = slider.root.locator(".noUi-target").bounding_box(), slider.handle.bounding_box()
    mouse, y = widget.page.mouse, handle["y"] + handle["height"] / 2
    mouse.move(handle["x"] + handle["width"] / 2, y)
    mouse.down()
    for share in (0.4, 0.3, 0.28, 0.25):
        mouse.move(track["x"] + share * track["width"], y)
        widget.page.wait_for_timeout(150)
    widget.settle()
    assert same(widget.pictures(), before)  # nothing is drawn while the button is held
    mouse.up()
    progress = widget.root.locator(".progress")
    assert wait_until(progress.is_visible, 5)
    widget.pictures("guidance while it draws")
    assert wait_until(lambda: "drawn in" in widget.text(), 30)
    widget.settle()
    assert not progress.is_visible()
    assert not same(widget.pictures("guidance let go"), before)
    median = quickest(lambda: [slider.milliseconds("ArrowRight") for _ in range(4)], MODEL_MOVE)
    assert "drawn in" in widget.text()
    record_property("milliseconds", median)
    print(f"a drawing is shown after {median:.0f} ms (median of 4)")
    assert median < MODEL_MOVE
