"""Sources of frames: what they promise, a video file or URL as one, its time, and how to open any of them."""

import math
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import unquote, urlsplit

from av.video.frame import VideoFrame

from tmaseg.errors import VideoError
from tmaseg.video.colour import PictureMaker
from tmaseg.video.decoder import Decoder, Deinterlacer, coder_of, is_url
from tmaseg.video.facts import ColourSpace, Damage, ReadOptions, StreamInfo
from tmaseg.video.frame import Frame
from tmaseg.video.image_source import ImageSource
from tmaseg.video.images import IMAGE_SUFFIXES
from tmaseg.video.pipe import Pipe, open_pipe

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

_LEAP_SECONDS = 1  # a step back by more than this is a clock that was set, not a stamp that is off


class Clock:
    """One stream's time. Feed it every decoded frame's pts in order."""

    def __init__(self, time_base: Fraction, rate: Fraction, start: int = 0) -> None:
        """`rate` is the nominal frames a second; `start` the stamp of a first frame that has none."""
        self.time_base = time_base
        self.step = 1 / (rate * time_base)
        self.irregular = 0
        self._last: int | None = None
        self._made: Fraction | None = None
        self._start = start
        self._shift = 0

    def stamp(self, pts: int | None) -> tuple[int, bool]:
        """The frame's time in units of `time_base`, and whether the clock jumped back to get there.

        A missing stamp is made up from the one before and the rate; one that repeats or steps back a little is put
        just after the one before; after a jump back by more than a second time goes on without a hole.
        """
        if pts is None:
            return self._invent(), False
        time, jumped = pts + self._shift, False
        if self._last is not None and time <= self._last:
            self.irregular += 1
            jumped = (self._last - time) * self.time_base > _LEAP_SECONDS
            following = self._last + (max(1, round(self.step)) if jumped else 1)
            if jumped:
                self._shift += following - time
            time = following
        self._last, self._made = time, None
        return time, jumped

    def _invent(self) -> int:
        if self._last is None:
            self._made = Fraction(self._start)
        else:
            self.irregular += 1
            # Summed exactly and rounded last, or 29.97 frames a second would drift.
            self._made = (Fraction(self._last) if self._made is None else self._made) + self.step
        self._last = max(round(self._made), self._start if self._last is None else self._last + 1)
        return self._last


_DEFAULTS = ReadOptions()


class VideoSource:
    """Frames of a video file or an http(s) URL; see `Source`.

    Pictures are upright RGB, made with the matrix and range the file is tagged with (guessed where it is not).
    `Frame.index` counts decoded frames from the first at or after `ReadOptions.start`. Packets that do not decode
    are skipped. Frames of another size are letterboxed to the first size; `Frame.discontinuity` is set where the size
    changes.
    """

    def __init__(self, spec: str | Path | Pipe, options: ReadOptions = _DEFAULTS) -> None:
        """Open, and decode up to the first frame wanted, which tells size, turn and colour.

        Raises VideoError when nothing can be opened, there is no video in it, or no frame decodes.
        """
        self._name, self._options = str(spec), options
        self._location = spec if isinstance(spec, Pipe) else str(spec)
        self._warnings: list[str] = []
        self._corrupt = 0
        self._decoded_end: Fraction | None = None  # of the last frame looked at, in seconds of the container's time
        self._ended = False
        self._maker = PictureMaker(self._name, options, self._warn)
        self._decoder = Decoder(self._location, options.timeout, hardware=options.hardware)
        self._frames = self._wanted()
        try:
            self._clock = Clock(self._decoder.time_base, self._decoder.rate, self._decoder.first_pts)
            self._first: Frame | None = self._peek()
            self._info = self._describe()
            if options.hardware and self._info.device is None:
                self._warn(f"--hardware: no device is used for decoding {self._info.codec}; the CPU does it")
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> StreamInfo:
        """The facts, known before the first frame."""
        return self._info

    @property
    def damage(self) -> Damage:
        """What was wrong up to now."""
        decoded, announced = self._lengths() if self._ended else (None, None)
        return Damage(
            packets=self._decoder.packets,
            corrupt_frames=self._corrupt,
            irregular=self._clock.irregular,
            resized=self._maker.resized,
            stopped=self._decoder.stopped,
            decoded_seconds=decoded,
            announced_seconds=announced,
            step_seconds=float(1 / self._decoder.rate),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences a user should read, each once, in the order found; may grow while frames are read."""
        return tuple(self._warnings)

    def __iter__(self) -> Iterator[Frame]:
        """Frames with strictly increasing pts, all of one size. A source is read once."""
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    def close(self) -> None:
        """Let go of the file; twice does no harm."""
        self._frames.close()
        self._decoder.close()
        if isinstance(self._location, Pipe):
            self._location.close()

    def stop(self) -> None:
        """Ends the frames where a pipe is, from any thread: a read that waits for it returns."""
        if isinstance(self._location, Pipe):
            self._location.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warnings:
            self._warnings.append(sentence)

    # Users count seconds from the beginning of the video; these are in the container's own time.

    @property
    def _start(self) -> Fraction | None:
        start = self._options.exact_start
        return None if start is None else self._decoder.beginning + start

    @property
    def _end(self) -> Fraction | None:
        end = self._options.exact_end
        return None if end is None else self._decoder.beginning + end

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames from a key frame at or before the first one wanted."""
        start = self._start
        if start is not None and start > self._decoder.beginning + 2:
            frames = iter(self._decoder if self._decoder.seek(start) else ())
            first = next(frames, None)
            if first is not None and first.pts is not None and first.pts * self._decoder.time_base <= start:
                yield first
                yield from frames
                return
            # No index, or no time stamps: only reading from the top finds the place. A failed search leaves the file
            # at its end, so it is opened again.
            self._decoder.close()
            self._decoder = Decoder(self._location, self._options.timeout, hardware=self._options.hardware)
        yield from self._decoder

    def _whole(self) -> Iterator[VideoFrame]:
        """Decoded frames, woven where that was asked for."""
        if not self._options.deinterlace:
            yield from self._decoded()
            return
        weaver = Deinterlacer(self._decoder.time_base)
        for frame in self._decoded():
            yield from weaver.push(frame)
        yield from weaver.flush()

    def _wanted(self) -> Generator[Frame]:
        """The frames asked for, finished."""
        time_base, start, end = self._decoder.time_base, self._start, self._end
        index, discontinuity = -1, False
        for frame in self._whole():
            pts, jumped = self._clock.stamp(frame.pts)
            seconds = pts * time_base
            if end is not None and seconds >= end:
                return
            self._decoded_end = seconds + (frame.duration * time_base or 1 / self._decoder.rate)
            if start is not None and seconds < start:
                continue
            index += 1
            discontinuity |= jumped
            self._corrupt += frame.is_corrupt
            if frame.interlaced_frame and not self._options.deinterlace:
                self._warn("this video is interlaced: moving edges show combs; --deinterlace weaves them whole")
            if index % self._options.every == 0:
                rgb, changed = self._maker.make(frame, float(seconds))
                yield Frame(rgb, pts, time_base, index, discontinuity or changed)
                discontinuity = False
        self._ended = True

    def _peek(self) -> Frame:
        first = next(self._frames, None)
        if first is not None:
            return first
        if self._decoded_end is not None:
            length = float(self._decoded_end - self._decoder.beginning)
            raise VideoError(
                f"{self._name} has no frame between --start {self._options.start or 0:g} and --end "
                f"{self._options.end if self._options.end is not None else 'of the video'}: it is {length:.2f} s long"
            )
        if self._decoder.stopped or self._decoder.packets:
            why = self._decoder.stopped or f"none of its {self._decoder.packets} packets decodes"
            raise VideoError(f"{self._name} cannot be decoded: {why}; it is damaged, copy it again")
        raise VideoError(f"{self._name} has a video stream without a single frame; record or copy it again")

    def _describe(self) -> StreamInfo:
        decoder, maker = self._decoder, self._maker
        aspect = decoder.stream.sample_aspect_ratio or Fraction(1)
        seconds = self._announced_seconds()
        others = [s for s in decoder.container.streams.video if s.index > decoder.stream.index]
        if len(others) > 0:
            self._warn(f"the file holds {1 + len(others)} video streams; the first is read")
        return StreamInfo(
            name=self._location.spec if isinstance(self._location, Pipe) else self._name,
            width=maker.size[0],
            height=maker.size[1],
            rate=decoder.rate / self._options.every,
            time_base=decoder.time_base,
            frames=None
            if seconds is None
            else max(1, math.ceil(round(seconds * decoder.rate, 3) / self._options.every)),
            seconds=None if seconds is None else float(seconds),
            location=self._location,
            start=self._start,
            end=self._end,
            sample_aspect=1 / aspect if maker.orientation.transpose else Fraction(aspect),
            codec=decoder.stream.codec_context.name,
            device=decoder.device,
            pixel_format=decoder.stream.codec_context.pix_fmt or "",
            colour=str(maker.colour),
            rotation=round(maker.orientation.degrees),
            sound=tuple(coder_of(s) for s in decoder.container.streams.audio),
            metadata=dict(decoder.container.metadata),
        )

    def _announced_seconds(self) -> Fraction | None:
        """Announced length of the part that is read."""
        begin = self._start or self._decoder.video_beginning
        announced = self._decoder.announced_end
        ends = [end for end in (announced, self._end) if end is not None]
        return max(Fraction(0), min(ends) - begin) if announced is not None or self._end is not None else None

    def _lengths(self) -> tuple[float | None, float | None]:
        """Seconds decoded, and seconds announced, of the part that was read to the end of the file."""
        end = self._decoder.announced_end
        if end is None or self._decoded_end is None:
            return None, None
        begin = self._start or self._decoder.video_beginning
        reached = self._decoded_end
        if not self._decoder.announces_video:
            # The length of the longest stream: sound may go on after the pictures.
            reached = max(reached, self._decoder.reach)
        return float(reached - begin), float(end - begin)


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
    """Open a video file, an `http(s)` URL, a pipe ("-": standard input), a single image, or a folder of images.

    Raises VideoError when it is missing, empty, not a video, a playlist, silent, or holds no pictures.
    """
    if is_url(spec) and urlsplit(str(spec)).scheme == "file":
        spec = Path(unquote(urlsplit(str(spec)).path))
    if not is_url(spec):
        pipe = open_pipe(spec, options.timeout)
        if isinstance(pipe, Pipe):
            try:
                return VideoSource(pipe, options)
            except BaseException:
                pipe.close()
                raise
        path = pipe or Path(spec).expanduser()
        # An animated GIF has a clock and more than one picture: a video. Every other single image is a sequence of one.
        if path.is_dir() or (path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES - {".gif"}):
            return ImageSource(path, options)
        return VideoSource(path, options)
    return VideoSource(spec, options)
