"""Scores: every metric of one pass over a data set, fed frame by frame, and what came out."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import Labels
from tmaseg.evaluation.frames import StreamFrame
from tmaseg.labels import LabelSet
from tmaseg.metrics import (
    Accuracy,
    BoundaryIoU,
    ConfusionMatrix,
    Flicker,
    FlickerResult,
    TemporalConsistency,
    VideoConsistency,
)
from tmaseg.metrics.iou import accuracy
from tmaseg.video.optical_flow import BackwardFlow

Definition = Literal["published", "corrected"]
VC_FRAMES = (8, 16)
DEFINITIONS: tuple[Definition, ...] = ("published", "corrected")


@dataclass(frozen=True)
class FrameScore:
    """One scored frame. Values in [0, 1]; NaN where there was nothing to measure."""

    clip: str
    name: str
    index: int
    """How many scored frames of the split lie before it."""
    miou: float
    """Over the classes true or predicted in this frame."""
    pixel_accuracy: float
    tc: float
    flicker: float


@dataclass(frozen=True, repr=False)
class PassScores:
    """What one pass scored."""

    accuracy: Accuracy
    boundary: NDArray[np.float64]
    """(K,) boundary IoU of each class."""
    boundary_miou: float
    vc: dict[tuple[int, Definition], float]
    """VC by (frames, definition)."""
    vc_windows: dict[tuple[int, Definition], int]
    tc: float
    flicker: FlickerResult
    frames: tuple[FrameScore, ...]
    """In the order of the split."""

    @property
    def vc8(self) -> float:
        """VC8, corrected."""
        return self.vc[8, "corrected"]

    def sequences(self) -> list[tuple[str, int, float]]:
        """Name, frames and mean per-frame mIoU of each sequence, in order."""
        groups: dict[str, list[float]] = {}
        for frame in self.frames:
            groups.setdefault(frame.clip, []).append(frame.miou)
        return [(name, len(values), mean_known(values)) for name, values in groups.items()]


class Scores:
    """The metrics of one pass. Parts scored by other processes can be merged in."""

    def __init__(self, labels: LabelSet) -> None:
        self._classes = len(labels)
        options = {"ignore_index": labels.ignore_index, "void": labels.void}
        self.matrix = ConfusionMatrix(len(labels), **options)  # type: ignore[arg-type]
        self.boundary = BoundaryIoU(len(labels), **options)  # type: ignore[arg-type]
        self.vc = {
            (frames, definition): VideoConsistency(frames, definition=definition, **options)  # type: ignore[arg-type]
            for frames in VC_FRAMES
            for definition in DEFINITIONS
        }
        self.tc = TemporalConsistency(len(labels), **options)  # type: ignore[arg-type]
        self.flicker = Flicker()
        self.frames: list[FrameScore] = []

    def end_run(self) -> None:
        """The next frame does not follow the last one closely."""
        for metric in self.vc.values():
            metric.end_run()
        self.tc.end_run()
        self.flicker.end_run()

    def update_unlabelled(self, prediction: Labels, flow: BackwardFlow | None) -> tuple[float, float]:
        """A frame without ground truth: its own (TC, flicker) against the frame before."""
        return self.tc.update(prediction, flow), self.flicker.update(prediction, flow)

    def update(
        self, frame: StreamFrame, prediction: Labels, truth: Labels, *, raw_truth: Labels, flow: BackwardFlow | None
    ) -> FrameScore:
        """A labelled frame. `raw_truth`: as the label file has it, for VC as published."""
        own = accuracy(self.matrix.update(prediction, truth))
        self.boundary.update(prediction, truth)
        for (_, definition), metric in self.vc.items():
            metric.update(prediction, raw_truth if definition == "published" else truth)
        tc, flicker = self.update_unlabelled(prediction, flow)
        name, clip = frame.frame.name, frame.clip.name
        self.frames.append(FrameScore(clip, name, frame.index, own.miou, own.pixel_accuracy, tc, flicker))
        return self.frames[-1]

    def merge(self, other: "Scores") -> None:
        """Add what another process scored."""
        self.matrix.merge(other.matrix)
        self.boundary.merge(other.boundary)
        for key, metric in self.vc.items():
            metric.merge(other.vc[key])
        self.tc.merge(other.tc)
        self.flicker.merge(other.flicker)
        self.frames += other.frames

    def compute(self) -> PassScores:
        """Everything so far."""
        return PassScores(
            accuracy=self.matrix.compute(),
            boundary=self.boundary.compute(),
            boundary_miou=self.boundary.mean(),
            vc={key: metric.compute() for key, metric in self.vc.items()},
            vc_windows={key: metric.windows for key, metric in self.vc.items()},
            tc=self.tc.compute(),
            flicker=self.flicker.compute(),
            frames=tuple(sorted(self.frames, key=lambda frame: frame.index)),
        )


def mean_known(values: list[float]) -> float:
    """Mean of what is not NaN; NaN of nothing."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
