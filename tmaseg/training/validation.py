"""Validation: the weights of a moment streamed over labelled sequences and scored, as `tmaseg eval` does."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tmaseg.data import Clip
from tmaseg.evaluation import EvalOptions, Shard
from tmaseg.evaluation.predict import ClassMapping, Predictor
from tmaseg.inference.frame_segmenter import LoadedNetwork
from tmaseg.metrics import ConfusionMatrix
from tmaseg.metrics.iou import accuracy
from tmaseg.training.datasets import ValSet
from tmaseg.training.distributed import all_sum
from tmaseg.training.record import ValidationSample

_SAMPLES = 3


@dataclass(frozen=True, eq=False)
class Validation:
    """Scores of one validation."""

    miou: dict[str, float]
    frames: int
    samples: tuple[ValidationSample, ...]  # some frames of this process's part


def validate(
    weights: LoadedNetwork,
    sets: Sequence[ValSet],
    shard: Shard,
    *,
    limit: int = 0,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> Validation | None:
    """Scores the weights on every set, sequences divided among the processes. None when any of them was stopped.

    Classes of a set that are one to the network are scored as one: mIoU is over the classes that it can tell apart.
    """
    past = weights.config.memory_frames
    clips = {each.name: shard.select(each.clips(past, limit), lambda clip: len(clip.frames)) for each in sets}
    total = sum(map(_scored, clips.values()))
    miou, samples, done = {}, [], 0
    for each in sets:
        labels = each.dataset.labels
        matrix = ConfusionMatrix(len(labels), ignore_index=labels.ignore_index, void=labels.void)
        mapping = ClassMapping.by_name(weights.labels, labels)
        chosen = np.linspace(0, _scored(clips[each.name]) - 1, _SAMPLES + 2).astype(int)[1:-1]
        for number, frame in enumerate(_predict(weights, mapping, each, clips[each.name], stop)):
            matrix.update(frame.prediction, mapping.merged[frame.truth])
            if number in chosen:
                samples.append(frame)
            done += 1
            if progress:
                progress(done, total)
        counts = np.array(all_sum(shard, [*matrix.counts.ravel().tolist(), float(stop())]))
        if counts[-1]:
            return None
        miou[each.name] = accuracy(counts[:-1].astype(np.int64).reshape(matrix.counts.shape)).miou
    return Validation(miou, int(all_sum(shard, [done])[0]), tuple(samples))


def _predict(
    weights: LoadedNetwork, mapping: ClassMapping, each: ValSet, clips: Sequence[Clip], stop: Callable[[], bool]
) -> Iterator[ValidationSample]:
    """The scored frames of one set, each after those that are its memory."""
    predictor = Predictor(weights, mapping, EvalOptions(), stretch=each.dataset.stretch)
    for clip in clips:
        predictor.start()
        for frame in clip.frames:
            if stop():
                return
            rgb = each.dataset.image(frame)
            prediction = predictor.step(rgb)
            if frame.wanted:
                yield ValidationSample(frame.name, each.dataset.labels, rgb, each.dataset.truth(frame), prediction)


def _scored(clips: Sequence[Clip]) -> int:
    return sum(frame.wanted for clip in clips for frame in clip.frames)
