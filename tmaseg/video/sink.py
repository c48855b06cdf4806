"""Sinks for frames: a video file, with the streams that pass through, and a stream to a server."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import av
from av import Packet, VideoStream
from av.container import OutputContainer
from av.video.frame import PictureType

from tmaseg.errors import OutputError
from tmaseg.files import PartFile, check_not_read, check_output_file
from tmaseg.video.address import STREAM_FORMATS, check_options, hidden, is_url, without_address
from tmaseg.video.colour import FrameConverter
from tmaseg.video.encoder import WriteOptions, choose_encoder, kind_of, longest_gap, muxer_options, time_base_of
from tmaseg.video.passthrough import Passthrough
from tmaseg.video.source import Frame, StreamInfo

_DEFAULTS = WriteOptions()
_KEY_FRAME_SECONDS = 2  # interval of a stream's key frames: a viewer waits that long at most
_STREAM_OPTIONS = {"flush_packets": "1", "flvflags": "no_duration_filesize", "rtsp_transport": "tcp"}


class VideoSink:
    """A video file (.mp4, .mov, .mkv, .webm) that appears under its name only when it is complete.

    Leaving the `with` block completes it; leaving it by an exception removes what was written. Made in any thread,
    written and closed in one. Time stamps are those of the frames (in .mkv and .webm rounded to milliseconds), moved to
    begin at zero when `info.start` is set. Sound, metadata, chapters and subtitles come from `info.location`. All
    frames must have the size of the first; where the encoder needs an even one, the last column or row is repeated.
    """

    def __init__(
        self, path: str | Path, info: StreamInfo, options: WriteOptions = _DEFAULTS, *, kind: str | None = None
    ) -> None:
        """`kind`: FFmpeg's name of the container; None: that of the suffix.

        Raises OutputError: unknown suffix, existing output, output is the input, folder missing or not writable,
        encoder unknown or not working here.
        """
        self.path = Path(path)
        self._kind = kind or kind_of(self.path, lossless=options.lossless)
        if isinstance(info.location, str) and not is_url(info.location):
            check_not_read([self.path], [Path(info.location)])
        check_output_file(self.path, overwrite=options.overwrite)
        self._info, self._options, self._failure = info, options, f"{self.path} cannot be written"
        self._file = PartFile(self.path)
        self.time_base = time_base_of(self._kind, info.time_base)  # unit of time of the container
        self._longest_gap = longest_gap(self._kind, self.time_base)
        self._encoder = choose_encoder(self._kind, options, self.time_base)
        self.encoder = self._encoder.name  # name of the video encoder in use
        self._warnings: dict[str, None] = {}
        if options.hardware and not self._encoder.on_device:
            self._warn(f"--hardware: no device is used for encoding; {self.encoder} does it on the CPU")
        self._container: OutputContainer | None = None  # the next four with it
        self._passthrough: Passthrough
        self._stream: VideoStream
        self._converter: FrameConverter
        self._size = (0, 0)  # (width, height) of the frames
        self._first_ticks: int | None = None
        self._last_ticks: int | None = None
        self._first_dts: int | None = None
        self._durations: dict[int, int] = {}  # of frames in the encoder, in ticks by their pts
        self._end = Fraction(0)  # of the last frame, in seconds of the output
        self._ticks: list[int] = []  # of frames whose packets were copied: the last ones
        self._held: list[Packet[VideoStream]] = []  # the last packet that was copied
        self._cut = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user, each once, in the order found; may grow until the sink is closed."""
        return tuple(self._warnings)

    def write(self, frame: Frame) -> None:
        """Encodes one frame. Raises OutputError when the size changes, the disk is full, or the encoder fails."""
        size = (frame.rgb.shape[1], frame.rgb.shape[0])
        with _clear_errors(self._failure):
            if self._container is None:
                self._begin(frame, size)
            if size != self._size:
                raise OutputError(
                    f"a frame of {size[0]}x{size[1]} does not fit {self.path}, which was begun at "
                    f"{self._size[0]}x{self._size[1]}; give every frame the same size"
                )
            stored = self._converter.convert(frame.rgb)
            stored.pts, stored.time_base = self._stamp(frame), self.time_base
            self._mux(self._stream.encode(stored))

    def copy(self, path: Path, frames: Sequence[Frame], order: Sequence[int], delay: int) -> None:
        """Takes the packets of a video that a sink of the same encoder wrote, as those of `frames`.

        Only the times of frames are used. `order` is the place among them of each packet's frame, and `delay` how
        many frames later than decoded a frame is shown at most, in all videos that are copied. Raises OutputError.
        """
        with _clear_errors(self._failure), av.open(str(path)) as part:
            stream = part.streams.video[0]
            if self._container is None:
                self._begin(frames[0], (stream.width, stream.height))
            shown = [self._stamp(frame) for frame in frames]
            step = shown[1] - shown[0] if len(shown) > 1 else 1
            earlier = self._ticks[-delay:] if delay else []
            earlier = [shown[0] - step * number for number in range(delay - len(earlier), 0, -1)] + earlier
            self._ticks = earlier + shown
            packets = (packet for packet in part.demux(stream) if packet.size)
            for packet, place, decoded in zip(packets, order, self._ticks, strict=False):
                packet.stream, packet.time_base = self._stream, self.time_base
                packet.pts, packet.dts = shown[place], decoded
                self._mux(self._held)
                self._held = [packet]

    def cut_sound(self) -> None:
        """Ends the sound with the last frame written: the video ends before its input does (Ctrl-C)."""
        self._cut = True

    def finish(self) -> None:
        """Flushes, closes, and moves the file to its name. Raises OutputError when no frame was written."""
        try:
            if self._container is None:
                raise OutputError(f"{self.path} was not written: there was no frame to write")
            with _clear_errors(self._failure):
                self._mux(self._with_end(self._held or self._stream.encode(None)))
                self._passthrough.pump(self._end - self._passthrough.shift if self._cut else self._info.end)
                self._passthrough.finish()
                self._container.close()
                self._file.commit()
        except BaseException:
            self.discard()
            raise
        self._container = None

    def discard(self) -> None:
        """Closes and removes what was written; twice does no harm."""
        if self._container is not None:
            self._passthrough.close()
            with contextlib.suppress(av.FFmpegError, OSError, ValueError):
                self._container.close()
            self._container = None
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()

    def _begin(self, first: Frame, size: tuple[int, int]) -> None:
        """Opens the file, with every stream it is going to have."""
        self._size = size
        seconds = first.pts * first.time_base
        self._passthrough = Passthrough(self._info, self._options, self._warn)
        if self._info.start is not None or seconds < 0:
            self._passthrough.shift = -seconds
        if self._info.start is None and seconds < 0:
            self._warn(f"the video starts {float(-seconds):.3f} s before its zero; it is moved to start at zero")
        options = muxer_options(self._kind, self.time_base, self._passthrough.metadata)
        try:
            self._container = av.open(str(self._file.path), "w", format=self._kind, container_options=options)
        except BaseException:
            self._passthrough.close()
            raise
        self._container.metadata.update(self._passthrough.metadata)
        width, height = self._encoder.padded(*size)
        self._stream = self._encoder.add_to(self._container, (width, height), self._info, self.time_base)
        self._warn_of_shape(width, height)
        if code := self._passthrough.timecode(self._kind, seconds if self._info.start is not None else Fraction(0)):
            self._stream.metadata["timecode"] = code
        self._converter = FrameConverter(width, height, self._encoder.pixel_format)
        self._passthrough.add_to(self._container)
        self._container.start_encoding()

    def _warn_of_shape(self, width: int, height: int) -> None:
        encoder, aspect = self._encoder, self._info.sample_aspect
        if aspect != 1 and not encoder.keeps_aspect(self._kind):
            self._warn(
                f"the pixels are not square ({aspect}), which {self.path.suffix} with {encoder.name} "
                "cannot store: players will show a distorted picture; write .mp4 to keep its shape"
            )
        if (width, height) != self._size:
            self._warn(
                f"{encoder.name} needs an even size: {self._size[0]}x{self._size[1]} became {width}x{height}, "
                "with the last column or row repeated"
            )

    def _stamp(self, frame: Frame) -> int:
        """The next frame's time in the output, in its unit."""
        longest = self._longest_gap
        seconds = frame.pts * frame.time_base + self._passthrough.shift
        if self._last_ticks is not None and seconds > (limit := self._last_ticks * self.time_base + longest):
            # What follows is moved to close a gap that the container cannot hold.
            excess = seconds - limit
            self._passthrough.shift -= excess
            self._warn(
                f"a gap of {float(longest + excess):.0f} s before frame {frame.index} is too long for "
                f"{self.path.suffix} and became {float(longest):.0f} s; write .mkv to keep it"
            )
            seconds = limit
        ticks = round(seconds / self.time_base)
        if self._last_ticks is not None:
            ticks = max(ticks, self._last_ticks + 1)  # frames closer than the container's unit
        self._first_ticks = ticks if self._first_ticks is None else self._first_ticks
        self._last_ticks = ticks
        duration = min(frame.duration * frame.time_base or 1 / self._info.rate, longest)
        self._durations[ticks] = max(1, round(duration / self.time_base))
        self._end = ticks * self.time_base + duration
        return ticks

    def _with_end(self, packets: "list[Packet[VideoStream]]") -> "list[Packet[VideoStream]]":
        """The encoder's last packets. MP4 takes the length of a stream from decoding times, so the last one ends it."""
        if packets and (last := packets[-1]).dts is not None and last.pts is not None:
            end, first = round(self._end / self.time_base), self._first_dts
            decoded_end = ((packets[0].dts if first is None else first) or 0) + end - (self._first_ticks or 0)
            last.duration = min(decoded_end - last.dts, end - last.pts)
            last.dts = max(last.dts, min(last.pts, decoded_end - last.duration))
        return packets

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        """Writes packets of the video, and before each the sound up to its time."""
        assert self._container is not None
        for packet in packets:
            stamp = packet.dts if packet.dts is not None else packet.pts or 0
            self._passthrough.pump(stamp * packet.time_base - self._passthrough.shift)
            packet.duration = max(packet.duration or 0, self._durations.pop(packet.pts or 0, 0))
            self._first_dts = stamp if self._first_dts is None else self._first_dts
            self._container.mux(packet)

    def _warn(self, sentence: str) -> None:
        self._warnings[sentence] = None


class StreamSink:
    """Frames, of the first one's size, to rtmp://, rtsp://, udp:// and the like, without sound, from time zero on.

    A context manager; leaving its block closes the connection.
    """

    def __init__(self, url: str, info: StreamInfo, options: WriteOptions) -> None:
        """Raises OutputError for an unknown option of the URL, and for an encoder that does not work."""
        check_options(url, OutputError)
        self._url, self._info = url, info
        self._failure = f"{hidden(url)} cannot be sent to", "check the address, the server, and --encoder"
        self._kind = STREAM_FORMATS[urlsplit(url).scheme]
        self._time_base = Fraction(1, 1000 if self._kind == "flv" else 90_000)
        self._encoder = choose_encoder(self._kind, options, self._time_base)
        self._container: OutputContainer | None = None
        self._stream: VideoStream
        self._converter: FrameConverter
        self._origin = self._key_frame = Fraction(0)
        self._ticks = -1
        self.encoder = self._encoder.name  # name of the video encoder in use
        self.warnings = ("the sound is not sent to a stream",) if info.sound and options.audio else ()

    def write(self, frame: Frame) -> None:
        """Encodes and sends one frame. Raises OutputError when the server cannot be reached."""
        seconds = frame.pts * frame.time_base
        with _clear_errors(*self._failure):
            if self._container is None:
                self._begin(frame)
                self._origin = self._key_frame = seconds
            stored = self._converter.convert(frame.rgb)
            self._ticks = max(self._ticks + 1, round((seconds - self._origin) / self._time_base))
            stored.pts, stored.time_base = self._ticks, self._time_base
            if seconds - self._key_frame >= _KEY_FRAME_SECONDS:
                stored.pict_type, self._key_frame = PictureType.I, seconds
            assert self._container is not None
            self._container.mux(self._stream.encode(stored))

    def cut_sound(self) -> None:
        """Nothing: sound is not sent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._container is None:
            return
        try:
            with _clear_errors(*self._failure):
                if kind is None:
                    self._container.mux(self._stream.encode(None))
        finally:
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()

    def _begin(self, first: Frame) -> None:
        encoder, info = self._encoder, self._info
        if encoder.name == "libx264":
            encoder = replace(encoder, options={**encoder.options, "tune": "zerolatency"})
        size = encoder.padded(first.rgb.shape[1], first.rgb.shape[0])
        container = av.open(self._url, "w", format=self._kind, container_options=_STREAM_OPTIONS)
        self._stream = encoder.add_to(container, size, info, self._time_base)
        self._converter = FrameConverter(*size, encoder.pixel_format)
        container.start_encoding()
        self._container = container


@contextlib.contextmanager
def _clear_errors(failure: str, remedy: str | None = None) -> Iterator[None]:
    """Errors of FFmpeg and the system become OutputErrors that begin with `failure`."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        usual = "check disk and folder" if isinstance(error, OSError) else "try another suffix or --encoder"
        raise OutputError(f"{failure}: {reason}; {remedy or usual}") from without_address(error)
