"""Files that are there whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields the name to write under, in the folder of `path`; without an error in the block, it becomes `path`.

    With one, OSError of the move included, what was written is removed, a file that was at `path` stays as it was, and
    the error goes on: its wording is the caller's, who knows what the file was for.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
