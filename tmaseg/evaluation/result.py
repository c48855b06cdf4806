"""Evaluation: what `tmaseg eval` found out, and the one JSON object that says it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from tmaseg.evaluation.scores import VC_FRAMES, PassScores
from tmaseg.evaluation.worst import WorstFrame
from tmaseg.labels import LabelSet


@dataclass(frozen=True)
class Pass:
    """One pass over the data, with one amount of memory."""

    memory_frames: int
    """0: each frame alone."""
    scores: PassScores
    network_seconds: tuple[float, ...]
    """What each frame took, from its pixels to its labels; with key frames see `spread`."""
    gmacs: float
    """Multiply-adds of a frame, attention included, in thousands of millions; optical flow is not counted."""
    worst: tuple[WorstFrame, ...] = ()

    @property
    def title(self) -> str:
        """For tables."""
        return f"memory {self.memory_frames}" if self.memory_frames else "memory off"

    @property
    def median_seconds(self) -> float:
        """Of a frame; NaN of nothing. The first frames, which warm everything up, do not matter to it."""
        return usual(self.network_seconds)

    def to_dict(self, labels: LabelSet) -> dict[str, Any]:
        """Plain values; what could not be measured is None."""
        accuracy = self.scores.accuracy
        named = [index for index in range(len(labels)) if index not in labels.void]
        return {
            "memory_frames": self.memory_frames,
            "miou": plain(accuracy.miou),
            "pixel_accuracy": plain(accuracy.pixel_accuracy),
            "mean_accuracy": plain(accuracy.mean_accuracy),
            "frequency_weighted_iou": plain(accuracy.frequency_weighted_iou),
            "miou_of_classes_present": plain(accuracy.miou_present),
            "boundary_miou": plain(self.scores.boundary_miou),
            "classes": {labels.names[index]: plain(accuracy.iou[index]) for index in named},
            "class_accuracy": {labels.names[index]: plain(accuracy.class_accuracy[index]) for index in named},
            "boundary_classes": {labels.names[index]: plain(self.scores.boundary[index]) for index in named},
            **{f"vc{frames}": plain(self.scores.vc[frames, "published"]) for frames in VC_FRAMES},
            **{f"vc{frames}_corrected": plain(self.scores.vc[frames, "corrected"]) for frames in VC_FRAMES},
            **{f"vc{frames}_windows": self.scores.vc_windows[frames, "corrected"] for frames in VC_FRAMES},
            "vc_definition": "vc8, vc16: as VSPW published it; _corrected: equal to the truth, no void, all windows",
            "tc": plain(self.scores.tc),
            "tc_pairs": self.scores.flicker.pairs,
            "tc_flow": "OpenCV DIS; not comparable with figures made with RAFT",
            "flicker": plain(self.scores.flicker.flicker),
            "network_seconds_per_frame": plain(usual(self.network_seconds)),
            "gmacs_per_frame": plain(self.gmacs),
            "confusion": accuracy.confusion.tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything about one evaluation."""

    dataset: str
    layout: str
    root: str
    split: str
    labels: LabelSet
    """The classes that were scored."""
    void_scored: bool
    images: int
    """Scored frames."""
    frames: int
    """Frames that went through the network, past ones included, in each pass."""
    sequences: int
    weights: str
    device: str
    precision: str
    processes: int
    size: dict[str, Any]
    """How frames were looked at: size, window, stride, scales, flip, batch."""
    notes: tuple[str, ...]
    """What a reader of the figures must know."""
    passes: tuple[Pass, ...]
    """At least one; the first is the one that was asked for."""
    seconds: float
    """Wall clock of the whole, reading and scoring included."""
    peak_mb: dict[str, float]

    @property
    def seconds_per_frame(self) -> float:
        """Wall clock of the whole for each frame of each pass."""
        return self.seconds * self.processes / max(1, self.frames * len(self.passes))

    @property
    def scored_classes(self) -> int:
        """How many classes the mIoU is over: 11 or 12 on CamVid."""
        return len(self.scored)

    @property
    def scored(self) -> list[int]:
        """The ids of those classes."""
        return [index for index in range(len(self.labels)) if index not in self.labels.void]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: the first pass's figures beside the facts, and every pass under "passes"."""
        passes = [each.to_dict(self.labels) for each in self.passes]
        return {
            "dataset": self.dataset,
            "split": self.split,
            "layout": self.layout,
            "data": self.root,
            "images": self.images,
            "frames": self.frames,
            "sequences": self.sequences,
            "scored_classes": self.scored_classes,
            "void_scored": self.void_scored,
            "weights": self.weights,
            "device": self.device,
            "precision": self.precision,
            "processes": self.processes,
            **self.size,
            **passes[0],
            "seconds_per_frame": plain(self.seconds_per_frame),
            **self.peak_mb,
            "notes": list(self.notes),
            "per_sequence": [
                {"name": name, "images": count, "miou": plain(miou)}
                for name, count, miou in self.passes[0].scores.sequences()
            ],
            "passes": passes,
        }


def plain(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if math.isnan(value) else float(value)


def usual(seconds: tuple[float, ...]) -> float:
    """Median; NaN of nothing. The first frames, which warm everything up, do not matter to it."""
    return median(seconds) if seconds else math.nan


def spread(seconds: Sequence[float], key_frames: int) -> tuple[float, ...]:
    """Each frame's seconds as the mean over `key_frames` successive ones: a key frame is paid for by those after it."""
    windows = max(1, len(seconds) - key_frames + 1) if seconds else 0
    return tuple(fmean(seconds[start : start + key_frames]) for start in range(windows))
