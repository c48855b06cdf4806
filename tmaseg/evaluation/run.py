"""evaluate: a data set, streamed through the network as `tmaseg run` would, and scored."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from tmaseg.data import Clip, ClipFrame, Dataset
from tmaseg.errors import ConfigError
from tmaseg.evaluation.cost import frame_gmacs
from tmaseg.evaluation.feed import Shown, chunks, limited, show
from tmaseg.evaluation.options import KEY_FRAMES_NOTE, EvalOptions
from tmaseg.evaluation.predict import Answers, Labels, Predictor, open_passes
from tmaseg.evaluation.result import Evaluation, Pass, spread
from tmaseg.evaluation.saving import PictureFolder, Submission
from tmaseg.evaluation.scores import Scores
from tmaseg.evaluation.shard import Shard
from tmaseg.evaluation.worst import WorstFrames
from tmaseg.files import check_not_read, peak_memory_mb
from tmaseg.inference.loading import LoadedNetwork
from tmaseg.video.optical_flow import BackwardFlow, FlowEstimator

Progress = Callable[[int, int], None]
_NO_TRUTH = "no ground truth in this split: nothing is scored"
_NO_RUNS = "no labelled frames follow each other closely here: VC, TC and flicker cannot be measured"


class _Pass:
    """One pass while it runs: a predictor, its scores, and where its pictures go."""

    def __init__(
        self, predictor: Predictor, dataset: Dataset, options: EvalOptions, frames: Sequence[ClipFrame], *, alone: bool
    ) -> None:
        self.predictor = predictor
        self.scores = Scores(dataset.labels)
        self.worst = WorstFrames(options.worst, dataset.labels)
        self._dataset = dataset
        self._options = options
        folder = options.save
        if folder and not alone:
            folder = folder / f"memory-{predictor.memory_frames}"
        self._pictures = PictureFolder(folder, dataset.labels, frames) if folder else None
        self._submission = Submission(options.submit, dataset) if options.submit else None

    @property
    def outputs(self) -> list[Path]:
        """Every picture that it may write, besides a submission, whose folder is new."""
        return self._pictures.outputs if self._pictures else []

    def predict(self, shown: Sequence[Shown]) -> list[Labels]:
        """One frame in its stream, or several that remember nothing."""
        if len(shown) > 1 or self._options.batch > 1:
            return self.predictor.alone([each.rgb for each in shown])
        if shown[0].first:
            self.predictor.start()
        return [self.predictor.step(shown[0].rgb)]

    def score(
        self, shown: Shown, prediction: Labels, truth: tuple[Labels, Labels] | None, motion: BackwardFlow | None
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
    weights: LoadedNetwork,
    options: EvalOptions,
    *,
    shard: Shard = Shard(),  # noqa: B008
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
    # Scored frames with others between them are the last before a key frame: the hardest, not the easiest.
    past = (max(each.memory_frames for each in predictors) + 1) * options.key_frames - 1
    clips = list(limited(data.streams(options.split, past=past), options.limit))
    frames = [frame for clip in clips for frame in clip.frames if frame.wanted]
    passes = [_Pass(predictor, data, options, frames, alone=len(predictors) == 1) for predictor in predictors]
    report = [options.report] if options.report else []
    check_not_read([*report, *(path for each in passes for path in each.outputs)], [*data.paths(), Path(weights.name)])
    shard.barrier()  # all have looked at the folders before anyone writes there
    _check_batch(options, passes, clips)
    mine = shard.select(_placed(clips), lambda placed: len(placed[0].frames))
    parts = shard.gather(_run(data, passes, mine, options, progress))
    if not shard.first:
        return None
    whole = reduce(_Part.merge, parts)
    finished = tuple(_finish(passes, whole, weights, options, data.stretch))
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
        processes=shard.count,
        size=options.looks(weights.with_geometry(options.geometry).geometry),
        notes=(*answers.notes, *_notes(data, finished[0], options), *data.notes),
        passes=finished,
        seconds=time.perf_counter() - begun,
        peak_mb=whole.peak_mb,
    )


def _finish(
    passes: Sequence[_Pass], whole: _Part, weights: LoadedNetwork, options: EvalOptions, stretch: float
) -> Iterator[Pass]:
    size_hw = (whole.size_hw[0], round(whole.size_hw[1] * stretch))
    for each, scores, seconds, worst in zip(passes, whole.scores, whole.seconds, whole.worst, strict=True):
        memory = each.predictor.memory_frames
        yield Pass(
            memory_frames=memory,
            scores=scores.compute(),
            network_seconds=spread(seconds, options.key_frames),
            gmacs=frame_gmacs(weights, options, size_hw, memory),
            worst=worst.worst_first(),
        )


def _notes(data: Dataset, first: Pass, options: EvalOptions) -> Iterator[str]:
    if data.name == "camvid":
        extra = "the 11 classes and void" if options.score_void else "the 11 classes; void is not scored"
        yield f"mIoU is over {extra}"
    if options.key_frames > 1:
        yield KEY_FRAMES_NOTE
    if not first.scores.frames:
        yield _NO_TRUTH
    elif options.temporal and not first.scores.flicker.pairs:
        yield _NO_RUNS


def _check_batch(options: EvalOptions, passes: Sequence[_Pass], clips: Sequence[Clip]) -> None:
    remembered = any(len(clip.frames) > 1 for clip in clips) and any(each.predictor.memory_frames for each in passes)
    if options.batch > 1 and remembered:
        raise ConfigError(
            f"--batch is {options.batch}, but frames of this data remember the ones before them: "
            "leave it out, or give --memory 0"
        )


def _placed(clips: Sequence[Clip]) -> list[tuple[Clip, int]]:
    """Each clip with how many wanted frames lie before it."""
    placed, total = [], 0
    for clip in clips:
        placed.append((clip, total))
        total += sum(frame.wanted for frame in clip.frames)
    return placed


def _run(
    data: Dataset,
    passes: Sequence[_Pass],
    clips: Sequence[tuple[Clip, int]],
    options: EvalOptions,
    progress: Progress | None,
) -> _Part:
    """Shows every frame to every pass."""
    estimator = FlowEstimator()
    total = sum(frame.wanted for clip, _ in clips for frame in clip.frames)
    done = 0
    size_hw = (0, 0)
    for chunk in chunks(show(data, clips, runs=options.temporal), options.batch):
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


def _motion(estimator: FlowEstimator, shown: Shown) -> BackwardFlow | None:
    if not shown.follows:
        estimator.reset()
    return estimator.update(shown.rgb)
