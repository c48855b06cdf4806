"""What is written of every frame: the video, PNGs in one format or several, and statistics as CSV."""

import csv
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import PartFile, check_not_read, check_output_file
from tmaseg.labels import LabelSet
from tmaseg.options import PictureFormat, RunOptions
from tmaseg.pipeline.events import EventsFile, Region
from tmaseg.pipeline.stages import Output
from tmaseg.render import Painter
from tmaseg.video.frame import Frame
from tmaseg.video.image_sink import Existing, MaskSink, PictureSink
from tmaseg.video.image_source import ImageSource
from tmaseg.video.segments import SegmentedSink, numbered
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Source, StreamInfo
from tmaseg.video.stream_sink import StreamSink

VideoOutput = VideoSink | SegmentedSink | StreamSink


def open_outputs(
    stack: ExitStack, source: Source, labels: LabelSet, options: RunOptions
) -> tuple[list[Output], VideoOutput | None]:
    """Every output of one video, entered on `stack` so that the video is the first to be completed.

    Raises OutputError where one cannot be written or would replace an input, and ConfigError and LabelError for
    painting that cannot work.
    """
    wanted = options.output
    if not wanted.wanted:
        raise ConfigError("nothing to write: give -o OUT, --masks DIR, --stats FILE, --events FILE or --preview PORT")
    _check_not_inputs(source, options)
    painter = options.paint.painter(labels)
    outputs: list[Output] = []
    sink: VideoOutput | None = None
    if wanted.regions and not wanted.events:
        raise ConfigError("--region is for events: give --events - or --events FILE as well")
    regions = [Region.parse(text) for text in wanted.regions or ()]
    if wanted.events:
        events = EventsFile(wanted.events, labels, regions, overwrite=wanted.overwrite)
        outputs.append(Output(stack.enter_context(events).write))
    if wanted.stats:
        stats = StatsFile(wanted.stats, labels, overwrite=wanted.overwrite)
        outputs.append(Output(stack.enter_context(stats).write))
    if wanted.masks:
        outputs += picture_outputs(
            folders_of(wanted.masks, wanted.mask_formats),
            wanted.mask_formats,
            options.paint.painter(labels, "overlay"),
            existing="replace" if wanted.overwrite else "refuse",
        )
    if wanted.output:
        sink = _video_sink(source.info, options)
        stack.enter_context(sink)
        outputs.append(_painted(sink, painter))
    return outputs, sink


def _video_sink(info: StreamInfo, options: RunOptions) -> VideoOutput:
    """The video file, numbered files, or stream that `options` name. Raises OutputError."""
    wanted, written = options.output, options.output.write_options(options.input)
    if wanted.stream:
        return StreamSink(wanted.stream, info, written)
    assert wanted.video is not None
    if wanted.segment is None:
        return VideoSink(wanted.video, info, written)
    name = numbered(wanted.video, overwrite=wanted.overwrite)
    return SegmentedSink(name, info, written, length=Fraction(wanted.segment))


def picture_outputs(
    folders: Sequence[Path],
    formats: Sequence[PictureFormat],
    painter: Painter,
    *,
    name: Callable[[Frame], str] | None = None,
    existing: Existing = "refuse",
) -> list[Output]:
    """PNGs in each of `formats`, in the folder beside it in `folders`; `name` and `existing` as in `MaskSink`.

    Raises OutputError.
    """
    outputs = []
    for folder, kind in zip(folders, formats, strict=True):
        if kind == "overlay":
            outputs.append(_painted(PictureSink(folder, name=name, existing=existing), painter))
        elif kind == "confidence":
            sure = MaskSink(folder, name=name, existing=existing)
            outputs.append(Output(sure.write, confidence=True))
        else:
            masks = MaskSink(folder, style=kind, palette=painter.table, name=name, existing=existing)
            outputs.append(Output(masks.write))
    return outputs


def folders_of(folder: Path, formats: Sequence[PictureFormat]) -> list[Path]:
    """Where each format goes: one alone into `folder` itself, several into a sub-folder each, named after them."""
    return [folder / kind if len(formats) > 1 else folder for kind in formats]


def _check_not_inputs(source: Source, options: RunOptions) -> None:
    """Raises OutputError when an output would replace an input, or lie in a folder of images that is read."""
    images = source.paths if isinstance(source, ImageSource) else ()
    named = (source.info.name, options.model.weights, options.paint.palette)
    check_not_read(options.output.paths, [*(Path(name) for name in named if name), *images])
    if options.output.masks:
        read = {path.parent.resolve() for path in images}
        for folder in folders_of(options.output.masks, options.output.mask_formats):
            if folder.resolve() in read:
                raise OutputError(f"{folder} holds images that are read; write the masks to another folder")


def _painted(sink: VideoOutput | PictureSink, painter: Painter) -> Output:
    return Output(
        write=lambda frame, _: sink.write(frame),
        render=lambda frame, labels: frame.with_rgb(painter.paint(frame.rgb, labels)),
    )


class StatsFile:
    """One row a frame: its number, its time in seconds, and for each class the fraction of pixels it covers.

    A context manager. The file appears under its name when it is complete, and not at all when the block is left by an
    exception.
    """

    def __init__(self, path: Path, labels: LabelSet, *, overwrite: bool = False) -> None:
        """Raises OutputError when the file exists and may not be replaced, or its folder cannot be written."""
        self._path, self._labels = path, labels
        check_output_file(path, overwrite=overwrite)
        self._file = PartFile(path)
        self._open: IO[str] | None = None

    def write(self, frame: Frame, labels: NDArray[np.uint8]) -> None:
        """Add a row for labels (H, W) uint8. Raises OutputError."""
        counts = np.bincount(labels.ravel(), minlength=len(self._labels))[: len(self._labels)]
        shares = (f"{count / labels.size:.6f}" for count in counts)
        try:
            if self._open is None:
                self._open = self._file.path.open("w", encoding="utf-8", newline="")
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
                self._file.commit()
        except OSError as failure:
            raise self._failure(failure) from failure
        finally:
            self._file.discard()

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path} cannot be written: {error.strerror}; check the disk and the folder")
