"""Interrupt: Ctrl-C, or the polite end that a cluster asks for, ends a run between two steps, written down."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONE_SECONDS = 2.0  # torchrun passes on what the terminal has sent already: these are one


class Interrupt:
    """While its `with` block lasts, the first signal sets `asked`; a later one is a KeyboardInterrupt.

    Outside the main thread it changes nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._first = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether a signal came: the `stop` that `train` takes."""
        return self.asked

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._on_signal) for each in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked and time.monotonic() - self._first > _ONE_SECONDS:
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self._first = True, time.monotonic()
