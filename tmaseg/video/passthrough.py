"""Passthrough: the sound, subtitles and data that travel with a video from its input to its output.

The input is opened a second time and read in step with the pictures, so nothing is held but one packet.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Protocol

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from tmaseg.errors import VideoError
from tmaseg.video.decoder import coder_of, open_input
from tmaseg.video.facts import StreamInfo
from tmaseg.video.pipe import Pipe
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
        self._last: int | None = None

    def take(self, packet: "Packet[Stream]", shift: Fraction) -> "list[Packet[Stream]]":
        """The packet itself, moved in time; nothing when it has no time or one that cannot be written."""
        if packet.pts is None and packet.dts is None:
            return []
        ticks = round(shift / packet.time_base)
        decode = (packet.dts if packet.dts is not None else packet.pts or 0) + ticks
        show = packet.pts + ticks if packet.pts is not None else decode
        if self._last is not None and decode <= self._last:  # muxers refuse time that stands still
            decode, show = self._last + 1, max(show, self._last + 1)
        show = max(show, decode)
        if show < 0 and not self._negative:
            return []
        self._last = decode
        packet.dts, packet.pts = decode, show
        packet.stream = self._target
        return [packet]

    def flush(self, shift: Fraction) -> "list[Packet[Stream]]":  # noqa: ARG002
        """Nothing: packets are not held back."""
        return []


class Transcode:
    """Sound decoded and encoded again, for a container that cannot hold it as it is."""

    def __init__(self, source: AudioStream, target: AudioStream, start: Fraction | None) -> None:
        self._source, self._target, self._start = source, target, start

    def take(self, packet: "Packet[Stream]", shift: Fraction) -> "list[Packet[Stream]]":
        """What the coder gives for this packet; a damaged one is a short silence."""
        return self._later(self._encode(packet), shift)

    def flush(self, shift: Fraction) -> "list[Packet[Stream]]":
        """What both coders hold back."""
        return self._later([*self._encode(None), *self._target.encode(None)], shift)

    def _encode(self, packet: "Packet[Stream] | None") -> "list[Packet[Stream]]":
        packets: list[Packet[Stream]] = []
        # ValueError: the sound changes its rate or its channels on the way, which the coder does not follow.
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            for frame in self._source.codec_context.decode(packet):
                seconds = None if frame.pts is None or not frame.time_base else frame.pts * frame.time_base
                if self._start is None or seconds is None or seconds >= self._start:
                    packets += self._target.encode(frame)
        return packets

    def _later(self, packets: "list[Packet[Stream]]", shift: Fraction) -> "list[Packet[Stream]]":
        for packet in packets:
            ticks = round(shift / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        return packets


_SOUND_ENCODERS = {"mp4": "aac", "mov": "aac", "matroska": "aac", "webm": "libopus"}
_BIT_RATE_PER_CHANNEL = 96_000
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
        if info.location is not None:
            try:
                self._input, self._timeline = _open_at(info.location, info.start, timeout)
                self.metadata = dict(self._input.metadata)
            except VideoError as error:
                warn(f"sound and metadata are left out: {error}")

    def add_to(self, output: OutputContainer, shift: Fraction) -> None:
        """Make a stream in `output` for each stream that it can hold, and copy the chapters."""
        if self._input is None:
            return
        streams = [s for s in self._input.streams if s.type in ("audio", "subtitle", "data")]
        for stream in streams:
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
            return Copy(target, negative=kind in ("mp4", "mov") or coder_of(stream) == "opus")
        name = coder_of(stream)
        if not isinstance(stream, AudioStream) or stream.codec_context is None:
            self._warn(f"a {stream.type} track ({name}) is left out: {_suffix(kind)} cannot hold it")
            return None
        encoder = _SOUND_ENCODERS[kind]
        try:
            with av.open(io.BytesIO(), "w", format=kind) as trial:  # a stream that fails cannot be taken out again
                _add_sound(stream, encoder, trial)
            target = _add_sound(stream, encoder, output)
        except (av.FFmpegError, OSError, ValueError):
            self._warn(f"the sound ({name}) is left out: {_suffix(kind)} cannot hold it, nor can it be converted")
            return None
        self._warn(f"the sound is converted from {name} to {encoder}: {_suffix(kind)} cannot hold {name}")
        return Transcode(stream, target, self._info.start)

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


def _add_sound(stream: AudioStream, encoder: str, output: OutputContainer) -> AudioStream:
    """A stream in `output` for the sound of `stream` encoded anew."""
    context = stream.codec_context
    rate = 48_000 if encoder == "libopus" else context.sample_rate
    layout = {1: "mono", 2: "stereo", 6: "5.1"}.get(context.layout.nb_channels, "stereo")
    target = output.add_stream(encoder, rate=rate, layout=layout)
    assert isinstance(target, AudioStream)
    target.bit_rate = _BIT_RATE_PER_CHANNEL * target.codec_context.layout.nb_channels
    target.codec_context.open()
    target.metadata.update(_names(stream.metadata))
    return target


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


def _suffix(kind: str) -> str:
    return {"matroska": ".mkv"}.get(kind, f".{kind}")
