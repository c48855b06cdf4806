"""`tmaseg data check`: which layout was found, what is in it, and exactly what is wrong and how to mend it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.data.clip import Clip, ClipFrame
from tmaseg.data.dataset import Dataset, read_image
from tmaseg.data.files import few
from tmaseg.data.masks import read_values
from tmaseg.errors import DataError

_THREADS = 4
_LISTED = 3  # films whose frames between are compared with the labelled ones


@dataclass(frozen=True)
class SplitCheck:
    """What one split holds."""

    frames: int
    """Frames that labels are asked for."""
    labelled: int
    """Those that have a mask."""
    past: int
    """Unlabelled frames, seen by memory only."""
    clips: int
    """Sequences."""
    read: int
    """Masks that were read for the shares; fewer than `labelled` when a limit was set."""
    shares: dict[str, float] = field(default_factory=dict)
    """Class name -> share of the labelled pixels read, in [0, 1]."""
    void: float = 0.0
    """Share of pixels that are void."""


@dataclass(frozen=True)
class Check:
    """Everything `tmaseg data check` has to say."""

    dataset: str
    layout: str
    root: Path
    splits: dict[str, SplitCheck]
    problems: tuple[str, ...]
    """Each says what is wrong and how to mend it; empty for a sound data set."""
    notes: tuple[str, ...]


def check_dataset(dataset: Dataset, *, limit: int | None = 200) -> Check:
    """Reads at most `limit` masks of each split, evenly spread (None: all), and the sizes of their pictures."""
    problems = list(dataset.problems)
    notes = list(dataset.notes)
    splits = {}
    for name, clips in dataset.splits.items():
        splits[name] = _check_split(dataset, name, clips, limit, problems)
        absent = [label for label, share in splits[name].shares.items() if share == 0]
        if absent and splits[name].read == splits[name].labelled:
            notes.append(f"{name}: no pixel of {', '.join(absent)}")
        problems += _misplaced(name, clips)
    if not any(split.frames for split in splits.values()):
        problems.append(f"no split of {dataset.root} holds a labelled frame: check the folder names and lists above")
    return Check(dataset.name, dataset.layout, dataset.root, splits, tuple(problems), tuple(notes))


def _check_split(
    dataset: Dataset, name: str, clips: Sequence[Clip], limit: int | None, problems: list[str]
) -> SplitCheck:
    frames = [frame for clip in clips for frame in clip.frames]
    wanted = [frame for frame in frames if frame.wanted]
    labelled = [frame for frame in wanted if frame.mask]
    if not wanted:
        problems.append(f"{name}: empty split: its folder, or the list that names its files, holds nothing that exists")
    chosen = spread(labelled, limit)
    with ThreadPoolExecutor(_THREADS) as pool:
        looked = list(pool.map(lambda frame: _look(dataset, frame), chosen))
    faults: dict[str, list[str]] = {}
    for frame, (_, fault) in zip(chosen, looked, strict=True):
        if fault:
            faults.setdefault(fault, []).append(frame.name)
    problems += [f"{name}: {few(names, 'mask')}: {fault}" for fault, names in faults.items()]
    pixels = sum((counts for counts, _ in looked), np.zeros(256, np.int64))
    problems += _black_and_white(name, pixels, dataset)
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


def spread(frames: Sequence[ClipFrame], limit: int | None) -> list[ClipFrame]:
    """At most `limit` of the frames, evenly spread."""
    if limit is None or len(frames) <= limit:
        return list(frames)
    return [frames[int(place)] for place in np.linspace(0, len(frames) - 1, limit)]


def _look(dataset: Dataset, frame: ClipFrame) -> tuple[NDArray[np.int64], str | None]:
    """Pixels of each class id in a frame's mask, and what is wrong with the mask or its picture."""
    nothing = np.zeros(256, np.int64)
    assert frame.mask is not None
    try:
        fault = dataset.masks.fault(read_values(frame.mask))
        if fault:
            return nothing, fault
        truth = dataset.truth(frame)
        picture = read_image(frame.image)
    except DataError as error:
        return nothing, str(error)
    if picture.shape[:2] != truth.shape:
        sizes = [f"{width}x{height}" for height, width in (picture.shape[:2], truth.shape)]
        return nothing, f"the picture is {sizes[0]} and its mask {sizes[1]}: resize the masks with nearest neighbour"
    return np.bincount(truth.ravel(), minlength=256), None


def _black_and_white(name: str, pixels: NDArray[np.int64], dataset: Dataset) -> list[str]:
    """Masks that hold nothing but class 0 and void where void is 255: white was likely meant as a class."""
    if len(dataset.labels) < 2 or not dataset.masks.known[255] or dataset.masks.colours is not None:
        return []
    used = np.flatnonzero(pixels)
    if used.tolist() == [0, dataset.labels.ignore_index] and dataset.masks.table[255] == dataset.labels.ignore_index:
        return [
            f"{name}: every mask holds only {dataset.labels.names[0]} and void: black-and-white masks (0 and 255)? "
            "Say what white means with `id_map: {255: 1}` in a YAML"
        ]
    return []


def _misplaced(name: str, clips: Sequence[Clip]) -> list[str]:
    """Films whose frames between are numbered so that a labelled frame resembles another number's frames more."""
    problems = []
    for clip in clips[:_LISTED]:
        by_number = {frame.number: frame for frame in clip.frames}
        for frame in clip.frames:
            near = [by_number[number] for number in _around(frame) if number in by_number]
            if not frame.mask or len(near) < 2 or any(other.wanted for other in near):
                continue
            shift = _likeness_shift(frame, near)
            if shift:
                problems.append(
                    f"{name}: the frames between of {clip.name} are shifted by {shift:+d}: that one is the very "
                    f"picture of {frame.name}; make them again with `tmaseg data extract-camvid`"
                )
            break
    return problems


def _around(frame: ClipFrame) -> list[int]:
    return [frame.number + offset for offset in (-2, -1, 1, 2)]


def _likeness_shift(frame: ClipFrame, near: Sequence[ClipFrame]) -> int:
    """By how much a neighbour is the very picture of a labelled frame; 0 when none is."""
    small = [_small(other.image) for other in (frame, *near)]
    differences = [float(np.abs(other - small[0]).mean()) for other in small[1:]]
    least = int(np.argmin(differences))
    # The same picture compressed again differs by a grey level or two, its neighbours in time by several times that.
    others = float(np.median([*differences[:least], *differences[least + 1 :]]))
    same = differences[least] < 2.5 and differences[least] < 0.4 * others
    return near[least].number - frame.number if same else 0


def _small(path: Path) -> NDArray[np.float32]:
    return cv2.resize(read_image(path), (320, 240), interpolation=cv2.INTER_AREA).astype(np.float32)
