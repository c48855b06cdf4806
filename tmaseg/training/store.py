"""Store: decoded pictures and labels kept in memory, as many as fit."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.data import ClipFrame, Dataset, read_image
from tmaseg.training.kept import Kept

Picture = NDArray[np.uint8]  # (H, W, 3), or (H, W) for labels


class Store:
    """Reads each file once while there is room; any number of threads may ask."""

    def __init__(self, most_bytes: int, *, short_side: int = 0) -> None:
        """`short_side`: larger pictures are stored that small, since no more is ever shown; 0: as they are."""
        self._short_side = short_side
        self._kept: Kept[Picture] = Kept(most_bytes)

    def picture(self, frame: ClipFrame) -> Picture:
        """(H, W, 3) uint8. Raises DataError when it cannot be read."""
        return self._kept.get(frame.image, lambda: self._shrink(read_image(frame.image), cv2.INTER_AREA))

    def labels(self, dataset: Dataset, frame: ClipFrame) -> Picture:
        """(H, W) uint8 class ids of a labelled frame, of its picture's size. Raises DataError."""
        assert frame.mask is not None
        return self._kept.get(frame.mask, lambda: self._shrink_labels(dataset.truth(frame)))

    def keep_labels(self, frame: ClipFrame, labels: Picture) -> Picture:
        """Labels that were read elsewhere, in the size at which they are stored."""
        assert frame.mask is not None
        return self._kept.keep(frame.mask, self._shrink_labels(labels))

    def _shrink_labels(self, labels: Picture) -> Picture:
        return self._shrink(labels, cv2.INTER_NEAREST_EXACT)

    def _shrink(self, picture: Picture, how: int) -> Picture:
        height, width = picture.shape[:2]
        if not self._short_side or min(height, width) <= self._short_side:
            return picture
        factor = self._short_side / min(height, width)
        size = (round(width * factor), round(height * factor))
        return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
