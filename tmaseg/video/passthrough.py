"""Passthrough: the sound, subtitles and data that go with a video from its input to its output.

The input is opened a second time and read in step with the frames, so that no more than one packet is held.
"""

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av import AudioFrame, AudioStream, Packet
from av.container import InputContainer, OutputContainer
from av.stream import Discard, Stream

from tmaseg.errors import VideoError
from tmaseg.video.container import codec_name, open_input
from tmaseg.video.encoder import WriteOptions, content_metadata, suffix_of
from tmaseg.video.pipe import Pipe
from tmaseg.video.sound import CHANGE, SoundFormat, Transcode, decoded, format_for, with_adts
from tmaseg.video.source import StreamInfo
from tmaseg.video.timeline import Timeline, move


class _Copy:
    """A stream whose packets are written as they are; they come with the output's time stamps."""

    def __init__(self, target: Stream, *, negative: bool) -> None:
        """`negative`: the container can hold times below zero (the priming samples of an audio encoder)."""
        self.target, self._negative = target, negative
        self._last: Fraction | None = None  # decoding time, in seconds

    def take(self, packet: "Packet[Stream]") -> "list[Packet[Stream]]":
        """The packets to write for this one: none where it has no time or one that cannot be written."""
        dts = packet.pts if packet.dts is None else packet.dts
        if dts is None:
            return []
        pts = dts if packet.pts is None else packet.pts
        if self._last is not None and dts * packet.time_base <= self._last:  # muxers need rising decoding times
            dts = int(self._last / packet.time_base) + 1
        pts = max(pts, dts)
        if pts < 0 and not self._negative:
            return []
        self._last = dts * Fraction(packet.time_base)
        packet.dts, packet.pts = dts, pts
        return [packet]

    def flush(self) -> "list[Packet[Stream]]":
        """The packets that are left at the end."""
        return []


class _UniformCopy(_Copy):
    """Audio packets as they are; where the sample rate or layout changes, encoded with the first ones from there on."""

    def __init__(self, source: AudioStream, target: Stream, *, negative: bool, warn: Callable[[str], None]) -> None:
        super().__init__(target, negative=negative)
        self._source, self._warn = source, warn
        self._codec = source.codec_context.codec.canonical_name
        self._format: SoundFormat | None = None
        self._transcode: Transcode | None = None
        self._rate_bits: int | None = None
        self._ended = self._adts = False

    def take(self, packet: "Packet[Stream]") -> "list[Packet[Stream]]":
        frames, bits = decoded(self._source.codec_context, packet), self._bits_of(packet)
        if frames and self._transcode is None and not self._ended:
            self._check(frames[0], bytes(packet)[:1])
            self._rate_bits = bits if self._rate_bits is None else self._rate_bits
        if self._transcode is not None:
            return self._copied(self._transcode.encode(frames))
        # FFmpeg's decoder of MPEG audio notices another rate one packet late.
        return [] if self._ended or self._rate_bits not in (None, bits) else super().take(packet)

    def flush(self) -> "list[Packet[Stream]]":
        return [] if self._transcode is None else self._copied(self._transcode.flush())

    def _bits_of(self, packet: "Packet[Stream]") -> int:
        """The bits of a packet's header that give its sample rate, where it is AAC or MPEG audio."""
        head = bytes(packet)[:3]
        mask = 0x3C if self._codec == "aac" else 0x0C
        return head[2] & mask if len(head) == 3 and head[0] == 0xFF else 0

    def _check(self, frame: AudioFrame, first_byte: bytes) -> None:
        """Starts to encode where the rate or layout is no longer the first one."""
        now = SoundFormat(self._codec, frame.sample_rate, frame.layout.name)
        if self._format is None:
            self._format, self._adts = now, self._codec == "aac" and first_byte == b"\xff"
        elif now != self._format:
            seconds = float((frame.pts or 0) * (frame.time_base or 0))
            try:
                self._format.new_encoder()
            except (av.FFmpegError, OSError, ValueError):
                self._ended = True
                self._warn(f"the sound ends at {seconds:.1f} s, where it changes: {self._codec} cannot be encoded")
                return
            self._warn(CHANGE.format(seconds, now.rate, now.layout))
            self._transcode = Transcode(self._source, self.target, self._format, warn=self._warn)

    def _copied(self, packets: "list[Packet[Stream]]") -> "list[Packet[Stream]]":
        assert self._format is not None
        if self._adts:
            packets = [with_adts(packet, self._format) for packet in packets]
        return [copy for packet in packets for copy in _Copy.take(self, packet)]


_SEARCH_MARGIN_SECONDS = 5
_NAME_KEYS = ("language", "title", "handler_name")


class Passthrough:
    """All streams but the video. Made before the output's header is written, pumped as the video's time advances."""

    def __init__(self, info: StreamInfo, options: WriteOptions, warn: Callable[[str], None]) -> None:
        """Opens `info.location` again; when that fails, `warn` is called and the video has no other streams."""
        self.metadata: dict[str, str] = {}  # of the input's content
        self.shift = Fraction(0)  # seconds from the input's time to the output's
        self._info, self._audio, self._warn = info, options.audio, warn
        self._tracks: dict[int, _Copy | Transcode] = {}
        self._input: InputContainer | None = None
        self._waiting: Packet[Stream] | None = None
        self._packets = self._read()
        self._has_timecode = False
        if info.location is not None:
            try:
                self._input, self._timeline = _open_at(info.location, info.start, options.timeout)
                self.metadata = content_metadata(self._input.metadata)
            except VideoError as error:
                warn(f"sound and metadata are left out: {error}")

    def timecode(self, kind: str, first: Fraction) -> str | None:
        """The camera's timecode of the frame at `first` seconds, where the container `kind` can hold it."""
        streams = self._input.streams if self._input is not None and kind in ("mp4", "mov") else ()
        found = next((s.metadata["timecode"] for s in streams if "timecode" in s.metadata), "")
        code = timecode_after(found, self._info.rate, first)
        self._has_timecode = code is not None
        return code

    def add_to(self, output: OutputContainer) -> None:
        """Makes a stream in `output` for each stream that it can hold, and copies the chapters."""
        self.output = output
        if self._input is None:
            return
        for stream in self._input.streams:
            if stream.type not in (("audio",) if self._audio else ()) + ("subtitle", "data"):
                continue
            if "timecode" in stream.metadata and stream.type == "data" and self._has_timecode:
                continue  # FFmpeg makes the track from the metadata of the video stream
            if stream.discard == Discard.all:
                continue  # the demuxer itself drops it: chapter titles, which are copied as chapters
            if (track := self._track(stream)) is not None:
                self._tracks[stream.index] = track
        self._copy_chapters()

    def pump(self, until: Fraction | None) -> None:
        """Writes all that comes before `until`, in seconds of the input's time; None: everything."""
        while (packet := self._waiting or next(self._packets, None)) is not None:
            stamp = packet.dts if packet.dts is not None else packet.pts
            if until is not None and stamp is not None and stamp * packet.time_base > until:
                self._waiting = packet
                return
            self._waiting = None
            if self._within(packet):
                move(packet, self.shift)
                track = self._tracks[packet.stream.index]
                self._mux(track, track.take(packet))

    def finish(self) -> None:
        """Writes what encoders hold back, and closes the input."""
        for track in self._tracks.values():
            self._mux(track, track.flush())
        self.close()

    def close(self) -> None:
        """Closes the input; twice does no harm."""
        if self._input is not None:
            self._input.close()
            self._input = None

    def _mux(self, track: _Copy | Transcode, packets: "list[Packet[Stream]]") -> None:
        for packet in packets:
            packet.stream = track.target
            try:
                self.output.mux_one(packet)
            except (av.error.InvalidDataError, av.error.ArgumentError):
                self._warn("the sound is damaged in places; packets that the output cannot hold are left out")

    def _read(self) -> "Iterator[Packet[Stream]]":
        """The packets of the tracks, on the timeline, which follows those of the video as well."""
        try:
            for packet in self._input.demux() if self._input is not None and self._tracks else ():
                if packet.size:
                    self._timeline.place(packet)
                    if packet.stream.index in self._tracks:
                        yield packet
        except (av.FFmpegError, OSError) as error:
            self._warn(f"sound ends early: the input cannot be read on ({error.strerror})")

    def _within(self, packet: "Packet[Stream]") -> bool:
        """Whether any of the packet lies in the part of the video that is read."""
        if packet.pts is None:
            return True
        begin, end = (stamp * packet.time_base for stamp in (packet.pts, packet.pts + (packet.duration or 0)))
        info = self._info
        return (info.start is None or end > info.start) and (info.end is None or begin < info.end)

    def _track(self, stream: Stream) -> _Copy | Transcode | None:
        kind, name = self.output.format.name, _name_of(stream)
        suffix = suffix_of(kind)
        names = {key: text for key, text in stream.metadata.items() if key.lower() in _NAME_KEYS}
        if _holds(kind, stream):
            target = self.output.add_stream_from_template(stream)
            target.metadata.update(names)
            target.disposition = stream.disposition
            # Matroska has no time below zero, but for Opus a field of its own for priming samples.
            negative = kind in ("mp4", "mov") or codec_name(stream) == "opus"
            if isinstance(stream, AudioStream) and self._timeline.streaming:
                return _UniformCopy(stream, target, negative=negative, warn=self._warn)
            return _Copy(target, negative=negative)
        if not isinstance(stream, AudioStream) or stream.codec_context is None:
            self._warn(f"a {stream.type} track ({name}) is left out: {suffix} cannot hold it")
            return None
        sound = format_for(stream.codec_context, kind)
        if sound is None:
            self._warn(f"the sound ({name}) is left out: {suffix} cannot hold it, nor can it be converted")
            return None
        encoded = sound.add_to(self.output)
        encoded.metadata.update(names)
        changes = ", ".join([f"converted from {name} to {sound.encoder}", *sound.changes(stream.codec_context)])
        self._warn(f"the sound is {changes}: {suffix} cannot hold {name}")
        start = None if self._info.start is None else self._info.start + self.shift
        return Transcode(stream, encoded, sound, warn=self._warn, start=start)

    def _copy_chapters(self) -> None:
        assert self._input is not None
        last = None if self._info.end is None else self._info.end + self.shift
        kept = []
        for chapter in self._input.chapters():
            unit = chapter["time_base"] or Fraction(1, 1000)
            begin, end = (self._timeline.on_line(chapter[edge] * unit) + self.shift for edge in ("start", "end"))
            if end > 0 and (last is None or begin < last):
                begin, end = max(begin, Fraction(0)), end if last is None else min(end, last)
                kept.append({**chapter, "start": round(begin / unit), "end": round(end / unit), "time_base": unit})
        if kept:
            self.output.set_chapters(kept)  # type: ignore[arg-type]


def _open_at(location: str | Pipe, start: Fraction | None, timeout: float) -> tuple[InputContainer, Timeline]:
    """The input, at a place a little before `start`, where its format can be searched; else at its beginning."""
    source = open_input(location, timeout)
    timeline = Timeline(source)
    if start is not None and start >= 2 * _SEARCH_MARGIN_SECONDS and timeline.can_seek(location):
        try:
            source.seek(int((start + timeline.origin - _SEARCH_MARGIN_SECONDS) * av.time_base))
        except (av.FFmpegError, OSError):
            source.close()
            return _open_at(location, None, timeout)  # a failed search may leave the file at its end
    return source, timeline


def _holds(kind: str, stream: Stream) -> bool:
    """Whether a container can hold this stream: it may refuse it when added, with the header, or at the end."""
    if kind == "mp4" and codec_name(stream).startswith("pcm_"):
        return False  # the muxer accepts some and fails when the file is closed; few players know it
    try:
        with av.open(io.BytesIO(), "w", format=kind) as trial:
            packet = Packet(bytes(64))
            packet.stream = trial.add_stream_from_template(stream)
            packet.pts = packet.dts = 0
            trial.start_encoding()
            with contextlib.suppress(av.FFmpegError):  # zeros are no sound, but then the end is written
                trial.mux_one(packet)
    except (av.FFmpegError, OSError, ValueError, NotImplementedError):
        return False
    return True


def timecode_after(code: str, rate: Fraction, seconds: Fraction) -> str | None:
    """A timecode such as 01:00:00:00, `seconds` later; None where it does not fit the frame rate."""
    match = re.fullmatch(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", code)
    fps, drops = round(rate), code[8:9] in (";", ".")
    if match is None or fps < 1 or int(match[5]) >= fps:
        return None
    if drops:  # drop-frame timecode skips numbers: only the first one can be kept
        return code if not seconds and rate in (Fraction(30000, 1001), Fraction(60000, 1001)) else None
    frames = ((int(match[1]) * 60 + int(match[2])) * 60 + int(match[3])) * fps + int(match[5]) + round(seconds * rate)
    rest, frame = divmod(frames, fps)
    return f"{rest // 3600 % 24:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}:{frame:02d}"


def _name_of(stream: Stream) -> str:
    """The codec; of a data stream also its handler, such as GoPro MET."""
    codec = codec_name(stream)
    if codec == "bin_data":
        codec = "gpmd"
    elif codec == "unknown" and "timecode" in stream.metadata:
        codec = "tmcd"
    handler = stream.metadata.get("handler_name", "").strip()
    return f"{codec}, {handler}" if stream.type == "data" and handler else codec
