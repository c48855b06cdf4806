"""JoinedSink: a video whose packets are written in parts that outlive the program, and joined at the end."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Self

import av

from tmaseg.video.encoder import WriteOptions
from tmaseg.video.frame import Frame
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import StreamInfo


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
