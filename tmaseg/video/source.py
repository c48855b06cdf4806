"""Source: where frames come from, how it is read, what is known of it, and how damaged it is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, Self, get_args
from urllib.parse import unquote, urlsplit

from tmaseg.arrays import RGB
from tmaseg.errors import ConfigError, VideoError
from tmaseg.video.address import STDIN, is_live, is_url
from tmaseg.video.pipe import Pipe, open_pipe

ColourSpace = Literal["bt601", "bt709", "bt2020"]


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read. Names follow the command line's flags."""

    start: float | None = None  # seconds from the beginning of the video to the first frame wanted
    end: float | None = None  # seconds from the beginning of the video; frames at or after this are not given
    duration: float | None = None  # seconds from the start to the end of a file; the reader applies it where it is live
    every: int = 1  # keep every n-th frame; the others are decoded and dropped
    colorspace: ColourSpace | None = None  # matrix that replaces the file's tag, or the guess from the height
    autorotate: bool = True  # rotate and flip frames upright by the file's display matrix
    deinterlace: bool = False  # with bwdif, at the same frame rate
    hardware: bool = False  # decode on CUDA, VideoToolbox or VA-API if that opens here and takes the video
    timeout: float = 10.0  # seconds a URL or a pipe may stay silent
    rate: Fraction | None = None  # frames a second of images (default 25) and of raw streams (default their own)
    live: bool | None = None  # the source has no end, and frames that come too fast are dropped; None: detected
    reconnect: float = 60.0  # seconds for which to reconnect to a live source that was lost; 0: never

    @property
    def image_rate(self) -> Fraction:
        """Frames a second of images."""
        return self.rate or Fraction(25)

    @property
    def exact_start(self) -> Fraction | None:
        """`start` as a decimal fraction: 0.2 is a fifth, not the float nearest to it. None for 0, the beginning."""
        return _exact(self.start) if self.start else None

    @property
    def exact_end(self) -> Fraction | None:
        """`end` as a decimal fraction, or where `duration` ends."""
        if self.duration is not None:
            return (self.exact_start or 0) + _exact(self.duration)
        return None if self.end is None else _exact(self.end)

    def __post_init__(self) -> None:
        begin = self.start or 0
        for name, valid, expected in (
            ("start", self.start is None or self.start >= 0, "0 or more seconds"),
            ("end", self.end is None or self.end > begin, f"greater than --start ({begin} s)"),
            ("duration", self.duration is None or self.duration > 0, "more than 0 seconds"),
            ("duration", self.duration is None or self.end is None, "without --end"),
            ("every", self.every >= 1, "1 (every frame) or more"),
            ("colorspace", self.colorspace in (None, *get_args(ColourSpace)), "bt601, bt709 or bt2020"),
            ("timeout", self.timeout > 0, "more than 0 seconds"),
            ("reconnect", self.reconnect >= 0, "0 (never) or more seconds"),
            ("rate", self.rate is None or self.rate > 0, "more than 0 frames a second"),
        ):
            if not valid:
                raise ConfigError(f"--{name} is {getattr(self, name)}; it must be {expected}")


@dataclass(frozen=True)
class StreamInfo:
    """What is known of a source before its first frame is read. Sizes are those of the upright frame."""

    name: str  # the file, URL or folder as the user gave it
    width: int  # pixels
    height: int  # pixels
    rate: Fraction  # nominal frames a second, exact; frames need not be evenly spaced
    time_base: Fraction  # seconds a unit of `Frame.pts`
    frames: int | None = None  # expected number of frames, from lengths and rates; None: not known
    seconds: float | None = None  # announced length of the part that is read, in seconds; None: not known
    live: bool = False  # whether it has no end
    location: str | Pipe | None = None  # of sound, chapters and subtitles; None for images
    beginning: Fraction = Fraction(0)  # from where `ReadOptions.start` and `end` count, in seconds of the timeline
    start: Fraction | None = None  # `ReadOptions.start` on the source's timeline, in seconds; None: the beginning
    end: Fraction | None = None  # `ReadOptions.end` on the source's timeline, in seconds; None: the end
    sample_aspect: Fraction = Fraction(1)  # width of a pixel over its height, in the upright frame
    codec: str = ""  # name of the video codec; empty where there is none
    device: str | None = None  # kind of device that decodes, such as cuda; None: the CPU
    pixel_format: str = ""  # FFmpeg's name of the stored pixel format; empty where there is none
    colour: str = ""  # matrix and range of the conversion to RGB, and whether the matrix was guessed, as a text
    rotation: int = 0  # counter-clockwise degrees by which stored frames are rotated
    sound: tuple[str, ...] = ()  # codec of each sound stream
    metadata: dict[str, str] = field(default_factory=dict)  # of the container


@dataclass(frozen=True, repr=False)
class Frame:
    """A video frame: its upright RGB pixels and its exact time."""

    rgb: RGB  # (H, W, 3) uint8, red first, full range, upright
    pts: int  # presentation time in units of `time_base`
    time_base: Fraction  # seconds a unit of `pts`
    index: int  # position among the decoded frames of the source, from 0; skipped frames are counted
    discontinuity: bool = False  # another size, or the clock jumped: a memory of earlier frames starts again here
    duration: int = 0  # how long it is shown, in units of `time_base`; 0: not known, one step of the nominal rate
    arrival: float | None = None  # from a live source: seconds of `time.monotonic`

    @property
    def seconds(self) -> float:
        """Presentation time in seconds, from the beginning of the source's timeline."""
        return float(self.pts * self.time_base)

    def with_rgb(self, rgb: RGB) -> "Frame":
        """The same frame with other pixels."""
        return replace(self, rgb=rgb)

    def __repr__(self) -> str:
        return f"Frame(index={self.index}, shape={self.rgb.shape}, seconds={self.seconds:.3f})"


@dataclass(frozen=True)
class Damage:
    """What could not be read so far; complete once the source has been read to its end."""

    packets: int = 0  # packets of the video stream that could not be read in full or decoded
    corrupt_frames: int = 0  # frames that the decoder marks as incomplete; they are not dropped
    irregular: int = 0  # frames whose time stamp was missing or did not rise, and was replaced; no damage by itself
    resized: int = 0  # frames of another size that were fitted into the first one's; no damage by itself
    missing: int = 0  # numbers missing from an image sequence
    unreadable: tuple[str, ...] = ()  # names of images that could not be read
    stopped: str | None = None  # why reading ended before the end (a lost connection); None: it did not
    decoded_seconds: float | None = None  # length that was decoded; None before the end has been reached
    announced_seconds: float | None = None  # length that the file announces; None: not known, or only a part is read
    step_seconds: float = 0.04  # nominal time from one frame to the next: the precision of an announced length

    @property
    def truncated(self) -> bool:
        """Whether decoding ended before the announced length: by more than 2 % of it and more than two frames."""
        if self.decoded_seconds is None or not self.announced_seconds:
            return False
        lacking = self.announced_seconds - self.decoded_seconds
        return lacking > max(0.02 * self.announced_seconds, 2.5 * self.step_seconds)

    def __bool__(self) -> bool:
        """Whether anything was damaged or missing, which `--strict` makes an exit code."""
        return bool(
            self.packets or self.corrupt_frames or self.missing or self.unreadable or self.stopped or self.truncated
        )

    def lines(self) -> tuple[str, ...]:
        """One sentence for each kind of damage, for people: "decoded 64 % of the announced length"."""
        lines = [
            *_counted(self.packets, "packet", "could not be decoded and {was} skipped"),
            *_counted(self.corrupt_frames, "frame", "decoded with errors"),
        ]
        if self.stopped:
            lines.append(f"reading stopped early: {self.stopped}")
        if self.truncated:
            assert self.decoded_seconds is not None
            assert self.announced_seconds is not None
            lines.append(
                f"decoded {100 * self.decoded_seconds / self.announced_seconds:.0f} % of the announced length "
                f"({self.decoded_seconds:.1f} of {self.announced_seconds:.1f} s): the file is cut short or damaged"
            )
        names = ", ".join(self.unreadable[:3]) + (", ..." if len(self.unreadable) > 3 else "")
        unreadable = _counted(len(self.unreadable), "image", "could not be read and {was} skipped")
        return (
            *lines,
            *_counted(self.missing, "number", "missing from the image sequence"),
            *(f"{line}: {names}" for line in unreadable),
            *_counted(self.resized, "frame", "of another size {was} fitted into the first size"),
            *_counted(self.irregular, "frame", "had no usable time stamp and got one between the neighbours'"),
        )


def _counted(number: int, noun: str, predicate: str) -> list[str]:
    """A sentence about a number of things; none for 0."""
    if number == 1:
        return [f"1 {noun} {predicate.format(was='was')}"]
    return [f"{number} {noun}s {predicate.format(was='were')}"] if number else []


class Source(ABC):
    """Frames, once and in order; raises VideoError while reading. A context manager, which may be closed twice.

    Made and closed in any thread, iterated in one.
    """

    info: StreamInfo  # known before the first frame
    reconnects = 0  # how often a lost connection was opened again

    def __init__(self) -> None:
        self._warnings: dict[str, None] = {}

    @property
    @abstractmethod
    def damage(self) -> Damage:
        """What could not be read so far."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user, each once, in the order found; may grow while frames are read."""
        return tuple(self._warnings)

    def warn(self, sentence: str) -> None:
        """Adds to `warnings`, once."""
        self._warnings[sentence] = None

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Frames with strictly increasing pts."""

    @abstractmethod
    def close(self) -> None:
        """Closes files and connections."""

    def stop(self) -> None:  # noqa: B027  (most sources never wait)
        """Ends a read that waits for data, from any thread; the frames end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(spec: str | Path, options: ReadOptions | None = None) -> Source:
    """Opens a video file, a URL, a camera, a screen, a pipe ("-": standard input), an image, or a folder of images.

    Raises VideoError when it is missing, empty, not a video, a playlist, silent, refused, or holds no frames.
    """
    from tmaseg.video.decoder import Decoder
    from tmaseg.video.image_source import ImageSource
    from tmaseg.video.images import IMAGE_SUFFIXES
    from tmaseg.video.live import LiveSource
    from tmaseg.video.video_source import VideoSource

    options = options or ReadOptions()
    if is_url(spec) and urlsplit(str(spec)).scheme == "file":
        spec = Path(unquote(urlsplit(str(spec)).path))
    if is_live(spec):
        return LiveSource(str(spec), options)
    if is_url(spec):
        decoder = Decoder(str(spec), options)
        live = decoder.endless if options.live is None else options.live
        return LiveSource(str(spec), options, decoder) if live else VideoSource(spec, options, decoder)
    if options.live:
        if str(spec) != STDIN and not Path(spec).is_fifo():
            raise VideoError(f"{spec} has an end: --live is for cameras, streams and pipes; leave it out")
        return LiveSource(str(spec), options)
    pipe = open_pipe(spec, options.timeout)
    if isinstance(pipe, Pipe):
        try:
            return VideoSource(pipe, options)
        except BaseException:
            pipe.close()
            raise
    path = pipe or Path(spec).expanduser()
    # An animated GIF has a clock and more than one frame: a video. Every other single image is a sequence of one.
    if path.is_dir() or (path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES - {".gif"}):
        return ImageSource(path, options)
    return VideoSource(path, options)


def _exact(seconds: float) -> Fraction:
    return Fraction(seconds).limit_denominator(1_000_000)
