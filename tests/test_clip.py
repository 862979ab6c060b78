"""The parts of CLIP that have no counterpart in a reference library: the mask, the loss, both towers together."""

import math

import pytest
import torch
from torch.nn import functional as F

from sdlearn.clip import CLIP, LARGEST_SCALE, causal_mask, contrastive_loss
from sdlearn.config import CLIPTextConfig, CLIPVisionConfig

GENERATOR = torch.Generator().manual_seed(0)
IMAGE, TEXT, WRONG = F.normalize(torch.randn(3, 6, 8, generator=GENERATOR), dim=-1)


def test_causal_mask_lets_a_token_see_itself_and_what_came_before():
    mask = causal_mask(4, torch.float64, torch.device("cpu"))
    assert mask.dtype == torch.float64
    assert mask.exp().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]


def test_contrastive_loss_is_a_quiz_in_both_directions():
    losses = []
    for i in range(6):
        losses.append(-(5.0 * TEXT @ IMAGE[i]).softmax(dim=0)[i].log())
        losses.append(-(5.0 * IMAGE @ TEXT[i]).softmax(dim=0)[i].log())
    assert contrastive_loss(IMAGE, TEXT, 5.0).item() == pytest.approx(torch.stack(losses).mean().item())
    assert contrastive_loss(IMAGE, IMAGE, 50.0) < 0.01
    same = IMAGE[:1].expand(6, 8)
    assert contrastive_loss(same, same, 5.0).item() == pytest.approx(math.log(6))


def test_wrong_captions_are_further_answers_of_the_pictures_alone():
    same = IMAGE[:1].expand(6, 8)
    loss = contrastive_loss(same, same, 5.0, same[:3])
    assert loss.item() == pytest.approx((math.log(9) + math.log(6)) / 2)
    scores = 5.0 * IMAGE @ torch.cat([TEXT, WRONG]).T  # a picture's own caption stands at its own number
    pictures = torch.stack([-scores[i].softmax(dim=0)[i].log() for i in range(6)]).mean()
    captions = torch.stack([-(5.0 * IMAGE @ TEXT[i]).softmax(dim=0)[i].log() for i in range(6)]).mean()
    loss = contrastive_loss(IMAGE, TEXT, 5.0, WRONG)
    assert loss.item() == pytest.approx((pictures + captions).item() / 2)


def small_clip() -> CLIP:
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextConfig(**size, vocab_size=9, max_position_embeddings=5, projection_dim=6, eos_token_id=8)
    return CLIP(text, CLIPVisionConfig(**size, image_size=8, patch_size=4, projection_dim=6))


def test_clip_gives_unit_vectors_and_a_limited_scale():
    clip = small_clip()
    ids = torch.tensor([[7, 1, 2, 8, 8], [7, 3, 8, 8, 8]])
    image, words, scale = clip(torch.randn(3, 3, 8, 8, generator=GENERATOR), ids)
    assert image.shape == (3, 6) and words.shape == (2, 6)
    torch.testing.assert_close(image.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(words.norm(dim=1), torch.ones(2))
    assert scale.item() == pytest.approx(1 / 0.07)
    clip.logit_scale.data.fill_(9.0)
    assert clip(torch.zeros(1, 3, 8, 8), ids)[2] == LARGEST_SCALE
    later = torch.tensor([[7, 1, 2, 8, 5]])  # behind the first end token nothing counts
    torch.testing.assert_close(clip.encode_text(later), clip.encode_text(ids[:1]))


@torch.no_grad()
def test_half_precision_towers_give_vectors_of_full_precision():
    """Normalised in bfloat16, they would be of length 1 to two or three digits only."""
    clip = small_clip().bfloat16()
    words = clip.encode_text(torch.tensor([[7, 1, 2, 8, 8], [7, 3, 8, 8, 8]]))
    image = clip.encode_image(torch.randn(3, 3, 8, 8, generator=GENERATOR).bfloat16())
    for vectors in (words, image):
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
