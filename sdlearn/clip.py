"""CLIP: a text tower and an image tower that learn to give matching pairs the same direction (Radford et al. 2021).

Stable Diffusion keeps only the text tower, frozen; the image tower is needed to train it. Parameter names are those
of transformers' ``CLIPTextModel`` and ``CLIPVisionModelWithProjection``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdlearn.attention import causal_mask
from sdlearn.config import CLIPTextConfig, CLIPVisionConfig


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x): the cheap GELU that OpenAI's CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": F.gelu}


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
    """The vector of each prompt's first end token, the one that has seen every word: (B, L, D) -> (B, D)."""
    first_end = (ids == eos_token_id).int().argmax(dim=-1)  # (B,)
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), first_end]
