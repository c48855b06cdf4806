"""Videos in several files: numbered ones that are complete one by one, and parts that are joined at the end."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Self

import av

from tmaseg.errors import OutputError
from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Frame, StreamInfo


class SegmentedSink:
    """A video as numbered files (out.mp4: out-0001.mp4, ...), each complete before the next begins; see `VideoSink`.

    Each one's time begins at zero, its sound with it. Completed files stay, whatever happens later: leaving the `with`
    block by an exception discards the last one only.
    """

    def __init__(self, path: Path, info: StreamInfo, options: WriteOptions, *, length: Fraction) -> None:
        """`length`: seconds of a file. Raises OutputError as `VideoSink`."""
        if not options.overwrite and path.parent.is_dir():
            for there in sorted(path.parent.glob(f"*{path.suffix}")):
                stem, dash, number = there.stem.rpartition("-")
                if stem == path.stem and dash and number.isdecimal():
                    raise OutputError(f"{there} exists already; give --overwrite to replace it, or another name")
        self._path, self._info, self._options, self._length = path, info, options, length
        self.completed: list[Path] = []  # files that are complete, in order
        self._earlier = dict[str, None]()  # warnings of completed files
        self._begin: Fraction | None = None  # of this file, in seconds of the frames; None: it has none yet
        self._sink = self._open(info)  # checks all that can be checked
        self.encoder = self._sink.encoder  # name of the video encoder in use

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of all files, each once."""
        return tuple(self._earlier | dict.fromkeys(self._sink.warnings))

    def write(self, frame: Frame) -> None:
        """Encodes one frame, into the next file where this one has its length. Raises OutputError."""
        seconds = frame.pts * frame.time_base
        if self._begin is not None and seconds - self._begin >= self._length:
            self._sink.cut_sound()
            self._complete()
        if self._begin is None:
            self._sink = self._open(replace(self._info, start=seconds))
            self._begin = seconds
        self._sink.write(frame)

    def cut_sound(self) -> None:
        """As `VideoSink.cut_sound`, for the last file."""
        self._sink.cut_sound()

    def _open(self, info: StreamInfo) -> VideoSink:
        number = 1 + len(self.completed)
        return VideoSink(self._path.with_stem(f"{self._path.stem}-{number:04d}"), info, self._options)

    def _complete(self) -> None:
        self._begin = None
        self._sink.finish()
        self.completed.append(self._sink.path)
        self._earlier |= dict.fromkeys(self._sink.warnings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._complete()
        else:
            self._sink.discard()


class JoinedSink:
    """`begin` a part, `write` its frames and `cut` it; `join` the parts of this run and of earlier ones at the end.

    Parts hold the video only and stay where they are. Without `join`, the video does not appear.
    """

    def __init__(self, path: Path, info: StreamInfo, options: WriteOptions) -> None:
        """Raises OutputError as `VideoSink`."""
        self._joined = VideoSink(path, info, options)
        self.encoder = self._joined.encoder  # name of the video encoder in use
        self._info = replace(info, location=None, start=Fraction(0), end=None, time_base=self._joined.time_base)
        self._options = replace(options, encoder=self.encoder, audio=False, overwrite=True)
        self._part: VideoSink | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """As `VideoSink.warnings`."""
        return self._joined.warnings

    def begin(self, path: Path) -> None:
        """The next frame begins a part."""
        self._part = VideoSink(path, self._info, self._options, kind="nut")  # NUT holds any codec, and exact times

    def write(self, frame: Frame) -> None:
        """Encodes one frame. Raises OutputError."""
        assert self._part is not None
        self._part.write(frame)

    def cut(self) -> list[int]:
        """Completes the part -> for each packet, as decoded, its frame's place in the order of showing.

        Raises OutputError.
        """
        assert self._part is not None
        part, self._part = self._part, None
        part.finish()
        with av.open(str(part.path)) as video:
            stamps = [packet.pts or 0 for packet in video.demux(video=0) if packet.size]
        places = {pts: place for place, pts in enumerate(sorted(stamps))}
        return [places[pts] for pts in stamps]

    def join(self, parts: Iterable[tuple[Path, Sequence[Frame], Sequence[int]]]) -> None:
        """Writes the video from each part's file, frames (without pixels) and packet order. Raises OutputError."""
        parts = list(parts)
        # How many frames later than decoded a frame must be shown, so that none is shown before it is decoded.
        delay = max(number - place for _, _, order in parts for number, place in enumerate(order))
        for path, frames, order in parts:
            self._joined.copy(path, frames, order, delay)
        self._joined.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sink in (self._part, self._joined):
            if sink is not None:
                sink.discard()
