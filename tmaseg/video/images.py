"""Image files: which there are in a folder, in which order, how one becomes RGB, and how PNGs are written."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from tmaseg.arrays import RGB
from tmaseg.errors import OutputError, VideoError
from tmaseg.files import check_output_file, check_output_folder, output_file
from tmaseg.video.source import Frame

IMAGE_SUFFIXES = frozenset(
    {
        *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    }
)
"""Lower-case suffixes taken for images; one that cannot be decoded here is reported."""
_PAGED = frozenset({".apng", ".avif", ".gif", ".png", ".tif", ".tiff", ".webp"})
_SYSTEM = frozenset({"@eadir", "__macosx", "#recycle", "$recycle.bin", "system volume information", "lost+found"})
_ORIENTATION = 0x0112  # EXIF
_NO_DURATION = 100.0  # milliseconds: as in browsers

Size = tuple[int, int]  # (width, height)
Warn = Callable[[str], None]

# Folders --------------------------------------------------------------------------------------------------------------


def list_images(folder: Path) -> list[Path]:
    """The images of one folder in natural order, linked ones too; hidden and system files left out. Raises OSError."""
    with os.scandir(folder) as entries:
        found = [
            Path(entry)
            for entry in entries
            if Path(entry).suffix.lower() in IMAGE_SUFFIXES
            and not _is_hidden(entry.name)
            and (entry.is_file() or (entry.is_symlink() and not Path(entry).exists()))  # reading it is an error
        ]
    return sorted(found, key=lambda path: (natural_key(path.stem), path.name))


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder in natural order, linked ones too; hidden and system ones left out. Raises OSError."""
    with os.scandir(folder) as entries:
        found = [Path(entry) for entry in entries if entry.is_dir() and not _is_hidden(entry.name)]
    return sorted(found, key=lambda path: natural_key(path.name))


def walk_folders(root: Path, problems: list[str], *, leave_out: Collection[Path] = ()) -> Iterator[Path]:
    """`root` and every folder below it but the resolved ones in `leave_out`, in natural order, linked ones too.

    Links that lead in a circle, and folders that cannot be read, are left out and added to `problems`.
    """

    def walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
        try:
            below = list_folders(folder)
        except OSError as error:
            problems.append(f"{folder} cannot be read ({error.strerror}): its images are left out")
            return
        yield folder
        for each in below:
            real = each.resolve()
            if real in above:
                problems.append(f"{each} links to a folder above itself: it is skipped")
            elif real not in leave_out:
                yield from walk(each, above | {real})

    real_root = root.resolve()
    yield from walk(root, frozenset({real_root, *real_root.parents}))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names as people do: digits by their value, letters without regard to case."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM


# Reading --------------------------------------------------------------------------------------------------------------


class ImageReader:
    """Reads image files; a file with several pages is kept open between them. Not for several threads."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._image: Image.Image | None = None

    def read(self, path: Path, page: int = 0, *, warn: Warn | None = None) -> RGB:
        """Page `page` of a file, as `read_image`."""
        if page == 0:
            return read_image(path, warn=warn)
        with _clear_errors(path):
            if self._image is None or self._path != path:
                self.close()
                self._path, self._image = path, _open(path)
            self._image.seek(page)
            return _to_rgb(self._image, path, warn=warn)

    def close(self) -> None:
        """Closes the file that was read last; twice does no harm."""
        if self._image is not None:
            self._image.close()


def read_image(path: Path, *, mask_size: Callable[[], Size] | None = None, warn: Warn | None = None) -> RGB:
    """One image file as upright RGB (H, W, 3) uint8; 16 bits are reduced to 8, transparency is dropped.

    `mask_size` gives the (width, height) of its mask: where only the stored image has that size, it is not rotated.
    `warn` receives a sentence about a file that can be read but is odd. Raises VideoError.
    """
    try:
        with _clear_errors(path), _open(path) as image:
            return _to_rgb(image, path, mask_size=mask_size, warn=warn)
    except VideoError as error:
        deep = _read_deep(path, warn) if isinstance(error.__cause__, UnidentifiedImageError) else None
        if deep is None:
            raise
        return deep


def image_size(path: Path, *, mask_size: Callable[[], Size] | None = None) -> Size:
    """(width, height) that `read_image` gives, where possible from the header. Raises VideoError."""
    try:
        with _clear_errors(path), _open(path) as image:
            width, height = image.size
            return (height, width) if _orientation(image, mask_size) > 4 else (width, height)
    except VideoError:
        height, width = read_image(path).shape[:2]
        return width, height


def image_pages(path: Path) -> list[int]:
    """The frames of an animated image, or the pages of a TIFF with the first one's size; [0] for any other file."""
    suffix = path.suffix.lower()
    with suppress(VideoError), _clear_errors(path):
        if suffix in _PAGED and (suffix != ".png" or _is_animated_png(path)):
            with _open(path) as image:
                count = getattr(image, "n_frames", 1)
                if image.format == "TIFF":
                    return [page for page in range(count) if _size_of(image, page) == _size_of(image, 0)]
                # An animated PNG may begin with an image for viewers without animation.
                return list(range(1 if getattr(image, "default_image", False) else 0, count))
    return [0]


def page_milliseconds(path: Path, pages: list[int]) -> list[float] | None:
    """Duration of each page; None for formats without durations. Raises VideoError."""
    durations = []
    with _clear_errors(path), _open(path) as image:
        if image.format == "TIFF":
            return None
        for page in pages:
            image.seek(page)
            image.load()
            durations.append(float(image.info.get("duration") or _NO_DURATION))
    return durations


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except VideoError:
        raise
    except Exception as error:  # decoders raise anything at files that are damaged or of another kind
        raise VideoError(f"{path} is not an image that can be read ({_reason(error)}); get the file again") from error


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        from pillow_heif import register_heif_opener  # takes a while, for few files

        register_heif_opener(thumbnails=False)
        return Image.open(path)


def _to_rgb(
    image: Image.Image, path: Path, *, mask_size: Callable[[], Size] | None = None, warn: Warn | None = None
) -> RGB:
    deep = image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    image.load()
    if image.mode == "F":
        raise VideoError(f"{path} holds floating-point values; give an 8 or 16 bit image")
    if _orientation(image, mask_size) > 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint32)
        values = (values >> 8 if image.mode != "I" or values.max() > 255 else values).clip(0, 255)
        rgb = np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)
    else:
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        rgb = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    if deep:
        _check_depth(rgb, path, warn)
    return rgb


def _orientation(image: Image.Image, mask_size: Callable[[], Size] | None) -> int:
    """The EXIF orientation to apply; 1: none, above 4: width and height swap."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation not in range(2, 9):
        return 1
    if orientation > 4 and mask_size and image.width != image.height and mask_size() == image.size:
        return 1
    return int(orientation)


def _check_depth(rgb: RGB, path: Path, warn: Warn | None) -> None:
    if warn and rgb.max(initial=0) < 16:
        warn(f"{path.name} holds 12 bits or less in 16: it is read as nearly black; multiply its values by 16")


def _read_deep(path: Path, warn: Warn | None) -> RGB | None:
    """16 bit colour TIFFs, which Pillow does not know; None for other files."""
    data = path.read_bytes()
    if not data.startswith((b"II*\0", b"MM\0*")):  # OpenCV complains on standard error
        return None
    with suppress(cv2.error):
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if bgr is not None:
            rgb = np.ascontiguousarray(bgr[..., ::-1], np.uint8)
            _check_depth(rgb, path, warn)
            return rgb
    return None


def _is_animated_png(path: Path) -> bool:
    """Whether the chunk of animations comes before the pixels."""
    with path.open("rb") as file:
        return b"acTL" in file.read(4096).partition(b"IDAT")[0]


def _size_of(image: Image.Image, page: int) -> Size:
    image.seek(page)
    return image.size


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "of no kind that is known"
    return " ".join(str(error).split())[:120] or type(error).__name__


# Writing --------------------------------------------------------------------------------------------------------------

Existing = Literal["refuse", "replace", "keep"]


class ImageWriter:
    """PNGs in a folder, one for each frame, each complete or absent; finished ones stay when a later one fails.

    `name(frame)` gives the stem; by default the frame's index, six digits. `existing` is for a PNG of that name
    that is there: refuse (OutputError), replace, or keep it and write nothing. The folder is made with the first one.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        palette: NDArray[np.uint8] | None = None,
        name: Callable[[Frame], str] | None = None,
        existing: Existing = "refuse",
    ) -> None:
        """`palette` (256, 3): of labels. Raises OutputError when `folder` is a file or cannot be written."""
        self.folder = Path(folder)
        self._name = name or (lambda frame: f"{frame.index:06d}")
        self._palette, self._existing = palette, existing
        check_output_folder(next(folder for folder in (self.folder, *self.folder.parents) if folder.exists()))

    def write(self, frame: Frame, labels: NDArray[np.uint8] | None = None) -> None:
        """Writes the frame's pixels as RGB, or labels (H, W) as 8 bit grey or with the palette. Raises OutputError."""
        stem = self._name(frame)
        if not stem or stem != os.path.basename(stem):  # noqa: PTH119
            raise OutputError(f"{stem!r} cannot name an image in {self.folder}; give a name without slashes")
        path = self.folder / f"{stem}.png"
        if path.exists():
            if self._existing == "keep":
                return
            check_output_file(path, overwrite=self._existing == "replace")
        image = Image.fromarray(np.ascontiguousarray(frame.rgb if labels is None else labels, np.uint8))
        if labels is not None and self._palette is not None:
            image.putpalette(self._palette.tobytes())
        missing = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        try:
            with output_file(path, "the image") as part:
                image.save(part, "PNG")
        except BaseException:
            for folder in missing:
                with suppress(OSError):  # it holds the folder of another format
                    folder.rmdir()
            raise
