"""Batches: the crops of a step and which of them is memory of which; a function of the seed and the step alone.

Notation: B labelled rows, N pictures (the B first, then memory frames without labels), T memory frames, H W crop,
M pictures that are memory of some row, s the loss's stride.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmaseg.errors import ConfigError
from tmaseg.evaluation import Shard
from tmaseg.model.config import TMANetConfig
from tmaseg.training.augment import CropPlan, draw_clip, draw_memory_kind
from tmaseg.training.datasets import TrainSet
from tmaseg.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Batch:
    """What a process takes through the network at once."""

    pictures: Tensor  # (N, H, W, 3) uint8
    labels: Tensor  # (B, H/s, W/s) uint8: class ids of each row's own data set; 255 is void
    pixels: Tensor  # (sets, 256) int64: how many labels of each data set have each id
    memory_pictures: Tensor  # (M,) int64: the pictures that serve as memory
    # (B, T) int64: which of the memory pictures each row reads; T is 0 for a network without memory. Oldest first where
    # each row has its own memory frames; where rows are memory of each other, the clip's others in a circle.
    memory: Tensor
    hidden: Tensor  # (B,) bool: rows whose own value the head does not see
    sets: tuple[int, ...]  # (B,) the data set of each row
    set_rows: tuple[int, ...]  # rows of each data set in the step, over all processes and parts
    files: tuple[str, ...]  # (B,) the picture file of each row

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same with `change` done to every tensor."""
        tensors: dict[str, Any] = {name: change(each) for name, each in vars(self).items() if isinstance(each, Tensor)}
        return replace(self, **tensors)

    def pin_memory(self) -> "Batch":
        """The same in memory from which a GPU copies by itself."""
        return self.map(Tensor.pin_memory)


def check_batches(recipe: Recipe, network: TMANetConfig, processes: int) -> None:
    """Raises ConfigError for batches that the network cannot be trained with, or not in so many processes."""
    # Every part of a step must hold complete clips, or a row would be cut off from its memory.
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


class Sampler:
    """An endless list of (data set, picture), shuffled anew each epoch; a function of the seed and the index alone."""

    # An epoch has as many entries as there are pictures. Each data set takes its fraction of them, and goes through all
    # of its own pictures before it shows one again. A run that is resumed goes on at the index where it stopped.

    def __init__(self, counts: Sequence[int], fractions: Sequence[float], *, seed: int) -> None:
        """`counts`: pictures of each data set, at least one; `fractions`: of the entries, in any unit."""
        self.epoch = sum(counts)  # entries
        self._counts = tuple(counts)
        self._seed = seed
        weights = np.array(fractions, np.float64)
        ends = np.round(np.cumsum(weights) / weights.sum() * self.epoch).astype(int)
        self._takes = np.diff(ends, prepend=0)
        self._epochs = lru_cache(maxsize=4)(self._shuffle_epoch)
        self._rounds = lru_cache(maxsize=4 * len(counts))(self._shuffle_round)

    def __getitem__(self, index: int) -> tuple[int, int]:
        """The data set and the picture at an index, from 0."""
        epoch, offset = divmod(index, self.epoch)
        data, picture = self._epochs(epoch)[offset]
        return int(data), int(picture)

    def _shuffle_epoch(self, epoch: int) -> NDArray[np.int64]:
        """(epoch, 2): data set and picture of each entry of an epoch."""
        entries = []
        for data, take in enumerate(self._takes):
            for turn in range(epoch * take, (epoch + 1) * take):
                round_, position = divmod(turn, self._counts[data])
                entries.append((data, self._rounds(data, round_)[position]))
        return np.random.default_rng((self._seed, 1, epoch)).permutation(np.array(entries, np.int64))

    def _shuffle_round(self, data: int, round_: int) -> NDArray[np.int64]:
        """The order of a data set's pictures in one round through all of them."""
        return np.random.default_rng((self._seed, 2, data, round_)).permutation(self._counts[data])


def mixture_fractions(sets: Sequence[TrainSet], mixture: Mapping[str, float]) -> list[float]:
    """The fraction of the crops that each set gets, 1 in all; `mixture` by name, entries of other sets are left out."""
    # Sets without an entry divide what the others leave of 1 by their numbers of pictures. Where nothing is left, each
    # gets the part of the pictures that it has, and the others keep their proportions in the rest.
    counts = [len(data.samples) for data in sets]
    given = [mixture.get(data.name, 0.0) for data in sets]
    open_count = sum(count for count, fraction in zip(counts, given, strict=True) if not fraction)
    left = 1 - sum(given) if open_count else 0.0
    if open_count and left < 1e-6:
        left = open_count / sum(counts)
    return [
        (1 - left) * fraction / sum(given) if fraction else left * count / open_count
        for count, fraction in zip(counts, given, strict=True)
    ]


class _StepPlan(NamedTuple):
    """What all rows of a step share."""

    frames: int  # memory frames that each row reads
    groups: list[range]  # rows that are moments of one clip, in order; one row each where rows have their own memory
    phase: tuple[int, int]  # the first pixel that the loss takes, down and across: random, so that labels are centred


class BatchMaker:
    """Makes the batches of any step that this process takes; safe to call from several threads."""

    def __init__(
        self,
        sets: Sequence[TrainSet],
        recipe: Recipe,
        network: TMANetConfig,
        shard: Shard = Shard(),  # noqa: B008
    ) -> None:
        """What `check_batches` refuses will not do."""
        self._sets, self._recipe, self._shard = tuple(sets), recipe, shard
        self._frames = network.memory_frames
        self._mutual = recipe.memory.form == "mutual"
        counts = [len(data.samples) for data in sets]
        self.sampler = Sampler(counts, mixture_fractions(sets, recipe.mixture), seed=recipe.run.seed)
        self._lock = threading.Lock()
        self._first_clips = [0]

    def parts(self, step: int) -> list[Batch]:
        """The batches of a step that this process takes, one after the other."""
        count = self._recipe.optimizer.accumulate
        first, parts = self._shard.rank * count, self._shard.count * count
        return [self.make(step, first + part, parts) for part in range(count)]

    def make(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """The `part`th of `parts` equal parts of a step's crops, clips kept together. Raises DataError."""
        plan, crop_hw, stride = self._plan(step), self._recipe.augmentation.crop_hw, self._recipe.loss.stride
        count, (y, x) = len(plan.groups), plan.phase
        numbers = range(part * count // parts, (part + 1) * count // parts)
        rows, past, memory = self._crops(step, numbers, plan)
        indices = np.array(memory, np.int64).reshape(len(rows), -1)
        memory_pictures, places = np.unique(indices, return_inverse=True)
        in_step = [self._entry(step, number)[0] for number, group in enumerate(plan.groups) for _ in group]
        first = plan.groups[numbers[0]][0] if numbers else 0
        sets = [self._sets.index(crop.data) for crop in rows]
        labels = np.stack([crop.labels(crop_hw)[y::stride, x::stride] for crop in rows])
        pixels = np.zeros((len(self._sets), 256), np.int64)
        for number, row in zip(sets, labels, strict=True):
            pixels[number] += np.bincount(row.ravel(), minlength=256)
        return Batch(
            pictures=torch.from_numpy(np.stack([crop.picture(crop_hw) for crop in (*rows, *past)])),
            labels=torch.from_numpy(labels),
            pixels=torch.from_numpy(pixels),
            memory_pictures=torch.from_numpy(memory_pictures),
            memory=torch.from_numpy(places.reshape(indices.shape).astype(np.int64)),
            hidden=torch.tensor([self._hides(step, first + row) for row in range(len(rows))]),
            sets=tuple(sets),
            set_rows=tuple(in_step.count(number) for number in range(len(self._sets))),
            files=tuple(str(crop.frame.image) for crop in rows),
        )

    def _plan(self, step: int) -> _StepPlan:
        rng, memory, rows = self._rng(step, 0), self._recipe.memory, self._recipe.optimizer.batch
        y, x = rng.integers(self._recipe.loss.stride, size=2)
        frames, size = self._frames, 1
        if frames and memory.frames_max:
            frames = int(rng.integers(memory.frames_min, memory.frames_max + 1))
        if frames and self._mutual:
            # Of a frame alone any number of memory frames is the frame itself: one will do.
            size, frames = (1, 1) if draw_memory_kind(memory, rng) == "self" else (frames + 1, frames)
        firsts = [*range(0, rows, size)]
        if size > 1 and len(firsts) > 1 and rows - firsts[-1] == 1:
            firsts.pop()  # a last row that would be alone joins the group before
        groups = [range(first, end) for first, end in zip(firsts, [*firsts[1:], rows], strict=True)]
        return _StepPlan(frames, groups, (int(y), int(x)))

    def _crops(
        self, step: int, numbers: range, plan: _StepPlan
    ) -> tuple[list[CropPlan], list[CropPlan], list[list[int]]]:
        """Labelled rows, memory frames without labels, and for each row the indices among both of what it reads."""
        rows: list[CropPlan] = []
        past: list[CropPlan] = []
        memory: list[list[int]] = []
        for number in numbers:
            first, count = len(rows), len(plan.groups[number])
            crops = self._clip(step, number, plan.groups[number][0], count - 1 if self._mutual else plan.frames)
            if self._mutual:
                rows += crops
                memory += [[first + (row + 1 + back) % count for back in range(plan.frames)] for row in range(count)]
            else:
                rows.append(crops[0])
                before = len(numbers) + len(past)
                own = [before + age for age in reversed(range(len(crops) - 1))]  # oldest first
                memory.append(own or [first] * plan.frames)
                past += crops[1:]
        return rows, past, memory

    def _clip(self, step: int, number: int, row: int, past: int) -> list[CropPlan]:
        """The crops of a step's `number`th clip, which begins at a row, newest first."""
        data, picture = self._entry(step, number)
        shows: tuple[int, ...] = ()
        probability, rng = self._recipe.augmentation.rare_class_probability, self._rng(step, 1 + row, 2)
        if probability and rng.random() < probability:
            picture, shows = self._sets[data].draw_rare(rng)
        rng = self._rng(step, 1 + row)
        kind = draw_memory_kind(self._recipe.memory, rng)
        if self._mutual and past:  # the step's plan has decided against "self"
            while kind == "self":
                kind = draw_memory_kind(self._recipe.memory, rng)
        elif kind == "self":
            past = 0
        sample = self._sets[data].samples[picture]
        return draw_clip(self._recipe, self._sets[data], sample, past, kind=kind, rng=rng, shows=shows)

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

    def _rng(self, step: int, *key: int) -> np.random.Generator:
        return np.random.default_rng((self._recipe.run.seed, 3, step, *key))
