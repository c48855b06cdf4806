"""Events: a line of JSON for each frame, at once, for programs that act on what is in the picture."""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import Labels
from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import check_output_file
from tmaseg.labels import LabelSet
from tmaseg.video.source import Frame


@dataclass(frozen=True)
class Region:
    """A polygon of the picture."""

    name: str
    points: tuple[tuple[float, float], ...]
    """(x, y) of each corner, from 0 to 1 of the width and of the height."""

    @classmethod
    def parse(cls, text: str) -> "Region":
        """NAME=x,y,x,y,x,y... Raises ConfigError."""
        name, _, listed = text.partition("=")
        try:
            numbers = [float(number) for number in listed.split(",")]
        except ValueError:
            numbers = []
        if not name.strip() or len(numbers) < 6 or len(numbers) % 2 or not all(0 <= each <= 1 for each in numbers):
            raise ConfigError(
                f"--region is {text!r}; write NAME=x,y,x,y,x,y with three corners or more, in shares of width and "
                "height from 0 to 1, such as lane=0.4,0.6,0.6,0.6,0.9,1,0.1,1"
            )
        return cls(name.strip(), tuple(zip(numbers[::2], numbers[1::2], strict=True)))

    def mask(self, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W): the pixels inside, the edge included."""
        height, width = size_hw
        corners = np.array([(x * (width - 1), y * (height - 1)) for x, y in self.points])
        return cv2.fillPoly(np.zeros(size_hw, np.uint8), [corners.round().astype(np.int32)], 1).astype(bool)


class EventsFile:
    """Lines such as {"frame": 5, "seconds": 0.2, "time": ..., "shares": {"road": 0.31, ...}, "regions": {...}}.

    `time` is that of writing, in seconds since 1970; `shares` are of the picture, or of each region, by class; a live
    source has `latency`, the seconds since the frame came. Every line is flushed. A context manager.
    """

    def __init__(
        self, target: str, labels: LabelSet, regions: Sequence[Region], *, overwrite: bool = False, size: int = 0
    ) -> None:
        """`target`: a file, a named pipe, or "-" for standard output. `size`: bytes of a file that are kept.

        Raises OutputError where it cannot be written.
        """
        self._target, self._names, self._regions = target, labels.names, regions
        self._masks: dict[tuple[int, int], list[NDArray[np.bool_]]] = {}
        self._file: IO[str] = sys.stdout
        if target != "-":
            path = Path(target)
            check_output_file(path, overwrite=overwrite or path.is_fifo() or target.startswith("/dev/"))
            try:
                if size:
                    os.truncate(path, size)
                self._file = path.open("a" if size else "w", encoding="utf-8")
            except OSError as error:
                raise self._failure(error) from error

    def write(self, frame: Frame, labels: Labels) -> None:
        """Add the line of a frame with labels (H, W). Raises OutputError."""
        size_hw = (labels.shape[0], labels.shape[1])
        if size_hw not in self._masks:
            self._masks[size_hw] = [region.mask(size_hw) for region in self._regions]
        line: dict[str, object] = {
            "frame": frame.index,
            "seconds": round(frame.seconds, 6),
            "time": round(time.time(), 3),
            "shares": self._shares(labels),
            "regions": {
                region.name: self._shares(labels[mask])
                for region, mask in zip(self._regions, self._masks[size_hw], strict=True)
            },
        }
        if not self._regions:
            del line["regions"]
        if frame.arrival is not None:
            line["latency"] = round(time.monotonic() - frame.arrival, 4)
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def flush(self) -> int:
        """The size of the file in bytes, all lines written; 0 for what is no file."""
        return 0 if self._target == "-" else os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._target == "-":
            return
        try:
            self._file.close()
        except OSError as failure:
            raise self._failure(failure) from failure

    def _shares(self, labels: Labels) -> dict[str, float]:
        counts = np.bincount(labels.ravel(), minlength=256)
        return {name: round(float(count / labels.size), 4) for name, count in zip(self._names, counts, strict=False)}

    def _failure(self, error: OSError) -> OutputError:
        if self._target == "-":
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains again when it ends
            return OutputError(f"--events: standard output cannot be written: {error.strerror}; its reader has left")
        return OutputError(f"{self._target} cannot be written: {error.strerror}; check the disk and the folder")
