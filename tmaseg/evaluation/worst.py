"""WorstFrames: the frames with the lowest scores, kept as small pictures for the report."""

import heapq
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.evaluation.submission import error_map
from tmaseg.labels import LabelSet

RGB = NDArray[np.uint8]  # (H, W, 3)
Labels = NDArray[np.uint8]  # (H, W)

_WIDTH = 360
_OPACITY = 0.65


@dataclass(frozen=True, order=True)
class WorstFrame:
    """One frame and what went wrong in it."""

    badness: float
    """Minus its mIoU: the worst is the largest."""
    name: str
    pictures: tuple[tuple[str, bytes], ...] = field(compare=False, repr=False)
    """What each shows, and its JPEG file: picture, ground truth, prediction, mistakes."""

    @property
    def miou(self) -> float:
        """In [0, 1]."""
        return -self.badness


class WorstFrames:
    """At most `count` frames, the worst so far."""

    def __init__(self, count: int, labels: LabelSet) -> None:
        self._count = count
        self._labels = labels
        self.kept: list[WorstFrame] = []

    def offer(self, miou: float, name: str, rgb: RGB, prediction: Labels, truth: Labels) -> None:
        """Keeps the frame if it is bad enough."""
        if not self._count or np.isnan(miou):
            return
        if len(self.kept) == self._count and -miou <= self.kept[0].badness:
            return
        self._push(WorstFrame(-miou, name, self._pictures(rgb, prediction, truth)))

    def merge(self, other: "WorstFrames") -> None:
        """Adds what another process kept."""
        for frame in other.kept:
            self._push(frame)

    def worst_first(self) -> tuple[WorstFrame, ...]:
        """What is kept."""
        return tuple(sorted(self.kept, reverse=True))

    def _push(self, frame: WorstFrame) -> None:
        push = heapq.heappush if len(self.kept) < self._count else heapq.heappushpop
        push(self.kept, frame)

    def _pictures(self, rgb: RGB, prediction: Labels, truth: Labels) -> tuple[tuple[str, bytes], ...]:
        pictures = {
            "picture": rgb,
            "ground truth": self._paint(rgb, truth),
            "prediction": self._paint(rgb, prediction),
            "mistakes in red": error_map(rgb, prediction, truth, self._labels),
        }
        return tuple((name, _jpeg(picture)) for name, picture in pictures.items())

    def _paint(self, rgb: RGB, labels: Labels) -> RGB:
        colours = self._labels.palette()[labels]
        void = (labels >= len(self._labels)) | np.isin(labels, self._labels.void)
        mixed = rgb * (1 - _OPACITY) + colours * _OPACITY
        mixed[void] = rgb[void] * 0.25
        return mixed.astype(np.uint8)


def _jpeg(picture: RGB) -> bytes:
    height = max(1, round(_WIDTH * picture.shape[0] / picture.shape[1]))
    small = cv2.resize(picture, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
    return bytes(data.tobytes())
