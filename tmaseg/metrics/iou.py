"""ConfusionMatrix: pixels by true and predicted class, and the accuracies computed from it; BoundaryIoU.

Notation: K classes, H W frame. Rows are the truth, columns the prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import Labels
from tmaseg.errors import DataError

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Accuracy:
    """Accuracies computed from a confusion matrix. Fractions are in [0, 1]; NaN where there was nothing to count."""

    confusion: Counts
    """(K, K + 1) pixels: row true class, column predicted class; the last column is "none of the classes"."""
    iou: Floats
    """(K,) intersection over union; NaN for a class neither true nor predicted anywhere, and for one left out."""
    class_accuracy: Floats
    """(K,) fraction of a class's true pixels that were predicted as it (recall); NaN for a class that never occurs."""
    miou: float  # mean of `iou` over the classes that are true or predicted somewhere
    miou_present: float  # mean of `iou` over the classes that occur in the truth: VSPW's definition
    mean_accuracy: float  # mean of `class_accuracy` over the classes that occur
    pixel_accuracy: float  # fraction of scored pixels that are right
    frequency_weighted_iou: float  # mean of `iou` weighted by each class's fraction of the true pixels

    def __repr__(self) -> str:
        return f"Accuracy(miou={self.miou:.4f}, pixel_accuracy={self.pixel_accuracy:.4f}, classes={len(self.iou)})"


class ConfusionMatrix:
    """Counts of true against predicted classes.

    A pixel whose truth is `ignore_index` or a class in `void` is not counted at all. A prediction that is no class, or
    a void one, on a counted pixel is a mistake: it misses the true class and is a false alarm for none.
    """

    def __init__(self, classes: int, *, ignore_index: int = 255, void: Sequence[int] = ()) -> None:
        assert 1 <= classes <= 255
        self.classes = classes
        self.ignore_index = ignore_index
        self.void = tuple(void)
        # 256 entries so that a prediction of any 8-bit value has a column; all that are no class go to the last.
        self._columns = np.minimum(np.arange(256), classes)
        self._columns[list(self.void)] = classes
        self._known = np.arange(256) < classes
        self._scored = self._known.copy()
        self._scored[[ignore_index, *self.void]] = False
        self.counts: Counts = np.zeros((self.classes, self.classes + 1), np.int64)

    def update(self, prediction: Labels, truth: Labels) -> Counts:
        """Count one frame: prediction and truth (H, W) uint8. Returns the frame's own (K, K + 1) counts.

        Raises DataError when the shapes differ or the truth holds an id that is neither a class nor `ignore_index`.
        """
        if prediction.shape != truth.shape:
            raise DataError(
                f"the prediction is {_size(prediction)} and its ground truth {_size(truth)}: "
                "they must have one size; resize the prediction with nearest neighbour"
            )
        pairs = np.bincount(truth.astype(np.intp).ravel() * 256 + prediction.ravel(), minlength=65536)
        table = pairs.reshape(256, 256)
        unknown = [int(value) for value in np.flatnonzero(table.any(axis=1) & ~self._known)]
        if unknown and unknown != [self.ignore_index]:
            listed = ", ".join(str(value) for value in unknown if value != self.ignore_index)
            raise DataError(
                f"the ground truth holds the ids {listed}; expected 0 to {self.classes - 1}, or {self.ignore_index} "
                "for void: map them with id_map (see `tmaseg data check`)"
            )
        merged = np.zeros((256, self.classes + 1), np.int64)
        np.add.at(merged.T, self._columns, table.T)
        merged[~self._scored] = 0
        self.counts += merged[: self.classes]
        return merged[: self.classes]

    def merge(self, other: "ConfusionMatrix") -> None:
        """Add what another matrix of the same classes counted."""
        self.counts += other.counts

    def compute(self) -> Accuracy:
        """Accuracies of all pixels counted so far."""
        return accuracy(self.counts)


def accuracy(counts: Counts) -> Accuracy:
    """Accuracies of (K, K + 1) counts."""
    classes = len(counts)
    right = np.diagonal(counts).astype(np.float64)
    true = counts.sum(axis=1).astype(np.float64)
    predicted = counts[:, :classes].sum(axis=0).astype(np.float64)
    iou = _fraction(right, true + predicted - right)
    recall = _fraction(right, true)
    present = true > 0
    total = true.sum()
    return Accuracy(
        confusion=counts.copy(),
        iou=iou,
        class_accuracy=recall,
        miou=mean_known(iou),
        miou_present=mean_known(iou[present]),
        mean_accuracy=mean_known(recall),
        pixel_accuracy=float(right.sum() / total) if total else float("nan"),
        frequency_weighted_iou=float((true[present] * iou[present]).sum() / total) if total else float("nan"),
    )


def _fraction(part: Floats, total: Floats) -> Floats:
    return np.divide(part, total, out=np.full_like(part, np.nan), where=total > 0)


def mean_known(values: Floats) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _size(labels: Labels) -> str:
    return "x".join(map(str, labels.shape[::-1]))


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
