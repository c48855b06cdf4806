"""SegmentedSink: a video as numbered files, each complete as soon as the next begins."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from tmaseg.errors import OutputError
from tmaseg.video.encoder import WriteOptions
from tmaseg.video.frame import Frame
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import StreamInfo


class SegmentedSink:
    """Video files one after the other: `cut` completes the one at hand, and the next frame begins another; see `Sink`.

    Completed files stay, whatever happens later. Leaving the `with` block by an exception discards the last one only.
    """

    def __init__(
        self,
        name: Callable[[int], Path],
        info: StreamInfo,
        options: WriteOptions,
        *,
        first: int = 1,
        length: Fraction | None = None,
        from_zero: bool = True,
    ) -> None:
        """`name(number)` is the file of each segment, counted from `first`.

        `length`: seconds after which a segment is cut by itself. `from_zero`: the time of every segment begins at zero,
        its sound with it; else time stamps are those of the frames. Raises OutputError as `VideoSink`.
        """
        self._name, self._info, self._options = name, info, options
        self._length, self._from_zero = length, from_zero
        self.completed: list[Path] = []
        """Files that are complete, in order."""
        self._first, self._earlier = first, dict[str, None]()
        self._begin = Fraction(0)  # of the segment, in seconds of the frames
        self._sink: VideoSink | None = VideoSink(name(first), info, options)  # checks all that can be checked
        self._fresh = True  # no frame of the segment has come
        self.encoder = self._sink.encoder
        """Name of the video encoder in use."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of all segments, each once."""
        return tuple(self._earlier | dict.fromkeys(self._sink.warnings if self._sink else ()))

    def write(self, frame: Frame) -> None:
        """Encode one frame, in the next segment where this one has its length. Raises OutputError."""
        seconds = frame.pts * frame.time_base
        if self._length is not None and not self._fresh and seconds - self._begin >= self._length:
            self.cut()
        if self._fresh:
            info = replace(self._info, start=seconds) if self._from_zero else self._info
            self._sink = VideoSink(self._name(self._first + len(self.completed)), info, self._options)
            self._begin, self._fresh = seconds, False
        assert self._sink is not None
        self._sink.write(frame)

    def cut(self) -> None:
        """Complete the file at hand; nothing where no frame has come since the last cut. Raises OutputError."""
        if self._fresh or self._sink is None:
            return
        self._sink.cut_sound()
        self._finish()

    def cut_sound(self) -> None:
        """As `VideoSink.cut_sound`, for the last segment."""
        if self._sink:
            self._sink.cut_sound()

    def _finish(self) -> None:
        assert self._sink is not None
        sink, self._sink, self._fresh = self._sink, None, True
        sink.finish()
        self.completed.append(sink.path)
        self._earlier |= dict.fromkeys(sink.warnings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sink is None:
            return
        if error is not None:
            self._sink.discard()
        elif not self._fresh or not self.completed:
            self._finish()


def numbered(path: Path, *, overwrite: bool) -> Callable[[int], Path]:
    """out.mp4 as out-0001.mp4, out-0002.mp4 ... Raises OutputError when such a file exists and may not be replaced."""
    if not overwrite and path.parent.is_dir():
        for there in sorted(path.parent.glob(f"*{path.suffix}")):
            stem, dash, number = there.stem.rpartition("-")
            if stem == path.stem and dash and number.isdecimal():
                raise OutputError(f"{there} exists already; give --overwrite to replace it, or another name")
    return lambda number: path.with_stem(f"{path.stem}-{number:04d}")
