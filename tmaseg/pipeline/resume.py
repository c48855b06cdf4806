"""Runs that may be stopped by anything: a video is segmented slice by slice, and resumed with the next."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import chain, dropwhile
from typing import TYPE_CHECKING, Any

from tmaseg.arrays import RGB, Labels
from tmaseg.errors import VideoError
from tmaseg.options import RunOptions
from tmaseg.pipeline.outputs import Outputs
from tmaseg.pipeline.parts import Segment, Stamp, UnfinishedRun
from tmaseg.pipeline.report import facts_so_far
from tmaseg.pipeline.stages import Outcome, Output, segment
from tmaseg.video.segments import JoinedSink
from tmaseg.video.source import Frame, Source, open_source

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import FrameSegmenter, Segmentation

SEGMENT_SECONDS = 60.0  # length of a segment: of the video, or of the work on it where that takes longer
_JUST_BEFORE_SECONDS = 1e-4  # closer than that no two frames are


class Recorder:
    """A segmenter that notes from which frame on its memory can be filled again, bit by bit."""

    def __init__(self, segmenter: "FrameSegmenter", frames: int) -> None:
        """`frames`: how many were segmented before."""
        self._segmenter = segmenter
        self._count = frames
        self._keys: list[int] = []  # numbers of the frames in memory, and of those before that share their places

    @property
    def refill(self) -> int:
        """Number of the first frame that the memory depends on."""
        return self._keys[0]

    def step(self, rgb: RGB, **about: Any) -> "Segmentation":
        """As `FrameSegmenter.step`."""
        return self._note(self._segmenter.step(rgb, **about))

    def refill_with(self, run: UnfinishedRun, frames: Iterator[Frame]) -> None:
        """Segments again what the memory depends on, and takes over the state after that. Raises VideoError."""
        last = run.segments[-1]
        self._count = last.refill
        for index, pts, _ in run.frames[last.refill :]:
            frame = next(frames, None)
            if frame is None or (frame.index, frame.pts) != (index, pts):
                raise VideoError(f"frame {index} is not what it was: the input changed; begin again with --overwrite")
            self._note(self._segmenter.step(frame.rgb, seconds=frame.seconds, continues=True))
        self._segmenter.discontinuity.state = last.detectors
        self._segmenter.memory_resets = last.memory_resets
        self._segmenter.network_frames = last.network_frames

    def _note(self, segmentation: "Segmentation") -> "Segmentation":
        if segmentation.reset:
            self._keys.clear()
        if not segmentation.carried:
            self._keys.append(self._count)
        places = max(1, self._segmenter.past_frames)
        if len(self._keys) > 2 * places:  # the last key frame read those in memory when it came
            del self._keys[:places]
        self._count += 1
        return segmentation


class Slices:
    """A source in slices of about a minute: each iteration gives the next."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._next: Frame | None = None
        self.ended = False  # whether the last frame was given

    def __iter__(self) -> Iterator[Frame]:
        begun, first = time.monotonic(), None
        while True:
            frame = self._next or next(self._frames, None)
            self._next = None
            if frame is None:
                self.ended = True
                return
            first = frame.seconds if first is None else first
            if frame.seconds - first >= SEGMENT_SECONDS or time.monotonic() - begun >= SEGMENT_SECONDS:
                self._next = frame
                return
            yield frame


def segment_slices(
    run: UnfinishedRun,
    source: Source,
    segmenter: "FrameSegmenter",
    outputs: Outputs,
    options: RunOptions,
    *,
    progress: Callable[[int], None] | None,
    stop: Callable[[], bool],
    look_ahead: Callable[[RGB], None] | None,
) -> Outcome:
    """`segment` of what an unfinished run lacks, a slice at a time, and then the video of all; `outputs` are the run's.

    Where `stop` or an interrupt ends it, the last slice becomes a segment as it is, and the video is not joined. The
    outcome is that of all attempts. Raises TmasegError.
    """
    run.begin()
    before = run.segments[-1] if run.segments else None
    video = outputs.video if isinstance(outputs.video, JoinedSink) else None
    interrupted, recorder = False, Recorder(segmenter, len(run.frames))
    with ExitStack() as stack:
        reading, frames = _open_rest(stack, source, run, options)
        slices = Slices(frames)
        if before:
            slices.ended = before.last
            recorder.refill_with(run, frames)
        while not (interrupted or slices.ended):
            done, taken = len(run.frames), list[Stamp]()
            if video:
                video.begin(run.video)
            outcome = segment(
                slices,
                recorder.step,
                [*outputs.each, _noted_in(taken)],
                progress=lambda count, done=done: progress(done + count) if progress else None,  # type: ignore[misc]
                stop=stop,
                relabel=outputs.relabel,
                look_ahead=look_ahead,
            )
            interrupted = outcome.interrupted
            if taken:
                part = Segment(
                    frames=taken,
                    order=video.cut() if video else [],
                    sizes={name: table.flush() for name, table in outputs.tables.items()},
                    seconds=outcome.seconds,
                    stages=outcome.stages,
                    refill=recorder.refill,
                    detectors=segmenter.discontinuity.state,
                    network_frames=segmenter.network_frames,
                    memory_resets=segmenter.memory_resets,
                    last=slices.ended,
                    **facts_so_far(reading, segmenter, before),
                )
                run.add(part)
    if video and not interrupted:
        video.join(run.recorded())
    return run.outcome(interrupted=interrupted)


def _noted_in(taken: list[Stamp]) -> Output:
    """An output that notes which frames came."""

    def note(frame: Frame, _: Labels) -> None:
        taken.append((frame.index, frame.pts, frame.duration))

    return Output(note)


def _open_rest(
    stack: ExitStack, source: Source, run: UnfinishedRun, options: RunOptions
) -> tuple[Source, Iterator[Frame]]:
    """The source, opened once more where that saves decoding, and its frames from the first that memory depends on."""
    if not run.segments:
        return source, iter(source)
    index, pts, _ = run.frames[run.segments[-1].refill]
    info, read = source.info, options.input.read_options()
    start = float(pts * info.time_base - info.beginning) - _JUST_BEFORE_SECONDS
    if start > (read.start or 0):
        with suppress(VideoError):
            rest = stack.enter_context(open_source(str(info.location or info.name), replace(read, start=start)))
            frames = iter(rest)
            first = next(frames)
            if (first.pts, rest.info.width, rest.info.height) == (pts, info.width, info.height):
                shift = index - first.index
                return rest, (replace(frame, index=frame.index + shift) for frame in chain([first], frames))
    return source, dropwhile(lambda frame: frame.pts != pts, source)
