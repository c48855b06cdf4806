"""Light: sun, haze and shadows at one moment, and the weather that changes them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmaseg.video.street.canvas import Colour, Image


@dataclass(frozen=True)
class Light:
    """How things are lit, and how far one sees."""

    sun: float
    """Share of the light that comes straight from the sun, 0 (overcast) to 1."""
    toward: tuple[float, float, float]
    """Unit vector to the sun (lat, up, s)."""
    haze: Colour
    """What distance turns everything into."""
    reach: float
    """Metres at which a third of a thing's own colour is left."""
    exposure: Colour
    """What the camera multiplies red, green and blue with."""

    def tone(self, normal: tuple[float, float, float]) -> float:
        """Brightness of a surface that faces `normal` (a unit vector)."""
        lit = max(0.0, sum(a * b for a, b in zip(normal, self.toward, strict=True)))
        return (1 - 0.35 * self.sun) * (0.76 + 0.24 * normal[1]) + 0.75 * self.sun * lit

    def tones(self, normals: NDArray[np.float64]) -> NDArray[np.float64]:
        """`tone` for (N, 3) unit vectors."""
        lit = np.maximum(0.0, normals @ np.asarray(self.toward))
        return np.asarray((1 - 0.35 * self.sun) * (0.76 + 0.24 * normals[:, 1]) + 0.75 * self.sun * lit)

    @property
    def open_air(self) -> float:
        """Brightness of the ground in the sun."""
        return self.tone((0, 1, 0))

    @property
    def shadow(self) -> int:
        """0 to 255: brightness of the ground in the shade, where 255 is the sun."""
        return round(255 * (1 - 0.35 * self.sun) / self.open_air)

    @property
    def cast(self) -> tuple[float, float]:
        """How far the shadow of a thing one metre high falls (lat, s), metres."""
        x, up, s = self.toward
        return -x / up, -s / up

    def clear(self, depth: float) -> float:
        """Share of its own colour that a thing keeps at this distance."""
        return math.exp(-max(depth, 0.0) / self.reach)

    def flat(self, colour: Colour, depth: float, tone: float) -> Colour:
        """A colour as it is seen from afar."""
        own = self.clear(depth)
        (r, g, b), (x, y, z) = colour, self.haze
        own_lit, rest = own * tone, 1 - own
        return (
            min(255.0, r * own_lit + x * rest),
            min(255.0, g * own_lit + y * rest),
            min(255.0, b * own_lit + z * rest),
        )

    def grade(self, depth: float, tone: float, label: int, tint: Colour = (1, 1, 1)) -> NDArray[np.float64]:
        """(4, 5): the matrix and bias that turn RGBA texels into lit RGB and the class id."""
        own = self.clear(depth)
        matrix = np.zeros((4, 5))
        for channel in range(3):
            matrix[channel, channel] = own * tone * tint[channel]
            matrix[channel, 4] = (1 - own) * self.haze[channel]
        matrix[3, 4] = label
        return matrix

    def haze_rows(self, rgb: Image, depth: NDArray[np.float64]) -> None:
        """Fade rows of pixels in place, each at its distance, the far ones first."""
        far = int(np.searchsorted(-depth, -self.reach / 40))
        own = np.exp(-depth[:far] / self.reach)
        bias = np.multiply.outer(1 - own, np.asarray(self.haze) / self.open_air)[:, None]
        rgb[:far] = np.minimum(rgb[:far] * own.astype(np.float32)[:, None, None] + bias.astype(np.float32), 255)


@dataclass(frozen=True)
class Weather:
    """What the light does in the course of a drive."""

    sun: float
    azimuth: float
    elevation: float
    haze: Colour
    reach: float
    warmth: float
    phase: tuple[float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Weather":
        """Weather by chance, from bright sun to a dull day."""
        sun = float(rng.choice([0.0, 0.35, 0.8, 1.0]))
        grey = rng.uniform(175, 225)
        a, b, c = rng.uniform(0, 6.28, 3)
        return cls(
            sun=sun,
            azimuth=rng.uniform(0, 2 * math.pi),
            elevation=rng.uniform(0.5, 1.1),
            haze=(grey * rng.uniform(0.93, 1), grey * 0.99, grey * rng.uniform(0.98, 1.06)),
            reach=rng.uniform(260, 600) if sun else rng.uniform(160, 350),
            warmth=rng.uniform(-0.06, 0.08),
            phase=(a, b, c),
        )

    def at(self, seconds: float) -> Light:
        """Clouds pass before the sun, and the camera's exposure follows and drifts."""
        a, b, c = self.phase
        clouds = 0.5 + 0.5 * math.sin(0.21 * seconds + a) * math.cos(0.083 * seconds + b)
        sun = self.sun * (0.25 + 0.75 * clouds)
        level = 1.22 + 0.09 * math.sin(0.17 * seconds + c) + 0.05 * math.sin(0.61 * seconds + a) - 0.12 * sun
        warm = self.warmth + 0.03 * math.sin(0.11 * seconds + b)
        flat = math.cos(self.elevation)
        return Light(
            sun=sun,
            toward=(flat * math.sin(self.azimuth), math.sin(self.elevation), flat * math.cos(self.azimuth)),
            haze=self.haze,
            reach=self.reach,
            exposure=(level * (1 + warm), level, level * (1 - warm)),
        )
