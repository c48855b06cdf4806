"""Record: the run's log as a CSV file, one row a step, which a spreadsheet and the curves read."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from tmaseg.errors import OutputError
from tmaseg.files import atomic_write
from tmaseg.training.listener import Scores, StepReport

_ALWAYS = ("step", "seconds", "lr", "loss")


class Record:
    """Use in a `with` block. Rows after the step at which a run goes on are dropped: they will come again."""

    def __init__(self, path: Path, names: Sequence[str], *, after: int) -> None:
        """`names`: data sets that are validated; `after`: the step that the run goes on from. Raises OutputError."""
        self.path = path
        self._fields = [*_ALWAYS, *(f"miou_{name}" for name in names)]
        self._last: StepReport | None = None
        try:
            self._file = self._begin([row for row in read_record(path) if float(row["step"]) <= after])
        except OSError as error:
            raise OutputError(f"{path}: the log cannot be written ({error.strerror}): choose another place") from error
        self._writer = self._writer_to(self._file)

    def _begin(self, rows: Sequence[dict[str, str]]) -> TextIO:
        """The log with these rows, open for more."""
        with atomic_write(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = self._writer_to(file)
            writer.writeheader()
            writer.writerows(rows)
        return self.path.open("a", buffering=1, newline="", encoding="utf-8")  # a crash loses a line at most

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._write(None)
            self._file.close()
        except OSError:  # a full disk loses the end of the log, not the run
            pass

    def step(self, report: StepReport) -> None:
        """A step; written when the next one comes, so that its validation can join it."""
        self._write(None)
        self._last = report

    def scores(self, scores: Scores) -> None:
        """The validation after the last step, whose row may be written already: one that was stopped comes late."""
        if self._last:
            self._write(scores)
            return
        rows = read_record(self.path)
        try:
            rows[-1:] = [{**row, **_columns(scores)} for row in rows[-1:]]
            before, self._file = self._file, self._begin(rows)
            before.close()
            self._writer = self._writer_to(self._file)
        except OSError:  # as in `_write`
            return

    def flush(self) -> None:
        """Writes the last step's row: the run is about to be written down, and goes on after it."""
        self._write(None)

    def _writer_to(self, file: TextIO) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self._fields, extrasaction="ignore", restval="")

    def _write(self, scores: Scores | None) -> None:
        last, self._last = self._last, None
        if last is None:
            return
        row: dict[str, object] = {
            "step": last.step,
            "seconds": f"{last.seconds:.2f}",
            "lr": f"{last.lr:.8g}",
            "loss": f"{last.loss:.9g}",
        }
        if scores:
            row |= _columns(scores)
        try:
            self._writer.writerow(row)
        except OSError:
            return


def _columns(scores: Scores) -> dict[str, str]:
    return {f"miou_{name}": f"{value:.5f}" for name, value in scores.miou.items() if not math.isnan(value)}


def read_record(path: Path) -> list[dict[str, str]]:
    """The rows of a log; none where there is no file. A last line cut short by a crash is left out."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if all(_is_number(row.get(name)) for name in _ALWAYS)]


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False
