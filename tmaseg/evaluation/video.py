"""evaluate_video: flicker and TC of the masks of any video, with memory and without. It needs no ground truth."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tmaseg.evaluation.predict import ClassMapping, Predictor, open_passes
from tmaseg.evaluation.result import KEY_FRAMES_NOTE, VideoEvaluation, VideoPass, moving_means
from tmaseg.files import check_not_read, peak_memory_mb
from tmaseg.inference.loading import LoadedNetwork
from tmaseg.metrics import Flicker, TemporalConsistency
from tmaseg.options import EvalOptions
from tmaseg.video.frame import Frame
from tmaseg.video.optical_flow import BackwardFlow, FlowEstimator

if TYPE_CHECKING:  # PyAV may be missing where only data sets are trained on or scored
    from tmaseg.video.source import Source


class _RunningPass:
    """State of a pass: predictor and metrics."""

    def __init__(self, predictor: Predictor, classes: int, void: tuple[int, ...]) -> None:
        self._predictor = predictor
        self._flicker = Flicker()
        self._tc = TemporalConsistency(classes, void=void)
        self._per_frame: list[tuple[float, float]] = []
        self._resets = 0

    def step(self, frame: Frame, flow: BackwardFlow | None) -> None:
        """The next frame of the video."""
        prediction = self._predictor.step(frame.rgb, seconds=frame.seconds, discontinuity=frame.discontinuity)
        if self._predictor.reset_before:  # another scene: nothing to be consistent with
            self._resets += 1
            self._tc.end_run()
            self._flicker.end_run()
        self._tc.update(prediction, flow)
        self._per_frame.append((frame.seconds, self._flicker.update(prediction, flow)))

    def finish(self, size_hw: tuple[int, int], key_frames: int) -> VideoPass:
        """The result; `size_hw` is that of the last frame."""
        return VideoPass(
            memory_frames=self._predictor.memory_frames,
            tc=self._tc.compute(),
            flicker=self._flicker.compute(),
            per_frame=tuple(self._per_frame),
            memory_resets=self._resets,
            network_seconds=moving_means(self._predictor.seconds, key_frames),
            gmacs=self._predictor.frame_gmacs(size_hw),
        )


def evaluate_video(
    source: "Source",
    network: LoadedNetwork,
    options: EvalOptions,
    *,
    progress: Callable[[int, int | None], None] = lambda *_: None,
) -> VideoEvaluation:
    """Streams a source through all passes at once as in `tmaseg run`, with scene-cut detection.

    `source` is read to its end, or to `options.limit` frames. `progress` is called with how many frames of how many
    (None: unknown) are done.
    """
    start_time = time.perf_counter()
    if options.report:
        check_not_read([options.report], [Path(source.info.name), Path(network.name)])
    labels = network.labels
    predictors = open_passes(network, ClassMapping.by_name(labels, labels), options, detect_cuts=True)
    passes = [_RunningPass(predictor, len(labels), labels.void) for predictor in predictors]
    estimator = FlowEstimator()
    frames, size_hw = 0, (source.info.height, source.info.width)
    for frame in source:
        if frame.discontinuity:
            estimator.reset()
        flow = estimator.update(frame.rgb)
        for each in passes:
            each.step(frame, flow)
        frames += 1
        size_hw = (frame.rgb.shape[0], frame.rgb.shape[1])
        progress(frames, options.limit or source.info.frames)
        if frames == options.limit:
            break
    return VideoEvaluation(
        video=source.info.name,
        frames=frames,
        width=size_hw[1],
        height=size_hw[0],
        weights=network.name,
        device=str(network.device),
        precision=network.precision,
        key_frames=options.key_frames,
        notes=(*source.warnings, *source.damage.lines(), *([KEY_FRAMES_NOTE] if options.key_frames > 1 else [])),
        passes=tuple(each.finish(size_hw, options.key_frames) for each in passes),
        seconds=time.perf_counter() - start_time,
        peak_mb=peak_memory_mb(network.device),
    )
