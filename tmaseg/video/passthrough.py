"""Passthrough: the sound, subtitles and data that travel with a video from its input to its output.

The input is opened a second time and read in step with the pictures, so nothing is held but one packet.
"""

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Protocol

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from tmaseg.errors import VideoError
from tmaseg.video.container import coder_of, open_input
from tmaseg.video.pipe import Pipe
from tmaseg.video.sound import CHANGE, SoundFormat, Transcode, decoded, format_for, with_adts
from tmaseg.video.source import StreamInfo
from tmaseg.video.timeline import Timeline


class Track(Protocol):
    """One stream on its way."""

    def take(self, packet: "Packet[Stream]", shift: Fraction) -> "list[Packet[Stream]]":
        """What to write for this packet, `shift` seconds later than it says."""

    def flush(self, shift: Fraction) -> "list[Packet[Stream]]":
        """What is left at the end."""


class Copy:
    """Packets as they are."""

    def __init__(self, target: Stream, *, negative: bool) -> None:
        """`negative` says whether the container can hold times below zero (the run-in of a sound coder)."""
        self._target, self._negative = target, negative
        self._last: Fraction | None = None  # decoding time, in seconds

    def take(self, packet: "Packet[Stream]", shift: Fraction) -> "list[Packet[Stream]]":
        """The packet itself, moved in time; nothing when it has no time or one that cannot be written."""
        if packet.pts is None and packet.dts is None:
            return []
        ticks = round(shift / packet.time_base)
        decode = (packet.dts if packet.dts is not None else packet.pts or 0) + ticks
        show = packet.pts + ticks if packet.pts is not None else decode
        if self._last is not None and decode * packet.time_base <= self._last:  # muxers refuse time that stands still
            decode = int(self._last / packet.time_base) + 1
        show = max(show, decode)
        if show < 0 and not self._negative:
            return []
        self._last = decode * Fraction(packet.time_base)
        packet.dts, packet.pts = decode, show
        packet.stream = self._target
        return [packet]

    def flush(self, shift: Fraction) -> "list[Packet[Stream]]":  # noqa: ARG002
        """Nothing: packets are not held back."""
        return []


class WatchedCopy:
    """Packets of sound as they are; from where the rate or the layout changes on, encoded to what it was before."""

    def __init__(self, copy: Copy, source: AudioStream, target: Stream, warn: Callable[[str], None]) -> None:
        self._copy, self._source, self._target, self._warn = copy, source, target, warn
        self._format: SoundFormat | None = None
        self._transcode: Transcode | None = None
        self._rate_bits: int | None = None
        self._ended = self._adts = False

    def take(self, packet: "Packet[Stream]", shift: Fraction) -> "list[Packet[Stream]]":
        """The packet, or what the encoder gives for it."""
        frames, bits = decoded(self._source.codec_context, packet), self._bits_of(packet)
        if frames and self._transcode is None and not self._ended:
            self._notice(frames[0], bytes(packet)[:2])
            self._rate_bits = bits if self._rate_bits is None else self._rate_bits
        if self._transcode is None:
            # FFmpeg's decoder of MPEG audio notices another rate one packet late.
            changed = self._rate_bits not in (None, bits)
            return [] if self._ended or changed else self._copy.take(packet, shift)
        return self._wrapped(self._transcode.take_frames(frames, shift))

    def flush(self, shift: Fraction) -> "list[Packet[Stream]]":
        """What the encoder holds back."""
        return [] if self._transcode is None else self._wrapped(self._transcode.flush(shift))

    def _bits_of(self, packet: "Packet[Stream]") -> int:
        """The bits of a packet's header that give its sample rate, where it is AAC or MPEG audio."""
        head = bytes(packet)[:3]
        mask = 0x3C if self._source.codec_context.codec.canonical_name == "aac" else 0x0C
        return head[2] & mask if len(head) == 3 and head[0] == 0xFF else 0

    def _notice(self, frame: AudioFrame, head: bytes) -> None:
        codec = self._source.codec_context.codec.canonical_name
        now = SoundFormat(codec, frame.sample_rate, frame.layout.name)
        if self._format is None:
            self._format, self._adts = now, codec == "aac" and head[:1] == b"\xff"
        elif now != self._format:
            seconds = float((frame.pts or 0) * (frame.time_base or 0))
            try:
                self._format.new_encoder()
            except (av.FFmpegError, OSError, ValueError):
                self._ended = True
                self._warn(f"the sound ends at {seconds:.1f} s, where it changes: {codec} cannot be encoded")
                return
            self._warn(CHANGE.format(seconds, now.rate, now.layout))
            self._transcode = Transcode(self._source, self._target, self._format, warn=self._warn)

    def _wrapped(self, packets: "list[Packet[Stream]]") -> "list[Packet[Stream]]":
        assert self._format is not None
        if self._adts:
            packets = [with_adts(packet, self._format) for packet in packets]
        return [copy for packet in packets for copy in self._copy.take(packet, Fraction(0))]


_SEARCH_MARGIN_SECONDS = 5


class Passthrough:
    """Everything beside the pictures. Made before the output's header is written, pumped as video time advances."""

    def __init__(self, info: StreamInfo, *, audio: bool, timeout: float, warn: Callable[[str], None]) -> None:
        """Open `info.location` again; when that fails the video goes without, and `warn` is told."""
        self.metadata: dict[str, str] = {}
        self._info, self._audio, self._warn = info, audio, warn
        self._tracks: dict[int, Track] = {}
        self._input: InputContainer | None = None
        self._waiting: Packet[Stream] | None = None
        self._packets: Iterator[Packet[Stream]] = iter(())
        self._has_timecode = False
        if info.location is not None:
            try:
                self._input, self._timeline = _open_at(info.location, info.start, timeout)
                self.metadata = dict(self._input.metadata)
            except VideoError as error:
                warn(f"sound and metadata are left out: {error}")

    def timecode(self, kind: str, first: Fraction) -> str | None:
        """The camera's timecode of the frame at `first` seconds, where the container `kind` can hold it."""
        found = (
            []
            if self._input is None
            else [s.metadata["timecode"] for s in self._input.streams if "timecode" in s.metadata]
        )
        code = timecode_after(found[0], self._info.rate, first) if found and kind in ("mp4", "mov") else None
        self._has_timecode = code is not None
        return code

    def add_to(self, output: OutputContainer, shift: Fraction) -> None:
        """Make a stream in `output` for each stream that it can hold, and copy the chapters."""
        if self._input is None:
            return
        streams = [s for s in self._input.streams if s.type in ("audio", "subtitle", "data")]
        for stream in streams:
            if "timecode" in stream.metadata and stream.type == "data" and self._has_timecode:
                continue  # FFmpeg makes the track from the metadata of the pictures' stream
            if stream.discard == Discard.all or (stream.type == "audio" and not self._audio):
                continue  # thrown away by the demuxer itself: chapter titles, which are copied as chapters
            track = self._track(stream, output)
            if track is not None:
                self._tracks[stream.index] = track
        # All packets, those of the pictures too: the time line follows every stream, as the one that frames have does.
        self._packets = self._input.demux() if self._tracks else iter(())
        self._copy_chapters(output, shift)

    def pump(self, output: OutputContainer, until: Fraction | None, shift: Fraction) -> None:
        """Write all that comes before `until`, in seconds of the input's time; None for all there is."""
        while (packet := self._next()) is not None:
            stamp = packet.dts if packet.dts is not None else packet.pts
            seconds = None if stamp is None else stamp * packet.time_base
            if until is not None and seconds is not None and seconds > until:
                self._waiting = packet
                return
            if self._within(packet):
                self._mux(output, self._tracks[packet.stream.index].take(packet, shift))

    def finish(self, output: OutputContainer, shift: Fraction) -> None:
        """Write what coders hold back."""
        for track in self._tracks.values():
            self._mux(output, track.flush(shift))

    def close(self) -> None:
        """Let go of the input; twice does no harm."""
        if self._input is not None:
            self._input.close()
            self._input = None

    def _mux(self, output: OutputContainer, packets: "list[Packet[Stream]]") -> None:
        for packet in packets:
            try:
                output.mux_one(packet)
            except (av.error.InvalidDataError, av.error.ArgumentError):
                self._warn("the sound is damaged in places; what the output cannot hold of it is left out")

    def _next(self) -> "Packet[Stream] | None":
        if self._waiting is not None:
            packet, self._waiting = self._waiting, None
            return packet
        try:
            for packet in self._packets:
                if packet.size:
                    self._timeline.place(packet)
                    if packet.stream.index in self._tracks:
                        return packet
            return None
        except (av.FFmpegError, OSError) as error:
            self._warn(f"sound ends early: the input cannot be read on ({error.strerror})")
            return None

    def _within(self, packet: "Packet[Stream]") -> bool:
        """Whether any of the packet lies in the part of the video that was asked for."""
        if packet.pts is None:
            return True
        begin = packet.pts * packet.time_base
        end = begin + (packet.duration or 0) * packet.time_base
        if self._info.start is not None and end <= self._info.start:
            return False
        return self._info.end is None or begin < self._info.end

    def _track(self, stream: Stream, output: OutputContainer) -> Track | None:
        kind = output.format.name
        if _holds(kind, stream):
            target = output.add_stream_from_template(stream)
            target.metadata.update(_names(stream.metadata))
            target.disposition = stream.disposition
            # Matroska has no time below zero, but for Opus a field of its own for the run-in, which is taken off again.
            copy = Copy(target, negative=kind in ("mp4", "mov") or coder_of(stream) == "opus")
            if isinstance(stream, AudioStream) and self._timeline.streaming:
                return WatchedCopy(copy, stream, target, self._warn)
            return copy
        name = _name_of(stream)
        if not isinstance(stream, AudioStream) or stream.codec_context is None:
            self._warn(f"a {stream.type} track ({name}) is left out: {_suffix(kind)} cannot hold it")
            return None
        sound = format_for(stream.codec_context, kind)
        if sound is None:
            self._warn(f"the sound ({name}) is left out: {_suffix(kind)} cannot hold it, nor can it be converted")
            return None
        encoded = sound.add_to(output)
        encoded.metadata.update(_names(stream.metadata))
        changes = ", ".join([f"converted from {name} to {sound.encoder}", *sound.changes(stream.codec_context)])
        self._warn(f"the sound is {changes}: {_suffix(kind)} cannot hold {name}")
        return Transcode(stream, encoded, sound, warn=self._warn, encoder=encoded.codec_context, start=self._info.start)

    def _copy_chapters(self, output: OutputContainer, shift: Fraction) -> None:
        assert self._input is not None
        kept = []
        for chapter in self._input.chapters():
            unit = chapter["time_base"] or Fraction(1, 1000)
            begin, end = (self._timeline.on_line(chapter[edge] * unit) + shift for edge in ("start", "end"))
            last = None if self._info.end is None else self._info.end + shift
            if end > 0 and (last is None or begin < last):
                begin, end = max(begin, Fraction(0)), end if last is None else min(end, last)
                kept.append({**chapter, "start": round(begin / unit), "end": round(end / unit), "time_base": unit})
        if kept:
            output.set_chapters(kept)  # type: ignore[arg-type]


def _open_at(location: str | Pipe, start: Fraction | None, timeout: float) -> tuple[InputContainer, Timeline]:
    """The input, at a place a little before `start`, where its format can be searched; else at its beginning."""
    source = open_input(location, timeout)
    timeline = Timeline(source)
    if start is None or start < 2 * _SEARCH_MARGIN_SECONDS or not timeline.can_seek(location):
        return source, timeline
    try:
        source.seek(int((start + timeline.origin - _SEARCH_MARGIN_SECONDS) * av.time_base))
    except (av.FFmpegError, OSError):
        source.close()
        source = open_input(location, timeout)  # a failed search may leave the file at its end
        return source, Timeline(source)
    return source, timeline


def _holds(kind: str, stream: Stream) -> bool:
    """Whether a container takes this stream as it is: it may refuse it when added, with the header, or at the end."""
    if kind == "mp4" and coder_of(stream).startswith("pcm_"):
        return False  # the muxer takes some and then fails at the very end; hardly a player knows it
    try:
        with av.open(io.BytesIO(), "w", format=kind) as trial:
            packet = Packet(bytes(64))
            packet.stream = trial.add_stream_from_template(stream)
            packet.pts = packet.dts = 0
            trial.start_encoding()
            with contextlib.suppress(av.FFmpegError):  # zeros are no sound, but then the end is written in full
                trial.mux_one(packet)
    except (av.FFmpegError, OSError, ValueError, NotImplementedError):
        return False
    return True


def _names(metadata: dict[str, str]) -> dict[str, str]:
    return {key: text for key, text in metadata.items() if key.lower() in ("language", "title", "handler_name")}


def timecode_after(code: str, rate: Fraction, seconds: Fraction) -> str | None:
    """A timecode such as 01:00:00:00 so many seconds later; None where it does not fit to the rate of frames."""
    match = re.fullmatch(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", code)
    fps, drops = round(rate), code[8:9] in (";", ".")
    if match is None or fps < 1 or int(match[5]) >= fps:
        return None
    if drops:  # frame numbers are left out now and then: a start elsewhere is not worth the trouble
        return code if not seconds and rate in (Fraction(30000, 1001), Fraction(60000, 1001)) else None
    frames = ((int(match[1]) * 60 + int(match[2])) * 60 + int(match[3])) * fps + int(match[5]) + round(seconds * rate)
    rest, frame = divmod(frames, fps)
    return f"{rest // 3600 % 24:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}:{frame:02d}"


def _name_of(stream: Stream) -> str:
    """The codec; for data also what the camera calls it, such as GoPro MET."""
    codec = {"bin_data": "gpmd", "unknown": "tmcd" if "timecode" in stream.metadata else "unknown"}.get(
        coder_of(stream), coder_of(stream)
    )
    handler = stream.metadata.get("handler_name", "").strip()
    return f"{codec}, {handler}" if stream.type == "data" and handler else codec


def _suffix(kind: str) -> str:
    return {"matroska": ".mkv"}.get(kind, f".{kind}")
