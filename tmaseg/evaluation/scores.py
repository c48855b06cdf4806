"""Pass: every metric of one pass over the frames; Evaluation: the passes, as one JSON object."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal, NamedTuple

import numpy as np

from tmaseg.arrays import RGB, Labels
from tmaseg.labels import LabelSet
from tmaseg.metrics import BoundaryIoU, ConfusionMatrix, FlowConsistency, VideoConsistency
from tmaseg.metrics.iou import accuracy, mean_known

_VC_FRAMES = (8, 16)
_DEFINITIONS: tuple[Literal["published", "corrected"], ...] = ("published", "corrected")
_FLOW_NOTE = "OpenCV DIS; not comparable with figures made with RAFT"
KEY_FRAMES_NOTE = (
    "between key frames labels follow the very motion that TC and flicker are measured along: both are flattered"
)
SMOOTH_NOTE = "classes are averaged along the very motion that TC and flicker are measured along: both are flattered"


class FrameScore(NamedTuple):
    """One scored frame."""

    clip: str
    name: str
    miou: float  # over the classes true or predicted in this frame; NaN where no pixel was counted


class WorstFrame(NamedTuple):
    """A frame with a low score, for the report."""

    miou: float
    name: str
    rgb: RGB
    prediction: Labels
    truth: Labels


class Pass:
    """The metrics of one pass over the frames, with one amount of memory. Those of other processes can be merged in."""

    gmacs = math.nan
    """Multiply-adds of a frame, attention included, in thousands of millions; optical flow is not counted."""

    def __init__(
        self, labels: LabelSet, seconds: list[float], *, memory_frames: int, key_frames: int = 1, worst: int = 0
    ) -> None:
        """`worst`: how many of the frames with the lowest mIoU are kept, pixels included."""
        classes, ignore_index, void = len(labels), labels.ignore_index, labels.void
        self.memory_frames = memory_frames
        """0: each frame alone."""
        self.seconds = seconds
        """Seconds of each frame, scored or not; the caller appends to it."""
        self._key_frames = key_frames
        self.matrix = ConfusionMatrix(classes, ignore_index=ignore_index, void=void)
        self.boundary = BoundaryIoU(classes, ignore_index=ignore_index, void=void)
        self.vc = {
            (frames, definition): VideoConsistency(frames, definition=definition, ignore_index=ignore_index, void=void)
            for frames in _VC_FRAMES
            for definition in _DEFINITIONS
        }
        self.flow = FlowConsistency(classes, ignore_index=ignore_index, void=void)
        self.frames: list[FrameScore] = []
        self._worst = worst
        self.worst: list[WorstFrame] = []
        """The frames of lowest mIoU, in ascending order."""
        self.flicker_at: list[tuple[float, float]] = []
        """(seconds, flicker) of each frame of a video; flicker is NaN where a frame follows none."""
        self.memory_resets = 0

    @property
    def title(self) -> str:
        """Title for tables."""
        return f"memory {self.memory_frames}" if self.memory_frames else "memory off"

    @property
    def median_seconds(self) -> float:
        """Median time of a frame, from its pixels to its labels; NaN of none. Slow first frames hardly affect it."""
        seconds = moving_means(self.seconds, self._key_frames)
        return median(seconds) if seconds else math.nan

    def end_run(self) -> None:
        """The next frame does not follow the last one closely."""
        for metric in self.vc.values():
            metric.end_run()
        self.flow.end_run()

    def update(self, clip: str, name: str, rgb: RGB, prediction: Labels, truth: tuple[Labels, Labels]) -> None:
        """The next frame with ground truth: its class ids, and the values in the label file, for VC as published."""
        ids, values = truth
        miou = accuracy(self.matrix.update(prediction, ids)).miou
        self.boundary.update(prediction, ids)
        for (_, definition), metric in self.vc.items():
            metric.update(prediction, values if definition == "published" else ids)
        self.frames.append(FrameScore(clip, name, miou))
        if not math.isnan(miou):
            self._keep_worst([*self.worst, WorstFrame(miou, name, rgb, prediction, ids)])

    def merge(self, other: "Pass") -> None:
        """Add what another process scored."""
        self.matrix.merge(other.matrix)
        self.boundary.merge(other.boundary)
        for key, metric in self.vc.items():
            metric.merge(other.vc[key])
        self.flow.merge(other.flow)
        self.frames += other.frames
        self._keep_worst([*self.worst, *other.worst])
        self.seconds += other.seconds

    def _keep_worst(self, frames: list[WorstFrame]) -> None:
        self.worst = sorted(frames, key=lambda frame: (frame.miou, frame.name))[: self._worst]

    def sequences(self) -> list[tuple[str, int, float]]:
        """Name, frames and mean per-frame mIoU of each sequence, in order."""
        groups: dict[str, list[float]] = {}
        for frame in self.frames:
            groups.setdefault(frame.clip, []).append(frame.miou)
        return [(name, len(values), mean_known(np.array(values))) for name, values in groups.items()]

    def cost(self) -> dict[str, Any]:
        """Speed and multiply-adds as plain values."""
        return {
            "memory_frames": self.memory_frames,
            "network_seconds_per_frame": none_if_nan(self.median_seconds),
            "gmacs_per_frame": none_if_nan(self.gmacs),
        }

    def temporal_values(self) -> dict[str, Any]:
        """Consistency along the optical flow, as plain values; what could not be measured is None."""
        return {
            "flicker": none_if_nan(self.flow.flicker),
            "changed": none_if_nan(self.flow.changed),
            "tc": none_if_nan(self.flow.tc),
            "pairs": self.flow.pairs,
            "memory_resets": self.memory_resets,
        }

    def accuracy_values(self, names: dict[int, str]) -> dict[str, Any]:
        """Metrics against ground truth as plain values; `names`: scored classes by id."""
        found, boundary = self.matrix.compute(), self.boundary.compute()
        return {
            "miou": none_if_nan(found.miou),
            "pixel_accuracy": none_if_nan(found.pixel_accuracy),
            "mean_accuracy": none_if_nan(found.mean_accuracy),
            "frequency_weighted_iou": none_if_nan(found.frequency_weighted_iou),
            "miou_of_classes_present": none_if_nan(found.miou_present),
            "boundary_miou": none_if_nan(self.boundary.mean()),
            "classes": {name: none_if_nan(found.iou[index]) for index, name in names.items()},
            "class_accuracy": {name: none_if_nan(found.class_accuracy[index]) for index, name in names.items()},
            "boundary_classes": {name: none_if_nan(boundary[index]) for index, name in names.items()},
            **{f"vc{frames}": none_if_nan(self.vc[frames, "published"].compute()) for frames in _VC_FRAMES},
            **{f"vc{frames}_corrected": none_if_nan(self.vc[frames, "corrected"].compute()) for frames in _VC_FRAMES},
            **{f"vc{frames}_windows": self.vc[frames, "corrected"].windows for frames in _VC_FRAMES},
            "vc_definition": "vc8, vc16: as VSPW published it; _corrected: equal to the truth, no void, all windows",
            "confusion": found.confusion.tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class _Result:
    """An evaluation on a data set or a video. Its fields but for the last two are entries of the JSON object."""

    weights: str
    device: str
    precision: str
    images: int  # frames that were measured
    seconds_per_frame: float  # wall-clock time of each frame of each pass, reading and scoring included
    notes: list[str]  # remarks for the reader of the figures
    passes: tuple[Pass, ...]  # at least one; the first is the main one
    peak_mb: dict[str, float]

    def pass_values(self) -> list[dict[str, Any]]:
        """The figures of each pass as plain values; what could not be measured is None."""
        return [each.cost() | each.temporal_values() for each in self.passes]

    def _to_dict(self, *other: str) -> dict[str, Any]:
        """The first pass's figures beside the fields, but for the `other` ones, and every pass under "passes"."""
        passes = self.pass_values()
        facts = {name: value for name, value in vars(self).items() if name not in ("peak_mb", *other)}
        return {**facts, **self.peak_mb, **passes[0], "passes": passes}


@dataclass(frozen=True, kw_only=True)
class Evaluation(_Result):
    """An evaluation on a split of a data set."""

    dataset: str
    split: str
    layout: str
    data: str  # folder of the data set
    frames: int  # frames that the network was given, past ones included, in each pass
    sequences: int
    void_scored: bool
    processes: int
    input: dict[str, Any]
    """How frames were fed to the network: size, window, stride, scales, flip, batch, key_frames, smooth."""
    labels: LabelSet  # the classes of the data set
    scored: tuple[int, ...]
    """The ids of those that the mIoU is over: 11 or 12 on CamVid, fewer where some are one to the network."""

    def pass_values(self) -> list[dict[str, Any]]:
        """The figures of each pass as plain values; what could not be measured is None."""
        names = {index: self.labels.names[index] for index in self.scored}
        found = []
        for each in self.passes:
            temporal = each.temporal_values()
            temporal = {"tc": temporal["tc"], "tc_pairs": temporal["pairs"], "flicker": temporal["flicker"]}
            found.append(each.cost() | each.accuracy_values(names) | temporal | {"tc_flow": _FLOW_NOTE})
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        sequences = [
            {"name": name, "images": count, "miou": none_if_nan(miou)}
            for name, count, miou in self.passes[0].sequences()
        ]
        facts = self._to_dict("input", "labels", "scored")
        return {**facts, **self.input, "scored_classes": len(self.scored), "per_sequence": sequences}


@dataclass(frozen=True, kw_only=True)
class VideoEvaluation(_Result):
    """An evaluation on a video, without ground truth."""

    video: str
    width: int
    height: int
    key_frames: int  # the network ran on every k-th frame
    smooth: bool  # whether classes were averaged over the frames in memory

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**self._to_dict(), "flow": _FLOW_NOTE}


def none_if_nan(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if math.isnan(value) else float(value)


def moving_means(seconds: Sequence[float], count: int) -> tuple[float, ...]:
    """Means over `count` successive frames, one for each start: a key frame's time is divided among those after it."""
    windows = max(1, len(seconds) - count + 1) if seconds else 0
    return tuple(fmean(seconds[start : start + count]) for start in range(windows))
