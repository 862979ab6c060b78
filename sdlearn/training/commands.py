"""``sdlearn train``: each part by its recipe, into one model folder.

``<out>/model`` grows into a folder that `StableDiffusion.from_pretrained` opens; ``<out>/vae``, ``<out>/clip`` and
``<out>/unet`` keep the logs, the samples and the state to resume from. The model of pixels (chapter 02), the second
decoder (chapter 04) and the classifier of noisy latents (chapter 09) become folders of their own,
``<out>/cats_and_dogs``, ``<out>/scenes_detail`` and ``<out>/noisy_classifier``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdlearn.checkpoint import Parts, save_classifier, save_decoder, save_folder, save_pixel_model
from sdlearn.checkpoint.files import open_weights
from sdlearn.checkpoint.folder import NETWORKS, open_part, read_json
from sdlearn.checkpoint.parts import Part
from sdlearn.checkpoint.saving import write_json
from sdlearn.checkpoint.tensors import Place, read_tensors, write_tensors
from sdlearn.clip import CLIPVisionModel
from sdlearn.config import CLIPVisionConfig, ScheduleConfig
from sdlearn.schedule import Schedule
from sdlearn.tokenizer import Tokenizer
from sdlearn.training.clip import CLIP, TrainedCLIP, train_clip
from sdlearn.training.data import open_scenes, save_rows
from sdlearn.training.recipe import RECIPES, check_recipe, load_recipe
from sdlearn.training.unet import train_unet
from sdlearn.training.vae import reconstruction_error, train_vae

PARTS = ("vae", "clip", "oracle", "unet", "pixels", "classifier", "decoder")
FOLDERS = {
    "pixels": "cats_and_dogs",
    "classifier": "noisy_classifier",
    "decoder": "scenes_detail",
}  # beside the model folder
PREVIEW_PROMPTS = (
    "an orange cat standing on a red castle",
    "a blue dog to the left of a yellow star at night",
    "a cat",
    "a white house in the snow",
    "a green tree on the beach",
    "a purple bird on a pink mushroom",
    "a red car to the right of a blue boat",
    "a small yellow ball",
)


def train(
    part: str,
    out: Path,
    *,
    recipe: Path | None = None,
    changes: dict[str, Any] | None = None,
    resume: bool = False,
    cpu: bool = False,
) -> Path:
    """Train one part, or "all" in order; returns the model folder.

    Raises ValueError for an unknown part, a recipe that cannot be read, results in the way (use ``resume``) or a part
    that is needed first.
    """
    if part not in (*PARTS, "all"):
        raise ValueError(f"there is no part {part!r} to train; choose {', '.join(PARTS)} or all.")
    if part == "all":
        if recipe is not None or changes:
            raise ValueError(
                f"a recipe or a change belongs to one part; train {', '.join(PARTS)} one by one."
            )
        for each in PARTS:
            _check_room(each, out, resume)
        for each in PARTS:
            train(each, out, resume=resume, cpu=cpu)
        return out / "model"
    path = recipe or RECIPES / f"{part}.toml"
    used = load_recipe(path, changes)
    check_recipe(used, path, part)
    runs, model = out / part, out / "model"
    _check_room(part, out, resume)
    _keep_recipe(used, runs, resume)
    work = dict(zip(PARTS, (_vae, _clip, _oracle, _unet, _pixels, _classifier, _decoder), strict=True))
    work[part](used, runs, model, resume, cpu)
    return model


def _check_room(part: str, out: Path, resume: bool) -> None:
    """Raise ValueError when something is in the way of the results: now, not after hours of training."""
    if not _first_process():
        return
    runs, begun = out / part, (out / part).exists() and any((out / part).iterdir())
    if begun and not resume:
        raise ValueError(
            f"{runs} holds an earlier training; go on with --resume or name another --out folder."
        )
    if part in FOLDERS:
        target = out / FOLDERS[part]
        if target.is_file() or (not begun and target.exists() and any(target.iterdir())):
            raise ValueError(
                f"{target} is in the way of the trained model; move it or name another --out folder."
            )


def _keep_recipe(recipe: dict, runs: Path, resume: bool) -> None:
    """Leave the recipe beside the logs. ValueError when a run to resume was begun with another one."""
    path = runs / "recipe.json"
    begun = read_json(path) if resume and path.exists() else recipe
    for section, entries in recipe.items():
        for key, value in entries.items():
            before = begun.get(section, {}).get(key)
            if before != value:
                raise ValueError(
                    f"{runs} was trained with {section}.{key} = {before!r}, now it is {value!r}; "
                    "resume with the same recipe, or name another --out folder."
                )
    if _first_process():
        runs.mkdir(parents=True, exist_ok=True)
        write_json(path, recipe)


def _first_process() -> bool:
    """True in the one process that looks for old results and writes new ones (launchers number them by RANK)."""
    return os.environ.get("RANK", "0") == "0"


def _vae(recipe: dict, runs: Path, model: Path, resume: bool, cpu: bool) -> None:
    vae = train_vae(recipe, runs, resume=resume, cpu=cpu)
    if not _first_process():
        return
    _save_network("vae", vae, model)
    scenes = open_scenes(recipe["data"])
    unseen = torch.arange(len(scenes.pictures))[-recipe["data"]["held_back"] :]
    _note(runs, {"reconstruction_mse": reconstruction_error(vae, scenes.pictures, unseen)})


def _clip(recipe: dict, runs: Path, model: Path, resume: bool, cpu: bool) -> None:
    trained = train_clip(recipe, runs, resume=resume, cpu=cpu)
    if not _first_process():
        return
    save_clip(trained, model)


def _oracle(recipe: dict, runs: Path, model: Path, resume: bool, cpu: bool) -> None:
    from sdlearn.scenes.oracle_training import train_oracle

    if _first_process() and not (resume and (model / "oracle" / "model.safetensors").exists()):
        train_oracle(model / "oracle", **recipe["training"])


def _unet(recipe: dict, runs: Path, model: Path, resume: bool, cpu: bool) -> None:
    device = "cuda" if torch.cuda.is_available() and not cpu else "cpu"
    vae, text_encoder = load_vae(model).to(device), load_text_encoder(model).to(device)
    tokenizer = Tokenizer.from_folder(model / "tokenizer")
    schedule = ScheduleConfig(**recipe["schedule"])

    def parts(unet: nn.Module) -> Parts:
        return Parts(unet, vae, text_encoder, tokenizer, schedule)

    unet = train_unet(
        recipe, runs, vae, text_encoder, tokenizer, resume=resume, cpu=cpu, preview=_preview_pictures(parts)
    )
    if not _first_process():
        return
    whole = Parts(unet.cpu(), vae.cpu(), text_encoder.cpu(), tokenizer, schedule)
    _put(lambda new: save_folder(whole, new), runs, model)


def _put(save: Callable[[Path], Any], runs: Path, target: Path) -> None:
    """Save beside the logs, then copy into ``target``: over what an earlier run left there, if it is resumed."""
    whole = runs / "model.whole"
    shutil.rmtree(whole, ignore_errors=True)
    save(whole)
    shutil.copytree(whole, target, dirs_exist_ok=True)
    shutil.rmtree(whole)


def _pixels(recipe: dict, runs: Path, model: Path, resume: bool, cpu: bool) -> None:
    from sdlearn.training.pixels import save_dreams, train_pixels

    schedule = ScheduleConfig(**recipe["schedule"], scheduler="DDPMScheduler")
    preview = save_dreams(Schedule(schedule))
    unet = train_pixels(recipe, runs, resume=resume, cpu=cpu, preview=preview)
    if _first_process():
        target = model.with_name(FOLDERS["pixels"])
        _put(lambda new: save_pixel_model(unet.cpu(), schedule, new), runs, target)


def _classifier(recipe: dict, runs: Path, model: Path, resume: bool, cpu: bool) -> None:
    from sdlearn.training.classifier import train_classifier

    vae = load_vae(model).to("cuda" if torch.cuda.is_available() and not cpu else "cpu")
    classifier = train_classifier(recipe, runs, vae, resume=resume, cpu=cpu)
    if _first_process():
        target = model.with_name(FOLDERS["classifier"])
        _put(lambda new: save_classifier(classifier.cpu(), new), runs, target)


def _decoder(recipe: dict, runs: Path, model: Path, resume: bool, cpu: bool) -> None:
    from sdlearn.training.decoder import train_decoder

    vae = train_decoder(recipe, runs, load_vae(model), resume=resume, cpu=cpu)
    if _first_process():
        _put(lambda new: save_decoder(vae, new), runs, model.with_name(FOLDERS["decoder"]))


def _preview_pictures(parts: Callable[[nn.Module], Parts]) -> Callable[[nn.Module, Path], None]:
    """Draw the preview prompts with the averaged weights so far: the same noise each time, so that progress shows."""
    from sdlearn.image import to_tensor
    from sdlearn.pipeline import StableDiffusion

    def draw(unet: nn.Module, path: Path) -> None:
        whole = parts(unet)
        pipe = StableDiffusion(
            whole.unet, whole.vae, whole.text_encoder, whole.tokenizer, whole.schedule_config
        )
        pictures = pipe.txt2img(
            list(PREVIEW_PROMPTS), num_inference_steps=20, guidance_scale=4.0, seed=7
        ).images
        save_rows([torch.cat([to_tensor(picture) for picture in pictures])], path)

    return draw


def save_clip(trained: TrainedCLIP, model: Path) -> None:
    """The text tower and the tokenizer where the pipeline looks, the rest of CLIP in a folder of its own."""
    clip = trained.clip
    _save_network("text_encoder", clip.text_model, model)
    trained.tokenizer.save(model / "tokenizer")
    rest: dict[str, Tensor] = dict(clip.image_model.state_dict())
    rest["text_projection.weight"], rest["logit_scale"] = clip.text_projection.weight, clip.logit_scale
    (model / "clip").mkdir(parents=True, exist_ok=True)
    write_json(model / "clip" / "config.json", clip.image_model.config.to_json())
    write_tensors(rest, model / "clip" / "model.safetensors", torch.float16)


def load_clip(model: Path) -> TrainedCLIP:
    """What :func:`save_clip` wrote, in float32."""
    text_encoder, folder = load_text_encoder(model), model / "clip"
    weights = open_weights([folder / "model.safetensors"])
    config = CLIPVisionConfig.from_json(read_json(folder / "config.json"))
    table = {
        name: Place(name) for name in weights.tensors if name not in ("text_projection.weight", "logit_scale")
    }
    rest = read_tensors(folder / "model.safetensors")
    clip = CLIP(text_encoder.config, config)
    clip.text_model = text_encoder
    clip.image_model = Part(CLIPVisionModel, config, weights, table).load()
    clip.text_projection.weight = nn.Parameter(rest["text_projection.weight"].float())
    clip.logit_scale = nn.Parameter(rest["logit_scale"].float())
    return TrainedCLIP(clip.eval(), Tokenizer.from_folder(model / "tokenizer"))


def load_vae(model: Path) -> nn.Module:
    """The trained autoencoder of a model folder. ValueError when it is not trained yet."""
    return _load_network("vae", model)


def load_text_encoder(model: Path) -> nn.Module:
    """The trained text tower of a model folder. ValueError when it is not trained yet."""
    return _load_network("text_encoder", model)


def _load_network(part: str, model: Path) -> nn.Module:
    folder = model / part
    if not folder.is_dir():
        first = {"vae": "vae", "text_encoder": "clip"}[part]
        raise ValueError(f"{folder} does not exist yet; train {first} first, into the same --out folder.")
    return open_part(folder, part).load()


def _save_network(part: str, network: nn.Module, model: Path) -> None:
    files, folder = NETWORKS[part], model / part
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", network.config.to_json())
    tensors = {files.file_name(name): tensor for name, tensor in network.state_dict().items()}
    write_tensors(tensors, folder / f"{files.weights}.safetensors", torch.float16)


def _note(folder: Path, figures: dict[str, float]) -> None:
    """Keep figures beside the log, and say them."""
    write_json(folder / "figures.json", figures)
    print(", ".join(f"{name} {value:.5f}" for name, value in figures.items()))
