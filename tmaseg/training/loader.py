"""Loader: the batches of each step in order, made ahead of time by threads."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import cv2

from tmaseg.training.batch import Batch

_AHEAD = 2  # steps beyond those being made


class Loader:
    """Use in a `with` block. OpenCV's and NumPy's work releases the interpreter's lock: threads do."""

    def __init__(self, make: Callable[[int], list[Batch]], *, first: int, threads: int) -> None:
        """`make` gives the parts of a step; `first` is the step to begin with."""
        self._make = make
        self._first = self._next = first
        self._waiting: deque[Future[list[Batch]]] = deque()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batch")
        self._depth = threads + _AHEAD
        self._waited, self._begun = 0.0, time.monotonic()

    def __enter__(self) -> Self:
        # Its own threads would fight with ours and with the network's.
        self._cv2_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(self._cv2_threads)

    @property
    def starved(self) -> float:
        """Share of the time since the second batch that was spent waiting for one."""
        return self._waited / max(time.monotonic() - self._begun, 1e-9)

    def take(self) -> list[Batch]:
        """The next step's parts. Raises what making them raised, such as DataError."""
        while len(self._waiting) < self._depth:
            self._waiting.append(self._pool.submit(self._make, self._next))
            self._next += 1
        first = self._next == self._depth + self._first
        asked = time.monotonic()
        batches = self._waiting.popleft().result()
        if first:  # nothing was ready yet: that says nothing of the speed
            self._begun = time.monotonic()
        else:
            self._waited += time.monotonic() - asked
        return batches
