"""Frames out of CamVid's raw videos, numbered as its labelled frames are. Nothing is ever deleted or replaced.

python scripts/extract_camvid.py VIDEOS -o DATA/image_sequence [--labelled DATA/labels]
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from tmaseg.arrays import RGB
from tmaseg.data.clip import split_number
from tmaseg.data.files import images_in
from tmaseg.errors import DataError, OutputError, TmasegError
from tmaseg.files import atomic_write
from tmaseg.video.source import open_source


@dataclass(frozen=True)
class Film:
    """One of CamVid's four videos."""

    file: str
    """Its name as downloaded."""
    stem: str
    """How its frames are called; the number goes into the braces."""
    first: int
    """Number of its first picture; negative ones are not written."""

    def name(self, number: int) -> str:
        """Stem of the file of frame `number`."""
        return self.stem.format(number)


FILMS = (
    Film("0005VD.MXF", "Seq05VD_f{:05d}", -1),
    Film("0006R0.MXF", "0006R0_f{:05d}", -1),
    Film("0016E5.MXF", "0016E5_{:05d}", -1),
    Film("01TP_extract.avi", "0001TP_{:06d}", 6660),
)


@dataclass(frozen=True)
class Extracted:
    """What became of one video."""

    film: Film
    written: int
    kept: int
    """Frames whose files were there already."""
    decoded: int


def extract_camvid(
    videos: Path,
    out: Path,
    *,
    labelled: Path | None = None,
    past: int = 10,
    progress: Callable[[Film, int], None] | None = None,
) -> list[Extracted]:
    """Writes frames of the videos that lie in `videos` as PNG files into `out`, which is made if need be.

    With `labelled`, a folder of the labelled pictures or masks, only those and the `past` frames before each are
    written (all 29,000 are 30 GB). A file that exists is kept as it is, so a run that was stopped can go on. `progress`
    is told the film and each number decoded. Raises DataError where there is no video, OutputError where a file cannot
    be written.
    """
    found = [(film, path) for film in FILMS for path in [_video(videos, film)] if path]
    if not found:
        names = ", ".join(film.file for film in FILMS)
        raise DataError(f"none of CamVid's videos in {videos}: put {names} there (from the CamVid web page)")
    wanted = None if labelled is None else _wanted(labelled, past)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: no folder can be made there ({error.strerror}): choose another place") from error
    return [_extract(film, path, out, wanted, progress) for film, path in found]


def _video(folder: Path, film: Film) -> Path | None:
    """The film's file, whatever the case of its name."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give the one that CamVid's videos lie in")
    return next((path for path in sorted(folder.iterdir()) if path.name.lower() == film.file.lower()), None)


def _wanted(labelled: Path, past: int) -> set[tuple[str, int]]:
    stems = [split_number(stem.removesuffix("_L")) for stem in images_in(labelled, [])]
    frames = {(film, number - back) for film, number in stems if number is not None for back in range(past + 1)}
    if not frames:
        raise DataError(f"{labelled} holds no labelled frame (NAME_00030.png): give the folder of pictures or masks")
    return frames


def _extract(
    film: Film,
    path: Path,
    out: Path,
    wanted: set[tuple[str, int]] | None,
    progress: Callable[[Film, int], None] | None,
) -> Extracted:
    written = kept = decoded = 0
    prefix = split_number(film.name(0))[0]
    last = max((number for other, number in wanted or () if other == prefix), default=None)
    for number, rgb in _numbered(path, film):
        decoded += 1
        if progress:
            progress(film, number)
        if number < 0 or (wanted is not None and (prefix, number) not in wanted):
            if wanted is not None and (last is None or number > last):
                break
            continue
        target = out / f"{film.name(number)}.png"
        if target.exists():
            kept += 1
        else:
            _write(target, rgb)
            written += 1
    return Extracted(film, written, kept, decoded)


def _numbered(path: Path, film: Film) -> Iterator[tuple[int, RGB]]:
    with open_source(path) as source:
        for frame in source:
            yield film.first + frame.index, frame.rgb


def _write(path: Path, rgb: RGB) -> None:
    """The file appears under its name only when it is complete."""
    try:
        with atomic_write(path) as part:
            part.write_bytes(cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes())
    except OSError as error:
        raise OutputError(
            f"{path}: the frame cannot be written ({error.strerror}): free space, then run again"
        ) from error


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("videos", type=Path, help="folder of 0005VD.MXF, 0006R0.MXF, 0016E5.MXF, 01TP_extract.avi")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the frames: DATA/image_sequence")
    parser.add_argument("--labelled", type=Path, help="folder of labelled images: write only frames before those")
    parser.add_argument("--past", type=int, default=10, help="with --labelled, how many frames before each")
    args = parser.parse_args()

    def progress(film: Film, number: int) -> None:
        if number % 1000 == 0:
            print(f"{film.file}: frame {number}", file=sys.stderr)

    try:
        results = extract_camvid(args.videos, args.output, labelled=args.labelled, past=args.past, progress=progress)
    except TmasegError as error:
        sys.exit(f"error: {error}")
    for result in results:
        kept = f", {result.kept:,} were there already" if result.kept else ""
        print(f"{result.film.file}: {result.written:,} frames written{kept}")


if __name__ == "__main__":
    main()
