"""Training data of several data sets in one archive of limited size, for a machine that takes no more.

    scripts/pack_data -o pack.zip --mib 38 --dataset cityscapes256 --data CITY --dataset camvid --data CAMVID

The archive holds a folder for each data set that `tmaseg train --dataset NAME --data FOLDER` reads as it read the
original: the same names, lists and splits. Pictures are WebP of the highest quality that fits, no larger than the
recipe shows them; masks are lossless. Files keep their names, also where their format is another one now; pack.json
names the data sets. scripts/gpu_train trains on it.
"""

import argparse
import io
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tmaseg.data import Dataset, is_described, open_dataset, read_frame
from tmaseg.data.clip import ClipFrame
from tmaseg.data.masks import read_values
from tmaseg.errors import DataError, OutputError, TmasegError
from tmaseg.files import atomic_write

QUALITIES = (95, 90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 25, 20)
SAMPLES = 60  # pictures of which the quality is estimated
ENTRY_BYTES = 120  # of a file in the archive, beside its name twice and its content
SPARE = 0.98  # of the bytes for pictures that an estimate may fill
LISTS = ("*.txt", "*.yaml", "*.yml", "*.csv", "labels.json")


@dataclass(frozen=True)
class Source:
    """A data set and its folder in the archive."""

    name: str
    folder: str
    dataset: Dataset

    @property
    def packed_name(self) -> str:
        """Its name, or the path of its YAML in the archive."""
        return f"{self.folder}/{Path(self.name).name}" if is_described(self.name) else self.name.lower()

    def place(self, path: Path) -> str:
        """The name of one of its files in the archive. Raises DataError for a file elsewhere."""
        if not path.is_relative_to(self.dataset.root):
            raise DataError(f"{path} lies outside {self.dataset.root}: only data sets in one folder can be packed")
        return f"{self.folder}/{path.relative_to(self.dataset.root).as_posix()}"

    def frames(self, splits: Iterable[str], past: int) -> list[ClipFrame]:
        """The frames of the splits that it has, with those that a memory of `past` frames needs."""
        there = [split for split in splits if self.dataset.splits.get(split)]
        found = (frame for split in there for clip in self.dataset.streams(split, past=past) for frame in clip.frames)
        return list({frame.image: frame for frame in sorted(found, key=lambda each: each.mask is not None)}.values())

    def shrink(self, image: NDArray[np.uint8], short_side: int, interpolation: int) -> NDArray[np.uint8]:
        """The picture or mask at that short side, once its pixels are square; as it is where it is smaller."""
        height, width = image.shape[:2]
        factor = short_side / min(height, width * self.dataset.stretch) if short_side else 1.0
        if factor >= 1:
            return image
        size_wh = (round(width * factor), round(height * factor))
        return np.asarray(cv2.resize(image, size_wh, interpolation=interpolation), np.uint8)

    def picture(self, frame: ClipFrame, short_side: int, quality: int) -> bytes:
        """A picture as WebP, or its own file where that is as small as it is to be and no larger."""
        rgb = read_frame(frame)
        small = self.shrink(rgb, short_side, cv2.INTER_AREA)
        webp = encoded(small, "WEBP", quality=quality, method=4)
        return min(webp, frame.image.read_bytes(), key=len) if small is rgb else webp

    def mask(self, path: Path, short_side: int) -> bytes:
        """A mask with the values of its file, as PNG or lossless WebP, whichever is smaller."""
        masks = self.dataset.masks
        masks.read(path)  # raises DataError for a bad one
        values = masks.read_raw(path) if masks.colours is None else read_values(path)[..., :3]
        small = self.shrink(np.asarray(values, np.uint8), short_side, cv2.INTER_NEAREST_EXACT)
        forms = (encoded(small, "PNG", optimize=True), encoded(small, "WEBP", lossless=True, quality=60, method=4))
        return min(forms, key=len)


def encoded(image: NDArray[np.uint8], kind: str, **options: object) -> bytes:
    """An image file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def pack(sources: list[Source], path: Path, *, mib: float, splits: list[str], past: int, short_side: int) -> int:
    """Writes the archive; returns the quality of its pictures. Raises DataError where it cannot be so small."""
    frames = [(source, frame) for source in sources for frame in source.frames(splits, past)]
    names = [source.place(frame.image) for source, frame in frames]
    files = lists_of(sources)
    with ThreadPoolExecutor() as pool:

        def encode(chosen: list[tuple[Source, ClipFrame]], quality: int) -> Iterator[bytes]:
            return pool.map(lambda each: each[0].picture(each[1], short_side, quality), chosen)

        labelled = [(source, frame, frame.mask) for source, frame in frames if frame.mask]
        masks = pool.map(lambda each: each[0].mask(each[2], short_side), labelled)
        files |= {source.place(mask): data for (source, _, mask), data in zip(labelled, masks, strict=True)}
        used = sum(map(len, files.values())) + sum(ENTRY_BYTES + 2 * len(name) for name in (*files, *names))
        left = mib * 2**20 - used
        samples = frames[:: max(1, len(frames) // SAMPLES)]
        for quality in QUALITIES:
            if sum(map(len, encode(samples, quality))) / len(samples) * len(frames) > SPARE * left:
                continue
            pictures = dict(zip(names, encode(frames, quality), strict=True))
            if sum(map(len, pictures.values())) <= left:
                write_zip(path, files | pictures)
                return quality
    raise DataError(
        f"{len(frames)} pictures do not fit {mib:g} MiB, of which masks and lists take {used / 2**20:.1f}: leave one "
        "data set out, or give a larger --mib or a smaller --size"
    )


def lists_of(sources: list[Source]) -> dict[str, bytes]:
    """The text files of the data sets by their names in the archive, and the list of data sets."""
    data = [{"dataset": source.packed_name, "folder": source.folder} for source in sources]
    files = {"pack.json": json.dumps({"data": data}, indent=2).encode()}
    for source in sources:
        lists = {path for pattern in LISTS for path in source.dataset.root.rglob(pattern) if path.is_file()}
        files |= {source.place(path): path.read_bytes() for path in sorted(lists)}
        if is_described(source.name):
            files[source.packed_name] = Path(source.name).read_bytes()
    return files


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    """Completely or not at all. Raises OutputError."""
    try:
        with atomic_write(path) as part, zipfile.ZipFile(part, "w") as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name), data)  # no date: the same data give the same archive
    except OSError as error:
        raise OutputError(f"{path}: the archive cannot be written ({error.strerror}): choose another place") from error


def opened(names: list[str], folders: list[Path]) -> list[Source]:
    """The data sets, each in a folder of its name in the archive."""
    datasets = [open_dataset(name, folder) for name, folder in zip(names, folders, strict=True)]
    stems = [Path(name).stem.lower() for name in names]
    places = [stem if stems.count(stem) == 1 else f"{index}-{stem}" for index, stem in enumerate(stems, start=1)]
    return [Source(*each) for each in zip(names, places, datasets, strict=True)]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", action="append", required=True, help="as for tmaseg train; repeatable")
    parser.add_argument("--data", action="append", type=Path, required=True, help="folder of each data set, in order")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the archive: FILE.zip")
    parser.add_argument("--mib", type=float, default=60, help="largest size of the archive, in MiB (60)")
    parser.add_argument("--size", type=int, default=360, help="largest short side of pictures; 0: their own (360)")
    parser.add_argument("--split", action="append", help="splits to pack (train and val)")
    parser.add_argument("--past", type=int, default=4, help="frames before each labelled one to pack, if any (4)")
    args = parser.parse_args()
    if len(args.dataset) != len(args.data):
        parser.error(f"{len(args.dataset)} --dataset but {len(args.data)} --data: give one folder for each")
    try:
        quality = pack(
            opened(args.dataset, args.data),
            args.output,
            mib=args.mib,
            splits=args.split or ["train", "val"],
            past=args.past,
            short_side=args.size,
        )
    except TmasegError as error:
        sys.exit(f"error: {error}")
    print(f"{args.output}: {args.output.stat().st_size / 2**20:.1f} MiB, pictures of WebP quality {quality}")


if __name__ == "__main__":
    main()
