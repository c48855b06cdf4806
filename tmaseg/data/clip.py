"""Clips: labelled frames in the order they were filmed, each with the frames before it as far as they exist."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

_NUMBERED = re.compile(r"(.*?)[_\- .]?f?(\d+)")


@dataclass(frozen=True)
class ClipFrame:
    """One picture of a clip, as files."""

    name: str  # unique within the data set, without suffix; "/" parts folders
    image: Path
    number: int  # its place in the film: numbers grow with time, gaps are frames that do not exist as files
    mask: Path | None = None  # its labels; None for a frame that serves as memory only
    wanted: bool = False  # whether it is scored or submitted: it has a mask, or is of a test split without public ones


@dataclass(frozen=True)
class Clip:
    """Frames filmed in one go, numbers strictly growing."""

    name: str  # unique within the split
    frames: tuple[ClipFrame, ...] = field(repr=False)  # at least one
    rate: float | None = None  # frame numbers a second; None where it is not known

    @cached_property
    def step(self) -> int:
        """Usual difference between the numbers of neighbouring frames; 1 for a lone frame."""
        gaps = Counter(later.number - frame.number for frame, later in pairwise(self.frames))
        return gaps.most_common(1)[0][0] if gaps else 1

    @cached_property
    def _numbers(self) -> list[int]:
        return [frame.number for frame in self.frames]

    def seconds(self, frame: ClipFrame) -> float | None:
        """Time of one of the frames; None where the rate is not known."""
        return None if self.rate is None else frame.number / self.rate

    def past(self, frame: ClipFrame, steps: Iterable[int]) -> tuple[ClipFrame, ...]:
        """The frames that lie `steps` (each 1 or more) times the usual step before one of the frames, in that order.

        A missing one repeats the one before it, the first one where the film begins; alone, `frame` itself.
        """
        earlier = bisect_left(self._numbers, frame.number)
        latest = (frame.number - back * self.step + (self.step - 1) // 2 for back in steps)  # give or take half a step
        found = (bisect_right(self._numbers, number, hi=earlier) for number in latest)
        return tuple(self.frames[max(index - 1, 0)] if earlier else frame for index in found)

    def lead_in(self, frame: ClipFrame, count: int) -> tuple[ClipFrame, ...]:
        """The `count` steps before one of the frames, oldest first, missing ones repeated; fewer at the start."""
        first = self.frames[0].number - self.step / 2
        return self.past(frame, (back for back in range(count, 0, -1) if frame.number - back * self.step > first))


def split_number(stem: str) -> tuple[str, int | None]:
    """The film and the number in a file's stem: "Seq05VD_f00030" is ("Seq05VD", 30), "name" is ("name", None)."""
    found = _NUMBERED.fullmatch(stem)
    return (found[1], int(found[2])) if found else (stem, None)


def make_clips(
    frames: Iterable[tuple[str, ClipFrame]], *, rate: float | None = None, longest_gap: int | None = None
) -> tuple[Clip, ...]:
    """Clips from (film, frame) pairs: one for each film, parted where numbers leap by more than `longest_gap`.

    Frames are sorted by number, or stay as they come where numbers repeat; films keep the order of first appearance.
    """
    films: dict[str, list[ClipFrame]] = defaultdict(list)
    for film, frame in frames:
        films[film].append(frame)
    clips = []
    for film, members in films.items():
        if len({frame.number for frame in members}) < len(members):  # no numbers to go by: the order they came in
            members = [replace(frame, number=place) for place, frame in enumerate(members)]
        members.sort(key=lambda frame: frame.number)
        parts = [members[:1]]
        for before, frame in pairwise(members):
            if longest_gap is not None and frame.number - before.number > longest_gap:
                parts.append([])
            parts[-1].append(frame)
        for part in parts:
            name = film if len(parts) == 1 else f"{film}_{part[0].number}"
            clips.append(Clip(name.strip("_") or part[0].name, tuple(part), rate))
    return tuple(clips)


def trim(clip: Clip, past: int) -> Iterator[Clip]:
    """What must be streamed so that every wanted frame has its `past` frames before it, and nothing else."""
    # Where wanted frames lie close together the clip goes on; otherwise a new one begins, so that a memory which holds
    # no more than `past` frames is the same as after the full film. A missing frame repeats the one before.
    runs: list[list[ClipFrame]] = []
    last: ClipFrame | None = None
    for frame in clip.frames:
        if not frame.wanted:
            continue
        skipped = past + 1 if last is None else round((frame.number - last.number) / clip.step) - 1
        if skipped > past:
            runs.append([])
        shown = clip.lead_in(frame, min(past, skipped))
        runs[-1] += [*(replace(other, wanted=False) for other in shown), frame]
        last = frame
    for run in runs:
        complete = len(runs) == 1 and len(run) == len(clip.frames)
        first = next(frame.number for frame in run if frame.wanted)
        yield replace(clip, name=clip.name if complete else f"{clip.name}@{first}", frames=tuple(run))
