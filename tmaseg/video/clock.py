"""Clock: a strictly increasing time stamp for every frame, the container's own wherever it has one."""

from fractions import Fraction

_LEAP_SECONDS = 1  # a step back by more than this is a clock that was set, not a stamp that is off


class Clock:
    """One stream's time. Feed it every decoded frame's pts in order."""

    def __init__(self, time_base: Fraction, rate: Fraction, start: int = 0) -> None:
        """`rate` is the nominal frames a second; `start` the stamp of a first frame that has none."""
        self.time_base = time_base
        self.step = 1 / (rate * time_base)
        self.irregular = 0
        self._last: int | None = None
        self._made: Fraction | None = None
        self._start = start
        self._shift = 0

    def stamp(self, pts: int | None) -> tuple[int, bool]:
        """The frame's time in units of `time_base`, and whether the clock jumped back to get there.

        A missing stamp is made up from the one before and the rate; one that repeats or steps back a little is put
        just after the one before; after a jump back by more than a second time goes on without a hole.
        """
        if pts is None:
            return self._invent(), False
        time, jumped = pts + self._shift, False
        if self._last is not None and time <= self._last:
            self.irregular += 1
            jumped = (self._last - time) * self.time_base > _LEAP_SECONDS
            following = self._last + (max(1, round(self.step)) if jumped else 1)
            if jumped:
                self._shift += following - time
            time = following
        self._last, self._made = time, None
        return time, jumped

    def _invent(self) -> int:
        if self._last is None:
            self._made = Fraction(self._start)
        else:
            self.irregular += 1
            # Summed exactly and rounded last, or 29.97 frames a second would drift.
            self._made = (Fraction(self._last) if self._made is None else self._made) + self.step
        self._last = max(round(self._made), self._start if self._last is None else self._last + 1)
        return self._last
