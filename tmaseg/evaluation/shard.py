"""Shard: this process among several under `torchrun`, in evaluation and training; what it takes, and sums over all."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from tmaseg.inference.device import device_of_process

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The rank of this process among all."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # rank among the processes of this machine

    @property
    def first(self) -> bool:
        """Whether this process reports."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device for this process: with "auto" or a GPU's kind, each process of a machine takes its own."""
        return name if self.count == 1 else device_of_process(name, self.local_rank)

    def select(self, items: Sequence[T], weight: Callable[[T], int]) -> list[T]:
        """This process's items, in order; the heaviest are assigned first, each to the process with the least work."""
        loads = [0] * self.count
        owner = {}
        for index in sorted(range(len(items)), key=lambda index: -weight(items[index])):
            least = loads.index(min(loads))
            owner[index] = least
            loads[least] += weight(items[index])
        return [item for index, item in enumerate(items) if owner[index] == self.rank]

    def barrier(self) -> None:
        """Waits for all processes."""
        if self.count > 1:
            distributed.barrier()

    def gather(self, part: T) -> list[T]:
        """Every process's part, in order of rank, on the first process; [] on the others."""
        if self.count == 1:
            return [part]
        parts: list[T | None] | None = [None] * self.count if self.first else None
        distributed.gather_object(part, parts)
        return [each for each in parts or [] if each is not None]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes."""
        if self.count == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total)
        return [float(value) for value in total]

    def broadcast(self, make: Callable[[], T]) -> T:
        """What `make` returns on the first process, for all: others may be on machines that do not have its files."""
        made: list[Any] = [make() if self.first else None]
        if self.count > 1:
            distributed.broadcast_object_list(made)
        value: T = made[0]
        return value


@contextmanager
def open_shard(join: Callable[[int], str] = lambda _local_rank: "gloo", *, hours: int = 24) -> Iterator[Shard]:
    """The shard that torchrun gave this process; the only one without torchrun.

    `join`: prepares for the process of a local rank and returns torch's backend. `hours`: most that a process waits for
    the others, as one with short sequences must: torch's half hour will not do.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or not distributed.is_available():
        yield Shard()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    distributed.init_process_group(join(local_rank), timeout=timedelta(hours=hours))
    try:
        yield Shard(distributed.get_rank(), count, local_rank)
    finally:
        distributed.destroy_process_group()
