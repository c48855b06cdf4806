"""VideoSource: the frames of a video file, URL or pipe."""

import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from av import VideoFrame

from tmaseg.errors import VideoError
from tmaseg.video.address import hidden
from tmaseg.video.colour import RGBConverter
from tmaseg.video.container import codec_name
from tmaseg.video.decoder import Decoder
from tmaseg.video.pipe import Pipe
from tmaseg.video.source import Damage, Frame, ReadOptions, Source, StreamInfo
from tmaseg.video.timeline import FrameClock

_DEFAULTS = ReadOptions()


class VideoSource(Source):
    """Frames of a video file, a pipe or an http(s) URL, all of the first one's size; see `Source`.

    `Frame.index` counts decoded frames from the first at or after `ReadOptions.start`. Packets that do not decode are
    skipped. `Frame.discontinuity` is set where the stored size changes or the time stamps jump.
    """

    def __init__(
        self, spec: str | Path | Pipe, options: ReadOptions = _DEFAULTS, decoder: Decoder | None = None
    ) -> None:
        """Opens (unless `decoder` is open) and decodes up to the first frame wanted. Raises VideoError."""
        super().__init__()
        self._name, self._options = hidden(spec), options
        self._location = spec if isinstance(spec, Pipe) else str(spec)
        self._corrupt, self._ended = 0, False
        self._decoded_end: Fraction | None = None  # of the last frame decoded, in seconds
        self._converter = RGBConverter(self._name, options, self.warn)
        self._decoder = decoder or Decoder(self._location, options)
        self._frames = self._timed()
        try:
            # Users count seconds from the beginning of the video; these are on the container's timeline.
            start, end = options.exact_start, options.exact_end
            self._start = None if start is None else self._decoder.beginning + start
            self._end = None if end is None else self._decoder.beginning + end
            self._clock = self._new_clock()
            self._first: Frame | None = self._peek()
            self.info = self._describe()
            if options.hardware and self.info.device is None:
                self.warn(f"--hardware: no device is used for decoding {self.info.codec}; the CPU does it")
        except BaseException:
            self.close()
            raise

    @property
    def damage(self) -> Damage:
        """What could not be read so far."""
        decoded, announced = self._lengths() if self._ended else (None, None)
        return Damage(
            packets=self._decoder.packets,
            corrupt_frames=self._corrupt,
            irregular=self._clock.irregular,
            resized=self._converter.letterbox.resized,
            stopped=self._decoder.stopped,
            decoded_seconds=decoded,
            announced_seconds=announced,
            step_seconds=float(1 / self._decoder.rate),
        )

    def __iter__(self) -> Iterator[Frame]:
        """Frames with strictly increasing pts, all of one size. A source is read once."""
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    def close(self) -> None:
        """Closes the file; twice does no harm."""
        self._frames.close()
        self._decoder.close()
        if isinstance(self._location, Pipe):
            self._location.close()

    def stop(self) -> None:
        """Ends the frames of a pipe, from any thread: a read that waits for it returns."""
        if isinstance(self._location, Pipe):
            self._location.stop()

    def _new_clock(self) -> FrameClock:
        decoder, given = self._decoder, self._options.rate is not None
        if given and decoder.has_clock:
            self.warn(f"--rate is for images and raw streams; {self._name} has times of its own, which are kept")
        self._counted = given and not decoder.has_clock  # frames get times by the rate only
        first = 0 if self._counted else round(decoder.video_beginning / decoder.time_base)
        return FrameClock(decoder.time_base, decoder.rate, start=first, quiet=not decoder.has_clock)

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames from a key frame at or before the first one wanted."""
        start, decoder = self._start, self._decoder
        if start is None or start <= decoder.beginning + 2 or not decoder.has_clock:
            return decoder.frames()
        if not decoder.timeline.can_seek(self._name):
            return decoder.frames(start)
        frames = decoder.frames() if decoder.seek(start) else iter(())
        first = next(frames, None)
        if first is not None and first.pts is not None and first.pts * decoder.time_base <= start:
            return chain([first], frames)
        # No index: a failed search leaves the file at its end, so it is opened again.
        decoder.close()
        self._decoder = Decoder(self._location, self._options)
        return self._decoder.frames(start)

    def _wanted(self) -> Iterator[Frame]:
        """The frames between start and end, every n-th, without durations."""
        time_base, start, end, options = self._decoder.time_base, self._start, self._end, self._options
        index, discontinuity = -1, False
        for frame in self._decoded():
            stored = None if self._counted else frame.pts
            pts = self._clock.stamp(stored)
            seconds = pts * time_base
            if end is not None and seconds >= end:
                self._decoded_end = end
                return
            duration = Fraction(0) if stored is None else frame.duration * time_base
            self._decoded_end = seconds + (duration or 1 / self._decoder.rate)
            while self._decoder.jumps and pts >= self._decoder.jumps[0]:
                del self._decoder.jumps[0]
                discontinuity = True
            if start is not None and seconds < start:
                continue
            index += 1
            self._corrupt += frame.is_corrupt
            if frame.interlaced_frame and not options.deinterlace:
                self.warn("this video is interlaced: moving edges show combs; --deinterlace removes them")
            if index % options.every == 0:
                rgb, changed = self._converter.convert(frame, float(seconds))
                yield Frame(rgb, pts, time_base, index, discontinuity or changed)
                discontinuity = False
        if self._decoded_end is not None:
            self._decoded_end = max(self._decoded_end, self._decoder.end_of_last_frame or self._decoded_end)
        self._ended = True

    def _timed(self) -> Generator[Frame]:
        """The wanted frames, each shown until the next one, the last until the end."""
        for frame, following in pairwise(chain(self._wanted(), [None])):
            assert frame is not None
            assert self._decoded_end is not None
            if self._decoder.timeline.closed:
                at, gap = self._decoder.timeline.closed
                self.warn(
                    f"the time stamps jump ahead by {float(gap):.1f} s at {float(at):.2f} s, as in joined recordings; "
                    "gaps of more than 10 s are closed"
                )
            end = min(self._decoded_end, self._end) if self._end is not None else self._decoded_end
            pts = following.pts if following else max(frame.pts + 1, round(end / frame.time_base))
            yield replace(frame, duration=pts - frame.pts)

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
        decoder, seconds = self._decoder, self._announced_seconds()
        rate = decoder.rate / self._options.every
        others = [s for s in decoder.container.streams.video if s.index > decoder.stream.index]
        if others:
            self.warn(f"the file holds {1 + len(others)} video streams; the first is read")
        return StreamInfo(
            name=self._location.spec if isinstance(self._location, Pipe) else self._name,
            rate=rate,
            time_base=decoder.time_base,
            frames=None if seconds is None else max(1, math.ceil(round(seconds * rate, 3))),
            seconds=None if seconds is None else float(seconds),
            location=self._location,
            beginning=decoder.beginning,
            start=self._start,
            end=self._end,
            sound=tuple(codec_name(s) for s in decoder.container.streams.audio),
            metadata=dict(decoder.container.metadata),
            **frame_facts(decoder, self._converter),
        )

    def _announced_seconds(self) -> Fraction | None:
        """Announced length of the part that is read."""
        ends = [end for end in (self._decoder.announced_end, self._end) if end is not None]
        return max(Fraction(0), min(ends) - (self._start or self._decoder.video_beginning)) if ends else None

    def _lengths(self) -> tuple[float | None, float | None]:
        """Seconds decoded, and seconds announced, of the part that was read to the end of the file."""
        end = self._decoder.announced_end
        if end is None or self._decoded_end is None:
            return None, None
        begin, reached = self._start or self._decoder.video_beginning, self._decoded_end
        if not self._decoder.announces_video:  # what is announced is the length of the longest stream, maybe sound
            reached = max(reached, self._decoder.reach)
        return float(reached - begin), float(end - begin)


def frame_facts(decoder: Decoder, converter: RGBConverter) -> dict[str, Any]:
    """Fields of `StreamInfo` that are known after the first frame."""
    aspect, context = Fraction(decoder.stream.sample_aspect_ratio or 1), decoder.stream.codec_context
    assert converter.letterbox.size is not None
    width, height = converter.letterbox.size
    return {
        "width": width,
        "height": height,
        "sample_aspect": 1 / aspect if converter.orientation.transpose else aspect,
        "codec": context.name,
        "device": decoder.device,
        "pixel_format": context.pix_fmt or "",
        "colour": str(converter.colour),
        "rotation": round(converter.orientation.degrees),
    }
