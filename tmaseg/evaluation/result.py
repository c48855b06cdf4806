"""Results of `tmaseg eval` on a data set or a video, and their form as one JSON object."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from tmaseg.evaluation.scores import VC_FRAMES, Scores
from tmaseg.labels import LabelSet
from tmaseg.metrics import FlickerResult

FLOW_NOTE = "OpenCV DIS; not comparable with figures made with RAFT"
KEY_FRAMES_NOTE = (
    "between key frames labels follow the very motion that TC and flicker are measured along: both are flattered"
)


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One pass over the frames, with one amount of memory."""

    memory_frames: int
    """0: each frame alone."""
    network_seconds: tuple[float, ...]
    """Seconds of each frame, from its pixels to its labels; with key frames see `moving_means`."""
    gmacs: float
    """Multiply-adds of a frame, attention included, in thousands of millions; optical flow is not counted."""

    @property
    def title(self) -> str:
        """For tables."""
        return f"memory {self.memory_frames}" if self.memory_frames else "memory off"

    @property
    def median_seconds(self) -> float:
        """Median time of a frame; NaN of none. The slow first frames hardly affect it."""
        return median(self.network_seconds) if self.network_seconds else math.nan

    def cost(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "memory_frames": self.memory_frames,
            "network_seconds_per_frame": plain(self.median_seconds),
            "gmacs_per_frame": plain(self.gmacs),
        }


@dataclass(frozen=True, kw_only=True)
class DatasetPass(Pass):
    """One pass over a split of a data set."""

    scores: Scores

    def to_dict(self, labels: LabelSet, scored: Sequence[int]) -> dict[str, Any]:
        """Plain values; what could not be measured is None."""
        scores, accuracy, boundary = self.scores, self.scores.matrix.compute(), self.scores.boundary.compute()
        return {
            **self.cost(),
            "miou": plain(accuracy.miou),
            "pixel_accuracy": plain(accuracy.pixel_accuracy),
            "mean_accuracy": plain(accuracy.mean_accuracy),
            "frequency_weighted_iou": plain(accuracy.frequency_weighted_iou),
            "miou_of_classes_present": plain(accuracy.miou_present),
            "boundary_miou": plain(scores.boundary.mean()),
            "classes": {labels.names[index]: plain(accuracy.iou[index]) for index in scored},
            "class_accuracy": {labels.names[index]: plain(accuracy.class_accuracy[index]) for index in scored},
            "boundary_classes": {labels.names[index]: plain(boundary[index]) for index in scored},
            **{f"vc{frames}": plain(scores.vc[frames, "published"].compute()) for frames in VC_FRAMES},
            **{f"vc{frames}_corrected": plain(scores.vc[frames, "corrected"].compute()) for frames in VC_FRAMES},
            **{f"vc{frames}_windows": scores.vc[frames, "corrected"].windows for frames in VC_FRAMES},
            "vc_definition": "vc8, vc16: as VSPW published it; _corrected: equal to the truth, no void, all windows",
            "tc": plain(scores.tc.compute()),
            "tc_pairs": scores.flicker.pairs,
            "tc_flow": FLOW_NOTE,
            "flicker": plain(scores.flicker.compute().flicker),
            "confusion": accuracy.confusion.tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class VideoPass(Pass):
    """One pass over a video."""

    tc: float
    """mIoU between each frame's labels and the warped labels of the frame before; NaN for a single frame."""
    flicker: FlickerResult
    per_frame: tuple[tuple[float, float], ...]
    """(seconds, flicker) of each frame; flicker is NaN where a frame follows none."""
    memory_resets: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what could not be measured is None."""
        return {
            **self.cost(),
            "flicker": plain(self.flicker.flicker),
            "changed": plain(self.flicker.changed),
            "tc": plain(self.tc),
            "pairs": self.flicker.pairs,
            "memory_resets": self.memory_resets,
        }


@dataclass(frozen=True, kw_only=True)
class _Result:
    """Facts of an evaluation on a data set or a video."""

    weights: str
    device: str
    precision: str
    frames: int
    """Frames that the network was given, past ones included, in each pass."""
    notes: tuple[str, ...]
    """Remarks for the reader of the figures."""
    passes: tuple[Pass, ...]
    """At least one; the first is the main one."""
    seconds: float
    """Wall-clock time, reading and scoring included."""
    peak_mb: dict[str, float]
    processes: int = 1

    @property
    def seconds_per_frame(self) -> float:
        """Wall-clock time of each frame of each pass."""
        return self.seconds * self.processes / max(1, self.frames * len(self.passes))

    def _facts(self) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "device": self.device,
            "precision": self.precision,
            "seconds_per_frame": plain(self.seconds_per_frame),
            **self.peak_mb,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class Evaluation(_Result):
    """An evaluation on a split of a data set."""

    passes: tuple[DatasetPass, ...]
    dataset: str
    layout: str
    root: str
    split: str
    labels: LabelSet
    """The classes of the data set."""
    scored: tuple[int, ...]
    """The ids of those that the mIoU is over: 11 or 12 on CamVid, fewer where some are one to the network."""
    void_scored: bool
    sequences: int
    input: dict[str, Any]
    """How frames were fed to the network: size, window, stride, scales, flip, batch, key_frames."""

    @property
    def images(self) -> int:
        """Scored frames."""
        return len(self.passes[0].scores.frames)

    def pass_values(self) -> list[dict[str, Any]]:
        """The figures of each pass as plain values; what could not be measured is None."""
        return [each.to_dict(self.labels, self.scored) for each in self.passes]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: the first pass's figures beside the facts, and every pass under "passes"."""
        passes = self.pass_values()
        return {
            "dataset": self.dataset,
            "split": self.split,
            "layout": self.layout,
            "data": self.root,
            "images": self.images,
            "frames": self.frames,
            "sequences": self.sequences,
            "scored_classes": len(self.scored),
            "void_scored": self.void_scored,
            "processes": self.processes,
            **self.input,
            **passes[0],
            **self._facts(),
            "per_sequence": [
                {"name": name, "images": count, "miou": plain(miou)}
                for name, count, miou in self.passes[0].scores.sequences()
            ],
            "passes": passes,
        }


@dataclass(frozen=True, kw_only=True)
class VideoEvaluation(_Result):
    """An evaluation on a video, without ground truth."""

    passes: tuple[VideoPass, ...]
    video: str
    width: int
    height: int
    key_frames: int
    """The network ran on every k-th frame."""

    @property
    def name(self) -> str:
        """The video's file name."""
        return Path(self.video).name

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: the first pass's figures beside the facts, and every pass under "passes"."""
        passes = [each.to_dict() for each in self.passes]
        return {
            "video": self.video,
            "images": self.frames,
            "width": self.width,
            "height": self.height,
            "key_frames": self.key_frames,
            **passes[0],
            **self._facts(),
            "flow": FLOW_NOTE,
            "passes": passes,
        }


def plain(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if math.isnan(value) else float(value)


def moving_means(seconds: Sequence[float], count: int) -> tuple[float, ...]:
    """Means over `count` successive frames, one for each start: a key frame's time is divided among those after it."""
    windows = max(1, len(seconds) - count + 1) if seconds else 0
    return tuple(fmean(seconds[start : start + count]) for start in range(windows))
