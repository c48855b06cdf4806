"""Sinks: where frames go. A video file, or a folder of pictures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tmaseg.video.frame import Frame
from tmaseg.video.source import StreamInfo

Labels = NDArray[np.uint8]  # (H, W) class ids
Existing = Literal["refuse", "replace", "keep"]


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


@dataclass(frozen=True)
class WriteOptions:
    """How a video file is written. Names follow the command line's flags."""

    encoder: str | None = None
    """FFmpeg's name of a video encoder; None takes libx264, or libvpx-vp9 for .webm, or the first that works."""
    crf: float | None = None
    """Constant quality, lower is better; None takes 18 for H.264, 30 for VP9."""
    preset: str | None = None
    """Encoder preset (x264: ultrafast ... veryslow); None takes the encoder's own."""
    encoder_options: Mapping[str, str] = field(default_factory=dict)
    """Further options of the encoder, as FFmpeg names them."""
    lossless: bool = False
    """Every RGB value exactly as painted: FFV1, .mkv only."""
    audio: bool = True
    """Copy the input's sound."""
    overwrite: bool = False
    """Replace an existing output."""


class VideoSink:
    """A video file (.mp4, .mov, .mkv, .webm) that appears under its name only when it is complete.

    Time stamps are those of the frames, exactly (whole milliseconds in .mkv and .webm, as these formats have it).
    When `info.start` is set the output begins at zero, sound with it. Sound, metadata, chapters and subtitles come
    from `info.location`, as far as the container takes them. All frames must have the size of the first, which need
    not be that of `info`; an odd width or height gets one more column or row, a copy of the last.
    """

    path: Path

    def __init__(self, path: str | Path, info: StreamInfo, options: WriteOptions = WriteOptions()) -> None:  # noqa: B008
        """Check everything that can be checked before the first frame.

        Raises OutputError: unknown suffix, existing output, output is the input, folder missing or not writable,
        encoder unknown or not working on this machine.
        """
        raise NotImplementedError

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences a user should read, each once, in the order found; may grow until the sink is closed."""
        raise NotImplementedError

    @property
    def encoder(self) -> str:
        """Name of the video encoder in use."""
        raise NotImplementedError

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises OutputError when the size changes, the disk is full, or the encoder fails."""
        raise NotImplementedError

    def finish(self) -> None:
        """Flush, close, and move to the final name. Raises OutputError when no frame was written."""
        raise NotImplementedError

    def discard(self) -> None:
        """Close and remove what was written."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError


class PictureSink:
    """PNG pictures in a folder, one for each frame, each complete or absent. Takes `Frame`s as any `Sink`.

    `name(frame)` gives the stem; by default the frame's index, six digits. `existing` says what to do when a picture
    of that name is there: refuse (OutputError), replace, or keep it and write nothing. The folder is made when the
    first picture is written. An exception leaves finished pictures where they are.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: Callable[[Frame], str] | None = None,
        existing: Existing = "refuse",
    ) -> None:
        """Raises OutputError when `folder` is a file or cannot be written."""
        raise NotImplementedError

    @property
    def warnings(self) -> tuple[str, ...]:
        """Always empty so far."""
        raise NotImplementedError

    def path_of(self, frame: Frame) -> Path:
        """Where a frame's picture goes."""
        raise NotImplementedError

    def write(self, frame: Frame) -> None:
        """Write `frame.rgb` as an 8 bit RGB PNG."""
        raise NotImplementedError


class MaskSink:
    """PNG masks in a folder, one for each frame. As `PictureSink`, but takes class ids beside the frame.

    style: "ids", 8 bit grey, the value is the class id; "indexed", the same with a palette; "color", RGB.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        style: Literal["ids", "indexed", "color"] = "ids",
        palette: NDArray[np.uint8] | None = None,
        name: Callable[[Frame], str] | None = None,
        existing: Existing = "refuse",
    ) -> None:
        """`palette` is (256, 3) uint8, wanted by "indexed" and "color". Raises OutputError as `PictureSink`."""
        raise NotImplementedError

    def path_of(self, frame: Frame) -> Path:
        """Where a frame's mask goes."""
        raise NotImplementedError

    def write(self, frame: Frame, labels: Labels) -> None:
        """Write labels (H, W) uint8 as the mask of `frame`, whose pixels are not used."""
        raise NotImplementedError
