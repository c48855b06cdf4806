"""What a run writes beside its video: PNGs of every frame, in one format or several, and statistics as CSV."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from tmaseg.errors import OutputError
from tmaseg.labels import LabelSet
from tmaseg.pipeline.options import PaintOptions, PictureFormat
from tmaseg.pipeline.stages import Output
from tmaseg.video.frame import Frame
from tmaseg.video.muxer import PendingFile
from tmaseg.video.sink import Existing, MaskSink, PictureSink


class PictureWriter:
    """Writes the pictures of one sequence in each of `formats` into the folder beside it in `folders`."""

    def __init__(
        self,
        folders: Sequence[Path],
        formats: Sequence[PictureFormat],
        *,
        paint: PaintOptions,
        labels: LabelSet,
        name: Callable[[Frame], str] | None = None,
        existing: Existing = "refuse",
    ) -> None:
        """`name` and `existing` as in `MaskSink`. Raises OutputError, ConfigError and LabelError."""
        self.outputs: list[Output] = []
        """What `segment` is given."""
        painter = paint.painter(labels, "overlay")
        for place, kind in zip(folders, formats, strict=True):
            if kind == "overlay":
                pictures = PictureSink(place, name=name, existing=existing)
                self.outputs.append(
                    Output(
                        write=lambda frame, _, sink=pictures: sink.write(frame),  # type: ignore[misc]
                        render=lambda frame, labels: frame.with_rgb(painter.paint(frame.rgb, labels)),
                    )
                )
            else:
                masks = MaskSink(place, style=kind, palette=painter.table, name=name, existing=existing)
                self.outputs.append(Output(masks.write))


def folders_of(folder: Path, formats: Sequence[PictureFormat]) -> list[Path]:
    """Where each format goes: one alone into `folder` itself, several into a sub-folder each, named after them."""
    return [folder / kind if len(formats) > 1 else folder for kind in formats]


class StatsFile:
    """One row a frame: its number, its seconds, and for each class its share of the pixels, 0 to 1.

    A context manager. The file appears under its name when it is complete, and not at all when the block is left by an
    exception.
    """

    def __init__(self, path: Path, labels: LabelSet, *, overwrite: bool = False) -> None:
        """Raises OutputError when the file exists and may not be replaced, or its folder cannot be written."""
        self._path, self._labels = path, labels
        self._file = PendingFile(path, overwrite=overwrite)
        self._open: IO[str] | None = None

    def write(self, frame: Frame, labels: NDArray[np.uint8]) -> None:
        """Add a row for labels (H, W) uint8. Raises OutputError."""
        counts = np.bincount(labels.ravel(), minlength=len(self._labels))[: len(self._labels)]
        shares = (f"{count / labels.size:.6f}" for count in counts)
        try:
            if self._open is None:
                self._open = self._file.temporary.open("w", encoding="utf-8", newline="")
                csv.writer(self._open).writerow(["frame", "seconds", *self._labels.names])
            csv.writer(self._open).writerow([frame.index, f"{frame.seconds:.6f}", *shares])
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is None:
            return
        try:
            self._open.close()
            if error is None:
                self._file.complete()
        except OSError as failure:
            raise self._failure(failure) from failure
        finally:
            self._file.discard()

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path} cannot be written: {error.strerror}; check the disk and the folder")
