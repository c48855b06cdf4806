"""Sinks: where frames go. A video file, or a folder of pictures."""

from types import TracebackType
from typing import Protocol, Self

from tmaseg.video.encoder import WriteOptions
from tmaseg.video.frame import Frame
from tmaseg.video.muxer import SUFFIXES
from tmaseg.video.pictures import Existing, Labels, MaskSink, MaskStyle, PictureSink
from tmaseg.video.videosink import VideoSink

__all__ = [
    "SUFFIXES",
    "Existing",
    "Labels",
    "MaskSink",
    "MaskStyle",
    "PictureSink",
    "Sink",
    "VideoSink",
    "WriteOptions",
]


class Sink(Protocol):
    """A place for frames. Leaving the `with` block normally completes it, leaving it by an exception discards it.

    Made in any thread, written and closed in one. Raises OutputError.
    """

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences a user should read, each once, in the order found; may grow until the sink is closed."""

    def write(self, frame: Frame) -> None:
        """Add one frame."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
