"""Tables, a line for each frame: events as JSON, for programs that act on what is in the picture; statistics as CSV."""

import csv
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import Labels
from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import PartFile, check_output_file, writing
from tmaseg.labels import LabelSet
from tmaseg.pipeline.parts import UnfinishedRun
from tmaseg.video.source import Frame


@dataclass(frozen=True)
class Region:
    """A polygon of the picture."""

    name: str
    points: tuple[tuple[float, float], ...]  # (x, y) of each corner, from 0 to 1 of the width and of the height

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
            with writing(path):
                if size:
                    os.truncate(path, size)
                self._file = path.open("a" if size else "w", encoding="utf-8")

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
        }
        if self._regions:
            masks = zip(self._regions, self._masks[size_hw], strict=True)
            line["regions"] = {region.name: self._shares(labels[mask]) for region, mask in masks}
        if frame.arrival is not None:
            line["latency"] = round(time.monotonic() - frame.arrival, 4)
        try:
            with writing(self._target) if self._target != "-" else nullcontext():
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains again when it ends
            raise OutputError(
                f"--events: standard output cannot be written: {error.strerror}; its reader has left"
            ) from error

    def flush(self) -> int:
        """The size of the file in bytes, all lines written; 0 for what is no file."""
        return 0 if self._target == "-" else os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._target != "-":
            with writing(self._target):
                self._file.close()

    def _shares(self, labels: Labels) -> dict[str, float]:
        shares = _shares(labels, len(self._names))
        return {name: round(float(share), 4) for name, share in zip(self._names, shares, strict=True)}


class StatsFile:
    """One row a frame: its number, its time in seconds, and for each class the fraction of pixels it covers.

    A context manager. The file appears under its name when it is complete, and not at all when the block is left by an
    exception; the rows of a `run` are kept in its folder until then.
    """

    def __init__(
        self, path: Path, labels: LabelSet, *, overwrite: bool = False, run: UnfinishedRun | None = None
    ) -> None:
        """Raises OutputError when the file exists and may not be replaced, or its folder cannot be written."""
        self._path, self._labels = path, labels
        check_output_file(path, overwrite=overwrite)
        self._file = PartFile(path)
        self._kept = run.folder / "stats.csv" if run else None
        self._size = run.size_of("stats") if run else 0
        self._open: IO[str] | None = None

    def write(self, frame: Frame, labels: Labels) -> None:
        """Add a row for labels (H, W) uint8. Raises OutputError."""
        shares = (f"{share:.6f}" for share in _shares(labels, len(self._labels)))
        with writing(self._path):
            csv.writer(self._begun()).writerow([frame.index, f"{frame.seconds:.6f}", *shares])

    def flush(self) -> int:
        """Hands on what was written; the size of the file in bytes. Raises OutputError."""
        with writing(self._path):
            self._begun().flush()
            return os.fstat(self._begun().fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with writing(self._path):
                if self._open is not None:
                    self._open.close()
                if kind is None and self._kept is not None and self._kept.exists():
                    shutil.copyfile(self._kept, self._file.path)
                if kind is None and (self._open is not None or self._size):
                    self._file.commit()
        finally:
            self._file.discard()

    def _begun(self) -> IO[str]:
        """The file, with what is kept of an earlier attempt."""
        if self._open is None:
            path = self._kept or self._file.path
            path.touch()
            os.truncate(path, self._size)
            self._open = path.open("a", encoding="utf-8", newline="")
            if not self._size:
                csv.writer(self._open).writerow(["frame", "seconds", *self._labels.names])
        return self._open


def _shares(labels: Labels, classes: int) -> NDArray[np.float64]:
    """(classes,): the fraction of pixels that each class covers."""
    return np.bincount(labels.ravel(), minlength=256)[:classes] / labels.size
