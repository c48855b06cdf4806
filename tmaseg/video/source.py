"""Sources: things that give frames, and how to open one."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import unquote, urlsplit

from tmaseg.video.container import is_url
from tmaseg.video.facts import ColourSpace, Damage, ReadOptions, StreamInfo
from tmaseg.video.frame import Frame
from tmaseg.video.imagefile import IMAGE_SUFFIXES
from tmaseg.video.images import ImageSource
from tmaseg.video.videofile import VideoSource

__all__ = [
    "ColourSpace",
    "Damage",
    "ImageSource",
    "ReadOptions",
    "Source",
    "StreamInfo",
    "VideoSource",
    "open_source",
]

_DEFAULTS = ReadOptions()


class Source(Protocol):
    """Something that gives frames once, in order. A context manager; closing twice does no harm.

    Made and closed in any thread, iterated in one. Errors while reading are `VideoError`.
    """

    @property
    def info(self) -> StreamInfo:
        """The facts, known before the first frame."""

    @property
    def damage(self) -> Damage:
        """What was wrong up to now."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences a user should read, each once, in the order found; may grow while frames are read."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames with strictly increasing pts, all of one size."""

    def close(self) -> None:
        """Let go of files and connections."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_source(spec: str | Path, options: ReadOptions = _DEFAULTS) -> Source:
    """Open a video file, an `http(s)` URL, a single image, or a folder of images.

    Raises VideoError when it is missing, empty, not a video, a playlist, silent, or holds no pictures.
    """
    if is_url(spec) and urlsplit(str(spec)).scheme == "file":
        spec = Path(unquote(urlsplit(str(spec)).path))
    if not is_url(spec):
        path = Path(spec).expanduser()
        # An animated GIF has a clock and more than one picture: a video. Every other single image is a sequence of one.
        if path.is_dir() or (path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES - {".gif"}):
            return ImageSource(path, options)
        return VideoSource(path, options)
    return VideoSource(spec, options)
