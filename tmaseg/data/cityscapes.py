"""Cityscapes as it is downloaded, or as TMANet's authors convert it."""

from collections.abc import Iterator
from pathlib import Path

from tmaseg.data.clip import Clip, ClipFrame, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.files import folders_in, images_in, pair_problems, require_root
from tmaseg.data.masks import MaskReader
from tmaseg.errors import DataError
from tmaseg.labels import CITYSCAPES

RATE = 17.0  # frames a second of Cityscapes' snippets
_IMAGE, _IDS, _TRAIN_IDS, _COLOUR = "_leftImg8bit", "_gtFine_labelIds", "_gtFine_labelTrainIds", "_gtFine_color"
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
    ending, reader, kind = _label_kind(labels)
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
    description = f"{labels.name}, {kind}"
    return Dataset("cityscapes", description, root, reader, splits, problems=tuple(problems), notes=(note,))


def _label_kind(labels: Path) -> tuple[str, MaskReader, str]:
    """Ending of the label files, how to read them, and what they are in words."""
    cities = [city for split in folders_in(labels) for city in folders_in(split)]
    counts = {
        ending: sum(len(images_in(city, [], ending=ending)) for city in cities)
        for ending in (_IDS, _TRAIN_IDS, _COLOUR)
    }
    if labels.name == "gtFine_19" and counts[_IDS]:
        return _IDS, TRAIN_IDS, "trainIds under the name labelIds"
    # labelTrainIds are made by a script that may have stopped half way: take whichever is complete.
    if counts[_IDS] and counts[_IDS] >= counts[_TRAIN_IDS]:
        return _IDS, LABEL_IDS, "labelIds, converted in memory"
    if counts[_TRAIN_IDS]:
        return _TRAIN_IDS, TRAIN_IDS, "trainIds"
    if counts[_COLOUR]:
        raise DataError(
            f"{labels} holds only *_color.png pictures, which hold no ids: add the *_gtFine_labelIds.png files "
            "of gtFine_trainvaltest.zip"
        )
    raise DataError(f"{labels} holds no *_gtFine_labelIds.png: unpack gtFine_trainvaltest.zip there")


def _split(images: Path, labels: Path, ending: str, sequences: Path, problems: list[str]) -> Iterator[Clip]:
    """A clip for each labelled frame: up to 19 frames before it, and itself."""
    test = images.name == "test"  # its label files are empty dummies, or not there: nothing to score against
    for city in folders_in(images):
        pictures = images_in(city, problems, ending=_IMAGE)
        masks = {} if test else images_in(labels / city.name, problems, ending=ending)
        past = images_in(sequences / city.name, problems, ending=_IMAGE)
        if not test:
            problems += pair_problems(pictures, masks, where=f"leftImg8bit/{images.name}/{city.name}")
        for stem, image in pictures.items():
            if not test and stem not in masks:
                continue
            film, digits = stem.rsplit("_", 1)
            number = split_number(stem)[1] or 0
            # Long films are numbered on, so neighbours go by their offset from the labelled frame.
            before = {back: f"{film}_{int(digits) - back:0{len(digits)}}" for back in range(19, 0, -1)}
            frames = [
                ClipFrame(f"{city.name}/{name}", past[name], number - back)
                for back, name in before.items()
                if name in past
            ]
            name = f"{city.name}/{stem}"
            yield Clip(name, (*frames, ClipFrame(name, image, number, masks.get(stem), wanted=True)), RATE)
