"""Transcoding of sound: to one rate and one layout, without holes, in time with the video."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av import AudioCodecContext, AudioFrame, AudioResampler, AudioStream, Codec, CodecContext, Packet
from av.container import OutputContainer
from av.stream import Stream

_ENCODERS = {"mp4": "aac", "mov": "aac", "matroska": "aac", "webm": "libopus"}
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}  # by channels
_LOWEST_RATE = 8_000  # lower ones are not supported by most players
_OPUS_RATE = 48_000
_BIT_RATE_PER_CHANNEL = 96_000
_JITTER_SECONDS = Fraction(1, 10)  # by which time stamps may differ from the count of samples
_SILENCE_SECONDS = 10  # the longest hole that is filled with silence; a longer one stays in the file
CHANGE = "the sound changes to {1} Hz, {2} at {0:.1f} s; it is resampled to the rate and layout before"

Warn = Callable[[str], None]


@dataclass(frozen=True)
class SoundFormat:
    """Encoder, rate and layout of a track."""

    encoder: str
    rate: int  # samples a second
    layout: str  # FFmpeg's name of the channel layout

    def add_to(self, output: OutputContainer) -> AudioStream:
        """A new stream of this format. Raises FFmpegError and ValueError where that is not possible."""
        stream = output.add_stream(self.encoder, rate=self.rate, layout=self.layout)
        assert isinstance(stream, AudioStream)
        stream.bit_rate = _BIT_RATE_PER_CHANNEL * stream.codec_context.layout.nb_channels
        stream.codec_context.open()
        return stream

    def new_encoder(self) -> AudioCodecContext:
        """An encoder of this format without a stream."""
        context = CodecContext.create(self.encoder, "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate, context.layout = self.rate, self.layout
        formats = context.codec.audio_formats
        context.format = formats[0] if formats else "fltp"
        context.time_base = Fraction(1, self.rate)
        context.bit_rate = _BIT_RATE_PER_CHANNEL * context.layout.nb_channels
        context.open()
        return context

    def changes(self, source: AudioCodecContext) -> list[str]:
        """What is not kept of `source`, for messages."""
        changes = []
        if source.sample_rate != self.rate:
            changes.append(f"resampled from {source.sample_rate} to {self.rate} Hz")
        if source.layout.nb_channels != av.AudioLayout(self.layout).nb_channels:
            changes.append(f"mixed from {source.layout.nb_channels} channels ({source.layout.name}) to {self.layout}")
        return changes


def format_for(source: AudioCodecContext, kind: str) -> SoundFormat | None:
    """How the container `kind` best holds the sound: with its own rate and layout, or the next rate above and stereo.

    None: not at all.
    """
    encoder = _ENCODERS[kind]
    rates = Codec(encoder, "w").audio_rates or []
    rate = min((rate for rate in rates if rate >= max(source.sample_rate, _LOWEST_RATE)), default=max(rates))
    layouts = ["stereo"]
    if source.layout.nb_channels in _LAYOUTS:  # PyAV cannot touch the samples of more channels, nor do players
        layouts = [source.layout.name, _LAYOUTS[source.layout.nb_channels], "stereo"]
    for layout in layouts:
        choice = SoundFormat(encoder, _OPUS_RATE if encoder == "libopus" else rate, layout)
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            with av.open(io.BytesIO(), "w", format=kind) as trial:  # a stream that fails cannot be taken out again
                choice.add_to(trial)
            return choice
    return None


class Transcode:
    """A track whose sound is decoded and encoded again, in the first rate and layout.

    Samples are counted from the first: a short hole becomes silence, and repeated samples are dropped.
    """

    def __init__(
        self, source: AudioStream, target: Stream, sound: SoundFormat, *, warn: Warn, start: Fraction | None = None
    ) -> None:
        """From `source` to `target`, which holds `sound`; samples before `start` seconds are dropped."""
        self.target = target
        self._decoder, self._format = source.codec_context, sound
        self._start, self._warn = start, warn
        self._encoder: AudioCodecContext | None = None
        self._resampler: AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None
        self._due: Fraction | None = None  # when the next sample should come
        self._samples = 0  # pts of the next sample that is encoded

    def take(self, packet: "Packet[Stream]") -> "list[Packet[Stream]]":
        """The encoder's packets for this one; a damaged one is a short silence."""
        return self.encode(decoded(self._decoder, packet))

    def flush(self) -> "list[Packet[Stream]]":
        """What decoder and encoder hold back."""
        return [*self.encode(decoded(self._decoder, None)), *self._drain()]

    def encode(self, frames: list[AudioFrame]) -> "list[Packet[Stream]]":
        """The encoder's packets for decoded sound."""
        packets: list[Packet[Stream]] = []
        for frame in frames:
            begin = self._due or Fraction(0)
            if frame.pts is not None and frame.time_base:
                begin = frame.pts * Fraction(frame.time_base)
            hole = Fraction(0) if self._due is None else begin - self._due
            if (self._start is not None and begin < self._start) or hole < -_JITTER_SECONDS:
                continue
            if self._due is None or hole > _SILENCE_SECONDS:
                packets += self._drain()
                self._samples, self._due = round(begin * self._format.rate), begin
            elif hole > _JITTER_SECONDS:
                packets += self._counted(self._silence(round(hole * self._format.rate)))
                self._due = begin
            packets += self._counted(self._resampled(frame))
            self._due += Fraction(frame.samples, frame.sample_rate)
        return packets

    def _resampled(self, frame: AudioFrame) -> list[AudioFrame]:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        rest: list[AudioFrame] = []
        if self._resampler is None or kind != self._kind:
            rest = [] if self._resampler is None else self._resampler.resample(None)
            if self._kind is not None and kind[1:] != self._kind[1:]:
                self._warn(CHANGE.format(float(self._due or 0), frame.sample_rate, frame.layout.name))
            self._kind, self._resampler = kind, self._new_resampler()
        return [*rest, *self._resampler.resample(frame)]

    def _silence(self, samples: int) -> list[AudioFrame]:
        # Made in one plane: PyAV 18 crashes on the planes of eight channels.
        channels = av.AudioLayout(self._format.layout).nb_channels
        zeros = np.zeros((1, samples * channels), np.int16)
        frame = AudioFrame.from_ndarray(zeros, format="s16", layout=self._format.layout)
        frame.sample_rate = self._format.rate
        return self._new_resampler().resample(frame)

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler(self._working().format, self._format.layout, self._format.rate)

    def _counted(self, frames: list[AudioFrame]) -> "list[Packet[Stream]]":
        """The frames encoded, with the count of samples for time."""
        packets: list[Packet[Stream]] = []
        for frame in frames:
            frame.pts, frame.time_base = self._samples, Fraction(1, self._format.rate)
            self._samples += frame.samples
            packets += self._working().encode(frame)
        return packets

    def _drain(self) -> "list[Packet[Stream]]":
        """What resampler and encoder hold back; the next sample starts another count."""
        if self._encoder is None:
            return []
        rest = [] if self._resampler is None else self._resampler.resample(None)
        packets = [*self._counted(rest), *self._encoder.encode(None)]
        self._resampler = self._encoder = None
        return packets

    def _working(self) -> AudioCodecContext:
        self._encoder = self._encoder or self._format.new_encoder()
        return self._encoder


def decoded(decoder: AudioCodecContext, packet: "Packet[Stream] | None") -> list[AudioFrame]:
    """The sound of a packet, of all that the decoder holds back for None; nothing where it is damaged."""
    with contextlib.suppress(av.FFmpegError, OSError):
        return decoder.decode(packet)
    return []


def with_adts(packet: "Packet[Stream]", sound: SoundFormat) -> "Packet[Stream]":
    """An AAC-LC packet with the header that transport streams have before each."""
    rate = (Codec("aac", "w").audio_rates or []).index(sound.rate)
    channels = av.AudioLayout(sound.layout).nb_channels
    length = packet.size + 7
    header = 0xFFF1 << 40 | 1 << 38 | rate << 34 | min(channels, 7) << 30 | length << 13 | 0x7FF << 2
    made: Packet[Stream] = Packet(header.to_bytes(7, "big") + bytes(packet))
    made.pts, made.dts, made.duration, made.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    return made
