"""TrainingScreen: a training run on the screen: the step with its loss and the time left, and scores."""

from tmaseg.cli.screen import Screen, Show, duration
from tmaseg.training import Callback, StepReport, ValidationScores

_SMOOTHING = 0.95  # of the exponential moving average of the loss


class TrainingScreen(Callback):
    """Passes what a run reports to `screen`, and its progress to `show`."""

    def __init__(self, screen: Screen, show: Show) -> None:
        self._screen, self._show = screen, show
        self._loss: float | None = None
        show("preparing", None)

    def note(self, text: str) -> None:
        """A line."""
        self._screen.say(f"note: {text}")

    def labels_checked(self, name: str, done: int, total: int) -> None:
        """Label files are being read."""
        self._show(f"reading the labels of {name}: {done} of {total}", done / total)

    def step_done(self, report: StepReport) -> None:
        """A step: its number, the smoothed loss, the time left."""
        loss = report.loss if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * report.loss
        self._loss = loss
        left = "" if report.left_seconds is None else f", {duration(report.left_seconds)} left"
        self._show(f"step {report.step}, loss {loss:.4f}, lr {report.lr:.2g}{left}", report.progress)

    def frames_validated(self, done: int, total: int) -> None:
        """Frames are being scored."""
        self._show(f"validating: {done} of {total} frames", done / max(1, total))

    def validation_done(self, scores: ValidationScores) -> None:
        """The scores, as a line that stays."""
        if not scores.miou:
            self._screen.say(f"step {scores.step}: no val data set to score on; the weights are kept as they are")
            return
        found = ", ".join(f"{name} {100 * value:.2f} %" for name, value in scores.miou.items())
        best = ", the best so far" if scores.best and not scores.final else ""
        which = f"the best, of step {scores.step}" if scores.final else f"step {scores.step}"
        self._screen.say(f"{which}: mIoU {found} ({scores.frames} frames){best}")
