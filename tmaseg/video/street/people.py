"""People on foot and on two wheels: limbs between joints that swing with the distance covered."""

import math
from dataclasses import dataclass

import numpy as np

from tmaseg.video.street.canvas import Canvas, Colour
from tmaseg.video.street.light import Light
from tmaseg.video.street.noise import muted
from tmaseg.video.street.plan import BICYCLE, MOTORCYCLE, PERSON, RIDER
from tmaseg.video.street.vehicles import footprint
from tmaseg.video.street.view import NEAR, Points, View

Joint = tuple[float, float, float]

_CIRCLE = [(math.cos(2 * math.pi * turn / 12), math.sin(2 * math.pi * turn / 12)) for turn in range(13)]


@dataclass(frozen=True)
class Looks:
    """Size and clothes."""

    height: float
    girth: float
    coat: Colour
    legs: Colour
    skin: Colour
    hair: Colour

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Looks":
        """Somebody by chance."""
        tan = rng.uniform(0.4, 1.0)
        return cls(
            height=rng.uniform(1.5, 1.9) if rng.random() < 0.88 else rng.uniform(1.05, 1.4),
            girth=rng.uniform(0.9, 1.25),
            coat=muted(rng, value=(30, 190), saturation=0.75),
            legs=muted(rng, value=(28, 120), saturation=0.45),
            skin=(212 * tan, 164 * tan, 136 * tan),
            hair=(float(rng.uniform(20, 130)),) * 3 if rng.random() < 0.3 else (62 * tan, 44 * tan, 32 * tan),
        )


class _Pen:
    """Gathers the limbs of one being, then draws them; joints are (lat, up, s) in metres from where it stands."""

    def __init__(self, view: View, light: Light, at: tuple[float, float]) -> None:
        self.view, self.light = view, light
        self.origin = (at[0], 0.0, at[1])
        self.scale = view.scale(at[1])
        self.depth = view.depth(at[1])
        self.tone = light.tone((0.0, 0.3, -0.95)) * 0.7 + light.tone((0.95, 0.3, 0.0)) * 0.3
        self._joints: list[Joint] = []
        self._strokes: list[tuple[int, int, float, Colour, int]] = []

    def limb(self, joints: list[Joint], thick: float, colour: Colour, label: int, tone: float = 1.0) -> None:
        """A stroke of a width in metres."""
        lit = self.light.flat(colour, self.depth, self.tone * tone)
        self._strokes.append((len(self._joints), len(joints), thick * self.scale, lit, label))
        self._joints += joints

    def ball(self, joint: Joint, radius: float, colour: Colour, label: int) -> None:
        """A disc of a radius in metres."""
        self.limb([joint], radius, colour, label)

    def patch(self, joints: list[Joint], colour: Colour, label: int, tone: float = 1.0) -> None:
        """A filled convex shape."""
        self.limb(joints, -1.0, colour, label, tone)

    def draw(self, canvas: Canvas) -> None:
        """Draw in the order of gathering."""
        pixels = self.view.project(np.array(self._joints) + self.origin)
        for start, count, width, colour, label in self._strokes:
            part = pixels[start : start + count]
            if width < 0:
                canvas.polygon(part, colour, label)
            elif count == 1:
                canvas.disc(part[0].tolist(), width, colour, label)
            else:
                canvas.line(part, width, colour, label)


@dataclass(frozen=True)
class Walker:
    """Somebody on foot."""

    looks: Looks
    lat: float
    s: float
    heading: tuple[float, float]
    """Unit vector (lat, s) of the way."""
    stride: float
    """Phase of the legs, radians."""

    @property
    def order(self) -> float:
        """What is nearer than this is drawn later."""
        return self.s

    def shadow(self) -> tuple[Points, float]:
        """Its outline on the ground, and its height."""
        return footprint(self.lat, self.s, 0.22, 0.22), self.looks.height

    def draw(self, view: View, canvas: Canvas, light: Light) -> None:
        """The far limbs, the trunk, the near limbs, the head."""
        if view.depth(self.s) < NEAR + 0.6:
            return
        pen, looks = _Pen(view, light, (self.lat, self.s)), self.looks
        k = looks.height / 1.75
        x, z = self.heading
        swing = math.sin(self.stride)
        near = 1.0 if x > 0 else -1.0  # which side is towards the camera
        hip, shoulder = 0.88 * k + 0.02 * math.cos(2 * self.stride), 1.42 * k

        def joint(forward: float, aside: float, up: float) -> Joint:
            return (x * forward * k + z * aside * k, up, z * forward * k - x * aside * k)

        for side in (-near, near):
            way = swing * side
            if side == near:
                wide, deep = 0.19 * looks.girth, 0.11
                low, high = hip - 0.06, shoulder + 0.03
                for f, a in ((0.0, wide), (deep, 0.0)):
                    corners = [joint(-f, -a, low), joint(-f, -a, high), joint(f, a, high), joint(f, a, low)]
                    pen.patch(corners, looks.coat, PERSON)
                pen.limb([joint(0, 0, shoulder), joint(0, 0, shoulder + 0.12)], 0.09, looks.skin, PERSON)
            foot = 0.05 + 0.1 * k * max(0.0, math.cos(self.stride) * side)
            step = 0.34 * way - 0.06
            knee = joint(0.2 * way, 0.09 * side, hip - 0.42 * k)
            leg = [joint(0, 0.08 * side, hip), knee, joint(step, 0.09 * side, foot)]
            pen.limb(leg, 0.14 * k, looks.legs, PERSON, 0.94)
            top, hand = (
                joint(0, 0.2 * looks.girth * side, shoulder - 0.04),
                joint(-0.26 * way, 0.24 * side, shoulder - 0.55 * k),
            )
            pen.limb([top, hand], 0.1 * k, looks.coat, PERSON, 0.88)
            if pen.scale > 9:  # else too small to be seen
                shoe = [joint(step, 0.09 * side, foot), joint(step + 0.14, 0.09 * side, foot)]
                pen.limb(shoe, 0.08 * k, (34, 32, 32), PERSON)
                pen.ball(hand, 0.045 * k, looks.skin, PERSON)
        pen.ball(joint(0, 0, 1.62 * k), 0.115 * k, looks.skin, PERSON)
        pen.ball(joint(-0.03, 0, 1.67 * k), 0.11 * k, looks.hair, PERSON)
        pen.draw(canvas)


@dataclass(frozen=True)
class TwoWheeler:
    """A bicycle or a motorcycle, ridden or parked."""

    looks: Looks | None
    """The rider's; None where it is parked."""
    paint: Colour
    lat: float
    s: float
    oncoming: bool
    turns: float
    """Phase of the pedals, radians."""
    motor: bool

    @property
    def order(self) -> float:
        """Ridden ones pass between the camera and parked cars, so they are drawn after cars that they are beside."""
        return self.s - 4.4 if self.looks else self.s

    def shadow(self) -> tuple[Points, float]:
        """Its outline on the ground, and its height."""
        return footprint(self.lat, self.s, 0.2, 0.85), 1.6 if self.looks else 0.9

    def draw(self, view: View, canvas: Canvas, light: Light) -> None:
        """The machine, then the rider over it."""
        if view.depth(self.s) < NEAR + 1.2:
            return
        pen = _Pen(view, light, (self.lat, self.s))
        way = -1.0 if self.oncoming else 1.0
        (self._motorcycle if self.motor else self._bicycle)(pen, way)
        if self.looks is not None:
            self._rider(pen, way, self.looks)
        pen.draw(canvas)

    def _wheels(self, pen: _Pen, radius: float, base: float, thick: float, label: int) -> None:
        for s in (-base, base):
            rim = [(0.0, radius + radius * up, s + radius * along) for along, up in _CIRCLE]
            pen.limb(rim, thick, (30, 30, 32), label)

    def _bicycle(self, pen: _Pen, way: float) -> None:
        self._wheels(pen, 0.34, 0.52, 0.065, BICYCLE)
        rear, pedal, seat = (0.0, 0.34, -0.52 * way), (0.0, 0.3, -0.08 * way), (0.0, 0.9, -0.25 * way)
        head, front, bar = (0.0, 0.85, 0.36 * way), (0.0, 0.34, 0.52 * way), (0.0, 1.02, 0.32 * way)
        for path in ([rear, seat, pedal, rear], [seat, head, pedal], [bar, head, front]):
            pen.limb(path, 0.05, self.paint, BICYCLE)
        pen.limb([(-0.27, 1.02, 0.32 * way), (0.27, 1.02, 0.32 * way)], 0.045, (40, 40, 42), BICYCLE)
        pen.limb([(0.0, 0.9, -0.35 * way), (0.0, 0.9, -0.15 * way)], 0.09, (30, 30, 30), BICYCLE)

    def _motorcycle(self, pen: _Pen, way: float) -> None:
        self._wheels(pen, 0.31, 0.66, 0.13, MOTORCYCLE)
        low, high = 0.3, 0.8
        flank = [(0.0, low, -0.45), (0.0, high, -0.75), (0.0, high + 0.1, 0.3), (0.0, low, 0.45)]
        pen.patch([(x, up, s * way) for x, up, s in flank], self.paint, MOTORCYCLE, 0.9)
        pen.patch(
            [(-0.18, low, 0.0), (-0.18, high, 0.0), (0.18, high, 0.0), (0.18, low, 0.0)], self.paint, MOTORCYCLE, 0.75
        )
        pen.limb([(0.0, high + 0.04, -0.7 * way), (0.0, high + 0.02, 0.0)], 0.16, (32, 32, 34), MOTORCYCLE)
        pen.limb([(0.0, 0.35, 0.66 * way), (0.0, 1.0, 0.36 * way)], 0.1, (110, 112, 116), MOTORCYCLE)
        pen.limb([(-0.36, 1.04, 0.34 * way), (0.36, 1.04, 0.34 * way)], 0.06, (36, 36, 38), MOTORCYCLE)
        lamp = (0.0, 0.86, -0.46) if self.oncoming else (0.0, 0.74, -0.78)
        pen.ball(lamp, 0.08, (225, 225, 215) if self.oncoming else (150, 30, 28), MOTORCYCLE)

    def _rider(self, pen: _Pen, way: float, looks: Looks) -> None:
        hip, shoulder = (0.95, 1.43) if not self.motor else (0.87, 1.35)
        back, chest = -0.25 * way, 0.02 * way
        for side in (-1.0, 1.0):
            angle = self.turns + (math.pi if side > 0 else 0.0)
            foot = (side * 0.12, 0.3 + 0.17 * math.sin(angle), (-0.08 + 0.17 * math.cos(angle)) * way)
            knee = (side * 0.16, (hip + foot[1]) / 2 + 0.1, (back + foot[2]) / 2 + 0.22 * way)
            pen.limb([(side * 0.08, hip, back), knee, foot], 0.13, looks.legs, RIDER, 0.92)
            pen.limb(
                [(side * 0.19, shoulder - 0.03, chest), (side * 0.27, 1.04, 0.32 * way)], 0.09, looks.coat, RIDER, 0.88
            )
        wide = 0.19 * looks.girth
        low, high = wide * 0.85, wide
        pen.patch(
            [(-low, hip, back), (-high, shoulder, chest), (high, shoulder, chest), (low, hip, back)], looks.coat, RIDER
        )
        side_on = [
            (0.0, hip, back - 0.11),
            (0.0, shoulder, chest - 0.11),
            (0.0, shoulder, chest + 0.11),
            (0.0, hip, back + 0.11),
        ]
        pen.patch(side_on, looks.coat, RIDER)
        head = shoulder + 0.22
        pen.ball((0.0, head, chest + 0.06 * way), 0.115, looks.skin, RIDER)
        cap = self.paint if looks.height > 1.7 else looks.hair
        pen.ball((0.0, head + 0.05, chest + 0.03 * way), 0.12, cap, RIDER)
