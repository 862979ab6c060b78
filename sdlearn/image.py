"""Pictures: PIL images to and from tensors in -1 … 1, sizes, grids, PNG files with their settings."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from sdlearn.metadata import parameters_text

MAX_PIXELS = 2**26  # 8192 x 8192: a larger picture is taken for a mistake or for a decompression bomb
MADE_FROM = {
    "ndarray": ": PIL.Image.fromarray makes one of an array (height, width, 3) of uint8",
    "Tensor": ": sdlearn.image.to_images makes them of a tensor (n, 3, height, width) from -1 to 1",
}
GAP = 2  # white pixels between the pictures of a grid


def to_tensor(images: Image.Image | Sequence[Image.Image]) -> Tensor:
    """Pictures of one size -> (B, 3, H, W) float32 in -1 … 1 (value 0 -> -1, value 255 -> 1)."""
    images = [to_rgb(image) for image in ([images] if isinstance(images, Image.Image) else images)]
    sizes = {image.size for image in images}
    if len(sizes) != 1:
        raise ValueError(f"to_tensor needs one or more pictures of the same size, not of {len(sizes)} sizes.")
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))  # (B, H, W, 3) uint8
    return 2.0 * (pixels.permute(0, 3, 1, 2).contiguous().float() / 255.0) - 1.0  # (B, 3, H, W)


def to_images(pixels: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) about -1 … 1 -> B pictures; values outside are clamped.

    Rounds to the nearest of the 256 levels, as diffusers does (the first Stable Diffusion program cut the
    fraction off). Raises ValueError on NaN, so that a failed decoder never gives a black picture.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ValueError(f"to_images needs pixels of shape (B, 3, H, W), not {tuple(pixels.shape)}.")
    pixels = pixels.detach().float().cpu()
    if not torch.isfinite(pixels).all():
        raise ValueError("the pixels hold NaN or infinite values: decode in float32, half may overflow.")
    levels = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return [Image.fromarray(picture.numpy()) for picture in levels.permute(0, 2, 3, 1).contiguous()]


def to_rgb(image: Image.Image, behind: str = "white") -> Image.Image:
    """Any PIL image as 8-bit RGB, turned as its EXIF data say, laid on ``behind``, 16 bits cut to 8."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.float64) / 257  # 65535 / 255
        return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("pictures of floating-point numbers have no agreed range; save it as PNG.")
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, behind)
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def load_image(
    source: str | Path | Image.Image, size: tuple[int, int] | None = None, behind: str = "white"
) -> Image.Image:
    """A picture file or PIL image as RGB; with ``size`` (width, height) cut around the middle and resized.

    ``behind`` shows through what is transparent. Raises ValueError naming the file when it is missing, damaged,
    no picture, or above ``MAX_PIXELS``.
    """
    if isinstance(source, Image.Image):
        image = to_rgb(source, behind)
    elif isinstance(source, str | Path):
        image = _read(Path(source), behind)
    else:
        kind = type(source).__name__
        raise TypeError(f"a picture must be a path or a PIL image, not {kind}{MADE_FROM.get(kind, '')}.")
    return (
        image
        if size is None or image.size == tuple(size)
        else ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    )


def _read(path: Path, behind: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:  # known from the header, nothing is decoded yet
                raise ValueError(
                    f"{image.width}x{image.height} pixels are more than {MAX_PIXELS}; make it smaller."
                )
            image.load()
            return to_rgb(image, behind)
    except FileNotFoundError:
        raise ValueError(f"there is no picture file {str(path)!r}.") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, …
        raise ValueError(f"cannot read {str(path)!r} as a picture: {error}") from error


def check_size(width: int, height: int, multiple: int) -> None:
    """Raise ValueError, naming the nearest sizes, unless both sides are multiples; or above ``MAX_PIXELS``."""
    for name, value in (("width", width), ("height", height)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be a whole number of pixels, not {value!r}.")
        if value <= 0 or value % multiple:
            low = max(value // multiple, 1) * multiple
            near = f"{low}" if value < low else f"{low} or {low + multiple}"
            raise ValueError(f"{name}={value} must be a positive multiple of {multiple}: take {near}.")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width}x{height} pixels are more than {MAX_PIXELS}; ask for a smaller size.")


def grid(images: Sequence[Image.Image], columns: int | None = None) -> Image.Image:
    """Pictures of one size row by row on a white sheet, about a square if ``columns`` is not given."""
    if not images or len({image.size for image in images}) != 1:
        raise ValueError("a grid needs one or more pictures of the same size.")
    columns = math.ceil(math.sqrt(len(images))) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns={columns}: a grid needs 1 or more.")
    columns, rows = min(columns, len(images)), math.ceil(len(images) / columns)
    width, height = images[0].size
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for k, image in enumerate(images):
        sheet.paste(to_rgb(image), (k % columns * (width + GAP), k // columns * (height + GAP)))
    return sheet


def save_png(image: Image.Image, path: str | Path, settings: dict[str, Any] | None = None) -> Path:
    """Write a PNG that carries ``settings`` as text (``parameters``) and as JSON (``sdlearn``); returns path.

    ``settings`` are those of this picture, ``out.settings_of(k)``; None for a picture that has none.

    Never overwrites: raises ValueError when the file exists, does not end in .png, or cannot be written. The
    file appears whole or not at all.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"cannot save {str(path)!r}: the name must end in .png, to keep the settings.")
    info = PngInfo() if settings is None else _texts(settings)
    try:
        if path.exists():
            raise FileExistsError("it exists and is not overwritten; give another name or move it away")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            image.save(temporary, format="PNG", pnginfo=info)
            _publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:  # its text would name the temporary file
        raise ValueError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error
    return path


def _texts(settings: dict[str, Any]) -> PngInfo:
    try:
        data = json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the settings cannot be written as JSON: {error}") from error
    info = PngInfo()
    text = (
        parameters_text(settings).encode("utf-8", errors="replace").decode("utf-8")
    )  # half characters become "?"
    info.add_text("parameters", text)
    info.add_text("sdlearn", data)
    return info


def _publish(temporary: Path, path: Path) -> None:
    """Name a finished file. Unlike renaming, a hard link fails when another program took the name."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(f"{path} exists") from None
        temporary.rename(path)


def unused_path(path: str | Path) -> Path:
    """``path`` when nothing has that name, else the first free one of cat_2.png, cat_3.png, …"""
    path = Path(path)
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return free
