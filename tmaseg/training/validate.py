"""Validation: the weights of a moment streamed over labelled sequences, as `tmaseg eval` does, and scored.

Unlike there, classes that are one to the network are scored as one: the best weights are chosen by what can be learnt.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tmaseg.data import Clip, Dataset
from tmaseg.data.clip import trim
from tmaseg.evaluation import EvalOptions, Shard, Weights
from tmaseg.evaluation.predict import Answers, Predictor
from tmaseg.metrics import ConfusionMatrix
from tmaseg.metrics.iou import accuracy
from tmaseg.training.classes import unite_by_name
from tmaseg.training.parallel import summed
from tmaseg.training.record import ValidationSample

_SAMPLES = 3


@dataclass(frozen=True)
class ValSet:
    """Labelled sequences of one data set that the run is scored on."""

    name: str
    dataset: Dataset
    split: str

    @property
    def count(self) -> int:
        """Frames with labels."""
        return len(self.dataset.samples(self.split))

    def clips(self, past: int, limit: int) -> list[Clip]:
        """Cut down to what a memory of `past` frames needs; at most `limit` scored frames, evenly spread (0: all)."""
        clips = self.dataset.split(self.split)
        total = self.count
        kept = (
            set(range(total)) if not limit else {int(place) for place in np.linspace(0, total - 1, min(limit, total))}
        )
        thinned, place = [], 0
        for clip in clips:
            frames = []
            for frame in clip.frames:
                frames.append(replace(frame, wanted=bool(frame.mask) and place in kept))
                place += bool(frame.mask)
            thinned.append(replace(clip, frames=tuple(frames)))
        return [part for clip in thinned for part in trim(clip, past)]


@dataclass(frozen=True, eq=False)
class Validation:
    """What came out."""

    miou: dict[str, float]
    frames: int
    seen: tuple[ValidationSample, ...]
    """Some frames of this process's share."""


def validate(
    weights: Weights,
    sets: Sequence[ValSet],
    share: Shard,
    *,
    limit: int = 0,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> Validation | None:
    """Scores the weights on every set, sequences shared out among the processes. None when any of them was stopped.

    Classes of a set that are one to the network are scored as one: mIoU is over the classes that it can tell apart.
    """
    past = weights.net.config.memory_frames
    streams = [(each, share.select(each.clips(past, limit), lambda clip: len(clip.frames))) for each in sets]
    total = sum(frame.wanted for _, clips in streams for clip in clips for frame in clip.frames)
    miou, seen, done = {}, [], 0
    for each, clips in streams:
        labels = each.dataset.labels
        matrix = ConfusionMatrix(len(labels), ignore_index=labels.ignore_index, void=labels.void)
        merged = unite_by_name(labels, weights.labels).merged
        chosen = _spread(sum(frame.wanted for clip in clips for frame in clip.frames))
        for place, frame in enumerate(_frames(weights, each, clips, stop)):
            matrix.update(merged[frame.prediction], merged[frame.truth])
            if place in chosen:
                seen.append(frame)
            done += 1
            if progress:
                progress(done, total)
        counts = np.array(summed(share, [*matrix.counts.ravel().tolist(), float(stop())]))
        if counts[-1]:
            return None
        miou[each.name] = accuracy(counts[:-1].astype(np.int64).reshape(matrix.counts.shape)).miou
    return Validation(miou, int(summed(share, [done])[0]), tuple(seen))


def _frames(
    weights: Weights, each: ValSet, clips: Sequence[Clip], stop: Callable[[], bool]
) -> Iterator[ValidationSample]:
    """The scored frames of one set, each after those that it remembers."""
    answers = Answers.between(weights.labels, each.dataset.labels)
    predictor = Predictor(weights, answers, EvalOptions(), stretch=each.dataset.stretch)
    for clip in clips:
        predictor.start()
        for frame in clip.frames:
            if stop():
                return
            rgb = each.dataset.image(frame)
            prediction = predictor.step(rgb)
            if frame.wanted:
                yield ValidationSample(frame.name, each.dataset.labels, rgb, each.dataset.truth(frame), prediction)


def _spread(count: int) -> set[int]:
    return {int(place) for place in np.linspace(0, count - 1, _SAMPLES + 2)[1:-1]} if count else set()
