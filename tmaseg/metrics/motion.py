"""Motion: where each pixel of a frame was in the frame before it, by optical flow on the CPU.

The flow is OpenCV's DIS. Figures made with it are not comparable with published ones, which use RAFT.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.metrics.iou import Labels

_LEAST_SIDE_PX = 12  # DIS refuses smaller pictures


@dataclass(frozen=True, repr=False)
class Motion:
    """The way back from one frame to the frame before it."""

    source: NDArray[np.float32]
    """(H, W, 2): x and y, in pixels of the frame before, of what each pixel shows."""
    inside: NDArray[np.bool_]
    """(H, W): the source lies within the frame before."""
    trusted: NDArray[np.bool_]
    """(H, W): inside, and the way forward leads back to the pixel: neither uncovered just now nor lost by the flow."""

    def warp(self, previous: Labels) -> Labels:
        """Labels (H, W) of the frame before, moved to where they are now: nearest neighbour; 255 where not inside."""
        x, y = self.source[..., 0], self.source[..., 1]
        moved = cv2.remap(previous, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return np.where(self.inside, moved, 255).astype(np.uint8)

    def __repr__(self) -> str:
        height, width = self.inside.shape
        return f"Motion({width}x{height}, trusted={self.trusted.mean():.3f})"


class MotionEstimator:
    """Dense motion between each frame and the one before it, by OpenCV's DIS optical flow (medium preset)."""

    tolerance_px = 1.5
    """How far from its start the way there and back may end for a pixel to be trusted."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.reset()

    def reset(self) -> None:
        """The next frame has no frame before it."""
        self._previous: NDArray[np.uint8] | None = None

    def update(self, rgb: NDArray[np.uint8]) -> Motion | None:
        """rgb (H, W, 3) uint8, the next frame. None for the first, and when its size is another or below 12 pixels."""
        grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        previous, self._previous = self._previous, grey
        if previous is None or previous.shape != grey.shape or min(grey.shape) < _LEAST_SIDE_PX:
            return None
        # (H, W, 2): a pixel of now + back = its place before; a pixel of before + ahead = its place now.
        return _motion(self._calc(grey, previous), self._calc(previous, grey), self.tolerance_px)

    def _calc(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        flow = np.zeros((*first.shape, 2), np.float32)  # OpenCV starts from it
        return np.asarray(self._flow.calc(first, second, flow), np.float32)


def _motion(back: NDArray[np.float32], ahead: NDArray[np.float32], tolerance_px: float) -> Motion:
    height, width = back.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    source = np.stack([x, y], axis=-1) + back
    # Half a pixel beyond the outer samples still belongs to the outer pixels.
    inside = (
        (source[..., 0] >= -0.5)
        & (source[..., 0] < width - 0.5)
        & (source[..., 1] >= -0.5)
        & (source[..., 1] < height - 0.5)
    )
    there = cv2.remap(ahead, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    astray = np.linalg.norm(back + there, axis=-1)
    return Motion(source.astype(np.float32), inside, inside & (astray <= tolerance_px))
