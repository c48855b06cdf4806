"""TemporalSmoothing: a frame's class probabilities averaged with those of the frames before it, along the motion.

Notation: K classes, h w the logits' resolution, T past frames, t of them so far.
"""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tmaseg.arrays import RGB
from tmaseg.inference.device import Transfer
from tmaseg.video.optical_flow import MIN_SIDE_PX, DenseFlow, Grey, positions, small_grey

_FAR_SECONDS = 0.25  # later, things have turned and changed even where the camera stands
# Chosen on CamVid val at 15 frames a second with both shipped weights, and on train, whose frames are a second apart.
_DECAY = 0.9  # of a past frame's weight with every frame that comes after it
# A past frame's weight falls to 1/e where the picture differs from where the motion leads by so many grey levels, on
# average over a window, or where the motion there and back again ends so far from its start.
_GREY_LEVELS, _WINDOW = 10.0, 3
_APART_PX = 8.0
_SHARED = 0.1  # of the probability: with less of it in common the past counts for less
_NEAR_PX = 2.0  # the motion is found where it ends no further away than this,
_LOST, _FOUND = 0.4, 0.6  # and the past counts nothing where that is a smaller part of the picture, or a larger: fully

Floats = NDArray[np.float32]


class TemporalSmoothing:
    """The class probabilities of the last T frames, where the motion has taken them.

    The motion is found on the CPU (OpenCV's DIS optical flow). The past counts for less where the picture looks
    otherwise there, and where past and present are sure of different classes; for nothing where the motion there and
    back again does not end where it began in much of the picture, or the frames lie too far apart in time.
    Probabilities stay on the network's device.
    """

    def __init__(self, frames: int, transfer: Transfer) -> None:
        """`frames` is T, at least 1; `transfer`: to the network's device."""
        assert frames
        self._frames = frames
        self._transfer = transfer
        self._motion = _Motion()
        self.reset()

    def reset(self) -> None:
        """The next frame does not follow the last."""
        self._grey: Grey | None = None
        self._past: Tensor | None = None
        self._seconds: float | None = None

    def step(self, rgb: RGB, logits: Tensor, seconds: float | None = None) -> Tensor | None:
        """The next frame (H, W, 3) uint8, its logits (1, K, h, w) float32 and its time -> probabilities, summed.

        They are (1, K, h, w), above 0, of any scale. None where no past frame counts: the logits stay as they are.
        """
        grey, probabilities = small_grey(rgb), logits.softmax(1).clamp_min(1e-12)  # with a logarithm
        before, self._grey = self._grey, grey
        past, self._past = self._past, probabilities
        earlier, self._seconds = self._seconds, seconds
        if before is None or past is None or before.shape != grey.shape or past.shape[1:] != logits.shape[1:]:
            return None
        if seconds is not None and earlier is not None and seconds - earlier > _FAR_SECONDS:
            return None
        motion = self._motion(grey, before, (logits.shape[2], logits.shape[3]))
        if motion is None:
            return None
        moved, weight = self._move(past, *motion)
        mean = moved.sum(0, keepdim=True)  # (1, K, h, w)
        weight = weight * _agreement(mean, probabilities)
        self._past = torch.cat([probabilities, moved[: self._frames - 1] * weight])  # (up to T, K, h, w), newest first
        return probabilities + mean * weight

    def _move(self, past: Tensor, source: Floats, weight: Floats) -> tuple[Tensor, Tensor]:
        """past (t, K, h, w) -> the same where the motion takes them, and their weight (h, w)."""
        height, width = past.shape[2:]
        grid = (2 * source + 1) / np.array([width, height], np.float32) - 1  # as grid_sample counts
        given = self._transfer.to_device(np.dstack([grid, _DECAY * weight]))[None]  # (1, h, w, 3)
        # All are channels of one picture, whose positions are worked out once. Outside of it there are zeros.
        moved = functional.grid_sample(past.flatten(0, 1)[None], given[..., :2], align_corners=False)  # (1, t K, h, w)
        return moved.view_as(past), given[0, ..., 2]


def _agreement(past: Tensor, now: Tensor) -> Tensor:
    """Past probabilities (1, K, h, w) of any scale, and new ones -> (1, 1, h, w), 0 to 1."""
    shared = torch.minimum(past / past.sum(1, keepdim=True).clamp_min(1e-12), now).sum(1, keepdim=True)
    return (shared / _SHARED).clamp_max(1)


class _Motion:
    """Optical flow from a frame to the one before it, as far as it can be relied on."""

    def __init__(self) -> None:
        self._there, self._back = DenseFlow("fast"), DenseFlow("rough")

    def __call__(self, grey: Grey, before: Grey, size_hw: tuple[int, int]) -> tuple[Floats, Floats] | None:
        """Where each position of (h, w) was, (h, w, 2), and its weight, (h, w), 0 to 1; None where it is not found."""
        if min(grey.shape) < MIN_SIDE_PX:
            return None
        size = size_hw[::-1]
        ratio = np.array(size, np.float32) / np.array(grey.shape[::-1], np.float32)
        flow, back = (
            cv2.resize(each, size, interpolation=cv2.INTER_AREA)
            for each in (self._there(grey, before), self._back(before, grey))
        )
        source = positions(np.asarray(flow * ratio, np.float32))
        apart = np.linalg.norm(flow + _sampled(back, source), axis=-1)
        found = (float((apart < _NEAR_PX).mean()) - _LOST) / (_FOUND - _LOST)
        if found <= 0:
            return None
        here, there = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (grey, before))
        difference = cv2.blur(cv2.absdiff(here, _sampled(there, source)).astype(np.float32), (_WINDOW, _WINDOW))
        misfit = np.square(difference / _GREY_LEVELS) + np.square(apart / _APART_PX)
        weight = min(1.0, found) * np.exp(-misfit)
        return source, np.asarray(weight, np.float32)


def _sampled(picture: NDArray[Any], source: Floats) -> NDArray[Any]:
    """A picture at the positions (h, w, 2), and beyond its edges the edge."""
    return np.asarray(
        cv2.remap(picture, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )
