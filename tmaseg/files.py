"""Files of the whole package: atomic writes, safe output names, and the memory that this process holds."""

import ctypes
import fcntl
import os
import resource
import secrets
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from tmaseg.errors import OutputError

_MAX_NAME = 255  # bytes, of the file systems in use
_PROCESS = Path("/proc/self")  # Linux

# Atomic writes --------------------------------------------------------------------------------------------------------


class PartFile:
    """A file that is written under `path`, a hidden name beside `target`, and takes its own name when complete.

    The part file is made and locked when `path` is first read. The lock tells a file in use from one that a killed
    process left behind, which the next write to the same target takes over.
    """

    _in_progress: ClassVar[set["PartFile"]] = set()

    def __init__(self, target: Path) -> None:
        self.target = Path(os.path.abspath(target))  # noqa: PTH100  (FFmpeg takes "12:30.mp4" for an address)
        self._lock: int | None = None

    @cached_property
    def path(self) -> Path:
        """The name to write under; the file is there, empty. Raises OSError where none can be made."""
        name = shorten(self.target.name, _MAX_NAME - 20)
        path = self.target.with_name(f".{name}.part")
        while (lock := _locked(path)) is None:  # another process writes it, or another name begins alike
            path = self.target.with_name(f".{name}.{secrets.token_hex(4)}.part")
        self._lock = lock
        self._in_progress.add(self)
        return path

    def commit(self) -> None:
        """Moves the file to its own name; nothing is left behind when that fails. Raises OSError."""
        try:
            self.path.replace(self.target)
        except OSError:
            self.discard()
            raise
        self._release()

    def discard(self) -> None:
        """Removes what was written; twice does no harm."""
        if self._lock is not None:
            with suppress(OSError):
                self.path.unlink()
            self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            self._in_progress.discard(self)


def discard_part_files() -> None:
    """Removes every part file that this process is writing."""
    for part in tuple(PartFile._in_progress):
        part.discard()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields the name to write under, in the folder of `path`; without an error in the block, it becomes `path`.

    With one, OSError of the move included, what was written is removed, a file that was at `path` stays as it was, and
    the error goes on: its wording is the caller's, who knows what the file was for.
    """
    part = PartFile(path)
    try:
        yield part.path
        part.commit()
    except BaseException:
        part.discard()
        raise


@contextmanager
def output_file(path: Path, what: str) -> Iterator[Path]:
    """`atomic_write` of "the picture" or the like, folders included. Raises OutputError that says what it is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            yield part
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"{path}: {what} cannot be written ({reason}): check the folder and the room there"
        ) from error


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """An OSError in the block, which writes `path`, becomes an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; check the disk and the folder") from error


def _locked(path: Path) -> int | None:
    """A descriptor of the empty file `path` that holds its lock; None while another one holds it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        except OSError:  # a file system without locks
            pass
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                os.ftruncate(file, 0)
                return file
        os.close(file)  # its writer has moved it to its own name in between


# Output names ---------------------------------------------------------------------------------------------------------


def output_names(names: Iterable[str], suffix: str) -> list[Path]:
    """A relative path for the output of each input, from the inputs' names without suffix; "/" parts folders.

    Never absolute, never above the folder that it is put into, no part longer than 255 bytes with `suffix`, and no two
    alike, on file systems that ignore case and composition either. A name that is safe already is kept. The result for
    a name depends on the others only where they would collide.
    """
    names = list(names)
    safe = [_safe_parts(name, suffix) for name in names]
    found = Counter(_folded(parts) for parts in safe)
    taken: set[str] = set()
    outputs = []
    for name, plain in zip(names, safe, strict=True):
        parts = plain
        if found[_folded(plain)] > 1:
            digest = sha256(name.encode(errors="surrogateescape")).hexdigest()
            parts = _with_ending(plain, f"-{digest[:8]}", suffix)
        count = 1
        while _folded(parts) in taken:
            count += 1
            parts = _with_ending(plain, f"-{count}", suffix)
        taken.add(_folded(parts))
        outputs.append(Path(*parts[:-1], parts[-1] + suffix))
    return outputs


def output_name(name: str, suffix: str) -> Path:
    """`output_names` of one name alone."""
    return output_names([name], suffix)[0]


def check_not_read(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raises OutputError when writing one of `outputs` would replace one of `inputs`, links included."""
    there = {(stat.st_dev, stat.st_ino): path for path in outputs if (stat := _stat(path))}
    for path in inputs if there else ():
        stat = _stat(path)
        if stat and (stat.st_dev, stat.st_ino) in there:
            output = there[stat.st_dev, stat.st_ino]
            raise OutputError(f"the output {output} is the input itself, which would be lost; give another name")


def check_output_file(path: Path, *, overwrite: bool) -> None:
    """Raises OutputError when a file can not be made at `path`, or is there and may not be replaced."""
    check_output_folder(Path(os.path.abspath(path)).parent)  # noqa: PTH100  (as `PartFile`)
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; give --overwrite to replace it, or another name")


def check_output_folder(folder: Path) -> None:
    """Raises OutputError unless files can be made in `folder`."""
    if not folder.exists():
        raise OutputError(f"the folder {folder} does not exist; make it first, or give another output")
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder; give another output")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {folder} cannot be written: no permission; give another output")


def shorten(name: str, limit: int) -> str:
    """At most `limit` bytes of a file name, no character cut."""
    data = os.fsencode(name)
    if len(data) <= limit:
        return name
    while limit and data[limit] & 0xC0 == 0x80:  # inside a character
        limit -= 1
    return os.fsdecode(data[:limit])


def _safe_parts(name: str, suffix: str) -> list[str]:
    parts = [part for part in name.replace("\0", "").split("/") if part not in ("", ".", "..")] or ["unnamed"]
    return [
        *(shorten(part, _MAX_NAME) for part in parts[:-1]),
        shorten(parts[-1], _MAX_NAME - len(os.fsencode(suffix))),
    ]


def _with_ending(parts: Sequence[str], ending: str, suffix: str) -> list[str]:
    return [*parts[:-1], shorten(parts[-1], _MAX_NAME - len(os.fsencode(ending + suffix))) + ending]


def _folded(parts: Sequence[str]) -> str:
    return unicodedata.normalize("NFC", "/".join(parts).casefold())


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


# Memory of this process -----------------------------------------------------------------------------------------------

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT_BYTES = 2**30


def keep_freed_memory() -> None:
    """Has the C library keep what is freed for what is allocated next, where there is a library that can be told."""
    # Every frame allocates the same tensors again. Given back to the system in between, their pages are cleared and
    # mapped each time: 11 ms of CPU time a frame of 960x540.
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(parameter, _KEPT_BYTES)


def resident_mb() -> float:
    """Resident memory now, in MB of 2**20 bytes; the peak so far where the system tells no more."""
    now = _status("VmRSS")
    return _lifetime_peak() if now is None else now


def peak_resident_mb() -> float:
    """Peak of the resident memory so far, or since `reset_peak`, in MB of 2**20 bytes."""
    # Linux's own count first: the other one begins with that of the process that started this one.
    peak = _status("VmHWM")
    return _lifetime_peak() if peak is None else peak


def reset_peak() -> bool:
    """Starts the peak again at what is held now, where Linux lets it; returns whether it did."""
    # Memory that was freed but kept for later would pass for memory that is in use.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status(name: str) -> float | None:
    try:
        status = (_PROCESS / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return next((float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{name}:")), None)


def _lifetime_peak() -> float:
    unit = 1024 if sys.platform == "darwin" else 1  # kilobytes, but bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / unit
