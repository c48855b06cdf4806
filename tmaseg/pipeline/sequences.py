"""Sequences: the folders of images under a folder, and which of their images are still to be done."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tmaseg.errors import OutputError, VideoError
from tmaseg.files import output_names
from tmaseg.video.facts import ReadOptions
from tmaseg.video.frame import Frame
from tmaseg.video.image_source import ImageSource
from tmaseg.video.images import IMAGE_SUFFIXES, natural_key


@dataclass(frozen=True)
class ImageSequence:
    """The images of one folder, in order, and where their pictures go."""

    folder: Path
    paths: tuple[Path, ...]
    """In natural order."""
    missing: int
    """Numbers that the file names lack."""
    outputs: tuple[Path, ...]
    """Folders that each get one picture for every image."""

    def name_of(self, frame: Frame) -> str:
        """The stem of a frame's pictures: that of its image, with the suffix where two images share a stem."""
        return self._names[frame.index]

    @cached_property
    def _names(self) -> list[str]:
        stems = Counter(path.stem for path in self.paths)
        names = [path.stem if stems[path.stem] == 1 else path.name for path in self.paths]
        return [path.name.removesuffix(".png") for path in output_names(names, ".png")]

    def existing(self) -> list[bool]:
        """For each image whether all of its pictures are there."""
        there = [_names_in(folder) for folder in self.outputs]
        return [all(f"{name}.png" in names for names in there) for name in self._names]

    def check_nothing_exists(self) -> None:
        """Raises OutputError when one of the pictures is there."""
        wanted = {f"{name}.png" for name in self._names}
        for folder in self.outputs:
            if found := sorted(wanted & _names_in(folder)):
                raise OutputError(
                    f"{folder / found[0]} exists already; give --skip-existing to go on, --overwrite to replace, "
                    "or another folder"
                )

    def open(self, first: int, last: int) -> ImageSource:
        """The images from position `first` to `last`, each in its own size. Raises VideoError when none is readable."""
        rate = ReadOptions().rate
        # Half a frame to each side of the images: no rounding can lose or add one.
        start, end = max(0.0, float((first - 0.5) / rate)), float((last + 0.5) / rate)
        return ImageSource(self.folder, ReadOptions(start=start, end=end), one_size=False)


def find_sequences(folder: Path, targets: Sequence[Path]) -> tuple[list[ImageSequence], list[str]]:
    """Every folder with images at or under `folder`, in natural order, and what is wrong with those left out.

    A sequence's pictures go to the same place under each of `targets`. Targets inside `folder` and hidden folders are
    not looked into. Raises VideoError when `folder` is missing, or holds no image that can be read.
    """
    if not folder.is_dir():
        came = "is a file" if folder.exists() else "does not exist"
        raise VideoError(f"{folder} {came}; give a folder of images (or use `tmaseg run` for a video)")
    found: list[ImageSequence] = []
    problems: list[str] = []
    own = {target.resolve() for target in targets}
    for place, inner, names in os.walk(folder):
        here = Path(place)
        inner[:] = [
            name
            for name in sorted(inner, key=natural_key)
            if not name.startswith(".") and (here / name).resolve() not in own
        ]
        if not any(Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".") for name in names):
            continue
        try:
            source = ImageSource(here, one_size=False)
        except VideoError as error:
            problems.append(str(error))
            continue
        outputs = tuple(target / here.relative_to(folder) for target in targets)
        found.append(ImageSequence(here, source.paths, source.damage.missing, outputs))
    if not found:
        raise VideoError(
            problems[0]
            if problems
            else f"{folder} holds no images, nor do its sub-folders; give a folder of PNG, JPEG, TIFF ... files"
        )
    return found, problems


def blocks_to_do(done: Sequence[bool], run_up: int) -> list[tuple[int, int]]:
    """(first, last) positions to process, so that every image not done is, each after `run_up` images before it.

    An unreadable image never has a picture, so it is always to be done, and has its own images before it: those that
    follow never miss it in their run-up.
    """
    blocks: list[tuple[int, int]] = []
    for position, there in enumerate(done):
        if there:
            continue
        first = max(0, position - run_up)
        if blocks and first <= blocks[-1][1] + 1:
            blocks[-1] = (blocks[-1][0], position)
        else:
            blocks.append((first, position))
    return blocks


def _names_in(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()  # noqa: PTH208  (names only)
