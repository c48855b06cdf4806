"""Screen: what a person sees while a command works, all of it on standard error."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Tell = Callable[[int, int | None], None]

_EVERY_SECONDS = 10.0  # between lines where there is no terminal


class Screen:
    """Says things in lines, and shows progress as a bar on a terminal, in occasional lines elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """One line, as it is."""
        if not self._quiet:
            self._console.print(line, markup=False)

    def warn(self, sentences: Iterable[str]) -> None:
        """`warning: ...` for each."""
        for sentence in sentences:
            self.say(f"warning: {sentence}")

    @contextmanager
    def progress(self, name: str) -> Iterator[Tell]:
        """Gives a function that is told how many frames of how many (None: nobody knows) are done."""
        if self._quiet:
            yield _ignore
        elif self._console.is_terminal:
            with self._bar() as bar:
                task = bar.add_task(name, total=None)
                yield lambda done, total: bar.update(
                    task, completed=done, total=None if total is None else max(done, total)
                )
        else:
            yield self._lines(name)

    def _bar(self) -> Progress:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Frames(),
            _Speed(),
            TimeRemainingColumn(compact=True),
        )
        return Progress(*columns, console=self._console, transient=True)

    def _lines(self, name: str) -> Tell:
        begun = said = time.monotonic()

        def tell(done: int, total: int | None) -> None:
            nonlocal said
            now = time.monotonic()
            if now - said < _EVERY_SECONDS:
                return
            said = now
            speed = done / (now - begun)
            if total is None or total <= done:
                self.say(f"{name}: {done} frames, {speed:.1f} frames/s")
            else:
                left = (total - done) / speed if speed else 0.0
                self.say(f"{name}: {done} of {total} frames, {speed:.1f} frames/s, {duration(left)} left")

        return tell


def _ignore(_done: int, _total: int | None) -> None:
    pass


class _Frames(ProgressColumn):
    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f"/{task.total:.0f}"
        return Text(f"{task.completed:.0f}{total} frames")


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s")


def duration(seconds: float) -> str:
    """Seconds as people say them: 4.2 s, 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
