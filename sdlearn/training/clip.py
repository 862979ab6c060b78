"""Training CLIP: pictures and captions that belong together shall point the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from sdlearn.clip import CLIP, contrastive_loss
from sdlearn.config import CLIPTextConfig, CLIPVisionConfig
from sdlearn.scenes import COLOURS, KINDS, Scene, caption, is_held_out
from sdlearn.tokenizer import Tokenizer
from sdlearn.tokenizer_training import train_bpe, vocabulary
from sdlearn.training.data import open_scenes, pick, pixels_of, send
from sdlearn.training.loop import Share, TrainingSettings, fit, step_generator


def initialise(clip: CLIP) -> None:
    """Positions as large as what they are added to; torch's defaults for the rest.

    CLIP itself starts with positions of 0.01 (Radford et al. 2021, released code). Here they drowned: neither tower
    knew left from right after 1,200 steps.
    """
    nn.init.normal_(clip.text_model.embeddings.token_embedding.weight, std=0.1)
    nn.init.normal_(clip.text_model.embeddings.position_embedding.weight, std=0.1)
    nn.init.normal_(clip.image_model.vision_model.embeddings.class_embedding, std=0.3)
    nn.init.normal_(clip.image_model.vision_model.embeddings.position_embedding.weight, std=0.3)


def contradict(scene: Scene, rng: Random) -> Scene:
    """Almost the same scene: colours or places exchanged, or one word changed. Its caption is a hard wrong answer.

    Random captions of a batch differ in everything, so a tower that only counts words wins. These teach it which
    colour belongs to which thing and who stands on whom (Yuksekgonul et al. 2023, NegCLIP). Combinations that are held
    out of training do not appear here either.
    """
    first, last = scene.things[0], scene.things[-1]
    changes = []
    if scene.relation != "alone":
        if first.names_colour and last.names_colour and first.colour != last.colour:
            swapped = (replace(first, colour=last.colour), replace(last, colour=first.colour))
            changes.append(replace(scene, things=swapped))
        if first.kind != last.kind:
            changes += [replace(scene, things=(last, first))] * (3 if scene.relation == "left_of" else 1)
        changes.append(replace(scene, relation="left_of" if scene.relation == "on" else "on"))
    which = rng.randrange(len(scene.things))
    thing = scene.things[which]
    if thing.names_colour:
        others = [replace(thing, colour=colour) for colour in COLOURS if colour != thing.colour]
    else:
        others = [replace(thing, kind=kind) for kind in KINDS if kind != thing.kind]
    for other in rng.sample(others, len(others)):
        things = tuple(other if i == which else t for i, t in enumerate(scene.things))
        if not is_held_out(replace(scene, things=things)):
            changes.append(replace(scene, things=things))
            break
    return rng.choice([change for change in changes if not is_held_out(change)])


def mostly_left(texts: Sequence[str], rng: Random) -> str:
    """One of the wordings by lot, where "right of" counts a quarter of the others.

    At even odds "a cat left of a dog" and "a cat right of a dog" cancel: neither the order of the things nor the word
    alone says who stands where, only both together (an XOR), and gradient descent finds no way in. With one of them
    more frequent, it learns that one first and the other as its opposite.
    """
    return rng.choices(texts, [0.25 if " right of " in text else 1.0 for text in texts])[0]


def caption_loss(image: Tensor, text: Tensor, wrong: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """The contrastive loss where each picture must also refuse one contradicting caption. All (B, D) unit vectors."""
    loss = contrastive_loss(image, text, scale, wrong)
    retrieved = (
        ((image @ text.T).argmax(dim=1) == torch.arange(len(image), device=image.device)).float().mean()
    )
    refused = ((image * text).sum(-1) > (image * wrong).sum(-1)).float().mean()
    return {"loss": loss, "retrieval": retrieved, "refuses_wrong": refused}


def learn_tokenizer(captions: list[tuple[str, ...]], merges: int, max_length: int) -> Tokenizer:
    """Merges from the training captions, in CLIP's format."""
    learnt = train_bpe([text for texts in captions for text in texts], merges)
    return Tokenizer(vocabulary(learnt), learnt, max_length=max_length)


@dataclass(frozen=True)
class TrainedCLIP:
    """What a CLIP training leaves: the averaged towers and the tokenizer they were trained with."""

    clip: CLIP
    tokenizer: Tokenizer


def train_clip(recipe: dict, folder: Path, *, resume: bool = False, cpu: bool = False) -> TrainedCLIP:
    """Follow ``recipes/clip.toml``."""
    settings = TrainingSettings(**recipe["training"])
    scenes = open_scenes(recipe["data"])
    tokenizer = learn_tokenizer(
        scenes.captions, recipe["tokenizer"]["merges"], recipe["tokenizer"]["max_length"]
    )
    ids_of_token = {
        "vocab_size": tokenizer.vocab_size,
        "max_position_embeddings": tokenizer.max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        clip = CLIP(CLIPTextConfig(**recipe["text"], **ids_of_token), CLIPVisionConfig(**recipe["vision"]))
        initialise(clip)
    trainable = len(scenes.pictures) - recipe["data"]["held_back"]

    def loss_of(model: nn.Module, step: int, share: Share) -> dict[str, Tensor]:
        chosen = pick(trainable, settings.batch_size, step_generator(settings.seed, step))
        pixels, right, wrong = batch(scenes, share.take(chosen), tokenizer, f"{settings.seed}/{step}")
        pixels, ids = send((pixels, torch.cat([right, wrong])), next(model.parameters()).device)
        image, text, scale = model(pixels, ids)
        text, wrong = text.chunk(2)
        if share.processes > 1:  # every process sees all pairs of the batch, as one process would
            gather = torch.distributed.nn.functional.all_gather
            image, text, wrong = (torch.cat(gather(part.contiguous())) for part in (image, text, wrong))
        return caption_loss(image, text, wrong, scale)

    average = fit(clip, loss_of, settings, folder, resume=resume, cpu=cpu)
    return TrainedCLIP(average, tokenizer)


def batch(scenes, indices: Tensor, tokenizer: Tokenizer, key: str) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (B, 3, H, W), ids of a right caption and of a contradicting one, both (B, L)."""
    right, wrong = [], []
    for index in indices.tolist():
        rng = Random(f"{key}/{index}")
        texts, other = scenes.captions[index], contradict(scenes.scene(index), rng)
        right.append(mostly_left(texts, rng))
        wrong.append(mostly_left([caption(other, rng) for _ in texts], rng))
    ids = [torch.tensor([tokenizer.encode(text) for text in texts]) for texts in (right, wrong)]
    return pixels_of(scenes.pictures, indices), *ids


@torch.no_grad()
def retrieval(trained: TrainedCLIP, scenes, indices: Tensor, size: int) -> tuple[float, float]:
    """On unseen pictures: share whose own caption is the best of ``size``, share that refuses a wrong one."""
    found = []
    for part in indices.split(size):
        pixels, right, wrong = batch(scenes, part, trained.tokenizer, "retrieval")
        image, text, scale = trained.clip(pixels, torch.cat([right, wrong]))
        losses = caption_loss(image, *text.chunk(2), scale)
        found.append((losses["retrieval"].item(), losses["refuses_wrong"].item()))
    return tuple(sum(values) / len(values) for values in zip(*found, strict=True))
