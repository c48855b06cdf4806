"""How SIGINT (Ctrl-C), SIGTERM and SIGHUP end the program: work in progress is finished, or its part files go."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Self

from tmaseg.files import discard_part_files

DECODE_THREAD = "tmaseg-decode"  # the thread that reads a source; it outlives a run whose camera is silent

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
_REPEAT_SECONDS = 1.0  # timeout(1) sends SIGTERM twice: to its child, and to the group that the child is in
_UNWIND_SECONDS = 5.0  # for threads to end and files to be removed, before the process ends without them


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread by a signal that ends the program at once."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class StopRequest:
    """While its `with` block lasts, the first signal sets `signal`, so that work in progress can be finished.

    A second one removes the part files and raises Interrupted; a process that has not left the block five seconds later
    exits. Calling the object tells whether a signal came. A signal that is ignored (nohup, a shell's background job)
    stays ignored, and outside the main thread nothing changes. May be nested: the inner one counts.
    """

    def __init__(
        self, notify: Callable[[], None] | None = None, *, at_once: bool = False, repeat_seconds: float = 0.0
    ) -> None:
        """`notify` is called when the first signal comes, in the main thread. `at_once`: the first one raises already.

        Signals within `repeat_seconds` of the first are taken for the same one; for SIGTERM and SIGHUP it is at least a
        second.
        """
        self.signal: int | None = None  # number of the signal that came
        self._notify, self._at_once, self._repeat_seconds = notify, at_once, repeat_seconds
        self._first = 0.0
        self._before: dict[int, Any] = {}
        self._terminals: list[int] = []
        self._exit: threading.Timer | None = None

    def __call__(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as a shell has it; 0 where none came."""
        return 0 if self.signal is None else 128 + self.signal

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._terminals = [file for file in (1, 2) if os.isatty(file)]
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if before in _DEFAULTS or isinstance(getattr(before, "__self__", None), StopRequest):
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if self._exit:
            self._exit.cancel()
            self._exit.join()  # at once: no thread is left behind

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._leave_terminals()
        if self.signal is None:
            self.signal, self._first = number, time.monotonic()
            if self._at_once:
                raise Interrupted(number)
            if self._notify:
                self._notify()
            return
        repeat = self._repeat_seconds if number == signal.SIGINT else max(_REPEAT_SECONDS, self._repeat_seconds)
        if time.monotonic() - self._first < repeat:
            return
        discard_part_files()
        if self._exit is None:
            self._exit = threading.Timer(_UNWIND_SECONDS, os._exit, (128 + number,))
            self._exit.daemon = True
            self._exit.start()
        raise Interrupted(number)

    def _leave_terminals(self) -> None:
        """After SIGHUP the terminal may be gone; whatever is still written to it would fail."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for file in self._terminals:
                os.dup2(nowhere, file)
            os.close(nowhere)
