"""HostCrops: planned crops become pixels on the CPU, from pictures kept decoded in memory."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tmaseg.training.scene import View


class Crops(Protocol):
    """Whatever turns planned crops into pixels; threads may ask at once."""

    def pictures(self, views: Sequence[View]) -> Tensor:
        """(N, H, W, 3) uint8. Raises DataError when a file cannot be read."""

    def labels(self, views: Sequence[View]) -> Tensor:
        """(N, H, W) uint8: each data set's class ids; VOID where none is known. Raises DataError."""


class HostCrops:
    """With OpenCV, in the loader's threads."""

    def __init__(self, crop_hw: tuple[int, int]) -> None:
        self._crop_hw = crop_hw

    def pictures(self, views: Sequence[View]) -> Tensor:
        """As `Crops.pictures`."""
        return torch.from_numpy(np.stack([view.picture(self._crop_hw) for view in views]))

    def labels(self, views: Sequence[View]) -> Tensor:
        """As `Crops.labels`."""
        return torch.from_numpy(np.stack([view.labels(self._crop_hw) for view in views]))
