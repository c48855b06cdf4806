"""Image files: which there are in a folder, in which order, and how one becomes RGB."""

import re
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from tmaseg.errors import VideoError
from tmaseg.video.frame import RGB

IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".dib", ".gif", ".heic", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    }
)
"""Lower-case suffixes taken for images; one that cannot be decoded here is reported, not passed over in silence."""


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names as people do: digits by their value, letters without regard to case."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts]


def read_image(path: Path) -> RGB:
    """One image file as upright RGB (H, W, 3) uint8; 16 bits are reduced to 8, transparency is dropped.

    Raises VideoError when it cannot be read.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode == "F":
                raise VideoError(f"{path} holds floating-point values; give an 8 or 16 bit image")
            if upright.mode.startswith("I"):
                grey = np.asarray(upright).astype(np.uint32)
                grey = (grey >> 8 if upright.mode != "I" or grey.max() > 255 else grey).clip(0, 255)
                return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
            return np.array(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        deep = _read_deep(path)
        if deep is None:
            raise VideoError(f"{path} is not an image that can be read; check that it opens in a viewer") from error
        return deep


def _read_deep(path: Path) -> RGB | None:
    """16 bit colour TIFFs, which Pillow does not know."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    return None if bgr is None else np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8, copy=False)
