"""LiveSource: frames of a camera, a screen or a stream, which has no end and is reconnected when it is lost."""

import contextlib
import math
import threading
import time
from collections.abc import Generator, Iterator
from fractions import Fraction

from av import VideoFrame

from tmaseg.errors import ConfigError, VideoError
from tmaseg.video.address import STDIN, hidden
from tmaseg.video.colour import RGBConverter
from tmaseg.video.decoder import Decoder
from tmaseg.video.source import Damage, Frame, ReadOptions, Source, StreamInfo
from tmaseg.video.timeline import FrameClock
from tmaseg.video.video_source import frame_facts

_TIME_BASE = Fraction(1, 90_000)  # of the output, whatever each connection has
_FIRST_PAUSE_SECONDS = 0.5  # before connecting again; doubled each time that fails
_LONGEST_PAUSE_SECONDS = 8.0
_MOST_LATE_SECONDS = 2.0  # behind the stream, before only its key frames are decoded
_LONGEST_CATCH_UP_SECONDS = 10.0
_DRIFT, _STEP_SECONDS = 0.001, 0.04  # by how much two clocks may differ; about the time between two frames
_PACED = {"hls", "lavfi"}  # arrive faster than real time: segments of some seconds, or made on demand


class CatchUp:
    """Detects that decoding is too slow for a stream, so that its frames come later and later."""

    def __init__(self) -> None:
        self._least = math.inf  # how late a frame can come, in seconds, on two clocks
        self._since: float | None = None  # when catching up began

    def is_late(self, arrival: float, seconds: float) -> bool:
        """Whether to catch up, after a frame at `seconds` of the stream that arrived at `arrival`, by another clock."""
        late = arrival - seconds
        self._least = min(self._least + _DRIFT * _STEP_SECONDS, late)
        if self._since is not None and arrival - self._since > _LONGEST_CATCH_UP_SECONDS:
            self._least = late  # nothing helps: the stream itself is late now
        if late - self._least > _MOST_LATE_SECONDS and self._since is None:
            self._since = arrival
        elif late - self._least < _MOST_LATE_SECONDS / 4:
            self._since = None
        return self._since is not None


class LiveSource(Source):
    """Frames as they arrive, all of the first one's size; see `Source`. `stop` ends them.

    Time begins at zero and is that of the stream, or of arrival where it has none; `Frame.arrival` is set. A lost
    connection is made again for `ReadOptions.reconnect` seconds; the next frame is a discontinuity, later by the time
    that passed.
    """

    def __init__(self, spec: str, options: ReadOptions, decoder: Decoder | None = None) -> None:
        """Connects (unless `decoder` is open) and decodes the first frame. Raises VideoError, and ConfigError."""
        super().__init__()
        if options.start is not None or options.end is not None:
            raise ConfigError(f"{hidden(spec)} is live: it has no --start and no --end; give --duration SECONDS")
        self._spec, self._options = spec, options
        self._packets = self._corrupt = 0
        self._lost: str | None = None  # why, while there is no connection
        self._pause = _FIRST_PAUSE_SECONDS
        self._stopping = threading.Event()
        self._converter = RGBConverter(hidden(spec), options, self.warn)
        self._decoder = decoder or Decoder(spec, options)
        self._frames = self._live()
        try:
            self.info = self._describe()
        except BaseException:
            self.close()
            raise

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user; may grow while frames are read."""
        lost = "the connection was lost {} and made again: the memory began anew"
        times = "once" if self.reconnects == 1 else f"{self.reconnects} times"
        return (*super().warnings, *((lost.format(times),) if self.reconnects else ()))

    @property
    def damage(self) -> Damage:
        """What was wrong up to now."""
        packets = self._packets + self._decoder.packets
        return Damage(packets, self._corrupt, resized=self._converter.letterbox.resized, stopped=self._lost)

    def __iter__(self) -> Iterator[Frame]:
        """Frames with strictly increasing pts, from now on: the first one, which is old by now, is left out."""
        return self._frames

    def stop(self) -> None:
        """Ends the frames, from any thread; a read that waits returns when data comes, or after the timeout."""
        self._stopping.set()

    def close(self) -> None:
        """Closes the connection, or leaves that to the thread that waits for data."""
        self.stop()
        with contextlib.suppress(ValueError):  # the generator is running
            self._frames.close()

    def _describe(self) -> StreamInfo:
        decoder, first = self._decoder, next(self._frames, None)
        if first is None:
            why = decoder.stopped or f"{hidden(self._spec)} gave no picture"
            raise VideoError(f"{why}; see that it sends video")
        self.first = first  # decoded before iterating, and not repeated
        if decoder.container.streams.audio:
            self.warn("the sound of a live source is not recorded")
        return StreamInfo(
            name=hidden(self._spec),
            rate=decoder.rate / self._options.every,
            time_base=_TIME_BASE,
            live=True,
            start=Fraction(0),  # files begin with the first frame that is taken
            **frame_facts(decoder, self._converter),
        )

    def _live(self) -> Generator[Frame]:
        """Frames of one connection after the other."""
        begun, last, index = time.monotonic(), -1, -1
        try:
            while True:
                offset: int | None = None  # from the connection's time to ours
                discontinuity = index >= 0
                for frame, pts in self._connection():
                    if offset is None:
                        now = round((self._decoder.arrival - begun) / _TIME_BASE) if index >= 0 else 0
                        offset = now - pts
                        self._pause, self._lost = _FIRST_PAUSE_SECONDS, None
                        self.reconnects += index >= 0
                    last = max(last + 1, pts + offset)
                    index += 1
                    self._corrupt += frame.is_corrupt
                    if self._decoder.jumps:
                        self._decoder.jumps.clear()
                        discontinuity = True
                    if index % self._options.every == 0:
                        rgb, changed = self._converter.convert(frame, float(last * _TIME_BASE))
                        arrival = self._decoder.arrival
                        yield Frame(rgb, last, _TIME_BASE, index, discontinuity or changed, arrival=arrival)
                        discontinuity = False
                    if self._stopping.is_set():
                        return
                if index < 0 or not self._reconnect():
                    return
        finally:
            self._decoder.close()

    def _connection(self) -> Iterator[tuple[VideoFrame, int]]:
        """Frames of the connection that is open, and their time in units of `_TIME_BASE`."""
        decoder = self._decoder
        clock = FrameClock(decoder.time_base, decoder.rate)
        paced = _PACED.intersection(decoder.container.format.name.split(","))
        ahead: float | None = None  # from the stream's time to the wall clock
        catch_up, context = CatchUp(), decoder.stream.codec_context
        for frame in decoder.frames():
            if not decoder.has_clock:
                yield frame, round(decoder.arrival / _TIME_BASE)
                continue
            seconds = clock.stamp(frame.pts) * decoder.time_base
            if paced:
                ahead = decoder.arrival - float(seconds) if ahead is None else ahead
                early = ahead + float(seconds) - time.monotonic()
                self._stopping.wait(max(0.0, early))
                ahead -= min(0.0, early) if "lavfi" in paced else 0  # FFmpeg makes these on demand
                decoder.arrival = time.monotonic()
            else:
                context.skip_frame = "NONKEY" if catch_up.is_late(decoder.arrival, float(seconds)) else "DEFAULT"
            yield frame, round(seconds / _TIME_BASE)

    def _reconnect(self) -> bool:
        """Whether a lost connection is open again; False after a while without a frame, or where there was an end."""
        decoder = self._decoder
        self._packets, decoder.packets = self._packets + decoder.packets, 0
        if self._spec.startswith(("lavfi:", STDIN)) and not decoder.stopped:
            return False
        self._lost = decoder.stopped or f"{hidden(self._spec)} ended"
        last_try = decoder.arrival + self._options.reconnect
        decoder.close()
        while (left := last_try - time.monotonic()) > 0 and not self._stopping.wait(min(self._pause, left)):
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            try:
                self._decoder = Decoder(self._spec, self._options)
            except VideoError as error:
                self._lost = str(error)
                continue
            self._decoder.arrival = decoder.arrival  # until a frame comes
            return True
        return False
