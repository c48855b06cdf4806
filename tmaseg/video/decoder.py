"""Decoder: the frames of one video stream, on the timeline; damage is skipped and counted. Deinterlacing."""

import contextlib
import re
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, groupby

import av
from av import Packet, VideoFormat, VideoFrame, VideoStream
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.filter import Graph
from av.format import Flags
from av.stream import Disposition, Stream

from tmaseg.errors import VideoError
from tmaseg.video import DEMO
from tmaseg.video.address import hidden, is_address
from tmaseg.video.container import is_complete_matroska, open_input, why_silent
from tmaseg.video.pipe import Pipe
from tmaseg.video.source import ReadOptions
from tmaseg.video.timeline import Timeline

_DEFAULT_RATE = Fraction(25)
_HARDWARE = ("cuda", "videotoolbox", "vaapi")  # in order of preference
_MOST_READ_ERRORS = 8  # in a row, before the rest of a file is given up
_MOST_HELD_PACKETS = 2000


class Decoder:
    """The first video stream, cover pictures aside, of an open file or URL; all times are on its `Timeline`."""

    def __init__(self, location: str | Pipe, options: ReadOptions) -> None:
        """Raises VideoError: no video stream, or no decoder for it."""
        self.location, self._options = location, options
        self.packets = 0  # packets that did not decode or could not be read
        self.stopped: str | None = None  # why reading ended early
        self.reach = Fraction(0)  # latest end of a packet of any stream, in seconds
        self.jumps: list[int] = []  # pts of packets where the time stamps jumped, until the frames' reader removes them
        self.arrival = time.monotonic()  # time of arrival of the latest packet, in seconds of `time.monotonic`
        self._packets_read = 0
        self._device, self.container = _open_on_device(location, options)
        try:
            self.stream = self._first_stream()
            self.timeline = Timeline(self.container)
            self._copy_facts()
        except BaseException:
            self.container.close()
            raise

    @property
    def device(self) -> str | None:
        """The kind of device that decodes; None for the CPU. Known after the first frame."""
        return self._device if self.stream.codec_context.is_hwaccel else None

    @property
    def endless(self) -> bool:
        """Whether it is a stream from the web of which neither length nor size is known."""
        container = self.container
        known = container.duration is not None and container.duration > 0
        return not known and (container.format.name == "hls" or container.size < 0)

    @property
    def announced_end(self) -> Fraction | None:
        """Where the video should end, in seconds: by its stream, or else by the container; None: not known."""
        return None if self.timeline.jumped else self._announced_end

    @property
    def end_of_last_frame(self) -> Fraction | None:
        """Where the video of a complete MP4, MOV or Matroska file ends; None: not known."""
        # The last packet's duration does not give it: that packet is the last in decoding order, or has no duration.
        if self.stopped:
            return None
        complete = bool(self._announced_packets) and self._packets_read >= self._announced_packets
        complete = complete or (self.announces_video and is_complete_matroska(self.location))
        return self.announced_end if complete else None

    def _first_stream(self) -> VideoStream:
        streams = [s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            has = "sound only" if self.container.streams.audio else "no pictures and no sound"
            raise VideoError(f"{hidden(self.location)} has no video stream ({has}); give a file with moving pictures")
        stream = streams[0]
        context: object = stream.codec_context
        if context is None:
            raise VideoError(f"{hidden(self.location)}: there is no decoder for its video; convert it to H.264 first")
        # Not "AUTO": frame threads report a damaged packet late or never, and PyAV loses the last frames when that
        # happens while they are flushed (3 damaged at the end: 2 counted, 2 good frames lost).
        stream.thread_type = "SLICE"
        return stream

    def _copy_facts(self) -> None:
        """Copies what is read later: PyAV's streams must not be touched once their container is closed."""
        stream, kind = self.stream, self.container.format
        # Whether the container has time stamps at all; a raw stream (.h264, .hevc, .mjpeg) has none.
        self.has_clock = Flags.no_timestamps not in Flags(kind.flags) and not kind.name.endswith("_pipe")
        rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
        if not self.has_clock:
            rates.insert(0, stream.codec_context.framerate)  # the others are the demuxer's guess
        given = None if self.has_clock else self._options.rate
        # Nominal frames a second; 25 when the file has none that is plausible.
        self.rate = given or next((Fraction(rate) for rate in rates if rate and 0 < rate <= 1000), _DEFAULT_RATE)
        self.time_base = Fraction(stream.time_base or Fraction(1, 90000))  # seconds a unit of the frames' pts
        # Where the container begins, in seconds.
        self.beginning = self.timeline.on_line(Fraction(self.container.start_time or 0, av.time_base))
        begin = stream.start_time
        # Where the video stream begins, in seconds.
        self.video_beginning = self.beginning if begin is None else self.timeline.on_line(begin * self.time_base)
        self._announced_packets = stream.frames if "mov" in kind.name.split(",") else 0
        self._announced_end = self._stream_end()
        # Whether the file announces the length of the video stream by itself.
        self.announces_video = self._announced_end is not None
        length = self.container.duration or 0
        if self._announced_end is None and length > 0:
            self._announced_end = self.beginning + Fraction(length, av.time_base)

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
        """Goes to a key frame a little before `seconds`; returns False where the file cannot be searched."""
        # A second of margin: files are searched by decoding time, which is earlier than presentation time.
        target = int((seconds + self.timeline.origin - 1) / self.time_base)
        try:
            self.container.seek(target, stream=self.stream)
        except (av.FFmpegError, OSError):
            return False
        return True

    def frames(self, start: Fraction | None = None) -> Iterator[VideoFrame]:
        """Every frame from here on, deinterlaced if wanted; `start`: none more than a key frame before that time."""
        frames = self._stored(start)
        return _deinterlaced(frames, self.time_base) if self._options.deinterlace else frames

    def _stored(self, start: Fraction | None) -> Iterator[VideoFrame]:
        held: list[Packet[Stream]] = []  # since the last key frame
        for packet in self._packets():
            if packet.is_keyframe:
                held.clear()
            held.append(packet)
            if start is not None and packet.pts is not None and packet.pts * self.time_base >= start - 1:
                start = None
            if start is None or packet.pts is None or len(held) >= _MOST_HELD_PACKETS:
                for ready in held:
                    yield from self._decode(ready)
                held.clear()
        for ready in held:
            yield from self._decode(ready)
        yield from self._decode(None)

    def _packets(self) -> "Iterator[Packet[Stream]]":
        """Packets of the video, on the timeline, which follows those of other streams, too."""
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
                if is_address(self.location) or (isinstance(self.location, Pipe) and isinstance(error, TimeoutError)):
                    self.stopped = why_silent(self.location, error, self._options.timeout)
                    return
                packets = self.container.demux()
                continue
            self.arrival = time.monotonic()
            if not packet.size:  # flushes a decoder, which is done at the end
                continue
            errors = 0
            jumped = self.timeline.place(packet)
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None and packet.time_base:
                self.reach = max(self.reach, (stamp + (packet.duration or 0)) * Fraction(packet.time_base))
            if packet.stream.index == self.stream.index:
                self._packets_read += 1
                if jumped and packet.pts is not None:
                    self.jumps.append(packet.pts)
                yield packet
        self.stopped = "the rest of the file cannot be read"

    def _decode(self, packet: "Packet[Stream] | None") -> list[VideoFrame]:
        try:
            return self.stream.codec_context.decode(packet)
        except av.error.EOFError:
            return []
        except (av.FFmpegError, OSError):
            self.packets += 1
            return []

    def close(self) -> None:
        """Closes the file; twice does no harm."""
        self.container.close()


def hardware_decoder() -> str | None:
    """The kind of device that decodes the demo clip here; None where none does."""
    with contextlib.closing(Decoder(str(DEMO), ReadOptions(hardware=True))) as decoder:
        next(decoder.frames(), None)
        return decoder.device


def _open_on_device(location: str | Pipe, options: ReadOptions) -> tuple[str | None, InputContainer]:
    """The file, with the first kind of decoding device that opens; None where none does."""
    available = hwdevices_available() if options.hardware else ()
    for kind in (kind for kind in _HARDWARE if kind in available):
        with contextlib.suppress(VideoError):
            return kind, open_input(location, options.timeout, HWAccel(kind, allow_software_fallback=True))
    return None, open_input(location, options.timeout)


def _deinterlaced(frames: Iterable[VideoFrame], time_base: Fraction) -> Iterator[VideoFrame]:
    """One frame for each of `frames` by FFmpeg's bwdif, one frame later; progressive ones pass unchanged."""
    for (width, height, kind), same in groupby(frames, lambda frame: (frame.width, frame.height, frame.format.name)):
        graph = Graph()
        buffer = graph.add_buffer(width=width, height=height, format=VideoFormat(kind), time_base=time_base)
        bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        graph.link_nodes(buffer, bwdif, graph.add("buffersink")).configure()
        for frame in chain(same, [None]):  # None: the end, for the frame that is held back
            graph.vpush(frame)
            with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
                while True:
                    ready = graph.vpull()
                    unit = (ready.time_base or time_base) / time_base  # the filter counts in halves
                    ready.pts = None if ready.pts is None else round(ready.pts * unit)
                    ready.duration, ready.time_base = round(ready.duration * unit), time_base
                    yield ready
