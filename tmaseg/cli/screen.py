"""Screen: lines and progress on standard error."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from tmaseg.video.address import hidden, without_secrets

if TYPE_CHECKING:
    from rich.progress import Progress

Show = Callable[[str, float | None], None]
"""Takes what is going on, and which fraction of it is done, 0 to 1; None: not known."""
Update = Callable[[int, int | None], None]  # takes how many frames of how many are done; None: not known

_EVERY_SECONDS = 10.0  # between lines without a terminal


class Screen:
    """Prints lines, and progress as bars on a terminal or as occasional lines elsewhere; nothing when quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars: Progress | None = None  # while there are any

    def say(self, line: str) -> None:
        """One line, as it is."""
        if self._quiet:
            return
        line = without_secrets(line)
        if self._bars is None:
            typer.echo(line, err=True)
        else:  # a file's name is no markup
            self._bars.console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def warn(self, sentences: Iterable[str]) -> None:
        """`warning: ...` for each."""
        for sentence in sentences:
            self.say(f"warning: {sentence}")

    @contextmanager
    def status(self) -> Iterator[Show]:
        """A function that shows what is going on until the block is left."""
        if self._quiet:
            yield lambda _text, _fraction: None
        elif sys.stderr.isatty():  # whatever FORCE_COLOR says: a log is no terminal
            with self._bar() as show:
                yield show
        else:
            yield self._lines()

    @contextmanager
    def progress(self, name: str) -> Iterator[Update]:
        """A function that shows how many frames are done, how fast, and the time left."""
        begun, name = time.monotonic(), hidden(name)
        with self.status() as show:

            def update(done: int, total: int | None) -> None:
                speed = done / max(time.monotonic() - begun, 1e-9)
                if total is None or total <= done:
                    show(f"{name}: {done} frames, {speed:.1f} frames/s", None)
                else:
                    left = duration((total - done) / speed) if speed else "unknown time"
                    show(f"{name}: {done} of {total} frames, {speed:.1f} frames/s, {left} left", done / total)

            yield update

    @contextmanager
    def _bar(self) -> Iterator[Show]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        if self._bars is None:
            columns = (BarColumn(), TextColumn("{task.description}", markup=False))
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        bars, task = self._bars, self._bars.add_task("", total=None)
        try:
            yield lambda text, fraction: bars.update(
                task, description=text, completed=fraction or 0, total=None if fraction is None else 1
            )
        finally:
            if len(bars.tasks) == 1:
                bars.stop()
                self._bars = None
            bars.remove_task(task)

    def _lines(self) -> Show:
        last = time.monotonic()

        def show(text: str, _fraction: float | None) -> None:
            nonlocal last
            if time.monotonic() - last >= _EVERY_SECONDS:
                last = time.monotonic()
                self.say(text)

        return show


def duration(seconds: float) -> str:
    """Seconds in words: 4.2 s, 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
