"""Ground: a map of the road, the pavements and what lies behind them, seen in perspective."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.video.street.canvas import Image
from tmaseg.video.street.light import Light
from tmaseg.video.street.noise import Floats, fractal, grass, muted
from tmaseg.video.street.plan import BLOCK, BLOCKS, LANE, ROAD, SIDE_STREET, SIDEWALK, TERRAIN, Plan
from tmaseg.video.street.view import View

LENGTH = BLOCK * BLOCKS  # the map repeats after this many metres
HALF = 16.0  # metres from the centre line to the map's edge; beyond, the edge goes on
_YELLOW = (222.0, 164.0, 42.0)  # paint; all other lines are white
_PAD = 4  # rows repeated at both ends, so that sampling needs no wrap


class Ground:
    """The map as it would be seen from above; rows are `s`, columns `lat`."""

    def __init__(self, plan: Plan, rng: np.random.Generator, detail: float) -> None:
        self._per_metre = (12.5 * min(detail, 1.6), 25 * min(detail, 1.6))
        painter = _MapPainter(plan, rng, self._per_metre)
        self._rgb, self._labels = painter.draw()
        self._levels: dict[tuple[int, int], Image] = {}
        grain = 0.5 * fractal(rng, (512, 512), (6, 6), 3) + rng.standard_normal((512, 512), np.float32)
        self._grain = np.clip(128 + 22 * grain, 0, 255).astype(np.uint8)

    def draw(self, view: View, pixels: Image, light: Light, shade: Image) -> None:
        """Fill everything below the horizon. `shade` (H, W) uint8 says how much sun reaches the ground: 255 is all."""
        height, width = pixels.shape[:2]
        top = max(0, int(np.ceil(view.horizon + 0.25)))
        if top >= height:
            return
        rows = np.arange(top, height)
        depth = np.minimum(view.focal * view.height / (rows + 0.5 - view.horizon), 500.0)
        s = view.s + depth
        across = (np.arange(width) + 0.5 - view.u) / view.focal
        lat = (np.outer(depth, across) + (view.lat - view.bends(s))[:, None]).astype(np.float32)
        rgb = self._sample(lat, s, depth, view)
        self._roughen(rgb, lat, s, depth)
        light.haze_rows(rgb, depth)
        lit = cv2.multiply(rgb, cv2.cvtColor(shade[top:], cv2.COLOR_GRAY2RGB), scale=light.open_air / 255)
        cv2.mixChannels([lit, self._classes(lat, s)], [pixels[top:]], [0, 0, 1, 1, 2, 2, 3, 3])

    def _maps(self, lat: Floats, s: NDArray[np.float64], level: tuple[int, int]) -> tuple[Floats, Floats]:
        """Where in the map, halved (rows, columns) times, each pixel is."""
        down, right = self._per_metre[0] / 2 ** level[0], self._per_metre[1] / 2 ** level[1]
        x = (lat + HALF) * np.float32(right) - np.float32(0.5)
        y = (s % LENGTH) * down - 0.5 + _PAD
        return x, np.ascontiguousarray(np.broadcast_to(y[:, None].astype(np.float32), lat.shape))

    def _sample(self, lat: Floats, s: NDArray[np.float64], depth: NDArray[np.float64], view: View) -> Image:
        """Colours, from a map halved until a texel is about as large as a pixel, in bands of rows."""
        down = np.log2(np.maximum(1, depth**2 / (view.focal * view.height) * self._per_metre[0])).astype(int)
        right = np.log2(np.maximum(1, depth / view.focal * self._per_metre[1])).astype(int)
        code = np.minimum(down, 6) * 8 + np.minimum(right, 4)
        rgb = np.empty((*lat.shape, 3), np.uint8)
        edges = [0, *(np.flatnonzero(np.diff(code)) + 1), len(code)]
        for first, last in pairwise(edges):
            level = (int(code[first]) // 8, int(code[first]) % 8)
            x, y = self._maps(lat[first:last], s[first:last], level)
            cv2.remap(self._level(level), x, y, cv2.INTER_LINEAR, dst=rgb[first:last], borderMode=cv2.BORDER_REPLICATE)
        return rgb

    def _level(self, level: tuple[int, int]) -> Image:
        if level not in self._levels:
            rows, columns = self._rgb.shape[:2]
            small = cv2.resize(self._rgb, (columns >> level[1], rows >> level[0]), interpolation=cv2.INTER_AREA)
            self._levels[level] = np.pad(small, ((_PAD, _PAD), (0, 0), (0, 0)), mode="wrap")
        return self._levels[level]

    def _classes(self, lat: Floats, s: NDArray[np.float64]) -> Image:
        x, y = self._maps(lat, s, (0, 0))
        return np.asarray(cv2.remap(self._labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def _roughen(self, rgb: Image, lat: Floats, s: NDArray[np.float64], depth: NDArray[np.float64]) -> None:
        """Grain that the map is too coarse for, on what is near."""
        near = depth < 14
        if not near.any():
            return
        first = int(np.argmax(near))
        x = (lat[first:] * np.float32(90)) % np.float32(511)
        y = np.broadcast_to(((s[first:] * 45) % 511).astype(np.float32)[:, None], x.shape)
        grain = cv2.remap(self._grain, x, np.ascontiguousarray(y), cv2.INTER_LINEAR)
        strength = np.clip(1.2 - depth[first:] / 12, 0, 1)
        faded = ((grain.astype(np.int16) - 128) * (strength[:, None] * 64).astype(np.int16)) >> 7
        rgb[first:] = np.clip(rgb[first:] + faded[..., None], 0, 255).astype(np.uint8)


class _MapPainter:
    """Draws the map once, in metres."""

    def __init__(self, plan: Plan, rng: np.random.Generator, per_metre: tuple[float, float]) -> None:
        self.plan, self.rng = plan, rng
        self.down, self.right = per_metre
        self.shape = (round(LENGTH * self.down), round(2 * HALF * self.right))
        self.rgb = np.zeros((*self.shape, 3), np.float32)
        self.labels = np.zeros(self.shape, np.uint8)
        self.paint = np.zeros(self.shape, np.float32)
        self.yellow: list[tuple[slice, slice]] = []

    def draw(self) -> tuple[Image, Image]:
        """RGB, and class ids with their ends repeated."""
        self._asphalt()
        if self.plan.lanes:
            self._motorway()
        else:
            for side in (0, 1):
                self._roadside(side)
            self._markings()
        wear = np.clip(0.75 + 0.25 * fractal(self.rng, self.shape, (4 * self.down, 1 * self.right)), 0.15, 1)
        alpha = (self.paint * wear)[..., None]
        rgb = self.rgb * (1 - alpha) + 205 * alpha
        for part in self.yellow:
            rgb[part] += alpha[part] * (np.array(_YELLOW, np.float32) - 205)
        labels = np.pad(self.labels, ((_PAD, _PAD), (0, 0)), mode="wrap")
        return np.clip(rgb, 0, 255).astype(np.uint8), labels

    def at(self, lat: tuple[float, float], s: tuple[float, float]) -> tuple[slice, slice]:
        """The part of the map between two `lat` and two `s`."""
        x0, x1 = sorted(round((value + HALF) * self.right) for value in lat)
        y0, y1 = (round(value * self.down) for value in s)
        return slice(max(0, y0), max(0, y1)), slice(max(0, x0), max(0, x1))

    def fill(self, part: tuple[slice, slice], colour: tuple[float, float, float], rough: float, label: int) -> None:
        shape = self.labels[part].shape
        if 0 in shape:
            return
        blots = fractal(self.rng, shape, (2.5 * self.down, 1.2 * self.right), 4)
        speckle = self.rng.standard_normal(shape, np.float32)
        self.rgb[part] = np.asarray(colour, np.float32) * (1 + rough * (0.2 * blots + 0.8 * speckle))[..., None]
        self.labels[part] = label

    def _asphalt(self) -> None:
        whole = (slice(None), slice(None))
        grey = self.rng.uniform(82, 130)
        self.fill(whole, (grey * 1.01, grey, grey * self.rng.uniform(0.97, 1.05)), 0.045, ROAD)
        # wheels polish two tracks in each lane, oil drips between
        for centre in (sign * lane for lane in self.plan.centres for sign in (-1, 1)):
            for offset, factor in ((-0.8, 0.93), (0.8, 0.93), (0.0, 0.96)):
                off = (np.arange(self.shape[1]) + 0.5) / self.right - HALF - centre - offset
                self.rgb *= (1 - (1 - factor) * np.exp(-((off / 0.28) ** 2)))[None, :, None].astype(np.float32)
        road = self.plan.road
        for s, lat in self._anywhere(26):  # mended patches
            part = self.at((lat, lat + self.rng.uniform(0.5, 2)), (s, s + self.rng.uniform(0.8, 8)))
            self.rgb[part] *= self.rng.uniform(0.75, 1.15)
        for s, lat in self._anywhere(40):  # cracks
            drift = np.array([0.0, self.rng.choice([-0.3, 0.0, 0.3])])
            steps = np.cumsum(self.rng.normal(0, 0.35, (12, 2)) + drift, 0)
            line = np.stack([(lat + HALF + steps[:, 0]) * self.right, (s + steps[:, 1]) * self.down], 1)
            cv2.polylines(self.rgb, [line.astype(np.int32)], False, (grey * 0.55,) * 3, 1)
        for s, lat in self._anywhere(14):  # manholes
            lat *= 1 - 0.6 / road
            middle = (round((lat + HALF) * self.right), round(s * self.down))
            axes = (round(0.33 * self.right), max(1, round(0.33 * self.down)))
            cv2.ellipse(self.rgb, middle, axes, 0, 0, 360, (grey * self.rng.uniform(0.5, 0.9),) * 3, cv2.FILLED)

    def _anywhere(self, count: int) -> list[tuple[float, float]]:
        """Points (s, lat) on the road."""
        road = self.plan.road
        return [(self.rng.uniform(0, LENGTH - 9), self.rng.uniform(-road, road)) for _ in range(count)]

    def _motorway(self) -> None:
        """Open ground on both sides, a strip of it or asphalt in the middle, and lines between the lanes."""
        plan, rng = self.plan, self.rng
        for sign in (-1, 1):
            self.fill(self.at((sign * plan.road, sign * (HALF + 1)), (0, LENGTH)), grass(rng), 0.22, TERRAIN)
        if plan.green_median:
            self.fill(self.at((0.5 - plan.median, plan.median - 0.5), (0, LENGTH)), grass(rng), 0.22, TERRAIN)
        dash, gap = ((6.0, 12.0), (3.0, 9.0))[int(rng.integers(2))]
        lines = [plan.median + LANE * number for number in range(1, plan.lanes)]
        yellow = rng.random() < 0.5  # in the middle, as in America
        for sign in (-1, 1):
            for edge in (plan.median, plan.median + LANE * plan.lanes):
                self.mark((sign * edge - 0.08, sign * edge + 0.08), (0, LENGTH), yellow=yellow and edge == plan.median)
            for lat in lines:
                for s in np.arange(0, LENGTH - dash + 1, LENGTH / round(LENGTH / (dash + gap))):
                    self.mark((sign * lat - 0.07, sign * lat + 0.07), (s, s + dash))

    def _roadside(self, side: int) -> None:
        plan, rng = self.plan, self.rng
        sign = (-1, 1)[side]
        paving = muted(rng, value=(85, 165), saturation=0.12)
        kerb = muted(rng, value=(110, 170), saturation=0.1)
        green = (rng.uniform(82, 112), rng.uniform(92, 108), rng.uniform(58, 72))
        edge = plan.road + 0.18
        inner = edge + plan.verge
        for block in range(BLOCKS):
            kind = plan.kind(side, block)
            start, end = block * BLOCK, (block + 1) * BLOCK
            spans = [(start, end)]
            if kind == "junction":
                spans = [(start, start + SIDE_STREET[0]), (start + SIDE_STREET[1], end)]
            for span in spans:
                self.fill(self.at((sign * plan.road, sign * edge), span), kerb, 0.08, SIDEWALK)
                self._joints(self.at((sign * plan.road, sign * edge), span), 0.9, 9)
                if plan.verge:
                    self.fill(self.at((sign * edge, sign * inner), span), green, 0.22, TERRAIN)
                part = self.at((sign * inner, sign * (plan.front + 0.3)), span)
                self.fill(part, paving, 0.07, SIDEWALK)
                self._joints(part, 0.6, 0.6)
                behind = self.at((sign * (plan.front + 0.3), sign * (HALF + 1)), span)
                if kind in ("houses", "park"):
                    self.fill(behind, green, 0.22, TERRAIN)
                else:
                    self.fill(behind, paving, 0.1, SIDEWALK)
                gutter = self.at((sign * (plan.road - 0.25), sign * plan.road), span)
                self.rgb[gutter] *= 0.8

    def _joints(self, part: tuple[slice, slice], s: float, lat: float) -> None:
        """Dark lines between slabs of `s` x `lat` metres."""
        view = self.rgb[part]
        for row in np.arange(0, view.shape[0] / self.down, s):
            view[round(row * self.down) : round(row * self.down) + 1] *= 0.8
        for column in np.arange(lat, view.shape[1] / self.right, lat):
            view[:, round(column * self.right) : round(column * self.right) + 1] *= 0.8

    def mark(self, lat: tuple[float, float], s: tuple[float, float], *, yellow: bool = False) -> None:
        """Paint a rectangle, white or yellow."""
        part = self.at(lat, s)
        self.paint[part] = 1
        if yellow:
            self.yellow.append(part)

    def _markings(self) -> None:
        plan = self.plan
        start, end = SIDE_STREET
        dash, gap = ((3.0, 6.0), (2.0, 4.0), (4.0, 2.0))[int(self.rng.integers(3))]
        for s in np.arange(end + 8, LENGTH - 6, dash + gap):
            self.mark((-0.06, 0.06), (s, s + dash))
        for sign in (-1, 1):
            edge = plan.road - plan.parking
            if plan.parking:  # bays
                for s in np.arange(end + 8, LENGTH - 8, 5.5):
                    self.mark((sign * edge, sign * plan.road), (s, s + 0.12))
            style = int(self.rng.integers(3))
            if style and not plan.parking:
                self.mark((sign * (edge - 0.42), sign * (edge - 0.32)), (end + 4, LENGTH - 4))
            if style == 2 and not plan.parking:
                self.mark((sign * (edge - 0.25), sign * (edge - 0.15)), (end + 4, LENGTH - 4))
        lanes = plan.road - plan.parking
        self.mark(
            (0.2, lanes), (start - 6.2, start - 5.8)
        )  # stop lines before the crossing, and after it for the others
        self.mark((-lanes, -0.2), (end + 5.8, end + 6.2))
        for lat in np.arange(-plan.road + 0.3, plan.road - 0.3, 1.0):  # zebras
            self.mark((lat, lat + 0.5), (start - 4.5, start - 1.5))
            self.mark((lat, lat + 0.5), (end + 1.5, end + 4.5))
        for s in (LENGTH / 2, LENGTH - 16):  # arrows
            self.mark((plan.lane - 0.08, plan.lane + 0.08), (s, s + 3))
            for step in range(12):
                half = 0.45 * (1 - step / 12)
                self.mark((plan.lane - half, plan.lane + half), (s + 3 + step * 0.15, s + 3.15 + step * 0.15))
