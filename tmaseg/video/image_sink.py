"""Folders of pictures as sinks: PNG frames and PNG masks."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tmaseg.arrays import Labels
from tmaseg.errors import OutputError
from tmaseg.files import atomic_write, check_output_file, check_output_folder
from tmaseg.video.source import Frame

Existing = Literal["refuse", "replace", "keep"]
MaskStyle = Literal["ids", "indexed", "color"]


class PictureFolder:
    """PNG pictures in a folder, one for each frame, each complete or absent.

    `name(frame)` gives the stem; by default the frame's index, six digits. `existing` is for a picture of that name
    that is there: refuse (OutputError), replace, or keep it and write nothing. The folder is made when the first
    picture is written. Finished pictures stay when a later one fails.
    """

    folder: Path

    def __init__(
        self, folder: str | Path, *, name: Callable[[Frame], str] | None = None, existing: Existing = "refuse"
    ) -> None:
        """Raises OutputError when `folder` is a file, or cannot be created or written."""
        self.folder = Path(folder)
        self._name, self._existing = name or _by_index, existing
        check_output_folder(next(folder for folder in (self.folder, *self.folder.parents) if folder.exists()))

    def path_of(self, frame: Frame) -> Path:
        """Where a frame's picture goes. Raises OutputError for a name that leaves the folder."""
        stem = self._name(frame)
        if not stem or stem != os.path.basename(stem):  # noqa: PTH119
            raise OutputError(f"{stem!r} cannot name a picture in {self.folder}; give a name without slashes")
        return self.folder / f"{stem}.png"

    def wants(self, frame: Frame) -> bool:
        """Whether this frame is to be written: its picture is not there, or is not kept."""
        return not (self._existing == "keep" and self.path_of(frame).exists())

    def _save(self, frame: Frame, image: Image.Image) -> None:
        path = self.path_of(frame)
        lacking = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            check_output_file(path, overwrite=self._existing == "replace")
            with atomic_write(path) as part:
                image.save(part, "PNG")
        except BaseException as error:
            for folder in lacking:
                with contextlib.suppress(OSError):  # it holds the folder of another format
                    folder.rmdir()
            if isinstance(error, OSError):
                raise OutputError(
                    f"{path} cannot be written: {error.strerror}; check the disk and the folder"
                ) from error
            raise


class PictureSink(PictureFolder):
    """Frames as RGB PNGs; see `PictureFolder`."""

    def write(self, frame: Frame) -> None:
        """Write `frame.rgb` as an 8 bit RGB PNG. Raises OutputError."""
        if self.wants(frame):
            self._save(frame, Image.fromarray(np.ascontiguousarray(frame.rgb)))


class MaskSink(PictureFolder):
    """Masks as PNGs; see `PictureFolder`. `write` takes class ids beside the frame.

    style: "ids", 8 bit grey, the value is the class id; "indexed", the same with a palette; "color", RGB.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        style: MaskStyle = "ids",
        palette: NDArray[np.uint8] | None = None,
        name: Callable[[Frame], str] | None = None,
        existing: Existing = "refuse",
    ) -> None:
        """`palette` is (256, 3) uint8, wanted by "indexed" and "color". Raises OutputError as `PictureFolder`."""
        super().__init__(folder, name=name, existing=existing)
        assert style == "ids" or palette is not None
        self._style, self._palette = style, palette

    def write(self, frame: Frame, labels: Labels) -> None:
        """Write labels (H, W) uint8 as the mask of `frame`, whose pixels are not used. Raises OutputError."""
        if self.wants(frame):
            self._save(frame, self._image(np.ascontiguousarray(labels, np.uint8)))

    def _image(self, labels: Labels) -> Image.Image:
        if self._style == "ids" or self._palette is None:
            return Image.fromarray(labels)
        if self._style == "color":
            return Image.fromarray(self._palette[labels])
        image = Image.fromarray(labels)
        image.putpalette(self._palette.tobytes())
        return image


def _by_index(frame: Frame) -> str:
    return f"{frame.index:06d}"
