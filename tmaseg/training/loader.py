"""Loader: the batches of each step in order, made ahead of time by threads."""

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
        self._next = first
        self._waiting: deque[Future[list[Batch]]] = deque()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batch")
        self._depth = threads + _AHEAD

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

    def take(self) -> list[Batch]:
        """The next step's parts. Raises what making them raised, such as DataError."""
        while len(self._waiting) < self._depth:
            self._waiting.append(self._pool.submit(self._make, self._next))
            self._next += 1
        return self._waiting.popleft().result()
