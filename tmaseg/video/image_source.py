"""A folder of images, or a single one, as a source."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path

from tmaseg.arrays import RGB
from tmaseg.errors import VideoError
from tmaseg.video.colour import letterbox
from tmaseg.video.frame import Frame
from tmaseg.video.images import ImageReader, image_pages, list_folders, list_images, page_milliseconds
from tmaseg.video.source import Damage, ReadOptions, Source, StreamInfo

_DEFAULTS = ReadOptions()
_MILLISECOND = Fraction(1, 1000)


class ImageSource(Source):
    """Images of one folder in natural order (9.png before 10.png), or one image file.

    Frames come at a constant rate, those of an animated file (APNG, WebP, AVIF) with its own times. A file with several
    pictures, such as a TIFF with pages, gives a frame for each. `Frame.index` is the position in `paths`, unreadable
    images counted, so `source.paths[frame.index]` is the file of a frame. 8 and 16 bit, grey, RGBA and palette images
    become RGB; EXIF orientation is applied. With `one_size=True` (default) images of another size are letterboxed to
    the first one's, as in a video; with False each keeps its own size. `Frame.discontinuity` is set where the size
    changes, and where another sequence begins: at an animated file, and where the wording of the file names changes
    (`a_09.png`, `b_00.png`). Sub-folders are not read.
    """

    paths: tuple[Path, ...]
    """The file of each frame."""
    names: tuple[str, ...]
    """A name for each frame, all different: the file's stem, with the suffix where two files share it, and the number
    of the picture in a file that has several."""

    def __init__(self, folder: str | Path, options: ReadOptions = _DEFAULTS, *, one_size: bool = True) -> None:
        """Find the images; a single file is a sequence of one.

        Raises VideoError when `folder` is missing, unreadable, or holds no image that can be read.
        """
        super().__init__()
        self._options, self._one_size = options, one_size
        self._unreadable: list[str] = []
        self._resized = 0
        self._reader = ImageReader()
        self._find(Path(folder))
        self._wanted = self._choose(Path(folder))
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
        self.info = StreamInfo(
            name=str(folder),
            width=self._size[0],
            height=self._size[1],
            rate=self._rate / options.every,
            time_base=_MILLISECOND if self._starts else 1 / self._rate,
            frames=len(self._wanted),
            seconds=float(self._length()),
            start=options.exact_start,
            codec=self.paths[self._wanted[0]].suffix[1:].lower(),
            colour="rgb",
        )

    @property
    def damage(self) -> Damage:
        """Missing numbers (known at once) and unreadable images (found on the way)."""
        return Damage(missing=self._missing, unreadable=tuple(self._unreadable), resized=self._resized)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in natural order of their file names; each time from the first."""
        before: tuple[str, tuple[int, int]] | None = None
        for index in self._wanted:
            rgb = self._read(index)
            if rgb is None:
                continue
            path = self.paths[index]
            sequence = path.name if self._counts[path] > 1 else wording(path.stem)
            now = (sequence, (rgb.shape[1], rgb.shape[0]))
            discontinuity, before = before not in (None, now), now
            pts, end = self._ticks(index), self._ticks(min(index + self._options.every, len(self.paths)))
            yield Frame(self._fit(rgb, path), pts, self.info.time_base, index, discontinuity, end - pts)

    def close(self) -> None:
        """Lets go of a file with several pictures."""
        self._reader.close()

    def _find(self, folder: Path) -> None:
        """Finds the pictures, their names and times."""
        files = [folder] if folder.is_file() else _images_in(folder)
        self._missing = missing_numbers([path.stem for path in files])
        pages = {path: image_pages(path) for path in files}
        self._counts = {path: len(found) for path, found in pages.items()}
        self.paths = tuple(path for path in files for _ in pages[path])
        self._pages = [page for path in files for page in pages[path]]
        stems = Counter(path.stem for path in files)
        stem = {path: path.stem if stems[path.stem] == 1 else path.name for path in files}
        self.names = tuple(
            stem[path] + (f"_{number:04d}" if self._counts[path] > 1 else "")
            for path in files
            for number in range(self._counts[path])
        )
        several = [path for path in files if self._counts[path] > 1]
        if several and not folder.is_file():
            total, name = sum(self._counts[path] for path in several), several[0].name
            holders = f"{name} holds" if len(several) == 1 else f"{len(several)} files ({name} ...) hold"
            self._warnings.append(f"{holders} {total} pictures: each is a frame of its own")
        self._rate = self._options.image_rate
        self._starts: list[Fraction] = []
        durations = page_milliseconds(folder, pages[folder]) if folder.is_file() and len(self._pages) > 1 else None
        if durations:
            usual = Counter(durations).most_common(1)[0][0]
            self._rate = 1 / (Fraction(usual).limit_denominator(1000) * _MILLISECOND)
            exact = [Fraction(duration).limit_denominator(1000) * _MILLISECOND for duration in durations]
            self._starts = list(accumulate(exact, initial=Fraction(0)))  # the last is the end

    def _ticks(self, index: int) -> int:
        return round(self._starts[index] / _MILLISECOND) if self._starts else index

    def _start_of(self, index: int) -> Fraction:
        return self._starts[index] if self._starts else index / self._rate

    def _length(self) -> Fraction:
        """Seconds of what is wanted, each frame being shown until the next."""
        every, wanted = self._options.every, self._wanted
        if not self._starts:
            return len(wanted) * every / self._rate
        return self._starts[min(wanted[-1] + every, len(self.paths))] - self._starts[wanted[0]]

    def _choose(self, folder: Path) -> list[int]:
        """Positions between start and end, every n-th."""
        start, end = self._options.exact_start or 0, self._options.exact_end
        starts = [self._start_of(index) for index in range(len(self.paths))]
        chosen = [index for index, time in enumerate(starts) if start <= time and (end is None or time < end)]
        if not chosen:
            raise VideoError(
                f"{folder} has no image between --start and --end: {len(self.paths)} images are "
                f"{float(self._start_of(len(self.paths))):.2f} s at {self._rate} a second"
            )
        return chosen[:: self._options.every]

    def _read(self, index: int) -> RGB | None:
        path = self.paths[index]
        try:
            return self._reader.read(path, self._pages[index], warn=self._warn)
        except VideoError:
            if path.name not in self._unreadable:
                self._unreadable.append(path.name)
            return None

    def _warn(self, sentence: str) -> None:
        if not any(said.partition(" ")[2] == sentence.partition(" ")[2] for said in self._warnings):  # of another file
            self._warnings.append(sentence)

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


def _images_in(folder: Path) -> list[Path]:
    try:
        images = list_images(folder)
        inner, others = len(list_folders(folder)), sum(1 for _ in folder.iterdir())
    except FileNotFoundError as error:
        raise VideoError(f"{folder} does not exist; give a folder of images") from error
    except OSError as error:
        raise VideoError(f"{folder} cannot be read: {error.strerror}") from error
    if not images:
        hint = f"its {inner} sub-folders may" if inner else f"it has {others} other files" if others else "it is empty"
        raise VideoError(f"{folder} holds no images ({hint}); give a folder of PNG, JPEG, TIFF, BMP or WebP files")
    return images


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
