"""The jobs of one `tmaseg run`: which sources there are, where the outputs of each go, and running them."""

import gc
import glob
import sys
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tmaseg.errors import ConfigError, OutputError, TmasegError, VideoError
from tmaseg.files import check_not_read, output_name
from tmaseg.options import BatchOptions, ModelOptions, OutputOptions, RunOptions
from tmaseg.pipeline.remote import exists, list_remote, localized, remote_url
from tmaseg.pipeline.report import RunReport
from tmaseg.video.address import hidden, is_live
from tmaseg.video.encoder import SUFFIXES
from tmaseg.video.images import list_images, natural_key, walk_folders
from tmaseg.video.source import open_source

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import FrameSegmenter

Update = Callable[[int, int | None], None]  # takes how many frames of how many are done; None: not known
Progress = Callable[[str], AbstractContextManager[Update]]
"""Shows the progress of a source, by its name, while the block lasts."""
Status = Callable[[], AbstractContextManager[Callable[[str, float | None], None]]]
"""Shows what is going on, and which fraction of it is done, while the block lasts."""

_VIDEOS = frozenset(
    {
        *(*SUFFIXES, ".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".h264", ".hevc", ".m2ts", ".m4v"),
        *(".mjpeg", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".wmv", ".y4m"),
    }
)  # suffixes of what is taken for a video below a folder


@dataclass(frozen=True)
class Job:
    """One source and its options."""

    source: str  # as the user gave it, or as it was found below a folder
    options: RunOptions
    into_folder: bool  # whether the folders of its video and statistics are made


@dataclass(frozen=True)
class JobResult:
    """A job that ended: with a report, with an error, or with neither, where it was interrupted before any frame."""

    job: Job
    report: RunReport | None = None
    error: Exception | None = None
    skipped: bool = False  # whether its output was there


# Running --------------------------------------------------------------------------------------------------------------


def run_jobs(
    jobs: Sequence[Job], options: BatchOptions, *, progress: Progress, status: Status, stop: Callable[[], bool]
) -> Generator[JobResult]:
    """Runs the jobs whose outputs are not kept, where `options` say; the results as they end.

    No error ends another job. When `stop()` is true, the jobs in progress are finished with the frames so far, and no
    other is begun. Raises ConfigError for devices or a cluster that are not there.
    """
    to_do = []
    for job in jobs:
        output = job.options.output
        if output.skip_existing and output.video and exists(output.video):
            yield JobResult(job, skipped=True)
        else:
            to_do.append(job)
    if options.cluster and to_do:
        from tmaseg.pipeline.workers import run_on_ray

        with status() as show:
            yield from run_on_ray(to_do, options.cluster, show=show, stop=stop)
        return
    if options.devices:
        from tmaseg.pipeline.workers import choose_devices, on_device, run_on_devices

        devices = choose_devices(options.devices)
        if len(devices) > 1 and len(to_do) > 1:
            yield from run_on_devices(to_do, devices, progress=progress, stop=stop)
            return
        to_do = [on_device(job, devices[0]) for job in to_do]
    _load.cache_clear()  # the weights may have changed
    for job in to_do:
        if stop():
            return
        with progress(hidden(job.source)) as update:
            result = run_job(job, progress=update, stop=stop)
        yield result


def run_job(job: Job, *, progress: Update = lambda *_: None, stop: Callable[[], bool] = lambda: False) -> JobResult:
    """Segments one source. The network is kept for the next job of this process."""
    try:
        with localized(job) as local:
            options = local.options
            with open_source(local.source, options.input.read_options()) as source:
                from tmaseg.pipeline.video import run_video  # brings torch: not before the source is known to be one

                total = source.info.frames
                report = run_video(
                    source,
                    partial(_load, options.model, options.input.keep_all),
                    options,
                    progress=lambda done: progress(done, total),
                    stop=stop,
                )
    except TmasegError as error:
        return JobResult(job, error=error)
    if local is not job:
        named = {name: getattr(job.options.output, name) for name in ("output", "masks", "stats", "events")}
        names: dict[str, Any] = {name: path and (remote_url(path) or str(path)) for name, path in named.items()}
        report = replace(report, input=job.source, **names)
    return JobResult(job, report)


@lru_cache(maxsize=1)
def _load(model: ModelOptions, follow: bool) -> "FrameSegmenter":
    """As `model.load`, at less cost where torch is not imported yet."""
    if "torch" not in sys.modules:
        # Without the garbage collector torch costs 1.5 s of CPU time instead of 2.3, half of that at exit.
        gc.disable()
        import torch  # noqa: F401

        gc.freeze()
        gc.enable()
    return model.load(follow=follow)


@contextmanager
def output_folders(jobs: Sequence[Job]) -> Iterator[None]:
    """Makes the folders that `plan_jobs` named; those that stay empty go when the block ends. Raises OutputError."""
    made = []
    outputs = [job.options.output for job in jobs if job.into_folder]
    try:
        for path in (path for each in outputs for path in each.paths if path != each.masks):
            if remote_url(path) or path.parent.exists():
                continue
            try:
                path.parent.mkdir(parents=True)
            except OSError as error:
                raise OutputError(f"the folder {path.parent} cannot be made: {error.strerror}") from error
            made.append(path.parent)
        yield
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # it holds something
                folder.rmdir()


# Planning -------------------------------------------------------------------------------------------------------------


def plan_jobs(sources: Sequence[str], options: RunOptions, *, recursive: bool = False) -> list[Job]:
    """One job for each source. A pattern (*, ?, []) stands for what it matches; `recursive`: a folder for its content.

    For several sources the outputs are folders, where each source gets outputs of its own name; those found by a
    pattern or below a folder lie at the same place there. For one, only the video may be a folder: one that exists, or
    a name that ends in "/". Raises ConfigError where two sources would share an output, VideoError where nothing is
    found.
    """
    sources, output = list(dict.fromkeys(sources)), options.output
    names = _find(sources, recursive, leave_out={path.resolve() for path in output.paths})
    if sources == list(names) and len(sources) == 1 and not recursive:
        new_folder = bool(output.output and output.output.endswith("/"))
        if output.video and (new_folder or output.video.is_dir()):
            video = _video_in(output.video, sources[0], _stem(sources[0]), output)
            options = replace(options, output=replace(output, output=video))
        return [Job(sources[0], options, new_folder)]
    if output.stream:
        raise ConfigError("-o names a stream, but there may be several sources: send one, or give a folder")
    for flag, path, ending in (
        ("-o", output.video, SUFFIXES),
        ("--stats", output.stats, (".csv",)),
        ("--events", Path(output.events or "-"), (".json", ".jsonl")),
    ):
        if path and path.suffix.lower() in ending and not path.is_dir():
            raise ConfigError(f"{flag} {path} is a file, but there may be several sources: give a folder")
    jobs = [
        Job(source, replace(options, output=_output_in(source, name, output)), into_folder=True)
        for source, name in names.items()
    ]
    owner: dict[Path, str] = {}
    for job in jobs:
        for path in job.options.output.paths:
            if owner.setdefault(path, job.source) != job.source:
                raise ConfigError(f"{owner[path]} and {job.source} would both become {path}: run them one by one")
    check_not_read(list(owner), [_path(source) for source in names])
    return jobs


def _find(sources: Sequence[str], recursive: bool, leave_out: Collection[Path]) -> dict[str, str]:
    """What the sources stand for, and the name of the outputs of each, with "/" where it lies in sub-folders."""
    names: dict[str, str] = {}
    for source in sources:
        folder = recursive and Path(source).is_dir()
        if not (folder or _is_pattern(source) or (recursive and remote_url(source))):
            names.setdefault(source, _stem(source))
            continue
        root = source if folder else _fixed_part(source)
        found = list(_below(Path(source), leave_out)) if folder else _matches(source, recursive)
        if not found:
            what = "holds no video and no images" if folder else "matches nothing"
            raise VideoError(f"{source} {what}; give videos, or folders of images")
        for each in found:
            inner = each.removeprefix(root.rstrip("/") + "/") if each != root else ""
            names.setdefault(each, str(Path(inner).parent / _stem(each)))
    return names


def _below(root: Path, leave_out: Collection[Path]) -> Iterator[str]:
    """Every video, and every folder that holds images, at or below `root`, in natural order."""
    problems: list[str] = []
    for folder in walk_folders(root, problems, leave_out=leave_out):
        if list_images(folder):
            yield str(folder)
        files = [path for path in folder.iterdir() if path.suffix.lower() in _VIDEOS and not path.name.startswith(".")]
        yield from (str(path) for path in sorted(files, key=lambda path: natural_key(path.name)))
    if problems:
        raise VideoError(problems[0])


def _matches(pattern: str, recursive: bool) -> list[str]:
    if remote_url(pattern):
        found = list_remote(pattern)
        return [url for url in found if Path(url).suffix.lower() in _VIDEOS] if recursive else found
    return sorted(glob.glob(pattern, recursive=True), key=natural_key)  # noqa: PTH207  (the names as they were given)


def _is_pattern(source: str) -> bool:
    if is_live(source) or ("://" in source and not remote_url(source)):
        return False
    return glob.has_magic(source) and not Path(source).exists()


def _fixed_part(pattern: str) -> str:
    """The folder above the first part with a wildcard."""
    parts = pattern.rstrip("/").split("/")
    first = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return "/".join(parts[:first])


def _output_in(source: str, name: str, folders: OutputOptions) -> OutputOptions:
    events = folders.events
    return replace(
        folders,
        output=_video_in(folders.video, source, name, folders) if folders.video else None,
        masks=folders.masks / output_name(name, "") if folders.masks else None,
        stats=folders.stats / output_name(name, ".csv") if folders.stats else None,
        events=str(Path(events) / output_name(name, ".jsonl")) if events and events != "-" else events,
    )


def _video_in(folder: Path, source: str, name: str, output: OutputOptions) -> str:
    suffix = ".mkv" if output.lossless else _path(source).suffix.lower()
    return str(folder / output_name(name, suffix if suffix in SUFFIXES else ".mp4"))


def _path(source: str) -> Path:
    return Path(unquote(urlsplit(source).path)) if "://" in source else Path(source)


def _stem(source: str) -> str:
    path = _path(source)
    name = path.resolve().name if path.is_dir() else path.stem
    return "stdin" if source == "-" else name or "video"
