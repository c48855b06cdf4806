"""The frames of a data set, read ahead of the network, in the order in which each pass gets them."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from tmaseg.arrays import RGB
from tmaseg.data import Clip, ClipFrame, Dataset

CLOSE_SECONDS = 0.25  # labelled frames this far apart at most are a run: over a second, consistency means nothing
_READ_AHEAD = 4
_Item = tuple[Clip, ClipFrame]


@dataclass(frozen=True, eq=False)
class StreamFrame:
    """A frame for the network, scored or not."""

    clip: Clip
    frame: ClipFrame
    rgb: RGB
    first: bool  # whether it begins a sequence
    follows: bool  # whether the frame before it was scored, close in time: consistency is measured between the two


def limited(clips: Iterable[Clip], limit: int | None) -> Iterator[Clip]:
    """The clips up to the `limit`th scored frame."""
    left = limit
    for clip in clips:
        if left is None:
            yield clip
            continue
        scored = [index for index, frame in enumerate(clip.frames) if frame.wanted][:left]
        if scored:
            yield replace(clip, frames=clip.frames[: scored[-1] + 1])
        left -= len(scored)


def is_close(clip: Clip, before: ClipFrame, frame: ClipFrame) -> bool:
    """Whether a frame follows another of its clip closely enough in time to measure consistency between them."""
    earlier, later = clip.seconds(before), clip.seconds(frame)
    if earlier is None or later is None:
        return frame.number - before.number <= clip.step
    return later - earlier <= CLOSE_SECONDS


def read_frames(data: Dataset, clips: Iterable[Clip], *, runs: bool) -> Iterator[StreamFrame]:
    """Every frame in order, a few of them read ahead. Without `runs` none follows another."""
    last: tuple[Clip, ClipFrame] | None = None
    for (clip, frame), rgb in _read_ahead(data, ((each, frame) for each in clips for frame in each.frames)):
        first = last is None or last[0] is not clip
        follows = runs and last is not None and not first and last[1].wanted and is_close(clip, last[1], frame)
        yield StreamFrame(clip, frame, rgb, first, follows)
        last = (clip, frame)


def _read_ahead(data: Dataset, items: Iterable[_Item]) -> Iterator[tuple[_Item, RGB]]:
    with ThreadPoolExecutor(2) as pool:
        waiting: deque[tuple[_Item, Future[RGB]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(data.image, item[1])))
            if len(waiting) > _READ_AHEAD:
                ready, future = waiting.popleft()
                yield ready, future.result()
        for ready, future in waiting:
            yield ready, future.result()


def batches(frames: Iterable[StreamFrame], size: int) -> Iterator[list[StreamFrame]]:
    """Groups of at most `size` frames whose pictures have one size."""
    group: list[StreamFrame] = []
    for frame in frames:
        if group and (len(group) == size or frame.rgb.shape != group[0].rgb.shape):
            yield group
            group = []
        group.append(frame)
    if group:
        yield group
