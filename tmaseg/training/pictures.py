"""Pictures of a run: its curves, and what it predicts of some frames beside the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.chart import Curve, Panel, draw_panel, write_png
from tmaseg.labels import LabelSet
from tmaseg.render import Painter

RGB = NDArray[np.uint8]  # (H, W, 3)
Labels = NDArray[np.uint8]  # (H, W)

_SHEET_HW = (300, 1000)
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
    smooth = _smooth(loss)
    panels = [
        Panel(title="loss", curves=[Curve("each step", loss, faint=True), _named("loss", smooth)], span=span),
        Panel(title="learning rate", curves=[_named("lr", _series(rows, "lr"))], span=span),
    ]
    names = [name for name in rows[0] if name.startswith("miou_")]
    scores = {name.removeprefix("miou_"): _series(rows, name, factor=100) for name in names}
    if any(scores.values()):
        curves = [_named(name, score) for name, score in scores.items()]
        panels.append(Panel(title="mIoU on validation data, %", curves=curves, span=span, dots=True))
    panels[-1] = replace(panels[-1], across="steps")
    write_png(np.concatenate([draw_panel(panel, _SHEET_HW) for panel in panels]), path)


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
            _write(row, text, place * _SAMPLE_WIDTH + 6, 16)
        rows.append(row)
    write_png(np.concatenate(rows), path)


_Series = list[tuple[float, float]]


def _series(rows: Sequence[dict[str, str]], name: str, *, factor: float = 1.0) -> _Series:
    return [(float(row["step"]), factor * float(row[name])) for row in rows if row.get(name)]


def _named(name: str, series: _Series) -> Curve:
    """With its last value."""
    return Curve(f"{name} {series[-1][1]:.4g}" if series else name, series)


def _smooth(series: _Series) -> _Series:
    """Means of about 100 equal stretches."""
    size = max(1, len(series) // 100)
    parts = [series[start : start + size] for start in range(0, len(series) - size + 1, size)]
    return [(part[len(part) // 2][0], float(np.mean([value for _, value in part]))) for part in parts]


def _write(sheet: RGB, text: str, x: int, y: int) -> None:
    """White with a dark outline, to be read on any picture."""
    around = [(-1, 0), (1, 0), (0, -1), (0, 1)]  # OpenCV 5's bold letters are wider: no outline
    for dx, dy, ink in [*((dx, dy, (0, 0, 0)) for dx, dy in around), (0, 0, (255, 255, 255))]:
        cv2.putText(sheet, text, (x + dx, y + dy), cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, 1, cv2.LINE_AA)
