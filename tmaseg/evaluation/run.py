"""evaluate, evaluate_video: a data set or a video streamed through the network as in `tmaseg run`, and measured."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmaseg.arrays import Labels
from tmaseg.data import Clip, ClipFrame, Dataset
from tmaseg.errors import ConfigError, LabelError
from tmaseg.evaluation.frames import StreamFrame, batches, limited, read_frames
from tmaseg.evaluation.pictures import PictureFolder, Submission
from tmaseg.evaluation.predict import ClassMapping, Predictor, open_predictors
from tmaseg.evaluation.scores import KEY_FRAMES_NOTE, SMOOTH_NOTE, Evaluation, Pass, VideoEvaluation
from tmaseg.evaluation.shard import Shard
from tmaseg.files import check_not_read
from tmaseg.inference.device import peak_memory_mb
from tmaseg.inference.frame_segmenter import LoadedNetwork
from tmaseg.labels import LabelSet, get_labels
from tmaseg.options import EvalOptions
from tmaseg.video.optical_flow import BackwardFlow, FlowEstimator

if TYPE_CHECKING:  # PyAV may be missing where only data sets are trained on or scored
    from tmaseg.video.source import Source

_WORST = 6  # frames shown in a report
_Part = tuple[list[Pass], dict[str, float]]  # of one process: its passes, and the most memory that it used, in MB


class _DatasetPass:
    """State of a pass over a data set: predictor, scores, and writers of pictures."""

    def __init__(
        self, predictor: Predictor, dataset: Dataset, options: EvalOptions, frames: Sequence[ClipFrame]
    ) -> None:
        """`frames`: all scored frames."""
        self.predictor = predictor
        self.scores = predictor.new_pass(_WORST if options.report else 0)
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
        frame = batch[0]
        if frame.first:
            self.predictor.start()
        return [self.predictor.step(frame.rgb, seconds=frame.clip.seconds(frame.frame), continues=True)]

    def score(
        self, frame: StreamFrame, prediction: Labels, truth: tuple[Labels, Labels] | None, flow: BackwardFlow | None
    ) -> None:
        """Scores and writes a frame; `truth` as of `Pass.update`, None without ground truth."""
        if not frame.follows:
            self.scores.end_run()
        self.scores.flow.update(prediction, flow)
        if truth:
            self.scores.update(frame.clip.name, frame.frame.name, frame.rgb, prediction, truth)
        if self.pictures:
            self.pictures.write(frame.frame, frame.rgb, prediction, truth[0] if truth else None)
        if self._submission:
            self._submission.write(frame.frame, prediction)


def evaluate(
    dataset: Dataset,
    network: LoadedNetwork,
    options: EvalOptions,
    *,
    shard: Shard = Shard(),  # noqa: B008
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Evaluation | None:
    """Scores a network on a split. Sequences begin with empty memory; scene cuts are not detected inside them.

    `progress` is called with how many scored frames of how many are done. With several processes, None on all but the
    first. Raises DataError, LabelError, ConfigError and OutputError.
    """
    start_time = time.perf_counter()
    data = dataset.scoring_void() if options.score_void else dataset
    groups = _groups(options)
    data = data.grouped(groups) if groups else data
    mapping = _mapping(network.labels, data.labels, groups, data.void_class)
    predictors = open_predictors(network, mapping, options, stretch=data.stretch)
    clips = _clips(data, predictors, options)
    frames = [frame for clip in clips for frame in clip.frames if frame.wanted]
    passes = [_DatasetPass(predictor, data, options, frames) for predictor in predictors]
    pictures = [path for each in passes if each.pictures for path in each.pictures.outputs]
    check_not_read([*filter(None, [options.report]), *pictures], [*data.paths(), Path(network.name)])
    shard.barrier()  # all have checked the folders before anyone writes there
    mine = shard.select(clips, lambda clip: len(clip.frames))
    parts = shard.gather(_score(data, mapping, passes, mine, options, progress))
    if not shard.first:
        return None
    finished = _finish(predictors, parts, [frame.name for frame in frames])
    scores = finished[0]
    return Evaluation(
        dataset=data.name,
        split=options.split or data.default_split,
        layout=data.layout,
        data=str(data.root),
        images=len(scores.frames),
        frames=len(scores.seconds),
        sequences=len(clips),
        void_scored=options.score_void,
        processes=shard.count,
        input={
            **vars(predictors[0].geometry),
            "scales": list(options.scales),
            "flip": options.flip,
            "batch": options.batch,
            "key_frames": options.key_frames,
            "smooth": options.smooth,
        },
        labels=data.labels,
        scored=mapping.scored,
        notes=[*mapping.notes, *_notes(data, scores, options), *data.notes],
        passes=finished,
        peak_mb={name: max(peak_mb[name] for _, peak_mb in parts) for name in parts[0][1]},
        **_facts(network, start_time, finished, shard.count),
    )


def _groups(options: EvalOptions) -> LabelSet | None:
    """The classes of `--palette`. Raises LabelError where it does not say what they are made of."""
    groups = get_labels(options.palette) if options.palette else None
    if groups and not groups.unions:
        raise LabelError(f"--palette {options.palette} has no `union`, such as {{vehicle: [car, truck, bus]}}: add it")
    return groups


def _mapping(network: LabelSet, data: LabelSet, groups: LabelSet | None, void: int | None = None) -> ClassMapping:
    return ClassMapping.to_groups(network, groups) if groups else ClassMapping.by_name(network, data, void)


def evaluate_video(
    source: "Source",
    network: LoadedNetwork,
    options: EvalOptions,
    *,
    progress: Callable[[int, int | None], None] = lambda *_: None,
) -> VideoEvaluation:
    """Flicker and TC of the labels of a video, without ground truth, streamed as in `tmaseg run`, scene cuts included.

    `source` is read to its end, or to `options.limit` frames, through all passes at once. `progress` is called with how
    many frames of how many (None: unknown) are done. Raises LabelError, ConfigError, OutputError and VideoError.
    """
    start_time = time.perf_counter()
    if options.report:
        check_not_read([options.report], [Path(source.info.name), Path(network.name)])
    groups = _groups(options)
    mapping = _mapping(network.labels, network.labels, groups)
    predictors = open_predictors(network, mapping, options, detect_cuts=True)
    passes = [(predictor, predictor.new_pass()) for predictor in predictors]
    estimator = FlowEstimator()
    frames, size_hw = 0, (source.info.height, source.info.width)
    for frame in source:
        if frame.discontinuity:
            estimator.reset()
        flow = estimator.update(frame.rgb)
        for predictor, scores in passes:
            prediction = predictor.step(frame.rgb, seconds=frame.seconds, discontinuity=frame.discontinuity)
            if predictor.reset_before:  # another scene: nothing to be consistent with
                scores.memory_resets += 1
                scores.end_run()
            scores.flicker_at.append((frame.seconds, scores.flow.update(prediction, flow)))
        frames += 1
        size_hw = (frame.rgb.shape[0], frame.rgb.shape[1])
        progress(frames, options.limit or source.info.frames)
        if frames == options.limit:
            break
    for predictor, scores in passes:
        scores.gmacs = predictor.frame_gmacs()
    finished = tuple(scores for _, scores in passes)
    return VideoEvaluation(
        video=source.info.name,
        images=frames,
        width=size_hw[1],
        height=size_hw[0],
        key_frames=options.key_frames,
        smooth=options.smooth,
        notes=[*source.warnings, *source.damage.lines(), *_motion_notes(options)],
        passes=finished,
        peak_mb=peak_memory_mb(network.device),
        **_facts(network, start_time, finished),
    )


def _clips(data: Dataset, predictors: Sequence[Predictor], options: EvalOptions) -> list[Clip]:
    """The sequences, cut down to what the scored frames need. Raises ConfigError for batches of frames with memory."""
    # Scored frames with others between them are the last before a key frame: the hardest, not the easiest.
    past = max(each.past_frames for each in predictors)
    clips = list(limited(data.streams(options.split, past=(past + 1) * options.key_frames - 1), options.limit))
    if options.batch > 1 and past and any(len(clip.frames) > 1 for clip in clips):
        raise ConfigError(
            f"--batch is {options.batch}, but frames of this data have others in memory: "
            "leave it out, or give --memory 0"
        )
    return clips


def _score(
    data: Dataset,
    mapping: ClassMapping,
    passes: Sequence[_DatasetPass],
    clips: Sequence[Clip],
    options: EvalOptions,
    progress: Callable[[int, int], None],
) -> _Part:
    """Runs all passes over the clips, frame by frame."""
    estimator = FlowEstimator()
    total = sum(frame.wanted for clip in clips for frame in clip.frames)
    done = 0
    for batch in batches(read_frames(data, clips, runs=not options.no_temporal), options.batch):
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
    return [each.scores for each in passes], peak_memory_mb(passes[0].predictor.network.device)


def _finish(predictors: Sequence[Predictor], parts: Sequence[_Part], names: Sequence[str]) -> tuple[Pass, ...]:
    """The passes with the scores of all processes together; `names`: those of the scored frames, in order."""
    order = {name: index for index, name in enumerate(names)}
    finished, *others = (tuple(passes) for passes, _ in parts)
    for index, (predictor, scores) in enumerate(zip(predictors, finished, strict=True)):
        for passes in others:
            scores.merge(passes[index])
        scores.frames.sort(key=lambda frame: order[frame.name])
        scores.gmacs = predictor.frame_gmacs()
    return finished


def _facts(network: LoadedNetwork, start_time: float, passes: Sequence[Pass], processes: int = 1) -> dict[str, Any]:
    """The fields of a result about the network and its speed."""
    frames = sum(len(each.seconds) for each in passes)
    return {
        "weights": network.name,
        "device": str(network.device),
        "precision": network.precision,
        "seconds_per_frame": (time.perf_counter() - start_time) * processes / max(1, frames),
    }


def _motion_notes(options: EvalOptions) -> Iterator[str]:
    if options.key_frames > 1:
        yield KEY_FRAMES_NOTE
    if options.smooth:
        yield SMOOTH_NOTE


def _notes(data: Dataset, scores: Pass, options: EvalOptions) -> Iterator[str]:
    if data.name == "camvid":
        extra = "the 11 classes and void" if options.score_void else "the 11 classes; void is not scored"
        yield f"mIoU is over {extra}"
    yield from _motion_notes(options)
    if not scores.frames:
        yield "no ground truth in this split: nothing is scored"
    elif not options.no_temporal and not scores.flow.pairs:
        yield "no labelled frames follow each other closely here: VC, TC and flicker cannot be measured"
