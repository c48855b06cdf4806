"""Unions: what each class of a data set is among a network's, so that coarse and fine label sets fit one network."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tmaseg.errors import LabelError
from tmaseg.labels.label_set import LabelSet
from tmaseg.labels.palettes import map_by_name


@dataclass(frozen=True)
class ClassUnions:
    """For each class of a data set, the network's classes that it is the union of; none for a class left out.

    CamVid's car is Cityscapes' car, truck, bus and train: its probability is the sum of theirs.
    """

    members: tuple[tuple[int, ...], ...]
    missing: tuple[str, ...] = ()
    """Classes of the data set that the network has no counterpart for: in training their pixels are void."""

    @property
    def is_identity(self) -> bool:
        """Whether the data set's class ids are the network's."""
        return self.members == tuple((index,) for index in range(len(self.members)))

    @cached_property
    def merged(self) -> NDArray[np.uint8]:
        """(256,) class id of the data set -> the first class that the network cannot tell it from; else itself.

        Cityscapes' truck, bus and train are all CamVid's car: with CamVid's classes they are one class.
        """
        first = list(range(256))
        for index, union in enumerate(self.members):
            met = {first[earlier] for earlier in range(index) if set(self.members[earlier]) & set(union)} | {index}
            first = [min(met) if other in met else other for other in first]
        return np.array(first, np.uint8)

    def merge_counts(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(..., D) pixels of each class -> (..., D), those that are one to the network counted as the first of them.

        0 for the others of them, and for classes without a counterpart.
        """
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
