"""Pipe: standard input or a named pipe, copied to a temporary file as its data arrive."""

import os
import select
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path

from tmaseg.errors import VideoError

_BLOCK = 1 << 16
_HEAD = 1024
_POLL_SECONDS = 0.1
_TS_PACKETS = ((0, 188), (4, 192))  # first sync byte and length of a packet: .ts, .m2ts
_STREAMED = (b"\0\0\1\xba", b"\x1aE\xdf\xa3", b"FLV")  # MPEG program stream, Matroska and WebM, Flash
_STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


class Pipe:
    """The data of a pipe, for any number of readers, each of which waits for what has not arrived."""

    def __init__(self, spec: str, timeout: float) -> None:
        """`timeout`: seconds that the pipe may stay silent. Raises VideoError when it cannot be opened."""
        self.spec = spec  # the name that the user gave
        self._timeout = timeout
        self._grown = threading.Condition()
        self._size, self._ended, self._full = 0, False, False
        self._last_data = time.monotonic()
        try:
            self._source = os.dup(0) if spec in _STDIN else os.open(spec, os.O_RDONLY | os.O_NONBLOCK)
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (nameless: it never stays behind)
        except OSError as error:
            raise VideoError(f"{self} cannot be read: {error.strerror}") from error
        self._thread = threading.Thread(target=self._copy, name="tmaseg-pipe", daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        return "standard input" if self.spec in _STDIN else self.spec

    def read(self, count: int, position: int) -> bytes:
        """At most `count` bytes from `position`; none at the end. Raises TimeoutError, and VideoError: no room left."""
        with self._grown:
            self._wait(position + 1)
            if self._full:
                folder = tempfile.gettempdir()
                raise VideoError(f"{self} does not fit into {folder}: name a folder with more room in TMPDIR")
            there = position < self._size and not self._file.closed
            return os.pread(self._file.fileno(), count, position) if there else b""

    def head(self) -> bytes:
        """The first 1024 bytes, or all where there are fewer. Raises as `read`."""
        with self._grown:
            self._wait(_HEAD)
        return self.read(_HEAD, 0)

    def size(self) -> int:
        """The number of bytes in all, when the pipe has ended. Raises TimeoutError."""
        with self._grown:
            self._wait(sys.maxsize)
            return self._size

    def stop(self) -> None:
        """Reads no more from the pipe: the data end here."""
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    def close(self) -> None:
        """Closes the pipe and the file; twice does no harm."""
        self.stop()
        self._thread.join()
        self._file.close()

    def _wait(self, size: int) -> None:
        while self._size < size and not self._ended:
            left = self._timeout - (time.monotonic() - self._last_data)
            if left <= 0:
                raise TimeoutError
            self._grown.wait(left)

    def _copy(self) -> None:
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        try:
            while not self._ended:
                if not poll.poll(1000 * _POLL_SECONDS):
                    continue
                try:
                    data = os.read(self._source, _BLOCK)
                except BlockingIOError:
                    continue
                if not data:
                    return
                left = memoryview(data)
                while left:
                    left = left[self._file.write(left) :]
                with self._grown:
                    self._size += len(data)
                    self._last_data = time.monotonic()
                    self._grown.notify_all()
        except OSError:
            self._full = True
        finally:
            os.close(self._source)
            self.stop()


class PipeReader:
    """A file object for PyAV."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._position = 0

    def read(self, count: int) -> bytes:
        """As `Pipe.read`, from the position, which moves on."""
        data = self._pipe.read(count, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Sets the position, also to data that have not arrived."""
        origin = (0, self._position, self._pipe.size() if whence == os.SEEK_END else 0)[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """The position of the next byte."""
        return self._position

    def seekable(self) -> bool:
        """False for streaming formats: FFmpeg would search for a length or an index at their end."""
        head = self._pipe.head()
        transport = any(head[first::length][:2] == b"GG" for first, length in _TS_PACKETS)
        return not transport and not head.startswith(_STREAMED)


def open_pipe(spec: str | Path, timeout: float) -> Pipe | Path | None:
    """The Pipe that `spec` names, or the Path of a file redirected to standard input, or None. Raises VideoError."""
    path = Path("/dev/stdin" if str(spec) == "-" else spec)
    try:
        mode = os.fstat(0).st_mode if str(path) in _STDIN else path.stat().st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return Pipe(str(spec), timeout)
    if stat.S_ISCHR(mode) and str(spec) in _STDIN:
        raise VideoError("standard input is no video: pipe one in (cat FILE | tmaseg run - ...), or name a file")
    if stat.S_ISCHR(mode):
        raise VideoError(
            f"{spec} is a device; give a file, or pipe what it records into tmaseg: "
            f"ffmpeg -i {spec} -f mpegts - | tmaseg run - ..."
        )
    return path if str(spec) == "-" else None
