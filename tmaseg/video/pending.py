"""A file that appears under its name only when it is complete."""

import contextlib
import os
import secrets
from pathlib import Path

from tmaseg.errors import OutputError


class PendingFile:
    """Write to `temporary`, then `complete` or `discard`. Both names are in one folder, so the move is atomic."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        """Raises OutputError when the file exists and may not be replaced, or its folder cannot be written."""
        self.path = Path(os.path.abspath(path))  # noqa: PTH100  # a name such as "12:30.mp4" is an address to FFmpeg
        check_folder(self.path.parent)
        if self.path.is_dir():
            raise OutputError(f"{path} is a folder; give the name of a file")
        if self.path.exists() and not overwrite:
            raise OutputError(f"{path} exists already; give --overwrite to replace it, or another name")
        # Cut short: with the random part the name must stay within the 255 bytes of a file name.
        self.temporary = self.path.with_name(f".{self.path.name[:100]}.{secrets.token_hex(4)}.part")

    def complete(self) -> None:
        """Move to the final name. Raises OutputError."""
        try:
            self.temporary.replace(self.path)
        except OSError as error:
            self.discard()
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error

    def discard(self) -> None:
        """Remove what was written; twice does no harm."""
        with contextlib.suppress(OSError):
            self.temporary.unlink()


def check_folder(folder: Path) -> None:
    """Raise OutputError unless files can be made in `folder`."""
    if not folder.exists():
        raise OutputError(f"the folder {folder} does not exist; make it first, or give another output")
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder; give another output")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {folder} cannot be written: no permission; give another output")
