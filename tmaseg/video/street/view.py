"""The camera's drive and how it sees the street.

Coordinates are metres: `lat` to the right of the road's centre line, `up` from the ground, `s` along the road. The road
bends, so `lat` and `s` follow it; in the picture, u runs right and v down, in pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

NEAR = 0.6  # metres; what is closer is cut off
FAR = 150.0  # metres; what is further is not drawn


@dataclass(frozen=True)
class Bend:
    """The centre line swings to and fro as a sum of two sines: gentle curves of some 300 m radius."""

    amplitude: tuple[float, float]
    length: tuple[float, float]
    phase: tuple[float, float]

    def position(self, s: float) -> float:
        """Sideways position of the centre line, metres."""
        return sum(a * math.sin(s / n + p) for a, n, p in zip(self.amplitude, self.length, self.phase, strict=True))

    def slope(self, s: float) -> float:
        """Heading of the centre line, radians (small)."""
        return sum(a / n * math.cos(s / n + p) for a, n, p in zip(self.amplitude, self.length, self.phase, strict=True))

    def positions(self, s: Points) -> Points:
        """`position` for an array."""
        (a, b), (m, n), (p, q) = self.amplitude, self.length, self.phase
        return a * np.sin(s / m + p) + b * np.sin(s / n + q)


class View:
    """A pinhole camera at one moment, looking along the road's tangent."""

    def __init__(
        self, size_hw: tuple[int, int], bend: Bend, *, s: float, lat: float, height: float, yaw: float, pitch: float
    ) -> None:
        self.height_px, self.width_px = size_hw
        self.focal = 0.87 * self.width_px  # 60 degrees across
        self.u = self.width_px / 2 + self.focal * yaw
        self.horizon = 0.47 * self.height_px + self.focal * pitch
        self.s, self.lat, self.height = s, lat, height
        self.heading = bend.slope(s) + yaw
        self._at = np.arange(
            s - 24, s + FAR + 60, 2.0
        )  # a bend is so gentle that lines between these are exact to 2 mm
        self._offsets = bend.positions(self._at) - bend.position(s) - bend.slope(s) * (self._at - s)

    def bends(self, s: Points) -> Points:
        """How far the centre line at `s` lies to the right of the camera's axis moved onto it, metres."""
        return np.interp(s, self._at, self._offsets)

    def project(self, points: Points) -> Points:
        """(N, 2) pixels of (N, 3) points (lat, up, s); those nearer than NEAR are treated as if at NEAR."""
        s = points[:, 2]
        scale = self.focal / np.maximum(s - self.s, NEAR)
        pixels = np.empty((len(points), 2))
        pixels[:, 0] = self.u + scale * (points[:, 0] + self.bends(s) - self.lat)
        pixels[:, 1] = self.horizon - scale * (points[:, 1] - self.height)
        return pixels

    def axis(self, s: float) -> float:
        """The `lat` that lies straight ahead of the camera at `s`."""
        return self.lat - float(np.interp(s, self._at, self._offsets))

    def depth(self, s: float) -> float:
        """Metres ahead of the camera; negative behind it."""
        return s - self.s

    def scale(self, s: float) -> float:
        """Pixels a metre at `s`."""
        return self.focal / max(s - self.s, NEAR)


@dataclass(frozen=True)
class Drive:
    """Where the camera is at any time, as closed formulas, so that every frame can be drawn on its own."""

    bend: Bend
    speed: float
    """Mean, metres a second."""
    lane: float
    """Mean `lat`."""
    phase: tuple[float, float, float, float]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, lane: float, speed: tuple[float, float] = (7, 11), straight: float = 1.0
    ) -> "Drive":
        """A drive by chance, its mean speed in a range; the road bends `straight` times as slowly as a street."""
        bend = Bend(
            amplitude=(rng.uniform(3, 7), rng.uniform(0.4, 1.2)),
            length=(straight * rng.uniform(55, 80), straight * rng.uniform(23, 31)),
            phase=(rng.uniform(0, 6.28), rng.uniform(0, 6.28)),
        )
        a, b, c, d = rng.uniform(0, 6.28, 4)
        return cls(bend, rng.uniform(*speed), lane, (a, b, c, d))

    def distance(self, seconds: float) -> float:
        """`s` of the camera; the speed swings by a third about its mean."""
        a = self.phase[0]
        return self.speed * (seconds + 0.33 / 0.4 * (math.sin(0.4 * seconds + a) - math.sin(a)))

    def view(self, seconds: float, size_hw: tuple[int, int]) -> View:
        """What the camera sees at a time: it sways in its lane, and nods on its springs."""
        _, b, c, d = self.phase
        return View(
            size_hw,
            self.bend,
            s=self.distance(seconds),
            lat=self.lane + 0.15 * math.sin(0.5 * seconds + b),
            height=1.35 + 0.012 * math.sin(8.1 * seconds + c),
            yaw=0.006 * math.sin(0.5 * seconds + b + 1.2) + 0.002 * math.sin(1.7 * seconds + d),
            pitch=0.0016 * math.sin(8.1 * seconds + c + 0.8) + 0.0025 * math.sin(1.1 * seconds + d),
        )
