"""SegmentedSink: a video as numbered files, each complete as soon as the next begins."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from tmaseg.errors import OutputError
from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Frame, StreamInfo


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


class JoinedSink:
    """`begin` a part, `write` its frames and `cut` it; `join` the parts of this run and of earlier ones at the end.

    Parts hold pictures only and stay where they are. Without `join`, the video does not appear.
    """

    def __init__(self, path: Path, info: StreamInfo, options: WriteOptions) -> None:
        """Raises OutputError as `VideoSink`."""
        self._joined = VideoSink(path, info, options)
        self._info = replace(info, location=None, start=Fraction(0), end=None, time_base=self._joined.time_base)
        self._options = replace(options, encoder=self._joined.encoder, audio=False, overwrite=True)
        self._part: VideoSink | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """As `VideoSink.warnings`."""
        return self._joined.warnings

    @property
    def encoder(self) -> str:
        """Name of the video encoder in use."""
        return self._joined.encoder

    def begin(self, path: Path) -> None:
        """The next frame begins a part."""
        self._part = VideoSink(path, self._info, self._options, kind="nut")  # NUT holds any codec, and exact times

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises OutputError."""
        assert self._part is not None
        self._part.write(frame)

    def cut(self) -> list[int]:
        """Complete the part; its `packet_order`. Raises OutputError."""
        assert self._part is not None
        part, self._part = self._part, None
        part.finish()
        return packet_order(part.path)

    def join(self, parts: Iterable[tuple[Path, Sequence[Frame], Sequence[int]]]) -> None:
        """Write the video from each part's file, frames (without pixels) and packet order. Raises OutputError."""
        parts = list(parts)
        delay = max(_decoding_delay(order) for _, _, order in parts)
        for path, frames, order in parts:
            self._joined.copy(path, frames, order, delay)
        self._joined.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sink in (self._part, self._joined):
            if sink is not None:
                sink.discard()


def packet_order(path: Path) -> list[int]:
    """For each packet of a video, in the order of decoding, the place of its frame in the order of showing."""
    with av.open(str(path)) as video:
        stamps = [packet.pts or 0 for packet in video.demux(video=0) if packet.size]
    places = {pts: place for place, pts in enumerate(sorted(stamps))}
    return [places[pts] for pts in stamps]


def _decoding_delay(order: Sequence[int]) -> int:
    """How many frames later than decoded a frame must be shown, so that none is shown before it is decoded."""
    return max((number - place for number, place in enumerate(order)), default=0)
