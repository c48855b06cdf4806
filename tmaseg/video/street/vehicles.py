"""Vehicles: bodies of flat faces and round wheels, lit, and seen in perspective."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.video.street.canvas import SHIFT, Canvas, Colour, fixed
from tmaseg.video.street.light import Light
from tmaseg.video.street.view import NEAR, Points, View

_TYRE: Colour = (26, 26, 27)
_RIMS: Colour = (118, 120, 122)
_RIM = np.stack([np.cos(np.linspace(0, 2 * np.pi, 14)), np.sin(np.linspace(0, 2 * np.pi, 14))], 1)


class Body:
    """Faces of a vehicle at the origin, heading along +s, in metres.

    Faces of layer 0 are the hull; windows and lamps lie on it in layer 1.
    """

    def __init__(self, label: int, size: tuple[float, float, float]) -> None:
        self.label = label
        self.width, self.height, self.length = size
        self._corners: list[list[tuple[float, float, float]]] = []
        self._colours: list[Colour] = []
        self._layers: list[int] = []
        self._wheels: list[tuple[float, float]] = []

    def face(self, corners: list[tuple[float, float, float]], colour: Colour, layer: int = 1) -> None:
        """Add a quadrilateral, seen from where its corners run clockwise."""
        self._corners.append(corners)
        self._colours.append(colour)
        self._layers.append(layer)

    def wheel(self, s: float, radius: float) -> None:
        """Add a wheel on both sides, and what is seen of it under the bumpers."""
        self._wheels.append((s, radius))
        half = self.width / 2
        for end in (-1, 1):
            for side in (-1, 1):
                low, high = sorted((side * (half - 0.2), side * half))
                foot, middle = s + end * 0.2 * radius, s + end * 0.95 * radius
                across = [(low, 0.0, foot), (low, radius, middle), (high, radius, middle), (high, 0.0, foot)]
                self.face(across if end < 0 else across[::-1], _TYRE, 0)

    def finish(self) -> "Model":
        """The arrays that drawing needs."""
        corners = np.array(self._corners)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        rings = [
            np.column_stack(
                [
                    np.full(14, self.width / 2 + 0.01),
                    radius + size * radius * _RIM[:, 1],
                    s + size * radius * _RIM[:, 0],
                ]
            )
            for s, radius in self._wheels
            for size in (1.0, 0.6, 0.2)
        ]
        return Model(
            label=self.label,
            size=(self.width, self.height, self.length),
            corners=corners,
            normals=normals,
            colours=np.array(self._colours),
            layers=np.array(self._layers),
            rings=np.array(rings),
        )


@dataclass(frozen=True, eq=False)
class Model:
    """A vehicle's shape and colours, ready to draw: F faces, and wheels as K circles."""

    label: int
    size: tuple[float, float, float]
    """Width, height and length, metres."""
    corners: Points
    """(F, 4, 3)"""
    normals: Points
    """(F, 3)"""
    colours: Points
    """(F, 3)"""
    layers: NDArray[np.int64]
    """(F,)"""
    rings: Points
    """(K, 14, 3), on the right; tyre, rim and hub of each wheel."""


@dataclass(frozen=True, eq=False)
class Vehicle:
    """A model somewhere on the street."""

    model: Model
    lat: float
    s: float
    """Of its middle."""
    oncoming: bool

    @property
    def order(self) -> float:
        """Its near end: whoever is beside it stands on the pavement behind it."""
        return self.s - self.model.size[2] / 2

    def shadow(self) -> tuple[Points, float]:
        """Its outline on the ground, and its height."""
        width, height, length = self.model.size
        return footprint(self.lat, self.s, width / 2, length / 2), height * 0.8

    def draw(self, view: View, canvas: Canvas, light: Light) -> None:
        """Faces towards the camera, the far ones first."""
        model = self.model
        depth = view.depth(self.s)
        if depth + model.size[2] / 2 < NEAR + 0.1:
            return
        turn = np.array([-1.0, 1.0, -1.0]) if self.oncoming else np.ones(3)
        corners = model.corners * turn + (self.lat, 0, self.s)
        normals = model.normals * turn
        away = corners.mean(1) - (view.axis(self.s), view.height, view.s)
        facing = (away * normals).sum(1) < 0
        if depth > 30 * model.size[1]:
            facing &= model.layers == 0  # too small for lamps and trims
        seen = np.flatnonzero(facing)
        if not len(seen):
            return
        seen = seen[np.lexsort((-(away[seen] ** 2).sum(1), model.layers[seen]))]
        own = light.clear(depth)
        lit = model.colours[seen] * (own * light.tones(normals[seen]))[:, None] + (1 - own) * np.asarray(light.haze)
        pixels = fixed(view.project(corners[seen].reshape(-1, 3))).reshape(-1, 4, 2)
        nearest = corners[seen, :, 2].min(1) - view.s
        for which, flat, colour, near in zip(
            seen.tolist(), pixels, np.minimum(lit, 255).tolist(), nearest.tolist(), strict=True
        ):
            if near >= NEAR:
                cv2.fillConvexPoly(canvas.pixels, flat, (*colour, model.label), cv2.LINE_8, SHIFT)
                continue
            cut = _cut(corners[which], view.s + NEAR)
            if len(cut) >= 3:
                canvas.polygon(view.project(cut), (colour[0], colour[1], colour[2]), model.label)
        if depth < 60:
            self._draw_wheels(view, canvas, light)

    def _draw_wheels(self, view: View, canvas: Canvas, light: Light) -> None:
        """On the side that the camera sees."""
        side = 1.0 if view.axis(self.s) > self.lat else -1.0
        if abs(view.axis(self.s) - self.lat) < self.model.size[0] / 2:
            return
        rings = self.model.rings * (side, 1.0, -1.0 if self.oncoming else 1.0) + (self.lat, 0, self.s)
        pixels = fixed(view.project(rings.reshape(-1, 3))).reshape(-1, 14, 2)
        tone = light.tone((side, 0.0, 0.0))
        for which, (flat, ring) in enumerate(zip(pixels, rings, strict=True)):
            if ring[:, 2].min() > view.s + NEAR:
                colour = light.flat((_TYRE, _RIMS, _TYRE)[which % 3], view.depth(self.s), tone)
                cv2.fillConvexPoly(canvas.pixels, flat, (*colour, self.model.label), cv2.LINE_8, SHIFT)


def footprint(lat: float, s: float, half: float, long: float) -> Points:
    """(4, 3): a rectangle on the ground about a point."""
    return np.array(
        [[lat - half, 0, s - long], [lat + half, 0, s - long], [lat + half, 0, s + long], [lat - half, 0, s + long]]
    )


def _cut(corners: Points, s: float) -> Points:
    """The part of a polygon ahead of `s`."""
    kept = []
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        if a[2] >= s:
            kept.append(a)
        if (a[2] >= s) != (b[2] >= s):
            kept.append(a + (b - a) * ((s - a[2]) / (b[2] - a[2])))
    return np.array(kept).reshape(-1, 3)
