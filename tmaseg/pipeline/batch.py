"""Running the jobs of one `tmaseg run`: one of them, or all in this process, one after the other."""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from tmaseg.errors import TmasegError
from tmaseg.options import ModelOptions
from tmaseg.pipeline.jobs import Job
from tmaseg.pipeline.remote import localized, remote_url
from tmaseg.pipeline.report import RunReport
from tmaseg.video.address import hidden
from tmaseg.video.source import open_source

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import FrameSegmenter

Update = Callable[[int, int | None], None]
"""Takes how many frames of how many are done; None: not known."""
Progress = Callable[[str], AbstractContextManager[Update]]
"""Shows the progress of a source, by its name, while the block lasts."""


@dataclass(frozen=True)
class JobResult:
    """A job that ended: with a report, with an error, or with neither, where it was interrupted before any frame."""

    job: Job
    report: RunReport | None = None
    error: Exception | None = None


def load(model: ModelOptions, follow: bool) -> "FrameSegmenter":
    """As `model.load`, at less cost where torch is not imported yet. Raises CheckpointError and ConfigError."""
    if "torch" not in sys.modules:
        # Without the garbage collector torch costs 1.5 s of CPU time instead of 2.3, half of that at exit.
        gc.disable()
        import torch  # noqa: F401

        gc.freeze()
        gc.enable()
    return model.load(follow=follow)


def run_here(jobs: Sequence[Job], *, progress: Progress, stop: Callable[[], bool]) -> Iterator[JobResult]:
    """Runs jobs one after the other on one network, until `stop()`. A TmasegError ends one job and no other."""
    load_once = lru_cache(maxsize=1)(load)
    for job in jobs:
        if stop():
            return
        try:
            with progress(hidden(job.source)) as update:
                report = run_job(job, load_once, progress=update, stop=stop)
        except TmasegError as error:
            yield JobResult(job, error=error)
        else:
            yield JobResult(job, report)


def run_job(
    job: Job,
    load: "Callable[[ModelOptions, bool], FrameSegmenter]",
    *,
    progress: Update = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> RunReport:
    """Segments one source. `load` gives its network, and may keep it for the next. Raises TmasegError."""
    with localized(job) as local:
        options = local.options
        with open_source(local.source, options.input.read_options()) as source:
            from tmaseg.pipeline.video import run_video  # brings torch: not before the source is known to be one

            total = source.info.frames
            report = run_video(
                source,
                partial(load, options.model, options.input.keep_all),
                options,
                progress=lambda done: progress(done, total),
                stop=stop,
            )
    if local is job:
        return report
    outputs = job.options.output
    names: dict[str, Any] = {"input": job.source}
    for name in ("output", "masks", "stats", "events"):
        path = getattr(outputs, name)
        names[name] = path and (remote_url(path) or str(path))
    return replace(report, **names)
