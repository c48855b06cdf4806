"""Pictures of a run: its curves, and what it predicts of some frames beside the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.errors import OutputError
from tmaseg.labels import LabelSet
from tmaseg.overlay import Painter

RGB = NDArray[np.uint8]  # (H, W, 3)
Labels = NDArray[np.uint8]  # (H, W)

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000, 300, 70, 20, 34, 30
_INK, _SOFT, _GRID, _PAPER = (40, 40, 40), (120, 120, 120), (225, 225, 225), (255, 255, 255)
_COLOURS = ((31, 119, 180), (214, 100, 30), (44, 140, 60), (150, 80, 170), (190, 40, 60))
_SAMPLE_WIDTH = 360


@dataclass(frozen=True, eq=False)
class Seen:
    """A validated frame."""

    name: str
    labels: LabelSet
    """What the ids of truth and prediction mean."""
    rgb: RGB
    truth: Labels
    prediction: Labels


def draw_curves(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Loss, learning rate and the mIoU of each data set over steps, as a PNG. Raises OutputError."""
    loss = _series(rows, "loss")
    if not loss:
        return
    span = (loss[0][0], max(loss[-1][0], loss[0][0] + 1))
    panels = [
        _panel("loss", {"each step": loss, "loss": _smooth(loss)}, span, faint=("each step",)),
        _panel("learning rate", {"lr": _series(rows, "lr")}, span),
    ]
    names = [name for name in (rows[0] if rows else {}) if name.startswith("miou_")]
    scores = {name.removeprefix("miou_"): _series(rows, name, factor=100) for name in names}
    if any(scores.values()):
        panels.append(_panel("mIoU on validation data, %", scores, span, dots=True))
    write_png(np.concatenate(panels), path)


def draw_samples(seen: Sequence[Seen], path: Path) -> None:
    """Each frame, its truth and the prediction side by side, as a PNG. Raises OutputError."""
    if not seen:
        return
    rows = []
    for each in seen:
        painter = Painter(each.labels, opacity=0.65)
        shown = (each.rgb, painter.paint(each.rgb, each.truth), painter.paint(each.rgb, each.prediction))
        height = max(1, round(_SAMPLE_WIDTH * each.rgb.shape[0] / each.rgb.shape[1]))
        small = [cv2.resize(one, (_SAMPLE_WIDTH, height), interpolation=cv2.INTER_AREA) for one in shown]
        row = np.concatenate([np.asarray(one, np.uint8) for one in small], axis=1)
        for place, text in enumerate((each.name, "truth", "prediction")):
            _write(row, text, place * _SAMPLE_WIDTH + 6, 16, (255, 255, 255), outlined=True)
        rows.append(row)
    write_png(np.concatenate(rows), path)


def write_png(rgb: RGB, path: Path) -> None:
    """Writes a picture; it appears when complete. Raises OutputError."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path}: the picture cannot be written ({error.strerror}): make room there") from error


_Series = list[tuple[float, float]]


def _series(rows: Sequence[dict[str, str]], name: str, *, factor: float = 1.0) -> _Series:
    return [(float(row["step"]), factor * float(row[name])) for row in rows if row.get(name)]


def _smooth(series: _Series) -> _Series:
    """Means of about 100 equal stretches."""
    size = max(1, len(series) // 100)
    parts = [series[start : start + size] for start in range(0, len(series) - size + 1, size)]
    return [(part[len(part) // 2][0], float(np.mean([value for _, value in part]))) for part in parts]


def _panel(
    title: str, lines: dict[str, _Series], span: tuple[float, float], *, faint: Sequence[str] = (), dots: bool = False
) -> RGB:
    sheet = np.full((_HEIGHT, _WIDTH, 3), _PAPER, np.uint8)
    _write(sheet, title, _LEFT, 22, _INK)
    points = [point for line in lines.values() for point in line]
    if not points:
        return sheet
    # A wild first step would flatten everything after it.
    values = np.array([value for name, line in lines.items() if name not in faint for _, value in line])
    low, high = float(values.min()), float(np.percentile(values, 99) if len(values) > 20 else values.max())
    low, high = (low, high) if high > low else (low - 0.5 * (abs(low) or 1), low + 0.5 * (abs(low) or 1))
    first, last = span
    for share in np.linspace(0, 1, 5):
        y = round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM))
        cv2.line(sheet, (_LEFT, y), (_WIDTH - _RIGHT, y), _GRID, 1)
        _write(sheet, f"{low + share * (high - low):.3g}", 8, y + 4, _SOFT)
        _write(sheet, f"{first + share * (last - first):.0f}", round(_x(share)) - 12, _HEIGHT - 10, _SOFT)
    across = _WIDTH - _RIGHT
    for number, (name, line) in enumerate(lines.items()):
        colour = (200, 215, 235) if name in faint else _COLOURS[number % len(_COLOURS)]
        spots = [(_x((x - first) / (last - first)), _y((value - low) / (high - low))) for x, value in line]
        whole = np.array(spots, np.float64).round().astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(sheet, [whole], False, colour, 1 if name in faint else 2, cv2.LINE_AA)
        if dots:
            for x, y in whole[:, 0].tolist():
                cv2.circle(sheet, (x, y), 3, colour, -1, cv2.LINE_AA)
        if line and name not in faint:
            text = f"{name} {line[-1][1]:.4g}"
            across -= 9 * len(text) + 16
            _write(sheet, text, max(_LEFT, across), 22, colour)
    return sheet


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - min(1.05, max(-0.05, share)) * (_HEIGHT - _TOP - _BOTTOM)


def _write(sheet: RGB, text: str, x: int, y: int, colour: tuple[int, int, int], *, outlined: bool = False) -> None:
    around = [(-1, 0), (1, 0), (0, -1), (0, 1)] if outlined else []  # OpenCV 5's bold letters are wider: no outline
    for dx, dy, ink in [*((dx, dy, (0, 0, 0)) for dx, dy in around), (0, 0, colour)]:
        cv2.putText(sheet, text, (x + dx, y + dy), cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, 1, cv2.LINE_AA)
