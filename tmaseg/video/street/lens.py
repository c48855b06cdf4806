"""Lens: what a cheap camera does to the picture: softness, vignetting, exposure, noise."""

import cv2
import numpy as np

from tmaseg.video.street.canvas import Image
from tmaseg.video.street.light import Light

_SPARE = 48  # the noise is this much larger than the picture, and shifted by chance


class Lens:
    """Made once for a picture size."""

    def __init__(self, size_hw: tuple[int, int], rng: np.random.Generator) -> None:
        height, width = size_hw
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        falloff = 255 * (1 - rng.uniform(0.06, 0.16) * (x**2 + y**2))
        self._vignette = np.repeat(np.clip(falloff, 0, 255).astype(np.uint8)[..., None], 3, 2)
        shape = (height + _SPARE, width + _SPARE)
        strength = rng.uniform(1.5, 4.0)
        noise = rng.standard_normal((*shape, 1), np.float32) + 0.6 * rng.standard_normal((*shape, 3), np.float32)
        self._noise = np.round(strength * cv2.GaussianBlur(noise, (3, 3), 0.55)).astype(np.int16)
        self._softness = rng.uniform(0.45, 0.75)

    def take(self, rgb: Image, light: Light, rng: np.random.Generator) -> Image:
        """The picture as it is recorded; `rng` belongs to the frame."""
        height, width = rgb.shape[:2]
        exposed = np.zeros((3, 4))
        np.fill_diagonal(exposed, light.exposure)
        soft = cv2.GaussianBlur(rgb, (3, 3), self._softness)
        dark = cv2.multiply(cv2.transform(soft, exposed), self._vignette, scale=1 / 255)
        top, left = (int(value) for value in rng.integers(0, _SPARE, 2))
        noise = self._noise[top : top + height, left : left + width]
        return np.asarray(cv2.add(dark, noise, dtype=cv2.CV_8U), np.uint8)
