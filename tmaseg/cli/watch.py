"""Watch: a training run as a person sees it: a bar with the loss and the time left, or occasional lines."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from tmaseg.cli.screen import duration
from tmaseg.training import Callback, StepReport, ValidationScores

_EVERY_SECONDS = 15.0  # between lines where there is no terminal
_SMOOTH = 0.95


class Watch(Callback):
    """Use in a `with` block. Everything goes to standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._said = time.monotonic()
        self._loss: float | None = None

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("preparing", total=None)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def note(self, text: str) -> None:
        """A line."""
        self.say(f"note: {text}")

    def say(self, line: str) -> None:
        """A line, as it is."""
        if not self._quiet:
            self._console.print(line, markup=False)

    def labels_checked(self, name: str, done: int, total: int) -> None:
        """Label files being read."""
        self._show(f"reading the labels of {name}: {done} of {total}", done / total)

    def step_done(self, report: StepReport) -> None:
        """A step: its number, the smoothed loss, the time left."""
        loss = report.loss if self._loss is None else _SMOOTH * self._loss + (1 - _SMOOTH) * report.loss
        self._loss = loss
        left = "" if report.left_seconds is None else f", {duration(report.left_seconds)} left"
        text = f"step {report.step}, loss {loss:.4f}, lr {report.lr:.2g}{left}"
        self._show(text, report.progress)

    def frames_validated(self, done: int, total: int) -> None:
        """Frames being scored."""
        self._show(f"validating: {done} of {total} frames", done / max(1, total))

    def validation_done(self, scores: ValidationScores) -> None:
        """What came out, as a line that stays."""
        if not scores.miou:
            self.say(f"step {scores.step}: there is no val data set to score on; the weights are kept as they are")
            return
        found = ", ".join(f"{name} {100 * value:.2f} %" for name, value in scores.miou.items())
        best = ", the best so far" if scores.best and not scores.final else ""
        which = f"the best, of step {scores.step}" if scores.final else f"step {scores.step}"
        self.say(f"{which}: mIoU {found} ({scores.frames} frames){best}")

    def _show(self, text: str, share: float) -> None:
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=text, completed=share, total=1.0)
        elif not self._quiet and time.monotonic() - self._said >= _EVERY_SECONDS:
            self._said = time.monotonic()
            self.say(text)
