"""Any folder of pictures and masks, or a YAML file that says where they are and what they mean."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import yaml

from tmaseg.data.clip import Clip, ClipFrame, make_clips, single_clips, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.files import few, frame_names, listing, natural, pair_problems, pictures, read_list
from tmaseg.data.masks import MaskReader, read_values
from tmaseg.errors import DataError, LabelError
from tmaseg.labels import LabelSet, generic_labels, get_labels

SequenceBy = Literal["folder", "name", "none"]
_SPLITS = ("train", "val", "valid", "validation", "test")
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages", "frames")
_MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "annot", "SegmentationClass", "gt")
_MASK_ENDINGS = ("", "_mask", "_label", "_labels", "_labelIds", "_gt", "_L")
_YAML_KEYS = (
    *("path", "train", "val", "test", "names", "palette", "colours", "colors", "ignore", "id_map", "sequence"),
    *("union", "rate", "longest_gap", "name"),
)
_EXAMPLE = "val: {images: images/val, masks: masks/val}"


@dataclass(frozen=True)
class _Pairs:
    """Where the pictures and masks of one split lie: two folders, or a list of pairs."""

    images: Path
    masks: Path


def find_folder(root: Path) -> Dataset:
    """Pictures and masks that lie in `root` by the usual names, matched by stem. Raises DataError."""
    if (root / "dataset.yaml").is_file():
        return find_yaml(root / "dataset.yaml")
    splits = dict(_guess(root))
    if not splits:
        raise DataError(
            f"no pictures with masks in {root}, {listing(root)}; expected images/ + masks/, each with train/ and val/ "
            "or none, or train/images/ + train/masks/: or describe the folder in a YAML and give that as --dataset"
        )
    labels, said = _labels_of(root, splits.values())
    problems: list[str] = []
    clips = {name: _clips(pairs, None, problems, where=name) for name, pairs in splits.items()}
    sequences = any(len(clip.frames) > 1 for found in clips.values() for clip in found)
    note = (
        "each sub-folder is a sequence"
        if sequences
        else "pictures are taken as unrelated, memory is made from each itself; `sequence: name` in a YAML changes that"
    )
    return Dataset(
        "folder",
        "pictures and masks by stem",
        root,
        MaskReader.of_label_set(labels),
        clips,
        default_split=next(
            (name for name in ("val", "valid", "validation", "test") if name in clips), next(iter(clips))
        ),
        problems=tuple(problems),
        notes=(said, note),
    )


def find_yaml(path: Path, root: Path | None = None) -> Dataset:
    """A data set described in YAML; `root` replaces its `path`. Raises DataError that names the entry."""
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: no readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(spec, Mapping):
        raise DataError(f"{path}: must hold entries such as `{_EXAMPLE}` and `names: [road, car]`")
    try:
        return _from_spec(spec, path, root)
    except (DataError, LabelError) as error:
        raise DataError(f"{path}: {error}") from error


def _from_spec(spec: Mapping[str, Any], path: Path, root: Path | None) -> Dataset:
    unknown = [str(key) for key in spec if key not in _YAML_KEYS]
    if unknown:
        raise DataError(f"unknown entry {', '.join(unknown)}; known are {', '.join(_YAML_KEYS)}")
    root = root or (path.parent / str(spec.get("path", "."))).resolve()
    named = {name: spec[name] for name in ("train", "val", "test") if name in spec}
    if not named:
        raise DataError(f"no split: write at least one, such as `{_EXAMPLE}`")
    labels = _spec_labels(spec, path.stem)
    by = spec.get("sequence")
    by = None if by is None else str(by).lower()
    if by is not None and by not in get_args(SequenceBy):
        raise DataError(f"sequence is {by!r}; it must be folder, name or none")
    problems: list[str] = []
    options = {"rate": _number(spec, "rate"), "longest_gap": _number(spec, "longest_gap")}
    splits = {
        name: _clips(_pairs(root, value, name), by, problems, where=name, **options) for name, value in named.items()
    }
    return Dataset(
        str(spec.get("name", path.stem)),
        f"described by {path.name}",
        root,
        _spec_reader(spec, labels),
        splits,
        default_split=next(name for name in ("val", "test", "train") if name in splits),
        problems=tuple(problems),
        descriptions=(path, *(root / value for value in named.values() if isinstance(value, str))),
    )


def _pairs(root: Path, value: Any, name: str) -> _Pairs | Path:
    if isinstance(value, str):
        return root / value
    if isinstance(value, Mapping) and set(value) == {"images", "masks"}:
        return _Pairs(root / str(value["images"]), root / str(value["masks"]))
    raise DataError(f"{name} is {value!r}; write `{_EXAMPLE}`, or the name of a text file of lines `PICTURE MASK`")


def _spec_labels(spec: Mapping[str, Any], name: str) -> LabelSet:
    if "names" not in spec:
        raise DataError("no names: write `names: [road, car]`, or the name of a label set such as `names: cityscapes`")
    if isinstance(spec["names"], str):
        return get_labels(spec["names"])
    values = {"names": spec["names"], "name": name}
    if spec.get("palette") is not None:
        values["colours"] = spec["palette"]
    if spec.get("union") is not None:
        values["union"] = spec["union"]
    return LabelSet.from_dict(values)


def _spec_reader(spec: Mapping[str, Any], labels: LabelSet) -> MaskReader:
    ignore = spec.get("ignore", [labels.ignore_index])
    void = {_byte(value, "ignore") for value in (ignore if isinstance(ignore, list) else [ignore])}
    if spec.get("colours", spec.get("colors", False)) is True:
        return MaskReader.of_colours(labels, {colour: index for index, colour in enumerate(labels.colours)})
    if "id_map" not in spec:
        default = labels.ids if labels.ids is not None else range(len(labels))
        ids = {value: index for index, value in enumerate(default)}
    elif isinstance(spec["id_map"], Mapping):
        pairs = {_byte(value, "id_map"): target for value, target in spec["id_map"].items()}
        ids = {value: _class(target, labels) for value, target in pairs.items() if target is not None}
        void |= {value for value, target in pairs.items() if target is None}
    else:
        raise DataError(f"id_map is {spec['id_map']!r}; write `id_map: {{7: road, 26: car}}`")
    return MaskReader.of_ids(labels, ids, void=void)


def _class(target: object, labels: LabelSet) -> int:
    if isinstance(target, str):
        return labels.index(target)
    if isinstance(target, int) and 0 <= target < len(labels):
        return target
    raise DataError(f"id_map leads to {target!r}; classes are 0 to {len(labels) - 1}, or their names")


def _byte(value: object, entry: str) -> int:
    if isinstance(value, int) and 0 <= value <= 255:
        return value
    raise DataError(f"{entry} has {value!r}; ids in mask files are whole numbers from 0 to 255")


def _number(spec: Mapping[str, Any], entry: str) -> float | None:
    value = spec.get(entry)
    if value is None or (isinstance(value, int | float) and value > 0):
        return value
    raise DataError(f"{entry} is {value!r}; it must be a number above 0")


def _clips(
    source: _Pairs | Path,
    by: str | None,
    problems: list[str],
    *,
    where: str,
    rate: float | None = None,
    longest_gap: float | None = None,
) -> tuple[Clip, ...]:
    frames = list(_listed(source, problems) if isinstance(source, Path) else _matched(source, problems, where))
    if by is None:
        by = "folder" if any("/" in frame.name for frame in frames) else "none"
    if by == "none":
        return single_clips(frame for frame in frames if frame.wanted)
    film = (lambda name: name.rpartition("/")[0]) if by == "folder" else (lambda name: split_number(name)[0])
    gap = None if longest_gap is None else int(longest_gap)
    clips = make_clips(((film(frame.name), frame) for frame in frames), rate=rate, longest_gap=gap)
    return tuple(clip for clip in clips if any(frame.wanted for frame in clip.frames))


def _listed(path: Path, problems: list[str]) -> Iterator[ClipFrame]:
    """Frames of a text file whose lines are `PICTURE MASK`, relative to it; without a mask a picture is only seen."""
    lost = []
    rows: dict[Path, Path | None] = {}
    for fields in read_list(path):
        image, mask = path.parent / fields[0], path.parent / fields[1] if len(fields) > 1 else None
        if not image.is_file() or (mask and not mask.is_file()):
            lost.append(fields[0])
            continue
        rows[image] = mask
    for name, (image, mask) in zip(frame_names(list(rows), path.parent), rows.items(), strict=True):
        yield ClipFrame(name, image, split_number(image.stem)[1] or 0, mask, wanted=mask is not None)
    if lost:
        problems.append(f"{path.name}: {few(lost)} or their masks do not exist: add them or remove the lines")


def _matched(pairs: _Pairs, problems: list[str], where: str) -> Iterator[ClipFrame]:
    """Frames of two folders and their sub-folders."""
    for folder in (pairs.images, pairs.masks):
        if not folder.is_dir():
            raise DataError(f"{folder} of {where} is no folder: correct the path")
    below = [path.relative_to(pairs.images) for path in pairs.images.rglob("*") if path.is_dir()]
    for part in [Path(), *sorted(below, key=lambda path: natural(path.as_posix()))]:
        images, masks = pictures(pairs.images / part), pictures(pairs.masks / part)
        ending = next((end for end in _MASK_ENDINGS if any(f"{stem}{end}" in masks for stem in images)), "")
        masks = {stem.removesuffix(ending) if ending else stem: path for stem, path in masks.items()}
        at = f"{where}/{part.as_posix()}" if part.parts else where
        # Within a sequence, frames without labels are the ones that others remember.
        problems += pair_problems(images, masks, where=at, image_only_ok=bool(part.parts) and bool(masks))
        for stem, image in images.items():
            name = (part / stem).as_posix()
            yield ClipFrame(name, image, split_number(stem)[1] or 0, masks.get(stem), wanted=stem in masks)


def _guess(root: Path) -> Iterator[tuple[str, _Pairs]]:
    images = next((root / name for name in _IMAGE_FOLDERS if (root / name).is_dir()), None)
    masks = next((root / name for name in _MASK_FOLDERS if (root / name).is_dir()), None)
    if images and masks:
        splits = [name for name in _SPLITS if (images / name).is_dir() and (masks / name).is_dir()]
        yield from ((name, _Pairs(images / name, masks / name)) for name in splits)
        if not splits:
            yield "all", _Pairs(images, masks)
        return
    for name in _SPLITS:
        inner_images = next((root / name / sub for sub in _IMAGE_FOLDERS if (root / name / sub).is_dir()), None)
        inner_masks = next((root / name / sub for sub in _MASK_FOLDERS if (root / name / sub).is_dir()), None)
        beside = next(
            (
                root / f"{name}{ending}"
                for ending in ("annot", "_labels", "_masks")
                if (root / f"{name}{ending}").is_dir()
            ),
            None,
        )
        if inner_images and inner_masks:
            yield name, _Pairs(inner_images, inner_masks)
        elif (root / name).is_dir() and beside:
            yield name, _Pairs(root / name, beside)


def _labels_of(root: Path, splits: Iterable[_Pairs]) -> tuple[LabelSet, str]:
    """The label set beside the data, or as many nameless classes as the masks have ids."""
    for name in ("labels.yaml", "labels.yml", "labels.json"):
        if (root / name).is_file():
            return get_labels(root / name), f"classes from {name}"
    highest = 0
    for pairs in splits:
        for path in sorted(pairs.masks.rglob("*.png"))[:50]:
            values = np.asarray(read_values(path))
            if values.ndim == 2:
                highest = max(highest, int(values[values != 255].max(initial=0)))
    if highest > 254:
        raise DataError(f"masks in {root} hold values up to {highest}: they are no class ids; describe them in a YAML")
    return generic_labels(highest + 1), f"no labels.yaml: {highest + 1} nameless classes, as the first masks have ids"
