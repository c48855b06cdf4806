"""Unions: what each class of a data set is among the network's, so that several label sets train one head."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmaseg.errors import LabelError
from tmaseg.labels import LabelSet, map_by_name
from tmaseg.model.checkpoint import Checkpoint
from tmaseg.model.tmanet import TMANet


@dataclass(frozen=True)
class Unions:
    """For each class of a data set, the network's classes that it is the union of; none for a class left out.

    CamVid's car is Cityscapes' car, truck, bus and train. A pixel of it is learnt as "one of these".
    """

    members: tuple[tuple[int, ...], ...]
    missing: tuple[str, ...] = ()
    """Classes of the data set that the network has no counterpart for: their pixels are void."""
    unheard: tuple[str, ...] = ()
    """Classes of the network that this data set says nothing of."""

    @property
    def same(self) -> bool:
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

    def learnt(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(..., D) pixels of each class -> (..., D), those that are one to the network counted as the first of them.

        0 for the others of them, and for classes without a counterpart.
        """
        counted = np.zeros_like(pixels)
        for index, union in enumerate(self.members):
            if union:
                counted[..., self.merged[index]] += pixels[..., index]
        return counted

    def unite(self, logits: Tensor) -> Tensor:
        """(B, K, ...) logits of the network's classes -> (B, D, ...): the logarithm of each union's summed exponent.

        Minus the logarithm of all summed exponents it is the union's log-probability; -inf for a class without members.
        """
        parts = []
        for union in self.members:
            if not union:
                parts.append(torch.full_like(logits[:, 0], float("-inf")))
            elif len(union) == 1:
                parts.append(logits[:, union[0]])
            else:
                parts.append(logits[:, list(union)].logsumexp(1))
        return torch.stack(parts, dim=1)


def unite_by_name(data: LabelSet, network: LabelSet) -> Unions:
    """The unions of a data set's classes by class name, both ways: coarse classes and fine ones are understood.

    Raises LabelError when not one class has a counterpart.
    """
    if data.names == network.names:
        void = set(data.void) | set(network.void)
        return Unions(tuple(() if index in void else (index,) for index in range(len(data))))
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
    heard = {other for union in members for other in union}
    return Unions(
        tuple(members),
        tuple(data.names[index] for index, union in enumerate(members) if not union and index not in data.void),
        tuple(name for other, name in enumerate(network.names) if other not in heard and other not in network.void),
    )


def adopt(net: TMANet, labels: LabelSet, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Fills the network with a checkpoint's weights; its classifiers class by class where the label sets differ.

    A class takes the row of its counterpart by name, and stays as it was initialised without one: those are returned.
    Raises LabelError when a tensor other than the classifiers' has another shape.
    """
    state = dict(checkpoint.state)
    table = map_by_name(labels, checkpoint.labels).table
    same = labels.names == checkpoint.labels.names
    known = [index for index in range(len(labels)) if same or table[index] < len(checkpoint.labels)]
    rows = [index if same else int(table[index]) for index in known]
    own = net.state_dict()
    for head in ("head.classifier", "auxiliary.classifier"):
        for part in ("weight", "bias"):
            name = f"{head}.{part}"
            old, new = state[name], own[name].clone()
            if old.shape[1:] == new.shape[1:]:
                new[known] = old[rows].to(new.dtype)
                state[name] = new
    wrong = [name for name, value in own.items() if name not in state or state[name].shape != value.shape]
    wrong += [name for name in state if name not in own]
    if wrong:
        raise LabelError(
            f"the weights do not fit the network asked for ({wrong[0]} and {len(wrong) - 1} more): leave the network's "
            "settings out, so that it is built as the weights want it"
        )
    net.load_state_dict(state)
    return tuple(name for index, name in enumerate(labels.names) if index not in known and index not in labels.void)
