"""Decoder: a video file or URL opened safely, and the frames of its video stream; damage is skipped and counted."""

import contextlib
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.filter import Graph
from av.format import ContainerFormat, Flags
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tmaseg.errors import VideoError
from tmaseg.video import missing
from tmaseg.video.pipe import Pipe, PipeReader
from tmaseg.video.timeline import Timeline

# Demuxers that open other files or addresses named in the file (a stranger's playlist must not read local files or
# reach the network), that run scripts, that read devices, or that take any text for a picture.
_REFUSED_FORMATS = frozenset(
    {
        *("applehttp", "concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "vobsub", "webm_dash_manifest"),
        *("avisynth", "lavfi", "vapoursynth", "mlv", "image2", "image2pipe", "alias_pix", "brender_pix", "svg_pipe"),
        *("adf", "bin", "ffmetadata", "idf", "ifv", "rawvideo", "tty", "xbin"),
    }
)
# A live or on-demand stream on the web is a playlist by nature; its parts can only come from the web (see below).
_WEB_FORMATS = frozenset({"hls", "dash"})
_FILE_PROTOCOLS = "file"
_WEB_PROTOCOLS = "http,https,tcp,tls,crypto,httpproxy"


def is_url(spec: str | Path) -> bool:
    """Whether `spec` is an address rather than a path."""
    return isinstance(spec, str) and "://" in spec and not Path(spec).exists()


def open_input(location: str | Path | Pipe, timeout: float = 10.0, hardware: HWAccel | None = None) -> InputContainer:
    """Open a local file, an http(s) URL or a pipe for reading; the caller closes it.

    `timeout` is how many seconds a URL may stay silent, at opening and at each read. Raises VideoError: missing, not a
    file, empty, not readable, not a video, a playlist, no answer; or `hardware` that does not open.
    """
    if isinstance(location, Pipe):
        return _open_pipe(location, timeout, hardware)
    if is_url(location):
        return _open_url(str(location), timeout, hardware)
    return _open_file(Path(location), hardware)


def _open_file(path: Path, hardware: HWAccel | None) -> InputContainer:
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except FileNotFoundError as error:
        raise missing(path) from error
    except IsADirectoryError as error:
        raise VideoError(f"{path} is a folder; give a video file") from error
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise VideoError(f"{path} is empty (0 bytes); copy or record it again")
    try:
        return _open(os.fspath(path.absolute()), _FILE_PROTOCOLS, web=False, hardware=hardware)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path} {_what_it_is(head)}") from error


def _open_pipe(pipe: Pipe, timeout: float, hardware: HWAccel | None) -> InputContainer:
    head = b""
    try:
        head = pipe.head()
        if not head:
            raise VideoError(f"{pipe} gave nothing (0 bytes); see what the program that writes into it says")
        return _open(pipe.open(), _FILE_PROTOCOLS, web=False, hardware=hardware)
    except TimeoutError as error:
        raise VideoError(f"{pipe} {why_silent(error, timeout, pipe=True)}") from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{pipe} {_what_it_is(head)}") from error


def _open_url(url: str, timeout: float, hardware: HWAccel | None) -> InputContainer:
    if urlsplit(url).scheme not in ("http", "https"):
        scheme = urlsplit(url).scheme
        raise VideoError(f"{url}: {scheme}:// is not supported; give a file, a folder, or an http:// or https:// URL")
    try:
        return _open(url, _WEB_PROTOCOLS, web=True, timeout=timeout, hardware=hardware)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{url} {why_silent(error, timeout)}") from error


def coder_of(stream: Stream) -> str:
    """Name of a stream's codec; a stream without a decoder has no such attribute at all."""
    return getattr(stream, "name", None) or "unknown"


def why_silent(error: BaseException, timeout: float, *, pipe: bool = False) -> str:
    """The rest of the sentence that begins with a URL or a pipe: what went wrong with it."""
    if pipe:
        return f"gave nothing for {timeout:g} s; check the program that writes into it, or raise --timeout"
    if isinstance(error, av.error.ExitError | TimeoutError):
        return f"did not answer within {timeout:g} s; check the address and the connection, or raise --timeout"
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError):
        return "answered, but not with a video that can be read; check the address in a browser"
    reason = getattr(error, "strerror", None) or str(error)
    return f"cannot be fetched: {reason}; check the address and the connection"


def _open(
    location: str | PipeReader,
    protocols: str,
    *,
    web: bool,
    timeout: float | None = None,
    hardware: HWAccel | None = None,
) -> InputContainer:
    options = {"protocol_whitelist": protocols, "format_whitelist": _allowed_formats(web)}
    try:
        return av.open(location, "r", container_options=options, timeout=timeout, hwaccel=hardware)
    except UnicodeDecodeError:
        # Old cameras write metadata in their own code page; no reason to refuse the pictures.
        return av.open(
            location, "r", container_options=options, timeout=timeout, metadata_errors="replace", hwaccel=hardware
        )


@cache
def _allowed_formats(web: bool) -> str:
    allowed = set()
    for name in av.formats_available:
        try:
            demuxer = ContainerFormat(name, "r")
        except ValueError:
            continue
        names = set(demuxer.name.split(","))
        refused = _REFUSED_FORMATS - _WEB_FORMATS if web else _REFUSED_FORMATS
        if not demuxer.no_file and not names & refused:
            allowed |= names
    return ",".join(sorted(allowed))


def _what_it_is(head: bytes) -> str:
    """The rest of the sentence that begins with the path of a file that did not open."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"#extm3u", b"ffconcat", b"[playlist]", b"<asx", b"<smil")) or b"<mpd" in start:
        return "is a playlist, which only names other files; give the video file itself"
    if _is_text(head):
        return "is a text file; give a video file, a folder of images, or a URL"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return (
            "is an MP4/MOV file without a readable index (the recording or the copy broke off); "
            "copy it again, or mend it with a repair tool and a good file of the same camera"
        )
    return "is not a video that can be read: unknown format or damaged header; try to play it, or copy it again"


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # only the last character, cut in two
    return True


class Deinterlacer:
    """FFmpeg's bwdif, one picture for each frame; progressive frames pass unchanged. Holds back one frame."""

    def __init__(self, time_base: Fraction) -> None:
        self._time_base = time_base
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def push(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Frames that are ready after this one, in order, with their own time stamps."""
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            yield from self.flush()
            self._graph, self._shape = self._build(frame), shape
        assert self._graph is not None
        self._graph.vpush(frame)
        yield from self._pull()

    def flush(self) -> Iterator[VideoFrame]:
        """The frames held back, at the end."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pull()
            self._graph = self._shape = None

    def _build(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=self._time_base
        )
        weave = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        graph.link_nodes(source, weave, graph.add("buffersink")).configure()
        return graph

    def _pull(self) -> Iterator[VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if frame.pts is not None and frame.time_base:
                # The filter counts in half units, for those who want a picture a field.
                frame.pts = round(frame.pts * frame.time_base / self._time_base)
            frame.time_base = self._time_base
            yield frame


_DEFAULT_RATE = Fraction(25)
_HARDWARE = ("cuda", "videotoolbox", "vaapi")  # in order of preference
_MOST_READ_ERRORS = 8  # in a row, before the rest of a file is given up
_MOST_HELD_PACKETS = 2000  # that wait for a frame to be wanted


class Decoder:
    """One open file or URL, and its first video stream that is not a cover picture.

    All times, those of the frames included, are on the container's `Timeline`.
    """

    def __init__(self, location: str | Pipe, timeout: float, *, hardware: bool = False) -> None:
        """`hardware`: decode on a device if one opens. Raises VideoError: no video stream, or no decoder for it."""
        self.location, self._timeout = location, timeout
        self.packets = 0
        """Packets that did not decode or could not be read."""
        self.stopped: str | None = None
        """Why reading ended early."""
        self.reach = Fraction(0)
        """Latest end of a packet of any stream, in seconds."""
        self.jumps: list[int] = []
        """The pts of packets where the time stamps jumped; who reads the frames takes them out."""
        self._packets_read = 0
        self._device, container = _open_on_device(location, timeout, hardware)
        self.container: InputContainer = container
        try:
            self.stream = self._pick()
            self.timeline = Timeline(container)
            self._note_facts()
        except BaseException:
            self.container.close()
            raise

    @property
    def device(self) -> str | None:
        """The kind of device that decodes; None for the CPU. Known after the first frame."""
        return self._device if self.stream.codec_context.is_hwaccel else None

    @property
    def announced_end(self) -> Fraction | None:
        """Where the video should end, in seconds: by its stream, or else by the container; None if neither says."""
        return None if self.timeline.jumped else self._announced_end

    @property
    def end_of_last_picture(self) -> Fraction | None:
        """Where the video of a complete MP4, MOV or Matroska file ends; None where that is not known.

        The duration of its last packet does not say so: that is the last one in decoding order, or has none.
        """
        if self.stopped:
            return None
        complete = bool(self._announced_packets) and self._packets_read >= self._announced_packets
        complete = complete or (self.announces_video and _is_complete_matroska(self.location))
        return self.announced_end if complete else None

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
        stream, kind = self.stream, self.container.format
        self.has_clock = Flags.no_timestamps not in Flags(kind.flags) and not kind.name.endswith("_pipe")
        """Whether the container has time stamps at all; a raw stream (.h264, .hevc, .mjpeg) has none."""
        rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
        if not self.has_clock:
            rates.insert(0, stream.codec_context.framerate)  # the others are the demuxer's guess
        self.rate = next((Fraction(rate) for rate in rates if rate and 0 < rate <= 1000), _DEFAULT_RATE)
        """Nominal frames a second; 25 when the file says nothing believable."""
        self.time_base = Fraction(stream.time_base or Fraction(1, 90000))
        """Seconds a unit of the frames' pts."""
        start: int | None = self.container.start_time
        self.beginning = self.timeline.on_line(Fraction(start or 0, av.time_base))
        """Where the container begins, in seconds."""
        video = self.beginning
        if stream.start_time is not None:
            video = self.timeline.on_line(stream.start_time * self.time_base)
        self.video_beginning = video
        """Where the video stream begins, in seconds."""
        self._announced_packets = stream.frames if "mov" in kind.name.split(",") else 0
        end = self._stream_end()
        self.announces_video = end is not None
        """Whether the file announces the length of the video stream by itself."""
        self._announced_end = self._container_end() if end is None else end

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
        """Go to a key frame a little before `seconds`; False where the file cannot."""
        # A second of margin: files are searched by decoding time, which runs ahead of showing time.
        target = int((seconds + self.timeline.origin - 1) / self.time_base)
        try:
            self.container.seek(target, stream=self.stream)
        except (av.FFmpegError, OSError):
            return False
        return True

    def frames(self, start: Fraction | None = None) -> Iterator[VideoFrame]:
        """Every frame from here on; with `start`, those more than a key frame before that time are left out."""
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
        """Packets of the video, on the time line; those of other streams are only followed."""
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
                pipe = isinstance(self.location, Pipe) and isinstance(error, TimeoutError)
                if pipe or is_url(str(self.location)):
                    self.stopped = f"{self.location} {why_silent(error, self._timeout, pipe=pipe)}"
                    return
                packets = self.container.demux()
                continue
            if not packet.size:  # asks a decoder for what it holds back, which is done at the end
                continue
            errors = 0
            jumped = self.timeline.place(packet)
            self._note_reach(packet)
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

    def _note_reach(self, packet: "Packet[Stream]") -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.time_base:
            self.reach = max(self.reach, (stamp + (packet.duration or 0)) * Fraction(packet.time_base))

    def close(self) -> None:
        """Let go of the file; twice does no harm."""
        self.container.close()


def _is_complete_matroska(location: str | Pipe) -> bool:
    """Whether a file is a Matroska segment of known size, and has all of it; no for a URL."""
    if isinstance(location, Pipe):
        head, length = location.head(), location.size()
    elif is_url(location):
        return False
    else:
        with Path(location).open("rb") as file:
            head, length = file.read(1024), os.fstat(file.fileno()).st_size
    at = head.find(b"\x18\x53\x80\x67") + 4  # the segment's id; its size follows in a self-describing length
    width = 9 - head[at].bit_length() if 4 <= at < len(head) else 9
    size = int.from_bytes(head[at : at + width], "big") - (1 << 7 * width)
    unknown = (1 << 7 * width) - 1
    return width < 9 and size < unknown and length >= at + width + size


def _open_on_device(location: str | Pipe, timeout: float, hardware: bool) -> tuple[str | None, InputContainer]:
    """The file, with the first kind of decoding device that truly opens; None where none does."""
    kinds = [kind for kind in _HARDWARE if kind in hwdevices_available()] if hardware else []
    for kind in kinds:
        with contextlib.suppress(VideoError):
            return kind, open_input(location, timeout, HWAccel(kind, allow_software_fallback=True))
    return None, open_input(location, timeout)
