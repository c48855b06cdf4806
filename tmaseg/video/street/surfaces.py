"""Surfaces that stand upright along the street: facades, walls, fences and hedges, as textures with their sizes."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.video.street.canvas import Colour, Texture
from tmaseg.video.street.noise import fractal, grass, muted

_MATERIALS: tuple[Colour, ...] = (
    (128, 84, 68),  # brick
    (146, 114, 94),
    (172, 154, 124),  # yellow brick, sandstone
    (190, 184, 172),  # stucco
    (150, 148, 144),  # concrete
    (98, 95, 92),
    (166, 150, 138),
    (120, 124, 128),
)


@dataclass(frozen=True)
class Surface:
    """A texture and how large it is, in metres."""

    texture: Texture
    width: float
    height: float


class _Sheet:
    """A picture in the making; positions in metres, x from the left and y from the ground up."""

    def __init__(self, rng: np.random.Generator, width: float, height: float, per_metre: float) -> None:
        self.rng, self.width, self.height, self.per_metre = rng, width, height, per_metre
        self.shape = (max(4, round(height * per_metre)), max(4, round(width * per_metre)))
        self.rgb = np.zeros((*self.shape, 3), np.float32)
        self.cover = np.full(self.shape, 255, np.uint8)

    def part(self, x: float, y: float, width: float, height: float) -> tuple[slice, slice]:
        """Pixels of a rectangle with its lower left corner at (x, y); at least one."""
        left, top = round(x * self.per_metre), round((self.height - y - height) * self.per_metre)
        return (
            slice(max(0, top), max(0, top + max(1, round(height * self.per_metre)))),
            slice(max(0, left), max(0, left + max(1, round(width * self.per_metre)))),
        )

    def rect(self, box: tuple[float, float, float, float], colour: Colour) -> None:
        self.rgb[self.part(*box)] = colour

    def points(self, *corners: tuple[float, float]) -> NDArray[np.int32]:
        return np.array(
            [(round(x * self.per_metre), round((self.height - y) * self.per_metre)) for x, y in corners], np.int32
        )

    def noise(self, cell: float, octaves: int = 4) -> NDArray[np.float32]:
        size = max(1.0, cell * self.per_metre)
        return fractal(self.rng, self.shape, (size, size), octaves)

    def bricks(self, width: float, height: float, depth: float) -> None:
        """Courses of bricks, each of its own shade."""
        rows, columns = max(1, int(self.height / height)), max(1, int(self.width / width))
        shade = 1 + depth * self.rng.standard_normal((rows, columns), np.float32)
        shade[::2] = np.roll(shade[::2], 1, 1)
        self.rgb *= cv2.resize(shade, self.shape[::-1], interpolation=cv2.INTER_NEAREST)[..., None]

    def finish(self, rough: float) -> Surface:
        """Weather it: blots, grain, streaks, dirt at the foot."""
        streaks = fractal(self.rng, (1, self.shape[1]), (1, max(1.0, self.per_metre)), 4)
        soil = np.clip(np.linspace(self.height, 0, self.shape[0], dtype=np.float32) / 1.2, 0.72, 1)[:, None]
        grain = self.rng.standard_normal(self.shape, np.float32)
        worn = (1 + rough * (0.5 * self.noise(2.5) + 0.35 * streaks + 0.4 * grain)) * soil
        self.rgb = self.rgb * worn[..., None]
        return self.surface()

    def fray(self, depth: float, spread: float, cell: float) -> None:
        """Uncover the upper edge, `depth` metres on average; teeth are `cell` metres wide."""
        teeth = fractal(self.rng, (1, self.shape[1]), (1, cell * self.per_metre), 4)[0]
        tops = np.clip((depth + spread * teeth) * self.per_metre, 0, None)
        self.cover[np.arange(self.shape[0])[:, None] < tops] = 0

    def surface(self) -> Surface:
        rgba = np.dstack([np.clip(self.rgb, 0, 255).astype(np.uint8), self.cover])
        return Surface(Texture(rgba), self.width, self.height)


def facade(rng: np.random.Generator, per_metre: float, kind: str) -> Surface:
    """A house front: "terrace" (shops below), "houses" (small, with a pitched roof) or "works" (bands of windows)."""
    floors = {"terrace": int(rng.integers(3, 6)), "houses": 2, "works": int(rng.integers(3, 7))}[kind]
    storey = rng.uniform(2.9, 3.4)
    bays = int(rng.integers(2, 5)) + (kind == "works")
    width = bays * rng.uniform(2.3, 3.2)
    roof = {"terrace": rng.choice([0.5, 2.2]), "houses": rng.uniform(2.4, 3.4), "works": 0.6}[kind]
    sheet = _Sheet(rng, width, floors * storey + roof, per_metre)
    colour = _material(rng, 0.7, 1.15)
    sheet.rgb[:] = colour
    if rng.random() < 0.7:
        sheet.bricks(0.24, 0.09, 0.06)
    _roof(sheet, floors * storey, pitched=roof > 1, gable=kind == "houses" and rng.random() < 0.4)
    style = _Windows.draw(rng)
    for floor in range(floors):
        if floor == 0 and kind == "terrace" and rng.random() < 0.7:
            _shop(sheet, storey)
            continue
        if rng.random() < 0.4:
            sheet.rect((0, floor * storey, width, 0.12), _scaled(colour, rng.uniform(0.8, 1.25)))
        for bay in range(bays):
            x, step = width / bays * bay, width / bays
            if floor == 0 and bay == bays // 2:
                _door(sheet, x + step / 2)
            elif kind == "works":
                style.paint(sheet, x + 0.15, floor * storey + 0.8, (step - 0.3, storey - 1.2))
            else:
                style.paint(sheet, x + (step - style.width) / 2, floor * storey + 0.95, (style.width, style.height))
    for x in (0.0, width - 0.12):  # rainwater pipes and the seam between houses
        sheet.rgb[sheet.part(x, 0, 0.12, floors * storey)] *= rng.uniform(0.55, 0.95)
    return sheet.finish(0.07)


def _material(rng: np.random.Generator, low: float, high: float) -> Colour:
    """What a house is made of, between `low` and `high` times as bright as usual, and a little off in hue."""
    red, green, blue = _MATERIALS[int(rng.integers(len(_MATERIALS)))]
    tone = rng.uniform(low, high)
    return red * tone + rng.normal(0, 5), green * tone + rng.normal(0, 3), blue * tone + rng.normal(0, 5)


def _scaled(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def _roof(sheet: _Sheet, eaves: float, *, pitched: bool, gable: bool) -> None:
    rng = sheet.rng
    top = sheet.height - eaves
    if not pitched:
        sheet.rect((0, eaves, sheet.width, top), _scaled(muted(rng, value=(110, 200), saturation=0.15), 1))
        sheet.rect((0, eaves, sheet.width, 0.15), (60, 58, 56))
        return
    tiles = _scaled((118, 72, 58) if rng.random() < 0.5 else (78, 78, 84), rng.uniform(0.75, 1.2))
    if not gable:
        sheet.rect((0, eaves, sheet.width, top - 0.5), tiles)
        rows = np.arange(0, top - 0.5, 0.3)
        for row in rows:
            sheet.rgb[sheet.part(0, eaves + row, sheet.width, 0.05)] *= 0.82
    sky = sheet.part(0, sheet.height - 0.5, sheet.width, 0.5)
    sheet.cover[sky] = 0
    if gable:
        sheet.cover[sheet.part(0, eaves, sheet.width, top)] = 0
        corners = sheet.points((0, eaves), (sheet.width / 2, sheet.height - 0.3), (sheet.width, eaves))
        cv2.fillConvexPoly(sheet.cover, corners, 255)
        cv2.polylines(sheet.rgb, [corners], False, tiles, max(1, round(0.35 * sheet.per_metre)))
    elif rng.random() < 0.8:  # a chimney
        x = rng.uniform(0.1, 0.75) * sheet.width
        stack = (x, sheet.height - 1.0, 0.8, 1.0)
        sheet.rect(stack, _scaled((120, 84, 70), rng.uniform(0.7, 1.1)))
        sheet.cover[sheet.part(*stack)] = 255
    sheet.rect((0, eaves - 0.1, sheet.width, 0.18), _scaled((190, 190, 185), rng.uniform(0.3, 1.1)))


@dataclass(frozen=True)
class _Windows:
    """One style of window, used all over a house."""

    width: float
    height: float
    frame: Colour
    glass: float
    panes: tuple[int, int]
    sill: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Windows":
        frame = _scaled((220, 218, 212), rng.choice([1.0, 1.0, 0.35, 0.6]))
        panes = ((1, 2), (2, 1), (2, 2), (2, 3))[int(rng.integers(4))]
        return cls(rng.uniform(0.95, 1.5), rng.uniform(1.3, 1.8), frame, rng.uniform(35, 80), panes, rng.random() < 0.7)

    def paint(self, sheet: _Sheet, x: float, y: float, size: tuple[float, float]) -> None:
        rng = sheet.rng
        width, height = size
        sheet.rect((x - 0.08, y - 0.08, width + 0.16, height + 0.16), self.frame)
        part = sheet.part(x, y, width, height)
        rows = sheet.rgb[part].shape[0]
        shine = self.glass * rng.uniform(0.6, 1.3) + np.linspace(rng.uniform(10, 85), 0, rows, dtype=np.float32)
        sheet.rgb[part] = shine[:, None, None] * np.array([0.92, 1.0, 1.08], np.float32)
        if rng.random() < 0.35:  # curtains or a blind
            drop = height * rng.uniform(0.2, 0.9)
            sheet.rect((x, y + height - drop, width, drop), muted(rng, value=(110, 210), saturation=0.2))
        for pane in range(1, self.panes[0]):
            sheet.rect((x + width * pane / self.panes[0] - 0.03, y, 0.06, height), self.frame)
        for pane in range(1, self.panes[1]):
            sheet.rect((x, y + height * pane / self.panes[1] - 0.03, width, 0.06), self.frame)
        sheet.rgb[sheet.part(x, y + height - 0.1, width, 0.1)] *= 0.5  # the lintel's shadow
        if self.sill:
            sheet.rect((x - 0.12, y - 0.16, width + 0.24, 0.1), _scaled(self.frame, 0.85))


def _door(sheet: _Sheet, middle: float) -> None:
    rng = sheet.rng
    sheet.rect((middle - 0.6, 0, 1.2, 2.35), _scaled((205, 203, 198), rng.uniform(0.4, 1)))
    sheet.rect((middle - 0.47, 0, 0.94, 2.1), muted(rng, value=(35, 120), saturation=0.6))
    sheet.rect((middle - 0.47, 2.1, 0.94, 0.2), (60, 66, 72))


def _shop(sheet: _Sheet, storey: float) -> None:
    """Glass from the stall riser up, a board with the name, perhaps an awning."""
    rng = sheet.rng
    width = sheet.width
    board = muted(rng, value=(40, 190), saturation=0.75)
    sheet.rect((0, 0, width, storey - 0.2), muted(rng, value=(35, 110), saturation=0.4))
    for x in np.arange(0.25, width - 1.2, 1.9):
        part = sheet.part(float(x), 0.45, min(1.7, width - 0.25 - float(x)), storey - 1.35)
        dark = rng.uniform(22, 60) + 26 * np.abs(
            fractal(rng, sheet.rgb[part].shape[:2], (0.7 * sheet.per_metre, 0.4 * sheet.per_metre), 3)
        )
        sheet.rgb[part] = dark[..., None] * np.asarray(muted(rng, value=(0.9, 1.3), saturation=0.5), np.float32)
    sheet.rect((0.1, storey - 0.8, width - 0.2, 0.6), board)
    letters = _scaled((230, 225, 210), rng.uniform(0.3, 1.0))
    for x in np.arange(width * 0.25, width * 0.75, 0.22):
        if rng.random() < 0.85:
            sheet.rect((float(x), storey - 0.62, rng.uniform(0.08, 0.16), rng.uniform(0.15, 0.26)), letters)
    if rng.random() < 0.3:
        stripe = muted(rng, value=(90, 210), saturation=0.7)
        for place, x in enumerate(np.arange(0.1, width - 0.1, 0.35)):
            sheet.rect((float(x), storey - 1.35, 0.35, 0.6), stripe if place % 2 else (200, 198, 190))


def flank(rng: np.random.Generator, per_metre: float) -> Surface:
    """The plain side of a house, with a window or none."""
    sheet = _Sheet(rng, 10.0, 10.0, per_metre)
    sheet.rgb[:] = _material(rng, 0.75, 1.05)
    sheet.bricks(0.24, 0.09, 0.06)
    style = _Windows.draw(rng)
    for x, y in ((2.0, 1.2), (6.5, 4.6), (2.0, 7.4)):
        if rng.random() < 0.6:
            style.paint(sheet, x, y, (style.width, style.height))
    return sheet.finish(0.08)


def wall(rng: np.random.Generator, per_metre: float) -> Surface:
    """Bricks or stones under a coping."""
    sheet = _Sheet(rng, 8.0, rng.uniform(0.9, 2.3), per_metre)
    sheet.rgb[:] = _material(rng, 0.6, 1.0)
    size = ((0.24, 0.09), (0.5, 0.28))[int(rng.integers(2))]
    sheet.bricks(*size, 0.12)
    sheet.rect((0, sheet.height - 0.12, sheet.width, 0.12), _scaled((150, 148, 142), rng.uniform(0.6, 1.1)))
    if rng.random() < 0.5:  # piers
        for x in (0.0, 4.0):
            sheet.rgb[sheet.part(x, 0, 0.45, sheet.height)] *= 1.12
    return sheet.finish(0.09)


def fence(rng: np.random.Generator, per_metre: float) -> Surface:
    """Boards, or railings before a hedge; all of it counts as fence, as in the data sets."""
    height = rng.uniform(0.9, 1.9)
    sheet = _Sheet(rng, 6.0, height, per_metre)
    boards = rng.random() < 0.4
    colour = muted(rng, value=(60, 150), saturation=0.4) if boards else muted(rng, value=(25, 170), saturation=0.3)
    pitch, bar = (0.16, 0.14) if boards else (rng.uniform(0.16, 0.24), 0.06)
    behind = np.array([_scaled(colour, 0.45) if boards else (44, 54, 38)], np.float32)
    sheet.rgb[:] = behind * (1 + 0.35 * sheet.noise(0.3)[..., None] * (not boards))
    for x in np.arange(0, sheet.width, pitch):
        sheet.rect((float(x), 0, bar, height), _scaled(colour, rng.uniform(0.8, 1.15)))
    for y in (0.12, height - 0.2):
        sheet.rect((0, y, sheet.width, 0.07), _scaled(colour, 0.95))
    for x in (0.0, 2.0, 4.0):
        sheet.rect((x, 0, 0.12, height), _scaled(colour, 0.9))
    return sheet.finish(0.08)


def hedge(rng: np.random.Generator, per_metre: float) -> Surface:
    """Leaves, ragged at the top."""
    sheet = _Sheet(rng, 8.0, rng.uniform(0.8, 2.2), per_metre)
    leaves = sheet.noise(0.35, 4)
    base = np.array([rng.uniform(45, 80), rng.uniform(62, 88), rng.uniform(35, 52)], np.float32)
    climb = np.linspace(1.2, 0.6, sheet.shape[0], dtype=np.float32)[:, None, None]
    sheet.rgb[:] = base * climb * (1 + 0.32 * leaves[..., None])
    sheet.fray(0.14, 0.07, 0.6)
    return sheet.finish(0.05)


def bank(rng: np.random.Generator, per_metre: float, height: float) -> Surface:
    """A slope of grass or soil, as it rises beside a motorway."""
    sheet = _Sheet(rng, 8.0, height, per_metre)
    blots, speckle = sheet.noise(2.0), rng.standard_normal(sheet.shape, np.float32)
    sheet.rgb[:] = np.array(grass(rng), np.float32) * (1 + 0.07 * blots + 0.16 * speckle)[..., None]
    sheet.fray(0.08, 0.05, 0.8)
    return sheet.surface()


def screen(rng: np.random.Generator, per_metre: float, height: float) -> Surface:
    """A noise wall of concrete or wooden panels between posts, or a low barrier of concrete."""
    sheet = _Sheet(rng, 8.0, height, per_metre)
    grey = rng.uniform(95, 185)
    sheet.rgb[:] = (grey * rng.uniform(0.98, 1.12), grey, grey * rng.uniform(0.85, 1.02))
    if height > 1.5 and rng.random() < 0.6:
        sheet.bricks(2.0, 0.5, 0.05)
    for x in (0.0, 4.0):
        sheet.rgb[sheet.part(x, 0, 0.25 if height > 1.5 else 0.05, height)] *= rng.uniform(0.75, 1.15)
    sheet.rect((0, height - 0.1, sheet.width, 0.1), _scaled((grey, grey, grey), 1.1))
    return sheet.finish(0.08)
