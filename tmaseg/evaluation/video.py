"""evaluate_video: how restless the masks of any video are, with memory and without. No ground truth is needed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmaseg.evaluation.cost import frame_gmacs
from tmaseg.evaluation.options import KEY_FRAMES_NOTE, EvalOptions
from tmaseg.evaluation.predict import Answers, Predictor, open_passes
from tmaseg.evaluation.result import plain, spread, usual
from tmaseg.files import check_not_read, peak_memory_mb
from tmaseg.inference.loading import LoadedNetwork
from tmaseg.metrics import Flicker, FlickerResult, TemporalConsistency
from tmaseg.video.frame import Frame
from tmaseg.video.optical_flow import BackwardFlow, FlowEstimator
from tmaseg.video.source import Source


@dataclass(frozen=True)
class VideoPass:
    """One pass over the video, with one amount of memory."""

    memory_frames: int
    tc: float
    """mIoU between each frame's classes and the moved ones of the frame before; NaN for a single frame."""
    flicker: FlickerResult
    per_frame: tuple[tuple[float, float], ...]
    """(seconds, flicker) of each frame; flicker is NaN where a frame follows none."""
    memory_resets: int
    network_seconds: tuple[float, ...]
    gmacs: float

    @property
    def title(self) -> str:
        """For tables."""
        return f"memory {self.memory_frames}" if self.memory_frames else "memory off"

    @property
    def median_seconds(self) -> float:
        """Of a frame; NaN of nothing. The first frames, which warm everything up, do not matter to it."""
        return usual(self.network_seconds)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what could not be measured is None."""
        return {
            "memory_frames": self.memory_frames,
            "flicker": plain(self.flicker.flicker),
            "changed": plain(self.flicker.changed),
            "tc": plain(self.tc),
            "pairs": self.flicker.pairs,
            "memory_resets": self.memory_resets,
            "network_seconds_per_frame": plain(usual(self.network_seconds)),
            "gmacs_per_frame": plain(self.gmacs),
        }


@dataclass(frozen=True, kw_only=True)
class VideoEvaluation:
    """Everything about one video."""

    video: str
    frames: int
    width: int
    height: int
    weights: str
    device: str
    precision: str
    key_frames: int
    """The network saw every k-th frame."""
    notes: tuple[str, ...]
    passes: tuple[VideoPass, ...]
    seconds: float
    peak_mb: dict[str, float]

    @property
    def name(self) -> str:
        """The video's file name."""
        return Path(self.video).name

    @property
    def seconds_per_frame(self) -> float:
        """Wall clock of the whole, decoding and optical flow included, for each frame of each pass."""
        return self.seconds / max(1, self.frames * len(self.passes))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: the first pass's figures beside the facts, and every pass under "passes"."""
        passes = [each.to_dict() for each in self.passes]
        return {
            "video": self.video,
            "images": self.frames,
            "width": self.width,
            "height": self.height,
            "weights": self.weights,
            "device": self.device,
            "precision": self.precision,
            "key_frames": self.key_frames,
            **passes[0],
            "flow": "OpenCV DIS; not comparable with figures made with RAFT",
            "seconds_per_frame": plain(self.seconds_per_frame),
            **self.peak_mb,
            "notes": list(self.notes),
            "passes": passes,
        }


class _Watcher:
    """One pass while it runs."""

    def __init__(self, predictor: Predictor, classes: int, void: tuple[int, ...]) -> None:
        self.predictor = predictor
        self.flicker = Flicker()
        self.tc = TemporalConsistency(classes, void=void)
        self.per_frame: list[tuple[float, float]] = []
        self.resets = 0

    def see(self, frame: Frame, motion: BackwardFlow | None) -> None:
        """The next frame of the video."""
        prediction = self.predictor.step(frame.rgb, seconds=frame.seconds, discontinuity=frame.discontinuity)
        if self.predictor.reset_before:  # another shot: nothing to be consistent with
            self.resets += 1
            self.tc.end_run()
            self.flicker.end_run()
        self.tc.update(prediction, motion)
        self.per_frame.append((frame.seconds, self.flicker.update(prediction, motion)))


def evaluate_video(
    source: Source,
    weights: LoadedNetwork,
    options: EvalOptions,
    *,
    progress: Callable[[int, int | None], None] | None = None,
) -> VideoEvaluation:
    """Streams a source through every pass at once, as `tmaseg run` would, scene cuts included.

    `source` is read to its end, or to `options.limit` frames.

    `progress` is told how many frames of how many (None: not known) are done.
    """
    begun = time.perf_counter()
    if options.report:
        check_not_read([options.report], [Path(source.info.name), Path(weights.name)])
    labels = weights.labels
    answers = Answers.between(labels, labels)
    predictors = open_passes(weights, answers, options, detect_cuts=True)
    watchers = [_Watcher(predictor, len(labels), labels.void) for predictor in predictors]
    estimator = FlowEstimator()
    frames, size_hw = 0, (source.info.height, source.info.width)
    for frame in source:
        if frame.discontinuity:
            estimator.reset()
        motion = estimator.update(frame.rgb)
        for watcher in watchers:
            watcher.see(frame, motion)
        frames += 1
        size_hw = (frame.rgb.shape[0], frame.rgb.shape[1])
        if progress:
            progress(frames, options.limit or source.info.frames)
        if frames == options.limit:
            break
    return VideoEvaluation(
        video=source.info.name,
        frames=frames,
        width=size_hw[1],
        height=size_hw[0],
        weights=weights.name,
        device=str(weights.device),
        precision=weights.precision,
        key_frames=options.key_frames,
        notes=(*source.warnings, *source.damage.lines(), *([KEY_FRAMES_NOTE] if options.key_frames > 1 else [])),
        passes=tuple(_finished(watcher, weights, options, size_hw) for watcher in watchers),
        seconds=time.perf_counter() - begun,
        peak_mb=peak_memory_mb(weights.device),
    )


def _finished(watcher: _Watcher, weights: LoadedNetwork, options: EvalOptions, size_hw: tuple[int, int]) -> VideoPass:
    memory = watcher.predictor.memory_frames
    return VideoPass(
        memory_frames=memory,
        tc=watcher.tc.compute(),
        flicker=watcher.flicker.compute(),
        per_frame=tuple(watcher.per_frame),
        memory_resets=watcher.resets,
        network_seconds=spread(watcher.predictor.seconds, options.key_frames),
        gmacs=frame_gmacs(weights, options, size_hw, memory),
    )
