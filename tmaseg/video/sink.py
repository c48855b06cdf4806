"""VideoSink: frames into a video file, with the streams that pass through."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tmaseg.errors import OutputError
from tmaseg.files import PartFile, check_not_read, check_output_file
from tmaseg.video.address import is_url
from tmaseg.video.colour import EncoderPictures
from tmaseg.video.encoder import WriteOptions, choose_encoder
from tmaseg.video.frame import Frame
from tmaseg.video.muxer import (
    holds_aspect,
    kind_of,
    longest_gap,
    muxer_options,
    own_metadata,
    time_base_of,
)
from tmaseg.video.passthrough import Passthrough
from tmaseg.video.source import StreamInfo

_DEFAULTS = WriteOptions()


class VideoSink:
    """A video file (.mp4, .mov, .mkv, .webm) that appears under its name only when it is complete.

    Leaving the `with` block completes it; leaving it by an exception removes what was written. Made in any thread,
    written and closed in one.

    Time stamps are those of the frames, exactly (whole milliseconds in .mkv and .webm, as these formats have it; at
    finest microseconds in .mp4 and .mov).
    When `info.start` is set the output begins at zero, sound with it. Sound, metadata, chapters and subtitles come
    from `info.location`, as far as the container takes them. All frames must have the size of the first, which need
    not be that of `info`; an odd width or height gets one more column or row, a copy of the last, where the encoder
    needs it.
    """

    path: Path

    def __init__(self, path: str | Path, info: StreamInfo, options: WriteOptions = _DEFAULTS) -> None:
        """Check everything that can be checked before the first frame.

        Raises OutputError: unknown suffix, existing output, output is the input, folder missing or not writable,
        encoder unknown or not working on this machine.
        """
        self.path = Path(path)
        self._kind = kind_of(self.path, lossless=options.lossless)
        _check_not_input(self.path, info)
        self._info, self._options = info, options
        check_output_file(self.path, overwrite=options.overwrite)
        self._file = PartFile(self.path)
        self._time_base = time_base_of(self._kind, info.time_base)
        self._encoder = choose_encoder(self._kind, options, self._time_base)
        self._warnings: list[str] = []
        if options.hardware and not self._encoder.on_device:
            self._warn(f"--hardware: no device is used for encoding; {self._encoder.name} does it on the CPU")
        self._container: OutputContainer | None = None
        self._passthrough: Passthrough | None = None
        self._stream: VideoStream
        self._pictures: EncoderPictures
        self._size = (0, 0)  # (width, height) of the frames
        self._shift = Fraction(0)  # seconds from the input's time to the output's
        self._first_ticks: int | None = None
        self._last_ticks: int | None = None
        self._first_dts: int | None = None
        self._durations: dict[int, int] = {}  # of frames in the encoder, in ticks by their pts
        self._end = Fraction(0)  # of the last frame, in seconds of the output
        self._cut = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences a user should read, each once, in the order found; may grow until the sink is closed."""
        return tuple(self._warnings)

    @property
    def encoder(self) -> str:
        """Name of the video encoder in use."""
        return self._encoder.name

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises OutputError when the size changes, the disk is full, or the encoder fails."""
        size = (frame.rgb.shape[1], frame.rgb.shape[0])
        with self._failing_clearly():
            if self._container is None:
                self._begin(frame, size)
            if size != self._size:
                begun = f"{self._size[0]}x{self._size[1]}"
                raise OutputError(
                    f"a frame of {size[0]}x{size[1]} does not fit {self.path}, which was begun at {begun}; "
                    "give every frame the same size"
                )
            self._mux(self._stream.encode(self._to_video(frame)))

    def cut_sound(self) -> None:
        """Let sound stop with the last frame written: the video ends before its input does (Ctrl-C)."""
        self._cut = True

    def finish(self) -> None:
        """Flush, close, and move to the final name. Raises OutputError when no frame was written."""
        if self._container is None or self._passthrough is None:
            self.discard()
            raise OutputError(f"{self.path} was not written: there was no frame to write")
        try:
            with self._failing_clearly():
                self._mux(self._lasting(self._stream.encode(None)))
                end = self._end - self._shift if self._cut else self._info.end
                self._passthrough.pump(end)
                self._passthrough.finish()
                self._container.close()
        except BaseException:
            self.discard()
            raise
        self._container = None
        with self._failing_clearly():
            self._file.commit()

    def discard(self) -> None:
        """Close and remove what was written; twice does no harm."""
        if self._passthrough is not None:
            self._passthrough.close()
        if self._container is not None:
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
        """Open the file, with every stream it is going to have."""
        self._size = size
        seconds = first.pts * first.time_base
        if self._info.start is not None:
            self._shift = -seconds
        elif seconds < 0:
            self._shift = -seconds
            self._warn(f"the video starts {float(-seconds):.3f} s before its zero; it is moved to start at zero")
        passthrough = Passthrough(self._info, audio=self._options.audio, timeout=self._options.timeout, warn=self._warn)
        self._passthrough = passthrough
        metadata = own_metadata(passthrough.metadata)
        options = muxer_options(self._kind, self._time_base, metadata)
        self._container = av.open(str(self._file.path), "w", format=self._kind, container_options=options)
        self._container.metadata.update(metadata)
        self._stream = self._add_video(self._container)
        if code := passthrough.timecode(self._kind, seconds if self._info.start is not None else Fraction(0)):
            self._stream.metadata["timecode"] = code
        self._pictures = EncoderPictures(*self._padded(), self._encoder.pixel_format)
        passthrough.shift = self._shift
        passthrough.add_to(self._container)
        self._container.start_encoding()

    def _add_video(self, container: OutputContainer) -> VideoStream:
        encoder, (width, height) = self._encoder, self._padded()
        try:
            stream = container.add_stream(encoder.name, rate=self._info.rate, options=dict(encoder.options))
        except ValueError as error:
            raise OutputError(
                f"{self.path.suffix} cannot hold what {encoder.name} writes; give another suffix or --encoder"
            ) from error
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, encoder.pixel_format
        context = stream.codec_context
        stream.time_base = context.time_base = self._time_base
        context.sample_aspect_ratio = self._info.sample_aspect
        if self._info.sample_aspect != 1 and not holds_aspect(self._kind, encoder.name):
            self._warn(
                f"the pixels are not square ({self._info.sample_aspect}), which {self.path.suffix} with {encoder.name} "
                "cannot say: players will show the picture squeezed; write .mp4 to keep its shape"
            )
        if encoder.rgb:
            context.color_range = 2
        else:
            context.colorspace = context.color_range = context.color_primaries = context.color_trc = 1
        if "265" in encoder.name or encoder.name.startswith("hevc"):
            context.codec_tag = "hvc1"  # what Apple's players look for
        try:
            context.open()
        except (av.FFmpegError, OSError) as error:
            raise OutputError(
                f"{encoder.name} cannot encode pictures of {width}x{height}; choose another --encoder"
            ) from error
        if (width, height) != self._size:
            self._warn(
                f"{encoder.name} needs an even size: {self._size[0]}x{self._size[1]} became {width}x{height}, "
                "with the last column or row repeated"
            )
        return stream

    def _padded(self) -> tuple[int, int]:
        width, height = self._size
        even_width, even_height = self._encoder.even
        return width + (width % 2 if even_width else 0), height + (height % 2 if even_height else 0)

    def _to_video(self, frame: Frame) -> VideoFrame:
        stored = self._pictures.make(frame.rgb)
        ticks = round(self._seconds_out(frame) / self._time_base)
        if self._last_ticks is not None and ticks <= self._last_ticks:
            ticks = self._last_ticks + 1  # frames closer than the container's unit
        self._first_ticks = ticks if self._first_ticks is None else self._first_ticks
        self._last_ticks = ticks
        duration = frame.duration * frame.time_base or 1 / self._info.rate
        longest = longest_gap(self._kind, self._time_base)
        duration = duration if longest is None else min(duration, longest)
        self._durations[ticks] = max(1, round(duration / self._time_base))
        self._end = ticks * self._time_base + duration
        stored.pts, stored.time_base = ticks, self._time_base
        return stored

    def _seconds_out(self, frame: Frame) -> Fraction:
        """A frame's time in the output; what follows a gap that the container cannot hold is moved to close it."""
        seconds, longest = frame.pts * frame.time_base + self._shift, longest_gap(self._kind, self._time_base)
        if self._last_ticks is not None and longest is not None:
            excess = seconds - self._last_ticks * self._time_base - longest
            if excess > 0:
                self._shift -= excess
                self._warn(
                    f"a gap of {float(longest + excess):.0f} s before frame {frame.index} is too long for "
                    f"{self.path.suffix} and became {float(longest):.0f} s; write .mkv to keep it"
                )
                return seconds - excess
        return seconds

    def _lasting(self, packets: "list[Packet[VideoStream]]") -> "list[Packet[VideoStream]]":
        """The encoder's last packets. MP4 takes the length of a stream from decoding times, so the last one ends it."""
        if packets and (last := packets[-1]).dts is not None and last.pts is not None:
            end, first = round(self._end / self._time_base), self._first_dts
            decoded_end = ((packets[0].dts if first is None else first) or 0) + end - (self._first_ticks or 0)
            last.duration = min(decoded_end - last.dts, end - last.pts)
            last.dts = max(last.dts, min(last.pts, decoded_end - last.duration))
        return packets

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        """Write packets of the video, and before each the sound up to its time."""
        assert self._container is not None
        assert self._passthrough is not None
        for packet in packets:
            stamp = packet.dts if packet.dts is not None else packet.pts or 0
            self._passthrough.shift = self._shift
            self._passthrough.pump(stamp * packet.time_base - self._shift)
            packet.duration = max(packet.duration or 0, self._durations.pop(packet.pts or 0, 0))
            self._first_dts = stamp if self._first_dts is None else self._first_dts
            self._container.mux(packet)

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warnings:
            self._warnings.append(sentence)

    @contextlib.contextmanager
    def _failing_clearly(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            reason = error.strerror or str(error)
            remedy = "check disk and folder" if isinstance(error, OSError) else "try another suffix or --encoder"
            raise OutputError(f"{self.path} cannot be written: {reason}; {remedy}") from error


def _check_not_input(path: Path, info: StreamInfo) -> None:
    if not isinstance(info.location, str) or is_url(info.location):
        return
    check_not_read([path], [Path(info.location)])
