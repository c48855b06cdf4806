"""Batch: the jobs of one `tmaseg run`, one after the other, on one network."""

import contextlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import typer

from tmaseg.cli.guard import say_error
from tmaseg.cli.jobs import Job, make_folders
from tmaseg.cli.screen import Screen, duration
from tmaseg.errors import TmasegError
from tmaseg.inference.segmenter import Segmenter
from tmaseg.pipeline import RunOptions, RunReport, run_video
from tmaseg.signals import StopRequest
from tmaseg.video.source import ReadOptions, open_source


class Batch:
    """Runs jobs, says what became of each, and keeps their reports. Of several jobs, one that fails stops no other."""

    def __init__(self, options: RunOptions, read: ReadOptions, screen: Screen, *, skip_existing: bool = False) -> None:
        self._options, self._read, self._screen = options, read, screen
        self._skip_existing = skip_existing
        self.reports: list[RunReport] = []
        self.skipped: list[Job] = []
        self.failed: dict[str, str] = {}
        """Error text by source."""
        self.exit_code = 0
        """Of the signal that ended the batch; 0 where none did."""
        self._alone = True

    @property
    def damaged(self) -> bool:
        """Whether any input was."""
        return any(report.damaged for report in self.reports)

    def run(self, jobs: Sequence[Job], *, into_folder: bool = False) -> None:
        """All of them, or until Ctrl-C. Raises TmasegError when a lone one fails.

        The folder of several outputs is made; that of a lone one only where `into_folder` says that it is meant as one.
        """
        self._alone = len(jobs) == 1
        made = make_folders(jobs) if into_folder or not self._alone else []
        stop = StopRequest(lambda: self._screen.say("finishing the output; press Ctrl-C again to stop at once"))
        try:
            with stop:
                for job in jobs:
                    if not stop():
                        self._try(job, stop)
        except KeyboardInterrupt:
            pass
        finally:
            for folder in reversed(made):
                with contextlib.suppress(OSError):  # it holds something
                    folder.rmdir()
        self.exit_code = stop.exit_code
        if self.exit_code:
            self._screen.say("interrupted")

    def print_json(self) -> None:
        """One object: of a lone job its report, of several all of them."""
        runs = [report.to_dict() for report in self.reports]
        skipped = [{"input": job.source, "output": str(job.targets.video), "skipped": True} for job in self.skipped]
        whole: dict[str, Any] = {
            "runs": runs,
            "skipped": skipped,
            "failed": [{"input": source, "error": text} for source, text in self.failed.items()],
            "frames": sum(report.frames for report in self.reports),
            "interrupted": bool(self.exit_code),
        }
        if self._alone:
            whole = (runs or skipped or [{"interrupted": True}])[0]
        typer.echo(json.dumps(whole, allow_nan=False))

    def _try(self, job: Job, stop: StopRequest) -> None:
        if self._skip_existing and job.targets.video and job.targets.video.exists():
            self._screen.say(f"{job.targets.video} exists: skipped")
            self.skipped.append(job)
            return
        try:
            report = self._run(job, stop)
        except TmasegError as error:
            if self._alone:
                raise
            say_error(error)
            self.failed[job.source] = str(error)
            return
        self.reports.append(report)
        self._screen.warn(report.warnings)
        self._screen.say(_summary(report))

    def _run(self, job: Job, stop: StopRequest) -> RunReport:
        with open_source(job.source, self._read) as source, self._screen.progress(job.source) as tell:
            total = source.info.frames
            return run_video(
                source,
                self._segmenter,
                job.targets,
                self._options,
                progress=lambda done: tell(done, total),
                stop=stop,
            )

    @cached_property
    def _segmenter(self) -> Segmenter:
        return self._options.model.load()


def _summary(report: RunReport) -> str:
    outputs = ", ".join(name for name in (report.output, report.masks, report.stats) if name)
    resets = f"memory emptied {report.memory_resets} times" if report.memory_resets != 1 else "memory emptied once"
    compiled = ", compiled" if report.compiled else ""
    coders = "".join(f", {name}" for name in (report.decoder, report.encoder) if name)
    return (
        f"{outputs}: {report.frames} frames of {report.width}x{report.height} in {duration(report.seconds)} "
        f"({report.fps:.1f} frames/s, {report.precision} on {report.device}{compiled}, {report.memory}{coders}); "
        f"{resets}"
    )
