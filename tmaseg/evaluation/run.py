"""evaluate: a data set streamed through the network as in `tmaseg run`, and scored."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tmaseg.arrays import Labels
from tmaseg.data import Clip, ClipFrame, Dataset
from tmaseg.errors import ConfigError
from tmaseg.evaluation.frames import StreamFrame, batches, limited, read_frames
from tmaseg.evaluation.pictures import PictureFolder, Submission
from tmaseg.evaluation.predict import ClassMapping, Predictor, open_passes
from tmaseg.evaluation.result import KEY_FRAMES_NOTE, DatasetPass, Evaluation, moving_means
from tmaseg.evaluation.scores import Scores
from tmaseg.evaluation.shard import Shard
from tmaseg.files import check_not_read, peak_memory_mb
from tmaseg.inference.loading import LoadedNetwork
from tmaseg.options import EvalOptions
from tmaseg.video.optical_flow import BackwardFlow, FlowEstimator

_WORST = 6  # frames shown in a report
Progress = Callable[[int, int], None]
_NO_TRUTH = "no ground truth in this split: nothing is scored"
_NO_RUNS = "no labelled frames follow each other closely here: VC, TC and flicker cannot be measured"


class _RunningPass:
    """State of a pass: predictor, scores, and writers of pictures."""

    def __init__(
        self, predictor: Predictor, dataset: Dataset, options: EvalOptions, frames: Sequence[ClipFrame]
    ) -> None:
        """`frames`: all that are scored."""
        self.predictor = predictor
        self.scores = Scores(dataset.labels, worst=_WORST if options.report else 0)
        self.scores.seconds = predictor.seconds
        self._batches = options.batch > 1
        folder = options.save
        if folder and len(options.memories) > 1:
            folder = folder / f"memory-{predictor.memory_frames}"
        self.pictures = PictureFolder(folder, dataset.labels, frames) if folder else None
        self._submission = Submission(options.submit, dataset) if options.submit else None

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
        """Scores and writes a frame; arguments as of `Scores.update`."""
        self.scores.update(frame, prediction, truth, flow)
        if self.pictures:
            self.pictures.write(frame.frame, frame.rgb, prediction, truth[0] if truth else None)
        if self._submission:
            self._submission.write(frame.frame, prediction)


@dataclass(frozen=True)
class _Part:
    """What one process measured."""

    scores: list[Scores]
    """One for each pass."""
    size_hw: tuple[int, int]
    """Of the last frame; (0, 0) where there was none."""
    peak_mb: dict[str, float]


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
    start_time = time.perf_counter()
    data = dataset.scoring_void() if options.score_void else dataset
    mapping = ClassMapping.by_name(network.labels, data.labels, data.void_class)
    predictors = open_passes(network, mapping, options, stretch=data.stretch)
    clips = _clips(data, predictors, options)
    frames = [frame for clip in clips for frame in clip.frames if frame.wanted]
    passes = [_RunningPass(predictor, data, options, frames) for predictor in predictors]
    report = [options.report] if options.report else []
    pictures = [path for each in passes if each.pictures for path in each.pictures.outputs]
    check_not_read([*report, *pictures], [*data.paths(), Path(network.name)])
    shard.barrier()  # all have checked the folders before anyone writes there
    mine = shard.select(clips, lambda clip: len(clip.frames))
    parts = shard.gather(_run(data, mapping, passes, mine, options, progress))
    if not shard.first:
        return None
    finished = _finish(predictors, parts, [frame.name for frame in frames], options)
    return Evaluation(
        dataset=data.name,
        layout=data.layout,
        root=str(data.root),
        split=options.split or data.default_split,
        labels=data.labels,
        scored=mapping.scored,
        void_scored=options.score_void,
        frames=len(finished[0].scores.seconds),
        sequences=len(clips),
        weights=network.name,
        device=str(network.device),
        precision=network.precision,
        processes=shard.count,
        input={
            **vars(predictors[0].network.geometry),
            "scales": list(options.scales),
            "flip": options.flip,
            "batch": options.batch,
            "key_frames": options.key_frames,
        },
        notes=(*mapping.notes, *_notes(data, finished[0], options), *data.notes),
        passes=finished,
        seconds=time.perf_counter() - start_time,
        peak_mb={name: max(part.peak_mb[name] for part in parts) for name in parts[0].peak_mb},
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


def _run(
    data: Dataset,
    mapping: ClassMapping,
    passes: Sequence[_RunningPass],
    clips: Sequence[Clip],
    options: EvalOptions,
    progress: Progress,
) -> _Part:
    """Runs all passes over the clips, frame by frame."""
    estimator = FlowEstimator()
    total = sum(frame.wanted for clip in clips for frame in clip.frames)
    done, size_hw = 0, (0, 0)
    for batch in batches(read_frames(data, clips, runs=not options.no_temporal), options.batch):
        size_hw = (batch[0].rgb.shape[0], batch[0].rgb.shape[1])
        predictions = [each.predict(batch) for each in passes]
        for index, frame in enumerate(batch):
            if not frame.frame.wanted:
                continue
            if not frame.follows:
                estimator.reset()
            flow = None if options.no_temporal else estimator.update(frame.rgb)
            truth = None
            if frame.frame.mask:
                truth = (mapping.merged[data.truth(frame.frame)], data.raw_truth(frame.frame))
            for each, predicted in zip(passes, predictions, strict=True):
                each.score(frame, predicted[index], truth, flow)
            done += 1
            progress(done, total)
    return _Part([each.scores for each in passes], size_hw, peak_memory_mb(passes[0].predictor.network.device))


def _finish(
    predictors: Sequence[Predictor], parts: Sequence[_Part], names: Sequence[str], options: EvalOptions
) -> tuple[DatasetPass, ...]:
    """The passes with the scores of all processes together; `names`: those of the scored frames, in order."""
    order = {name: index for index, name in enumerate(names)}
    size_hw = max(part.size_hw for part in parts)
    finished = []
    for index, predictor in enumerate(predictors):
        scores, *others = (part.scores[index] for part in parts)
        for other in others:
            scores.merge(other)
        scores.frames.sort(key=lambda frame: order[frame.name])
        finished.append(
            DatasetPass(
                memory_frames=predictor.memory_frames,
                scores=scores,
                network_seconds=moving_means(scores.seconds, options.key_frames),
                gmacs=predictor.frame_gmacs(size_hw),
            )
        )
    return tuple(finished)


def _notes(data: Dataset, first: DatasetPass, options: EvalOptions) -> Iterator[str]:
    if data.name == "camvid":
        extra = "the 11 classes and void" if options.score_void else "the 11 classes; void is not scored"
        yield f"mIoU is over {extra}"
    if options.key_frames > 1:
        yield KEY_FRAMES_NOTE
    if not first.scores.frames:
        yield _NO_TRUTH
    elif not options.no_temporal and not first.scores.flicker.pairs:
        yield _NO_RUNS
