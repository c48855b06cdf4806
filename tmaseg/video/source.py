"""Sources: things that give frames. What a stream is, what was wrong with it, and how to open one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from tmaseg.errors import ConfigError
from tmaseg.video.frame import Frame

ColourSpace = Literal["bt601", "bt709", "bt2020"]


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read. Names follow the command line's flags."""

    start: float | None = None
    """Seconds from the beginning of the video to the first frame wanted."""
    end: float | None = None
    """Seconds from the beginning of the video; frames at or after this are not given."""
    every: int = 1
    """Give every n-th frame; the others are decoded and dropped."""
    colorspace: ColourSpace | None = None
    """Matrix to use whatever the file says; None trusts the tag, or guesses from the height when there is none."""
    autorotate: bool = True
    """Turn and flip pictures upright as the file asks; False gives them as they are stored."""
    deinterlace: bool = False
    """Weave the fields of interlaced video into whole pictures (bwdif), one for each frame."""
    timeout: float = 10.0
    """Seconds a URL may stay silent before reading gives up."""
    rate: Fraction = Fraction(25)
    """Frames a second of an image folder, which has no clock of its own."""

    def __post_init__(self) -> None:
        if self.start is not None and not self.start >= 0:
            raise ConfigError(f"--start is {self.start}; it must be 0 or more seconds")
        if self.end is not None and not self.end > (self.start or 0):
            raise ConfigError(f"--end is {self.end}; it must be greater than --start ({self.start or 0} s)")
        if self.every < 1:
            raise ConfigError(f"--every is {self.every}; it must be 1 (every frame) or more")
        if self.colorspace not in (None, "bt601", "bt709", "bt2020"):
            raise ConfigError(f"--colorspace is {self.colorspace!r}; choose bt601, bt709 or bt2020")
        if not self.timeout > 0:
            raise ConfigError(f"--timeout is {self.timeout}; it must be more than 0 seconds")
        if not self.rate > 0:
            raise ConfigError(f"--rate is {self.rate}; it must be more than 0 frames a second")


@dataclass(frozen=True)
class StreamInfo:
    """The facts of a source, known before its first frame is read. Sizes are those of the upright picture."""

    name: str
    """The file, URL or folder as the user gave it."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    rate: Fraction
    """Nominal frames a second, exact; frames need not be evenly spaced."""
    time_base: Fraction
    """Seconds a unit of `Frame.pts`."""
    frames: int | None = None
    """How many frames iterating should give (an estimate from lengths and rates); None when the file does not say."""
    seconds: float | None = None
    """Announced length of the part that is read, in seconds; None when the file does not say."""
    location: str | None = None
    """File or URL that sound, chapters and subtitles can be copied from; None for images and drawn video."""
    start: Fraction | None = None
    """Position of the cut given with `ReadOptions.start`, in the container's own time; None from the beginning."""
    end: Fraction | None = None
    """Position of the cut given with `ReadOptions.end`, in the container's own time; None to the end."""
    sample_aspect: Fraction = Fraction(1)
    """Width of a pixel over its height, in the upright picture."""
    codec: str = ""
    """Name of the video codec; empty where there is none."""
    pixel_format: str = ""
    """FFmpeg's name of the stored pixel format; empty where there is none."""
    colour: str = ""
    """Matrix and range that pictures are converted with, and whether that was guessed, in words."""
    rotation: int = 0
    """Counter-clockwise degrees that stored pictures are turned by."""
    sound: tuple[str, ...] = ()
    """Codec of each sound stream."""
    metadata: dict[str, str] = field(default_factory=dict)
    """The container's own."""


@dataclass(frozen=True)
class Damage:
    """What could not be read so far; complete once the source has been read to its end."""

    packets: int = 0
    """Packets of the video stream that did not decode, or could not be read from the container."""
    corrupt_frames: int = 0
    """Frames that decoded, but that the decoder marks as incomplete; they are given all the same."""
    missing: int = 0
    """Numbers missing from an image sequence."""
    unreadable: tuple[str, ...] = ()
    """Names of images that could not be read."""
    decoded_seconds: float | None = None
    """Length that was decoded; known when the end has been reached."""
    announced_seconds: float | None = None
    """Length that the file announces; None when it does not, or when only a part was asked for."""

    @property
    def fraction(self) -> float | None:
        """Decoded share of the announced length, 0 to 1; None while or where it is not known."""
        raise NotImplementedError

    @property
    def truncated(self) -> bool:
        """Whether the file ends well before its announced length (more than 2 % and half a second, or 10 %)."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        """Whether anything was wrong: what `--strict` asks."""
        raise NotImplementedError

    def lines(self) -> tuple[str, ...]:
        """One sentence for each kind of damage, for people: "decoded 64 % of the announced length"."""
        raise NotImplementedError


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


def open_source(spec: str | Path, options: ReadOptions = ReadOptions()) -> Source:  # noqa: B008
    """Open a video file, an `http(s)` URL, a single image, or a folder of images.

    Raises VideoError when it is missing, empty, not a video, a playlist, silent, or holds no pictures.
    """
    raise NotImplementedError
