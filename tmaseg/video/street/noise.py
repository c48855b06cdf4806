"""Smooth chance: noise for textures, muted colours, and grass."""

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def fractal(rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float], octaves: int = 3) -> Floats:
    """Noise of mean 0 and deviation about 1 that repeats seamlessly; `cell` (H, W) is the size of its largest blots."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows = max(1, round(shape[0] / cell[0] * 2**octave))
        columns = max(1, round(shape[1] / cell[1] * 2**octave))
        grid = rng.standard_normal((min(rows, shape[0]), min(columns, shape[1])), np.float32)
        total += 0.6**octave * _stretch(grid, shape)
    return np.asarray(total / max(float(total.std()), 1e-6), np.float32)


def _stretch(grid: Floats, shape: tuple[int, int]) -> Floats:
    """Bilinear, with opposite edges joined."""
    rows, columns = grid.shape
    y = (np.arange(shape[0], dtype=np.float32) + 0.5) * rows / shape[0] - 0.5
    x = (np.arange(shape[1], dtype=np.float32) + 0.5) * columns / shape[1] - 0.5
    padded = np.pad(grid, 1, mode="wrap")
    map_x = np.broadcast_to(x + 1, shape).astype(np.float32)
    map_y = np.broadcast_to((y + 1)[:, None], shape).astype(np.float32)
    return np.asarray(cv2.remap(padded, map_x, map_y, cv2.INTER_LINEAR), np.float32)


def muted(
    rng: np.random.Generator, *, value: tuple[float, float] = (60, 200), saturation: float = 0.35
) -> tuple[float, float, float]:
    """A colour as things outdoors have them: any hue, more often little of it."""
    hue = rng.uniform(0, 6)
    strength = saturation * rng.uniform(0, 1) ** 1.5
    wheel = [min(1.0, max(0.0, abs((hue + turn) % 6 - 3) - 1)) for turn in (0, 4, 2)]
    bright = rng.uniform(*value)
    red, green, blue = (bright * (1 - strength + strength * part) for part in wheel)
    return (red, green, blue)


def grass(rng: np.random.Generator) -> tuple[float, float, float]:
    """The colour of open ground: green, dried to straw, or bare soil."""
    green = np.array([rng.uniform(82, 112), rng.uniform(92, 108), rng.uniform(58, 72)])
    dry = rng.uniform(135, 195) * np.array([1.0, rng.uniform(0.82, 0.9), rng.uniform(0.56, 0.7)])
    share = rng.choice([0.0, 0.5, 1.0]) * rng.uniform(0.7, 1.0)
    red, green_, blue = (float(part) for part in (1 - share) * green + share * dry)
    return (red, green_, blue)
