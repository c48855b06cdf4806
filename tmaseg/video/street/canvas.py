"""Canvas: a picture and its class ids, drawn by the same strokes."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[float, float, float]

SHIFT = 4  # cv2 takes whole numbers; this many bits are the fraction of a pixel
_LIMIT = 8000.0  # pixels; beyond this cv2's fixed-point numbers overflow


def fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Pixels as cv2's drawing takes them."""
    return (points.clip(-_LIMIT, _LIMIT) * (1 << SHIFT)).astype(np.int32)


class Texture:
    """An RGBA picture of a surface, at every halving of its width and height.

    The fourth channel is coverage: where it is below 128, nothing is drawn. Colours go on under what is not covered, so
    that edges do not pick up a fringe.
    """

    def __init__(self, rgba: Image) -> None:
        self._rgba = rgba
        self._levels: dict[tuple[int, int], Image] = {}

    def at(self, width: float, height: float) -> Image:
        """The level that is best drawn about `width` x `height` pixels large, with a frame of one uncovered texel."""
        full_height, full_width = self._rgba.shape[:2]
        x = max(0, int(np.log2(max(1.0, full_width / max(width, 1.0)))))
        y = max(0, int(np.log2(max(1.0, full_height / max(height, 1.0)))))
        if (x, y) not in self._levels:
            size = (max(1, full_width >> x), max(1, full_height >> y))
            small = cv2.resize(self._rgba, size, interpolation=cv2.INTER_AREA)
            framed = np.asarray(cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_REPLICATE), np.uint8)
            framed[[0, -1], :, 3] = framed[:, [0, -1], 3] = 0
            self._levels[x, y] = framed
        return self._levels[x, y]


class Canvas:
    """(H, W, 4) uint8: red, green, blue and class id. A stroke sets all four of a pixel or none: no edge is blended."""

    def __init__(self, pixels: Image) -> None:
        self.pixels = pixels

    def polygon(self, points: NDArray[np.float64], colour: Colour, label: int) -> None:
        """Fill a convex polygon, (N, 2) pixels."""
        cv2.fillConvexPoly(self.pixels, fixed(points), (*colour, label), cv2.LINE_8, SHIFT)

    def line(self, ends: NDArray[np.float64], width: float, colour: Colour, label: int) -> None:
        """Draw a stroke with round ends through (N, 2) pixels; never thinner than a pixel."""
        thickness = min(250, max(1, round(width)))
        cv2.polylines(self.pixels, [fixed(ends)], False, (*colour, label), thickness, cv2.LINE_8, SHIFT)

    def disc(self, centre: Sequence[float], radius: float, colour: Colour, label: int) -> None:
        """Fill a circle; never smaller than a pixel."""
        if max(abs(centre[0]), abs(centre[1])) < _LIMIT:
            at = (round(centre[0] * (1 << SHIFT)), round(centre[1] * (1 << SHIFT)))
            size = max(1 << (SHIFT - 1), round(radius * (1 << SHIFT)))
            cv2.circle(self.pixels, at, size, (*colour, label), cv2.FILLED, cv2.LINE_8, SHIFT)

    def surface(
        self,
        texture: Texture,
        corners: NDArray[np.float64],
        grade: NDArray[np.float64],
        cut: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """Draw a texture into the quadrilateral (4, 2) top left, top right, bottom right, bottom left, in pixels.

        `grade` is (4, 5): the matrix and bias that turn RGBA into lit RGB and the class id. `cut` is the part of the
        texture's width that is drawn.
        """
        height, width = self.pixels.shape[:2]
        low, high = corners.min(0), corners.max(0)
        left, top = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
        right, bottom = min(width, math.ceil(high[0]) + 1), min(height, math.ceil(high[1]) + 1)
        if right <= left or bottom <= top:
            return
        tall = max(corners[3, 1] - corners[0, 1], corners[2, 1] - corners[1, 1])
        rgba = texture.at((high[0] - low[0]) / (cut[1] - cut[0]), tall)
        h, w = rgba.shape[:2]
        first, last = 0.5 + cut[0] * (w - 2), 0.5 + cut[1] * (w - 2)
        texels = np.array([[first, 0.5], [last, 0.5], [last, h - 1.5], [first, h - 1.5]], np.float32)
        matrix = cv2.getPerspectiveTransform(texels, (corners - (left + 0.5, top + 0.5)).astype(np.float32))
        drawn = cv2.warpPerspective(rgba, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
        covered = cv2.threshold(cv2.extractChannel(drawn, 3), 127, 255, cv2.THRESH_BINARY)[1]
        cv2.copyTo(cv2.transform(drawn, grade), covered, self.pixels[top:bottom, left:right])
