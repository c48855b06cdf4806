"""Augmentation: crops as plans, drawn at random as plain values, and how a plan becomes pixels.

Pixels are made with OpenCV in the loader's threads: a crop of 416x320 takes 1 to 2 ms of one core, where torchvision's
transforms take 40 on a CPU; a GPU is kept busy by two to eight such threads.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import RGB
from tmaseg.data import ClipFrame
from tmaseg.data.transforms import Matrix, warp_labels, warp_picture
from tmaseg.training.datasets import TrainSet
from tmaseg.training.recipe import Augmentation

VOID = 255  # in batches, whatever a data set's own ignore index is
_LUMA = np.array([0.299, 0.587, 0.114])
_BLUR_PX = (0.5, 2.0)
_NOISE_LEVELS = (2.0, 12.0)
_JPEG_QUALITY = (15.0, 75.0)


@dataclass(frozen=True)
class Photometric:
    """A change of a picture's light, colour and sharpness; the defaults change nothing."""

    brightness: float = 0.0
    """Grey levels added."""
    contrast: float = 1.0
    """Factor about middle grey."""
    gamma: float = 1.0
    """Exponent of the levels from 0 to 1."""
    saturation: float = 1.0
    """Factor on the distance to the grey of the same luma."""
    hue_degrees: float = 0.0
    """Rotation of the colours about the grey axis."""
    temperature: float = 0.0
    """Natural logarithm of the gain of red, and of the loss of blue."""
    blur_px: float = 0.0
    """Standard deviation of a Gaussian blur."""
    noise: float = 0.0
    """Standard deviation of pixel noise, in grey levels."""
    noise_seed: int = 0
    jpeg_quality: int = 0
    """Of a JPEG compression, 1 to 100; 0: none."""

    def apply(self, rgb: RGB) -> RGB:
        """(H, W, 3) uint8 -> the same shape."""
        if (self.saturation, self.hue_degrees, self.temperature) != (1, 0, 0):
            rgb = np.asarray(cv2.transform(rgb, self._colour_matrix()), np.uint8)
        if (self.brightness, self.contrast, self.gamma) != (0, 1, 1):
            levels = np.clip((np.arange(256) - 128) * self.contrast + 128 + self.brightness, 0, 255)
            levels = 255 * (levels / 255) ** self.gamma
            rgb = np.asarray(cv2.LUT(rgb, (levels + 0.5).astype(np.uint8)), np.uint8)
        if self.blur_px:
            rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), self.blur_px), np.uint8)
        if self.noise:
            noise = np.random.default_rng(self.noise_seed).standard_normal(rgb.shape, np.float32)
            rgb = np.clip(rgb + self.noise * noise + 0.5, 0, 255).astype(np.uint8)
        if self.jpeg_quality:
            _, packed = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
            rgb = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR_RGB), np.uint8)
        return rgb

    def _colour_matrix(self) -> NDArray[np.float64]:
        """(3, 3): saturation, then hue, then temperature, of RGB columns; grey stays grey but for the temperature."""
        saturate = self.saturation * np.eye(3) + (1 - self.saturation) * np.tile(_LUMA, (3, 1))
        angle = np.radians(self.hue_degrees)
        cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
        rotate = np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) / 3
        gains = np.exp(self.temperature * np.array([1, 0, -1]))
        return np.asarray(np.diag(gains) @ rotate @ saturate, np.float64)


def draw_photometric(rule: Augmentation, rng: np.random.Generator) -> Photometric:
    """A random change as a recipe says: each part with its own probability."""

    def between(probability: float, low: float, high: float, otherwise: float) -> float:
        happens, value = rng.random() < probability, rng.uniform(low, high)
        return float(value) if happens else otherwise

    light, colour = rule.light_probability, rule.colour_probability
    return Photometric(
        brightness=between(light, -rule.brightness, rule.brightness, 0.0),
        contrast=between(light, 1 - rule.contrast, 1 + rule.contrast, 1.0),
        gamma=float(np.exp(between(light, -rule.gamma, rule.gamma, 0.0))),
        saturation=between(colour, 1 - rule.saturation, 1 + rule.saturation, 1.0),
        hue_degrees=between(colour, -rule.hue, rule.hue, 0.0),
        temperature=between(colour, -rule.temperature, rule.temperature, 0.0),
        blur_px=between(rule.blur_probability, *_BLUR_PX, 0.0),
        noise=between(rule.noise_probability, *_NOISE_LEVELS, 0.0),
        jpeg_quality=round(between(rule.jpeg_probability, *_JPEG_QUALITY, 0.0)),
    )


@dataclass(frozen=True, eq=False)
class CropPlan:
    """One crop of a frame, before its pixels are made."""

    data: TrainSet
    frame: ClipFrame
    matrix: Matrix
    """(2, 3): from the frame's stored pixels to the crop's."""
    photometric: Photometric

    def picture(self, crop_hw: tuple[int, int]) -> RGB:
        """(*crop_hw, 3) uint8. Raises DataError when the file cannot be read."""
        return self.photometric.apply(warp_picture(self.data.cache.picture(self.frame), self.matrix, crop_hw))

    def labels(self, crop_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """crop_hw uint8: the data set's class ids; VOID where none is known. Raises DataError."""
        if self.frame.mask is None:
            return np.full(crop_hw, VOID, np.uint8)
        ignore = self.data.dataset.labels.ignore_index
        labels = warp_labels(self.data.cache.labels(self.data.dataset, self.frame), self.matrix, crop_hw, void=ignore)
        return np.asarray(self.data.known[labels], np.uint8)
