"""Plan: the cross-section of a street or a motorway, and which kind of block follows which."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tmaseg.labels import CITYSCAPES

Kind = Literal["terrace", "houses", "park", "works", "junction"]
Place = Literal["street", "motorway"]

BLOCK = 40.0  # metres of street that have one kind
BLOCKS = 6  # the kinds repeat after this many; what stands there does not
SIDE_STREET = (13.0, 27.0)  # metres from the start of a junction block
LANE = 3.6  # metres that a lane of a motorway is wide

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN = range(10)
SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(10, len(CITYSCAPES))


@dataclass(frozen=True)
class Plan:
    """Widths are metres from the centre line outwards, the same on both sides."""

    road: float
    """Centre line to kerb."""
    parking: float
    """Of which parked cars take this; 0 where there are none."""
    verge: float
    """Grass between kerb and pavement; 0 where there is none."""
    pavement: float
    kinds: tuple[tuple[Kind, ...], tuple[Kind, ...]]
    """BLOCKS kinds on the left and on the right; none beside a motorway."""
    lanes: int = 0
    """Lanes each way of a motorway; 0: a street."""
    own_lane: int = 0
    """Which of them the camera takes, counted from the middle."""
    median: float = 0.0
    """Centre line to the first of them."""

    @classmethod
    def motorway(cls, rng: np.random.Generator) -> "Plan":
        """A motorway by chance: lanes, hard shoulders, and open ground on both sides."""
        lanes, median = int(rng.integers(2, 4)), rng.uniform(0.6, 1.6)
        return cls(
            road=median + LANE * lanes + rng.uniform(1.0, 3.0),
            parking=0.0,
            verge=0.0,
            pavement=0.0,
            kinds=((), ()),
            lanes=lanes,
            own_lane=int(rng.integers(lanes)),
            median=median,
        )

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Plan":
        """A street by chance, in which every kind of block of a town occurs."""
        parking = float(rng.choice([0.0, 2.1]))
        sides: list[tuple[Kind, ...]] = []
        for other in ("terrace", "houses"):
            kinds = rng.permutation(["terrace", "terrace", "houses", "park", "works", other][: BLOCKS - 1])
            sides.append(("junction", *kinds.tolist()))
        return cls(
            road=rng.uniform(3.1, 3.6) + parking,
            parking=parking,
            verge=float(rng.choice([0.0, 0.0, 1.3])),
            pavement=rng.uniform(2.4, 3.8),
            kinds=(sides[0], sides[1]),
        )

    @property
    def lane(self) -> float:
        """`lat` of the middle of the camera's lane."""
        return self.centres[self.own_lane]

    @property
    def green_median(self) -> bool:
        """Whether a motorway's middle is wide enough for something to grow there."""
        return self.median > 1.1

    @property
    def centres(self) -> tuple[float, ...]:
        """`lat` of the middle of each lane on the camera's side."""
        if not self.lanes:
            return ((self.road - self.parking) / 2,)
        return tuple(self.median + LANE * (number + 0.5) for number in range(self.lanes))

    @property
    def front(self) -> float:
        """Centre line to the end of the pavement."""
        return self.road + self.verge + self.pavement

    def kind(self, side: int, block: int) -> Kind:
        """Kind of the `block`-th block on the left (side 0) or right (side 1)."""
        return self.kinds[side][block % BLOCKS]
