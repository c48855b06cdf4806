"""Bodies: cars, trucks, buses and trams as they are built, by chance."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tmaseg.video.street.canvas import Colour
from tmaseg.video.street.noise import muted
from tmaseg.video.street.plan import BUS, CAR, TRAIN, TRUCK
from tmaseg.video.street.vehicles import Body, Model

_GLASS: Colour = (44, 50, 56)


def _side_faces(
    body: Body, outline: list[tuple[float, float]], half: tuple[float, float], colour: Colour, layer: int
) -> None:
    """The same (s, up) quadrilateral on the left and on the right; `half` is half the width at its foot and its top."""
    foot, top = half
    low = min(up for _, up in outline)
    high = max(max(up for _, up in outline), low + 1e-6)

    def lat(up: float) -> float:
        return foot + (top - foot) * (up - low) / (high - low)

    right = [(lat(up), up, s) for s, up in outline]
    body.face(right, colour, layer)
    body.face([(-x, up, s) for x, up, s in reversed(right)], colour, layer)


def _hull(body: Body, profile: list[tuple[float, float, float, Colour]]) -> None:
    """Faces across the vehicle between points (s, up, half width) of its outline, from the rear over the roof."""
    for (s0, up0, half0, colour), (s1, up1, half1, _) in pairwise(profile):
        body.face([(-half0, up0, s0), (-half1, up1, s1), (half1, up1, s1), (half0, up0, s0)], colour, 0)


def _across(body: Body, s: float, box: tuple[float, float, float, float], colour: Colour, *, front: bool) -> None:
    """A rectangle (left, low, right, high) on the front or the rear."""
    left, low, right, high = box
    corners = [(left, low, s), (left, high, s), (right, high, s), (right, low, s)]
    body.face(corners[::-1] if front else corners, colour, 1)


@dataclass(frozen=True)
class _Cut:
    """What makes a hatchback, a saloon, an estate or a van, in metres."""

    high: float
    boot: float
    """Length behind the rear window."""
    rake: float
    """How far the rear window leans forward."""
    screen: float
    """From the front to the top of the windscreen."""
    belt: float
    """Height of the windows' lower edge."""
    narrow: float
    """Share of the width that the roof has."""
    blind: float
    """Length of the side without windows, behind."""
    tailgate: Colour | None
    """Colour of the rear window; None where there is none."""


_CUTS = (
    _Cut(high=1.46, boot=0.16, rake=0.42, screen=1.85, belt=0.92, narrow=0.78, blind=0.25, tailgate=_GLASS),
    _Cut(high=1.43, boot=0.95, rake=0.55, screen=1.9, belt=0.92, narrow=0.78, blind=0.3, tailgate=_GLASS),
    _Cut(high=1.5, boot=0.1, rake=0.3, screen=1.9, belt=0.92, narrow=0.8, blind=0.2, tailgate=_GLASS),
    _Cut(high=1.85, boot=0.03, rake=0.1, screen=1.35, belt=1.02, narrow=0.9, blind=1.6, tailgate=None),
)


def car(rng: np.random.Generator) -> Model:
    """A hatchback, saloon, estate or van, in the colours that cars have."""
    length, half = rng.uniform(3.7, 4.7), rng.uniform(0.84, 0.92)
    cut = _CUTS[int(rng.integers(len(_CUTS)))]
    high = cut.high * rng.uniform(0.97, 1.05)
    paint = _paint(rng)
    dark = (paint[0] * 0.55, paint[1] * 0.55, paint[2] * 0.55)
    body = Body(CAR, (2 * half, high, length))
    a, z, low = -length / 2, length / 2, 0.28
    bonnet, top = z - rng.uniform(0.85, 1.1), half * cut.narrow
    window, roof, screen = a + cut.boot + 0.04, a + cut.boot + cut.rake, z - cut.screen - 0.35
    profile: list[tuple[float, float, float, Colour]] = [
        (a + 0.06, low, half * 0.93, dark),
        (a, 0.5, half * 0.97, paint),
        (a + 0.04, cut.belt, half * 0.95, paint),
        (window, cut.belt + 0.01, half * 0.93, cut.tailgate or paint),
        (roof, high, top, paint),
        (screen, high - 0.02, top, _GLASS),
        (bonnet - 0.25, cut.belt + 0.02, half * 0.93, paint),
        (z - 0.12, 0.72, half * 0.93, paint),
        (z, 0.45, half * 0.93, dark),
        (z - 0.05, low, half * 0.9, dark),
    ]
    _hull(body, profile)
    door = [(a + 0.04, low), (a + 0.04, cut.belt), (bonnet - 0.3, cut.belt), (bonnet - 0.3, low)]
    _side_faces(body, door, (half, half * 0.96), paint, 0)
    wing = [(bonnet - 0.3, low), (bonnet - 0.3, cut.belt), (z - 0.12, 0.72), (z - 0.05, low)]
    _side_faces(body, wing, (half, half * 0.95), paint, 0)
    pillars = [(window, cut.belt), (roof, high), (screen, high - 0.02), (bonnet - 0.3, cut.belt)]
    _side_faces(body, pillars, (half * 0.95, top), paint, 0)
    # the window of the rear door, and that of the front door
    foot, head, middle = cut.belt + 0.03, high - 0.09, (roof + screen + 0.35) / 2 - 0.1
    back = window + cut.blind
    rear = [(back, foot), (max(roof + 0.08, back + 0.05), head), (middle, head + 0.02), (middle, foot)]
    front = [(middle + 0.09, foot), (middle + 0.09, head + 0.02), (screen - 0.07, head), (bonnet - 0.5, foot)]
    for pane in (rear, front):
        _side_faces(body, pane, (half * 0.95 + 0.004, top * 1.03), _GLASS, 1)
    for s in (a + 0.75, z - 0.8):
        body.wheel(s, 0.31)
    _lamps(body, a - 0.005, z + 0.005, half, cut.belt)
    return body.finish()


def _lamps(body: Body, rear: float, front: float, half: float, belt: float) -> None:
    """Tail lamps, head lamps, plates, a bumper, a grille."""
    for side in (-1, 1):
        inner, outer = sorted((side * half * 0.62, side * half * 0.95))
        _across(body, rear, (inner, belt - 0.24, outer, belt - 0.04), (158, 28, 26), front=False)
        _across(body, front, (inner, 0.56, outer, 0.7), (225, 226, 220), front=True)
    _across(body, rear, (-half * 0.95, 0.32, half * 0.95, 0.46), (52, 52, 54), front=False)
    _across(body, rear, (-0.26, 0.52, 0.26, 0.63), (214, 206, 150), front=False)
    _across(body, front, (-half * 0.55, 0.5, half * 0.55, 0.64), (38, 38, 40), front=True)
    _across(body, front, (-0.26, 0.38, 0.26, 0.48), (214, 214, 208), front=True)


def _paint(rng: np.random.Generator) -> Colour:
    grey = float(rng.choice([34, 52, 88, 120, 158, 196, 212]))
    if rng.random() < 0.62:
        return (grey * rng.uniform(0.96, 1.03), grey, grey * rng.uniform(0.98, 1.06))
    return muted(rng, value=(60, 150), saturation=0.6)


def box_vehicle(rng: np.random.Generator, label: int) -> Model:
    """A truck with a closed body, a bus, or a tram car."""
    length, high, half = {
        TRUCK: (rng.uniform(6.5, 9.5), rng.uniform(2.9, 3.7), 1.2),
        BUS: (rng.uniform(10, 12), rng.choice([3.0, 3.1, 4.2]), 1.25),
        TRAIN: (rng.uniform(24, 30), 3.4, 1.25),
    }[label]
    paint = muted(rng, value=(60, 205), saturation=0.6 if label != TRUCK else 0.4)
    second = muted(rng, value=(70, 215), saturation=0.3)
    body = Body(label, (2 * half, high, length))
    a, z, low = -length / 2, length / 2, (0.35, 0.55)[label == TRUCK]
    cab = z - 2.0 if label == TRUCK else z
    _hull(
        body,
        [
            (a, low, half, second if label == TRUCK else paint),
            (a, high, half, paint),
            (cab, high, half, paint),
            (cab, low, half, paint),
        ],
    )
    _side_faces(
        body, [(a, low), (a, high), (cab, high), (cab, low)], (half, half), second if label == TRUCK else paint, 0
    )
    if label == TRUCK:
        _cab(body, cab, z, half, paint)
        for x in (-half * 0.5, 0.02):  # rear doors
            _across(body, a - 0.01, (x - 0.02, low + 0.1, x + 0.01, high - 0.1), (60, 60, 62), front=False)
    else:
        _coach(body, (a, z), high, half, second)
    for s in (a + length * 0.2, z - (1.0 if label == TRUCK else length * 0.2)):
        body.wheel(s, 0.48)
    for side in (-1, 1):
        inner, outer = sorted((side * half * 0.7, side * half * 0.95))
        _across(body, a - 0.01, (inner, low + 0.25, outer, low + 0.45), (150, 28, 26), front=False)
        _across(body, z + 0.01, (inner, low + 0.25, outer, low + 0.45), (225, 226, 220), front=True)
    _across(body, a - 0.01, (-half, low, half, low + 0.18), (46, 46, 48), front=False)
    return body.finish()


def _cab(body: Body, back: float, front: float, half: float, paint: Colour) -> None:
    """A truck's cab, a little lower than its body."""
    _hull(
        body,
        [
            (back + 0.1, 2.5, half * 0.9, paint),
            (front - 0.2, 2.5, half * 0.9, _GLASS),
            (front, 1.5, half * 0.95, paint),
            (front, 0.45, half * 0.95, paint),
        ],
    )
    _side_faces(
        body,
        [(back + 0.1, 0.45), (back + 0.1, 2.5), (front - 0.2, 2.5), (front, 0.45)],
        (half * 0.95, half * 0.92),
        paint,
        0,
    )
    _side_faces(
        body,
        [(back + 0.5, 1.5), (back + 0.5, 2.3), (front - 0.3, 2.3), (front - 0.15, 1.5)],
        (half * 0.955, half * 0.935),
        _GLASS,
        1,
    )


def _coach(body: Body, ends: tuple[float, float], high: float, half: float, stripe: Colour) -> None:
    """Windows along the sides, on each deck, and front and rear."""
    a, z = ends
    _side_faces(body, [(a, 0.8), (a, 1.0), (z, 1.0), (z, 0.8)], (half + 0.004,) * 2, stripe, 1)
    for sill in (1.25, 2.75)[: 1 + (high > 4)]:
        for s in np.arange(a + 0.3, z - 1.0, 1.55).tolist():
            _side_faces(
                body,
                [(s, sill), (s, sill + 1.0), (s + 1.4, sill + 1.0), (s + 1.4, sill)],
                (half + 0.006,) * 2,
                _GLASS,
                1,
            )
        _across(body, a - 0.006, (-half * 0.8, sill, half * 0.8, sill + 1.0), _GLASS, front=False)
        _across(body, z + 0.006, (-half * 0.93, sill - 0.2, half * 0.93, sill + 1.1), _GLASS, front=True)
    _across(body, z + 0.008, (-half * 0.6, high - 0.36, half * 0.6, high - 0.14), (205, 150, 40), front=True)
