"""A folder of images, or a single one, as a source."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from tmaseg.errors import VideoError
from tmaseg.video.colour import letterbox
from tmaseg.video.facts import Damage, ReadOptions, StreamInfo
from tmaseg.video.frame import RGB, Frame
from tmaseg.video.images import IMAGE_SUFFIXES, natural_key, read_image

_DEFAULTS = ReadOptions()


class ImageSource:
    """Images of one folder in natural order (9.png before 10.png), one frame each at a constant rate.

    `Frame.index` is the position in `paths`, unreadable images counted, so `source.paths[frame.index]` is the file
    of a frame. 8 and 16 bit, grey, RGBA and palette images become RGB; EXIF orientation is applied. With
    `one_size=True` (default) images of another size are letterboxed to the first one's, as in a video; with False
    each keeps its own size. `Frame.discontinuity` is set where the size changes, and where the wording of the file
    names does (`a_09.png`, `b_00.png`: another sequence). Sub-folders are not read.
    """

    paths: tuple[Path, ...]

    def __init__(self, folder: str | Path, options: ReadOptions = _DEFAULTS, *, one_size: bool = True) -> None:
        """Find the images; a single file is a sequence of one.

        Raises VideoError when `folder` is missing, unreadable, or holds no image that can be read.
        """
        self._options, self._one_size = options, one_size
        self.paths = _find(Path(folder))
        self._missing = missing_numbers([path.stem for path in self.paths])
        self._unreadable: list[str] = []
        self._resized = 0
        self._warnings: list[str] = []
        self._wanted = self._choose()
        for position, index in enumerate(self._wanted):
            first = self._read(index)
            if first is not None:
                self._wanted = self._wanted[position:]
                break
        else:
            raise VideoError(
                f"{folder}: none of its {len(self._wanted)} images can be read ({self._unreadable[0]}, ...); "
                "check that they open in a viewer"
            )
        self._size = (first.shape[1], first.shape[0])
        self._info = StreamInfo(
            name=str(folder),
            width=self._size[0],
            height=self._size[1],
            rate=options.rate / options.every,
            time_base=1 / options.rate,
            frames=len(self._wanted),
            seconds=float(len(self._wanted) * options.every / options.rate),
            start=options.exact_start,
            codec=self.paths[self._wanted[0]].suffix[1:].lower(),
            colour="rgb",
        )

    @property
    def info(self) -> StreamInfo:
        """The facts, with the first readable image's size."""
        return self._info

    @property
    def damage(self) -> Damage:
        """Missing numbers (known at once) and unreadable images (found on the way)."""
        return Damage(missing=self._missing, unreadable=tuple(self._unreadable), resized=self._resized)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences a user should read, each once; may grow while frames are read."""
        return tuple(self._warnings)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in natural order of their file names; each time from the first."""
        before: tuple[str, tuple[int, int]] | None = None
        for index in self._wanted:
            rgb = self._read(index)
            if rgb is None:
                continue
            now = (wording(self.paths[index].stem), (rgb.shape[1], rgb.shape[0]))
            discontinuity, before = before not in (None, now), now
            yield Frame(self._fit(rgb, self.paths[index]), index, self._info.time_base, index, discontinuity)

    def close(self) -> None:
        """Nothing is held open between frames."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _choose(self) -> list[int]:
        """Positions between start and end, every n-th."""
        start, end = self._options.exact_start, self._options.exact_end
        first = (start or 0) * self._options.rate
        last = len(self.paths) if end is None else end * self._options.rate
        chosen = [i for i in range(len(self.paths)) if first <= i < last]
        if not chosen:
            length = float(len(self.paths) / self._options.rate)
            raise VideoError(
                f"{self.paths[0].parent} has no image between --start and --end: "
                f"{len(self.paths)} images are {length:.2f} s at {self._options.rate} a second"
            )
        return chosen[:: self._options.every]

    def _read(self, index: int) -> RGB | None:
        path = self.paths[index]
        try:
            return read_image(path)
        except VideoError:
            if path.name not in self._unreadable:
                self._unreadable.append(path.name)
            return None

    def _fit(self, rgb: RGB, path: Path) -> RGB:
        width, height = self._size
        if not self._one_size or rgb.shape[:2] == (height, width):
            return rgb
        if not self._resized:
            self._warnings.append(
                f"{path.name} is {rgb.shape[1]}x{rgb.shape[0]}, the first image {width}x{height}; "
                "images of another size are fitted into the first size"
            )
        self._resized += 1
        return letterbox(rgb, width, height)


def _find(folder: Path) -> tuple[Path, ...]:
    if folder.is_file():
        return (folder,)
    try:
        names = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except FileNotFoundError as error:
        raise VideoError(f"{folder} does not exist; give a folder of images") from error
    except OSError as error:
        raise VideoError(f"{folder} cannot be read: {error.strerror}") from error
    images = [path for path in names if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()]
    if not images:
        inner = sum(path.is_dir() for path in names)
        hint = (
            f"its {inner} sub-folders may" if inner else f"it has {len(names)} other files" if names else "it is empty"
        )
        raise VideoError(f"{folder} holds no images ({hint}); give a folder of PNG, JPEG, TIFF, BMP or WebP files")
    return tuple(sorted(images, key=lambda path: (natural_key(path.stem), path.name)))


def wording(stem: str) -> str:
    """The name with its numbers left out: the same for all pictures of a sequence."""
    return re.sub(r"\d+", "#", stem)


def missing_numbers(stems: list[str]) -> int:
    """How many names a numbered sequence lacks, going by its usual step (1, or 30 where every 30th is kept)."""
    numbers = defaultdict(list)
    for stem in stems:
        numbers[wording(stem)].append([int(number) for number in re.findall(r"\d+", stem)])
    missing = 0
    for rows in numbers.values():
        varying = [column for column in range(len(rows[0])) if len({row[column] for row in rows}) > 1]
        if varying:
            missing += _holes(rows, varying[-1])
    return missing


def _holes(rows: list[list[int]], column: int) -> int:
    sequences = defaultdict(set)
    for row in rows:
        sequences[tuple(row[:column])].add(row[column])
    gaps = Counter[int]()
    for values in sequences.values():
        ordered = sorted(values)
        gaps.update(after - before for before, after in pairwise(ordered))
    if not gaps:
        return 0
    step, times = max(gaps.items(), key=lambda item: (item[1], -item[0]))
    if 2 * times < gaps.total():  # no step to speak of: times of day, chosen frames
        return 0
    return sum(count * (gap // step - 1) for gap, count in gaps.items() if gap > step)
