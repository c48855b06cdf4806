"""KITTI: its semantic benchmark, and KITTI-STEP. Both have Cityscapes' classes."""

from pathlib import Path

from tmaseg.data.cityscapes import LABEL_IDS
from tmaseg.data.clip import Clip, ClipFrame, make_clips, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.files import few, folders_in, images_in, pair_problems, paired, require_root
from tmaseg.data.masks import MaskReader
from tmaseg.labels import CITYSCAPES

RATE = 10.0  # frames a second


def find_kitti(root: Path) -> Dataset:
    """KITTI's semantic benchmark: training/image_2 + training/semantic (Cityscapes' label ids), testing/image_2."""
    root = require_root(
        root,
        lambda folder: (folder / "training" / "image_2").is_dir(),
        name="KITTI semantics",
        expected="training/image_2/, training/semantic/ and testing/image_2/: unpack data_semantics.zip there",
    )
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
    return make_clips(((frame.name.rsplit("_", 1)[0], frame) for frame in frames), rate=RATE)


def find_kitti_step(root: Path) -> Dataset:
    """KITTI-STEP: images/SPLIT/0000/*.png and panoptic_maps/SPLIT/0000/*.png, whose red channel is the trainId."""
    root = require_root(
        root,
        lambda folder: (folder / "panoptic_maps").is_dir(),
        name="KITTI-STEP",
        expected="images/{train,val}/0000/ and panoptic_maps/{train,val}/0000/, as its guide sets them up",
    )
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
        splits[split] = make_clips(frames, rate=RATE)
    for lone in (film for split in folders_in(root / "panoptic_maps") for film in folders_in(split)):
        if not (root / "images" / lone.parent.name / lone.name).is_dir():
            problems.append(
                f"{few([lone.name], 'sequence')} of panoptic_maps/{lone.parent.name}/ without images: add them"
            )
    reader = MaskReader.of_ids(CITYSCAPES, {index: index for index in range(19)}, void=(255,), channel=0)
    return Dataset("kitti-step", "panoptic maps, trainIds in red", root, reader, splits, problems=tuple(problems))
