"""evaluate: a data set, streamed through the network as `tmaseg run` would, and scored."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from tmaseg.arrays import Labels
from tmaseg.data import Clip, ClipFrame, Dataset
from tmaseg.errors import ConfigError
from tmaseg.evaluation.frames import StreamFrame, batches, limited, read_frames
from tmaseg.evaluation.options import KEY_FRAMES_NOTE, EvalOptions
from tmaseg.evaluation.predict import ClassMapping, Predictor, open_passes
from tmaseg.evaluation.result import DatasetPass, Evaluation, spread
from tmaseg.evaluation.scores import Scores
from tmaseg.evaluation.shard import Shard
from tmaseg.evaluation.submission import PictureFolder, Submission
from tmaseg.evaluation.worst import WorstFrames
from tmaseg.files import check_not_read, peak_memory_mb
from tmaseg.inference.loading import LoadedNetwork
from tmaseg.video.optical_flow import BackwardFlow, FlowEstimator

Progress = Callable[[int, int], None]
_NO_TRUTH = "no ground truth in this split: nothing is scored"
_NO_RUNS = "no labelled frames follow each other closely here: VC, TC and flicker cannot be measured"


class _RunningPass:
    """One pass while it runs: a predictor, its scores, and where its pictures go."""

    def __init__(
        self, predictor: Predictor, dataset: Dataset, options: EvalOptions, frames: Sequence[ClipFrame]
    ) -> None:
        """`frames`: all that are scored."""
        self.predictor = predictor
        self.scores = Scores(dataset.labels)
        self.worst = WorstFrames(options.worst, dataset.labels)
        self._batches = options.batch > 1
        folder = options.save
        if folder and len(options.memories) > 1:
            folder = folder / f"memory-{predictor.memory_frames}"
        self._pictures = PictureFolder(folder, dataset.labels, frames) if folder else None
        self._submission = Submission(options.submit, dataset) if options.submit else None

    @property
    def outputs(self) -> list[Path]:
        """Every picture that it may write, besides a submission, whose folder is new."""
        return self._pictures.outputs if self._pictures else []

    def predict(self, batch: Sequence[StreamFrame]) -> list[Labels]:
        """One frame in its stream, or several without memory."""
        if self._batches:
            return self.predictor.batch([each.rgb for each in batch])
        if batch[0].first:
            self.predictor.start()
        return [self.predictor.step(batch[0].rgb)]

    def score(
        self, frame: StreamFrame, prediction: Labels, truth: tuple[Labels, Labels] | None, flow: BackwardFlow | None
    ) -> None:
        """Counts a frame; `truth` is the class ids and the values in the file."""
        if not frame.follows:
            self.scores.end_run()
        if truth is None:
            self.scores.update_unlabelled(prediction, flow)
        else:
            score = self.scores.update(frame, prediction, truth[0], raw_truth=truth[1], flow=flow)
            self.worst.offer(score.miou, frame.frame.name, frame.rgb, prediction, truth[0])
        if self._pictures:
            self._pictures.write(frame.frame, frame.rgb, prediction, truth[0] if truth else None)
        if self._submission:
            self._submission.write(frame.frame, prediction)


@dataclass(frozen=True)
class _Partial:
    """What one process measured: for each pass its scores, its seconds and its worst frames."""

    scores: list[Scores]
    seconds: list[list[float]]
    worst: list[WorstFrames]
    frames: int
    """Given to each pass."""
    size_hw: tuple[int, int]
    """Of the last frame; (0, 0) where there was none."""
    peak_mb: dict[str, float]

    def merge(self, other: "_Partial") -> "_Partial":
        """Both together; the scores of this one grow."""
        for mine, theirs in zip(self.scores, other.scores, strict=True):
            mine.merge(theirs)
        for kept, more in zip(self.worst, other.worst, strict=True):
            kept.merge(more)
        return _Partial(
            self.scores,
            [[*mine, *theirs] for mine, theirs in zip(self.seconds, other.seconds, strict=True)],
            self.worst,
            self.frames + other.frames,
            max(self.size_hw, other.size_hw),
            {name: max(value, other.peak_mb.get(name, 0.0)) for name, value in self.peak_mb.items()},
        )


def evaluate(
    dataset: Dataset,
    network: LoadedNetwork,
    options: EvalOptions,
    *,
    shard: Shard = Shard(),  # noqa: B008
    progress: Progress = lambda *_: None,
) -> Evaluation | None:
    """Scores a network on a split. Sequences begin with empty memory; scene cuts are not detected inside them.

    `progress` is called with how many scored frames of how many are done. With several processes, None on all but the
    first. Raises DataError, LabelError, ConfigError and OutputError.
    """
    begun = time.perf_counter()
    data = dataset.scoring_void() if options.score_void else dataset
    mapping = ClassMapping.by_name(network.labels, data.labels, data.void_class)
    predictors = open_passes(network, mapping, options, stretch=data.stretch)
    clips = _clips(data, predictors, options)
    frames = [frame for clip in clips for frame in clip.frames if frame.wanted]
    passes = [_RunningPass(predictor, data, options, frames) for predictor in predictors]
    report = [options.report] if options.report else []
    check_not_read([*report, *(path for each in passes for path in each.outputs)], [*data.paths(), Path(network.name)])
    shard.barrier()  # all have checked the folders before anyone writes there
    mine = shard.select(_numbered(clips), lambda numbered: len(numbered[0].frames))
    partials = shard.gather(_run(data, mapping, passes, mine, options, progress))
    if not shard.first:
        return None
    total = reduce(_Partial.merge, partials)
    finished = tuple(_finish(passes, total, options))
    return Evaluation(
        dataset=data.name,
        layout=data.layout,
        root=str(data.root),
        split=options.split or data.default_split,
        labels=data.labels,
        scored=mapping.scored,
        void_scored=options.score_void,
        frames=total.frames,
        sequences=len(clips),
        weights=network.name,
        device=str(network.device),
        precision=network.precision,
        processes=shard.count,
        input={**vars(predictors[0].network.geometry), **options.input_facts()},
        notes=(*mapping.notes, *_notes(data, finished[0], options), *data.notes),
        passes=finished,
        seconds=time.perf_counter() - begun,
        peak_mb=total.peak_mb,
    )


def _clips(data: Dataset, predictors: Sequence[Predictor], options: EvalOptions) -> list[Clip]:
    """The sequences, cut down to what the scored frames need. Raises ConfigError for batches of frames with memory."""
    # Scored frames with others between them are the last before a key frame: the hardest, not the easiest.
    memory_frames = max(each.memory_frames for each in predictors)
    clips = list(limited(data.streams(options.split, past=(memory_frames + 1) * options.key_frames - 1), options.limit))
    if options.batch > 1 and memory_frames and any(len(clip.frames) > 1 for clip in clips):
        raise ConfigError(
            f"--batch is {options.batch}, but frames of this data have others in memory: "
            "leave it out, or give --memory 0"
        )
    return clips


def _numbered(clips: Sequence[Clip]) -> list[tuple[Clip, int]]:
    """Each clip with how many scored frames lie before it."""
    numbered, total = [], 0
    for clip in clips:
        numbered.append((clip, total))
        total += sum(frame.wanted for frame in clip.frames)
    return numbered


def _run(
    data: Dataset,
    mapping: ClassMapping,
    passes: Sequence[_RunningPass],
    clips: Sequence[tuple[Clip, int]],
    options: EvalOptions,
    progress: Progress,
) -> _Partial:
    """Gives every frame to every pass."""
    estimator = FlowEstimator()
    total = sum(frame.wanted for clip, _ in clips for frame in clip.frames)
    done, size_hw = 0, (0, 0)
    for batch in batches(read_frames(data, clips, runs=options.temporal), options.batch):
        size_hw = (batch[0].rgb.shape[0], batch[0].rgb.shape[1])
        predictions = [each.predict(batch) for each in passes]
        for index, frame in enumerate(batch):
            if not frame.frame.wanted:
                continue
            if not frame.follows:
                estimator.reset()
            flow = estimator.update(frame.rgb) if options.temporal else None
            truth = None
            if frame.frame.mask:
                truth = (mapping.merged[data.truth(frame.frame)], data.raw_truth(frame.frame))
            for each, predicted in zip(passes, predictions, strict=True):
                each.score(frame, predicted[index], truth, flow)
            done += 1
            progress(done, total)
    return _Partial(
        [each.scores for each in passes],
        [each.predictor.seconds for each in passes],
        [each.worst for each in passes],
        passes[0].predictor.frames,
        size_hw,
        peak_memory_mb(passes[0].predictor.network.device),
    )


def _finish(passes: Sequence[_RunningPass], total: _Partial, options: EvalOptions) -> Iterator[DatasetPass]:
    for each, scores, seconds, worst in zip(passes, total.scores, total.seconds, total.worst, strict=True):
        yield DatasetPass(
            memory_frames=each.predictor.memory_frames,
            scores=scores.compute(),
            network_seconds=spread(seconds, options.key_frames),
            gmacs=each.predictor.frame_gmacs(total.size_hw),
            worst=tuple(worst.frames),
        )


def _notes(data: Dataset, first: DatasetPass, options: EvalOptions) -> Iterator[str]:
    if data.name == "camvid":
        extra = "the 11 classes and void" if options.score_void else "the 11 classes; void is not scored"
        yield f"mIoU is over {extra}"
    if options.key_frames > 1:
        yield KEY_FRAMES_NOTE
    if not first.scores.frames:
        yield _NO_TRUTH
    elif options.temporal and not first.scores.flicker.pairs:
        yield _NO_RUNS
