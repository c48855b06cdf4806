"""Callback: what a run reports while it trains. The command line draws a bar; a script may ignore it all."""

import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StepReport:
    """One step."""

    step: int  # steps done, this one included
    loss: float
    lr: float
    progress: float  # how far the run is, 0 to 1
    seconds: float  # duration of the run, validations included, but not the time between a stop and a resume
    left_seconds: float | None  # until the end; None before that is known


@dataclass(frozen=True)
class ValidationScores:
    """One validation."""

    step: int
    miou: dict[str, float]  # of each data set, 0 to 1; NaN where none of its classes was scored
    best: bool  # whether it is the best so far
    frames: int  # number of scored frames
    final: bool = False  # whether these are the best weights, scored on every frame at the end

    @property
    def mean(self) -> float:
        """What the best is chosen by: the mean over the data sets; 0 without any."""
        known = [value for value in self.miou.values() if not math.isnan(value)]
        return sum(known) / len(known) if known else 0.0


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    output: Path
    steps: int
    seconds: float
    interrupted: bool  # whether it was stopped before its end; it can be resumed
    scores: ValidationScores | None  # of the last validation
    best: float | None  # highest mean mIoU of all validations


class Callback:
    """Gets every event and does nothing: override what matters."""

    def note(self, text: str) -> None:
        """Something worth saying once."""

    def labels_checked(self, name: str, done: int, total: int) -> None:
        """Label files of a data set that were read before the first step."""

    def step_done(self, report: StepReport) -> None:
        """A step is done."""

    def frames_validated(self, done: int, total: int) -> None:
        """Frames scored by this process."""

    def validation_done(self, scores: ValidationScores) -> None:
        """A validation is done."""
