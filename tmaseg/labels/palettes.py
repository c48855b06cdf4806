"""The label sets that ship, finding one by name or file, and where the classes of one set are found in another."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmaseg.errors import LabelError
from tmaseg.labels.label_set import MAX_CLASSES, LabelSet, canonical, kind_of, normalized, voc_colours


def get_labels(name_or_path: str | Path) -> LabelSet:
    """A shipped label set by name, or a user's own from a .json, .yaml or .yml file.

    Raises LabelError where the name is unknown, or the file cannot be read or holds no label set.
    """
    if (known := str(name_or_path).strip().lower()) in _KNOWN:
        return _KNOWN[known]
    if known == "voc":
        return generic_labels(MAX_CLASSES)
    path = Path(name_or_path)
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        names = ", ".join(label_set_names())
        raise LabelError(
            f"unknown label set '{name_or_path}'; known: {names}; or give a .json or .yaml file of your own"
        )
    values = _parse(path)
    if not isinstance(values, Mapping):
        raise LabelError(f"{path} must hold 'names' and 'colours', but holds {kind_of(values)}")
    try:
        return LabelSet.from_dict({str(key): value for key, value in values.items()}, name=path.stem)
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error


def label_set_names() -> tuple[str, ...]:
    """Names of the label sets that ship."""
    return (*_KNOWN, "voc")


def generic_labels(count: int) -> LabelSet:
    """`count` classes (1 to 255) named "class 0", "class 1" ... in the colours of the Pascal VOC colour map."""
    colours = voc_colours(min(max(count, 0), MAX_CLASSES + 1))
    return LabelSet("voc", tuple(f"class {index}" for index in range(len(colours))), colours)


def _known_set(name: str, text: str, **fields: Any) -> LabelSet:
    """A set from "class r,g,b; class r,g,b; ..."."""
    pairs = [entry.strip().rsplit(" ", 1) for entry in text.split(";")]
    colours: list[Any] = [tuple(map(int, colour.split(","))) for _, colour in pairs]
    return LabelSet(name, tuple(class_name for class_name, _ in pairs), tuple(colours), **fields)


CITYSCAPES = _known_set(
    "cityscapes",
    "road 128,64,128; sidewalk 244,35,232; building 70,70,70; wall 102,102,156; fence 190,153,153; pole 153,153,153;"
    "traffic light 250,170,30; traffic sign 220,220,0; vegetation 107,142,35; terrain 152,251,152; sky 70,130,180;"
    "person 220,20,60; rider 255,0,0; car 0,0,142; truck 0,0,70; bus 0,60,100; train 0,80,100; motorcycle 0,0,230;"
    "bicycle 119,11,32",
    ids=(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
)
"""The 19 classes of Cityscapes (class ids are its trainIds) and of KITTI-STEP."""

_CAMVID_CLASSES = (
    "sky 128,128,128; building 128,0,0; pole 192,192,128; road 128,64,128; pavement 0,0,192; tree 128,128,0;"
    "sign/symbol 192,128,128; fence 64,64,128; car 64,0,128; pedestrian 64,64,0; bicyclist 0,128,192"
)

CAMVID = _known_set("camvid", _CAMVID_CLASSES, ignore_index=11)
"""The 11 usual classes of CamVid; id 11 is void in the label files and no class."""

CAMVID12 = _known_set("camvid12", f"void 0,0,0; {_CAMVID_CLASSES}", void=(0,))
"""CamVid as the authors' code has it: 12 outputs, of which 0 is void."""

CAMVID32 = _known_set(
    "camvid32",
    "Animal 64,128,64; Archway 192,0,128; Bicyclist 0,128,192; Bridge 0,128,64; Building 128,0,0; Car 64,0,128;"
    "CartLuggagePram 64,0,192; Child 192,128,64; Column_Pole 192,192,128; Fence 64,64,128; LaneMkgsDriv 128,0,192;"
    "LaneMkgsNonDriv 192,0,64; Misc_Text 128,128,64; MotorcycleScooter 192,0,192; OtherMoving 128,64,64;"
    "ParkingBlock 64,192,128; Pedestrian 64,64,0; Road 128,64,128; RoadShoulder 128,128,192; Sidewalk 0,0,192;"
    "SignSymbol 192,128,128; Sky 128,128,128; SUVPickupTruck 64,128,192; TrafficCone 0,0,64; TrafficLight 0,64,64;"
    "Train 192,64,128; Tree 128,128,0; Truck_Bus 192,128,192; Tunnel 64,0,64; VegetationMisc 192,192,0; Void 0,0,0;"
    "Wall 64,192,0",
    void=(30,),
)
"""The 32 classes of CamVid's own colour masks."""

_KNOWN = {labels.name: labels for labels in (CITYSCAPES, CAMVID, CAMVID12, CAMVID32)}


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Where the classes of one label set are found in another."""

    table: NDArray[np.uint8]  # (256,): source class id -> target class id, or the target's ignore_index for none
    missing: tuple[str, ...]  # source classes without a counterpart; void classes are not counted


def map_by_name(source: LabelSet, target: LabelSet) -> ClassMap:
    """Matches classes by name: the same name, then a synonym, then the class that the target merges it into.

    What a union of the target names goes there; a union of the source goes to the first of its members that is found.
    """
    # Cityscapes to CamVid sends wall to building, terrain to tree, truck to car, and so on; the other way every class
    # has its one natural counterpart. Void classes match nothing.
    members = [*((index, name) for index, names in target.unions for name in names), *enumerate(target.names)]
    found = _by_spelling([(index, name) for index, name in members if index not in target.void])
    made_of = dict(source.unions)

    def match(index: int, name: str) -> int | None:
        parts = made_of.get(index, (name,))
        wanted = [word for part in parts for word in (normalized(part), canonical(part))]
        wanted += [word for part in parts for word in _MERGED_INTO.get(canonical(part), ())]
        return next((found[word] for word in wanted if word in found), None)

    return _map(source, target, match)


def map_to_groups(source: LabelSet, groups: LabelSet) -> ClassMap:
    """Where the classes of `source` go among those of `groups`, which says what each is made of.

    A class belongs to the union that lists it, or to the class of its own name; synonyms are understood. Others belong
    to none. Raises LabelError for a class or union that nothing of `source` belongs to.
    """
    made_of = dict(groups.unions)
    parts = [made_of.get(index, (name,)) for index, name in enumerate(groups.names)]
    found = _by_spelling([(index, part) for index, names in enumerate(parts) for part in names])
    result = _map(source, groups, lambda _, name: found.get(normalized(name), found.get(canonical(name))))
    for index in sorted({*range(len(groups))} - {*result.table.tolist(), *groups.void}):
        raise LabelError(
            f"'{groups.names[index]}' of {groups.name} is made of {', '.join(parts[index])}, but there is no such "
            f"class in {source.name}: {', '.join(source.names)}"
        )
    return result


def _by_spelling(members: Sequence[tuple[int, str]]) -> dict[str, int]:
    """The first class id of each name and then of each synonym."""
    found: dict[str, int] = {}
    for spelling in (normalized, canonical):
        for index, name in members:
            found.setdefault(spelling(name), index)
    return found


def _map(source: LabelSet, target: LabelSet, match: Callable[[int, str], int | None]) -> ClassMap:
    """`match`: a class of the source, by id and name -> its counterpart in the target."""
    found = {index: match(index, name) for index, name in enumerate(source.names) if index not in source.void}
    table = np.full(256, target.ignore_index, np.uint8)
    for index, other in found.items():
        table[index] = target.ignore_index if other is None else other
    return ClassMap(table, tuple(source.names[index] for index, other in found.items() if other is None))


@dataclass(frozen=True)
class ClassUnions:
    """For each class of a data set, the network's classes that it is the union of; none for a class left out."""

    # CamVid's car is Cityscapes' car, truck, bus and train: its probability is the sum of theirs.
    members: tuple[tuple[int, ...], ...]
    missing: tuple[str, ...] = ()  # classes that the network has no counterpart for: in training their pixels are void

    @property
    def is_identity(self) -> bool:
        """Whether the data set's class ids are the network's."""
        return self.members == tuple((index,) for index in range(len(self.members)))

    @cached_property
    def merged(self) -> NDArray[np.uint8]:
        """(256,) class id of the data set -> the first class that is one with it to the network, or itself."""
        # Cityscapes' truck, bus and train are all CamVid's car: with CamVid's classes they are one class.
        first = list(range(256))
        for index, union in enumerate(self.members):
            met = {first[earlier] for earlier in range(index) if set(self.members[earlier]) & set(union)} | {index}
            first = [min(met) if other in met else other for other in first]
        return np.array(first, np.uint8)

    def merge_counts(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(..., D) pixels of each class -> (..., D), those that are one to the network counted as the first; else 0."""
        counted = np.zeros_like(pixels)
        for index, union in enumerate(self.members):
            if union:
                counted[..., self.merged[index]] += pixels[..., index]
        return counted


def unite_by_name(data: LabelSet, network: LabelSet) -> ClassUnions:
    """The unions of a data set's classes by class name, both ways: coarse classes and fine ones are understood.

    Raises LabelError when not one class has a counterpart.
    """
    if data.names == network.names:
        void = set(data.void) | set(network.void)
        return ClassUnions(tuple(() if index in void else (index,) for index in range(len(data))))
    coarser, finer = map_by_name(network, data).table, map_by_name(data, network).table
    members = []
    for index in range(len(data)):
        union = tuple(other for other in range(len(network)) if coarser[other] == index and other not in network.void)
        if not union and finer[index] < len(network) and index not in data.void:
            union = (int(finer[index]),)
        members.append(union)
    if not any(members):
        raise LabelError(
            f"no class of {data.name!r} has a counterpart in {network.name!r}: choose another label set with --labels"
        )
    missing = (data.names[index] for index, union in enumerate(members) if not union and index not in data.void)
    return ClassUnions(tuple(members), tuple(missing))


# Where a target lacks a class, the first of these that it has: the usual merges of CamVid's 32 classes into 11.
_MERGED_INTO = {
    name: tuple(targets.split())
    for line in (
        "wall archway bridge tunnel house: building",
        "trafficcone: pole",
        "lanemarking lanemkgsnondriv crosswalk: road",
        "parkingblock roadshoulder curb: sidewalk",
        "vegetationmisc plant: vegetation",
        "terrain: vegetationmisc vegetation",
        "grass: terrain vegetationmisc vegetation",
        "misctext trafficlight: trafficsign",
        "suvpickuptruck van othermoving train: car",
        "tram: train car",
        "truckbus: truck bus car",
        "truck bus: truckbus car",
        "child cartluggagepram animal rider: person",
        "motorcycle bicycle motorcyclist: rider",
    )
    for names, targets in [line.split(": ")]
    for name in names.split()
}


def _parse(path: Path) -> object:
    """The content of a JSON or YAML file. Raises LabelError where it cannot be read."""
    import yaml  # only a user's own file needs it, and --help should not wait for it

    form = "JSON" if path.suffix.lower() == ".json" else "YAML"
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text) if form == "JSON" else yaml.safe_load(text)
    except OSError as error:
        raise LabelError(f"cannot read label set {path}: {error.strerror or error}") from error
    except (ValueError, yaml.YAMLError) as error:  # bad JSON and bad UTF-8 are ValueErrors
        reason = " ".join(str(error).split())
        raise LabelError(f"{path} is not valid {form}: {reason}") from error
