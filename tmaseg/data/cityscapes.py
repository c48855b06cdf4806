"""Cityscapes as it is downloaded, and the small cityscapes256."""

from collections.abc import Iterator
from pathlib import Path

from tmaseg.data.clip import Clip, ClipFrame, single_clips, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.files import folders_in, images_in, pair_problems, paired, require_root
from tmaseg.data.masks import MaskReader
from tmaseg.errors import DataError
from tmaseg.labels import CITYSCAPES

RATE = 17.0  # Cityscapes' snippets
_IMAGE, _IDS, _TRAIN_IDS, _COLOUR = "_leftImg8bit", "_labelIds", "_labelTrainIds", "_color"
# The second is what the authors' configuration reads: trainIds under the name _labelIds.
_LABEL_FOLDERS = ("gtFine", "gtFine_19")

LABEL_IDS = MaskReader.of_ids(CITYSCAPES, dict(zip(CITYSCAPES.ids or (), range(19), strict=True)), void=range(34))
TRAIN_IDS = MaskReader.of_ids(CITYSCAPES, {index: index for index in range(19)}, void=(255,))


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
    ending, reader, said = _label_kind(labels)
    problems: list[str] = []
    sequences = root / "leftImg8bit_sequence"
    splits = {
        split: tuple(_split(root / "leftImg8bit" / split, labels / split, ending, sequences / split, problems))
        for split in ("train", "val", "test")
        if (root / "leftImg8bit" / split).is_dir()
    }
    note = (
        "past frames from leftImg8bit_sequence/"
        if sequences.is_dir()
        else "no leftImg8bit_sequence/, so no past frames: memory is made from each frame itself"
    )
    return Dataset(
        "cityscapes", f"{labels.name}, {said}", root, reader, splits, problems=tuple(problems), notes=(note,)
    )


def _label_kind(labels: Path) -> tuple[str, MaskReader, str]:
    """Ending of the label files, how to read them, and what they are in words."""
    endings = {ending: _count(labels, ending) for ending in (_TRAIN_IDS, _IDS, _COLOUR)}
    if labels.name == "gtFine_19" and endings[_IDS]:
        return _IDS, TRAIN_IDS, "trainIds under the name labelIds"
    # labelTrainIds are made by a script that may have stopped half way: take whichever is complete.
    if endings[_IDS] and endings[_IDS] >= endings[_TRAIN_IDS]:
        return _IDS, LABEL_IDS, "labelIds, converted in memory"
    if endings[_TRAIN_IDS]:
        return _TRAIN_IDS, TRAIN_IDS, "trainIds"
    if endings[_COLOUR]:
        raise DataError(
            f"{labels} holds only *_color.png pictures, which hold no ids: add the *_gtFine_labelIds.png files "
            "of gtFine_trainvaltest.zip"
        )
    raise DataError(f"{labels} holds no *_gtFine_labelIds.png: unpack gtFine_trainvaltest.zip there")


def _count(folder: Path, ending: str) -> int:
    cities = (city for split in folders_in(folder) for city in folders_in(split))
    return sum(len(images_in(city, [], ending=ending)) for city in cities)


def _split(images: Path, labels: Path, ending: str, sequences: Path, problems: list[str]) -> Iterator[Clip]:
    for city in folders_in(images):
        shown = images_in(city, problems, ending=_IMAGE)
        masks = images_in(labels / city.name, problems, ending=f"_gtFine{ending}")
        test = images.name == "test"  # its label files are empty dummies, or not there: nothing to score against
        if not test:
            problems += pair_problems(shown, masks, where=f"leftImg8bit/{images.name}/{city.name}")
        past = images_in(sequences / city.name, problems, ending=_IMAGE)
        for stem, image in shown.items():
            if not test and stem not in masks:
                continue
            number = split_number(stem)[1] or 0
            frame = ClipFrame(f"{city.name}/{stem}", image, number, None if test else masks[stem], wanted=True)
            yield _snippet(frame, stem, past)


def _snippet(frame: ClipFrame, stem: str, past: dict[str, Path]) -> Clip:
    """The labelled frame with up to 19 before it. Long films are numbered on, so neighbours go by offset from it."""
    film, number = stem.rsplit("_", 1)
    before = []
    for back in range(19, 0, -1):
        name = f"{film}_{int(number) - back:0{len(number)}}"
        if name in past:
            before.append(ClipFrame(f"{frame.name.split('/')[0]}/{name}", past[name], frame.number - back))
    return Clip(frame.name, (*before, frame), RATE)


def find_cityscapes256(root: Path) -> Dataset:
    """Cityscapes squashed to 256x256: train/ + trainannot/, val/ + valannot/ with trainIds."""
    root = require_root(
        root,
        lambda folder: (folder / "val").is_dir() and (folder / "valannot").is_dir(),
        name="cityscapes256",
        expected="train/ + trainannot/, val/ + valannot/",
    )
    problems: list[str] = []
    splits = {}
    for split in ("train", "val"):
        images, masks = images_in(root / split, problems), images_in(root / f"{split}annot", problems)
        problems += pair_problems(images, masks, where=f"{split}/ and {split}annot/")
        splits[split] = single_clips(paired(images, masks))
    return Dataset(
        "cityscapes256",
        "numbered pictures, trainIds",
        root,
        TRAIN_IDS,
        splits,
        problems=tuple(problems),
        notes=(
            "no past frames exist: memory is made from each frame itself",
            "squashed to 256x256, with labels recovered from lossy colours: figures are not those of Cityscapes",
        ),
        stretch=2.0,
    )
