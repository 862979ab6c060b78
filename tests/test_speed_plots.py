"""The figure of what is saved: each setting a point where its numbers say, told apart by what it changes."""

import pytest

from sdlearn import viz

FULL = {"num_inference_steps": 25, "sampler": "dpmpp_2m"}


def row(time, share, psnr, **changes):
    both = {"share": share, "interval": [share - 0.1, share], "asked": 10}
    return {
        "asked": FULL | changes,
        "time": time,
        "psnr": [psnr - 1, psnr, psnr + 1],
        "right": {"both": both},
    }


ROWS = {
    "25 steps": row(1.0, 1.0, 99.0),
    "cache 2": row(0.6, 0.9, 30.5, cache_interval=2),
    "unipc 8 steps": row(0.4, 0.7, 22.0, num_inference_steps=8, sampler="unipc"),
    "guided + cache": row(0.5, 0.8, 24.0, cache_interval=2, guidance_interval=(2.6, 15.0)),
}


def test_every_setting_is_a_point_in_both_panels():
    plot = viz.quality_against_time(ROWS)
    left, right = plot.axes
    points = [line.get_xydata().tolist()[0] for line in left.lines if len(line.get_xydata()) == 1]
    assert points == [[1.0, 100.0], [0.6, 90.0], [0.4, 70.0], [0.5, 80.0]]
    intervals = [line.get_ydata() for line in left.lines if len(line.get_xydata()) == 2]
    assert [list(ends) for ends in intervals] == [[90, 100], [80, 90], pytest.approx([60, 70]), [70, 80]]
    assert [line.get_xydata().tolist() for line in right.lines] == [
        [[0.6, 30.5]],
        [[0.4, 22.0]],
        [[0.5, 24.0]],
    ]
    numbers = [mark.get_text() for mark in right.texts]
    assert numbers == ["2", "3", "4"] and {"1", "cache 2", "guided + cache"} <= {
        t.get_text() for t in plot.texts
    }
    assert "3 unipc 8 steps: time 0.40, right 70.0 %, 22.0 dB" in plot.alt


def test_what_a_setting_changes_is_its_colour():
    plot = viz.quality_against_time(ROWS)
    names = [label.get_text() for label in plot.legends[0].get_texts()]
    assert names == ["the full run", "reuse of deep features", "fewer steps", "two together"]
    colours = [line.get_color() for line in plot.axes[1].lines]
    assert len(set(colours)) == 3


def test_one_setting_alone_cannot_be_compared():
    with pytest.raises(ValueError, match="at least one other setting"):
        viz.quality_against_time({"25 steps": ROWS["25 steps"]})
