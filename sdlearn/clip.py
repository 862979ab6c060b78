"""CLIP: a text tower and an image tower that learn to give matching pairs the same direction (Radford et al. 2021).

Stable Diffusion keeps only the text tower, frozen; the image tower is needed to train it. Parameter names are those
of transformers' ``CLIPTextModel`` and ``CLIPVisionModelWithProjection``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.config import CLIPTextConfig, CLIPVisionConfig


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x): the cheap GELU that OpenAI's CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": F.gelu}
LARGEST_SCALE = 100.0  # logits are clipped there (Radford et al. 2021, section 2.5)


def causal_mask(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(length, length): 0 where a token may look (itself and what came before), -inf where it may not."""
    return torch.full((length, length), float("-inf"), dtype=dtype, device=device).triu(1)


class SelfAttention(nn.Module):
    """Multi-head self-attention with biases: (B, L, width) -> (B, L, width). ``mask`` (L, L) is added to the scores."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            layer(x).view(batch, length, self.heads, width // self.heads).transpose(1, 2)  # (B, heads, L, d)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, heads, L, d)
        return self.out_proj(h.transpose(1, 2).flatten(2))  # (B, L, width)


class MLP(nn.Module):
    """Widen, bend, narrow: (B, L, width) -> (B, L, width)."""

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig):
        super().__init__()
        if config.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"clip config: hidden_act {config.hidden_act!r} is not one of {', '.join(ACTIVATIONS)}."
            )
        self.activation = ACTIVATIONS[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class EncoderLayer(nn.Module):
    """A transformer layer with the norms in front (pre-LN)."""

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = SelfAttention(config.hidden_size, config.num_attention_heads)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """A stack of layers."""

    def __init__(self, config: CLIPTextConfig | CLIPVisionConfig):
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor, mask: Tensor | None = None, skip: int = 0) -> Tensor:
        for layer in self.layers[: len(self.layers) - skip]:
            x = layer(x, mask)
        return x


class TextEmbeddings(nn.Module):
    """What a token is plus where it stands: (B, L) ids -> (B, L, width)."""

    def __init__(self, config: CLIPTextConfig):
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]


class CLIPTextModel(nn.Module):
    """(B, L) token ids -> (B, L, width): one vector per token, after the final layer norm.

    Causal: a token sees itself and what came before it, also the padding (there is no padding mask). So the first
    end token has seen the whole prompt. These vectors are what Stable Diffusion's cross-attention reads.
    """

    def __init__(self, config: CLIPTextConfig):
        super().__init__()
        self.config = config
        self.embeddings = TextEmbeddings(config)
        self.encoder = Encoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor, clip_skip: int = 0) -> Tensor:
        """``clip_skip`` leaves out that many of the last layers; the final norm stays."""
        h = self.embeddings(ids)
        h = self.encoder(h, causal_mask(ids.shape[1], h.dtype, h.device), clip_skip)
        return self.final_layer_norm(h)


class VisionEmbeddings(nn.Module):
    """One token a patch, and a class token in front: (B, 3, H, W) -> (B, 1 + N, width)."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        patches = (config.image_size // config.patch_size) ** 2
        self.class_embedding = nn.Parameter(torch.zeros(config.hidden_size))
        self.patch_embedding = nn.Conv2d(
            3, config.hidden_size, config.patch_size, config.patch_size, bias=False
        )
        self.position_embedding = nn.Embedding(1 + patches, config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)  # (B, width, h, w) -> (B, N, width)
        first = self.class_embedding.expand(pixels.shape[0], 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class VisionTransformer(nn.Module):
    """Patches through the layers; the class token's last state is the picture's vector: (B, 3, H, W) -> (B, width)."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(
            config.hidden_size, eps=config.layer_norm_eps
        )  # misspelt in published files
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        h = self.encoder(self.pre_layrnorm(self.embeddings(pixels)))
        return self.post_layernorm(h[:, 0])


class CLIPVisionModel(nn.Module):
    """The image tower: (B, 3, image_size, image_size) normalised pixels -> (B, projection_dim)."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.config = config
        self.vision_model = VisionTransformer(config)
        self.visual_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.visual_projection(self.vision_model(pixels))


def pool_at_end(hidden: Tensor, ids: Tensor, eos_token_id: int) -> Tensor:
    """The vector of each prompt's first end token, which has seen every word: (B, L, D) -> (B, D)."""
    first_end = (ids == eos_token_id).int().argmax(dim=-1)  # (B,)
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), first_end]


class CLIP(nn.Module):
    """Both towers, and what compares them: (B, 3, H, W) pixels and (B', L) ids -> two sets of unit vectors, a scale."""

    def __init__(self, text: CLIPTextConfig, vision: CLIPVisionConfig):
        super().__init__()
        self.text_model = CLIPTextModel(text)
        self.text_projection = nn.Linear(text.hidden_size, text.projection_dim, bias=False)
        self.image_model = CLIPVisionModel(vision)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_text(self, ids: Tensor) -> Tensor:
        pooled = pool_at_end(self.text_model(ids), ids, self.text_model.config.eos_token_id)
        return F.normalize(self.text_projection(pooled).float(), dim=-1)  # (B', D)

    def encode_image(self, pixels: Tensor) -> Tensor:
        return F.normalize(self.image_model(pixels).float(), dim=-1)  # (B, D)

    def forward(self, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (
            self.encode_image(pixels),
            self.encode_text(ids),
            self.logit_scale.exp().clamp(max=LARGEST_SCALE),
        )


def contrastive_loss(
    image: Tensor, text: Tensor, scale: Tensor | float, wrong: Tensor | None = None
) -> Tensor:
    """Each picture chooses among all captions, each caption among all pictures; the mean of both cross-entropies.

    Unit vectors (B, D), row by row a pair. ``wrong`` (N, D) are further captions, right for no picture.
    """
    target = torch.arange(image.shape[0], device=image.device)
    captions = text if wrong is None else torch.cat([text, wrong])
    to_text = scale * image @ captions.T  # (B, B + N)
    to_image = scale * text @ image.T  # (B, B)
    return (F.cross_entropy(to_text, target) + F.cross_entropy(to_image, target)) / 2
