"""Batches: the crops of a step and who remembers whom; a function of the seed and the step alone.

Notation: B labelled rows, N pictures (the B first, then memory frames that nobody labelled), T memory frames, H W crop,
M rows that somebody remembers, s the loss's stride.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tmaseg.errors import ConfigError
from tmaseg.model.config import TMANetConfig
from tmaseg.training.crops import Crops
from tmaseg.training.order import Order
from tmaseg.training.recipe import Recipe
from tmaseg.training.scene import Scenes, View
from tmaseg.training.sets import TrainSet, share_out


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """What a process takes through the network at once."""

    pictures: Tensor
    """(N, H, W, 3) uint8."""
    labels: Tensor
    """(B, H/s, W/s) uint8: class ids of each row's own data set; 255 is void."""
    remembered: Tensor
    """(M,) int64: the pictures that serve as memory."""
    memory: Tensor
    """(B, T) int64: which of the remembered each row reads; oldest first where each row has its own memory frames, the
    scene's others in a circle where rows remember each other. T is 0 for a network without memory."""
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

    def pinned(self) -> "Batch":
        """The same in memory that a CUDA device can copy from while it computes."""
        return self._with(lambda tensor: tensor if tensor.is_cuda else tensor.pin_memory())

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return self if device.type == "cpu" else self._with(lambda tensor: tensor.to(device, non_blocking=True))

    def _with(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        pictures, labels = change(self.pictures), change(self.labels)
        remembered, memory, hidden = change(self.remembered), change(self.memory), change(self.hidden)
        return replace(self, pictures=pictures, labels=labels, remembered=remembered, memory=memory, hidden=hidden)


@dataclass(frozen=True)
class _Step:
    """What all rows of a step share."""

    frames: int
    """Memory frames that each row reads."""
    groups: tuple[range, ...]
    """Rows that are moments of one scene, in order; one row each where rows have memory frames of their own."""
    phase: tuple[int, int]
    """The first pixel that the loss looks at, down and across: random, so that labels are centred on average."""


class BatchMaker:
    """Makes the batch of any step; threads may ask for several at once."""

    def __init__(
        self,
        sets: Sequence[TrainSet],
        recipe: Recipe,
        network: TMANetConfig,
        crops: Crops,
        *,
        parts: int = 1,
    ) -> None:
        """`crops` makes the pixels. `parts`: the most parts that a step will be asked for in.

        Raises ConfigError for ways of remembering that the network cannot be trained with, or not in that many parts.
        """
        self._crops = crops
        self._sets = tuple(sets)
        self._recipe = recipe
        self._frames = network.memory_frames
        self._scenes = Scenes(recipe.augment, recipe.remember)
        counts = [len(data.samples) for data in sets]
        self.order = Order(counts, share_out(sets, recipe.shares), seed=recipe.running.seed)
        if network.slots > 1 and (recipe.remember.form == "mutual" or recipe.remember.frames_to):
            raise ConfigError(
                "with an encoder for each memory slot every row needs its own T frames in order: set form=clip and "
                "frames_from=0, frames_to=0, or memory_encoder=shared"
            )
        self._check_parts(parts)
        self._lock = threading.Lock()
        self._places = [0]

    def make(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """The `part`th of `parts` parts of a step's crops, equal but that moments of one scene stay together.

        Raises DataError when a file cannot be read.
        """
        common = self._common(step)
        count = len(common.groups)
        dealt = range(part * count // parts, (part + 1) * count // parts)
        rows = [row for number in dealt for row in common.groups[number]]
        views, memory = self._mutual(step, dealt, common) if self._is_mutual else self._clips(step, dealt, common)
        remembered, places = np.unique(np.array(memory, np.int64).reshape(len(rows), -1), return_inverse=True)
        labels = self._crops.labels(views[: len(rows)])
        (y, x), stride = common.phase, self._recipe.loss.stride
        of_step: Counter[int] = Counter()
        for number, group in enumerate(common.groups):
            of_step[self._entry(step, number)[0]] += len(group)
        return Batch(
            self._crops.pictures(views),
            labels[:, y::stride, x::stride].contiguous(),
            torch.from_numpy(remembered),
            torch.from_numpy(places.reshape(len(rows), -1).astype(np.int64)),
            torch.tensor([self._hides(step, row) for row in rows]),
            tuple(self._sets.index(view.data) for view in views[: len(rows)]),
            tuple(of_step[number] for number in range(len(self._sets))),
            tuple(str(view.frame.image) for view in views[: len(rows)]),
        )

    @property
    def _is_mutual(self) -> bool:
        return self._recipe.remember.form == "mutual"

    def _check_parts(self, parts: int) -> None:
        """Every part must hold a whole scene, or a row would be cut off from those that it remembers."""
        remember, batch = self._recipe.remember, self._recipe.descent.batch
        others = remember.frames_to or self._frames
        if not self._is_mutual or not self._frames or remember.own_share == 1 or batch // parts > others:
            return
        whole = parts * (others + 1)
        if parts == 1:
            raise ConfigError(
                f"scenes of {whole} moments that remember each other need as many crops in a step, but batch is "
                f"{batch}: raise it to {whole}, or lower frames_to"
            )
        raise ConfigError(
            f"scenes of {others + 1} moments that remember each other need as many crops in each part, but batch is "
            f"{batch}, in {parts} parts (processes times accumulate): raise batch to {whole}, or lower accumulate, "
            "the processes, or frames_to"
        )

    def _common(self, step: int) -> _Step:
        rng = self._rng(step, 0)
        remember, stride = self._recipe.remember, self._recipe.loss.stride
        y, x = rng.integers(stride, size=2)
        frames = self._frames
        if frames and remember.frames_to:
            frames = int(rng.integers(remember.frames_from, remember.frames_to + 1))
        size = 1
        if frames and self._is_mutual:
            # Of a frame alone any number of memory frames is the frame itself: one will do.
            size, frames = (1, 1) if self._scenes.kind(rng) == "own" else (frames + 1, frames)
        return _Step(frames, _in_groups(self._recipe.descent.batch, size), (int(y), int(x)))

    def _mutual(self, step: int, dealt: range, common: _Step) -> tuple[list[View], list[list[int]]]:
        """Groups of rows, one scene each, every row remembering the others of its group."""
        views: list[View] = []
        memory: list[list[int]] = []
        for number in dealt:
            start, count = len(views), len(common.groups[number])
            views += self._scene(step, number, common.groups[number][0], count - 1, alone=count == 1)
            for place in range(count):
                memory.append([start + (place + 1 + back) % count for back in range(common.frames)])
        return views, memory

    def _clips(self, step: int, dealt: range, common: _Step) -> tuple[list[View], list[list[int]]]:
        """Each row with its own memory frames, which nobody labels."""
        views: list[View] = []
        extra: list[View] = []
        memory: list[list[int]] = []
        for place, row in enumerate(dealt):
            newest, *past = self._scene(step, row, row, common.frames)
            views.append(newest)
            if past:
                first = len(dealt) + len(extra)
                memory.append([first + age for age in reversed(range(len(past)))])  # oldest first
            else:
                memory.append([place] * common.frames)
            extra += past
        return views + extra, memory

    def _scene(self, step: int, number: int, row: int, past: int, *, alone: bool = False) -> list[View]:
        """The views of a step's `number`th scene, which begins at a row; one alone if its memory is to be itself."""
        data, picture = self._entry(step, number)
        picture, shows = self._rare(step, row, data) or (picture, ())
        rng = self._rng(step, 1 + row)
        kind = self._scenes.kind(rng)
        if self._is_mutual and not alone:  # the step decided that it remembers others: the kind says which
            while kind == "own":
                kind = self._scenes.kind(rng)
        elif kind == "own" or alone:
            past = 0
        sample = self._sets[data].samples[picture]
        return self._scenes.draw(self._sets[data], sample, past, kind=kind, rng=rng, shows=shows)

    def _rare(self, step: int, row: int, data: int) -> tuple[int, tuple[int, ...]] | None:
        """The picture and the class that the scene which begins at a row is to show, in place of whose turn it is."""
        share, rng = self._recipe.augment.rare_share, self._rng(step, 1 + row, 2)
        return self._sets[data].draw_rare(rng) if share and rng.random() < share else None

    def _hides(self, step: int, row: int) -> bool:
        share = self._recipe.remember.hide_share if self._frames else 0.0
        return bool(share) and bool(self._rng(step, 1 + row, 1).random() < share)

    def _entry(self, step: int, number: int) -> tuple[int, int]:
        """The data set and the picture of a step's `number`th scene: scenes take one place in the order each."""
        return self.order[self._first_place(step) + number]

    def _first_place(self, step: int) -> int:
        """How many scenes the steps before a step have; of 80 000 steps this takes seconds, once."""
        if not self._is_mutual:
            return step * self._recipe.descent.batch
        with self._lock:
            while len(self._places) <= step:
                self._places.append(self._places[-1] + len(self._common(len(self._places) - 1).groups))
            return self._places[step]

    def _rng(self, step: int, *place: int) -> np.random.Generator:
        return np.random.default_rng((self._recipe.running.seed, 3, step, *place))


def _in_groups(rows: int, size: int) -> tuple[range, ...]:
    """Rows in groups of `size`, the last one shorter; a last row that would be alone joins the group before."""
    firsts = [*range(0, rows, size)]
    if size > 1 and len(firsts) > 1 and rows - firsts[-1] == 1:
        firsts.pop()
    return tuple(range(first, end) for first, end in zip(firsts, [*firsts[1:], rows], strict=True))
