"""Decoder: the frames of one video stream, as the file stores them; damage is skipped and counted."""

import contextlib
import re
from collections.abc import Iterator
from fractions import Fraction

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tmaseg.errors import VideoError
from tmaseg.video.container import is_url, open_input, why_silent

_DEFAULT_RATE = Fraction(25)
_HARDWARE = ("cuda", "videotoolbox", "vaapi")  # in order of liking
_MOST_READ_ERRORS = 8  # in a row, before the rest of a file is given up


class Decoder:
    """One open file or URL, and its first video stream that is not a cover picture."""

    def __init__(self, location: str, timeout: float, *, hardware: bool = False) -> None:
        """`hardware`: decode on a device if one opens. Raises VideoError: no video stream, or no decoder for it."""
        self.location, self._timeout = location, timeout
        self.packets = 0
        """Packets that did not decode or could not be read."""
        self.stopped: str | None = None
        """Why reading ended early."""
        self.reach = Fraction(0)
        """Latest end of a packet of any stream, in seconds of the container's time."""
        self._device, container = _open(location, timeout, hardware)
        self.container: InputContainer = container
        try:
            self.stream = self._pick()
            self._note_facts()
        except BaseException:
            self.container.close()
            raise

    @property
    def device(self) -> str | None:
        """The kind of device that decodes; None for the CPU. Known after the first frame."""
        return self._device if self.stream.codec_context.is_hwaccel else None

    def _pick(self) -> VideoStream:
        streams = [s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            has = "sound only" if self.container.streams.audio else "no pictures and no sound"
            raise VideoError(f"{self.location} has no video stream ({has}); give a file with moving pictures")
        stream = streams[0]
        context: object = stream.codec_context
        if context is None:
            raise VideoError(f"{self.location}: there is no decoder for its video; convert it to H.264 first")
        # Not "AUTO": frame threads report a damaged packet late, some not at all, and PyAV gives up the last frames
        # when that happens while they are drained (3 damaged at the end: 2 counted, 2 good frames lost).
        stream.thread_type = "SLICE"
        return stream

    def _note_facts(self) -> None:
        """Copy what is asked for later: PyAV's streams must not be touched once their container is closed."""
        stream = self.stream
        rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
        start: int | None = self.container.start_time
        self.time_base = Fraction(stream.time_base or Fraction(1, 90000))
        """Seconds a unit of the frames' pts."""
        self.rate = next((Fraction(rate) for rate in rates if rate and 0 < rate <= 1000), _DEFAULT_RATE)
        """Nominal frames a second; 25 when the file says nothing believable."""
        self.beginning = Fraction(start or 0, av.time_base)
        """Where the container's time starts, in seconds."""
        self.first_pts = stream.start_time or 0
        """Announced pts of the first frame."""
        self.video_beginning = self.beginning if stream.start_time is None else self.first_pts * self.time_base
        """Where the video stream starts, in seconds of the container's time."""
        end = self._stream_end()
        self.announces_video = end is not None
        """Whether the file announces the length of the video stream by itself."""
        self.announced_end = self._container_end() if end is None else end
        """Where the video should end, in seconds of the container's time: by its stream, or else by the container."""

    def _container_end(self) -> Fraction | None:
        duration = self.container.duration
        return self.beginning + Fraction(duration, av.time_base) if duration and duration > 0 else None

    def _stream_end(self) -> Fraction | None:
        if self.stream.duration and self.stream.duration > 0:
            length = self.stream.duration * self.time_base
            if self.container.format.name == "avi":
                # The demuxer shortens the length of a file that is cut short, but not the count of frames.
                length = max(length, self.stream.frames / self.rate)
            return self.video_beginning + length
        # Matroska keeps it as text: 00:00:13.077000000
        match = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", self.stream.metadata.get("DURATION", ""))
        if match is None:
            return None
        hours, minutes, seconds = match.groups()
        return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)

    def seek(self, seconds: Fraction) -> bool:
        """Go to a key frame a little before `seconds` of the container's time; False where the file cannot."""
        # A second of margin: files are searched by decoding time, which runs ahead of showing time.
        target = int((seconds - 1) / self.time_base)
        try:
            self.container.seek(target, stream=self.stream)
        except (av.FFmpegError, OSError):
            return False
        return True

    def __iter__(self) -> Iterator[VideoFrame]:
        errors = 0
        packets = self.container.demux()
        while errors < _MOST_READ_ERRORS:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                errors += 1
                self.packets += 1
                if is_url(self.location):
                    self.stopped = f"{self.location} {why_silent(error, self._timeout)}"
                    break
                packets = self.container.demux()
                continue
            # Not packet.stream_index: on the empty packets that flush a decoder it is 0 for every stream.
            if packet.stream.index == self.stream.index:
                yield from self._decode(packet)
            errors = 0 if packet.size else errors
            self._note_reach(packet)
        else:
            self.stopped = "the rest of the file cannot be read"
        yield from self._decode(None)

    def _decode(self, packet: "Packet[Stream] | None") -> list[VideoFrame]:
        try:
            return self.stream.codec_context.decode(packet)
        except av.error.EOFError:
            return []
        except (av.FFmpegError, OSError):
            self.packets += 1
            return []

    def _note_reach(self, packet: "Packet[Stream]") -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if packet.size and stamp is not None and packet.time_base:
            self.reach = max(self.reach, (stamp + (packet.duration or 0)) * Fraction(packet.time_base))

    def close(self) -> None:
        """Let go of the file; twice does no harm."""
        self.container.close()


def _open(location: str, timeout: float, hardware: bool) -> tuple[str | None, InputContainer]:
    """The file, with the first kind of decoding device that truly opens; None where none does."""
    kinds = [kind for kind in _HARDWARE if kind in hwdevices_available()] if hardware else []
    for kind in kinds:
        with contextlib.suppress(VideoError):
            return kind, open_input(location, timeout, HWAccel(kind, allow_software_fallback=True))
    return None, open_input(location, timeout)
