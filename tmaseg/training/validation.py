"""Validation: the weights of a moment streamed over labelled sequences and scored, as `tmaseg eval` does."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from tmaseg.data import Clip, Dataset, spread
from tmaseg.data.clip import trim
from tmaseg.evaluation import EvalOptions, Shard
from tmaseg.evaluation.frames import read_frames
from tmaseg.evaluation.predict import ClassMapping, Predictor
from tmaseg.inference.frame_segmenter import LoadedNetwork
from tmaseg.metrics import ConfusionMatrix
from tmaseg.metrics.iou import accuracy
from tmaseg.training.job import ValidationSample, ValidationScores

_SAMPLES = 3  # of each data set


def validate(
    weights: LoadedNetwork,
    sets: Mapping[str, Dataset],
    split: str,
    shard: Shard,
    *,
    limit: int = 0,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> ValidationScores | None:
    """Scores the weights on a split of every set, at most `limit` frames of each, evenly spread (0: all).

    Sequences are divided among the processes. None when any process was stopped. Classes of a set that are one to the
    network are scored as one: mIoU is over the classes that it can tell apart.
    """
    past = weights.config.memory_frames
    clips = {
        name: shard.select(_scored_clips(each, split, past, limit), lambda clip: len(clip.frames))
        for name, each in sets.items()
    }
    counts = {name: sum(frame.wanted for clip in found for frame in clip.frames) for name, found in clips.items()}
    miou, samples, done = {}, [], 0
    for name, dataset in sets.items():
        labels, first = dataset.labels, done
        matrix = ConfusionMatrix(len(labels), ignore_index=labels.ignore_index, void=labels.void)
        mapping = ClassMapping.by_name(weights.labels, labels)
        predictor = Predictor(weights, mapping, EvalOptions(), stretch=dataset.stretch)
        shown = first + np.linspace(0, counts[name] - 1, _SAMPLES + 2).astype(int)[1:-1]
        for each in read_frames(dataset, clips[name], runs=False):
            if stop():
                break
            if each.first:
                predictor.start()
            prediction = predictor.step(each.rgb)
            if each.frame.wanted:
                truth = dataset.truth(each.frame)
                matrix.update(prediction, mapping.merged[truth])
                if done in shown:
                    samples.append(ValidationSample(each.frame.name, labels, each.rgb, truth, prediction))
                done += 1
                progress(done, sum(counts.values()))
        *summed, stopped = shard.sum([*matrix.counts.ravel().tolist(), float(stop())])
        if stopped:
            return None
        miou[name] = accuracy(np.array(summed, np.int64).reshape(matrix.counts.shape)).miou
    return ValidationScores(miou, int(shard.sum([done])[0]), tuple(samples))


def _scored_clips(dataset: Dataset, split: str, past: int, limit: int) -> list[Clip]:
    """The sequences of a split, cut down to what the scored frames and `past` frames before each need."""
    scored = {frame.name for frame in spread([sample.frame for sample in dataset.samples(split)], limit or None)}
    clips: list[Clip] = []
    for clip in dataset.split(split):
        frames = (replace(frame, wanted=frame.name in scored) for frame in clip.frames)
        clips += trim(replace(clip, frames=tuple(frames)), past)
    return clips
