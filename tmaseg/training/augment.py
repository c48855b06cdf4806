"""Augmentation: crops as plans, drawn at random as plain values, and how a plan becomes pixels."""

# One geometry serves a picture, its labels and its memory frames: a matrix from stored pixels to crop pixels. Pixels
# are made with OpenCV by the loader's workers: a crop of 448x288 by the preset `street`, decoding included, takes 4 ms
# of one core, where torchvision's transforms alone take 40; an H200, which takes 600 a second, is kept busy by four.

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import RGB, Labels
from tmaseg.data import ClipFrame, Sample
from tmaseg.training.datasets import TrainSet
from tmaseg.training.recipe import Augmentation, MemorySampling, Recipe

MemoryKind = Literal["self", "moved", "past"]
Matrix = NDArray[np.float64]  # (2, 3): stored pixel (x, y, 1) -> crop pixel (x, y), both counted at pixel centres

VOID = 255  # in batches, whatever a data set's own ignore index is
MEAN_COLOUR = (124, 116, 104)  # what the network's input normalises to (nearly) zero
_TRIES = 10  # as in the authors' code
_MAX_CLASS_FRACTION = 0.75  # of a crop; as there
_THUMBNAIL = 4  # classes in a crop are counted at a quarter of its resolution
_LUMA = np.array([0.299, 0.587, 0.114])
_BLUR_PX = (0.5, 2.0)
_NOISE_LEVELS = (2.0, 12.0)
_JPEG_QUALITY = (15.0, 75.0)
# Of an invented camera motion, a step back in time: standard deviations.
_ZOOM, _SHIFT, _ROTATION_DEGREES, _BRIGHTNESS = 0.05, 0.02, 1.0, 4.0

# Geometry -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Motion:
    """A steady camera motion, by how much one step back in time differs from the frame after it."""

    zoom: float = 0.0  # logarithm of the growth; forward driving makes the past smaller: negative
    shift_px: tuple[float, float] = (0.0, 0.0)  # (x, y) in crop pixels
    rotation_degrees: float = 0.0
    centre_px: tuple[float, float] = (0.0, 0.0)  # the fixed point of zoom and rotation in the crop
    brightness: float = 0.0  # grey levels added

    def apply(self, matrix: Matrix, age: float) -> Matrix:
        """The placement as the camera saw it `age` steps earlier: it grows with age, and age 0 changes nothing."""
        turn = cv2.getRotationMatrix2D(self.centre_px, self.rotation_degrees * age, float(np.exp(self.zoom * age)))
        turn[:, 2] = turn[:, 2] + age * np.array(self.shift_px)
        return np.asarray(turn @ np.vstack([matrix, [0, 0, 1]]), np.float64)


def place(
    stored_hw: tuple[int, int],
    shown_hw: tuple[float, float],
    crop_hw: tuple[int, int],
    *,
    scale: float,
    flip: bool,
    rng: np.random.Generator,
) -> Matrix:
    """Puts a picture of `stored_hw` at a random place in the crop, `scale` times as large as `shown_hw`."""
    height, width = stored_hw
    sy, sx = scale * shown_hw[0] / height, scale * shown_hw[1] / width
    free_x, free_y = crop_hw[1] - sx * width, crop_hw[0] - sy * height
    # Integer pixels, so that scale 1 copies pixels; a random fraction would blur every picture alike.
    left, top = np.floor(free_x * rng.random() + 0.5), np.floor(free_y * rng.random() + 0.5)
    matrix = np.array([[sx, 0, sx / 2 - 0.5 + left], [0, sy, sy / 2 - 0.5 + top]])
    if flip:
        matrix[0] = [-sx, 0, crop_hw[1] - 1 - matrix[0, 2]]
    return matrix


def place_varied(
    draw: Callable[[], Matrix], labels: Labels, crop_hw: tuple[int, int], *, void: int, shows: Sequence[int] = ()
) -> Matrix:
    """A placement from `draw` whose crop no class fills by more than three quarters, if ten tries find one.

    Void pixels are not counted. A crop of one class alone will not do, nor one without any of the classes `shows`.
    """
    small_hw = (max(1, crop_hw[0] // _THUMBNAIL), max(1, crop_hw[1] // _THUMBNAIL))
    matrix = draw()
    for _ in range(_TRIES - 1):
        counts = np.bincount(warp_labels(labels, matrix / _THUMBNAIL, small_hw, void=void).ravel(), minlength=256)
        counts[void] = 0
        varied = np.count_nonzero(counts) > 1 and counts.max() < _MAX_CLASS_FRACTION * counts.sum()
        if varied and (not shows or counts[list(shows)].any()):
            break
        matrix = draw()
    return matrix


def warp_picture(rgb: RGB, matrix: Matrix, crop_hw: tuple[int, int]) -> RGB:
    """(H, W, 3) uint8 -> (*crop_hw, 3) uint8; outside the picture lies the mean colour."""
    return np.asarray(
        cv2.warpAffine(rgb, matrix, crop_hw[::-1], flags=cv2.INTER_LINEAR, borderValue=MEAN_COLOUR), np.uint8
    )


def warp_labels(labels: Labels, matrix: Matrix, crop_hw: tuple[int, int], *, void: int) -> Labels:
    """(H, W) uint8 -> crop_hw uint8, ids as they are (nearest neighbour); outside the picture lies `void`."""
    return np.asarray(
        cv2.warpAffine(labels, matrix, crop_hw[::-1], flags=cv2.INTER_NEAREST, borderValue=(void,)), np.uint8
    )


# Light and colour -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photometric:
    """A change of a picture's light, colour and sharpness; the defaults change nothing."""

    brightness: float = 0.0  # grey levels added
    contrast: float = 1.0  # factor about middle grey
    gamma: float = 1.0  # exponent of the levels from 0 to 1
    saturation: float = 1.0  # factor on the distance to the grey of the same luma
    hue_degrees: float = 0.0  # rotation of the colours about the grey axis
    temperature: float = 0.0  # natural logarithm of the gain of red, and of the loss of blue
    blur_px: float = 0.0  # standard deviation of a Gaussian blur
    noise: float = 0.0  # standard deviation of pixel noise, in grey levels
    noise_seed: int = 0
    jpeg_quality: int = 0  # of a JPEG compression, 1 to 100; 0: none

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
    photometric: Photometric

    def picture(self, crop_hw: tuple[int, int]) -> RGB:
        """(*crop_hw, 3) uint8. Raises DataError when the file cannot be read."""
        return self.photometric.apply(warp_picture(self.data.cache.picture(self.frame), self.matrix, crop_hw))

    def labels(self, crop_hw: tuple[int, int]) -> Labels:
        """crop_hw uint8: the data set's class ids; VOID where none is known. Raises DataError."""
        if self.frame.mask is None:
            return np.full(crop_hw, VOID, np.uint8)
        labels = self.data.cache.labels(self.data.dataset, self.frame)
        ignore = self.data.dataset.labels.ignore_index
        return np.asarray(self.data.known[warp_labels(labels, self.matrix, crop_hw, void=ignore)], np.uint8)


# Clips ----------------------------------------------------------------------------------------------------------------


def draw_memory_kind(memory: MemorySampling, rng: np.random.Generator) -> MemoryKind:
    """What a frame's memory is: itself, copies of it under a camera motion, or the real frames before it."""
    kinds: tuple[MemoryKind, ...] = ("self", "moved", "past")
    weights = np.array([memory.self_probability, memory.moved_probability, memory.past_probability])
    return kinds[int(rng.choice(3, p=weights / weights.sum()))]


def draw_clip(
    recipe: Recipe,
    data: TrainSet,
    sample: Sample,
    past: int,
    *,
    kind: MemoryKind,
    rng: np.random.Generator,
    shows: tuple[int, ...] = (),
) -> list[CropPlan]:
    """Plans, newest first: of the labelled frame and of `past` earlier moments, in one geometry.

    The labelled frame is cut so that one of the classes `shows` is in it, if ten tries find a place for that.
    """
    # Real frames keep the placement, since the camera's own motion shows in them. Moved copies, and frames that are
    # missing and repeat another, move with their age.
    rule, memory = recipe.augmentation, recipe.memory
    matrix = _draw_placement(data, sample.frame, rule, rng, shows)
    motion, common = _draw_motion(rule.crop_hw, rng), draw_photometric(rule, rng)
    earlier = (sample.frame,) * past
    if kind == "past":
        steps = list(range(1, past + 1))
        if memory.sampling == "random":
            reach = max(memory.past_reach, past)
            steps = sorted(1 + int(step) for step in rng.choice(reach, past, replace=False))
        earlier = sample.clip.past(sample.frame, steps)
    plans: list[CropPlan] = []
    for age, frame in enumerate((sample.frame, *earlier)):
        change = common if not age or memory.same_light else draw_photometric(rule, rng)
        placement = matrix
        if any(frame.name == plan.frame.name for plan in plans):
            change = replace(change, brightness=change.brightness + age * motion.brightness)
            placement = motion.apply(matrix, age)
        change = replace(change, noise_seed=int(rng.integers(2**31)))
        plans.append(CropPlan(data, frame, placement, change))
    return plans


def _draw_placement(
    data: TrainSet, frame: ClipFrame, rule: Augmentation, rng: np.random.Generator, shows: tuple[int, ...]
) -> Matrix:
    labels = data.cache.labels(data.dataset, frame)
    stored_hw = (labels.shape[0], labels.shape[1])
    flip = bool(rng.random() < rule.flip)
    if rule.scale_distribution == "log-uniform":
        scale = float(np.exp(rng.uniform(np.log(rule.scale_min), np.log(rule.scale_max))))
    else:
        scale = float(rng.uniform(rule.scale_min, rule.scale_max))
    # Only the position is drawn again, as in the authors' code: large scales would be redrawn more often.
    shown_hw = data.shown_hw(stored_hw, rule.size)
    draw = partial(place, stored_hw, shown_hw, rule.crop_hw, scale=scale, flip=flip, rng=rng)
    return place_varied(draw, labels, rule.crop_hw, void=data.dataset.labels.ignore_index, shows=shows)


def _draw_motion(crop_hw: tuple[int, int], rng: np.random.Generator) -> Motion:
    height, width = crop_hw
    shift_x, shift_y = rng.normal(0, _SHIFT * width, 2)
    return Motion(
        zoom=float(rng.normal(0, _ZOOM)),
        shift_px=(float(shift_x), float(shift_y)),
        rotation_degrees=float(rng.normal(0, _ROTATION_DEGREES)),
        centre_px=(float(width * rng.uniform(0.3, 0.7)), float(height * rng.uniform(0.3, 0.7))),
        brightness=float(rng.normal(0, _BRIGHTNESS)),
    )
