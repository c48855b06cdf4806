"""ClassMap: where the classes of one label set are found in another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmaseg.labels.label_set import LabelSet
from tmaseg.labels.names import MERGED_INTO, concept, plain


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Where the classes of one label set are found in another."""

    table: NDArray[np.uint8]
    """(256,) uint8: source class id -> target class id; the target's ignore_index where there is none."""
    missing: tuple[str, ...]
    """Source classes without a counterpart; void classes are not counted."""


def map_by_name(source: LabelSet, target: LabelSet) -> ClassMap:
    """Match classes by name: the same name, then a synonym, then the class that the target merges it into.

    What a union of the target names goes there; a union of the source goes to the first of its members that is found.

    Cityscapes to CamVid sends wall to building, terrain to tree, truck to car, and so on; the other way every class has
    its one natural counterpart. Void classes match nothing.
    """
    found: dict[str, int] = {}
    members = [(index, name) for index, names in target.unions for name in names]
    for spelling in (plain, concept):
        for index, name in [*members, *enumerate(target.names)]:
            if index not in target.void:
                found.setdefault(spelling(name), index)
    made_of = dict(source.unions)
    table = np.full(256, target.ignore_index, np.uint8)
    missing = []
    for index, name in enumerate(source.names):
        if index in source.void:
            continue
        parts = made_of.get(index, (name,))
        wanted = [word for part in parts for word in (plain(part), concept(part))]
        wanted += [word for part in parts for word in MERGED_INTO.get(concept(part), ())]
        match = next((found[word] for word in wanted if word in found), None)
        if match is None:
            missing.append(name)
        else:
            table[index] = match
    return ClassMap(table, tuple(missing))
