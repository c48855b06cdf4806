"""Listener: what a run tells whoever watches it. The command line draws a bar; a script may ignore it all."""

import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StepReport:
    """One step."""

    step: int
    """Steps done, this one included."""
    loss: float
    lr: float
    progress: float
    """How far the run is, 0 to 1."""
    seconds: float
    """That the run has taken, its validations included; the time between a stop and going on is not."""
    left_seconds: float | None
    """Until the end; None before that is known."""


@dataclass(frozen=True)
class Scores:
    """One validation."""

    step: int
    miou: dict[str, float]
    """Of each data set, 0 to 1."""
    best: bool
    """Whether it is the best so far."""
    frames: int
    """That were scored."""
    final: bool = False
    """Whether these are the best weights, scored on every frame at the end."""


def mean_of(miou: dict[str, float]) -> float:
    """What the best is chosen by: the mean over the data sets; 0 without any."""
    known = [value for value in miou.values() if not math.isnan(value)]
    return sum(known) / len(known) if known else 0.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    output: Path
    steps: int
    seconds: float
    interrupted: bool
    """Whether it was stopped before its end; it can go on."""
    scores: Scores | None
    """Of the last validation."""
    best: float | None
    """Highest mean mIoU of all validations."""


class Listener:
    """Hears everything and does nothing: override what matters."""

    def note(self, text: str) -> None:
        """Something worth saying once."""

    def checked(self, name: str, done: int, total: int) -> None:
        """Label files of a data set read before the first step."""

    def stepped(self, report: StepReport) -> None:
        """A step is done."""

    def validating(self, done: int, total: int) -> None:
        """Frames scored by this process."""

    def validated(self, scores: Scores) -> None:
        """A validation is done."""
