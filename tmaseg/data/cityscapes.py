"""Cityscapes, the small cityscapes256, and KITTI: data sets that share Cityscapes' classes."""

from collections.abc import Iterator
from pathlib import Path

from tmaseg.data.clip import Clip, ClipFrame, make_clips, single_clips, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.files import few, find_root, folders_in, images_in, listing, pair_problems, paired
from tmaseg.data.masks import MaskReader
from tmaseg.errors import DataError
from tmaseg.labels import CITYSCAPES

RATE = 17.0  # Cityscapes' snippets
KITTI_RATE = 10.0
_IMAGE, _IDS, _TRAIN_IDS, _COLOUR = "_leftImg8bit", "_labelIds", "_labelTrainIds", "_color"
_LABEL_FOLDERS = (
    "gtFine",
    "gtFine_19",
)  # the second is what the authors' configuration reads: trainIds under _labelIds

LABEL_IDS = MaskReader.of_ids(CITYSCAPES, dict(zip(CITYSCAPES.ids or (), range(19), strict=True)), void=range(34))
TRAIN_IDS = MaskReader.of_ids(CITYSCAPES, {index: index for index in range(19)}, void=(255,))


def find_cityscapes(root: Path) -> Dataset:
    """Cityscapes as it is downloaded, in `root` or one folder below. Raises DataError that says what is expected."""
    found = find_root(root, lambda folder: (folder / "leftImg8bit").is_dir())
    if not found:
        raise DataError(
            f"no Cityscapes in {root}, {listing(root)}; expected leftImg8bit/{{train,val,test}}/CITY/ and "
            "gtFine/{train,val}/CITY/: unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip there"
        )
    root = found
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
            f"{labels} holds only *_color.png pictures, which are for looking at: add the *_gtFine_labelIds.png files "
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
    found = find_root(root, lambda folder: (folder / "val").is_dir() and (folder / "valannot").is_dir())
    if not found:
        raise DataError(f"no cityscapes256 in {root}, {listing(root)}; expected train/ + trainannot/, val/ + valannot/")
    root = found
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


def find_kitti(root: Path) -> Dataset:
    """KITTI's semantic benchmark: training/image_2 + training/semantic (Cityscapes' label ids), testing/image_2."""
    found = find_root(root, lambda folder: (folder / "training" / "image_2").is_dir())
    if not found:
        raise DataError(
            f"no KITTI semantics in {root}, {listing(root)}; expected training/image_2/, training/semantic/ and "
            "testing/image_2/: unpack data_semantics.zip there"
        )
    root = found
    problems: list[str] = []
    images = images_in(root / "training" / "image_2", problems)
    masks = images_in(root / "training" / "semantic", problems)
    problems += pair_problems(images, masks, where="training", image_only_ok=True)
    test = [
        ClipFrame(stem, image, split_number(stem)[1] or 0, wanted=stem.endswith("_10"))
        for stem, image in images_in(root / "testing" / "image_2", problems).items()
    ]
    return Dataset(
        "kitti",
        "semantic benchmark, labelIds converted in memory",
        root,
        LABEL_IDS,
        {
            "train": _films(paired(images, masks, unlabelled=True)),
            "test": _films(test),
        },
        default_split="train",
        problems=tuple(problems),
        notes=("training/ is its only labelled split: figures of weights trained on it mean nothing",),
    )


def _films(frames: list[ClipFrame]) -> tuple[Clip, ...]:
    """Frames 000012_00 to 000012_20 are one film."""
    return make_clips(((frame.name.rsplit("_", 1)[0], frame) for frame in frames), rate=KITTI_RATE)


def find_kitti_step(root: Path) -> Dataset:
    """KITTI-STEP: images/SPLIT/0000/*.png and panoptic_maps/SPLIT/0000/*.png, whose red channel is the trainId."""
    found = find_root(root, lambda folder: (folder / "panoptic_maps").is_dir())
    if not found:
        raise DataError(
            f"no KITTI-STEP in {root}, {listing(root)}; expected images/{{train,val}}/0000/ and "
            "panoptic_maps/{train,val}/0000/, as its guide sets them up"
        )
    root = found
    problems: list[str] = []
    splits: dict[str, tuple[Clip, ...]] = {}
    for split in ("train", "val", "test"):
        frames: list[tuple[str, ClipFrame]] = []
        for film in folders_in(root / "images" / split):
            images = images_in(film, problems)
            masks = images_in(root / "panoptic_maps" / split / film.name, problems)
            where = f"images/{split}/{film.name}"
            problems += pair_problems(images, masks, where=where) if split != "test" else []
            frames += [
                (
                    film.name,
                    ClipFrame(f"{film.name}/{stem}", path, int(split_number(stem)[1] or 0), masks.get(stem), True),
                )
                for stem, path in images.items()
                if split == "test" or stem in masks
            ]
        splits[split] = make_clips(frames, rate=KITTI_RATE)
    for lone in (film for split in folders_in(root / "panoptic_maps") for film in folders_in(split)):
        if not (root / "images" / lone.parent.name / lone.name).is_dir():
            problems.append(
                f"{few([lone.name], 'sequence')} of panoptic_maps/{lone.parent.name}/ without images: add them"
            )
    reader = MaskReader.of_ids(CITYSCAPES, {index: index for index in range(19)}, void=(255,), channel=0)
    return Dataset("kitti-step", "panoptic maps, trainIds in red", root, reader, splits, problems=tuple(problems))
