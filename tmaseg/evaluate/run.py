"""evaluate: a data set, streamed through the network as `tmaseg run` would, and scored."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeVar

from tmaseg.data import Clip, ClipFrame, Dataset
from tmaseg.errors import ConfigError
from tmaseg.evaluate.cost import frame_gmacs, peak_memory_mb
from tmaseg.evaluate.evaluation import Evaluation, Pass
from tmaseg.evaluate.options import EvalOptions
from tmaseg.evaluate.predict import RGB, Answers, Labels, Predictor, Weights, open_passes
from tmaseg.evaluate.saving import PictureFolder, Submission
from tmaseg.evaluate.scores import Scores
from tmaseg.evaluate.share import Share
from tmaseg.evaluate.worst import WorstFrames
from tmaseg.metrics import Motion, MotionEstimator

Progress = Callable[[int, int], None]
_Item = TypeVar("_Item")
CLOSE_SECONDS = 0.25  # labelled frames this far apart at most are a run: consistency over a second says nothing
_READ_AHEAD = 4
_NO_TRUTH = "no ground truth in this split: nothing is scored"
_NO_RUNS = "no labelled frames follow each other closely here: VC, TC and flicker cannot be measured"


@dataclass(frozen=True)
class _Shown:
    """A frame as it is shown to every pass."""

    clip: Clip
    frame: ClipFrame
    rgb: RGB
    first: bool
    """Whether it begins a sequence."""
    follows: bool
    """Whether it is wanted, and so was the frame shown just before, a moment earlier."""
    place: int


class _Pass:
    """One pass while it runs: a predictor, its scores, and where its pictures go."""

    def __init__(self, predictor: Predictor, dataset: Dataset, options: EvalOptions, *, alone: bool) -> None:
        self.predictor = predictor
        self.scores = Scores(dataset.labels)
        self.worst = WorstFrames(options.worst, dataset.labels)
        self._dataset = dataset
        self._options = options
        folder = options.save
        if folder and not alone:
            folder = folder / f"memory-{predictor.memory_frames}"
        self._pictures = PictureFolder(folder, dataset.labels) if folder else None
        self._submission = Submission(options.submit, dataset) if options.submit else None

    def predict(self, shown: Sequence[_Shown]) -> list[Labels]:
        """One frame in its stream, or several that remember nothing."""
        if len(shown) > 1 or self._options.batch > 1:
            return self.predictor.alone([each.rgb for each in shown])
        if shown[0].first:
            self.predictor.start()
        return [self.predictor.step(shown[0].rgb)]

    def score(
        self, shown: _Shown, prediction: Labels, truth: tuple[Labels, Labels] | None, motion: Motion | None
    ) -> None:
        """Counts a wanted frame; `truth` is the class ids and the values in the file."""
        frame = shown.frame
        if not shown.follows:
            self.scores.end_run()
        if truth is not None:
            score = self.scores.update(
                prediction,
                truth[0],
                raw_truth=truth[1],
                motion=motion,
                clip=shown.clip.name,
                name=frame.name,
                place=shown.place,
            )
            self.worst.offer(score.miou, frame.name, shown.rgb, prediction, truth[0])
        else:
            self.scores.watch(prediction, motion)
        if self._pictures:
            self._pictures.write(frame, shown.rgb, prediction, truth[0] if truth else None)
        if self._submission:
            self._submission.write(frame, prediction)


@dataclass(frozen=True)
class _Part:
    """What one process found: for each pass its scores, its seconds and its worst frames."""

    scores: list[Scores]
    seconds: list[list[float]]
    worst: list[WorstFrames]
    frames: int
    """Shown to each pass."""
    size_hw: tuple[int, int]
    """Of the last frame; (0, 0) where there was none."""
    peak_mb: dict[str, float]

    def merge(self, other: "_Part") -> "_Part":
        """Both together; the scores of this one grow."""
        for mine, theirs in zip(self.scores, other.scores, strict=True):
            mine.merge(theirs)
        for kept, more in zip(self.worst, other.worst, strict=True):
            kept.merge(more)
        return _Part(
            self.scores,
            [[*mine, *theirs] for mine, theirs in zip(self.seconds, other.seconds, strict=True)],
            self.worst,
            self.frames + other.frames,
            max(self.size_hw, other.size_hw),
            {name: max(value, other.peak_mb.get(name, 0.0)) for name, value in self.peak_mb.items()},
        )


def evaluate(
    dataset: Dataset,
    weights: Weights,
    options: EvalOptions,
    *,
    share: Share = Share(),  # noqa: B008
    progress: Progress | None = None,
) -> Evaluation | None:
    """Scores `weights` on a split. Sequences begin with empty memory; scene cuts are not looked for inside them.

    `progress` is told how many wanted frames of how many are done. With several processes, None on all but the first.
    Raises DataError, ConfigError and OutputError.
    """
    begun = time.perf_counter()
    data = dataset.scoring_void() if options.score_void else dataset
    answers = Answers.between(weights.labels, data.labels, data.void_class)
    predictors = open_passes(weights, answers, options, stretch=data.stretch)
    passes = [_Pass(predictor, data, options, alone=len(predictors) == 1) for predictor in predictors]
    share.wait()  # all have looked at the folders before anyone writes there
    past = max(each.predictor.memory_frames for each in passes)
    clips = list(limited(data.streams(options.split, past=past), options.limit))
    _check_batch(options, passes, clips)
    offsets = _offsets(clips)
    mine = share.mine(clips, lambda clip: len(clip.frames))
    parts = share.gather(_run(data, passes, [(clip, offsets[id(clip)]) for clip in mine], options, progress))
    if not share.first:
        return None
    whole = reduce(_Part.merge, parts)
    size_hw = (whole.size_hw[0], round(whole.size_hw[1] * data.stretch))
    finished = tuple(
        Pass(
            memory_frames=each.predictor.memory_frames,
            scores=scores.compute(),
            network_seconds=tuple(seconds),
            gmacs=frame_gmacs(weights, options, size_hw, each.predictor.memory_frames),
            worst=worst.worst_first(),
        )
        for each, scores, seconds, worst in zip(passes, whole.scores, whole.seconds, whole.worst, strict=True)
    )
    view = weights.with_view(options.view).view
    return Evaluation(
        dataset=data.name,
        layout=data.layout,
        root=str(data.root),
        split=options.split or data.default_split,
        labels=data.labels,
        void_scored=options.score_void,
        images=len(finished[0].scores.frames),
        frames=whole.frames,
        sequences=len(clips),
        weights=weights.name,
        device=str(weights.device),
        precision=weights.precision,
        processes=share.count,
        size={**vars(view), "scales": list(options.scales), "flip": options.flip, "batch": options.batch},
        notes=(*answers.notes, *_notes(data, finished[0], options), *data.notes),
        passes=finished,
        seconds=time.perf_counter() - begun,
        peak_mb=whole.peak_mb,
    )


def _notes(data: Dataset, first: Pass, options: EvalOptions) -> Iterator[str]:
    if data.name == "camvid":
        extra = "the 11 classes and void" if options.score_void else "the 11 classes; void is not scored"
        yield f"mIoU is over {extra}"
    if not first.scores.frames:
        yield _NO_TRUTH
    elif options.temporal and not first.scores.flicker.pairs:
        yield _NO_RUNS


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


def _check_batch(options: EvalOptions, passes: Sequence[_Pass], clips: Sequence[Clip]) -> None:
    remembered = any(len(clip.frames) > 1 for clip in clips) and any(each.predictor.memory_frames for each in passes)
    if options.batch > 1 and remembered:
        raise ConfigError(
            f"--batch is {options.batch}, but frames of this data remember the ones before them: "
            "leave it out, or give --memory 0"
        )


def _offsets(clips: Sequence[Clip]) -> dict[int, int]:
    """How many wanted frames lie before each clip."""
    offsets, total = {}, 0
    for clip in clips:
        offsets[id(clip)] = total
        total += sum(frame.wanted for frame in clip.frames)
    return offsets


def _run(
    data: Dataset,
    passes: Sequence[_Pass],
    clips: Sequence[tuple[Clip, int]],
    options: EvalOptions,
    progress: Progress | None,
) -> _Part:
    """Shows every frame to every pass."""
    estimator = MotionEstimator()
    total = sum(frame.wanted for clip, _ in clips for frame in clip.frames)
    done = 0
    size_hw = (0, 0)
    for chunk in _chunks(_show(data, clips, runs=options.temporal), options.batch):
        predictions = [each.predict(chunk) for each in passes]
        for place, shown in enumerate(chunk):
            size_hw = (shown.rgb.shape[0], shown.rgb.shape[1])
            if not shown.frame.wanted:
                continue
            motion = _motion(estimator, shown) if options.temporal else None
            truth = None
            if shown.frame.mask:
                truth = (data.truth(shown.frame), data.raw_truth(shown.frame))
            for each, predicted in zip(passes, predictions, strict=True):
                each.score(shown, predicted[place], truth, motion)
            done += 1
            if progress:
                progress(done, total)
    return _Part(
        [each.scores for each in passes],
        [each.predictor.seconds for each in passes],
        [each.worst for each in passes],
        passes[0].predictor.frames,
        size_hw,
        peak_memory_mb(passes[0].predictor.device),
    )


def _motion(estimator: MotionEstimator, shown: _Shown) -> Motion | None:
    if not shown.follows:
        estimator.reset()
    return estimator.update(shown.rgb)


def _show(data: Dataset, clips: Sequence[tuple[Clip, int]], *, runs: bool) -> Iterator[_Shown]:
    """Every frame in order, read ahead of the network. Without `runs` none follows another."""
    frames = ((clip, place, frame) for clip, offset in clips for place, frame in _placed(clip, offset))
    last: tuple[Clip, ClipFrame] | None = None
    for (clip, place, frame), rgb in _read_ahead(frames, lambda item: data.image(item[2])):
        first = last is None or last[0] is not clip
        follows = runs and last is not None and not first and last[1].wanted and is_close(clip, last[1], frame)
        yield _Shown(clip, frame, rgb, first, follows, place)
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


def _chunks(shown: Iterable[_Shown], batch: int) -> Iterator[list[_Shown]]:
    """Groups of at most `batch` frames of one size."""
    chunk: list[_Shown] = []
    for each in shown:
        if chunk and (len(chunk) == batch or each.rgb.shape != chunk[0].rgb.shape):
            yield chunk
            chunk = []
        chunk.append(each)
    if chunk:
        yield chunk
