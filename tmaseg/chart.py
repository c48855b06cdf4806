"""Charts: curves over a number, drawn as pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tmaseg.errors import OutputError
from tmaseg.files import atomic_write

RGB = NDArray[np.uint8]  # (H, W, 3)
Points = Sequence[tuple[float, float]]

_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 30, 40, 34
_ACROSS = 18  # below the marks, for what they are
_INK, _SOFT, _GRID, _PAPER, _FAINT = (40, 40, 40), (110, 110, 110), (228, 228, 228), (255, 255, 255), (200, 215, 235)
_COLOURS = ((31, 119, 180), (214, 100, 30), (44, 140, 60), (150, 80, 170), (190, 40, 60))
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    name: str
    """Written beside a stroke of its colour."""
    points: Points
    """(x, y), x ascending."""
    faint: bool = False
    """Whether it is background: pale, not named, and free to leave the chart."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One chart."""

    title: str
    """What is up the chart, with its unit."""
    curves: Sequence[Curve]
    across: str = ""
    """What is across the chart, with its unit."""
    marks: Sequence[float] | None = None
    """Places on the axis across that get a number; None: round ones."""
    span: tuple[float, float] | None = None
    """First and last x; None: those of the points."""
    from_zero: bool = False
    """Whether up begins at 0, so that heights compare."""
    dots: bool = False
    """Whether each point is marked."""
    values: bool = False
    """Whether values are written at the dots, where there is room: the first curve's above, the others' below."""


def draw_panel(panel: Panel, size_hw: tuple[int, int]) -> RGB:
    """The chart as an (H, W, 3) uint8 picture of `size_hw`; one without points has its title alone."""
    height, width = size_hw
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    if not any(curve.points for curve in panel.curves):
        return _lettered(sheet, [_Text(panel.title, (_LEFT, _TOP / 2), _INK, anchor="lm", size=15)])
    axes = _Axes.of(panel, size_hw)
    texts = [_Text(panel.title, (_LEFT, _TOP / 2), _INK, anchor="lm", size=15), *axes.draw(sheet, panel)]
    named = [curve for curve in panel.curves if not curve.faint]
    colours = {id(curve): _COLOURS[place % len(_COLOURS)] for place, curve in enumerate(named)}
    for curve in panel.curves:
        _draw_curve(sheet, curve, colours.get(id(curve), _FAINT), axes, panel.dots)
    if panel.values:
        texts += _values(named, [colours[id(curve)] for curve in named], axes)
    right = width - _RIGHT
    for curve in reversed([curve for curve in named if curve.points]):
        texts.append(_Text(curve.name, (right, _TOP / 2), colours[id(curve)], anchor="rm"))
        right -= round(_font(texts[-1].size).getlength(curve.name)) + 8
        cv2.line(sheet, (right - 18, _TOP // 2), (right, _TOP // 2), colours[id(curve)], 2, cv2.LINE_AA)
        right -= 18 + 20
    return _lettered(sheet, texts)


def caption(text: str, width: int) -> RGB:
    """A strip of `width` with one line of text, to go above or below charts."""
    sheet = np.full((34, width, 3), _PAPER, np.uint8)
    return _lettered(sheet, [_Text(text, (_LEFT, 17), _SOFT, anchor="lm")])


def write_png(rgb: RGB, path: Path) -> None:
    """Writes a picture; it appears when complete. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes())
    except OSError as error:
        why = f"the picture cannot be written ({error.strerror}): check the folder and the room there"
        raise OutputError(f"{path}: {why}") from error


@dataclass(frozen=True)
class _Text:
    text: str
    at: tuple[float, float]  # (x, y)
    colour: tuple[int, int, int]
    anchor: str
    size: int = 13


@dataclass(frozen=True)
class _Axes:
    """Where numbers lie on the sheet."""

    size_hw: tuple[int, int]
    bottom: int  # pixels below the chart
    span: tuple[float, float]
    ups: tuple[float, ...]  # round numbers, the lowest and the highest are the edges
    marks: tuple[float, ...]

    @classmethod
    def of(cls, panel: Panel, size_hw: tuple[int, int]) -> "_Axes":
        points = [point for curve in panel.curves for point in curve.points]
        first, last = panel.span or (min(x for x, _ in points), max(x for x, _ in points))
        last = last if last > first else first + 1
        shown = [y for curve in panel.curves if not curve.faint for _, y in curve.points] or [y for _, y in points]
        # A wild first step would flatten everything after it.
        high = float(np.percentile(shown, 99)) if len(shown) > 20 else max(shown)
        low = min(0.0, *shown) if panel.from_zero else min(shown)
        high += 0.07 * (high - low) if panel.values else 0.0  # room for figures above
        if not high > low:
            low, high = low - 0.5 * (abs(low) or 1), low + 0.5 * (abs(low) or 1)
        marks = tuple(panel.marks) if panel.marks is not None else _round_numbers(first, last, inside=True)
        bottom = _BOTTOM + (_ACROSS if panel.across else 0)
        return cls(size_hw, bottom, (first, last), _round_numbers(low, high, inside=False), marks)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Across and down, in pixels; y a little outside at most."""
        height, width = self.size_hw
        share_x = (x - self.span[0]) / (self.span[1] - self.span[0])
        share_y = min(1.05, max(-0.05, (y - self.ups[0]) / (self.ups[-1] - self.ups[0])))
        return _LEFT + share_x * (width - _LEFT - _RIGHT), height - self.bottom - share_y * (
            height - _TOP - self.bottom
        )

    def draw(self, sheet: RGB, panel: Panel) -> list[_Text]:
        """The grid; returns its letters."""
        height, width = self.size_hw
        texts = []
        step = self.ups[1] - self.ups[0]
        for up in self.ups:
            y = round(self.at(self.span[0], up)[1])
            cv2.line(sheet, (_LEFT, y), (width - _RIGHT, y), _GRID, 1)
            texts.append(_Text(_number(up, step), (_LEFT - 8, y), _SOFT, anchor="rm"))
        base = height - self.bottom
        for mark in self.marks:
            x = round(self.at(mark, self.ups[0])[0])
            cv2.line(sheet, (x, base), (x, base + 4), _SOFT, 1)
            texts.append(_Text(f"{mark:g}", (x, base + 14), _SOFT, anchor="mm"))
        cv2.line(sheet, (_LEFT, base), (width - _RIGHT, base), _SOFT, 1)
        texts.append(_Text(panel.across, ((_LEFT + width - _RIGHT) / 2, base + 34), _SOFT, anchor="mm"))
        return texts


def _draw_curve(sheet: RGB, curve: Curve, colour: tuple[int, int, int], axes: _Axes, dots: bool) -> None:
    spots = np.array([axes.at(x, y) for x, y in curve.points], np.float64).reshape(-1, 1, 2)
    fine = np.round(spots * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.polylines(sheet, [fine], False, colour, 1 if curve.faint else 2, cv2.LINE_AA, _SUBPIXEL_BITS)
    if dots and not curve.faint:
        for x, y in fine[:, 0].tolist():
            cv2.circle(sheet, (x, y), 4 << _SUBPIXEL_BITS, colour, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _values(curves: Sequence[Curve], colours: Sequence[tuple[int, int, int]], axes: _Axes) -> list[_Text]:
    """Figures at the dots; one that would lie on an earlier one, a dot or an axis is left out."""
    base = axes.size_hw[0] - axes.bottom
    dots = [axes.at(x, y) for curve in curves for x, y in curve.points]
    placed: list[_Text] = []
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in dots]
    taken += [(0.0, axes.at(0, up)[1] - 7, _LEFT - 6.0, axes.at(0, up)[1] + 7) for up in axes.ups]  # their numbers
    for place, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
        # From the right: where curves begin close together, the far ends are of more interest.
        for x, value in reversed(curve.points):
            across, up = axes.at(x, value)
            text = _Text(f"{value:.3g}", (across, up + (15 if place else -14)), colour, anchor="mm", size=12)
            half = _font(text.size).getlength(text.text) / 2 + 2
            box = (across - half, text.at[1] - 7, across + half, text.at[1] + 7)
            if box[3] < base and not any(_overlap(box, other) for other in taken):
                placed.append(text)
                taken.append(box)
    return placed


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    """Of two boxes (left, top, right, bottom)."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _round_numbers(low: float, high: float, *, inside: bool) -> tuple[float, ...]:
    """About five multiples of 1, 2 or 5 times a power of ten, from `low` to `high`: inside them, or around them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    slack = 1e-9 if inside else -1e-9
    first, last = (math.ceil, math.floor) if inside else (math.floor, math.ceil)
    return tuple(number * step for number in range(first(low / step - slack), last(high / step + slack) + 1))


def _number(value: float, step: float) -> str:
    """With as many digits as neighbours need to differ."""
    if value and abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _lettered(sheet: RGB, texts: Sequence[_Text]) -> RGB:
    picture = Image.fromarray(sheet)
    pen = ImageDraw.Draw(picture)
    for text in texts:
        pen.text(text.at, text.text, fill=text.colour, font=_font(text.size), anchor=text.anchor)
    return np.array(picture, np.uint8)
