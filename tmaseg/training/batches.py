"""Batches: the crops of a step and which of them is memory of which; a function of the seed and the step alone.

Notation: B labelled rows, N pictures (the B first, then memory frames without labels), T memory frames, H W crop,
M pictures that are memory of some row, s the loss's stride.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor

from tmaseg.errors import ConfigError
from tmaseg.evaluation import Shard
from tmaseg.model.config import TMANetConfig
from tmaseg.training.augment import CropPlan
from tmaseg.training.datasets import TrainSet
from tmaseg.training.recipe import Recipe
from tmaseg.training.sampling import ClipSampler, Sampler, mixture_fractions

_STEPS_AHEAD = 2  # beyond those being made


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """What a process takes through the network at once."""

    pictures: Tensor
    """(N, H, W, 3) uint8."""
    labels: Tensor
    """(B, H/s, W/s) uint8: class ids of each row's own data set; 255 is void."""
    memory_pictures: Tensor
    """(M,) int64: the pictures that serve as memory."""
    memory: Tensor
    """(B, T) int64: which of the memory pictures each row reads; oldest first where each row has its own memory frames,
    the clip's others in a circle where rows are memory of each other. T is 0 for a network without memory."""
    hidden: Tensor
    """(B,) bool: rows whose own value the head does not see."""
    sets: tuple[int, ...]
    """(B,) the data set of each row."""
    set_rows: tuple[int, ...]
    """Rows of each data set in the whole step, over all processes and parts."""
    files: tuple[str, ...]
    """The picture file of each row."""

    def __repr__(self) -> str:
        return f"Batch(pictures={tuple(self.pictures.shape)}, memory={tuple(self.memory.shape)}, sets={self.sets})"

    def pin_memory(self) -> "Batch":
        """The same in memory that a CUDA device can copy from while it computes."""
        return self._map(Tensor.pin_memory)

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return self if device.type == "cpu" else self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        pictures, labels, hidden = change(self.pictures), change(self.labels), change(self.hidden)
        memory_pictures, memory = change(self.memory_pictures), change(self.memory)
        return replace(
            self, pictures=pictures, labels=labels, memory_pictures=memory_pictures, memory=memory, hidden=hidden
        )


def check_batches(recipe: Recipe, network: TMANetConfig, processes: int) -> None:
    """Raises ConfigError for batches that the network cannot be trained with, or not in so many processes.

    Every part of a step must hold a whole clip, or a row would be cut off from its memory.
    """
    memory, batch, accumulate = recipe.memory, recipe.optimizer.batch, recipe.optimizer.accumulate
    mutual, parts = memory.form == "mutual", processes * accumulate
    if batch % parts:
        raise ConfigError(
            f"batch is {batch}; it must be a multiple of {processes} processes times {accumulate} parts (accumulate)"
        )
    if network.slots > 1 and (mutual or memory.frames_max):
        raise ConfigError(
            "with an encoder for each memory slot every row needs its own T frames in order: set form=clip and "
            "frames_min=0, frames_max=0, or memory_encoder=shared"
        )
    moments = (memory.frames_max or network.memory_frames) + 1
    if mutual and network.memory_frames and memory.self_probability < 1 and batch // parts < moments:
        raise ConfigError(
            f"batch is {batch}, in {parts} parts (processes times accumulate), but clips of {moments} moments that are "
            f"memory of each other need as many crops in each part: raise batch to {parts * moments}, or lower "
            "accumulate, the processes, or frames_max"
        )


@dataclass(frozen=True)
class _StepPlan:
    """What all rows of a step share."""

    frames: int
    """Memory frames that each row reads."""
    groups: tuple[range, ...]
    """Rows that are moments of one clip, in order; one row each where rows have memory frames of their own."""
    phase: tuple[int, int]
    """The first pixel that the loss takes, down and across: random, so that labels are centred on average."""


class BatchMaker:
    """Makes the batch of any step; threads may ask for several at once."""

    def __init__(
        self,
        sets: Sequence[TrainSet],
        recipe: Recipe,
        network: TMANetConfig,
        shard: Shard = Shard(),  # noqa: B008
        *,
        pinned: bool = False,
    ) -> None:
        """`shard`: which of the processes that divide a step this is; `pinned`: whether batches go to a CUDA device.

        What `check_batches` refuses will not do.
        """
        self._shard, self._pinned = shard, pinned
        self._sets = tuple(sets)
        self._recipe = recipe
        self._frames = network.memory_frames
        self._clips = ClipSampler(recipe.augmentation, recipe.memory)
        counts = [len(data.samples) for data in sets]
        self.sampler = Sampler(counts, mixture_fractions(sets, recipe.mixture), seed=recipe.run.seed)
        self._mutual = recipe.memory.form == "mutual"
        self._lock = threading.Lock()
        self._first_clips = [0]

    def parts(self, step: int) -> list[Batch]:
        """The batches of a step that this process takes, one after the other."""
        count = self._recipe.optimizer.accumulate
        first, parts = self._shard.rank * count, self._shard.count * count
        made = [self.make(step, first + part, parts) for part in range(count)]
        return [part.pin_memory() for part in made] if self._pinned else made

    def make(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """The `part`th of `parts` parts of a step's crops, equal but that moments of one clip stay together.

        Raises DataError when a file cannot be read.
        """
        plan = self._plan(step)
        count = len(plan.groups)
        dealt = range(part * count // parts, (part + 1) * count // parts)
        rows = [row for number in dealt for row in plan.groups[number]]
        crops, memory = self._mutual_crops(step, dealt, plan) if self._mutual else self._clip_crops(step, dealt, plan)
        memory_pictures, places = np.unique(np.array(memory, np.int64).reshape(len(rows), -1), return_inverse=True)
        crop_hw, stride, (y, x) = self._recipe.augmentation.crop_hw, self._recipe.loss.stride, plan.phase
        labels = np.stack([crop.labels(crop_hw)[y::stride, x::stride] for crop in crops[: len(rows)]])
        of_step: Counter[int] = Counter()
        for number, group in enumerate(plan.groups):
            of_step[self._entry(step, number)[0]] += len(group)
        return Batch(
            torch.from_numpy(np.stack([crop.picture(crop_hw) for crop in crops])),
            torch.from_numpy(labels),
            torch.from_numpy(memory_pictures),
            torch.from_numpy(places.reshape(len(rows), -1).astype(np.int64)),
            torch.tensor([self._hides(step, row) for row in rows]),
            tuple(self._sets.index(crop.data) for crop in crops[: len(rows)]),
            tuple(of_step[number] for number in range(len(self._sets))),
            tuple(str(crop.frame.image) for crop in crops[: len(rows)]),
        )

    def _plan(self, step: int) -> _StepPlan:
        rng = self._rng(step, 0)
        memory, stride = self._recipe.memory, self._recipe.loss.stride
        y, x = rng.integers(stride, size=2)
        frames = self._frames
        if frames and memory.frames_max:
            frames = int(rng.integers(memory.frames_min, memory.frames_max + 1))
        size = 1
        if frames and self._mutual:
            # Of a frame alone any number of memory frames is the frame itself: one will do.
            size, frames = (1, 1) if self._clips.kind(rng) == "self" else (frames + 1, frames)
        return _StepPlan(frames, _in_groups(self._recipe.optimizer.batch, size), (int(y), int(x)))

    def _mutual_crops(self, step: int, dealt: range, plan: _StepPlan) -> tuple[list[CropPlan], list[list[int]]]:
        """Groups of rows, one clip each, every row with the others of its group as memory."""
        crops: list[CropPlan] = []
        memory: list[list[int]] = []
        for number in dealt:
            start, count = len(crops), len(plan.groups[number])
            crops += self._clip(step, number, plan.groups[number][0], count - 1, alone=count == 1)
            for place in range(count):
                memory.append([start + (place + 1 + back) % count for back in range(plan.frames)])
        return crops, memory

    def _clip_crops(self, step: int, dealt: range, plan: _StepPlan) -> tuple[list[CropPlan], list[list[int]]]:
        """Each row with its own memory frames, which have no labels."""
        crops: list[CropPlan] = []
        extra: list[CropPlan] = []
        memory: list[list[int]] = []
        for place, row in enumerate(dealt):
            newest, *past = self._clip(step, row, row, plan.frames)
            crops.append(newest)
            if past:
                first = len(dealt) + len(extra)
                memory.append([first + age for age in reversed(range(len(past)))])  # oldest first
            else:
                memory.append([place] * plan.frames)
            extra += past
        return crops + extra, memory

    def _clip(self, step: int, number: int, row: int, past: int, *, alone: bool = False) -> list[CropPlan]:
        """The crops of a step's `number`th clip, which begins at a row; one alone if its memory is to be itself."""
        data, picture = self._entry(step, number)
        picture, shows = self._rare(step, row, data) or (picture, ())
        rng = self._rng(step, 1 + row)
        kind = self._clips.kind(rng)
        if self._mutual and not alone:  # the step decided that its memory is others: the kind says which
            while kind == "self":
                kind = self._clips.kind(rng)
        elif kind == "self" or alone:
            past = 0
        sample = self._sets[data].samples[picture]
        return self._clips.draw(self._sets[data], sample, past, kind=kind, rng=rng, shows=shows)

    def _rare(self, step: int, row: int, data: int) -> tuple[int, tuple[int, ...]] | None:
        """The picture and the class that the clip which begins at a row is to show, in place of whose turn it is."""
        probability, rng = self._recipe.augmentation.rare_class_probability, self._rng(step, 1 + row, 2)
        return self._sets[data].draw_rare(rng) if probability and rng.random() < probability else None

    def _hides(self, step: int, row: int) -> bool:
        probability = self._recipe.memory.hide_probability if self._frames else 0.0
        return bool(probability) and bool(self._rng(step, 1 + row, 1).random() < probability)

    def _entry(self, step: int, number: int) -> tuple[int, int]:
        """The data set and the picture of a step's `number`th clip: clips take one entry of the sampler each."""
        return self.sampler[self._first_clip(step) + number]

    def _first_clip(self, step: int) -> int:
        """How many clips the steps before a step have; of 80 000 steps this takes seconds, once."""
        if not self._mutual:
            return step * self._recipe.optimizer.batch
        with self._lock:
            while len(self._first_clips) <= step:
                last = len(self._first_clips) - 1
                self._first_clips.append(self._first_clips[last] + len(self._plan(last).groups))
            return self._first_clips[step]

    def _rng(self, step: int, *place: int) -> np.random.Generator:
        return np.random.default_rng((self._recipe.run.seed, 3, step, *place))


def _in_groups(rows: int, size: int) -> tuple[range, ...]:
    """Rows in groups of `size`, the last one shorter; a last row that would be alone joins the group before."""
    firsts = [*range(0, rows, size)]
    if size > 1 and len(firsts) > 1 and rows - firsts[-1] == 1:
        firsts.pop()
    return tuple(range(first, end) for first, end in zip(firsts, [*firsts[1:], rows], strict=True))


class BatchLoader:
    """The batches of each step in order, made ahead of time by threads. Use in a `with` block.

    OpenCV's and NumPy's work releases the interpreter's lock: threads do.
    """

    def __init__(self, make: Callable[[int], list[Batch]], *, first: int, threads: int) -> None:
        """`make` returns the parts of a step; `first` is the step to begin with."""
        self._make = make
        self._first = self._next = first
        self._waiting: deque[Future[list[Batch]]] = deque()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batch")
        self._depth = threads + _STEPS_AHEAD
        self._waited, self._begun = 0.0, time.monotonic()

    def __enter__(self) -> Self:
        # OpenCV's own threads would compete with these and with the network's.
        self._cv2_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(self._cv2_threads)

    @property
    def waiting_fraction(self) -> float:
        """Of the time since the second batch, what was spent waiting for one."""
        return self._waited / max(time.monotonic() - self._begun, 1e-9)

    def take(self) -> list[Batch]:
        """The next step's parts. Raises what making them raised, such as DataError."""
        while len(self._waiting) < self._depth:
            self._waiting.append(self._pool.submit(self._make, self._next))
            self._next += 1
        first = self._next == self._depth + self._first
        begun = time.monotonic()
        batches = self._waiting.popleft().result()
        if first:  # nothing was ready yet: that says nothing of the speed
            self._begun = time.monotonic()
        else:
            self._waited += time.monotonic() - begun
        return batches
