"""ImageCache: decoded pictures and labels, held in memory while there is room, so that each file is read once."""

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.data import ClipFrame, Dataset, read_frame

Image = NDArray[np.uint8]  # (H, W, 3), or (H, W) for labels


class ImageCache:
    """Reads files once, up to a number of bytes; any number of threads may ask."""

    def __init__(self, max_bytes: int, *, short_side: int = 0) -> None:
        """`short_side`: pixels to which larger pictures are reduced, since no crop shows more; 0: as stored."""
        self._short_side = short_side
        self._bytes_left = max_bytes
        self._images: dict[Path, Image] = {}
        self._lock = threading.Lock()

    def picture(self, frame: ClipFrame) -> Image:
        """(H, W, 3) uint8. Raises DataError when it cannot be read."""
        return self._get(frame.image, lambda: self._reduce(read_frame(frame), cv2.INTER_AREA))

    def labels(self, dataset: Dataset, frame: ClipFrame) -> Image:
        """(H, W) uint8 class ids of a labelled frame, of its picture's size. Raises DataError."""
        assert frame.mask is not None
        return self._get(frame.mask, lambda: self._reduce(dataset.truth(frame), cv2.INTER_NEAREST_EXACT))

    def put_labels(self, frame: ClipFrame, labels: Image) -> Image:
        """Caches labels that were read elsewhere; returns them as reduced."""
        assert frame.mask is not None
        return self._put(frame.mask, self._reduce(labels, cv2.INTER_NEAREST_EXACT))

    def _get(self, path: Path, read: Callable[[], Image]) -> Image:
        found = self._images.get(path)
        return self._put(path, read()) if found is None else found

    def _put(self, path: Path, image: Image) -> Image:
        with self._lock:
            if path not in self._images and image.nbytes <= self._bytes_left:
                self._images[path] = image
                self._bytes_left -= image.nbytes
        return image

    def _reduce(self, image: Image, interpolation: int) -> Image:
        height, width = image.shape[:2]
        if not self._short_side or min(height, width) <= self._short_side:
            return image
        factor = self._short_side / min(height, width)
        size_wh = (round(width * factor), round(height * factor))
        return np.asarray(cv2.resize(image, size_wh, interpolation=interpolation), np.uint8)
