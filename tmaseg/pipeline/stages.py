"""Stages: decoding, the network, painting and every output at the same time, each in a thread of its own."""

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import cv2
import numpy as np

from tmaseg.arrays import RGB, Labels
from tmaseg.signals import DECODE_THREAD
from tmaseg.video.source import Frame, Source

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import Segmentation


Item = TypeVar("Item")

STAGES = ("decode", "model", "render", "encode")
_QUEUED = 4  # decoded frames in the queue: enough to even out a stage, few enough for 4K
_QUEUED_BEHIND = 2  # segmented frames in the queue of the painter, and of each output
_MOST_KEPT = 32  # frames of a live source that wait, with keep_all
_BINS, _LEAST_SECONDS, _STEP = 1400, 0.0001, 1.01  # of latencies: one per cent wide each, up to two minutes
_PATIENCE_SECONDS = 0.1  # between checks whether a waiting stage should stop


@dataclass(frozen=True)
class Output:
    """One output of every frame."""

    write: Callable[[Frame, Labels], None]  # takes the frame (painted, if `render` is given) and its class ids
    render: Callable[[Frame, Labels], Frame] | None = None  # makes the painted frame
    confidence: bool = False  # whether `write` takes the probability of each pixel's class, 0 to 255, instead of its id


@dataclass(frozen=True)
class Outcome:
    """The result of `segment`."""

    frames: int  # frames segmented and written
    seconds: float  # wall time
    stages: dict[str, float]
    """Busy seconds of decode, model, render and encode, the last two over all outputs; they overlap."""
    interrupted: bool  # whether an interrupt or `stop` ended it before the end of the source


def segment(
    source: Iterable[Frame],
    step: "Callable[..., Segmentation]",
    outputs: Sequence[Output],
    *,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    live: "Live | None" = None,
    relabel: Labels | None = None,
    look_ahead: Callable[[RGB], None] | None = None,
) -> Outcome:
    """Passes every frame of the source through `step` and into the outputs, in order; of a `live` one, the newest.

    `step` is that of a FrameSegmenter, `look_ahead` what its `looking_ahead` gives. `relabel` (256,): the class id that
    outputs get for each of its class ids.

    `progress` is called with the number of frames segmented, in the caller's thread. Any error stops all stages and is
    raised here unchanged; no thread outlives the call. When `stop()` is true, or after a KeyboardInterrupt, reading
    ends, the frames segmented so far are written, and the outcome is `interrupted`; a second interrupt is raised.
    """
    clock, errors = _Clock(), list[BaseException]()
    confidence = {"confidence": True} if any(output.confidence for output in outputs) else {}
    begun, interrupted = time.perf_counter(), False
    with ExitStack() as threads:  # they end in the opposite order: the painter feeds the outputs
        reader = threads.enter_context(_Reader(source, clock, stop, live))
        writers = [_Worker("tmaseg-encode", partial(_write, output, clock), errors) for output in outputs]
        painter = _Worker("tmaseg-render", partial(_paint, outputs, writers, clock, live, relabel), errors)
        for worker in (*writers, painter):
            threads.enter_context(worker)
        try:
            for count, frame in enumerate(reader, 1):
                if look_ahead and (following := reader.next()):
                    look_ahead(following.rgb)
                options = {"key_frame": not live.is_behind} if live and live.keep_all else confidence
                with clock.busy("model"):
                    segmentation = step(frame.rgb, seconds=frame.seconds, discontinuity=frame.discontinuity, **options)
                painter.put((frame, segmentation))
                if errors:
                    raise errors[0]
                if progress:
                    progress(count)
            interrupted = not reader.ended
        except KeyboardInterrupt:
            if stop():  # the second one
                raise
            interrupted = True
    if errors:
        raise errors[0]
    return Outcome(
        frames=min(worker.done for worker in (painter, *writers)),
        seconds=time.perf_counter() - begun,
        stages=clock.seconds,
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

    def __init__(self, source: Iterable[Frame], clock: _Clock, stop: Callable[[], bool], live: "Live | None") -> None:
        self._source, self._clock, self._is_to_stop, self._live = source, clock, stop, live
        self.ended = False  # whether the last frame of the source was passed on
        self._ready: queue.Queue[Frame | BaseException | None] | Live = live or queue.Queue(_QUEUED)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=DECODE_THREAD, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if isinstance(self._source, Source):
            self._source.stop()
        if self._live:
            self._thread.join(1)  # a camera that is silent is not waited for: the thread ends by itself
        else:
            _join(self._thread)

    def __iter__(self) -> Iterator[Frame]:
        last = time.monotonic() + (self._live.duration if self._live and self._live.duration else math.inf)
        while not self._is_to_stop():
            try:
                item = self._ready.get(timeout=_PATIENCE_SECONDS) if time.monotonic() < last else None
            except queue.Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            if item is None:
                self.ended = True
                return
            yield item

    def next(self) -> Frame | None:
        """The frame that will come next, where it has been read; none of a live source, where a newer one may."""
        if isinstance(self._ready, Live):
            return None
        with self._ready.mutex:
            item = self._ready.queue[0] if self._ready.queue else None
        return item if isinstance(item, Frame) else None

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


class _Worker(Generic[Item]):
    """Calls a function with every item, in order, in a thread of its own, a few items behind.

    Its error goes to `errors`, which workers share; when there is any, they drop what is queued.
    """

    def __init__(self, name: str, do: Callable[[Item], None], errors: list[BaseException]) -> None:
        self._do, self._errors = do, errors
        self.done = 0
        self._waiting: queue.Queue[Item | None] = queue.Queue(_QUEUED_BEHIND)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Processes what is queued, or drops it after an error, and ends the thread."""
        if error is not None:
            self._errors.append(error)
        try:
            self._waiting.put(None)
        except BaseException as interrupt:  # before or after it was queued; a thread that ended leaves room
            self._errors.append(interrupt)
            self._waiting.put(None)
            _join(self._thread)
            raise
        _join(self._thread)

    def put(self, item: Item) -> None:
        # The thread takes items until its end is queued, even after a failure: this never waits for ever.
        self._waiting.put(item)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._errors:
                continue
            try:
                self._do(item)
                self.done += 1
            except BaseException as error:
                self._errors.append(error)


def _paint(
    outputs: Sequence[Output],
    writers: Sequence[_Worker[Any]],
    clock: _Clock,
    live: "Live | None",
    relabel: Labels | None,
    item: "tuple[Frame, Segmentation]",
) -> None:
    """Paints a frame, whose labels a GPU may still be computing, and passes it to the writers."""
    frame, segmentation = item
    with clock.busy("model"):  # waits for a GPU
        labels = segmentation.labels
    if relabel is not None:
        labels = np.asarray(cv2.LUT(labels, relabel), np.uint8)
    for output, writer in zip(outputs, writers, strict=True):
        picture = frame
        if output.render is not None:
            with clock.busy("render"):
                picture = output.render(frame, labels)
        writer.put((picture, segmentation.confidence if output.confidence else labels))
    if live:
        live.latency.add(frame)


def _write(output: Output, clock: _Clock, item: tuple[Frame, Labels]) -> None:
    with clock.busy("encode"):
        output.write(*item)


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


# Live sources ---------------------------------------------------------------------------------------------------------


class Live:
    """The queue between a live source and the network: a frame that waits is dropped when the next one comes.

    With `keep_all` none is, up to the number that fits into memory: the network runs on the newest, and the others
    take labels that are moved along. `duration`: seconds after which the frames end. `put` and `get` are those of
    `queue.Queue`.
    """

    def __init__(self, *, keep_all: bool = False, duration: float | None = None) -> None:
        self.keep_all, self.duration = keep_all, duration
        self.dropped = 0  # frames that were dropped
        self.latency = Latency()
        self._room = _MOST_KEPT if keep_all else 1
        self._waiting: deque[Frame | BaseException | None] = deque()
        self._changed = threading.Condition()

    def put(self, item: Frame | BaseException | None, timeout: float) -> None:  # noqa: ARG002  (never full)
        """Add a frame, or what ends them."""
        with self._changed:
            if isinstance(item, Frame) and len(self._waiting) >= self._room:
                self.dropped += 1
                oldest = self._waiting.popleft()
                self._waiting.append(item)
                following = self._waiting[0]
                if isinstance(oldest, Frame) and isinstance(following, Frame) and oldest.discontinuity:
                    self._waiting[0] = replace(following, discontinuity=True)
            else:
                self._waiting.append(item)
            self._changed.notify()

    def get(self, timeout: float) -> Frame | BaseException | None:
        """The oldest that waits. Raises queue.Empty after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, timeout):
                raise queue.Empty
            return self._waiting.popleft()

    @property
    def is_behind(self) -> bool:
        """Whether newer frames wait."""
        return bool(self._waiting) and isinstance(self._waiting[0], Frame)


class Latency:
    """Quantiles of the time from the arrival of a frame to its painted picture, to one per cent, in constant memory."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, frame: Frame) -> None:
        """A frame whose picture is painted now; one without a time of arrival does not count."""
        if frame.arrival is not None:
            seconds = max(time.monotonic() - frame.arrival, _LEAST_SECONDS)
            self._counts[min(round(np.log(seconds / _LEAST_SECONDS) / np.log(_STEP)), _BINS - 1)] += 1

    def quantile(self, share: float) -> float | None:
        """Seconds that `share` of the frames take at most; None where none has come."""
        total = self._counts.sum()
        place = int(np.searchsorted(np.cumsum(self._counts), share * total))
        return float(_LEAST_SECONDS * _STEP**place) if total else None
