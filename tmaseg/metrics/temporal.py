"""Temporal consistency of label maps: VC against ground truth; TC and flicker along the optical flow.

Every metric here is updated frame by frame and keeps a constant amount of state. After `end_run` the next frame does
not follow the one before it.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import Labels
from tmaseg.metrics.iou import ConfusionMatrix
from tmaseg.video.optical_flow import BackwardFlow

Runs = NDArray[np.int32]


class VideoConsistency:
    """VC_n (Miao et al., CVPR 2021): of the pixels whose truth stands still for n frames, the fraction predicted so.

    Two definitions, each averaged over the windows of n consecutive labelled frames:

    - "published": what VSPW's script computes. A pixel agrees when truth and prediction are each constant over the
      window, equal or not; void counts like a class; a run of L frames has L - n windows, one fewer than it could.
    - "corrected": a pixel agrees when every prediction in the window equals the truth; void never counts; all
      L - n + 1 windows.
    """

    def __init__(
        self,
        frames: int,
        *,
        definition: Literal["published", "corrected"] = "corrected",
        ignore_index: int = 255,
        void: Sequence[int] = (),
    ) -> None:
        assert frames >= 2
        self.frames = frames
        self.definition = definition
        self._void = [ignore_index, *void]
        self.total = 0.0
        self.windows = 0
        self.end_run()

    def end_run(self) -> None:
        """The next frame does not follow the last one."""
        self._before: tuple[Labels, Labels] | None = None
        self._pending: float | None = None

    def update(self, prediction: Labels, truth: Labels) -> None:
        """The next frame of a run: prediction and truth (H, W) uint8. A frame of another size starts a run."""
        if self._before is not None and self._before[0].shape != truth.shape:
            self.end_run()
        self._extend(prediction, truth)
        self._before = (prediction.copy(), truth.copy())
        still = self._truth_run >= self.frames
        if self._length < self.frames:
            return
        if self.definition == "published":
            # The script stops one window early: a window counts once the run is known to go on after it.
            self._add(self._pending)
            self._pending = _fraction(still & (self._prediction_run >= self.frames), still)
        else:
            still &= ~np.isin(truth, self._void)
            self._add(_fraction(still & (self._right_run >= self.frames), still))

    def _extend(self, prediction: Labels, truth: Labels) -> None:
        """For how many frames up to this one each pixel's truth and prediction have been constant, and right."""
        right = prediction == truth
        if self._before is None:
            self._length = 1
            self._truth_run: Runs = np.ones(truth.shape, np.int32)
            self._prediction_run: Runs = np.ones(truth.shape, np.int32)
            self._right_run: Runs = right.astype(np.int32)
            return
        self._length += 1
        self._truth_run = np.where(self._before[1] == truth, self._truth_run + 1, 1)
        self._prediction_run = np.where(self._before[0] == prediction, self._prediction_run + 1, 1)
        self._right_run = np.where(right, self._right_run + 1, 0)

    def _add(self, value: float | None) -> None:
        if value is not None:
            self.total += value
            self.windows += 1

    def merge(self, other: "VideoConsistency") -> None:
        """Add another metric's finished windows."""
        self.total += other.total
        self.windows += other.windows

    def compute(self) -> float:
        """VC_n in [0, 1]; NaN when no run was long enough."""
        return self.total / self.windows if self.windows else float("nan")


class FlowConsistency:
    """Predictions against those of the frame before, moved along the optical flow. No ground truth is needed.

    TC is the mIoU between the two; pixels that were outside the frame before are not counted. VSPW moves the later
    prediction back with RAFT's flow: its figures are not comparable. Flicker is the fraction of pixels of another
    label; only those with consistent flow count: occlusions and lost flow would count as flicker.
    """

    def __init__(self, classes: int, *, ignore_index: int = 255, void: Sequence[int] = ()) -> None:
        self._matrix = ConfusionMatrix(classes, ignore_index=ignore_index, void=void)
        self._flicker = self._changed = 0.0  # sums over the pairs
        self.pairs = 0
        """Pairs of frames with consistent flow."""
        self.end_run()

    def end_run(self) -> None:
        """The next frame does not follow the last one."""
        self._previous: Labels | None = None

    def update(self, prediction: Labels, flow: BackwardFlow | None) -> float:
        """The next prediction (H, W) uint8 and its backward flow. Returns the pair's own flicker, or NaN."""
        previous, self._previous = self._previous, prediction.copy()
        if previous is None or flow is None or previous.shape != prediction.shape:
            return float("nan")
        expected = flow.warp(previous)
        # Outside the previous frame, and where it predicted no class, nothing is expected.
        known = (expected < self._matrix.classes) & flow.inside
        truth = np.where(known, expected, self._matrix.ignore_index).astype(np.uint8)
        self._matrix.update(np.where(known, prediction, 0).astype(np.uint8), truth)
        if not flow.consistent.any():
            return float("nan")
        flicker = float((expected != prediction)[flow.consistent].mean())
        self._flicker += flicker
        self._changed += float((previous != prediction).mean())
        self.pairs += 1
        return flicker

    def merge(self, other: "FlowConsistency") -> None:
        """Add another metric's pairs."""
        self._matrix.merge(other._matrix)
        self._flicker += other._flicker
        self._changed += other._changed
        self.pairs += other.pairs

    @property
    def tc(self) -> float:
        """In [0, 1], over all pixels of all pairs; NaN without a pair."""
        return self._matrix.compute().miou

    @property
    def flicker(self) -> float:
        """Mean over the pairs, in [0, 1]; NaN without a pair."""
        return self._flicker / self.pairs if self.pairs else float("nan")

    @property
    def changed(self) -> float:
        """Mean fraction of all pixels whose label differs from the frame before at the same position: motion, too."""
        return self._changed / self.pairs if self.pairs else float("nan")


def _fraction(part: NDArray[np.bool_], total: NDArray[np.bool_]) -> float | None:
    """None for a window with nothing to count: it is left out of the mean, as NaN is upstream."""
    pixels = np.count_nonzero(total)
    return float(np.count_nonzero(part) / pixels) if pixels else None
