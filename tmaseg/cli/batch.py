"""The jobs of one `tmaseg run`: which source goes where, and running them one after the other on one network."""

import contextlib
import gc
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import typer

from tmaseg.cli.guard import say_error
from tmaseg.cli.screen import Screen, duration
from tmaseg.errors import ConfigError, OutputError, TmasegError
from tmaseg.files import check_not_read, output_name
from tmaseg.options import OutputOptions, RunOptions
from tmaseg.pipeline.report import RunReport
from tmaseg.signals import StopRequest
from tmaseg.video.address import hidden
from tmaseg.video.muxer import SUFFIXES
from tmaseg.video.source import open_source

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import FrameSegmenter


@dataclass(frozen=True)
class Job:
    """One source and its options."""

    source: str
    """As the user gave it."""
    options: RunOptions
    into_folder: bool
    """Whether the folders of its video and statistics are made."""


class Batch:
    """Runs jobs, prints what each did, and keeps their reports. Of several jobs, one that fails stops no other."""

    def __init__(self, jobs: Sequence[Job], screen: Screen) -> None:
        self._jobs, self._screen = jobs, screen
        self.reports: list[RunReport] = []
        self.skipped: list[Job] = []
        self.failed: dict[str, str] = {}
        """Error text by source."""
        self.exit_code = 0
        """Of the signal that ended the batch; 0 without one."""

    @property
    def damaged(self) -> bool:
        """Whether any input was."""
        return any(report.damaged for report in self.reports)

    def run(self) -> None:
        """All jobs, or until Ctrl-C. Folders of outputs are made. Raises TmasegError when the only job fails."""
        made = _make_folders(self._jobs)
        stop = StopRequest(lambda: self._screen.say("finishing the output; press Ctrl-C again to stop at once"))
        try:
            with stop:
                for job in self._jobs:
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

    def _try(self, job: Job, stop: StopRequest) -> None:
        output = job.options.output
        if output.skip_existing and output.video and output.video.exists():
            self._screen.say(f"{output.output} exists: skipped")
            self.skipped.append(job)
            return
        try:
            report = self._run(job, stop)
        except TmasegError as error:
            if len(self._jobs) == 1:
                raise
            say_error(error)
            self.failed[job.source] = str(error)
            return
        self.reports.append(report)
        self._screen.warn(report.warnings)
        self._screen.say(_summary(report))

    def _run(self, job: Job, stop: StopRequest) -> RunReport:
        with (
            open_source(job.source, job.options.input.read_options()) as source,
            self._screen.progress(hidden(job.source)) as update,
        ):
            from tmaseg.pipeline.video import run_video

            total = source.info.frames
            return run_video(
                source, lambda: self._segmenter, job.options, progress=lambda done: update(done, total), stop=stop
            )

    @cached_property
    def _segmenter(self) -> "FrameSegmenter":
        if "torch" not in sys.modules:
            # Without the garbage collector torch costs 1.5 s of CPU time instead of 2.3, half of that at exit.
            gc.disable()
            import torch  # noqa: F401

            gc.freeze()
            gc.enable()
        return self._jobs[0].options.load()


def plan_jobs(sources: Sequence[str], options: RunOptions) -> list[Job]:
    """One job for each source.

    For several sources the outputs are folders, where each source gets outputs of its own name. For one, only the video
    may be a folder: one that exists, or a name that ends in "/". Raises ConfigError where two sources would share an
    output.
    """
    sources, output = list(dict.fromkeys(sources)), options.output
    if len(sources) == 1:
        new_folder = bool(output.output and output.output.endswith("/"))
        if output.video and (new_folder or output.video.is_dir()):
            options = replace(options, output=replace(output, output=_video_in(output.video, sources[0], output)))
        return [Job(sources[0], options, new_folder)]
    for flag, path, ending in (
        ("-o", output.video, SUFFIXES),
        ("--stats", output.stats, (".csv",)),
        ("--events", Path(output.events or "-"), (".json", ".jsonl")),
    ):
        if path and path.suffix.lower() in ending and not path.is_dir():
            raise ConfigError(f"{flag} {path} is a file, but there are {len(sources)} sources: give a folder")
    jobs = [Job(source, replace(options, output=_output_in(source, output)), into_folder=True) for source in sources]
    owner: dict[Path, str] = {}
    for job in jobs:
        for path in job.options.output.paths:
            if owner.setdefault(path, job.source) != job.source:
                raise ConfigError(f"{owner[path]} and {job.source} would both become {path}: run them one by one")
    check_not_read(list(owner), [_path(source) for source in sources])
    return jobs


def _make_folders(jobs: Sequence[Job]) -> list[Path]:
    """Makes the folders of videos and statistics that `plan_jobs` named; those that were made. Raises OutputError."""
    made = []
    outputs = [job.options.output for job in jobs if job.into_folder]
    files = [path for each in outputs for path in each.paths if path != each.masks]
    for path in filter(None, files):
        if path.parent.exists():
            continue
        try:
            path.parent.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"the folder {path.parent} cannot be made: {error.strerror}") from error
        made.append(path.parent)
    return made


def _output_in(source: str, folders: OutputOptions) -> OutputOptions:
    return replace(
        folders,
        output=_video_in(folders.video, source, folders) if folders.video else None,
        masks=folders.masks / output_name(_stem(source), "") if folders.masks else None,
        stats=folders.stats / output_name(_stem(source), ".csv") if folders.stats else None,
        events=_events_in(folders.events, source) if folders.events else None,
    )


def _video_in(folder: Path, source: str, output: OutputOptions) -> str:
    suffix = ".mkv" if output.lossless else _path(source).suffix.lower()
    return str(folder / output_name(_stem(source), suffix if suffix in SUFFIXES else ".mp4"))


def _events_in(folder: str, source: str) -> str:
    return folder if folder == "-" else str(Path(folder) / output_name(_stem(source), ".jsonl"))


def _path(source: str) -> Path:
    return Path(unquote(urlsplit(source).path)) if "://" in source else Path(source)


def _stem(source: str) -> str:
    path = _path(source)
    name = path.resolve().name if path.is_dir() else path.stem
    return "stdin" if source == "-" else name or "video"


def _summary(report: RunReport) -> str:
    outputs = ", ".join(name for name in (report.output, report.masks, report.stats, report.events) if name)
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
