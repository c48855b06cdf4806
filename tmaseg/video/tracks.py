"""Tracks: one stream of sound, subtitles or data on its way into an output, copied or encoded anew."""

import contextlib
from fractions import Fraction
from typing import Protocol

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream


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
