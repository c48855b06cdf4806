"""Running the jobs of one `tmaseg run`: where, what is printed of each, and what came of them all."""

import contextlib
import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import typer

from tmaseg.cli.command import say_error
from tmaseg.cli.screen import Screen, duration
from tmaseg.errors import OutputError
from tmaseg.options import BatchOptions
from tmaseg.pipeline.batch import JobResult, run_here
from tmaseg.pipeline.jobs import Job
from tmaseg.pipeline.remote import exists, remote_url
from tmaseg.pipeline.report import RunReport
from tmaseg.signals import StopRequest
from tmaseg.video.address import hidden


class Batch:
    """Runs jobs, prints what each did, and keeps their reports. Of several jobs, one that fails stops no other."""

    def __init__(self, jobs: Sequence[Job], options: BatchOptions, screen: Screen) -> None:
        self._jobs, self._options, self._screen = jobs, options, screen
        self._reports: dict[str, RunReport] = {}
        """By source, as are the errors."""
        self.skipped: list[Job] = []
        self.failed: dict[str, str] = {}
        """Error text by source."""
        self.exit_code = 0
        """Of the signal that ended the batch; 0 without one."""

    @property
    def reports(self) -> list[RunReport]:
        """In the order of the sources."""
        return [self._reports[job.source] for job in self._jobs if job.source in self._reports]

    @property
    def damaged(self) -> bool:
        """Whether any input was."""
        return any(report.damaged for report in self.reports)

    def run(self) -> None:
        """All jobs, or until Ctrl-C. Folders of outputs are made. Raises TmasegError when the only job fails."""
        made = _make_folders(self._jobs)
        stop = StopRequest(lambda: self._screen.say("finishing the output; press Ctrl-C again to stop at once"))
        try:
            with (
                stop,
                contextlib.closing(self._run([job for job in self._jobs if not self._skip(job)], stop)) as results,
            ):
                for result in results:
                    self._note(result)
        except KeyboardInterrupt:
            pass
        finally:
            for folder in reversed(made):
                with contextlib.suppress(OSError):  # it holds something
                    folder.rmdir()
        self.exit_code = stop.exit_code
        if self.exit_code:
            resumable = any(job.options.output.resume for job in self._jobs)
            self._screen.say("interrupted; give the same command to go on" if resumable else "interrupted")

    def print_json(self) -> None:
        """One object: the report of the only job, or the reports of several."""
        runs = [report.to_dict() for report in self.reports]
        skipped = [
            {"input": hidden(job.source), "output": str(job.options.output.output), "skipped": True}
            for job in self.skipped
        ]
        values: dict[str, Any] = {
            "runs": runs,
            "skipped": skipped,
            "failed": [{"input": hidden(source), "error": text} for source, text in self.failed.items()],
            "frames": sum(report.frames for report in self.reports),
            "interrupted": bool(self.exit_code),
        }
        if len(self._jobs) == 1:
            values = (runs or skipped or [{"interrupted": True}])[0]
        typer.echo(json.dumps(values, allow_nan=False))

    def _run(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> Generator[JobResult]:
        """The results of the jobs, as they end."""
        if self._options.cluster and jobs:
            from tmaseg.pipeline.cluster import run_on_ray

            with self._screen.status() as show:
                yield from run_on_ray(jobs, self._options.cluster, show=show, stop=stop)
            return
        if self._options.devices:
            from tmaseg.pipeline.devices import choose_devices, on_device, run_on_devices

            devices = choose_devices(self._options.devices)
            if len(devices) > 1 and len(jobs) > 1:
                yield from run_on_devices(jobs, devices, progress=self._screen.progress, stop=stop)
                return
            jobs = [on_device(job, devices[0]) for job in jobs]
        yield from run_here(jobs, progress=self._screen.progress, stop=stop)

    def _skip(self, job: Job) -> bool:
        output = job.options.output
        if not (output.skip_existing and output.video and exists(output.video)):
            return False
        self._screen.say(f"{output.output} exists: skipped")
        self.skipped.append(job)
        return True

    def _note(self, result: JobResult) -> None:
        source, report = result.job.source, result.report
        if report is not None:
            self._reports[source] = report
            self._screen.warn(report.warnings)
            self._screen.say(_summary(report))
        elif result.error is not None:
            if len(self._jobs) == 1:
                raise result.error
            say_error(result.error)
            self.failed[source] = str(result.error)


def _make_folders(jobs: Sequence[Job]) -> list[Path]:
    """Makes the folders of videos and statistics that `plan_jobs` named; those that were made. Raises OutputError."""
    made = []
    outputs = [job.options.output for job in jobs if job.into_folder]
    files = [path for each in outputs for path in each.paths if path != each.masks]
    for path in files:
        if remote_url(path) or path.parent.exists():
            continue
        try:
            path.parent.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"the folder {path.parent} cannot be made: {error.strerror}") from error
        made.append(path.parent)
    return made


def _summary(report: RunReport) -> str:
    first, *more = report.segments or (report.output,)
    video = f"{first} to {more[-1]}" if more else first
    outputs = ", ".join(name for name in (video, report.masks, report.stats, report.events) if name)
    outputs = outputs or report.input
    resets = f"memory emptied {report.memory_resets} times" if report.memory_resets != 1 else "memory emptied once"
    compiled = ", compiled" if report.compiled else ""
    coders = "".join(f", {name}" for name in (report.decoder, report.encoder) if name)
    return (
        f"{outputs}: {report.frames} frames of {report.width}x{report.height} in {duration(report.seconds)} "
        f"({report.fps:.1f} frames/s, {report.precision} on {report.device}{compiled}, {report.memory}{coders}); "
        f"{resets}{_live_part(report)}"
    )


def _live_part(report: RunReport) -> str:
    if not report.live or report.latency_median_ms is None:
        return ""
    return (
        f"; {report.dropped_frames} frames dropped; latency {report.latency_median_ms:.0f} ms (median), "
        f"{report.latency_p95_ms:.0f} ms (95th percentile)"
    )
