"""Record: what a run leaves to read: its log (CSV, one row a step), its curves, and sheets of predictions."""

import csv
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from tmaseg.arrays import RGB, Labels
from tmaseg.errors import OutputError
from tmaseg.files import atomic_write
from tmaseg.labels import LabelSet
from tmaseg.plots import GRID, SOFT, Series, draw_lines, new_figure, save_png
from tmaseg.render import Painter, contact_sheet
from tmaseg.training.callbacks import StepReport, ValidationScores

_SAMPLE_WIDTH_PX = 360
_STEP_COLUMNS = ("step", "seconds", "lr", "loss")


class Record:
    """The log; use in a `with` block. A step is a row, a validation is a row of its own without loss and lr.

    Rows after the step at which a run is resumed are dropped: they will come again. A full disk loses rows only.
    """

    def __init__(self, path: Path, names: Sequence[str], *, after: int) -> None:
        """`names`: data sets that are validated; `after`: the step that the run is resumed from. Raises OutputError."""
        self.path = path
        columns = [*_STEP_COLUMNS, *(f"miou_{name}" for name in names)]
        rows = [row for row in read_record(path) if float(row["step"]) <= after]
        try:
            with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
                writer.writeheader()
                writer.writerows(rows)
            self._file = path.open("a", buffering=1, newline="", encoding="utf-8")  # a crash loses a line at most
        except OSError as error:
            raise OutputError(f"{path}: the log cannot be written ({error.strerror}): choose another place") from error
        self._writer = csv.DictWriter(self._file, columns, extrasaction="ignore", restval="")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._file.close()

    def write_step(self, report: StepReport) -> None:
        """A step."""
        self._write(report.step, report.seconds, {"lr": f"{report.lr:.8g}", "loss": f"{report.loss:.9g}"})

    def write_scores(self, scores: ValidationScores, seconds: float) -> None:
        """A validation; nothing where no data set was scored."""
        miou = {f"miou_{name}": f"{value:.5f}" for name, value in scores.miou.items() if not math.isnan(value)}
        if miou:
            self._write(scores.step, seconds, miou)

    def _write(self, step: int, seconds: float, columns: dict[str, str]) -> None:
        with suppress(OSError):
            self._writer.writerow({"step": step, "seconds": f"{seconds:.2f}", **columns})


def read_record(path: Path) -> list[dict[str, str]]:
    """The rows of a log; none where there is no file. A last line cut short by a crash is left out."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["step"].isdigit() and None not in row.values()]


def draw_curves(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Loss, learning rate and the mIoU of each data set over the steps, as a PNG. Raises OutputError."""
    losses = _points(rows, "loss")
    if not losses:
        return
    scores = [(name.removeprefix("miou_"), _points(rows, name, 100)) for name in rows[0] if name.startswith("miou_")]
    miou = [Series(f"{name} {points[-1][1]:.2f}", points) for name, points in scores if points]
    panels = 3 if miou else 2
    figure = new_figure((1000, 220 * panels))
    axes = figure.subplots(panels, sharex=True)
    axes[0].plot(*zip(*losses, strict=True), color=GRID, linewidth=0.8)
    smooth = _smoothed(losses)
    draw_lines(axes[0], [Series(f"{smooth[-1][1]:.4g}", smooth)], ylabel="loss", markers=len(smooth) == 1)
    rates = _points(rows, "lr")
    draw_lines(axes[1], [Series(f"{rates[-1][1]:.3g}", rates)], ylabel="learning rate", markers=len(rates) == 1)
    if miou:
        draw_lines(axes[2], miou, ylabel="mIoU on validation data, %", markers=True)
    axes[-1].set_xlabel("step", fontsize=9, color=SOFT)
    save_png(figure, path)


@dataclass(frozen=True, eq=False)
class ValidationSample:
    """A frame that was scored; truth and prediction are ids of `labels`."""

    name: str
    labels: LabelSet
    rgb: RGB
    truth: Labels
    prediction: Labels


def draw_samples(samples: Sequence[ValidationSample], path: Path) -> None:
    """Each frame, its truth and its prediction side by side, as a PNG. Raises OutputError."""
    if not samples:
        return
    rows = []
    for sample in samples:
        paint = Painter(sample.labels, opacity=0.65).paint
        truth, prediction = paint(sample.rgb, sample.truth), paint(sample.rgb, sample.prediction)
        rows.append([(sample.name, sample.rgb), ("truth", truth), ("prediction", prediction)])
    sheet = Image.fromarray(contact_sheet(rows, width=_SAMPLE_WIDTH_PX))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            sheet.save(part, "PNG")
    except OSError as error:
        raise OutputError(f"{path}: the picture cannot be written ({error.strerror}): make room there") from error


def _points(rows: Sequence[dict[str, str]], name: str, factor: float = 1.0) -> list[tuple[float, float]]:
    """Steps and values of the rows that have one."""
    return [(float(row["step"]), factor * float(row[name])) for row in rows if row.get(name)]


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of about 100 equal stretches."""
    size = max(1, len(points) // 100)
    parts = np.array(points[: len(points) // size * size]).reshape(-1, size, 2)
    return [(float(part[size // 2, 0]), float(part[:, 1].mean())) for part in parts]
