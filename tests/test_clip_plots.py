"""Figures of contrastive training: matrices of likeness as they change, and a map of words."""

import numpy as np
import pytest
import torch

from sdlearn import viz


def test_similarity_run_shows_all_matrices_on_one_scale():
    matrices = {"before": torch.full((4, 4), 0.25), "after": torch.eye(4) - 0.5}
    plot = viz.similarity_run(matrices, ["$cat", "dog"], rows="pictures", columns="captions")
    shown = [image for axes in plot.axes for image in axes.get_images() if image.get_array().shape == (4, 4)]
    assert [image.get_clim() for image in shown] == [(-0.5, 0.5)] * 2
    assert all(
        np.array_equal(image.get_array(), m) for image, m in zip(shown, matrices.values(), strict=True)
    )
    labels = [label.get_text() for label in plot.axes[0].get_yticklabels()]
    assert labels == ["$cat", "dog"] and plot.axes[0].get_yticks().tolist() == [0.5, 2.5]
    for axes in plot.axes[:2]:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["$cat", "dog"]
    assert "before: 0.25 on the diagonal, 0.25 beside it; after: 0.50 on the diagonal, -0.50" in plot.alt
    assert "pictures in rows, captions in columns" in plot.alt
    assert plot.png()


@pytest.mark.parametrize(
    ("matrices", "blocks"),
    [
        ({}, ["a"]),
        ({"one": torch.zeros(2, 3)}, ["a"]),
        ({"one": torch.zeros(4, 4), "two": torch.zeros(2, 2)}, ["a"]),
        ({"one": torch.zeros(4, 4)}, ["a", "b", "c"]),
        ({"one": torch.zeros(4, 4)}, []),
    ],
)
def test_similarity_run_refuses(matrices, blocks):
    with pytest.raises(ValueError, match="square matrices of one size"):
        viz.similarity_run(matrices, blocks, rows="r", columns="c")


def test_word_map_names_each_group_and_its_neighbour():
    points = {
        "cat, $kitty": torch.tensor([[0.0, 0.0], [0.0, 2.0]]),
        "dog": torch.tensor([[1.0, 1.0]]),
        "car": torch.tensor([[9.0, 1.0]]),
    }
    plot = viz.word_map(points, title="words, $^$")
    axes = plot.axes[0]
    assert [np.asarray(one.get_offsets()).tolist() for one in axes.collections][0] == [[0, 0], [0, 2]]
    assert [text.get_text() for text in axes.texts] == list(points)
    assert [text.get_ha() for text in axes.texts] == ["left", "left", "right"]  # none leaves the figure
    assert (
        "cat, $kitty at (0.00, 1.00), next to dog" in plot.alt
        and "car at (9.00, 1.00), next to dog" in plot.alt
    )
    assert plot.png()


def test_word_map_refuses_what_is_not_in_the_plane():
    with pytest.raises(ValueError, match="points"):
        viz.word_map({"a": torch.zeros(3)})
    with pytest.raises(ValueError, match="points"):
        viz.word_map({})


@pytest.mark.parametrize("group", [torch.zeros(0, 2), torch.tensor([[0.0, torch.nan]])])
def test_word_map_refuses_groups_without_a_place(group):
    with pytest.raises(ValueError, match="one or more points in each group, all of them finite"):
        viz.word_map({"a": torch.zeros(1, 2), "b": group})
