"""Sources and outputs on a storage service (s3://, gs://, az:// ...): fetched before a run and sent after it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tmaseg.errors import OutputError, TmasegError, VideoError

if TYPE_CHECKING:
    from tmaseg.pipeline.jobs import Job

_FFMPEGS = {"http", "https", "file", "local", "data"}  # read without a copy, or no service
_WITH_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs"}


def remote_url(name: str | Path) -> str | None:
    """The URL on a storage service that `name` is, also as a path, which has lost a slash; None for any other name."""
    match = re.fullmatch(r"([a-z][a-z0-9]+):/+([^/].*)", str(name))
    if match is None or match[1] in _FFMPEGS or Path(name).exists():
        return None
    from fsspec import available_protocols

    return f"{match[1]}://{match[2]}" if match[1] in available_protocols() else None


def exists(path: Path) -> bool:
    """Whether an output is there, as a file or on a storage service. Raises OutputError."""
    url = remote_url(path)
    return path.exists() if url is None else bool(_call(OutputError, url, "exists"))


def list_remote(pattern: str) -> list[str]:
    """The URLs of the files that a pattern matches, or that are below a folder. Raises VideoError."""
    url = remote_url(pattern)
    assert url is not None
    scheme = url.partition("://")[0]
    paths = _call(VideoError, url, "glob" if any(sign in url for sign in "*?[") else "find")
    return sorted(f"{scheme}://{path.lstrip('/')}" for path in paths)


@contextmanager
def localized(job: "Job") -> Iterator["Job"]:
    """The job with local files in place of URLs: its source is fetched, its outputs are sent when the block ends.

    Nothing is sent after an error in the block. The job itself where it has no URL. Raises VideoError, OutputError.
    """
    output = job.options.output
    source = remote_url(job.source)
    urls = {
        name: url for name in ("output", "masks", "stats", "events") if (url := remote_url(getattr(output, name) or ""))
    }
    if not source and not urls:
        yield job
        return
    if output.resume and urls:
        raise OutputError("--resume keeps its parts beside the output: give a file, and send it when it is complete")
    with TemporaryDirectory(prefix="tmaseg-") as folder:
        places = {name: Path(folder) / name / Path(url).name for name, url in urls.items()}
        for name, url in urls.items():
            _check_output(url, output.overwrite)
            places[name].parent.mkdir()
        values: dict[str, Any] = {
            name: str(path) if name in ("output", "events") else path for name, path in places.items()
        }
        local = replace(job, options=replace(job.options, output=replace(output, **values)))
        if source:
            fetched = Path(folder) / "source" / Path(source).name
            directory = _call(VideoError, source, "isdir")
            _call(VideoError, source, "get", f"{fetched}{'/' if directory else ''}", recursive=directory)
            local = replace(local, source=str(fetched))
        yield local
        for name, url in urls.items():
            _send(places[name], url)


def _send(path: Path, url: str) -> None:
    filesystem, target = _open(OutputError, url)
    with _explained(OutputError, url):
        if path.is_dir():
            filesystem.put(f"{path}/", f"{target.rstrip('/')}/", recursive=True)
        else:
            filesystem.put_file(str(path), target)


def _check_output(url: str, overwrite: bool) -> None:
    scheme, _, rest = url.partition("://")
    bucket = f"{scheme}://{rest.partition('/')[0]}"
    if scheme in _WITH_BUCKETS and not _call(OutputError, bucket, "exists"):
        raise OutputError(f"{bucket} does not exist, or these credentials may not see it; make the bucket first")
    if not overwrite and _call(OutputError, url, "exists"):
        raise OutputError(f"{url} exists already; give --overwrite to replace it, or another name")


def _call(kind: type[TmasegError], url: str, method: str, *arguments: Any, **options: Any) -> Any:
    """A method of the URL's file system, with the URL's path. Raises `kind`."""
    filesystem, path = _open(kind, url)
    with _explained(kind, url):
        return getattr(filesystem, method)(path, *arguments, **options)


def _open(kind: type[TmasegError], url: str) -> tuple[Any, str]:
    import fsspec

    with _explained(kind, url):
        filesystem, path = fsspec.core.url_to_fs(url)
        filesystem.invalidate_cache()  # others write there
        return filesystem, path


@contextmanager
def _explained(kind: type[TmasegError], url: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise kind(f"{url} needs another package: {error}") from error
    except FileNotFoundError as error:
        raise kind(f"{url} does not exist; check the bucket and the name") from error
    except Exception as error:  # each service's library has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise kind(f"{url} cannot be reached: {reason}; check the address and the credentials") from error
