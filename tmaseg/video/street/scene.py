"""Street: any moment of a drive, drawn with its exact labels."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.video.street.canvas import SHIFT, Canvas, Image, fixed
from tmaseg.video.street.ground import Ground
from tmaseg.video.street.layout import Kit, Layout, Thing
from tmaseg.video.street.lens import Lens
from tmaseg.video.street.light import Light, Weather
from tmaseg.video.street.motorway import MotorwayLayout, MotorwayTraffic
from tmaseg.video.street.plan import BLOCK, Place, Plan
from tmaseg.video.street.props import Signal
from tmaseg.video.street.sky import Sky
from tmaseg.video.street.traffic import Traffic
from tmaseg.video.street.vehicles import Vehicle
from tmaseg.video.street.view import FAR, Drive, View


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawn moment."""

    rgb: Image
    """(H, W, 3) uint8."""
    labels: NDArray[np.uint8]
    """(H, W) uint8: Cityscapes class ids, 0 to 18, one for every pixel."""


class Street:
    """A drive down a street, the same for the same seed and size.

    Every frame is drawn on its own: no frame needs another one. The street itself does not depend on the size.
    """

    def __init__(self, *, size_hw: tuple[int, int] = (360, 480), seed: int = 0, place: Place = "street") -> None:
        self.size_hw = size_hw
        self.seed = seed
        self.place = place
        detail = min(3.0, max(0.2, size_hw[1] / 480))
        town = place == "street"
        plan = (Plan.draw if town else Plan.motorway)(np.random.default_rng((seed, 1)))
        self._weather = Weather.draw(np.random.default_rng((seed, 2)))
        drive = np.random.default_rng((seed, 3))
        self._drive = Drive.draw(drive, plan.lane) if town else Drive.draw(drive, plan.lane, (20, 32), straight=3)
        self._mirrored = bool(np.random.default_rng((seed, 4)).random() < 0.5)  # people drive on the left
        kit = Kit.draw(np.random.default_rng((seed, 5)), detail)
        self._ground = Ground(plan, np.random.default_rng((seed, 6)), detail)
        self._sky = Sky(self._weather, size_hw, np.random.default_rng((seed, 7)), town=town)
        self._lens = Lens(size_hw, np.random.default_rng((seed, 8)))
        self._layout = Layout(plan, kit, seed) if town else MotorwayLayout(plan, kit, seed, detail)
        self._traffic = Traffic(plan, kit, seed) if town else MotorwayTraffic(plan, kit, seed)

    def render(self, seconds: float, *, noise: int = 0) -> Picture:
        """The picture at a time from the start of the drive; `noise` chooses the camera's noise."""
        view, light = self._drive.view(seconds, self.size_hw), self._weather.at(seconds)
        things = self._things(seconds, view)
        pixels = np.empty((*self.size_hw, 4), np.uint8)
        self._sky.draw(view, pixels, light, seconds)
        self._ground.draw(view, pixels, light, _shade(things, view, light))
        canvas = Canvas(pixels)
        for thing in things:
            thing.draw(view, canvas, light)
        if self._mirrored:
            pixels = np.asarray(cv2.flip(pixels, 1), np.uint8)
        clean = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.uint8)
        rgb = self._lens.take(clean, light, np.random.default_rng((self.seed, 9, noise)))
        return Picture(rgb, np.asarray(cv2.extractChannel(pixels, 3), np.uint8))

    def _things(self, seconds: float, view: View) -> list[Thing]:
        """Everything in sight, the farthest first."""
        blocks = range(math.floor(view.s / BLOCK), math.floor((view.s + FAR) / BLOCK) + 1)
        still = [thing for index in blocks for side in (0, 1) for thing in self._layout.block(side, index)]
        things: list[Thing] = [
            replace(thing, seconds=seconds) if isinstance(thing, Signal) else thing
            for thing in (*still, *self._traffic.at(seconds, view.s))
            if view.s - 16 < thing.order < view.s + FAR
        ]
        return sorted(things, key=lambda thing: -thing.order)


def _shade(things: list[Thing], view: View, light: Light) -> Image:
    """(H, W) uint8: how much light falls on the ground: 255 in the sun, less in shadows and under vehicles."""
    along, ahead = light.cast
    outlines: list[NDArray[np.float64]] = []
    values: list[int] = []
    for thing in things:
        found = thing.shadow() if thing.order < view.s + 60 else None
        if found is None:
            continue
        outline, height = found
        if light.sun > 0.02:
            reach = min(height, 14.0)
            outlines.append(np.concatenate([outline, outline + np.array([along * reach, 0, ahead * reach])]))
            values.append(light.shadow)
        if isinstance(thing, Vehicle):
            outlines.append(outline)
            values.append(round(0.5 * light.shadow))
    shade = np.full((view.height_px, view.width_px), 255, np.uint8)
    if not outlines:
        return shade
    points = np.concatenate(outlines)
    points[:, 2] = np.maximum(points[:, 2], view.s + 2.0)
    pixels = fixed(view.project(points))
    start = 0
    for outline, value in zip(outlines, values, strict=True):
        hull = cv2.convexHull(pixels[start : start + len(outline)])
        cv2.fillConvexPoly(shade, hull, value, cv2.LINE_8, SHIFT)
        start += len(outline)
    return np.asarray(cv2.GaussianBlur(shade, (5, 5), 0), np.uint8)
