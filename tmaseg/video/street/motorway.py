"""Motorway: what stands beside one and between its carriageways, and who drives on it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tmaseg.video.street.canvas import Colour
from tmaseg.video.street.layout import Kit, Thing, planted
from tmaseg.video.street.people import TwoWheeler
from tmaseg.video.street.plan import BLOCK, BUS, FENCE, LANE, TERRAIN, TRUCK, VEGETATION, WALL, Plan
from tmaseg.video.street.props import Front, Pole, Sign
from tmaseg.video.street.surfaces import Surface, bank, fence, hedge, screen
from tmaseg.video.street.traffic import Traffic
from tmaseg.video.street.vehicles import Vehicle
from tmaseg.video.street.view import FAR

_WHITE: Colour = (222, 222, 216)
_BOARDS: tuple[Colour, ...] = ((28, 96, 66), (34, 72, 152))  # of signs with places on them


@dataclass(frozen=True, eq=False)
class Strip:
    """Upright surfaces along the road, one after the other."""

    surfaces: list[Surface]
    label: int
    lat: float
    lean: float = 0.0
    """As of `Front`."""

    def between(self, start: float, end: float, rng: np.random.Generator) -> list[Thing]:
        """Those of a stretch of it."""
        found: list[Thing] = []
        step = self.surfaces[0].width
        for s in np.arange(start, end - 0.1, step).tolist():
            surface = self.surfaces[int(rng.integers(len(self.surfaces)))]
            found.append(Front(surface, self.lat, (s, min(s + step, end)), self.label, lean=self.lean))
        return found


@dataclass(frozen=True, eq=False)
class Roadside:
    """One side of a motorway, the same all along, but for its trees and signs."""

    strips: list[Strip]
    """Those further from the road come first: nearer ones are drawn over them."""
    trees: int
    """At most, in a block."""
    bushes: int
    back: float
    """Metres from the edge of the road to where the trees begin."""
    lamps: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, plan: Plan, sign: float, fine: float) -> "Roadside":
        """A side by chance: a bank or level ground, a noise wall or a hedge behind it; a fence on level ground only."""
        foot = plan.road + rng.uniform(1.0, 4.0)
        rise = float(rng.choice([0.0, 1.0, 1.0])) * rng.uniform(0.6, 3.0)
        lean = rise * rng.uniform(1.0, 2.5)
        back = foot + lean + rng.uniform(0.2, 3.0)
        strips: list[Strip] = []
        choice = rng.choice(["nothing", "screen", "fence", "hedge"])
        if choice == "screen":
            high = rise + rng.uniform(2.0, 4.0)
            strips.append(Strip([screen(rng, fine, high) for _ in range(3)], WALL, sign * back))
        elif choice == "fence" and not rise:
            strips.append(Strip([fence(rng, fine) for _ in range(2)], FENCE, sign * foot))
        elif choice == "hedge":
            strips.append(Strip([hedge(rng, fine) for _ in range(3)], VEGETATION, sign * back))
        if rise:
            strips.append(Strip([bank(rng, fine, rise)], TERRAIN, sign * foot, lean))
        return cls(strips, int(rng.integers(0, 9)), int(rng.integers(0, 6)), back + 1 - plan.road, rng.random() < 0.4)


class MotorwayLayout:
    """Gives the things of any block, as `Layout` does."""

    def __init__(self, plan: Plan, kit: Kit, seed: int, detail: float) -> None:
        rng = np.random.default_rng((seed, 14))
        self.plan, self.kit, self.seed = plan, kit, seed
        self.sides = [Roadside.draw(rng, plan, sign, 24 * detail) for sign in (-1.0, 1.0)]
        low = rng.uniform(0.7, 1.1)
        barrier = Strip([screen(rng, 24 * detail, low) for _ in range(2)], WALL, -0.2)
        bushes = Strip([hedge(rng, 24 * detail) for _ in range(3)], VEGETATION, -0.2)
        self.middle = bushes if plan.green_median and rng.random() < 0.5 else barrier
        self.block = lru_cache(maxsize=64)(self._block)

    def _block(self, side: int, index: int) -> tuple[Thing, ...]:
        rng = np.random.default_rng((self.seed, 15, side, index + 1))
        sign, start, roadside = (-1.0, 1.0)[side], index * BLOCK, self.sides[side]
        things: list[Thing] = []
        for choices, count, low, high in (
            (self.kit.trees, roadside.trees, roadside.back, roadside.back + 14),
            (self.kit.bushes, roadside.bushes, roadside.back - 0.5, roadside.back + 3),
        ):
            for _ in range(count):
                surface = choices[int(rng.integers(len(choices)))]
                lat = sign * (self.plan.road + rng.uniform(low, high))
                things.append(planted(rng, surface, lat, start + rng.uniform(0, BLOCK)))
        for strip in roadside.strips:
            things += strip.between(start, start + BLOCK, rng)
        if side == 0:
            things += self.middle.between(start, start + BLOCK, rng)
        grey = rng.uniform(110, 150)
        edge = sign * (self.plan.road + 0.6)
        if roadside.lamps:
            things.append(Pole(edge, start + 8, rng.uniform(8, 11), 0.2, (grey, grey, grey), -sign * 2.0))
        if rng.random() < 0.25:
            things += self._board(edge, start + rng.uniform(10, 30), sign, rng)
        return tuple(things)

    def _board(self, lat: float, s: float, sign: float, rng: np.random.Generator) -> list[Thing]:
        """A board beside the road, or on an arm over it; those of the other carriageway show their backs."""
        field = _BOARDS[int(rng.integers(len(_BOARDS)))]
        size, grey = rng.uniform(1.4, 2.6), (128.0, 130.0, 132.0)
        reach = -sign * LANE * 1.2 if rng.random() < 0.4 else 0.0
        up = 6.0 if reach else size / 2 + 1.2
        post = Pole(lat, s, up + 0.4, 0.25, grey, reach)
        return [post, Sign(lat + reach, s - 0.2, up, "board", size, field, _WHITE, sign < 0)]


class MotorwayTraffic(Traffic):
    """Streams of vehicles in every lane; nobody walks."""

    shares = ((BUS, 0.05), (TRUCK, 0.22))

    def at(self, seconds: float, s: float) -> list[Thing]:
        """Everybody within sight of a camera at `s`."""
        found: list[Thing] = []
        for lane, lat in enumerate(self.plan.centres):
            for way in (1, -1):
                if way == 1 and lane == self.plan.own_lane:
                    continue
                speed = way * (31 - 4 * lane + 2 * self.lead_phase)
                found += self._stream(2 * lane + (way < 0), seconds, s, way * lat, speed)
        return [*found, *self._ahead(seconds, s)]

    def _stream(self, stream: int, seconds: float, s: float, lat: float, speed: float) -> list[Thing]:
        found: list[Thing] = []
        spacing, moved = 30.0, speed * seconds
        for slot in self._slots(s, moved, spacing, FAR):
            looks, paint, chance, pick = self.being(20 + stream, slot)
            where = slot * spacing + moved + 8 * (pick - 0.5)
            if chance < 0.55:
                model = self._model(chance / 0.55, pick)
                found.append(Vehicle(model, lat + 0.5 * (pick - 0.5), where, speed < 0))
            elif chance < 0.58:
                found.append(TwoWheeler(looks, paint, lat, where, speed < 0, 0.0, True))
        return found

    def _ahead(self, seconds: float, s: float) -> list[Thing]:
        """Two in the camera's lane: one now near, now far, and one that stays far ahead."""
        lead = self._lead(seconds, s)
        far = s + 95 + 20 * np.sin(0.1 * seconds + self.lead_phase)
        _, _, chance, pick = self.being(30, 0)
        return [*lead, Vehicle(self._model(chance, pick), self.plan.lane + 0.3 * (pick - 0.5), float(far), False)]
