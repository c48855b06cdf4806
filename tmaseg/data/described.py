"""A data set that a YAML file describes: where pictures and masks lie, and what the masks mean."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from tmaseg.data.clip import ClipFrame, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.files import few, frame_names, read_list
from tmaseg.data.folder import Pairs, clips_of, masks_beside
from tmaseg.data.masks import MaskReader
from tmaseg.errors import DataError, LabelError
from tmaseg.labels import LabelSet, get_labels

SequenceBy = Literal["folder", "name", "none"]
_KEYS = (
    *("path", "train", "val", "test", "names", "palette", "colours", "colors", "ignore", "id_map", "sequence"),
    *("union", "rate", "longest_gap", "name", "masks_dir", "nc"),
)
_EXAMPLE = "val: {images: images/val, masks: masks/val}"
_BACKGROUND = ("background", "_background_", "void", "unlabeled", "unlabelled", "ignore")


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
    unknown = [str(key) for key in spec if key not in _KEYS]
    if unknown:
        raise DataError(f"unknown entry {', '.join(unknown)}; known are {', '.join(_KEYS)}")
    root = root or (path.parent / str(spec.get("path", "."))).resolve()
    named = {name: spec[name] for name in ("train", "val", "test") if spec.get(name) is not None}
    if not named:
        raise DataError(f"no split: write at least one, such as `{_EXAMPLE}`")
    labels = _labels(spec, path.stem)
    by = spec.get("sequence")
    by = None if by is None else str(by).lower()
    if by is not None and by not in get_args(SequenceBy):
        raise DataError(f"sequence is {by!r}; it must be folder, name or none")
    problems: list[str] = []
    rate, longest_gap = _number(spec, "rate"), _number(spec, "longest_gap")
    splits, lists = {}, []
    for name, value in named.items():
        source = _source(root, value, name, spec.get("masks_dir"))
        if isinstance(source, Path):
            lists.append(source)
        frames = list(_listed(source, problems)) if isinstance(source, Path) else source.frames(problems, where=name)
        splits[name] = clips_of(frames, by, rate=rate, longest_gap=longest_gap)
    return Dataset(
        str(spec.get("name", path.stem)),
        f"described by {path.name}",
        root,
        _reader(spec, labels),
        splits,
        default_split=next(name for name in ("val", "test", "train") if name in splits),
        problems=tuple(problems),
        descriptions=(path, *lists),
    )


def _source(root: Path, value: Any, name: str, masks_dir: object) -> Pairs | Path:
    """Folders, or the file of a list."""
    if isinstance(value, Mapping) and set(value) == {"images", "masks"}:
        return Pairs(root / str(value["images"]), root / str(value["masks"]))
    if not isinstance(value, str):
        raise DataError(f"{name} is {value!r}; write `{_EXAMPLE}`, or the name of a text file of lines `PICTURE MASK`")
    images = root / value
    if not images.is_dir():
        return images
    if masks_dir is not None:  # as Ultralytics has it: images/val goes with MASKS_DIR/val
        parts = images.relative_to(root).parts
        place = parts.index("images") if "images" in parts else None
        masks = root.joinpath(*parts[:place], str(masks_dir), *parts[place + 1 :]) if place is not None else None
        return Pairs(images, masks or root / str(masks_dir) / value)
    found = masks_beside(images, root)
    if found is None:
        raise DataError(
            f"{name} is the folder {value}, but no masks lie beside it by the usual names: write `{_EXAMPLE}` "
            "(.txt files of boxes or polygons are no masks: export masks as PNG from the annotation tool)"
        )
    return Pairs(images, found)


def _labels(spec: Mapping[str, Any], name: str) -> LabelSet:
    if "names" not in spec:
        raise DataError("no names: write `names: [road, car]`, or the name of a label set such as `names: cityscapes`")
    if isinstance(spec["names"], str):
        return get_labels(spec["names"])
    values = {"names": spec["names"], "name": name}
    if spec.get("palette") is not None:
        values["colours"] = spec["palette"]
    if spec.get("union") is not None:
        values["union"] = spec["union"]
    labels = LabelSet.from_dict(values)
    if spec.get("nc") not in (None, len(labels)):
        raise DataError(f"nc is {spec['nc']!r}, but there are {len(labels)} names: correct one of them")
    return labels


def _reader(spec: Mapping[str, Any], labels: LabelSet) -> MaskReader:
    ignore = spec.get("ignore", [labels.ignore_index])
    void = {_byte(value, "ignore") for value in (ignore if isinstance(ignore, list) else [ignore])}
    if spec.get("colours", spec.get("colors", False)) is True:
        return MaskReader.of_colours(labels, {colour: index for index, colour in enumerate(labels.colours)})
    if "id_map" not in spec:
        ids = {value: index for index, value in enumerate(range(len(labels)) if labels.ids is None else labels.ids)}
        if 0 in void and labels.ids is None and labels.names[0].lower() not in _BACKGROUND:
            ids = {index + 1: index for index in range(len(labels))}  # masks whose ids begin at 1
        ids = {value: index for value, index in ids.items() if value not in void}
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


def _listed(path: Path, problems: list[str]) -> Iterator[ClipFrame]:
    """Frames of a text file whose lines are `PICTURE MASK`, relative to it; a picture alone is unlabelled."""
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
