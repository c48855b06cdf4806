"""BoundaryIoU: intersection over union of the rims of the classes, where large flat areas no longer hide the edges."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import Labels
from tmaseg.metrics.iou import Counts, Floats, mean_known


class BoundaryIoU:
    """Boundary IoU (Cheng et al., CVPR 2021), for each class over all frames.

    A class's rim is its pixels within `width` of its outline, the picture's edge included. Void pixels are taken out of
    truth and prediction alike before rims are drawn, so an outline towards void is the same in both.
    """

    def __init__(self, classes: int, *, ignore_index: int = 255, void: Sequence[int] = (), width: float = 0.02) -> None:
        self.classes = classes
        self.width = width
        """Rim width as a fraction of the frame's diagonal; the paper's 2 %."""
        self._void = [ignore_index, *void]
        self._scored = [index for index in range(classes) if index not in self._void]
        self.intersection: Counts = np.zeros(self.classes, np.int64)
        self.union: Counts = np.zeros(self.classes, np.int64)

    def update(self, prediction: Labels, truth: Labels) -> None:
        """Count one frame: prediction and truth (H, W) uint8."""
        valid = ~np.isin(truth, self._void)
        pixels = max(1, round(self.width * float(np.hypot(*truth.shape))))
        pixels_of = np.bincount(truth[valid], minlength=256) + np.bincount(prediction[valid], minlength=256)
        for index in self._scored:
            if pixels_of[index]:
                true = rim((truth == index) & valid, pixels)
                predicted = rim((prediction == index) & valid, pixels)
                self.intersection[index] += np.count_nonzero(true & predicted)
                self.union[index] += np.count_nonzero(true | predicted)

    def merge(self, other: "BoundaryIoU") -> None:
        """Add what another metric of the same classes counted."""
        self.intersection += other.intersection
        self.union += other.union

    def compute(self) -> Floats:
        """(K,) boundary IoU of each class; NaN for a class neither true nor predicted anywhere."""
        out: Floats = np.full(self.classes, np.nan)
        return np.divide(self.intersection, self.union, out=out, where=self.union > 0)

    def mean(self) -> float:
        """Mean of `compute` over the classes that are true or predicted somewhere; NaN of none."""
        return mean_known(self.compute())


def rim(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The pixels of mask (H, W) within `pixels` (chessboard distance) of what is not mask, the outside included."""
    # One erosion by a (2 pixels + 1) square is `pixels` erosions by 3x3, and OpenCV does it as rows and columns.
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    inner = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    return np.asarray(mask & (inner == 0), np.bool_)
