"""Traffic: who moves on the street at a given time, as closed formulas of time."""

import math
from functools import lru_cache

import numpy as np

from tmaseg.video.street.canvas import Colour
from tmaseg.video.street.layout import Kit, Thing
from tmaseg.video.street.noise import muted
from tmaseg.video.street.people import Looks, TwoWheeler, Walker
from tmaseg.video.street.plan import BLOCK, BLOCKS, BUS, SIDE_STREET, TRAIN, TRUCK, Plan
from tmaseg.video.street.vehicles import Model, Vehicle
from tmaseg.video.street.view import FAR

Being = tuple[Looks, Colour, float, float]  # looks, paint, two numbers from 0 to 1


class Traffic:
    """Streams of people and vehicles: each stream has slots that move along at one speed, and some slots are empty."""

    shares: tuple[tuple[int, float], ...] = ((TRAIN, 0.03), (BUS, 0.13), (TRUCK, 0.26))
    """Up to which chance a vehicle is of a class, from 0 on; the others are cars."""

    def __init__(self, plan: Plan, kit: Kit, seed: int) -> None:
        rng = np.random.default_rng((seed, 12))
        self.plan, self.kit, self.seed = plan, kit, seed
        self.oncoming = rng.uniform(7, 11)
        self.lead_phase = rng.uniform(0.1, 0.9)
        self.being = lru_cache(maxsize=512)(self._being)

    def _being(self, stream: int, slot: int) -> Being:
        rng = np.random.default_rng((self.seed, 13, stream, slot + 10**6))
        return Looks.draw(rng), muted(rng, value=(35, 190), saturation=0.85), float(rng.random()), float(rng.random())

    def at(self, seconds: float, s: float) -> list[Thing]:
        """Everybody within sight of a camera at `s`."""
        return [
            *self._oncoming(seconds, s),
            *self._lead(seconds, s),
            *self._cyclists(seconds, s),
            *self._walkers(seconds, s),
            *self._crossing(s),
        ]

    def _slots(self, s: float, moved: float, spacing: float, reach: float) -> range:
        """Slots of a stream that has moved by `moved`, from a little behind the camera to `reach` ahead."""
        return range(math.floor((s - 20 - moved) / spacing), math.ceil((s + reach - moved) / spacing) + 1)

    def _model(self, chance: float, pick: float) -> Model:
        for label, share in self.shares:
            if chance < share:
                models = self.kit.boxes[label]
                return models[int(pick * len(models))]
        return self.kit.cars[int(pick * len(self.kit.cars))]

    def _oncoming(self, seconds: float, s: float) -> list[Thing]:
        found: list[Thing] = []
        spacing, moved = 34.0, -self.oncoming * seconds
        for slot in self._slots(s, moved, spacing, FAR):
            looks, paint, chance, pick = self.being(0, slot)
            where = slot * spacing + moved + 4 * (pick - 0.5)
            if chance < 0.62:
                found.append(
                    Vehicle(self._model(chance / 0.62, pick), -self.plan.lane + 0.3 * (pick - 0.5), where, True)
                )
            elif chance < 0.7:
                found.append(TwoWheeler(looks, paint, -self.plan.lane, where, True, 0.0, True))
        return found

    def _lead(self, seconds: float, s: float) -> list[Thing]:
        """One ahead of the camera, now near, now far; out of sight it turns into another."""
        rounds = seconds / 60 + self.lead_phase
        _, _, chance, pick = self.being(1, math.floor(rounds))
        model = self._model(0.6 * chance, pick)
        near = 9 + 6 * pick + model.size[2] / 2
        gap = near + (FAR - near) * (0.5 + 0.5 * math.cos(2 * math.pi * rounds)) ** 2
        return [Vehicle(model, self.plan.lane + 0.2 * math.sin(0.4 * seconds + pick), s + gap, False)]

    def _cyclists(self, seconds: float, s: float) -> list[Thing]:
        found: list[Thing] = []
        lat = self.plan.road - self.plan.parking - 0.55
        for stream, way, speed in ((2, 1, 4.3), (3, -1, 4.6)):
            spacing, moved = 38.0, way * speed * seconds
            for slot in self._slots(s, moved, spacing, 110):
                looks, paint, chance, pick = self.being(stream, slot)
                if chance < 0.6:
                    where = slot * spacing + moved + 20 * (pick - 0.5)
                    turns = speed * seconds / 0.9 + 6.28 * pick
                    found.append(TwoWheeler(looks, paint, way * lat, where, way < 0, turns, chance < 0.08))
        return found

    def _walkers(self, seconds: float, s: float) -> list[Thing]:
        found: list[Thing] = []
        inner, outer = self.plan.road + self.plan.verge + 0.5, self.plan.front - 0.4
        for stream, side, way, speed in ((4, -1, 1, 1.35), (5, -1, -1, 1.2), (6, 1, 1, 1.25), (7, 1, -1, 1.4)):
            spacing, moved = 11.0, way * speed * seconds
            for slot in self._slots(s, moved, spacing, 80):
                looks, _, chance, pick = self.being(stream, slot)
                if chance < 0.5:
                    where = slot * spacing + moved + 9 * (pick - 0.5)
                    lat = side * (inner + (outer - inner) * (chance * 2))
                    stride = speed * seconds * 4.4 + 6.28 * pick
                    found.append(Walker(looks, lat, where, (0.0, float(way)), stride))
        return found

    def _crossing(self, s: float) -> list[Thing]:
        """People who cross the road on the zebra while the camera is still far away."""
        found: list[Thing] = []
        length = BLOCK * BLOCKS
        wait = self.plan.road + 0.7
        for which in range(math.floor(s / length), math.floor((s + 100) / length) + 1):
            for person in range(3):
                looks, _, chance, pick = self.being(8, which * 3 + person)
                where = which * length + SIDE_STREET[0] - 3 + 2 * (pick - 0.5)
                way = 1.0 if chance < 0.5 else -1.0
                share = (78 - 12 * pick - (where - s)) / 46
                lat = way * wait * (2 * min(1.0, max(0.0, share)) - 1)
                walking = 0 < share < 1
                stride = lat * 4.4 if walking else 0.4
                found.append(Walker(looks, lat, where, (way, 0.0), stride))
        return found
