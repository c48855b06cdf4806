"""WorstFrames: the frames with the lowest scores, kept as small pictures for the report."""

import math
from dataclasses import dataclass, field

import cv2

from tmaseg.arrays import RGB, Labels
from tmaseg.evaluation.submission import error_map
from tmaseg.labels import LabelSet
from tmaseg.render import Painter

_WIDTH_PX = 360


@dataclass(frozen=True, order=True)
class WorstFrame:
    """One frame and what went wrong in it."""

    miou: float
    """In [0, 1]."""
    name: str
    pictures: tuple[tuple[str, bytes], ...] = field(compare=False, repr=False)
    """Title and JPEG file of each: picture, ground truth, prediction, mistakes."""


class WorstFrames:
    """At most `count` frames, those of the lowest mIoU so far."""

    def __init__(self, count: int, labels: LabelSet) -> None:
        self._count = count
        self._labels = labels
        self._painter = Painter(labels, opacity=0.65)
        self.frames: list[WorstFrame] = []
        """The worst first."""

    def offer(self, miou: float, name: str, rgb: RGB, prediction: Labels, truth: Labels) -> None:
        """Keeps the frame if it is bad enough."""
        full = len(self.frames) == self._count
        if not self._count or math.isnan(miou) or (full and miou >= self.frames[-1].miou):
            return
        pictures = {
            "picture": rgb,
            "ground truth": self._painter.paint(rgb, truth),
            "prediction": self._painter.paint(rgb, prediction),
            "mistakes in red": error_map(rgb, prediction, truth, self._labels),
        }
        jpegs = tuple((title, _jpeg(picture)) for title, picture in pictures.items())
        self._keep([*self.frames, WorstFrame(miou, name, jpegs)])

    def merge(self, other: "WorstFrames") -> None:
        """Adds what another process kept."""
        self._keep([*self.frames, *other.frames])

    def _keep(self, frames: list[WorstFrame]) -> None:
        self.frames = sorted(frames)[: self._count]


def _jpeg(picture: RGB) -> bytes:
    height = max(1, round(_WIDTH_PX * picture.shape[0] / picture.shape[1]))
    small = cv2.resize(picture, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
    return bytes(data.tobytes())
