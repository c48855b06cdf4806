"""Things that stand still: buildings, walls, trees, poles, signs and lights, each placed on the street."""

import math
from dataclasses import dataclass

import numpy as np

from tmaseg.video.street.canvas import Canvas, Colour
from tmaseg.video.street.light import Light
from tmaseg.video.street.plan import BUILDING, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION
from tmaseg.video.street.surfaces import Surface
from tmaseg.video.street.view import NEAR, Points, View

_EDGES = np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], 1)


@dataclass(frozen=True, eq=False)
class Front:
    """An upright surface along the street: a facade, a wall, a fence or a hedge."""

    surface: Surface
    lat: float
    s: tuple[float, float]
    label: int
    tint: float = 1.0
    flank: Surface | None = None
    """Of a building: its side, which is seen across a gap."""
    lean: float = 0.0
    """Metres that its top lies further from the road than its foot: a slope."""

    @property
    def order(self) -> float:
        """What is nearer than this is drawn later."""
        return self.s[1]

    def shadow(self) -> tuple[Points, float]:
        """Its outline on the ground, and its height."""
        out = math.copysign(10.0 if self.label == BUILDING else 0.2, self.lat)
        (a, b), lat = self.s, self.lat
        return np.array([[lat, 0, a], [lat, 0, b], [lat + out, 0, b], [lat + out, 0, a]]), self.surface.height

    def draw(self, view: View, canvas: Canvas, light: Light) -> None:
        """The side that faces the camera, then the front."""
        start, end = self.s
        if self.flank is not None:
            self._draw_flank(view, canvas, light, self.flank)
        # what is nearer than this lies outside the picture
        near = max(start, view.s + max(NEAR, 1.5 * abs(self.lat - view.lat)))
        if end <= near:
            return
        height = self.surface.height
        left, right = (near, end) if self.lat < 0 else (end, near)
        where = np.array([[left, height], [right, height], [right, 0], [left, 0]])
        top = self.lat + math.copysign(self.lean, self.lat)
        corners = view.project(np.column_stack([[top, top, self.lat, self.lat], where[:, 1], where[:, 0]]))
        across = corners[:, 0]
        if across[1] <= across[0] or across.max() < 0 or across.min() > view.width_px:
            return
        share = (near - start) / (end - start)
        texture = self.surface.texture
        cut = (share, 1.0) if self.lat < 0 else (0.0, 1.0 - share)
        steep = math.hypot(height, self.lean)
        normal = (-math.copysign(height / steep, self.lat), self.lean / steep, 0.0)
        tone = light.tone(normal) * self.tint
        grade = light.grade(view.depth((near + end) / 2), tone, self.label)
        canvas.surface(texture, corners, grade, cut)

    def _draw_flank(self, view: View, canvas: Canvas, light: Light, flank: Surface) -> None:
        depth = view.depth(self.s[0])
        if depth < NEAR + 1:
            return
        inner, outer = self.lat, self.lat + math.copysign(flank.width, self.lat)
        left, right = min(inner, outer), max(inner, outer)
        high, s = self.surface.height - 0.6, self.s[0]
        corners = view.project(np.array([[left, high, s], [right, high, s], [right, 0, s], [left, 0, s]]))
        grade = light.grade(depth, light.tone((0.0, 0.0, -1.0)) * self.tint, self.label)
        canvas.surface(flank.texture, corners, grade)


@dataclass(frozen=True, eq=False)
class Plant:
    """A tree or a bush: a picture that always faces the camera."""

    surface: Surface
    lat: float
    s: float
    size: float = 1.0
    tint: Colour = (1.0, 1.0, 1.0)

    @property
    def order(self) -> float:
        """What is nearer than this is drawn later."""
        return self.s

    def shadow(self) -> tuple[Points, float]:
        """The crown's outline, laid on the ground at the trunk, and its height."""
        radius = 0.4 * self.surface.width * self.size
        flat = np.stack([self.lat + radius * _EDGES[:, 0], np.zeros(12), self.s + radius * _EDGES[:, 1]], 1)
        return flat, 0.55 * self.surface.height * self.size

    def draw(self, view: View, canvas: Canvas, light: Light) -> None:
        """Draw it upright on its foot."""
        depth = view.depth(self.s)
        if depth < NEAR + 1.4:
            return
        foot = view.project(np.array([[self.lat, 0.0, self.s]]))[0]
        scale = view.scale(self.s) * self.size
        half, high = self.surface.width / 2 * scale, self.surface.height * scale
        corners = np.array([[-half, -high], [half, -high], [half, 0], [-half, 0]]) + foot
        tone = 0.5 * (light.tone((0.0, 0.8, -0.6)) + light.tone((0.0, 1.0, 0.0)))
        canvas.surface(self.surface.texture, corners, light.grade(depth, tone, VEGETATION, self.tint))


@dataclass(frozen=True)
class Pole:
    """A lamp post with its arm, or the post of a sign or light."""

    lat: float
    s: float
    height: float
    thick: float
    colour: Colour
    arm: float = 0.0
    """Metres that its arm reaches towards the road (signed like `lat`), 0 for none."""

    @property
    def order(self) -> float:
        """What is nearer than this is drawn later."""
        return self.s + 0.05

    def shadow(self) -> tuple[Points, float]:
        """Its outline on the ground, and its height."""
        half = self.thick
        a, b = self.lat, self.s
        return np.array([[a - half, 0, b], [a, 0, b + half], [a + half, 0, b], [a, 0, b - half]]), self.height

    def draw(self, view: View, canvas: Canvas, light: Light) -> None:
        """A lit and a shaded half; the arm and the lamp at its end."""
        depth = view.depth(self.s)
        if depth < NEAR + 0.6:
            return
        half, lat, s, high = self.thick / 2, self.lat, self.s, self.height
        tone = light.tone((0.3, 0.0, -0.95))
        shaft = [[lat - half, 0, s], [lat - half * 0.7, high, s], [lat + half * 0.7, high, s], [lat + half, 0, s]]
        pixels = view.project(np.array(shaft))
        canvas.polygon(pixels, light.flat(self.colour, depth, tone * 0.8), POLE)
        if pixels[3, 0] - pixels[0, 0] > 3:
            pixels[:2, 0] = (pixels[:2, 0] + pixels[3:1:-1, 0]) / 2
            canvas.polygon(pixels, light.flat(self.colour, depth, tone * 1.1), POLE)
        if self.arm:
            bent = np.array(
                [[lat, high - 0.4, s], [lat + self.arm * 0.4, high + 0.1, s], [lat + self.arm, high + 0.15, s]]
            )
            ends = view.project(bent)
            canvas.line(ends, self.thick * 0.6 * view.scale(s), light.flat(self.colour, depth, tone), POLE)
            canvas.line(
                ends[1:] * 0.35 + ends[2] * 0.65, 0.16 * view.scale(s), light.flat((96, 98, 100), depth, 1), POLE
            )


@dataclass(frozen=True)
class Sign:
    """A board on a post, facing the camera."""

    lat: float
    s: float
    up: float
    shape: str
    """round, triangle, diamond or board"""
    size: float
    field: Colour
    rim: Colour
    back: bool
    """Seen from behind: bare metal."""

    @property
    def order(self) -> float:
        """What is nearer than this is drawn later."""
        return self.s

    def shadow(self) -> None:
        """Too small to matter."""

    def draw(self, view: View, canvas: Canvas, light: Light) -> None:
        """The rim, the field, and a dark figure."""
        depth = view.depth(self.s)
        if depth < NEAR + 0.6:
            return
        outline = {
            "round": _EDGES,
            "triangle": np.array([[-1.0, -0.7], [0.0, 1.0], [1.0, -0.7]]),
            "diamond": np.array([[-1.0, 0], [0, 1.0], [1.0, 0], [0, -1.0]]),
            "board": np.array([[-1.0, -0.7], [-1.0, 0.7], [1.0, 0.7], [1.0, -0.7]]),
        }[self.shape] * (self.size / 2)
        tone = light.tone((0.0, 0.1, -0.99)) * 1.05
        metal = (128.0, 130.0, 132.0)
        figure = (self.rim[0] * 0.5, self.rim[1] * 0.5, self.rim[2] * 0.5)
        layers = [(1.0, metal if self.back else self.rim), (0.76, metal if self.back else self.field)]
        if not self.back:
            layers.append((0.3, figure))
        for share, colour in layers:
            flat = np.column_stack(
                [self.lat + share * outline[:, 0], self.up + share * outline[:, 1], np.full(len(outline), self.s)]
            )
            canvas.polygon(view.project(flat), light.flat(colour, depth, tone), TRAFFIC_SIGN)


@dataclass(frozen=True)
class Signal:
    """A traffic light's box with three lamps; which one shines changes with time."""

    lat: float
    s: float
    up: float
    phase: float
    back: bool
    seconds: float = 0.0

    @property
    def order(self) -> float:
        """What is nearer than this is drawn later."""
        return self.s

    def shadow(self) -> None:
        """Too small to matter."""

    def draw(self, view: View, canvas: Canvas, light: Light) -> None:
        """The board, the box, the lamps."""
        depth = view.depth(self.s)
        if depth < NEAR + 0.6:
            return
        tone = light.tone((0.0, 0.0, -1.0))
        for half, high, colour in ((0.22, 0.55, (30, 31, 32)), (0.15, 0.48, (44, 46, 46))):
            box = np.array([[-half, -high, 0], [-half, high, 0], [half, high, 0], [half, -high, 0]])
            pixels = view.project(box + np.array([self.lat, self.up, self.s]))
            canvas.polygon(pixels, light.flat(colour, depth, tone), TRAFFIC_LIGHT)
        if self.back:
            return
        shining = int((self.seconds / 6 + self.phase) % 3)
        lamps: tuple[Colour, ...] = ((245, 60, 45), (250, 180, 50), (80, 240, 160))
        for which, lamp in enumerate(lamps):
            at = view.project(np.array([[self.lat, self.up + 0.31 * (1 - which), self.s]]))[0]
            glow = 1.0 if which == shining else 0.22
            lit = light.flat(lamp, depth, glow)
            canvas.disc((float(at[0]), float(at[1])), 0.11 * view.scale(self.s), lit, TRAFFIC_LIGHT)
