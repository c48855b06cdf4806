"""What a live source needs of the pipeline: the newest frame first, and how long a frame takes to its picture."""

import queue
import threading
import time
from collections import deque
from dataclasses import replace

import numpy as np

from tmaseg.video.source import Frame

_MOST_KEPT = 32  # frames that wait, with keep_all
_BINS, _LEAST_SECONDS, _STEP = 1400, 0.0001, 1.01  # of latencies: one per cent wide each, up to two minutes


class Live:
    """The queue between a live source and the network: a frame that waits is dropped when the next one comes.

    With `keep_all` none is, up to the number that fits into memory: the network runs on the newest, and the others
    take labels that are moved along. `duration`: seconds after which the frames end. `put` and `get` are those of
    `queue.Queue`.
    """

    def __init__(self, *, keep_all: bool = False, duration: float | None = None) -> None:
        self.keep_all, self.duration = keep_all, duration
        self.dropped = 0
        """Frames that were dropped."""
        self.latency = Latency()
        self._room = _MOST_KEPT if keep_all else 1
        self._waiting: deque[Frame | BaseException | None] = deque()
        self._changed = threading.Condition()

    def put(self, item: Frame | BaseException | None, timeout: float) -> None:  # noqa: ARG002  (never full)
        """Add a frame, or what ends them."""
        with self._changed:
            if isinstance(item, Frame) and len(self._waiting) >= self._room:
                self.dropped += 1
                oldest = self._waiting.popleft()
                self._waiting.append(item)
                following = self._waiting[0]
                if isinstance(oldest, Frame) and isinstance(following, Frame) and oldest.discontinuity:
                    self._waiting[0] = replace(following, discontinuity=True)
            else:
                self._waiting.append(item)
            self._changed.notify()

    def get(self, timeout: float) -> Frame | BaseException | None:
        """The oldest that waits. Raises queue.Empty after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, timeout):
                raise queue.Empty
            return self._waiting.popleft()

    @property
    def is_behind(self) -> bool:
        """Whether newer frames wait."""
        return bool(self._waiting) and isinstance(self._waiting[0], Frame)


class Latency:
    """Quantiles of the time from the arrival of a frame to its painted picture, to one per cent, in constant memory."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, frame: Frame) -> None:
        """A frame whose picture is painted now; one without a time of arrival does not count."""
        if frame.arrival is not None:
            seconds = max(time.monotonic() - frame.arrival, _LEAST_SECONDS)
            self._counts[min(round(np.log(seconds / _LEAST_SECONDS) / np.log(_STEP)), _BINS - 1)] += 1

    def quantile(self, share: float) -> float | None:
        """Seconds that `share` of the frames take at most; None where none has come."""
        total = self._counts.sum()
        place = int(np.searchsorted(np.cumsum(self._counts), share * total))
        return float(_LEAST_SECONDS * _STEP**place) if total else None
