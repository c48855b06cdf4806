"""TrainSet: one data set as training sees it: its labelled frames, checked and counted, and what its classes are."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tmaseg.data import Dataset, Sample
from tmaseg.errors import DataError
from tmaseg.labels import LabelSet
from tmaseg.training.classes import Unions, unite_by_name
from tmaseg.training.image_cache import ImageCache

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class TrainSet:
    """The labelled frames of one data set that a run trains on."""

    name: str
    """Its own among the sets of a run."""
    dataset: Dataset
    samples: tuple[Sample, ...] = field(repr=False)
    unions: Unions
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

        Classes come by 1 / sqrt of their share of the pixels, the samples of one by their pixels of it: large objects
        more often than specks, which may be mistakes of the labels.
        """
        counts = self._learnt
        pixels = counts.sum(0)
        rarity = np.divide(1, np.sqrt(pixels), out=np.zeros(len(pixels)), where=pixels > 0)
        if not rarity.any():
            return int(rng.integers(len(self.samples))), ()
        chosen = int(rng.choice(len(rarity), p=rarity / rarity.sum()))
        sample = int(rng.choice(len(counts), p=counts[:, chosen] / pixels[chosen]))
        united = zip(self.unions.members, self.unions.merged, strict=False)
        return sample, tuple(index for index, (union, first) in enumerate(united) if union and first == chosen)

    @cached_property
    def _learnt(self) -> NDArray[np.int64]:
        return self.unions.learnt(self.counts)

    def shown_hw(self, stored_hw: tuple[int, int], short_side: int) -> tuple[float, float]:
        """The size at which a picture's pixels are square, its short side `short_side` (0: its own)."""
        height, width = stored_hw[0], stored_hw[1] * self.dataset.stretch
        factor = short_side / min(height, width) if short_side else 1.0
        return height * factor, width * factor


def open_set(
    dataset: Dataset,
    split: str,
    *,
    name: str,
    network: LabelSet,
    cache: ImageCache,
    threads: int = 4,
    progress: Progress | None = None,
) -> TrainSet:
    """Reads every label file of a split ("train+val" joins two) before the first step.

    Raises DataError that names the exact file whose ids are outside the label set, or which does not fit its picture.
    """
    samples = tuple(sample for part in split.split("+") for sample in dataset.samples(part))
    if not samples:
        raise DataError(f"{dataset.name} in {dataset.root} has no labelled frame in {split!r}: choose another split")
    counts = count_pixels(dataset, samples, cache, threads=threads, progress=progress)
    return TrainSet(name, dataset, samples, unite_by_name(dataset.labels, network), cache, counts)


def share_out(sets: Sequence[TrainSet], shares: Mapping[str, float]) -> list[float]:
    """What part of the crops each set gets, 1 in all; `shares` by name, those of other sets are left out.

    Sets without a share divide what the others leave of 1 by their numbers of pictures. Where nothing is left, each
    gets the part of the pictures that it has, and the others keep their proportions in the rest.
    """
    counts = [len(data.samples) for data in sets]
    said = [shares.get(data.name, 0.0) for data in sets]
    unsaid = sum(count for count, share in zip(counts, said, strict=True) if not share)
    left = 1 - sum(said) if unsaid else 0.0
    if unsaid and left < 1e-6:
        left = unsaid / sum(counts)
    return [
        (1 - left) * share / sum(said) if share else left * count / unsaid
        for count, share in zip(counts, said, strict=True)
    ]


def count_pixels(
    dataset: Dataset,
    samples: Sequence[Sample],
    cache: ImageCache,
    *,
    threads: int = 4,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """(samples, D) pixels of each class. Raises DataError for the first file that will not do."""

    def look(sample: Sample) -> NDArray[np.int64]:
        labels = dataset.truth(sample.frame)
        _check_size(sample, (labels.shape[0], labels.shape[1]))
        return np.bincount(cache.put_labels(sample.frame, labels).ravel(), minlength=256)[: len(dataset.labels)]

    counted = np.zeros((len(samples), len(dataset.labels)), np.int64)
    with ThreadPoolExecutor(threads) as pool:
        for done, counts in enumerate(pool.map(look, samples), start=1):
            counted[done - 1] = counts
            if progress:
                progress(done, len(samples))
    return counted


def _check_size(sample: Sample, labels_hw: tuple[int, int]) -> None:
    path = sample.frame.image
    try:
        with Image.open(path) as picture:  # reads the header alone
            width, height = picture.size
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: the picture cannot be read ({error}): get the file again") from error
    if (height, width) != labels_hw:
        raise DataError(
            f"{sample.frame.mask}: its labels are {labels_hw[1]}x{labels_hw[0]} but the picture {path.name} is "
            f"{width}x{height}: resize the labels with nearest neighbour"
        )
