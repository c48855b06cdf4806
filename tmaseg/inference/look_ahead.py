"""LookAhead: what a frame needs no frame before it for, done in a thread of its own while that one is segmented."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

import torch

from tmaseg.arrays import RGB

Encoded = TypeVar("Encoded")

_THREADS = 2  # of torch's, with which it pays


class LookAhead(Generic[Encoded]):
    """Encodes frames ahead while it is open, where torch has two threads: then one is for this, one for the rest."""

    # Two threads that share every operation wait for each other whenever the decoder or the encoder of the video takes
    # a core from one of them. On two Zen 4 cores `run` makes 1.2 times the frames so. With more threads it was not
    # measured; two halves of unequal work would wait for each other there.

    def __init__(self, encode: Callable[[RGB], Encoded]) -> None:
        self._encode = encode
        self._pool: ThreadPoolExecutor | None = None
        self._coming: deque[tuple[RGB, Future[Encoded]]] = deque(maxlen=2)

    @staticmethod
    def pays() -> bool:
        """Whether it is faster than each frame by all threads."""
        return torch.get_num_threads() == _THREADS

    def __enter__(self) -> Self:
        torch.set_num_threads(1)  # here, and in threads that begin to use torch from now on
        self._pool = ThreadPoolExecutor(1, "tmaseg-ahead")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._pool
        self._pool.shutdown(cancel_futures=True)
        self._pool = None
        self.forget()
        torch.set_num_threads(_THREADS)

    def begin(self, rgb: RGB) -> None:
        """Starts on a frame, which must stay as it is until it is taken."""
        assert self._pool
        self._coming.append((rgb, self._pool.submit(self._encode, rgb)))

    def forget(self) -> None:
        """What was begun is not wanted any more."""
        self._coming.clear()

    def take(self, rgb: RGB) -> Encoded | None:
        """The result for this very array, once it is there; None where it was not begun. Raises what encoding did."""
        for number, (coming, encoded) in enumerate(self._coming):
            if coming is rgb:
                del self._coming[number]
                return encoded.result()
        return None
