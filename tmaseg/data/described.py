"""Data sets that a YAML file describes: where pictures and masks lie, and what the masks mean. Some come along."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from tmaseg.data.clip import ClipFrame, split_number
from tmaseg.data.dataset import Dataset
from tmaseg.data.files import few, folders_in, frame_names, read_list, read_names, require_root
from tmaseg.data.folder import Pairs, clips_of, masks_beside
from tmaseg.data.masks import MaskReader
from tmaseg.errors import DataError, LabelError
from tmaseg.labels import LabelSet, get_labels

SETS = {path.stem: path for path in sorted(Path(__file__).with_name("sets").glob("*.yaml"))}
"""The data sets that come along, by name."""
_KEYS = (
    *("path", "train", "val", "test", "names", "palette", "colours", "colors", "ignore", "id_map", "sequence"),
    *("union", "rate", "longest_gap", "name", "masks_dir", "nc", "ids", "channel", "stretch", "default"),
    *("layout", "notes", "needs", "expected"),
)
_SPLIT_KEYS = {"images", "masks", "list", "wanted"}
_EXAMPLE = "val: {images: images/val, masks: masks/val}"
_BACKGROUND = ("background", "_background_", "void", "unlabeled", "unlabelled", "ignore")


def find_yaml(path: Path, root: Path | None = None) -> Dataset:
    """A data set described in YAML; `root` replaces its `path`. Raises DataError that names the entry.

    Where it has `needs`, the patterns of what must lie there, the data may lie one folder below.
    """
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: no readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(spec, Mapping):
        raise DataError(f"{path}: must hold entries such as `{_EXAMPLE}` and `names: [road, car]`")
    root = root or (path.parent / str(spec.get("path", "."))).resolve()
    if needs := _as_list(spec.get("needs", [])):
        found = str(spec.get("expected", ", ".join(map(str, needs))))
        root = require_root(
            root, lambda folder: all(any(folder.glob(str(each))) for each in needs), name=path.stem, expected=found
        )
    try:
        return _from_spec(spec, path, root)
    except (DataError, LabelError) as error:
        raise DataError(f"{path}: {error}") from error


def _from_spec(spec: Mapping[str, Any], path: Path, root: Path) -> Dataset:
    unknown = [str(key) for key in spec if key not in _KEYS]
    if unknown:
        raise DataError(f"unknown entry {', '.join(unknown)}; known are {', '.join(_KEYS)}")
    named = {name: spec[name] for name in ("train", "val", "test") if spec.get(name) is not None}
    if not named:
        raise DataError(f"no split: write at least one, such as `{_EXAMPLE}`")
    labels = _labels(spec, path.stem)
    by = spec.get("sequence")
    by = None if by is None else str(by).lower()
    if by not in (None, "folder", "name", "none"):
        raise DataError(f"sequence is {by!r}; it must be folder, name or none")
    rate, longest_gap = _number(spec, "rate"), _number(spec, "longest_gap")
    problems: list[str] = []
    frames = {name: _frames(root, spec, name, problems, between=by == "name") for name in named}
    parts = [each for value in named.values() for each in (value.values() if isinstance(value, Mapping) else [value])]
    files = [root / str(part) for part in parts if (root / str(part)).is_file()]
    return Dataset(
        str(spec.get("name", path.stem)),
        str(spec.get("layout", f"described by {path.name}")),
        root,
        _reader(spec, labels),
        {name: clips_of(found, by, rate=rate, longest_gap=longest_gap) for name, found in frames.items()},
        default_split=spec.get("default") or next(name for name in ("val", "test", "train") if name in named),
        problems=tuple(problems),
        notes=tuple(map(str, _as_list(spec.get("notes", [])))),
        stretch=_number(spec, "stretch") or 1.0,
        descriptions=(path, *files),
    )


def _frames(root: Path, spec: Mapping[str, Any], name: str, problems: list[str], *, between: bool) -> list[ClipFrame]:
    """The pictures of a split with their masks; of a test split without masks, those that are to be predicted."""
    value = spec[name]
    if isinstance(value, str):
        if not (root / value).is_dir():
            return list(_listed(root / value, problems))
        masks = _masks_of(root, value, name, spec.get("masks_dir"))
        return Pairs(root / value, masks).frames(problems, where=name, between=between)
    required = {"images"} if name == "test" else {"images", "masks"}
    if not isinstance(value, Mapping) or not required <= set(value) <= _SPLIT_KEYS:
        raise DataError(f"{name} is {value!r}; write `{_EXAMPLE}`, or the name of a text file of lines `PICTURE MASK`")
    alone = "masks" not in value
    frames: list[ClipFrame] = []
    for sequence in _sequences(root, value, problems):
        images = root / str(value["images"]).replace("*", sequence)
        truths = None if alone else root / str(value["masks"]).replace("*", sequence)
        absent = [folder for folder in (images, truths) if folder and not folder.is_dir()]
        if absent and "needs" not in spec:  # few have every split of a well-known set
            raise DataError(f"{absent[0]} of {name} is no folder: correct the path")
        where, folder = (f"{name}/{sequence}", f"{sequence}/") if sequence else (name, "")
        frames += Pairs(images, truths).frames(problems, where=where, folder=folder, between=between)
    if alone:
        pattern = str(value.get("wanted", "*"))
        frames = [replace(frame, wanted=fnmatchcase(frame.name, pattern)) for frame in frames]
    return frames


def _sequences(root: Path, value: Mapping[str, Any], problems: list[str]) -> list[str]:
    """Names of the folders that "*" stands for: those that a list names, or all."""
    parents = [str(value[key]).partition("*")[0] for key in ("images", "masks") if "*" in str(value.get(key))]
    if not parents:
        return [""]
    known = dict.fromkeys(folder.name for parent in parents for folder in folders_in(root / parent))
    if "list" not in value:
        return list(known)
    path = root / str(value["list"])
    return read_names(path, known, problems, where=parents[0], noun="video") if path.is_file() else []


def _masks_of(root: Path, value: str, name: str, masks_dir: object) -> Path:
    """The folder of masks that goes with a folder of pictures."""
    images = root / value
    if masks_dir is not None:  # as Ultralytics has it: images/val goes with MASKS_DIR/val
        parts = images.relative_to(root).parts
        if "images" not in parts:
            return root / str(masks_dir) / value
        place = parts.index("images")
        return root.joinpath(*parts[:place], str(masks_dir), *parts[place + 1 :])
    found = masks_beside(images, root)
    if found is None:
        raise DataError(
            f"{name} is the folder {value}, but no masks lie beside it by the usual names: write `{_EXAMPLE}` "
            "(.txt files of boxes or polygons are no masks: export masks as PNG from the annotation tool)"
        )
    return found


def _labels(spec: Mapping[str, Any], name: str) -> LabelSet:
    if "names" not in spec:
        raise DataError("no names: write `names: [road, car]`, or the name of a label set such as `names: cityscapes`")
    if isinstance(spec["names"], str):
        return get_labels(spec["names"])
    values = {"name": name, "colours": spec.get("palette"), **{key: spec.get(key) for key in ("names", "ids", "union")}}
    labels = LabelSet.from_dict(values)
    if spec.get("nc") not in (None, len(labels)):
        raise DataError(f"nc is {spec['nc']!r}, but there are {len(labels)} names: correct one of them")
    return labels


def _reader(spec: Mapping[str, Any], labels: LabelSet) -> MaskReader:
    void = {_byte(value, "ignore") for value in _as_list(spec.get("ignore", labels.ignore_index))}
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
    channel = spec.get("channel")
    if channel not in (None, 0, 1, 2):
        raise DataError(f"channel is {channel!r}; it must be 0, 1 or 2: red, green or blue holds the ids")
    return MaskReader.of_ids(labels, ids, void=void, channel=channel)


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


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _number(spec: Mapping[str, Any], entry: str) -> float | None:
    value = spec.get(entry)
    if value is None:
        return None
    if isinstance(value, int | float) and value > 0:
        return float(value)
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
