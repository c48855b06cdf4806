"""Named pipes and a standard input of a test's own."""

import os
import threading
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def named_pipe(path: Path, *pieces: bytes, more: threading.Event | None = None):
    """A named pipe that gives these pieces, each but the first when there is to be `more`, to whoever reads it."""

    def write():
        try:
            with path.open("wb", buffering=0) as pipe:
                for piece in pieces:
                    pipe.write(piece)
                    if more:
                        more.wait(60)
        except BrokenPipeError:  # the reader has had enough
            pass

    os.mkfifo(path)
    writer = threading.Thread(target=write)
    writer.start()
    yield path
    writer.join()


@contextmanager
def standard_input(file: int):
    before = os.dup(0)
    os.dup2(file, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
