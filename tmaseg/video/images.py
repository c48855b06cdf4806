"""A folder of images, or a single one, as a source."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tmaseg.video.frame import Frame
from tmaseg.video.source import Damage, ReadOptions, StreamInfo

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})


class ImageSource:
    """Images of one folder in natural order (9.png before 10.png), one frame each at a constant rate.

    `Frame.index` is the position in `paths`, unreadable images counted, so `source.paths[frame.index]` is the file
    of a frame. 8 and 16 bit, grey, RGBA and palette images become RGB; EXIF orientation is applied. With
    `one_size=True` (default) images of another size are letterboxed to the first one's, as in a video; with False
    each keeps its own size. Sub-folders are not read.
    """

    paths: tuple[Path, ...]

    def __init__(
        self,
        folder: str | Path,
        options: ReadOptions = ReadOptions(),
        *,
        one_size: bool = True,  # noqa: B008
    ) -> None:
        """Find the images. Raises VideoError when `folder` is missing, unreadable, or holds no image that can be read."""
        raise NotImplementedError

    @property
    def info(self) -> StreamInfo:
        """The facts, with the first readable image's size."""
        raise NotImplementedError

    @property
    def damage(self) -> Damage:
        """Missing numbers (known at once) and unreadable images (found on the way)."""
        raise NotImplementedError

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences a user should read, each once; may grow while frames are read."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Frame]:
        """Frames in natural order of their file names."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held open between frames."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
