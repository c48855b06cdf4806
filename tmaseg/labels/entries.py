"""The entries of a label set as people write them in JSON or YAML, read with precise errors."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from tmaseg.errors import LabelError

Colour = tuple[int, int, int]


def parse(path: Path) -> object:
    """What a JSON or YAML file holds. Raises LabelError where it cannot be read."""
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


def voc_colours(count: int) -> tuple[Colour, ...]:
    """The first `count` colours (at most 256) of the Pascal VOC colour map: bits dealt to red, green and blue."""

    def channel(index: int, first_bit: int) -> int:
        return sum((index >> (3 * place + first_bit) & 1) << (7 - place) for place in range(3))

    return tuple((channel(index, 0), channel(index, 1), channel(index, 2)) for index in range(count))


def read_list(value: object, entry: str) -> list[object]:
    """`value` as a list, or a LabelError that names the entry."""
    if not isinstance(value, list | tuple):
        raise LabelError(f"'{entry}' must be a list, but is {kind(value)}")
    return list(value)


def read_int(value: object, entry: str) -> int:
    """`value` as a whole number, or a LabelError that names the entry."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise LabelError(f"'{entry}' must hold whole numbers, but has {value!r}")
    return value


def read_names(value: object) -> tuple[str, ...]:
    """The names from a list, or from a mapping of class id to name."""
    if isinstance(value, Mapping):  # {0: road, 1: car}; JSON makes the ids strings
        by_id = {str(key): name for key, name in value.items()}
        wanted = [str(index) for index in range(len(value))]
        if sorted(by_id) != sorted(wanted):
            raise LabelError(f"'names' must have the ids 0 to {len(value) - 1}, but has {', '.join(by_id)}")
        value = [by_id[index] for index in wanted]
    names = read_list(value, "names")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise LabelError(f"'names' must hold the names as text, but has {name!r}; put it in quotes")
    return tuple(str(name).strip() for name in names)


def read_colours(value: object, names: tuple[str, ...]) -> tuple[Colour, ...]:
    """One colour a name: from a list or from a mapping of name to colour, or the VOC colours where there are none."""
    if value is None:
        return voc_colours(len(names))
    if isinstance(value, Mapping):
        for name in value:
            if name not in names:
                raise LabelError(f"'colours' has '{name}', which is not one of the names: {', '.join(names)}")
        for name in names:
            if name not in value:
                raise LabelError(f"'colours' has none for the class '{name}'")
        value = [value[name] for name in names]
    return tuple(_read_colour(colour, place) for place, colour in enumerate(read_list(value, "colours")))


def _read_colour(value: object, place: int) -> Colour:
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        return (int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16))
    if isinstance(value, list | tuple) and len(value) == 3 and all(is_byte(part) for part in value):
        return (int(value[0]), int(value[1]), int(value[2]))
    raise LabelError(
        f"colour {place} is {value!r}; it must be three whole numbers from 0 to 255, or a quoted '#rrggbb'"
    )


def read_void(value: object, names: tuple[str, ...]) -> tuple[int, ...]:
    """Class ids from a list of names or ids."""
    void = []
    for item in read_list(value if value is not None else [], "void"):
        if isinstance(item, str):
            if item not in names:
                raise LabelError(f"void class '{item}' is not one of the names: {', '.join(names)}")
            item = names.index(item)
        void.append(read_int(item, "void"))
    return tuple(void)


def read_unions(value: object, names: tuple[str, ...]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """(class id, names of its members) of each union, from a mapping of class name to names."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise LabelError("'union' must be a mapping of class name to finer classes, such as {far: [building, sky]}")
    unions = []
    for name, members in value.items():
        if name not in names:
            raise LabelError(f"'union' has '{name}', which is not one of the names: {', '.join(names)}")
        members = read_list(members, f"union of '{name}'")
        if not members or not all(isinstance(member, str) for member in members):
            raise LabelError(f"the union of '{name}' must list names of finer classes, but has {members!r}")
        unions.append((names.index(name), tuple(str(member) for member in members)))
    return tuple(unions)


def is_byte(value: object) -> bool:
    """Whether `value` is a whole number from 0 to 255."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def kind(value: object) -> str:
    """What `value` is, for an error message."""
    return "nothing" if value is None else f"a {type(value).__name__}"
