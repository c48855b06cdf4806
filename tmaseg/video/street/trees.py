"""Trees and bushes: leaves in lit clumps, or bare branches, as textures with their sizes."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.video.street.canvas import Texture
from tmaseg.video.street.noise import fractal
from tmaseg.video.street.surfaces import Surface


def tree(rng: np.random.Generator, per_metre: float) -> Surface:
    """A tree in leaf, 5 to 11 m high, with its trunk."""
    height, width = rng.uniform(5, 11), rng.uniform(4, 7.5)
    trunk = rng.uniform(1.6, 2.6)
    picture = _Picture(rng, width, height, per_metre)
    bark = np.array([74, 64, 54]) * rng.uniform(0.6, 1.2)
    picture.limb((width / 2, 0), (width / 2 + rng.normal(0, 0.2), height * 0.6), rng.uniform(0.22, 0.4), bark)
    for _ in range(4):
        end = (width / 2 + rng.normal(0, width / 5), rng.uniform(trunk + 0.5, height * 0.7))
        picture.limb((width / 2, trunk * 0.9), end, 0.14, bark)
    picture.leaves((width / 2, (trunk + height) / 2), (width / 2 * 0.8, (height - trunk) / 2 * 0.8), 150)
    return picture.finish()


def bush(rng: np.random.Generator, per_metre: float) -> Surface:
    """Leaves down to the ground, 1 to 3 m high."""
    height, width = rng.uniform(1.0, 3.0), rng.uniform(1.6, 3.6)
    picture = _Picture(rng, width, height, per_metre)
    picture.leaves((width / 2, height * 0.42), (width / 2 * 0.85, height * 0.45), 70)
    return picture.finish()


def bare_tree(rng: np.random.Generator, per_metre: float) -> Surface:
    """A tree in winter: branches that fork six times."""
    height = rng.uniform(7, 10)
    width = 1.15 * height
    picture = _Picture(rng, width, height, per_metre)
    bark = np.array([82, 72, 62]) * rng.uniform(0.6, 1.15)

    def grow(start: tuple[float, float], angle: float, length: float, thick: float, forks: int) -> None:
        end = (start[0] + length * math.sin(angle), start[1] + length * math.cos(angle))
        picture.limb(start, end, thick, bark * rng.uniform(0.8, 1.2))
        for turn in (-0.38, 0.4, rng.normal(0, 0.2)) if forks else ():
            grow(end, angle + turn + rng.normal(0, 0.14), length * rng.uniform(0.62, 0.82), thick * 0.62, forks - 1)

    grow((width / 2, 0), rng.normal(0, 0.05), height * 0.24, 0.3, 6)
    return picture.finish()


class _Picture:
    """A picture in the making; positions in metres, x from the left and y from the ground up."""

    def __init__(self, rng: np.random.Generator, width: float, height: float, per_metre: float) -> None:
        self.rng, self.width, self.height, self.per_metre = rng, width, height, per_metre
        self.shape = (max(6, round(height * per_metre)), max(6, round(width * per_metre)))
        green = rng.uniform(64, 100)
        self.green = green * np.array([rng.uniform(0.8, 1.08), 1.0, rng.uniform(0.5, 0.7)])
        self.rgb = np.full((*self.shape, 3), self.green * 0.6, np.float32)
        self.cover = np.zeros(self.shape, np.float32)

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        return round(x * self.per_metre * 16), round((self.height - y) * self.per_metre * 16)

    def limb(
        self, start: tuple[float, float], end: tuple[float, float], thick: float, colour: NDArray[np.float64]
    ) -> None:
        ends = (self.pixel(*start), self.pixel(*end))
        thickness = max(1, round(thick * self.per_metre))
        shade = tuple(float(part) for part in colour)
        cv2.line(self.rgb, *ends, shade, thickness, cv2.LINE_8, 4)
        # a twig thinner than a texel covers a part of it
        cv2.line(self.cover, *ends, 255.0 * min(1.0, 0.35 + thick * self.per_metre), thickness, cv2.LINE_AA, 4)

    def leaves(self, centre: tuple[float, float], radii: tuple[float, float], clumps: int) -> None:
        """Clumps in an ellipse, the upper and outer ones in the light."""
        rng = self.rng
        angle, reach = rng.uniform(0, 2 * math.pi, clumps), np.sqrt(rng.uniform(0, 1, clumps))
        x = centre[0] + radii[0] * reach * np.cos(angle)
        y = centre[1] + radii[1] * reach * np.sin(angle)
        size = rng.uniform(0.12, 0.3, clumps) * min(radii)
        order = np.argsort(rng.uniform(0, 1, clumps) + 0.6 * (y - centre[1]) / radii[1])
        for place, which in enumerate(order):
            lit = 0.55 + 0.5 * place / clumps + 0.18 * rng.standard_normal()
            colour = tuple(float(part) for part in self.green * max(0.35, lit))
            at, radius = self.pixel(x[which], y[which]), round(size[which] * self.per_metre * 16)
            cv2.circle(self.rgb, at, radius, colour, cv2.FILLED, cv2.LINE_8, 4)
            cv2.circle(self.cover, at, radius, 255.0, cv2.FILLED, cv2.LINE_8, 4)
        self._ruffle()

    def _ruffle(self) -> None:
        """Leaves: a grain of light and dark, ragged edges and holes."""
        self.rgb = np.asarray(cv2.GaussianBlur(self.rgb, (0, 0), max(0.4, 0.14 * self.per_metre)), np.float32)
        cell = max(1.0, 0.3 * self.per_metre)
        leaf = fractal(self.rng, self.shape, (cell, cell), 3)
        light = 1 + 0.24 * leaf + 0.22 * self.rng.standard_normal(self.shape, np.float32)
        self.rgb *= np.clip(light, 0.3, 1.8)[..., None]
        soft = cv2.GaussianBlur(self.cover, (0, 0), max(0.4, 0.22 * self.per_metre))
        crown = np.where((soft + 55 * leaf > 118) & (soft > 45), 255.0, 0.0)
        trunk = (self.cover > 127) & (np.arange(self.shape[0])[:, None] > 0.75 * self.shape[0])
        self.cover = np.asarray(np.where(trunk, 255.0, crown), np.float32)

    def finish(self) -> Surface:
        rgba = np.dstack([np.clip(self.rgb, 0, 255), self.cover]).astype(np.uint8)
        return Surface(Texture(rgba), self.width, self.height)
