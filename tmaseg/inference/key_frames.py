"""KeyFrames: which frames of a video pass the network; labels of those between are warped along the motion."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import Labels
from tmaseg.errors import ConfigError
from tmaseg.video.optical_flow import MIN_SIDE_PX, DenseFlow, Grey, small_grey, warp_labels


class KeyFrames:
    """Every n-th frame is a key frame; labels of the frames between are warped by optical flow.

    The motion is OpenCV's DIS optical flow from each frame to the one before it, on the CPU. What comes into the
    picture from outside takes the labels at its edge until the next key frame.
    """

    def __init__(self, every: int | None) -> None:
        """`every` n; 1: all frames are key frames, and no motion is estimated; None: `carry` says which are.

        Raises ConfigError.
        """
        if every is not None and every < 1:
            raise ConfigError(f"--key-frames is {every}; it must be 1 (the network runs on every frame) or more")
        self.every = every
        self._flow = DenseFlow()
        self.reset()

    def reset(self) -> None:
        """The next frame is a key frame."""
        self._grey: Grey | None = None
        self._labels: Labels | None = None
        self._since_key = 0

    def carry(self, rgb: NDArray[np.uint8], *, key_frame: bool = True) -> Labels | None:
        """The next frame (H, W, 3) uint8 -> its labels (H, W); None for a key frame, whose labels `keep` waits for.

        `key_frame` counts where no n is given.
        """
        if self.every == 1:
            return None
        grey = small_grey(rgb)
        before, self._grey = self._grey, grey
        labels, self._labels = self._labels, None
        self._since_key += 1
        due = key_frame if self.every is None else self._since_key >= self.every
        if before is None or labels is None or due:
            return None
        if labels.shape != rgb.shape[:2] or min(grey.shape) < MIN_SIDE_PX:
            return None
        self._labels = self._follow(grey, before, labels)
        return self._labels.copy()  # the caller may paint on it

    def keep(self, labels: Labels) -> None:
        """The network's labels (H, W) of the key frame that `carry` was given last."""
        self._labels = labels.copy()
        self._since_key = 0

    def _follow(self, grey: Grey, before: Grey, labels: Labels) -> Labels:
        """Each pixel's label is that of where it was: nearest neighbour, the edge where it was outside."""
        flow = self._flow(grey, before)
        height, width = labels.shape
        if labels.shape != grey.shape:
            flow = np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
            flow *= np.array([width / grey.shape[1], height / grey.shape[0]], np.float32)
        return warp_labels(labels, flow)
