"""Time: every packet of a container on one timeline, and a rising time stamp for every frame."""

from dataclasses import dataclass
from fractions import Fraction

import av
from av import Packet
from av.container import InputContainer
from av.format import Flags
from av.stream import Stream

_ABSOLUTE = ("mov", "matroska")  # containers whose times count from zero: a late start is intended
_GAP_SECONDS = 10  # a jump ahead by more than this, in a stream container, is another recording, not a pause
_BACK_SECONDS = Fraction(1)  # a step back by more than this is a clock that was set, not an inexact time stamp
_BACK_SECONDS_STREAM = Fraction(1, 10)  # the same in a stream container, whose decoding times always rise


class Timeline:
    """One timeline, in seconds, for all streams of one container; feed it every packet in the order of the file.

    In MP4, MOV and Matroska it is the container's own. Others start at an arbitrary time (a transport stream joined
    half-way) and begin at zero here. Where the time stamps jump back, as in joined recordings, time goes on at once;
    where those of a stream container (MPEG-TS and -PS, HLS) jump ahead by more than 10 s, the gap is closed. Whichever
    stream jumps first decides by how much, the others follow: video and sound stay together.
    """

    def __init__(self, container: InputContainer) -> None:
        names, start = container.format.name.split(","), container.start_time
        # Where the line begins, in seconds of the container's own time.
        self.origin = Fraction(0) if set(names) & set(_ABSOLUTE) or not start else Fraction(start, av.time_base)
        # Whether the container may be cut and joined anywhere, so that its time stamps may jump.
        self.streaming = Flags.ts_discont in Flags(container.format.flags)
        self.closed: tuple[Fraction, Fraction] | None = None  # the first gap that was closed: its place, and its length
        self._counted = Flags.no_timestamps in Flags(container.format.flags)  # begins with its first packet
        self._shifts = [-self.origin]  # of each part, from the container's time to the line
        self._reach: list[Fraction | None] = [None]  # latest end of a packet of each part, in the container's time
        self._positions: dict[int, _Position] = {}

    def can_seek(self, location: object) -> bool:
        """Whether a search finds a time of the line; in a file of joined recordings it may end in any of them."""
        # What is on the web is searched all the same: reading it from the top takes too long.
        return not self.streaming or "://" in str(location)

    def place(self, packet: "Packet[Stream]") -> bool:
        """Moves the packet's time stamps onto the line; returns whether its stream jumped to get there."""
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None or not packet.time_base:
            return False
        unit = Fraction(packet.time_base)
        if self.streaming and packet.pts is not None and abs(packet.pts - stamp) * unit > _GAP_SECONDS:
            packet.pts = None  # where recordings meet, the last frame may have the next one's
        if self._counted:
            self._shifts[0], self._counted = -unit * (stamp if packet.pts is None else packet.pts), False
        jumped, part = False, len(self._shifts) - 1
        if packet.stream.type in ("video", "audio"):
            back = _BACK_SECONDS_STREAM if self.streaming and packet.dts is not None else _BACK_SECONDS
            jumped = self._follow(packet.stream.index, stamp * unit, (packet.duration or 0) * unit, back)
            part = self._positions[packet.stream.index].part
        move(packet, self._shifts[part])
        return jumped

    @property
    def jumped(self) -> bool:
        """Whether time stamps have jumped; the container's length is wrong then."""
        return len(self._shifts) > 1

    def on_line(self, seconds: Fraction) -> Fraction:
        """Where a time of the container is on the line, before any jump."""
        return seconds + self._shifts[0]

    def _follow(self, index: int, time: Fraction, duration: Fraction, back: Fraction) -> bool:
        position = self._positions.get(index)
        if position is None:
            position = self._positions[index] = _Position(len(self._shifts) - 1, time, time)
        reach = self._reach[position.part]
        ahead = self.streaming and time - max(position.end, reach if reach is not None else time) > _GAP_SECONDS
        jumped = ahead or position.last - time > back
        if jumped:
            if position.part == len(self._shifts) - 1:
                self._begin_part(position, time, ahead=ahead)
            position.part += 1
            duration = duration or position.step
        else:
            position.step = max(Fraction(0), time - position.last)
        position.last, position.end = time, time + (duration or position.step)
        reach = self._reach[position.part]
        self._reach[position.part] = position.end if reach is None else max(reach, position.end)
        return jumped

    def _begin_part(self, position: "_Position", time: Fraction, *, ahead: bool) -> None:
        """Another part: right after the stream's last packet, or after the other streams' where they last longer."""
        shift, reach = self._shifts[-1], self._reach[-1]
        latest = position.end if reach is None or reach - position.end < _BACK_SECONDS_STREAM else reach
        self._shifts.append(latest + shift - time)
        self._reach.append(None)
        if ahead and self.closed is None:
            self.closed = (latest + shift, time - latest)


def move(packet: "Packet[Stream]", seconds: Fraction) -> None:
    """Adds `seconds` to the packet's time stamps."""
    ticks = round(seconds / packet.time_base)
    packet.pts = None if packet.pts is None else packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks


@dataclass
class _Position:
    """How far one stream has come, in seconds of the container's time."""

    part: int
    last: Fraction
    end: Fraction
    step: Fraction = Fraction(0)  # from the packet before the last one to the last


class FrameClock:
    """A strictly increasing time stamp for every frame of one stream: its own where it has one."""

    def __init__(self, time_base: Fraction, rate: Fraction, *, start: int = 0, quiet: bool = False) -> None:
        """Frames without a stamp: `rate` a second, the first at `start`; `quiet`: they are not counted as irregular."""
        self.irregular = 0  # frames that had no stamp, or one that did not rise
        self._step, self._start, self._quiet = 1 / (rate * time_base), start, quiet
        self._last: int | None = None
        self._exact = Fraction(0)  # the last one before rounding

    def stamp(self, pts: int | None) -> int:
        """The time of a frame, computed from that of the one before where `pts` is missing or does not rise."""
        if self._last is None:
            self._exact = Fraction(self._start if pts is None else pts)
        elif pts is None:
            self.irregular += not self._quiet
            self._exact += self._step  # summed exactly and rounded last, or 29.97 frames a second would drift
        else:
            self.irregular += pts <= self._last
            self._exact = Fraction(max(pts, self._last + 1))
        exact = round(self._exact)
        self._last = exact if self._last is None else max(exact, self._last + 1)
        return self._last
