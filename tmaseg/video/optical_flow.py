"""Dense optical flow between the frames of a video, on the CPU: for temporal metrics, key frames and smoothing.

The flow is OpenCV's DIS. Figures made with it are not comparable with published ones, which use RAFT.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_SIDE_PX = 12  # the smallest height and width that DIS takes
# Short side at which motion is found: the shipped weights' own. At half of it key frames lose three times as much on
# CamVid val.
_FLOW_SIDE = 360

Grey = NDArray[np.uint8]  # (H, W)
Flow = NDArray[np.float32]  # (H, W, 2): displacement x, y in pixels


class DenseFlow:
    """OpenCV's DIS optical flow."""

    def __init__(self, quality: Literal["medium", "fast", "rough"] = "medium") -> None:
        """At 480x360 on a core: medium, as OpenCV has it, 16 ms; fast 3 ms, to half a pixel; rough 1 ms, to two."""
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        if quality != "medium":  # patches side by side, not refined; rough: to a quarter of the resolution, not a half
            self._dis.setPatchStride(8)
            self._dis.setGradientDescentIterations(16 if quality == "fast" else 8)
            self._dis.setVariationalRefinementIterations(0)
            self._dis.setFinestScale(1 if quality == "fast" else 2)

    def __call__(self, first: Grey, second: Grey) -> Flow:
        """(H, W, 2): a pixel of `first` plus its flow is its position in `second`, of the same size."""
        flow = np.zeros((*first.shape, 2), np.float32)  # DIS starts from it
        return np.asarray(self._dis.calc(first, second, flow), np.float32)


def small_grey(rgb: NDArray[np.uint8]) -> Grey:
    """(H, W, 3) uint8 -> grey (h, w), at most 360 pixels at the short side: the size at which motion is found."""
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    height, width = grey.shape
    scale = _FLOW_SIDE / min(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    return grey


def warp_labels(labels: NDArray[np.uint8], flow: Flow) -> NDArray[np.uint8]:
    """Labels (H, W) of one frame moved to another, nearest neighbour; `flow` (H, W, 2) leads from the other back."""
    source = positions(flow)
    moved = cv2.remap(labels, source[..., 0], source[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


@dataclass(frozen=True, repr=False)
class BackwardFlow:
    """The flow from a frame to the frame before it, and where it can be relied on."""

    flow: Flow  # (H, W, 2): a pixel plus its flow is its position in the frame before
    inside: NDArray[np.bool_]  # (H, W): that position lies within the frame before
    consistent: NDArray[np.bool_]  # (H, W): inside, and the forward flow leads back: not occluded, nor lost by the flow

    def warp(self, previous: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels (H, W) of the frame before, moved to this one: nearest neighbour; 255 where not inside."""
        return np.where(self.inside, warp_labels(previous, self.flow), 255).astype(np.uint8)

    def __repr__(self) -> str:
        height, width = self.inside.shape
        return f"BackwardFlow({width}x{height}, consistent={self.consistent.mean():.3f})"


class FlowEstimator:
    """Backward flow between each frame and the one before it, with a forward-backward consistency check."""

    tolerance_px = 1.5  # how far from its start the way there and back may end for a pixel to be consistent

    def __init__(self) -> None:
        self._dense = DenseFlow()
        self.reset()

    def reset(self) -> None:
        """Forget the last frame: the next one has no frame before it."""
        self._previous: Grey | None = None

    def update(self, rgb: NDArray[np.uint8]) -> BackwardFlow | None:
        """rgb (H, W, 3) uint8, the next frame. None for the first, and when its size is another or below 12 pixels."""
        grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        previous, self._previous = self._previous, grey
        if previous is None or previous.shape != grey.shape or min(grey.shape) < MIN_SIDE_PX:
            return None
        return _checked(self._dense(grey, previous), self._dense(previous, grey), self.tolerance_px)


def _checked(backward: Flow, forward: Flow, tolerance_px: float) -> BackwardFlow:
    height, width = backward.shape[:2]
    x, y = np.moveaxis(positions(backward), -1, 0)
    # Half a pixel beyond the outer samples still belongs to the outer pixels.
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    back_again = cv2.remap(forward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    error_px = np.linalg.norm(backward + back_again, axis=-1)
    return BackwardFlow(backward, inside, inside & (error_px <= tolerance_px))


def positions(flow: Flow) -> Flow:
    """(H, W, 2): each pixel's position plus its flow (H, W, 2)."""
    height, width = flow.shape[:2]
    positions = flow.copy()
    positions[..., 0] += np.arange(width, dtype=np.float32)
    positions[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    return positions
