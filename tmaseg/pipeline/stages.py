"""Stages: decoding, the network, and painting with encoding, at once, each in a thread of its own."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tmaseg.stream import Segmentation
from tmaseg.video.frame import RGB, Frame

Labels = NDArray[np.uint8]  # (H, W) class ids

_QUEUED = 4  # frames waiting between two stages: enough to hide an uneven stage, few enough for 4K
_PATIENCE_SECONDS = 0.1  # between looks at whether a stage that waits should give up


class Stepper(Protocol):
    """What the pipeline needs of a Segmenter."""

    memory_resets: int

    def step(self, rgb: RGB, *, seconds: float | None = None, fresh: bool = False) -> Segmentation:
        """The next frame of the video."""


@dataclass(frozen=True)
class Output:
    """One thing that is made of every frame."""

    write: Callable[[Frame, Labels], None]
    """Takes the frame (painted, if `render` is given) and its class ids."""
    render: Callable[[Frame, Labels], Frame] | None = None
    """Makes the painted frame."""


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    frames: int
    """Frames segmented and written."""
    seconds: float
    """Wall time."""
    stages: dict[str, float]
    """Busy seconds of decode, model, render and encode; they overlap."""
    memory_resets: int
    """How often the memory was emptied on the way."""
    interrupted: bool
    """Whether Ctrl-C, or `stop`, ended the run before its source did."""


def segment(
    source: Iterable[Frame],
    stepper: Stepper,
    outputs: Sequence[Output],
    *,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Runs every frame of the source through the stepper and into the outputs, in order.

    `progress` is called with the number of frames segmented, in the caller's thread. Whatever fails stops all stages
    and is raised here as it is; no thread outlives the call. When `stop()` says so, or by a KeyboardInterrupt, reading
    ends, the frames already segmented are finished, and the outcome is `interrupted`; a second interrupt is raised.
    """
    clock = _Clock()
    begun, interrupted = time.perf_counter(), False
    with _Reader(source, clock, stop) as reader, _Writer(outputs, clock) as writer:
        try:
            for count, frame in enumerate(reader, 1):
                with clock.busy("model"):
                    segmentation = stepper.step(frame.rgb, seconds=frame.seconds, fresh=frame.fresh)
                writer.put(frame, segmentation)
                if progress:
                    progress(count)
            interrupted = not reader.ended
        except KeyboardInterrupt:
            if stop():  # the second one
                raise
            interrupted = True
    return Outcome(
        frames=writer.written,
        seconds=time.perf_counter() - begun,
        stages=clock.seconds,
        memory_resets=stepper.memory_resets,
        interrupted=interrupted,
    )


class _Clock:
    """Busy seconds by stage."""

    def __init__(self) -> None:
        self.seconds = {"decode": 0.0, "model": 0.0, "render": 0.0, "encode": 0.0}
        self._lock = threading.Lock()

    @contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - begun


class _Reader:
    """Iterates the source in a thread of its own, a few frames ahead."""

    def __init__(self, source: Iterable[Frame], clock: _Clock, stop: Callable[[], bool]) -> None:
        self._source, self._clock, self._asked_to_stop = source, clock, stop
        self.ended = False
        """Whether the source has given its last frame and it was passed on."""
        self._ready: queue.Queue[Frame | BaseException | None] = queue.Queue(_QUEUED)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tmaseg-decode", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        _join(self._thread)

    def __iter__(self) -> Iterator[Frame]:
        while not self._asked_to_stop():
            try:
                item = self._ready.get(timeout=_PATIENCE_SECONDS)
            except queue.Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            if item is None:
                self.ended = True
                return
            yield item

    def _run(self) -> None:
        last: BaseException | None = None
        try:
            frames = iter(self._source)
            while not self._stop.is_set():
                with self._clock.busy("decode"):
                    frame = next(frames, None)
                if frame is None:
                    break
                self._offer(frame)
        except BaseException as error:
            last = error
        self._offer(last)

    def _offer(self, item: Frame | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=_PATIENCE_SECONDS)
            except queue.Full:
                continue
            return


class _Writer:
    """Paints and writes in a thread of its own, a few frames behind."""

    def __init__(self, outputs: Sequence[Output], clock: _Clock) -> None:
        self._outputs, self._clock = outputs, clock
        self._waiting: queue.Queue[tuple[Frame, Segmentation] | None] = queue.Queue(_QUEUED)
        self._abandoned = threading.Event()
        self._error: BaseException | None = None
        self.written = 0
        self._thread = threading.Thread(target=self._run, name="tmaseg-encode", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes what is waiting, or drops it when leaving by an error; raises what the thread failed with."""
        if error is not None:
            self._abandoned.set()
        try:
            self._offer(None)
            _join(self._thread)
        except BaseException:
            self._abandoned.set()
            self._offer(None)
            _join(self._thread)
            raise
        if error is None and self._error is not None:
            raise self._error

    def put(self, frame: Frame, segmentation: Segmentation) -> None:
        """Queues a frame, whose labels a GPU may still be working on; raises what the thread failed with earlier."""
        self._offer((frame, segmentation))
        if self._error is not None:
            raise self._error

    def _offer(self, item: tuple[Frame, Segmentation] | None) -> None:
        # The thread takes items until it is told to end, even after it has failed: this never waits for good.
        self._waiting.put(item)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._error is not None or self._abandoned.is_set():
                continue
            try:
                frame, segmentation = item
                with self._clock.busy("model"):  # the rest of it, where it is computed on a GPU
                    labels = segmentation.labels
                for output in self._outputs:
                    self._make(output, frame, labels)
                self.written += 1
            except BaseException as error:
                self._error = error

    def _make(self, output: Output, frame: Frame, labels: Labels) -> None:
        if output.render is not None:
            with self._clock.busy("render"):
                frame = output.render(frame, labels)
        with self._clock.busy("encode"):
            output.write(frame, labels)


def _join(thread: threading.Thread) -> None:
    """Waits for the thread to end, whatever signals arrive meanwhile; the last of them is raised afterwards."""
    signal: KeyboardInterrupt | None = None
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt as error:
            signal = error
    if signal is not None:
        raise signal
