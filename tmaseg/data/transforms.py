"""Joint transforms: one geometry for a picture, its labels and its memory frames.

A geometry is a matrix from stored pixels to crop pixels. What is drawn at random is drawn once, as plain values;
applying it is exact and repeatable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import RGB, Labels

Matrix = NDArray[np.float64]  # (2, 3): stored pixel (x, y, 1) -> crop pixel (x, y), both counted at pixel centres

MEAN_COLOUR = (124, 116, 104)  # what the network's input normalises to (nearly) zero
_TRIES = 10  # as in the authors' code
_THUMBNAIL = 4  # a crop's class shares are counted at a quarter of its resolution


@dataclass(frozen=True)
class Motion:
    """A steady camera motion, by how much one step back in time differs from the frame after it."""

    zoom: float = 0.0
    """Logarithm of the growth; forward driving makes the past smaller: negative."""
    shift_px: tuple[float, float] = (0.0, 0.0)
    """(x, y) in crop pixels."""
    rotation_degrees: float = 0.0
    centre_px: tuple[float, float] = (0.0, 0.0)
    """The fixed point of zoom and rotation in the crop."""
    brightness: float = 0.0
    """Grey levels added."""


def place(
    stored_hw: tuple[int, int],
    shown_hw: tuple[float, float],
    crop_hw: tuple[int, int],
    *,
    scale: float,
    flip: bool,
    rng: np.random.Generator,
) -> Matrix:
    """Puts a picture at a random place in the crop.

    `stored_hw` is its size as stored, `shown_hw` the size at which its pixels are square; it is shown at `scale` times
    that. Where it is smaller than the crop it lies anywhere inside.
    """
    height, width = stored_hw
    sy, sx = scale * shown_hw[0] / height, scale * shown_hw[1] / width
    free_x, free_y = crop_hw[1] - sx * width, crop_hw[0] - sy * height
    # Whole pixels, so that scale 1 copies pixels; a random fraction would blur every picture alike.
    left, top = np.floor(free_x * rng.random() + 0.5), np.floor(free_y * rng.random() + 0.5)
    matrix = np.array([[sx, 0, sx / 2 - 0.5 + left], [0, sy, sy / 2 - 0.5 + top]])
    return mirrored(matrix, crop_hw[1]) if flip else matrix


def mirrored(matrix: Matrix, crop_width: int) -> Matrix:
    """The same, seen in a mirror."""
    return _after(np.array([[-1, 0, crop_width - 1], [0, 1, 0]], np.float64), matrix)


def place_varied(
    draw: Callable[[], Matrix],
    labels: Labels,
    crop_hw: tuple[int, int],
    *,
    most: float,
    void: int,
    shows: Sequence[int] = (),
) -> Matrix:
    """A placement from `draw` whose crop no class fills by more than `most` (0 to 1), if ten tries find one.

    Void pixels are not counted, and a crop of nothing but one class will not do; nor one without the classes `shows`,
    any of them.
    """
    matrix = draw()
    if most >= 1 and not shows:
        return matrix
    for _ in range(_TRIES - 1):
        small_hw = (max(1, crop_hw[0] // _THUMBNAIL), max(1, crop_hw[1] // _THUMBNAIL))
        counts = np.bincount(warp_labels(labels, matrix / _THUMBNAIL, small_hw, void=void).ravel(), minlength=256)
        counts[void] = 0
        varied = most >= 1 or (np.count_nonzero(counts) > 1 and counts.max() < most * counts.sum())
        if varied and (not shows or counts[list(shows)].any()):
            break
        matrix = draw()
    return matrix


def moved(matrix: Matrix, motion: Motion, age: float) -> Matrix:
    """The placement as the camera saw it `age` steps earlier: it grows with age, and age 0 changes nothing."""
    growth, angle = np.exp(motion.zoom * age), np.radians(motion.rotation_degrees * age)
    cos, sin = growth * np.cos(angle), growth * np.sin(angle)
    x, y = motion.centre_px
    turn = np.array(
        [
            [cos, sin, x - cos * x - sin * y + age * motion.shift_px[0]],
            [-sin, cos, y + sin * x - cos * y + age * motion.shift_px[1]],
        ]
    )
    return _after(turn, matrix)


def warp_picture(rgb: RGB, matrix: Matrix, crop_hw: tuple[int, int]) -> RGB:
    """(H, W, 3) uint8 -> (*crop_hw, 3) uint8; outside the picture lies the mean colour."""
    return np.asarray(_warp(rgb, matrix, crop_hw, cv2.INTER_LINEAR, MEAN_COLOUR), np.uint8)


def warp_labels(labels: Labels, matrix: Matrix, crop_hw: tuple[int, int], *, void: int) -> Labels:
    """(H, W) uint8 -> crop_hw uint8, ids as they are (nearest neighbour); outside the picture lies `void`."""
    return np.asarray(_warp(labels, matrix, crop_hw, cv2.INTER_NEAREST, (void,)), np.uint8)


def _after(then: Matrix, first: Matrix) -> Matrix:
    """One matrix that does what two do, one after the other."""
    return np.asarray(then @ np.vstack([first, [0, 0, 1]]), np.float64)


def _warp(
    picture: NDArray[np.uint8], matrix: Matrix, crop_hw: tuple[int, int], how: int, border: tuple[int, ...]
) -> NDArray[np.uint8]:
    inside = np.asarray(cv2.warpAffine(picture, matrix, crop_hw[::-1], flags=how, borderValue=border), np.uint8)
    return inside
