"""Scores: every metric of one pass over a data set, fed frame by frame."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tmaseg.arrays import Labels
from tmaseg.evaluation.frames import StreamFrame
from tmaseg.evaluation.pictures import WorstFrames
from tmaseg.labels import LabelSet
from tmaseg.metrics import BoundaryIoU, ConfusionMatrix, Flicker, TemporalConsistency, VideoConsistency
from tmaseg.metrics.iou import accuracy, mean_known
from tmaseg.video.optical_flow import BackwardFlow

Definition = Literal["published", "corrected"]
VC_FRAMES = (8, 16)
DEFINITIONS: tuple[Definition, ...] = ("published", "corrected")


@dataclass(frozen=True)
class FrameScore:
    """One scored frame. Its mIoU is in [0, 1]; NaN where no pixel was counted."""

    clip: str
    name: str
    miou: float
    """Over the classes true or predicted in this frame."""


class Scores:
    """The metrics of one pass. Parts scored by other processes can be merged in."""

    def __init__(self, labels: LabelSet, *, worst: int = 0) -> None:
        """`worst`: how many of the frames with the lowest mIoU are kept as pictures."""
        classes, ignore_index, void = len(labels), labels.ignore_index, labels.void
        self.matrix = ConfusionMatrix(classes, ignore_index=ignore_index, void=void)
        self.boundary = BoundaryIoU(classes, ignore_index=ignore_index, void=void)
        self.vc = {
            (frames, definition): VideoConsistency(frames, definition=definition, ignore_index=ignore_index, void=void)
            for frames in VC_FRAMES
            for definition in DEFINITIONS
        }
        self.tc = TemporalConsistency(classes, ignore_index=ignore_index, void=void)
        self.flicker = Flicker()
        self.frames: list[FrameScore] = []
        self.worst = WorstFrames(worst, labels)
        self.seconds: list[float] = []
        """What the network took for each frame, scored or not."""

    def end_run(self) -> None:
        """The next frame does not follow the last one closely."""
        for metric in self.vc.values():
            metric.end_run()
        self.tc.end_run()
        self.flicker.end_run()

    def update(
        self,
        frame: StreamFrame,
        prediction: Labels,
        truth: tuple[Labels, Labels] | None,
        flow: BackwardFlow | None,
    ) -> None:
        """The next scored frame.

        `truth`: its class ids, and the values in the label file, for VC as published; None without ground truth.
        `flow`: from the scored frame before.
        """
        if not frame.follows:
            self.end_run()
        self.tc.update(prediction, flow)
        self.flicker.update(prediction, flow)
        if truth is None:
            return
        ids, values = truth
        miou = accuracy(self.matrix.update(prediction, ids)).miou
        self.boundary.update(prediction, ids)
        for (_, definition), metric in self.vc.items():
            metric.update(prediction, values if definition == "published" else ids)
        self.frames.append(FrameScore(frame.clip.name, frame.frame.name, miou))
        self.worst.offer(miou, frame.frame.name, frame.rgb, prediction, ids)

    def merge(self, other: "Scores") -> None:
        """Add what another process scored."""
        self.matrix.merge(other.matrix)
        self.boundary.merge(other.boundary)
        for key, metric in self.vc.items():
            metric.merge(other.vc[key])
        self.tc.merge(other.tc)
        self.flicker.merge(other.flicker)
        self.frames += other.frames
        self.worst.merge(other.worst)
        self.seconds += other.seconds

    def sequences(self) -> list[tuple[str, int, float]]:
        """Name, frames and mean per-frame mIoU of each sequence, in order."""
        groups: dict[str, list[float]] = {}
        for frame in self.frames:
            groups.setdefault(frame.clip, []).append(frame.miou)
        return [(name, len(values), mean_known(np.array(values))) for name, values in groups.items()]
