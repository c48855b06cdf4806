"""Layout: what stands in each block of the street, by chance but always the same."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from tmaseg.video.street.bodies import box_vehicle, car
from tmaseg.video.street.canvas import Canvas, Colour
from tmaseg.video.street.light import Light
from tmaseg.video.street.noise import muted
from tmaseg.video.street.people import TwoWheeler
from tmaseg.video.street.plan import (
    BLOCK,
    BLOCKS,
    BUILDING,
    BUS,
    FENCE,
    SIDE_STREET,
    TRAIN,
    TRUCK,
    VEGETATION,
    WALL,
    Plan,
)
from tmaseg.video.street.props import Front, Plant, Pole, Sign, Signal
from tmaseg.video.street.surfaces import Surface, facade, fence, flank, hedge, wall
from tmaseg.video.street.trees import bare_tree, bush, tree
from tmaseg.video.street.vehicles import Model, Vehicle
from tmaseg.video.street.view import Points, View

_WHITE: Colour = (222, 222, 216)
_RED: Colour = (178, 32, 34)
_BLUE: Colour = (34, 72, 152)
_BOARDS: tuple[tuple[str, float, Colour, Colour], ...] = (  # shape, size, field, rim
    ("round", 0.65, _WHITE, _RED),
    ("round", 0.65, _BLUE, _WHITE),
    ("round", 0.65, _RED, _WHITE),
    ("triangle", 0.8, _WHITE, _RED),
    ("diamond", 0.7, (226, 178, 34), _WHITE),
    ("board", 0.65, _BLUE, _WHITE),
    ("board", 1.1, (236, 226, 190), (40, 42, 44)),
    ("board", 1.4, (28, 96, 66), _WHITE),
)


class Thing(Protocol):
    """Anything that stands or moves on the street."""

    @property
    def order(self) -> float:
        """The `s` that says when it is drawn: what is nearer comes later."""

    def shadow(self) -> tuple[Points, float] | None:
        """Its outline on the ground (N, 3), and its height; None where its shadow does not matter."""

    def draw(self, view: View, canvas: Canvas, light: Light) -> None:
        """Draw it."""


@dataclass(frozen=True, eq=False)
class Kit:
    """The surfaces and models that a street is put together from."""

    fronts: dict[str, list[Surface]]
    flanks: list[Surface]
    barriers: list[list[tuple[Surface, int]]]
    """Walls, fences and hedges, with their labels."""
    trees: list[Surface]
    bushes: list[Surface]
    cars: list[Model]
    boxes: dict[int, list[Model]]

    @classmethod
    def draw(cls, rng: np.random.Generator, detail: float) -> "Kit":
        """A kit by chance, with textures for frames `detail` x 480 pixels wide."""
        fine, coarse = 24 * detail, 20 * detail
        trees = [tree(rng, coarse) for _ in range(8)] + [bare_tree(rng, coarse) for _ in range(3)]
        return cls(
            fronts={
                "terrace": [facade(rng, fine, "terrace") for _ in range(12)],
                "houses": [facade(rng, fine, "houses") for _ in range(6)],
                "works": [facade(rng, fine, "works") for _ in range(4)],
            },
            flanks=[flank(rng, fine) for _ in range(4)],
            barriers=[
                [(wall(rng, fine), WALL) for _ in range(4)],
                [(fence(rng, fine), FENCE) for _ in range(5)],
                [(hedge(rng, fine), VEGETATION) for _ in range(3)],
            ],
            trees=[trees[which] for which in rng.permutation(len(trees))[:7]],
            bushes=[bush(rng, coarse) for _ in range(5)],
            cars=[car(rng) for _ in range(18)],
            boxes={
                label: [box_vehicle(rng, label) for _ in range(count)]
                for label, count in ((TRUCK, 4), (BUS, 3), (TRAIN, 2))
            },
        )


class Layout:
    """Gives the things of any block. The blocks near the camera are kept, the others forgotten."""

    def __init__(self, plan: Plan, kit: Kit, seed: int) -> None:
        self.plan, self.kit, self.seed = plan, kit, seed
        self.block = lru_cache(maxsize=64)(self._block)

    def _block(self, side: int, index: int) -> tuple[Thing, ...]:
        """What stands in the `index`-th block on the left (side 0) or the right (side 1)."""
        return _Builder(
            self.plan, self.kit, np.random.default_rng((self.seed, 11, side, index + 1)), side, index
        ).build()


def planted(rng: np.random.Generator, surface: Surface, lat: float, s: float) -> Plant:
    """A tree or a bush in its place, of its own size and green."""
    tint = rng.uniform(0.8, 1.2)
    colours = (tint * rng.uniform(0.92, 1.1), tint, tint * rng.uniform(0.9, 1.08))
    return Plant(surface, lat, s, rng.uniform(0.8, 1.15), colours)


class _Builder:
    """Fills one block on one side."""

    def __init__(self, plan: Plan, kit: Kit, rng: np.random.Generator, side: int, index: int) -> None:
        self.plan, self.kit, self.rng = plan, kit, rng
        self.sign = (-1.0, 1.0)[side]
        self.start = index * BLOCK
        self.turn = index + index // BLOCKS + side
        self.kind = plan.kind(side, index)
        self.things: list[Thing] = []

    def build(self) -> tuple[Thing, ...]:
        end = self.start + BLOCK
        if self.kind == "junction":
            near, far = self.start + SIDE_STREET[0], self.start + SIDE_STREET[1]
            self._row("terrace", self.start, near, 0.0)
            self._row("terrace", far, end, 0.0)
            self._junction(near, far)
        elif self.kind == "terrace":
            self._row("terrace", self.start, end, 0.0)
        elif self.kind == "houses":
            self._barrier(0.4)
            self._row("houses", self.start, end, self.rng.uniform(3.0, 5.0))
            self._plants(self.kit.bushes, 5, (0.8, 3.0))
            self._plants(self.kit.trees, 1, (1.0, 3.0))
        elif self.kind == "works":
            self._barrier(0.4)
            self._row("works", self.start, end, self.rng.uniform(2.0, 5.0))
            self._plants(self.kit.bushes, 2, (0.8, 2.0))
        else:
            self._barrier(0.4)
            self._plants(self.kit.trees, 9, (1.5, 14.0))
            self._plants(self.kit.bushes, 6, (0.8, 6.0))
        self._kerbside()
        return tuple(self.things)

    def _row(self, kind: str, start: float, end: float, setback: float) -> None:
        """Houses side by side, now and then with a gap; the last one is made to fit."""
        rng = self.rng
        choices = self.kit.fronts[kind]
        lat = self.sign * (self.plan.front + setback)
        s, gap = start, True
        while s < end - 3:
            surface = choices[int(rng.integers(len(choices)))]
            stop = s + surface.width * rng.uniform(0.95, 1.1)
            if end - stop < 4:
                stop = end
            side = self.kit.flanks[int(rng.integers(len(self.kit.flanks)))]
            step = self.sign * rng.choice([0.0, 0.0, 0.25])
            self.things.append(Front(surface, lat + step, (s, stop), BUILDING, rng.uniform(0.82, 1.1), side))
            gap = rng.random() < {"terrace": 0.06, "houses": 0.6, "works": 0.5}[kind]
            s = stop + (rng.uniform(1.5, 4.0) if gap else 0.0)

    def _barrier(self, setback: float) -> None:
        """A wall, a fence or a hedge along the pavement, with a gap or two."""
        rng = self.rng
        choices = self.kit.barriers[self.turn % len(self.kit.barriers)]
        surface, label = choices[int(rng.integers(len(choices)))]
        s, tint = self.start, rng.uniform(0.85, 1.1)
        while s < self.start + BLOCK - 1:
            stop = min(s + surface.width, self.start + BLOCK)
            if rng.random() < 0.88:
                self.things.append(Front(surface, self.sign * (self.plan.front + setback), (s, stop), label, tint))
            s = stop

    def _plants(self, choices: list[Surface], count: int, setback: tuple[float, float]) -> None:
        rng = self.rng
        for _ in range(int(rng.integers(count // 2, count + 1))):
            lat = self.sign * (self.plan.front + rng.uniform(*setback))
            self._plant(choices[int(rng.integers(len(choices)))], lat, self.start + rng.uniform(0, BLOCK))

    def _plant(self, surface: Surface, lat: float, s: float) -> None:
        self.things.append(planted(self.rng, surface, lat, s))

    def _kerbside(self) -> None:
        """Lamps, signs, street trees, parked cars and bicycles."""
        plan, rng = self.plan, self.rng
        open_ = [(2.0, BLOCK - 2.0)] if self.kind != "junction" else [(1.0, 7.0), (33.0, 39.0)]
        grey = rng.uniform(70, 150)
        kerb = self.sign * (plan.road + 0.45)
        lamp = self.start + (6.0 if self.kind != "junction" else 34.5)
        arm = -self.sign * rng.choice([0.0, 1.2, 1.8])
        self.things.append(Pole(kerb, lamp, rng.uniform(5.5, 8.0), 0.16, (grey, grey, grey * 1.03), arm))
        street_trees = rng.random() < (0.75 if plan.verge else 0.35)
        kind = int(rng.integers(len(self.kit.trees)))
        for low, high in open_:
            for s in np.arange(low + 9, high, 10.0) if street_trees else ():
                lat = self.sign * (plan.road + (plan.verge / 2 if plan.verge else 0.7))
                self._plant(self.kit.trees[kind], lat, self.start + float(s) + rng.uniform(-1, 1))
            self._parked(low, high)
        for _ in range(int(rng.integers(0, 3))):
            low, high = open_[int(rng.integers(len(open_)))]
            self._sign(kerb + self.sign * 0.1, self.start + rng.uniform(low, high))
        for _ in range(int(rng.integers(0, 3)) if self.kind in ("terrace", "works") else 0):
            lat = self.sign * (plan.front - 0.5)
            paint = muted(rng, value=(30, 150), saturation=0.8)
            s = self.start + rng.uniform(4, 36)
            self.things.append(TwoWheeler(None, paint, lat, s, rng.random() < 0.5, 0.0, False))

    def _parked(self, low: float, high: float) -> None:
        plan, rng = self.plan, self.rng
        if not plan.parking:
            return
        s = low + 3
        while s < high - 2.5:
            chance = rng.random()
            lat = self.sign * (plan.road - 1.05)
            if chance < 0.62:
                model = self.kit.cars[int(rng.integers(len(self.kit.cars)))]
                backwards = self.sign < 0
                self.things.append(Vehicle(model, lat + rng.uniform(-0.1, 0.1), self.start + s, backwards))
            elif chance < 0.68:
                paint = muted(rng, value=(30, 150), saturation=0.8)
                self.things.append(TwoWheeler(None, paint, lat, self.start + s, self.sign < 0, 0.0, True))
            s += rng.uniform(5.3, 6.4)

    def _sign(self, lat: float, s: float) -> None:
        rng = self.rng
        shape, size, field, rim = _BOARDS[int(rng.integers(len(_BOARDS)))]
        up = rng.uniform(2.2, 2.7)
        away = self.sign < 0 and rng.random() < 0.75  # they face those who drive on their side
        self.things.append(Pole(lat, s, up + 0.2, 0.08, (128, 130, 132)))
        self.things.append(Sign(lat, s - 0.06, up, shape, size * rng.uniform(0.9, 1.15), field, rim, away))
        if rng.random() < 0.3:
            self.things.append(Sign(lat, s - 0.06, up - 0.6, "board", 0.5, _WHITE, (60, 60, 60), away))

    def _junction(self, near: float, far: float) -> None:
        """Traffic lights on both sides of the crossing road, some on an arm over the lane."""
        plan, rng = self.plan, self.rng
        phase = rng.uniform(0, 3)
        dark = (58.0, 62.0, 60.0)
        lat = self.sign * (plan.road + 0.5)
        for s, back in ((near - 1.2, self.sign < 0), (far + 1.2, self.sign > 0 and rng.random() < 0.5)):
            self.things.append(Pole(lat, s, 3.2, 0.14, dark))
            self.things.append(Signal(lat, s - 0.12, 2.75, phase, back))
        if self.sign > 0 and rng.random() < 0.6:
            reach = plan.road + 0.5 - plan.lane
            self.things.append(Pole(lat, far + 1.6, 5.6, 0.2, dark, -reach))
            self.things.append(Signal(lat - reach, far + 1.4, 5.3, phase, False))
