"""Tiles that fit together, portions that change nothing, and memory errors that say what to do."""

import pytest
import torch
from torch.nn import functional as F

from sdlearn.memory import explain_lack, fading, in_portions, starts, tiled_decode, visiting


def enlarged(latents):
    """A decoder without memory of its surroundings: each latent becomes 4 x 4 pixels."""
    return F.interpolate(latents, scale_factor=4.0)


@pytest.mark.parametrize("height, width", [(8, 8), (16, 16), (17, 40), (9, 100), (33, 16)])
def test_tiles_of_a_plain_decoder_give_the_whole(height, width):
    latents = torch.randn(2, 3, height, width)
    torch.testing.assert_close(tiled_decode(enlarged, latents, 4, 16), enlarged(latents))


@pytest.mark.parametrize("length", [5, 16, 17, 20, 31, 64, 100])
def test_tiles_cover_a_side_with_overlap(length):
    begins = starts(length, 16)
    assert begins[0] == 0 and begins[-1] + 16 >= length
    assert all(0 < after - before <= 12 for before, after in zip(begins, begins[1:], strict=False))
    assert all(begin + 16 <= length or length <= 16 for begin in begins)


def test_edges_fade():
    weights = fading(8, 12, 4)
    assert weights.shape == (8, 12) and weights.min() > 0 and weights[3:5, 3:9].eq(1).all()


def test_a_batch_is_decoded_in_portions():
    sizes = []

    def decode(latents):
        sizes.append(len(latents))
        return enlarged(latents)

    latents = torch.randn(5, 3, 256, 256)
    torch.testing.assert_close(in_portions(decode, latents, 4), enlarged(latents))
    assert sizes == [1] * 5
    sizes.clear()
    in_portions(decode, torch.randn(5, 3, 8, 8), 4)
    assert sizes == [5]


class Traveller:
    """What `visiting` needs of a network: where it is, and how to move it."""

    def __init__(self):
        self.weight, self.places = torch.zeros(1), []

    def parameters(self):
        return iter([self.weight])

    def to(self, device):
        self.places.append(str(device))
        return self


def test_a_network_visits_and_goes_home_also_after_an_error():
    network = Traveller()
    with visiting(network, torch.device("meta")):
        assert network.places == ["meta"]
    assert network.places == ["meta", "cpu"]
    with pytest.raises(KeyError), visiting(network, torch.device("meta")):
        raise KeyError
    assert network.places == ["meta", "cpu"] * 2
    for place in (None, torch.device("cpu")):
        with visiting(network, place):
            assert len(network.places) == 4


def test_a_lack_of_memory_says_what_helps():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ...")
    message = str(explain_lack(error, torch.device("cpu")))
    assert "2.50 GiB" in message and "pipe.save_memory()" in message and "float16" in message
