"""Caches: what was read from files, held in memory while there is room, so that each file is decoded once."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.data import ClipFrame, Dataset, read_image

Image = NDArray[np.uint8]  # (H, W, 3), or (H, W) for labels


class HasBytes(Protocol):
    """An array or a tensor."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""


Value = TypeVar("Value", bound=HasBytes)


class FileCache(Generic[Value]):
    """What was read from each file, up to a number of bytes; any number of threads may ask."""

    def __init__(self, max_bytes: int) -> None:
        self._bytes_left = max_bytes
        self._values: dict[Path, Value] = {}
        self._lock = threading.Lock()

    def get(self, path: Path, read: Callable[[], Value]) -> Value:
        """The cached value of the file, else what `read` returns, which is cached if it fits."""
        found = self._values.get(path)
        return self.put(path, read()) if found is None else found

    def put(self, path: Path, value: Value) -> Value:
        """Caches the value if it fits and the file has none yet; returns it."""
        with self._lock:
            if path not in self._values and value.nbytes <= self._bytes_left:
                self._values[path] = value
                self._bytes_left -= value.nbytes
        return value


class ImageCache:
    """Decoded pictures and labels, reduced to the size at which training needs them."""

    def __init__(self, max_bytes: int, *, short_side: int = 0) -> None:
        """`short_side`: pixels to which larger pictures are reduced, since no crop shows more; 0: as stored."""
        self._short_side = short_side
        self._files: FileCache[Image] = FileCache(max_bytes)

    def picture(self, frame: ClipFrame) -> Image:
        """(H, W, 3) uint8. Raises DataError when it cannot be read."""
        return self._files.get(frame.image, lambda: self._reduce(read_image(frame.image), cv2.INTER_AREA))

    def labels(self, dataset: Dataset, frame: ClipFrame) -> Image:
        """(H, W) uint8 class ids of a labelled frame, of its picture's size. Raises DataError."""
        assert frame.mask is not None
        return self._files.get(frame.mask, lambda: self._reduce_labels(dataset.truth(frame)))

    def put_labels(self, frame: ClipFrame, labels: Image) -> Image:
        """Caches labels that were read elsewhere; returns them as reduced."""
        assert frame.mask is not None
        return self._files.put(frame.mask, self._reduce_labels(labels))

    def _reduce_labels(self, labels: Image) -> Image:
        return self._reduce(labels, cv2.INTER_NEAREST_EXACT)

    def _reduce(self, picture: Image, interpolation: int) -> Image:
        height, width = picture.shape[:2]
        if not self._short_side or min(height, width) <= self._short_side:
            return picture
        factor = self._short_side / min(height, width)
        size_wh = (round(width * factor), round(height * factor))
        return np.asarray(cv2.resize(picture, size_wh, interpolation=interpolation), np.uint8)
