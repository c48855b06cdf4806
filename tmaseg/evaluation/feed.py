"""The feed: frames of a data set in the order in which every pass sees them, read ahead of the network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from tmaseg.data import Clip, ClipFrame, Dataset
from tmaseg.evaluation.predict import RGB

CLOSE_SECONDS = 0.25  # labelled frames this far apart at most are a run: consistency over a second says nothing
_READ_AHEAD = 4
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Shown:
    """A frame as it is shown to every pass."""

    clip: Clip
    frame: ClipFrame
    rgb: RGB
    first: bool
    """Whether it begins a sequence."""
    follows: bool
    """Whether it is wanted, and so was the frame shown just before, a moment earlier."""
    place: int


def limited(clips: Iterable[Clip], limit: int | None) -> Iterator[Clip]:
    """The clips up to the `limit`th wanted frame."""
    left = limit
    for clip in clips:
        if left is None:
            yield clip
            continue
        wanted = [place for place, frame in enumerate(clip.frames) if frame.wanted][:left]
        if wanted:
            yield replace(clip, frames=clip.frames[: wanted[-1] + 1])
        left -= len(wanted)


def is_close(clip: Clip, before: ClipFrame, frame: ClipFrame) -> bool:
    """Whether a frame comes a moment after another of its clip, so that consistency between them means something."""
    earlier, later = clip.seconds(before), clip.seconds(frame)
    if earlier is None or later is None:
        return frame.number - before.number <= clip.step
    return later - earlier <= CLOSE_SECONDS


def show(data: Dataset, clips: Sequence[tuple[Clip, int]], *, runs: bool) -> Iterator[Shown]:
    """Every frame in order, read ahead of the network. Without `runs` none follows another."""
    frames = ((clip, place, frame) for clip, offset in clips for place, frame in _placed(clip, offset))
    last: tuple[Clip, ClipFrame] | None = None
    for (clip, place, frame), rgb in _read_ahead(frames, lambda item: data.image(item[2])):
        first = last is None or last[0] is not clip
        follows = runs and last is not None and not first and last[1].wanted and is_close(clip, last[1], frame)
        yield Shown(clip, frame, rgb, first, follows, place)
        last = (clip, frame)


def _placed(clip: Clip, offset: int) -> Iterator[tuple[int, ClipFrame]]:
    for frame in clip.frames:
        yield offset, frame
        offset += frame.wanted


def _read_ahead(items: Iterable[_Item], read: Callable[[_Item], RGB]) -> Iterator[tuple[_Item, RGB]]:
    """Each item with what `read` makes of it, a few of them under way at a time."""
    with ThreadPoolExecutor(2) as pool:
        waiting: deque[tuple[_Item, Future[RGB]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(read, item)))
            if len(waiting) > _READ_AHEAD:
                ready, future = waiting.popleft()
                yield ready, future.result()
        for ready, future in waiting:
            yield ready, future.result()


def chunks(shown: Iterable[Shown], batch: int) -> Iterator[list[Shown]]:
    """Groups of at most `batch` frames of one size."""
    chunk: list[Shown] = []
    for each in shown:
        if chunk and (len(chunk) == batch or each.rgb.shape != chunk[0].rgb.shape):
            yield chunk
            chunk = []
        chunk.append(each)
    if chunk:
        yield chunk
