"""Any folder of pictures and masks that lie by the usual names, as annotation tools export them."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tmaseg.data.clip import Clip, ClipFrame, make_clips, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.files import few, find_root, folders_in, images_in, listing, paired, read_list
from tmaseg.data.masks import MaskReader, guess_reader
from tmaseg.errors import DataError, LabelError
from tmaseg.labels import LabelSet, get_labels
from tmaseg.video.images import walk_folders

_SPLITS = ("train", "val", "valid", "validation", "test")
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages", "frames")
_MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "annot", "SegmentationClass", "gt")
_BESIDE_FOLDERS = ("annot", "_labels", "_masks")
_MASK_ENDINGS = ("_mask", "_masks", "_label", "_labels", "_labelIds", "_gt", "_L", "-mask")


@dataclass(frozen=True)
class Pairs:
    """Where the pictures and masks of one split lie, sub-folders included: in two folders, or side by side in one."""

    images: Path
    masks: Path | None  # None: pictures alone
    stems: tuple[str, ...] | None = None  # those that a list names; None: all

    def frames(self, problems: list[str], *, where: str, folder: str = "", between: bool = False) -> list[ClipFrame]:
        """All pictures, in order, with their masks; the rest as in `paired`."""
        found: list[ClipFrame] = []
        for path in walk_folders(self.images, problems) if self.images.is_dir() else [self.images]:
            part = path.relative_to(self.images).as_posix()
            inner = part != "."
            images, masks = self._files(path, problems)
            found += paired(
                images,
                masks,
                problems,
                where=f"{where}/{part}" if inner else where,
                folder=f"{folder}{part}/" if inner else folder,
                # Within a sequence, frames without labels are the memory of others.
                between=self.masks is None or ((between or inner) and bool(masks)),
            )
        return found

    def _files(self, path: Path, problems: list[str]) -> tuple[dict[str, Path], dict[str, Path]]:
        """Stem -> picture, and stem -> mask, whatever masks' names end in, of the pictures in one folder."""
        found = images_in(path, problems)
        if self.masks is None:
            return found, {}
        truths = found if self.masks == self.images else images_in(self.masks / path.relative_to(self.images), problems)
        if self.stems is not None:
            lost = [stem for stem in self.stems if stem not in found]
            problems += [f"{path}: {few(lost)} listed but not there: add them or remove the lines"] if lost else []
            found, truths = ({stem: files[stem] for stem in self.stems if stem in files} for files in (found, truths))
            return found, truths
        endings = _MASK_ENDINGS if truths is found else ("", *_MASK_ENDINGS)
        ending = next((end for end in endings if any(f"{stem}{end}" in truths for stem in found)), endings[0])
        if truths is found:
            truths = {stem: file for stem, file in found.items() if stem.endswith(ending)}
            found = {stem: file for stem, file in found.items() if stem not in truths}
        return found, {stem.removesuffix(ending): file for stem, file in truths.items()}


def find_folder(root: Path) -> Dataset:
    """Pictures and masks that lie in `root`, or one folder below, by the usual names. Raises DataError."""
    given, root, problems = root, find_root(root, guess_pairs) or root, list[str]()
    frames = {name: pairs.frames(problems, where=name) for name, pairs in guess_pairs(root).items()}
    masks = [frame.mask for split in frames.values() for frame in split if frame.mask]
    if not masks:
        raise DataError(
            f"no pictures with masks in {given}, {listing(given)}; expected images/ + masks/, each with train/ and "
            "val/ or none, or train/images/ + train/masks/, or a.jpg beside a_mask.png: or describe the folder in a "
            f"YAML and give that as --dataset{_foreign(root)}"
        )
    reader, classes = _reader_of(root, masks)
    clips = {name: clips_of(found) for name, found in frames.items()}
    note = "pictures are taken as unrelated, memory is made from each itself; `sequence: name` in a YAML changes that"
    if any(len(clip.frames) > 1 for found in clips.values() for clip in found):
        note = "each sub-folder is a sequence"
    return Dataset(
        "folder",
        "pictures and masks by stem",
        root,
        reader,
        clips,
        default_split=next((name for name in _SPLITS[1:] if name in clips), next(iter(clips))),
        problems=tuple(problems),
        notes=(classes, note),
    )


def clips_of(
    frames: Sequence[ClipFrame],
    by: str | None = None,
    *,
    rate: float | None = None,
    longest_gap: float | None = None,
) -> tuple[Clip, ...]:
    """Clips with a wanted frame: by "folder", by "name", or "none"; None: by folder where there are sub-folders."""
    if by is None:
        by = "folder" if any("/" in frame.name for frame in frames) else "none"
    if by == "none":
        return tuple(Clip(frame.name, (frame,)) for frame in frames if frame.wanted)
    film = (lambda name: name.rpartition("/")[0]) if by == "folder" else (lambda name: split_number(name)[0])
    gap = None if longest_gap is None else int(longest_gap)
    clips = make_clips(((film(frame.name), frame) for frame in frames), rate=rate, longest_gap=gap)
    return tuple(clip for clip in clips if any(frame.wanted for frame in clip.frames))


def guess_pairs(root: Path) -> dict[str, Pairs]:
    """Split -> where its pictures and masks lie, by the usual names; {} where nothing is recognised."""
    images, masks = _first(root, _IMAGE_FOLDERS), _first(root, _MASK_FOLDERS)
    if images and masks:
        lists = root / "ImageSets" / "Segmentation"  # Pascal VOC
        listed = {name: lists / f"{name}.txt" for name in _SPLITS if (lists / f"{name}.txt").is_file()}
        if listed:
            known = images_in(images, [])
            stems = {
                name: [fields[0] for fields in read_list(path, known.__contains__)] for name, path in listed.items()
            }
            return {name: Pairs(images, masks, tuple(dict.fromkeys(each))) for name, each in stems.items()}
        splits = [name for name in _SPLITS if (images / name).is_dir() and (masks / name).is_dir()]
        return {name: Pairs(images / name, masks / name) for name in splits} or {"all": Pairs(images, masks)}
    found = {}
    for name in _SPLITS:
        inner_images, inner_masks = _first(root / name, _IMAGE_FOLDERS), _first(root / name, _MASK_FOLDERS)
        beside = _first(root, [f"{name}{ending}" for ending in _BESIDE_FOLDERS])
        if inner_images and inner_masks:
            found[name] = Pairs(inner_images, inner_masks)
        elif (root / name).is_dir() and beside:
            found[name] = Pairs(root / name, beside)
        elif _is_side_by_side(root / name):
            found[name] = Pairs(root / name, root / name)
    return found | ({"all": Pairs(root, root)} if _is_side_by_side(root) else {})


def masks_beside(images: Path, root: Path) -> Path | None:
    """The folder of masks that goes with a folder of pictures below `root`; the same one where masks lie in it."""
    for place in (images, *images.parents):
        if place.name in _IMAGE_FOLDERS and place.is_relative_to(root):
            for name in _MASK_FOLDERS:
                folder = place.with_name(name) / images.relative_to(place)
                if any(images_in(each, []) for each in (folder, *folders_in(folder))):
                    return folder
    return images if _is_side_by_side(images) else None


def _first(root: Path, names: Iterable[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _is_side_by_side(folder: Path) -> bool:
    stems = images_in(folder, [])
    return any(f"{stem}{ending}" in stems for stem in stems for ending in _MASK_ENDINGS)


def _foreign(root: Path) -> str:
    """The remedy where annotations lie there in another form than masks."""
    for folder in (root, *folders_in(root)):
        if folder.is_dir() and any(path.suffix.lower() == ".json" for path in folder.iterdir()):
            return "; annotations in JSON are not read: export masks (PNG) from the annotation tool"
        if any(any((folder / name).rglob("*.txt")) for name in _MASK_FOLDERS):
            return "; .txt files of boxes or polygons are not read: export masks (PNG) from the annotation tool"
    return ""


def _reader_of(root: Path, masks: Sequence[Path]) -> tuple[MaskReader, str]:
    """How the masks are read, and a note on it: by the classes beside the data, or as many as the masks have."""
    for name in ("labels.yaml", "labels.yml", "labels.json"):
        if (root / name).is_file():
            return MaskReader.of_label_set(get_labels(root / name)), f"classes from {name}"
    for table in (folder / "_classes.csv" for folder in (root, *folders_in(root))):  # Roboflow
        if table.is_file():
            return _reader_of_table(table), f"classes from {table.relative_to(root)}"
    return guess_reader(masks, root)


def _reader_of_table(path: Path) -> MaskReader:
    """A table of `Pixel Value, Class`. Raises DataError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [(int(row[0]), row[1].strip()) for row in list(csv.reader(file))[1:] if len(row) > 1]
        labels = LabelSet.from_dict({"names": [name for _, name in rows]}, name=path.parent.name)
    except (OSError, ValueError, LabelError) as error:
        raise DataError(f"{path}: no table of classes ({error}): write lines such as `1, road`") from error
    return MaskReader.of_ids(labels, {value: index for index, (value, _) in enumerate(rows)}, void=(255,))
