"""What diffusers, this command line and a picture's settings call otherwise: each name is answered with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

# Arguments of a drawing.
DRAWING = {
    "generator": "give seed, a whole number or a list of them",
    "mask_image": "sdlearn calls it mask",
    "callback_on_step_end": "iterate over the steps of txt2img_steps, img2img_steps or inpaint_steps",
    "output_type": "the result has images, latents and steps",
    "timesteps": "give num_inference_steps and spacing",
    "sigmas": "give num_inference_steps and spacing",
    "prompt_embeds": "give the prompt as text",
    "negative_prompt_embeds": "give the negative prompt as text",
    "scheduler": "sdlearn calls it sampler, and takes a name",
    "steps": "sdlearn calls it num_inference_steps",
    "cfg": "sdlearn calls it guidance_scale",
    "cfg_scale": "sdlearn calls it guidance_scale",
    "n": "sdlearn calls it num_images_per_prompt",
    "size": "give width and height",
    "negative": "sdlearn calls it negative_prompt",
    "rescale": "sdlearn calls it guidance_rescale",
    "strength": "it is for img2img and inpaint",
    "paste_original": "it is for inpaint",
    "record": "each step is given once; keep those that you want",
    "resumed": "the settings are of a resumed run; draw without this entry, then resume",
}
# Arguments of from_pretrained.
LOADING = {
    "torch_dtype": "sdlearn calls it dtype",
    "device_map": "sdlearn calls it device",
    "scheduler": "give each drawing a sampler, by its name",
    "use_safetensors": "both kinds of files are read, and no code in them is run",
}
# Attributes of a pipeline.
ATTRIBUTES = {
    "scheduler": "give each drawing a sampler, by its name; the noise schedule is pipe.schedule",
    "enable_model_cpu_offload": "call pipe.save_memory()",
    "enable_sequential_cpu_offload": "call pipe.save_memory()",
    "enable_attention_slicing": "call pipe.save_memory()",
    "enable_vae_slicing": "pictures are decoded a few at a time as it is",
    "enable_vae_tiling": "call pipe.save_memory()",
    "enable_xformers_memory_efficient_attention": "PyTorch's own efficient attention is used as it is",
    "load_lora_weights": "LoRA is not read",
    "load_textual_inversion": "textual inversion is not read",
    "set_progress_bar_config": "a bar is shown on a terminal only, where it takes long",
}


def refuse(given: Iterable[str], known: Mapping[str, str], there: str = "") -> None:
    """TypeError for the first of the arguments that is ``known`` from elsewhere; with ``there``, for any."""
    for name in given:
        if name in known:
            raise TypeError(f"there is no argument {name!r} here: {known[name]}.")
        if there:
            raise TypeError(f"there is no argument {name!r} here; there are {there}.")


def with_a_mask(method: Callable) -> Callable:
    """The method, but ``mask_image`` is answered before Python complains that ``mask`` is missing."""

    @wraps(method)
    def looked(self: Any, *given: Any, **asked: Any) -> Any:
        refuse(asked.keys() & {"mask_image"}, DRAWING)
        return method(self, *given, **asked)

    return looked
