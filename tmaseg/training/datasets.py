"""Data sets as training has them: labelled frames, checked and counted before the first step, and their classes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmaseg.data import Clip, Dataset, Sample, frame_size, open_dataset
from tmaseg.data.clip import trim
from tmaseg.errors import ConfigError, DataError
from tmaseg.labels import ClassUnions, LabelSet, get_labels, unite_by_name
from tmaseg.training.callbacks import Callback
from tmaseg.training.image_cache import ImageCache
from tmaseg.training.job import Source
from tmaseg.training.presets import parse_settings
from tmaseg.training.recipe import Recipe

Progress = Callable[[int, int], None]
_THREADS = 4  # that read labels


@dataclass(frozen=True, eq=False)
class TrainSet:
    """The labelled frames of one data set that a run trains on."""

    name: str
    """Unique among the sets of a run."""
    dataset: Dataset
    samples: tuple[Sample, ...] = field(repr=False)
    unions: ClassUnions
    """What its classes are among the network's."""
    cache: ImageCache = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    """(samples, D) labelled pixels of each of its classes in each labelled frame."""

    @cached_property
    def pixels(self) -> NDArray[np.int64]:
        """(D,) labelled pixels of each of its classes."""
        return np.asarray(self.counts.sum(0), np.int64)

    @cached_property
    def known(self) -> NDArray[np.uint8]:
        """(256,) class id -> itself, or 255 where it is void or the network has no counterpart."""
        table = np.full(256, 255, np.uint8)
        for index, union in enumerate(self.unions.members):
            if union and index != self.dataset.labels.ignore_index:
                table[index] = index
        return table

    def draw_rare(self, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
        """A sample drawn for a class that it shows, and that class's ids: several where they are one to the network.

        Classes come by 1 / sqrt of their pixels, the samples of one by their pixels of it: large objects more often
        than specks, which may be mistakes of the labels.
        """
        counts = self._merged_counts
        pixels = counts.sum(0)
        rarity = np.divide(1, np.sqrt(pixels), out=np.zeros(len(pixels)), where=pixels > 0)
        if not rarity.any():
            return int(rng.integers(len(self.samples))), ()
        chosen = int(rng.choice(len(rarity), p=rarity / rarity.sum()))
        sample = int(rng.choice(len(counts), p=counts[:, chosen] / pixels[chosen]))
        united = zip(self.unions.members, self.unions.merged, strict=False)
        return sample, tuple(index for index, (union, first) in enumerate(united) if union and first == chosen)

    @cached_property
    def _merged_counts(self) -> NDArray[np.int64]:
        return self.unions.merge_counts(self.counts)

    def shown_hw(self, stored_hw: tuple[int, int], short_side: int) -> tuple[float, float]:
        """The size at which a picture's pixels are square, its short side `short_side` pixels (0: its own)."""
        height, width = stored_hw[0], stored_hw[1] * self.dataset.stretch
        factor = short_side / min(height, width) if short_side else 1.0
        return height * factor, width * factor


@dataclass(frozen=True)
class ValSet:
    """Labelled sequences of one data set that the run is scored on."""

    name: str
    dataset: Dataset
    split: str

    @property
    def count(self) -> int:
        """Frames with labels."""
        return len(self.dataset.samples(self.split))

    def clips(self, past: int, limit: int) -> list[Clip]:
        """Cut down to what a memory of `past` frames needs; at most `limit` scored frames, evenly spread (0: all)."""
        total = self.count
        scored = set(np.linspace(0, total - 1, min(limit, total) if limit else total).astype(int).tolist())
        thinned, position = [], 0
        for clip in self.dataset.split(self.split):
            frames = []
            for frame in clip.frames:
                frames.append(replace(frame, wanted=bool(frame.mask) and position in scored))
                position += bool(frame.mask)
            thinned.append(replace(clip, frames=tuple(frames)))
        return [part for clip in thinned for part in trim(clip, past)]


@dataclass(frozen=True)
class RunData:
    """The data of a run."""

    train: tuple[TrainSet, ...]
    val: tuple[ValSet, ...]
    labels: LabelSet
    """The network's classes."""


def open_sources(sources: Sequence[Source], labels: str) -> tuple[dict[str, Dataset], LabelSet]:
    """Each data set by its name in the run, and the network's classes: the label set `labels`, or the first one's."""
    opened = (open_dataset(source.name, source.root) for source in sources)
    datasets = dict(zip(_unique_names(sources), opened, strict=True))
    return datasets, get_labels(labels) if labels else next(iter(datasets.values())).labels


def read_labels(
    datasets: dict[str, Dataset], labels: LabelSet, recipe: Recipe, callback: Callback, *, cache_bytes: int
) -> RunData:
    """Reads every label file that a run will need, before its first step.

    Raises DataError that names the exact file whose ids are outside its label set or which does not fit its picture,
    and one for a split without a labelled pixel.
    """
    others = [name for name in recipe.mixture if name not in datasets]
    if others:
        callback.note(
            f"the recipe's fraction of {', '.join(others)} is left out: there is no such data set in this run"
        )
    # Pictures are cached no larger than what the largest crop shows of them.
    cache = ImageCache(
        cache_bytes, short_side=round(recipe.augmentation.size * max(1.0, recipe.augmentation.scale_max))
    )
    train, val = [], []
    for name, dataset in datasets.items():

        def report(done: int, total: int, name: str = name) -> None:
            callback.labels_checked(name, done, total)

        opened = open_train_set(
            dataset, recipe.run.train_split, name=name, network=labels, cache=cache, progress=report
        )
        train.append(opened)
        for note in _notes(opened):
            callback.note(note)
        val_split = recipe.run.val_split
        if dataset.splits.get(val_split):
            val.append(ValSet(name, dataset, val_split))
            _check_val(dataset, val_split)
        elif val_split:
            callback.note(f"{name} has no split {val_split!r}: it is not validated on")
    return RunData(tuple(train), tuple(val), labels)


def open_train_set(
    dataset: Dataset,
    split: str,
    *,
    name: str,
    network: LabelSet,
    cache: ImageCache,
    progress: Progress | None = None,
) -> TrainSet:
    """Reads every label file of a split ("train+val" joins two). Raises DataError as `read_labels` does."""
    samples = tuple(sample for part in split.split("+") for sample in dataset.samples(part))
    if not samples:
        raise DataError(f"{dataset.name} in {dataset.root} has no labelled frame in {split!r}: choose another split")
    unions = unite_by_name(dataset.labels, network)
    opened = TrainSet(name, dataset, samples, unions, cache, count_pixels(dataset, samples, cache, progress=progress))
    if not unions.merge_counts(opened.pixels).any():
        raise DataError(
            f"{dataset.name} in {dataset.root}: every pixel of the {len(samples)} label files of {split!r} is void: "
            "check the label set, its `ignore` and its `ids`"
        )
    return opened


def check_mixture(settings: Sequence[str], sources: Sequence[Source]) -> None:
    """Raises ConfigError where settings ("mixture.camvid=0.3") name a data set that is not among the sources.

    A recipe's file may name more sets than are given; what is set for one run is a misspelling.
    """
    names = _unique_names(sources)
    for name in parse_settings(settings).get("mixture", {}):
        if name.lower() not in names:
            raise ConfigError(f"mixture.{name} is the fraction of no data set here; they are {', '.join(names)}")


def count_pixels(
    dataset: Dataset, samples: Sequence[Sample], cache: ImageCache, *, progress: Progress | None = None
) -> NDArray[np.int64]:
    """(samples, D) pixels of each class. Raises DataError for the first file that will not do."""

    def count(sample: Sample) -> NDArray[np.int64]:
        labels = dataset.truth(sample.frame)
        _check_size(sample, (labels.shape[0], labels.shape[1]))
        return np.bincount(cache.put_labels(sample.frame, labels).ravel(), minlength=256)[: len(dataset.labels)]

    counted = np.zeros((len(samples), len(dataset.labels)), np.int64)
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, counts in enumerate(pool.map(count, samples), start=1):
            counted[done - 1] = counts
            if progress:
                progress(done, len(samples))
    return counted


def _check_size(sample: Sample, labels_hw: tuple[int, int]) -> None:
    width, height = frame_size(sample.frame)
    if (height, width) != labels_hw:
        raise DataError(
            f"{sample.frame.mask}: its labels are {labels_hw[1]}x{labels_hw[0]} but the picture "
            f"{sample.frame.image.name} is {width}x{height}: resize the labels with nearest neighbour"
        )


def _check_val(dataset: Dataset, split: str) -> None:
    """A bad label file must not end the run at its first validation, hours from now."""
    samples = dataset.samples(split)
    if not samples:
        raise DataError(f"{dataset.name}: split {split!r} has no labels to validate on: choose another with val_split")
    pixels = count_pixels(dataset, samples, ImageCache(0)).sum(0)
    if not np.delete(pixels, dataset.labels.void).any():
        raise DataError(
            f"{dataset.name} in {dataset.root}: every pixel of the {len(samples)} label files of {split!r} is void: "
            "choose another split with val_split"
        )


def _unique_names(sources: Sequence[Source]) -> list[str]:
    """A name for each data set, in lower case, numbered where one comes twice."""
    names: list[str] = []
    for source in sources:
        stem = Path(source.name).stem.lower()
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names


def _notes(data: TrainSet) -> list[str]:
    notes = [*data.dataset.problems, *data.dataset.notes]
    if data.unions.missing:
        notes.append(f"classes that the network has no counterpart for are void: {', '.join(data.unions.missing)}")
    if not data.unions.is_identity:
        notes.append(
            f"its {len(data.dataset.labels)} classes are learnt by name, as the network's or as unions of them"
        )
    return [f"{data.name}: {text}" for text in notes]
