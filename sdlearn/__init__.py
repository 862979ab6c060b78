"""Stable Diffusion, built from scratch to be understood.

    import sdlearn
    pipe = sdlearn.StableDiffusion.from_pretrained("scenes")
    pipe.txt2img("an orange cat standing on a red castle").images[0]

The names below are loaded when they are first used (PEP 562), so that ``import sdlearn`` is light and quiet.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "StableDiffusion": "pipeline",
    "CheckpointError": "checkpoint",
    "UNet": "unet",
    "AutoencoderKL": "vae",
    "CLIPTextModel": "clip",
    "Tokenizer": "tokenizer",
    "Schedule": "schedule",
    "Denoiser": "denoise",
    "classifier_free_guidance": "guidance",
    "Prediction": "trace",
    "Step": "trace",
    "Generation": "trace",
    "save_png": "image",
    "read_settings": "metadata",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(
            f"module 'sdlearn' has no attribute {name!r}; its public names are {', '.join(_HOME)}."
        )
    value = getattr(import_module(f"sdlearn.{_HOME[name]}"), name)
    globals()[name] = value  # the next access finds it directly
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
