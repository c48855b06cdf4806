"""Sky, and the distant hills and roofs that close the street."""

import cv2
import numpy as np

from tmaseg.video.street.canvas import Image
from tmaseg.video.street.light import Light, Weather
from tmaseg.video.street.noise import Floats, fractal
from tmaseg.video.street.plan import BUILDING, SKY, VEGETATION
from tmaseg.video.street.view import View

_NOTHING = 255  # label of backdrop pixels that show the sky


class Sky:
    """Two wide pictures with class ids, moved sideways as the camera turns."""

    def __init__(self, weather: Weather, size_hw: tuple[int, int], rng: np.random.Generator, *, town: bool) -> None:
        """`town` has roofs on the horizon, open country has hills."""
        height, width = size_hw
        self._height = round(0.56 * height) + 4
        self._sky = _draw_sky(weather, (self._height, 3 * width), width, rng)
        self._hills = _draw_backdrop(weather, (max(4, round(0.17 * height)), 3 * width), rng, town=town)

    def draw(self, view: View, pixels: Image, light: Light, seconds: float) -> None:
        """Fill everything above the horizon."""
        width = pixels.shape[1]
        bottom = min(pixels.shape[0], max(0, int(np.ceil(view.horizon + 0.25))))
        turn = view.focal * view.heading
        sky = _window(self._sky, turn + 1.2 * seconds * width / 480, width)
        if not bottom:
            return
        rows = min(bottom, self._height)
        pixels[:bottom] = sky[-1]
        pixels[bottom - rows : bottom] = sky[self._height - rows :]
        if light.sun:
            pixels[:bottom, :, :3] = cv2.convertScaleAbs(pixels[:bottom, :, :3], alpha=0.92 + 0.1 * light.sun)
        hills = _window(self._hills, turn, width)
        rows = min(bottom, len(hills))
        part = hills[len(hills) - rows :]
        seen = cv2.threshold(cv2.extractChannel(part, 3), _NOTHING - 1, 255, cv2.THRESH_BINARY_INV)[1]
        cv2.copyTo(part, seen, pixels[bottom - rows : bottom])


def _window(picture: Image, shift: float, width: int) -> Image:
    """`width` columns from a picture that goes round and round."""
    columns = (np.arange(width) + round(shift)) % picture.shape[1]
    return np.asarray(picture.take(columns, axis=1), np.uint8)


def _draw_sky(weather: Weather, shape: tuple[int, int], width: int, rng: np.random.Generator) -> Image:
    climb = np.linspace(1, 0, shape[0], dtype=np.float32)[:, None, None] ** 0.8
    blue = np.array([rng.uniform(70, 130), rng.uniform(125, 165), rng.uniform(190, 230)], np.float32)
    zenith = weather.sun * blue + (1 - weather.sun) * np.asarray(weather.haze, np.float32) * 0.86
    rgb = (1 - climb) * np.asarray(weather.haze, np.float32) + climb * zenith
    cell = (max(2, shape[0] // 4), max(2, width // 3))
    cover = fractal(rng, shape, cell, 5)
    amount = np.clip(cover * 0.6 + rng.uniform(-0.7, 0.5), 0, 1)[..., None] * (0.35 + 0.65 * climb)
    lit = 225 + 22 * fractal(rng, shape, (cell[0] / 2, cell[1] / 2), 4)[..., None]
    if not weather.sun:
        lit = lit * 0.85
    rgb = rgb * (1 - amount) + lit * amount
    picture = np.full((*shape, 4), SKY, np.uint8)
    picture[..., :3] = np.clip(rgb, 0, 250)
    return picture


def _draw_backdrop(weather: Weather, shape: tuple[int, int], rng: np.random.Generator, *, town: bool) -> Image:
    height, width = shape
    picture = np.full((height, width, 4), _NOTHING, np.uint8)
    haze = np.asarray(weather.haze, np.float32)
    (_draw_roofs if town else _draw_hills)(picture, haze, rng)
    line = fractal(rng, (1, width), (1, width / 9), 6)[0]
    tree_tops = height * np.clip(0.72 - 0.14 * line, 0.3, 0.95)
    leaves = fractal(rng, shape, (max(1, height / 6), max(1, height / 6)), 3)
    green = haze * 0.55 + np.array([58, 72, 45], np.float32) * 0.45
    trees = np.arange(height)[:, None] > tree_tops + 0.03 * height * leaves
    picture[..., :3][trees] = np.clip(green + 9 * leaves[trees][:, None], 0, 255)
    picture[..., 3][trees] = VEGETATION
    return picture


def _draw_roofs(picture: Image, haze: Floats, rng: np.random.Generator) -> None:
    """Above the trees or hidden by them."""
    height, width = picture.shape[:2]
    for _ in range(42):
        left = int(rng.integers(width))
        right = left + int(rng.uniform(0.02, 0.07) * width / 3)
        top = round(height * rng.uniform(0.35, 0.85))
        colour = haze * 0.72 + rng.uniform(30, 110) * 0.28 + rng.normal(0, 3, 3)
        picture[top:, left:right] = (*np.clip(colour, 0, 255).astype(np.uint8), BUILDING)
        for row in range(top + 2, height - 1, 4):
            picture[row : row + 2, left + 1 : right - 1 : 3, :3] = np.clip(colour - 14, 0, 255).astype(np.uint8)


def _draw_hills(picture: Image, haze: Floats, rng: np.random.Generator) -> None:
    """Ridges, the far ones first, each paler than the next; woods as seen from afar."""
    height, width = picture.shape[:2]
    for pale, middle in ((0.72, 0.4), (0.55, 0.6)):
        ridge = fractal(rng, (1, width), (1, width / 4), 5)[0]
        tops = height * np.clip(middle + 0.11 * ridge + rng.uniform(-0.05, 0.2), 0.05, 0.95)
        colour = haze * pale + np.array([62, 74, 66], np.float32) * rng.uniform(0.7, 1.2) * (1 - pale)
        under = np.arange(height)[:, None] > tops
        picture[..., :3][under] = np.clip(colour, 0, 255)
        picture[..., 3][under] = VEGETATION
