"""A folder of images, or a single one, as a source."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path

from tmaseg.arrays import RGB
from tmaseg.errors import VideoError
from tmaseg.video.colour import Letterbox
from tmaseg.video.images import ImageReader, image_pages, list_folders, list_images, page_milliseconds
from tmaseg.video.source import Damage, Frame, ReadOptions, Source, StreamInfo

_DEFAULTS = ReadOptions()


class ImageSource(Source):
    """Images of one folder in natural order (9.png before 10.png), or one image file; sub-folders are not read.

    Frames come at a constant rate, those of an animated file (APNG, WebP, AVIF) with its own times; a TIFF gives a
    frame for each page. `Frame.index` is the position in `paths`, unreadable ones counted. With `one_size=True` images
    of another size are letterboxed to the first one's. `Frame.discontinuity` is set where the size changes and where
    another sequence begins: at an animated file, and where the names change but for their numbers (`a_09`, `b_00`).
    """

    paths: tuple[Path, ...]  # the file of each frame
    names: tuple[str, ...]  # unique: the file's stem, with suffix and page number where several share it

    def __init__(self, folder: str | Path, options: ReadOptions = _DEFAULTS, *, one_size: bool = True) -> None:
        """Raises VideoError when `folder` (or a single file) is missing, or holds no image that can be read."""
        super().__init__()
        self._options, self._one_size = options, one_size
        self._unreadable: list[str] = []
        self._letterbox = Letterbox(self.warn)
        self._reader = ImageReader()
        folder = Path(folder)
        self._find(folder)
        rate, self._time_base = self._set_times(folder)
        self._wanted = self._choose(folder, rate)
        first = None
        while self._wanted and (first := self._read(self._wanted[0])) is None:
            del self._wanted[0]
        if first is None:
            raise VideoError(
                f"{folder}: none of its {len(self._unreadable)} images can be read ({self._unreadable[0]}, ...); "
                "check that they open in a viewer"
            )
        height, width = self._letterbox.fit(first, "").shape[:2]  # sets the size
        end = min(self._wanted[-1] + options.every, len(self.paths))
        self.info = StreamInfo(
            name=str(folder),
            width=width,
            height=height,
            rate=rate / options.every,
            time_base=self._time_base,
            frames=len(self._wanted),
            seconds=float(self._starts[end] - self._starts[self._wanted[0]]),
            start=options.exact_start,
            codec=self.paths[self._wanted[0]].suffix[1:].lower(),
            colour="rgb",
        )

    @property
    def damage(self) -> Damage:
        """Missing numbers (known at once) and unreadable images (found while reading)."""
        return Damage(missing=self._missing, unreadable=tuple(self._unreadable), resized=self._letterbox.resized)

    def warn(self, sentence: str) -> None:
        """Adds to `warnings`, once for all files: each sentence begins with the name of one."""
        if not any(said.partition(" ")[2] == sentence.partition(" ")[2] for said in self._warnings):
            super().warn(sentence)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in natural order of their file names."""
        before: tuple[str, tuple[int, ...]] | None = None
        for index in self._wanted:
            rgb = self._read(index)
            if rgb is None:
                continue
            path = self.paths[index]
            now = (path.name if path in self._several else without_numbers(path.stem), rgb.shape)
            discontinuity, before = before not in (None, now), now
            edges = self._starts[index], self._starts[min(index + self._options.every, len(self.paths))]
            pts, end = (round(edge / self._time_base) for edge in edges)
            rgb = self._letterbox.fit(rgb, path.name) if self._one_size else rgb
            yield Frame(rgb, pts, self._time_base, index, discontinuity, end - pts)

    def close(self) -> None:
        """Closes a file with several frames."""
        self._reader.close()

    def _find(self, folder: Path) -> None:
        """Sets the path, page and name of every frame."""
        files = [folder] if folder.is_file() else _images_in(folder)
        self._missing = missing_numbers([path.stem for path in files])
        pages = {path: image_pages(path) for path in files}
        stems = Counter(path.stem for path in files)
        self._several = {path for path in files if len(pages[path]) > 1}
        self.paths = tuple(path for path in files for _ in pages[path])
        self._pages = [page for path in files for page in pages[path]]
        names = []
        for path in files:
            name = path.stem if stems[path.stem] == 1 else path.name
            many = path in self._several
            names += [f"{name}_{number:04d}" if many else name for number in range(len(pages[path]))]
        self.names = tuple(names)
        if self._several and not folder.is_file():
            total, several = sum(len(pages[path]) for path in self._several), len(self._several)
            name = next(path.name for path in files if path in self._several)
            holders = f"{name} holds" if several == 1 else f"{several} files ({name} ...) hold"
            self.warn(f"{holders} {total} pictures: each is a frame of its own")

    def _set_times(self, folder: Path) -> tuple[Fraction, Fraction]:
        """Sets where each frame starts, in seconds, and where the last one ends -> nominal rate, time base."""
        animated = len(self._pages) > 1 and folder.is_file()
        durations = page_milliseconds(folder, self._pages) if animated else None
        if durations:
            exact = [Fraction(duration).limit_denominator(1000) / 1000 for duration in durations]
            self._starts = list(accumulate(exact, initial=Fraction(0)))
            return 1 / Counter(exact).most_common(1)[0][0], Fraction(1, 1000)
        rate = self._options.image_rate
        self._starts = [index / rate for index in range(len(self.paths) + 1)]
        return rate, 1 / rate

    def _choose(self, folder: Path, rate: Fraction) -> list[int]:
        """Positions between start and end, every n-th."""
        start, end = self._options.exact_start or 0, self._options.exact_end
        times = enumerate(self._starts[:-1])
        chosen = [index for index, time in times if start <= time and (end is None or time < end)]
        if not chosen:
            raise VideoError(
                f"{folder} has no image between --start and --end: {len(self.paths)} images are "
                f"{float(self._starts[-1]):.2f} s at {rate} a second"
            )
        return chosen[:: self._options.every]

    def _read(self, index: int) -> RGB | None:
        path = self.paths[index]
        try:
            return self._reader.read(path, self._pages[index], warn=self.warn)
        except VideoError:
            if path.name not in self._unreadable:
                self._unreadable.append(path.name)
            return None


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


def without_numbers(stem: str) -> str:
    """The name with its numbers replaced: the same for all images of a sequence."""
    return re.sub(r"\d+", "#", stem)


def missing_numbers(stems: list[str]) -> int:
    """How many numbers are missing from a sequence of names, by its usual step (1, or 30 where every 30th is kept)."""
    numbers = defaultdict(list)
    for stem in stems:
        numbers[without_numbers(stem)].append(tuple(map(int, re.findall(r"\d+", stem))))
    return sum(map(_holes, numbers.values()))


def _holes(rows: list[tuple[int, ...]]) -> int:
    """Numbers missing from the last column that varies, in each sequence that the columns before it make."""
    varying = [column for column, values in enumerate(zip(*rows, strict=True)) if len({*values}) > 1]
    sequences = defaultdict(set)
    for row in rows if varying else ():
        sequences[row[: varying[-1]]].add(row[varying[-1]])
    gaps = Counter(after - before for values in sequences.values() for before, after in pairwise(sorted(values)))
    step, times = max(gaps.items(), key=lambda item: (item[1], -item[0]), default=(1, 0))
    if 2 * times < gaps.total():  # no usual step: times of day, selected frames
        return 0
    return sum(count * (gap // step - 1) for gap, count in gaps.items() if gap > step)
