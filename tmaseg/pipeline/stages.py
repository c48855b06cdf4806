"""Stages: decoding, the network, painting and every output at the same time, each in a thread of its own."""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar, runtime_checkable

import cv2
import numpy as np

from tmaseg.arrays import RGB, Labels
from tmaseg.pipeline.live import Live, LiveQueue
from tmaseg.signals import DECODE_THREAD
from tmaseg.video.source import Frame

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import Segmentation


Item = TypeVar("Item")

STAGES = ("decode", "model", "render", "encode")
_QUEUED = 4  # decoded frames in the queue: enough to even out a stage, few enough for 4K
_QUEUED_BEHIND = 2  # segmented frames in the queue of the painter, and of each output
_PATIENCE_SECONDS = 0.1  # between checks whether a waiting stage should stop


class Stepper(Protocol):
    """The part of a Segmenter that the pipeline uses."""

    @property
    def memory_resets(self) -> int:
        """How often the memory was emptied."""

    def step(
        self,
        rgb: RGB,
        *,
        seconds: float | None = None,
        discontinuity: bool = False,
        key_frame: bool = True,
        confidence: bool = False,
    ) -> "Segmentation":
        """The next frame of the video."""


@runtime_checkable
class Stoppable(Protocol):
    """A source whose frames may have to be waited for."""

    def stop(self) -> None:
        """Ends the frames here."""


@dataclass(frozen=True)
class Output:
    """One output of every frame."""

    write: Callable[[Frame, Labels], None]
    """Takes the frame (painted, if `render` is given) and its class ids."""
    render: Callable[[Frame, Labels], Frame] | None = None
    """Makes the painted frame."""
    confidence: bool = False
    """Whether `write` takes the probability of each pixel's class, 0 to 255, instead of its id."""


@dataclass(frozen=True)
class Outcome:
    """The result of `segment`."""

    frames: int
    """Frames segmented and written."""
    seconds: float
    """Wall time."""
    stages: dict[str, float]
    """Busy seconds of decode, model, render and encode, the last two over all outputs; they overlap."""
    memory_resets: int
    """How often the memory was emptied."""
    interrupted: bool
    """Whether an interrupt or `stop` ended it before the end of the source."""


def segment(
    source: Iterable[Frame],
    stepper: Stepper,
    outputs: Sequence[Output],
    *,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    live: Live | None = None,
    relabel: Labels | None = None,
) -> Outcome:
    """Passes every frame of the source through the stepper and into the outputs, in order; of a `live` one, the newest.

    `relabel` (256,): the class id that outputs get for each of the stepper's.

    `progress` is called with the number of frames segmented, in the caller's thread. Any error stops all stages and is
    raised here unchanged; no thread outlives the call. When `stop()` is true, or after a KeyboardInterrupt, reading
    ends, the frames segmented so far are written, and the outcome is `interrupted`; a second interrupt is raised.
    """
    clock = _Clock()
    confidence = {"confidence": True} if any(output.confidence for output in outputs) else {}
    begun, interrupted = time.perf_counter(), False
    with _Reader(source, clock, stop, live) as reader, _Writer(outputs, clock, live, relabel) as writer:
        try:
            for count, frame in enumerate(reader, 1):
                options = {"key_frame": not live.queue.is_behind} if live and live.keep_all else confidence
                with clock.busy("model"):
                    segmentation = stepper.step(
                        frame.rgb, seconds=frame.seconds, discontinuity=frame.discontinuity, **options
                    )
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
        self.seconds = dict.fromkeys(STAGES, 0.0)
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

    def __init__(
        self, source: Iterable[Frame], clock: _Clock, stop: Callable[[], bool], live: Live | None = None
    ) -> None:
        self._source, self._clock, self._asked_to_stop, self._live = source, clock, stop, live
        self.ended = False
        """Whether the last frame of the source was passed on."""
        self._ready: queue.Queue[Frame | BaseException | None] | LiveQueue
        self._ready = live.queue if live else queue.Queue(_QUEUED)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=DECODE_THREAD, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if isinstance(self._source, Stoppable):
            self._source.stop()
        if self._live:
            self._thread.join(1)  # a camera that is silent is not waited for: the thread ends by itself
        else:
            _join(self._thread)

    def __iter__(self) -> Iterator[Frame]:
        last = time.monotonic() + self._live.duration if self._live and self._live.duration else math.inf
        while not self._asked_to_stop():
            if time.monotonic() >= last:
                self.ended = True
                return
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
    """Paints in a thread of its own, a few frames behind, and writes in another for each output."""

    def __init__(
        self, outputs: Sequence[Output], clock: _Clock, live: Live | None = None, relabel: Labels | None = None
    ) -> None:
        self._outputs, self._clock, self._live, self._relabel = outputs, clock, live, relabel
        self._trouble = _Trouble()
        self._sinks = [_Worker("tmaseg-encode", partial(self._write, output), self._trouble) for output in outputs]
        self._painter = _Worker("tmaseg-render", self._paint, self._trouble)
        self._threads = ExitStack()

    @property
    def written(self) -> int:
        """Frames that every output has."""
        return min(worker.done for worker in (self._painter, *self._sinks))

    def __enter__(self) -> Self:
        with ExitStack() as threads:
            for worker in (*self._sinks, self._painter):  # the painter ends first: it feeds the others
                threads.enter_context(worker)
            self._threads = threads.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes what is queued, or drops it after an error; raises the first error of a thread."""
        self._threads.__exit__(kind, error, trace)
        if error is None:
            self._trouble.check()

    def put(self, frame: Frame, segmentation: "Segmentation") -> None:
        """Queues a frame, whose labels a GPU may still be computing; raises an earlier error of a thread."""
        self._painter.put((frame, segmentation))
        self._trouble.check()

    def _paint(self, item: "tuple[Frame, Segmentation]") -> None:
        frame, segmentation = item
        with self._clock.busy("model"):  # waits for a GPU
            labels = segmentation.labels
        if self._relabel is not None:
            labels = np.asarray(cv2.LUT(labels, self._relabel), np.uint8)
        for output, sink in zip(self._outputs, self._sinks, strict=True):
            picture = frame
            if output.render is not None:
                with self._clock.busy("render"):
                    picture = output.render(frame, labels)
            sink.put((picture, segmentation.confidence if output.confidence else labels))
        if self._live:
            self._live.latency.add(frame)

    def _write(self, output: Output, item: tuple[Frame, Labels]) -> None:
        with self._clock.busy("encode"):
            output.write(*item)


class _Trouble:
    """The first error in the threads that share this, and whether they drop what is queued."""

    def __init__(self) -> None:
        self.dropping = False
        self._error: BaseException | None = None

    def note(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self.dropping = True

    def check(self) -> None:
        """Raises it."""
        if self._error is not None:
            raise self._error


class _Worker(Generic[Item]):
    """Calls a function with every item, in order, in a thread of its own."""

    def __init__(self, name: str, do: Callable[[Item], None], trouble: _Trouble) -> None:
        self._do, self._trouble = do, trouble
        self.done = 0
        self._waiting: queue.Queue[Item | None] = queue.Queue(_QUEUED_BEHIND)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Processes what is queued, or drops it after an error, and ends the thread."""
        if error is not None:
            self._trouble.dropping = True
        try:
            self._waiting.put(None)
        except BaseException:  # an interrupt, before or after it was queued; a thread that ended leaves room
            self._trouble.dropping = True
            self._waiting.put(None)
            _join(self._thread)
            raise
        _join(self._thread)

    def put(self, item: Item) -> None:
        # The thread takes items until its end is queued, even after a failure: this never waits for ever.
        self._waiting.put(item)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._trouble.dropping:
                continue
            try:
                self._do(item)
                self.done += 1
            except BaseException as error:
                self._trouble.note(error)


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
