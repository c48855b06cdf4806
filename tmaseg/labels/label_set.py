"""LabelSet: the classes of a data set, their names, colours and ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tmaseg.errors import LabelError
from tmaseg.labels.entries import Colour, is_byte, read_colours, read_int, read_list, read_names, read_unions, read_void
from tmaseg.labels.names import concept, plain

MAX_CLASSES = 255  # class ids are bytes, and one byte is left for "no class"

_T = TypeVar("_T")


@dataclass(frozen=True)
class LabelSet:
    """What the class ids 0, 1, 2 ... of a label map mean.

    Raises LabelError where names, colours and ids do not fit each other.
    """

    name: str
    """Short name of the set, such as "cityscapes"."""
    names: tuple[str, ...]
    """One name a class, in the order of the class ids."""
    colours: tuple[Colour, ...]
    """One (red, green, blue) triple a class, 0 to 255."""
    void: tuple[int, ...] = ()
    """Class ids that a network may answer but that are never painted or scored."""
    ids: tuple[int, ...] | None = None
    """The id of each class in the data set's own label files; None where it is the class id."""
    ignore_index: int = 255
    """The value of pixels without a class in label maps; never a class id."""
    unions: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """Classes that are unions of finer ones with names of another set, each with those names: (class id, names)."""

    def __post_init__(self) -> None:
        count = len(self.names)
        if not 1 <= count <= MAX_CLASSES:
            raise LabelError(f"label set '{self.name}' has {count} classes; it needs 1 to {MAX_CLASSES}")
        if (twice := _repeated(self.names)) is not None:
            raise LabelError(f"label set '{self.name}' names the class '{twice}' twice; give every class its own name")
        if len(self.colours) != count:
            raise LabelError(
                f"label set '{self.name}' has {count} names but {len(self.colours)} colours; give one each"
            )
        for name, colour in zip(self.names, self.colours, strict=True):
            if not _is_colour(colour):
                raise LabelError(f"colour {list(colour)} of class '{name}' must be three whole numbers from 0 to 255")
        for void in self.void:
            if not 0 <= void < count:
                raise LabelError(
                    f"void class {void} of label set '{self.name}' must be one of its ids 0 to {count - 1}"
                )
        if not is_byte(self.ignore_index) or self.ignore_index < count:
            raise LabelError(
                f"ignore_index {self.ignore_index} of label set '{self.name}' must lie between {count} and 255, "
                "outside its class ids"
            )
        if self.ids is not None:
            self._check_ids(self.ids)
        members = [plain(name) for _, names in self.unions for name in names]
        if (twice := _repeated(members)) is not None:
            raise LabelError(f"label set '{self.name}' has '{twice}' in two unions, or twice in one; name it once")

    def _check_ids(self, ids: tuple[int, ...]) -> None:
        if len(ids) != len(self.names):
            raise LabelError(f"label set '{self.name}' has {len(self.names)} names but {len(ids)} ids; give one each")
        for label_id in ids:
            if not is_byte(label_id):
                raise LabelError(f"id {label_id} of label set '{self.name}' must be a whole number from 0 to 255")
        if (twice := _repeated(ids)) is not None:
            raise LabelError(f"label set '{self.name}' uses the id {twice} twice; give every class its own id")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """The class id of a name; case, spaces and punctuation do not matter, and common synonyms are understood.

        Raises LabelError, listing the known names, where there is none.
        """
        if name in self.names:
            return self.names.index(name)
        for spelling in (plain, concept):
            for index, known in enumerate(self.names):
                if spelling(known) == spelling(name):
                    return index
        raise LabelError(f"unknown class '{name}'; label set '{self.name}' has: {', '.join(self.names)}")

    def palette(self) -> NDArray[np.uint8]:
        """(256, 3) uint8: the RGB colour of every id; black for void classes and for ids that are no class."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.colours
        table[list(self.void)] = 0
        return table

    def encode_table(self) -> NDArray[np.uint8]:
        """(256,) uint8: class id -> id in the data set's own label files; other ids stay as they are."""
        table = np.arange(256, dtype=np.uint8)
        table[: len(self)] = self.ids if self.ids is not None else range(len(self))
        return table

    def decode_table(self) -> NDArray[np.uint8]:
        """(256,) uint8: id in the data set's own label files -> class id; ignore_index where it is no class."""
        table = np.full(256, self.ignore_index, np.uint8)
        table[list(self.ids if self.ids is not None else range(len(self)))] = np.arange(len(self))
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
        names = read_names(values["names"])
        ids = values.get("ids")
        return cls(
            name=str(values.get("name", name)),
            names=names,
            colours=read_colours(values.get("colours", values.get("colors")), names),
            void=read_void(values.get("void"), names),
            ids=None if ids is None else tuple(read_int(item, "ids") for item in read_list(ids, "ids")),
            ignore_index=read_int(values.get("ignore_index", 255), "ignore_index"),
            unions=read_unions(values.get("union"), names),
        )


def _is_colour(parts: Sequence[int]) -> bool:
    return len(parts) == 3 and all(is_byte(part) for part in parts)


def _repeated(values: Sequence[_T]) -> _T | None:
    return next((value for place, value in enumerate(values) if value in values[:place]), None)
