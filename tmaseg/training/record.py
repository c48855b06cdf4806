"""Record: what a run writes into its folder: log, weights, state, curves, and sheets of predictions."""

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

import tmaseg
from tmaseg.errors import CheckpointError, OutputError
from tmaseg.files import output_file
from tmaseg.model.checkpoint import Checkpoint, save_checkpoint
from tmaseg.model.config import InputGeometry
from tmaseg.plots import GRID, SOFT, Series, draw_lines, new_figure, save_png
from tmaseg.render import Painter, contact_sheet
from tmaseg.training.datasets import RunData
from tmaseg.training.job import Callback, StepReport, TrainJob, ValidationSample, ValidationScores, save_state
from tmaseg.training.recipe import Recipe
from tmaseg.training.trainer import Trainer

_SAMPLE_WIDTH_PX = 360
_STEP_COLUMNS = ("step", "seconds", "lr", "loss")


class Record:
    """Writes into the folder of a run; use in a `with` block."""

    # In the log a step is a row, and a validation is a row of its own without loss and lr. Rows after the step at which
    # a run is resumed are dropped: they will come again. A full disk loses only the newest file or row: the run goes on
    # with a note, and what was written before is still there.

    def __init__(self, job: TrainJob, callback: Callback, data: RunData, *, after: int) -> None:
        """`after`: the step that the run is resumed from. Raises OutputError where the log cannot be written."""
        self._job, self._callback = job, callback
        columns = [*_STEP_COLUMNS, *(f"miou_{name}" for name in data.val)]
        rows = [row for row in read_record(job.log) if float(row["step"]) <= after]
        with output_file(job.log, "the log") as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
            writer.writeheader()
            writer.writerows(rows)
        self._file = job.log.open("a", buffering=1, newline="", encoding="utf-8")  # a crash loses a line at most
        self._writer = csv.DictWriter(self._file, columns, extrasaction="ignore", restval="")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._file.close()

    def write_step(self, report: StepReport) -> None:
        """Logs a step."""
        self._log(report.step, report.seconds, {"lr": f"{report.lr:.8g}", "loss": f"{report.loss:.9g}"})

    def write_scores(self, scores: ValidationScores, seconds: float) -> None:
        """Logs a validation; nothing where no data set was scored."""
        miou = {f"miou_{name}": f"{value:.5f}" for name, value in scores.miou.items() if not math.isnan(value)}
        if miou:
            self._log(scores.step, seconds, miou)

    def _log(self, step: int, seconds: float, columns: dict[str, str]) -> None:
        with suppress(OSError):
            self._writer.writerow({"step": step, "seconds": f"{seconds:.2f}", **columns})

    def write_weights(self, checkpoint: Checkpoint, *paths: Path) -> None:
        """Writes the weights to each of the paths."""
        for path in paths:
            with self._noting_errors():
                save_checkpoint(path, checkpoint, half=True)

    def write_state(self, state: dict[str, Any]) -> None:
        """Writes what the run is resumed from."""
        with self._noting_errors():
            save_state(self._job.state, state)

    def draw(self, scores: ValidationScores) -> None:
        """Draws the curves up to here and a sheet of samples."""
        with self._noting_errors():
            draw_curves(read_record(self._job.log), self._job.output / "curves.png")
        with self._noting_errors():
            draw_samples(scores.samples, self._job.output / "predictions" / f"{scores.step:06}.png")

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        try:
            yield
        except (OutputError, CheckpointError) as error:
            self._callback.note(str(error))


def make_checkpoint(
    trainer: Trainer, data: RunData, recipe: Recipe, seconds: float, scores: ValidationScores | None
) -> Checkpoint:
    """A copy of the averaged weights, with data, recipe and scores as provenance, without paths of this machine."""
    init = Path(recipe.init).name if Path(recipe.init).exists() else recipe.init
    provenance: dict[str, Any] = {
        "program": f"tmaseg {tmaseg.__version__} train",
        "data": {each.name: f"{each.dataset.layout}, {len(each.samples)} labelled frames" for each in data.train},
        "recipe": recipe.model_copy(update={"init": init}).model_dump(mode="json"),
        "steps": trainer.step,
        "minutes": round(seconds / 60, 1),
        **(describe_scores(scores, recipe) if scores else {}),
    }
    net = trainer.averaged
    state = {name: value.detach().to("cpu", copy=True) for name, value in net.state_dict().items()}
    geometry = InputGeometry(size=recipe.augmentation.input_size or recipe.augmentation.size or None)
    return Checkpoint(net.config, data.labels, state, geometry, provenance)


def describe_scores(scores: ValidationScores, recipe: Recipe) -> dict[str, Any]:
    """Scores as a checkpoint's provenance has them."""
    return {
        "miou": {name: round(value, 4) for name, value in scores.miou.items()},
        "scored": f"{scores.frames} frames of {recipe.run.val_split}",
    }


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
    with output_file(path, "the picture") as part:
        sheet.save(part, "PNG")


def _points(rows: Sequence[dict[str, str]], name: str, factor: float = 1.0) -> list[tuple[float, float]]:
    """Steps and values of the rows that have one."""
    return [(float(row["step"]), factor * float(row[name])) for row in rows if row.get(name)]


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of about 100 equal stretches."""
    size = max(1, len(points) // 100)
    parts = np.array(points[: len(points) // size * size]).reshape(-1, size, 2)
    return [(float(part[size // 2, 0]), float(part[:, 1].mean())) for part in parts]
