"""Agreement: masks against the truth of a source that knows it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmaseg.labels import LabelSet, map_by_name
from tmaseg.metrics.iou import ConfusionMatrix
from tmaseg.pipeline.report import AgreementReport
from tmaseg.video.frame import Frame

Labels = NDArray[np.uint8]  # (H, W) class ids


@dataclass(frozen=True)
class Truth:
    """The right class ids of every frame of a source."""

    labels: LabelSet
    of: Callable[[Frame], Labels]
    """The truth of a frame, (H, W) uint8."""


class Agreement:
    """Counts frame by frame. Truth is mapped to the classes of the weights by name: a truck is a car to CamVid."""

    def __init__(self, truth: Truth, labels: LabelSet) -> None:
        self._truth, self._labels = truth, labels
        self._table = map_by_name(truth.labels, labels).table
        self._matrix = ConfusionMatrix(len(labels), ignore_index=labels.ignore_index, void=labels.void)

    def update(self, frame: Frame, labels: Labels) -> None:
        """Count one frame's labels (H, W) uint8."""
        self._matrix.update(labels, np.asarray(self._table[self._truth.of(frame)], np.uint8))

    def compute(self) -> AgreementReport:
        """The figures so far."""
        accuracy = self._matrix.compute()
        classes = {name: float(iou) for name, iou in zip(self._labels.names, accuracy.iou, strict=True)}
        return AgreementReport(accuracy.pixel_accuracy, accuracy.miou, classes)
