"""`tmaseg data check`: which layout was found, what is in it, what is wrong and how to mend it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tmaseg.data.clip import Clip, ClipFrame
from tmaseg.data.dataset import Dataset, read_frame
from tmaseg.data.files import few
from tmaseg.data.masks import BLACK_AND_WHITE, is_jpeg
from tmaseg.errors import DataError

T = TypeVar("T")

_THREADS = 4


@dataclass(frozen=True)
class SplitCheck:
    """What one split holds."""

    frames: int  # that are scored: labelled, or of a test split
    labelled: int  # of them, those that have a mask
    past: int  # unlabelled frames, for memory only
    clips: int  # sequences
    read: int  # masks that were read for the shares: fewer than `labelled` where a limit was set
    shares: dict[str, float]  # class name -> fraction of the labelled pixels read
    void: float  # fraction of pixels that are void


@dataclass(frozen=True)
class Check:
    """The result of `tmaseg data check`; each problem says what is wrong and how to mend it."""

    dataset: Dataset
    splits: dict[str, SplitCheck]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def check_dataset(dataset: Dataset, *, limit: int | None = 200) -> Check:
    """Reads at most `limit` masks of each split, evenly spread (None: all), and the sizes of their pictures."""
    problems, notes, splits = list(dataset.problems), list(dataset.notes), {}
    for name, clips in dataset.splits.items():
        splits[name] = _check_split(dataset, name, clips, limit, problems, notes)
        absent = [label for label, share in splits[name].shares.items() if share == 0]
        if absent and splits[name].read == splits[name].labelled:
            notes.append(f"{name}: no pixel of {', '.join(absent)}")
    if not any(split.frames for split in splits.values()):
        problems.append(f"no split of {dataset.root} holds a labelled frame: check the folder names and lists above")
    return Check(dataset, splits, tuple(problems), tuple(notes))


def _check_split(
    dataset: Dataset, name: str, clips: Sequence[Clip], limit: int | None, problems: list[str], notes: list[str]
) -> SplitCheck:
    frames = [frame for clip in clips for frame in clip.frames]
    wanted = [frame for frame in frames if frame.wanted]
    labelled = [frame for frame in wanted if frame.mask]
    if not wanted:
        problems.append(f"{name}: empty split: its folder, or the list that names its files, holds nothing that exists")
    chosen = spread(labelled, limit)
    with ThreadPoolExecutor(_THREADS) as pool:
        checked = list(pool.map(lambda frame: _check_frame(dataset, frame), chosen))
    faults: dict[str, list[str]] = {}
    pixels = np.zeros(256, np.int64)
    for frame, (counts, fault, odd) in zip(chosen, checked, strict=True):
        pixels += counts
        notes += [f"{name}: {note}" for note in odd]
        if fault:
            faults.setdefault(fault, []).append(frame.name)
    problems += [f"{name}: {few(names, 'mask')}: {fault}" for fault, names in faults.items()]
    problems += [f"{name}: {problem}" for problem in _mask_problems(dataset, pixels, chosen)]
    scored = int(pixels[: len(dataset.labels)].sum())
    return SplitCheck(
        frames=len(wanted),
        labelled=len(labelled),
        past=len(frames) - len(wanted),
        clips=len(clips),
        read=len(chosen),
        shares={label: int(pixels[index]) / max(scored, 1) for index, label in enumerate(dataset.labels.names)},
        void=1 - scored / max(int(pixels.sum()), 1) if chosen else 0.0,
    )


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` of the items, evenly spread; None: all."""
    count = len(items) if limit is None else min(limit, len(items))
    return [items[int(index)] for index in np.linspace(0, len(items) - 1, count)]


def _check_frame(dataset: Dataset, frame: ClipFrame) -> tuple[NDArray[np.int64], str | None, list[str]]:
    """(256,) pixels of each class id, the fault if there is one, and what is odd about a picture that can be read."""
    notes: list[str] = []
    try:
        truth = dataset.truth(frame)
        read_frame(frame, warn=notes.append)
    except DataError as error:
        return np.zeros(256, np.int64), str(error).removeprefix(f"{frame.mask}: "), notes
    return np.bincount(truth.ravel(), minlength=256), None, notes


def _mask_problems(dataset: Dataset, pixels: NDArray[np.int64], frames: Sequence[ClipFrame]) -> Iterator[str]:
    """What is wrong with the masks of a split together; `pixels`: (256,) of each class id."""
    labels, reader = dataset.labels, dataset.masks
    used = np.flatnonzero(pixels).tolist()
    jpegs = [frame.name for frame in frames if frame.mask and is_jpeg(frame.mask)]
    if jpegs:
        yield f"{few(jpegs, 'mask')} in JPEG files, whose compression changes ids: export the masks as PNG"
    if used and not set(used) & set(range(len(labels))) - set(labels.void):
        yield "every pixel of the masks is void: there is nothing to learn or score; check what they hold"
    # Nothing but class 0 and void where void is 255: white was likely meant as a class.
    white_is_void = reader.known[255] and reader.table[255] == labels.ignore_index and reader.colours is None
    if len(labels) > 1 and white_is_void and used == [0, labels.ignore_index]:
        yield (
            f"every mask holds only {labels.names[0]} and void: black-and-white masks (0 and 255)? "
            f"{BLACK_AND_WHITE[0].upper()}{BLACK_AND_WHITE[1:]}"
        )
