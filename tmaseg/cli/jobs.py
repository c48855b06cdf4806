"""Jobs of `tmaseg run`: which source goes where."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import check_not_read, output_name
from tmaseg.pipeline import Targets
from tmaseg.video.sink import SUFFIXES


@dataclass(frozen=True)
class Job:
    """One source and its outputs."""

    source: str
    """As the user gave it."""
    targets: Targets


def plan_jobs(
    sources: Sequence[str], targets: Targets, *, into_folder: bool = False, lossless: bool = False
) -> list[Job]:
    """One job for each source.

    For several sources `targets` are folders, where each source gets outputs of its own name. For one, only the video
    may be a folder, if it exists or `into_folder` says so. Raises ConfigError where two sources would share an output.
    """
    sources = list(dict.fromkeys(sources))
    if len(sources) < 2:
        source = sources[0]
        if targets.video and (into_folder or targets.video.is_dir()):
            targets = replace(targets, video=targets.video / output_name(_stem(source), _suffix(source, lossless)))
        return [Job(source, targets)]
    for flag, path, ending in (("-o", targets.video, SUFFIXES), ("--stats", targets.stats, (".csv",))):
        if path and path.suffix.lower() in ending and not path.is_dir():
            raise ConfigError(f"{flag} {path} is a file, but there are {len(sources)} sources: give a folder")
    jobs = [Job(source, _targets_in(source, targets, lossless)) for source in sources]
    owner: dict[Path, str] = {}
    for job in jobs:
        for path in (job.targets.video, job.targets.masks, job.targets.stats):
            if path and owner.setdefault(path, job.source) != job.source:
                raise ConfigError(f"{owner[path]} and {job.source} would both become {path}: run them one by one")
    check_not_read(list(owner), [_path(source) for source in sources])
    return jobs


def make_folders(jobs: Sequence[Job]) -> list[Path]:
    """Makes the folders that videos and statistics of several jobs go to; those that were made. Raises OutputError."""
    made = []
    for path in (path for job in jobs for path in (job.targets.video, job.targets.stats) if path):
        if path.parent.exists():
            continue
        try:
            path.parent.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"the folder {path.parent} cannot be made: {error.strerror}") from error
        made.append(path.parent)
    return made


def _targets_in(source: str, folders: Targets, lossless: bool) -> Targets:
    stem = _stem(source)
    return Targets(
        video=folders.video / output_name(stem, _suffix(source, lossless)) if folders.video else None,
        masks=folders.masks / output_name(stem, "") if folders.masks else None,
        stats=folders.stats / output_name(stem, ".csv") if folders.stats else None,
    )


def _path(source: str) -> Path:
    return Path(unquote(urlsplit(source).path)) if "://" in source else Path(source)


def _stem(source: str) -> str:
    path = _path(source)
    name = path.resolve().name if path.is_dir() else path.stem
    return name or "video"


def _suffix(source: str, lossless: bool) -> str:
    suffix = _path(source).suffix.lower()
    return ".mkv" if lossless else suffix if suffix in SUFFIXES else ".mp4"
