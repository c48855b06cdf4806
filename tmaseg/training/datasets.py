"""Data sets as training has them: labelled frames, checked and counted before the first step, and their classes."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain, count
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import RGB, Labels
from tmaseg.data import ClipFrame, Dataset, Sample, open_dataset, read_frame
from tmaseg.errors import ConfigError, DataError
from tmaseg.labels import ClassUnions, LabelSet, get_labels, unite_by_name
from tmaseg.training.job import Callback, Source
from tmaseg.training.recipe import Recipe, parse_settings

_THREADS = 4  # that read labels


class ImageCache:
    """Decoded pictures and labels, held in memory while there is room; any number of threads may use it."""

    def __init__(self, max_bytes: int, *, short_side: int = 0) -> None:
        """`short_side`: pixels to which larger pictures are reduced, since no crop shows more; 0: as stored."""
        self._short_side = short_side
        self._bytes_left, self._full = max_bytes, False
        self._images: dict[Path, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def picture(self, frame: ClipFrame) -> RGB:
        """(H, W, 3) uint8. Raises DataError when it cannot be read."""
        return self._get(frame.image, lambda: read_frame(frame), cv2.INTER_AREA)

    def keep(self, frame: ClipFrame) -> None:
        """Reads a picture, unless there has been no room for another. Raises DataError when it cannot be read."""
        if not self._full:
            self.picture(frame)

    def labels(self, dataset: Dataset, frame: ClipFrame) -> Labels:
        """(H, W) uint8 class ids of a labelled frame. Raises DataError."""
        assert frame.mask is not None
        return self._get(frame.mask, lambda: dataset.truth(frame), cv2.INTER_NEAREST_EXACT)

    def _get(self, path: Path, read: Callable[[], NDArray[np.uint8]], interpolation: int) -> NDArray[np.uint8]:
        found = self._images.get(path)
        if found is not None:
            return found
        image = read()
        height, width = image.shape[:2]
        factor = self._short_side / min(height, width)
        if 0 < factor < 1:
            size_wh = (round(width * factor), round(height * factor))
            image = np.asarray(cv2.resize(image, size_wh, interpolation=interpolation), np.uint8)
        with self._lock:
            self._full = self._full or image.nbytes > self._bytes_left
            if path not in self._images and image.nbytes <= self._bytes_left:
                self._images[path] = image
                self._bytes_left -= image.nbytes
        return image


@dataclass(frozen=True, eq=False)
class TrainSet:
    """The labelled frames of one data set that a run trains on."""

    name: str  # unique among the sets of a run
    dataset: Dataset
    samples: tuple[Sample, ...] = field(repr=False)
    unions: ClassUnions  # what its classes are among the network's
    cache: ImageCache = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)  # (samples, D) labelled pixels of each of its classes in each frame

    @cached_property
    def pixels(self) -> NDArray[np.int64]:
        """(D,) labelled pixels of each of its classes."""
        return np.asarray(self.counts.sum(0), np.int64)

    @cached_property
    def known(self) -> Labels:
        """(256,) class id -> itself, or 255 where it is void or the network has no counterpart."""
        table = np.full(256, 255, np.uint8)
        for index, union in enumerate(self.unions.members):
            if union and index != self.dataset.labels.ignore_index:
                table[index] = index
        return table

    def draw_rare(self, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
        """A sample drawn for a class that it shows, and that class's ids: several where they are one to the network."""
        # Classes come by 1 / sqrt of their pixels, the samples of one by their pixels of it: large objects more often
        # than specks, which may be mistakes of the labels.
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
class RunData:
    """The data of a run."""

    train: list[TrainSet]
    val: dict[str, Dataset]  # those that have the split to be scored on, by name
    labels: LabelSet  # the network's classes

    def read_pictures(self, past: int, *, threads: int) -> None:
        """Fills the cache with the pictures to train on and `past` frames before each, for processes to share."""
        steps = range(1, past + 1)
        with ThreadPoolExecutor(threads) as pool:
            for data in self.train:
                frames = [each for one in data.samples for each in (one.frame, *one.clip.past(one.frame, steps))]
                list(pool.map(data.cache.keep, {each.image: each for each in frames}.values()))


def open_sources(sources: Sequence[Source], labels: str) -> tuple[dict[str, Dataset], LabelSet]:
    """Each data set by its name in the run, and the network's classes: the label set `labels`, or the first one's."""
    opened = (open_dataset(source.name, source.root) for source in sources)
    datasets = dict(zip(_unique_names(sources), opened, strict=True))
    return datasets, get_labels(labels) if labels else next(iter(datasets.values())).labels


def read_labels(
    datasets: dict[str, Dataset], labels: LabelSet, recipe: Recipe, callback: Callback, *, cache_bytes: int
) -> RunData:
    """Reads every label file that a run will need.

    Raises DataError that names a bad file, or a split without a labelled pixel: not at a validation hours from now.
    """
    others = ", ".join(name for name in recipe.mixture if name not in datasets)
    if others:
        callback.note(f"the recipe's fraction of {others} is left out: there is no such data set in this run")
    # Pictures are cached no larger than what the largest crop shows of them.
    short_side = round(recipe.augmentation.size * max(1.0, recipe.augmentation.scale_max))
    cache, val_split = ImageCache(cache_bytes, short_side=short_side), recipe.run.val_split
    data = RunData([], {}, labels)
    for name, dataset in datasets.items():
        unions, progress = unite_by_name(dataset.labels, labels), partial(callback.labels_checked, name)
        samples = [sample for part in recipe.run.train_split.split("+") for sample in dataset.samples(part)]
        counts = _count_pixels(dataset, recipe.run.train_split, samples, unions, cache, progress)
        data.train.append(TrainSet(name, dataset, tuple(samples), unions, cache, counts))
        for note in _notes(dataset, unions):
            callback.note(f"{name}: {note}")
        if dataset.splits.get(val_split):
            _count_pixels(dataset, val_split, dataset.samples(val_split), unions, ImageCache(0), progress)
            data.val[name] = dataset
        elif val_split:
            callback.note(f"{name} has no split {val_split!r}: it is not validated on")
    return data


def check_mixture(settings: Sequence[str], sources: Sequence[Source]) -> None:
    """Raises ConfigError where settings ("mixture.camvid=0.3") name a data set that is not among the sources."""
    # A recipe's file may name more sets than are given; what is set for one run is a misspelling.
    names = _unique_names(sources)
    for name in parse_settings(settings).get("mixture", {}):
        if name.lower() not in names:
            raise ConfigError(f"mixture.{name} is the fraction of no data set here; they are {', '.join(names)}")


def _count_pixels(
    dataset: Dataset,
    split: str,
    samples: Sequence[Sample],
    unions: ClassUnions,
    cache: ImageCache,
    progress: Callable[[int, int], None],
) -> NDArray[np.int64]:
    """(samples, D) pixels of each class. Raises DataError for the first file that will not do, or where all is void."""

    def count(sample: Sample) -> NDArray[np.int64]:
        return np.bincount(cache.labels(dataset, sample.frame).ravel(), minlength=256)[: len(dataset.labels)]

    if not samples:
        raise DataError(f"{dataset.name} in {dataset.root} has no labelled frame in {split!r}: choose another split")
    counts = np.zeros((len(samples), len(dataset.labels)), np.int64)
    with ThreadPoolExecutor(_THREADS) as pool:
        for index, pixels in enumerate(pool.map(count, samples)):
            counts[index] = pixels
            progress(index + 1, len(samples))
    if not unions.merge_counts(counts).any():
        raise DataError(
            f"{dataset.name} in {dataset.root}: every pixel of the {len(samples)} label files of {split!r} is void: "
            "check the label set, its `ignore` and its `ids`, or choose another split"
        )
    return counts


def _unique_names(sources: Sequence[Source]) -> list[str]:
    """A name for each data set, in lower case, numbered where one comes twice."""
    names: list[str] = []
    for source in sources:
        stem = Path(source.name).stem.lower()
        numbered = (f"{stem}-{number}" for number in count(2))
        names.append(next(name for name in chain([stem], numbered) if name not in names))
    return names


def _notes(dataset: Dataset, unions: ClassUnions) -> list[str]:
    notes = [*dataset.problems, *dataset.notes]
    if unions.missing:
        notes.append(f"classes that the network has no counterpart for are void: {', '.join(unions.missing)}")
    if not unions.is_identity:
        notes.append(f"its {len(dataset.labels)} classes are learnt by name, as the network's or as unions of them")
    return notes
