"""LabelSet: the classes of a data set, their names, colours and ids, and how names are compared."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tmaseg.errors import LabelError

Colour = tuple[int, int, int]  # red, green, blue

MAX_CLASSES = 255  # class ids are bytes, and one byte is left for "no class"

_T = TypeVar("_T")


@dataclass(frozen=True)
class LabelSet:
    """The classes that the ids 0, 1, 2 ... of a label map stand for.

    Raises LabelError where names, colours and ids do not fit each other.
    """

    name: str  # short, such as "cityscapes"
    names: tuple[str, ...]  # one a class, in the order of the class ids
    colours: tuple[Colour, ...]  # one (red, green, blue) triple a class, 0 to 255
    void: tuple[int, ...] = ()  # class ids that a network may predict but that are never painted or scored
    ids: tuple[int, ...] | None = None  # of each class in the data set's own label files; None where it is the class id
    ignore_index: int = 255  # the value of pixels without a class in label maps; never a class id
    unions: tuple[tuple[int, tuple[str, ...]], ...] = ()  # (class id, names of the finer classes that it is made of)

    def __post_init__(self) -> None:
        problem = next(self._problems(), None)
        if problem:
            raise LabelError(f"label set '{self.name}' {problem}")

    def _problems(self) -> Iterator[str]:
        count = len(self.names)
        if not 1 <= count <= MAX_CLASSES:
            yield f"has {count} classes; it needs 1 to {MAX_CLASSES}"
        if (twice := _repeated(self.names)) is not None:
            yield f"names the class '{twice}' twice; give every class its own name"
        if len(self.colours) != count:
            yield f"has {count} names but {len(self.colours)} colours; give one each"
        for name, colour in zip(self.names, self.colours, strict=True):
            if not _is_colour(colour):
                yield (
                    f"has the colour {colour!r} for class '{name}'; it must be three whole numbers from 0 to 255, or "
                    "'#rrggbb' in quotes"
                )
        for void in self.void:
            if void not in range(count):
                yield f"has void class {void!r} outside its ids 0 to {count - 1}"
        if not _is_byte(self.ignore_index) or self.ignore_index < count:
            yield f"has ignore_index {self.ignore_index!r}; it must lie between {count} and 255, outside its class ids"
        if self.ids is not None:
            if len(self.ids) != count:
                yield f"has {count} names but {len(self.ids)} ids; give one each"
            if (wrong := next((each for each in self.ids if not _is_byte(each)), None)) is not None:
                yield f"has id {wrong!r}; it must be a whole number from 0 to 255"
            if (double := _repeated(self.ids)) is not None:
                yield f"uses the id {double} twice; give every class its own id"
        if (twice := _repeated([normalized(name) for _, names in self.unions for name in names])) is not None:
            yield f"has '{twice}' in two unions, or twice in one; name it once"

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """The class id of a name in any spelling, or of a common synonym. Raises LabelError that lists the names."""
        if name in self.names:
            return self.names.index(name)
        for spelling in (normalized, canonical):
            for index, known in enumerate(self.names):
                if spelling(known) == spelling(name):
                    return index
        raise LabelError(f"unknown class '{name}'; label set '{self.name}' has: {', '.join(self.names)}")

    def palette(self) -> NDArray[np.uint8]:
        """(256, 3) uint8: the RGB colour of each id; black for void classes and for ids that are no class."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.colours
        table[list(self.void)] = 0
        return table

    def encode_table(self) -> NDArray[np.uint8]:
        """(256,) uint8: class id -> id in the data set's own label files; other ids stay as they are."""
        table = np.arange(256, dtype=np.uint8)
        table[: len(self)] = self.ids if self.ids is not None else range(len(self))
        return table

    def to_dict(self) -> dict[str, object]:
        """The set as plain lists and numbers, ready for JSON; from_dict reads it back."""
        return {
            "name": self.name,
            "names": list(self.names),
            "colours": [list(colour) for colour in self.colours],
            "void": list(self.void),
            "ids": None if self.ids is None else list(self.ids),
            "ignore_index": self.ignore_index,
            **({"union": {self.names[index]: list(names) for index, names in self.unions}} if self.unions else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object], *, name: str = "custom") -> "LabelSet":
        """A set from what a JSON or YAML file holds; `name` is used where the file gives none.

        `names` is a list, or a mapping of class id to name. The rest is optional: `colours` (or `colors`; triples,
        "#rrggbb", or a mapping of class name to either; the VOC colour map where absent), `void` (names or class ids),
        `ids`, `ignore_index`, `union` (class name to the names of the finer classes that it is made of). Raises
        LabelError that says which entry is wrong.
        """
        known = ("name", "names", "colours", "colors", "void", "ids", "ignore_index", "union")
        for key in values:
            if key not in known:
                raise LabelError(f"unknown entry '{key}' in label set; known entries are: {', '.join(known)}")
        if "names" not in values:
            raise LabelError("a label set needs 'names', a list with one name a class")
        names = _read_names(values["names"])
        ids, void = values.get("ids"), values.get("void")
        void = _read_list([] if void is None else void, "void")
        fields: dict[str, Any] = {  # `_problems` finds what is no number
            "void": tuple(_class_id(each, names, "void") if isinstance(each, str) else each for each in void),
            "ids": None if ids is None else tuple(_read_list(ids, "ids")),
            "ignore_index": values.get("ignore_index", 255),
        }
        return cls(
            name=str(values.get("name", name)),
            names=names,
            colours=_read_colours(values.get("colours", values.get("colors")), names),
            unions=_read_unions(values.get("union"), names),
            **fields,
        )


def normalized(name: str) -> str:
    """A name without case, spaces and punctuation: 'Sign/Symbol' and 'SignSymbol' are both 'signsymbol'."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name


def canonical(name: str) -> str:
    """One name for all synonyms of a class: "pavement" and "Sidewalk" are both "sidewalk"."""
    return _CANONICAL.get(normalized(name), normalized(name))


# Each line: a canonical name, then its synonyms, all as `normalized` spells them.
_CANONICAL = {
    synonym: line.split()[0]
    for line in (
        "road roadway street carriageway",
        "sidewalk pavement footpath footway pavementsidewalk sidewalkpavement",
        "vegetation tree trees",
        "trafficsign sign signs signsymbol trafficsigns roadsign",
        "trafficlight trafficlights trafficsignal trafficlightsignal",
        "person pedestrian people human",
        "rider bicyclist cyclist",
        "bicycle bike",
        "motorcycle motorbike motorcyclescooter",
        "pole columnpole column post",
        "building buildings",
        "car automobile cars",
        "lanemarking lanemarkings lanemkgsdriv lanemarkdriving",
    )
    for synonym in line.split()
}


def voc_colours(count: int) -> tuple[Colour, ...]:
    """The first `count` colours (at most 256) of the Pascal VOC colour map."""

    def channel(index: int, first_bit: int) -> int:
        return sum((index >> (3 * bit + first_bit) & 1) << (7 - bit) for bit in range(3))

    return tuple((channel(index, 0), channel(index, 1), channel(index, 2)) for index in range(count))


def _read_list(value: object, entry: str) -> list[object]:
    if not isinstance(value, list | tuple):
        raise LabelError(f"'{entry}' must be a list, but is {kind_of(value)}")
    return list(value)


def _class_id(name: object, names: tuple[str, ...], entry: str) -> int:
    if name not in names:
        raise LabelError(f"'{entry}' has '{name}', which is not one of the names: {', '.join(names)}")
    return names.index(str(name))


def _read_names(value: object) -> tuple[str, ...]:
    """From a list, or from a mapping of class id to name."""
    if isinstance(value, Mapping):  # {0: road, 1: car}; JSON makes the ids strings
        by_id = {str(key): name for key, name in value.items()}
        wanted = [str(index) for index in range(len(value))]
        if sorted(by_id) != sorted(wanted):
            raise LabelError(f"'names' must have the ids 0 to {len(value) - 1}, but has {', '.join(by_id)}")
        value = [by_id[index] for index in wanted]
    names = _read_list(value, "names")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise LabelError(f"'names' must hold the names as text, but has {name!r}; put it in quotes")
    return tuple(str(name).strip() for name in names)


def _read_colours(value: object, names: tuple[str, ...]) -> tuple[Colour, ...]:
    """One colour a name: from a list or from a mapping of name to colour, or the VOC colours where there are none."""
    if value is None:
        return voc_colours(len(names))
    if isinstance(value, Mapping):
        by_id = {_class_id(name, names, "colours"): colour for name, colour in value.items()}
        missing = next((name for index, name in enumerate(names) if index not in by_id), None)
        if missing:
            raise LabelError(f"'colours' has none for the class '{missing}'")
        value = [by_id[index] for index in range(len(names))]
    return tuple(map(_read_colour, _read_list(value, "colours")))


def _read_colour(value: Any) -> Colour:
    """A triple, from "#rrggbb" too; `_problems` finds what is no colour."""
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        value = tuple(bytes.fromhex(value[1:]))
    colour: Colour = tuple(value) if isinstance(value, list) else value
    return colour


def _read_unions(value: object, names: tuple[str, ...]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """(class id, names of its members) of each union, from a mapping of class name to names."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise LabelError("'union' must be a mapping of class name to finer classes, such as {far: [building, sky]}")
    unions = []
    for name, members in value.items():
        index, members = _class_id(name, names, "union"), _read_list(members, f"union of '{name}'")
        if not members or not all(isinstance(member, str) for member in members):
            raise LabelError(f"the union of '{name}' must list names of finer classes, but has {members!r}")
        unions.append((index, tuple(map(str, members))))
    return tuple(unions)


def _repeated(values: Sequence[_T]) -> _T | None:
    return next((value for index, value in enumerate(values) if value in values[:index]), None)


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _is_colour(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(map(_is_byte, value))


def kind_of(value: object) -> str:
    """The kind of `value`, for an error message."""
    return "nothing" if value is None else f"a {type(value).__name__}"
