"""Sampling: which picture comes when, and which crops of it and of earlier frames."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tmaseg.data import ClipFrame, Sample
from tmaseg.training.augment import CropPlan, Matrix, Motion, draw_photometric, place, place_varied
from tmaseg.training.datasets import TrainSet
from tmaseg.training.recipe import Augmentation, MemorySampling

MemoryKind = Literal["self", "moved", "past"]
# Of an invented camera motion, a step back in time: standard deviations.
_ZOOM, _SHIFT, _ROTATION_DEGREES, _BRIGHTNESS = 0.05, 0.02, 1.0, 4.0


class Sampler:
    """An endless list of (data set, picture), shuffled anew each epoch; a function of the seed and the index alone.

    An epoch has as many entries as there are pictures. Each data set takes its fraction of them, and goes through all
    of its own pictures before it shows one again. A run that is resumed goes on at the index where it stopped.
    """

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
    """The fraction of the crops that each set gets, 1 in all; `mixture` by name, entries of other sets are left out.

    Sets without an entry divide what the others leave of 1 by their numbers of pictures. Where nothing is left, each
    gets the part of the pictures that it has, and the others keep their proportions in the rest.
    """
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


class ClipSampler:
    """Draws a labelled frame's crop and those of earlier moments, as a recipe says."""

    def __init__(self, augmentation: Augmentation, memory: MemorySampling) -> None:
        self._augmentation, self._memory = augmentation, memory

    def kind(self, rng: np.random.Generator) -> MemoryKind:
        """What a frame's memory is: itself, copies of it under a camera motion, or the real frames before it."""
        kinds: tuple[MemoryKind, ...] = ("self", "moved", "past")
        rule = self._memory
        weights = np.array([rule.self_probability, rule.moved_probability, rule.past_probability])
        return kinds[int(rng.choice(3, p=weights / weights.sum()))]

    def draw(
        self,
        data: TrainSet,
        sample: Sample,
        past: int,
        *,
        kind: MemoryKind,
        rng: np.random.Generator,
        shows: tuple[int, ...] = (),
    ) -> list[CropPlan]:
        """Plans, newest first: of the labelled frame and of `past` earlier moments, in one geometry.

        The labelled frame is cut so that one of the classes `shows` is in it, if ten tries find a place for that.

        Real frames keep the placement, since the camera's own motion shows in them. Moved copies, and frames that are
        missing and repeat another, move with their age.
        """
        matrix = self._place(data, sample.frame, rng, shows)
        motion, common = self._motion(rng), draw_photometric(self._augmentation, rng)
        plans: list[CropPlan] = []
        for age, frame in enumerate((sample.frame, *self._past(sample, past, kind, rng))):
            change = common if not age or self._memory.same_light else draw_photometric(self._augmentation, rng)
            placement = matrix
            if any(frame.name == plan.frame.name for plan in plans):
                change = replace(change, brightness=change.brightness + age * motion.brightness)
                placement = motion.apply(matrix, age)
            change = replace(change, noise_seed=int(rng.integers(2**31)))
            plans.append(CropPlan(data, frame, placement, change))
        return plans

    def _past(self, sample: Sample, past: int, kind: MemoryKind, rng: np.random.Generator) -> tuple[ClipFrame, ...]:
        """The frames of the earlier moments, newest first; the frame itself where it is to be moved."""
        if kind != "past":
            return (sample.frame,) * past
        steps = list(range(1, past + 1))
        if self._memory.sampling == "random":
            reach = max(self._memory.past_reach, past)
            steps = sorted(1 + int(step) for step in rng.choice(reach, past, replace=False))
        return sample.clip.past(sample.frame, steps)

    def _place(self, data: TrainSet, frame: ClipFrame, rng: np.random.Generator, shows: tuple[int, ...]) -> Matrix:
        labels = data.cache.labels(data.dataset, frame)
        stored_hw = (labels.shape[0], labels.shape[1])
        rule = self._augmentation
        flip = bool(rng.random() < rule.flip)
        if rule.scale_distribution == "log-uniform":
            scale = float(np.exp(rng.uniform(np.log(rule.scale_min), np.log(rule.scale_max))))
        else:
            scale = float(rng.uniform(rule.scale_min, rule.scale_max))
        # Only the position is drawn again, as in the authors' code: large scales would be redrawn more often.
        draw = partial(
            place, stored_hw, data.shown_hw(stored_hw, rule.size), rule.crop_hw, scale=scale, flip=flip, rng=rng
        )
        return place_varied(draw, labels, rule.crop_hw, void=data.dataset.labels.ignore_index, shows=shows)

    def _motion(self, rng: np.random.Generator) -> Motion:
        height, width = self._augmentation.crop_hw
        shift_x, shift_y = rng.normal(0, _SHIFT * width, 2)
        return Motion(
            zoom=float(rng.normal(0, _ZOOM)),
            shift_px=(float(shift_x), float(shift_y)),
            rotation_degrees=float(rng.normal(0, _ROTATION_DEGREES)),
            centre_px=(float(width * rng.uniform(0.3, 0.7)), float(height * rng.uniform(0.3, 0.7))),
            brightness=float(rng.normal(0, _BRIGHTNESS)),
        )
