"""CtrlC: the first one asks to stop, so that what was begun can be finished; the second stops at once."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self


class CtrlC:
    """While its `with` block lasts, the first Ctrl-C sets `asked`, and later ones are KeyboardInterrupts as ever.

    Outside the main thread, or where somebody else handles the signal, it changes nothing.
    """

    def __init__(self, notify: Callable[[], None] | None = None) -> None:
        """`notify` is called when the first one comes, in the main thread."""
        self.asked = False
        self._notify = notify
        self._mine = False

    def __call__(self) -> bool:
        """Whether Ctrl-C was pressed: the `stop` that `segment` takes."""
        return self.asked

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on_signal)
            self._mine = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._mine = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if self._notify:
            self._notify()
