"""Reports: what a run did, as values for people and as JSON for programs."""

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import FrameSegmenter
    from tmaseg.labels import LabelSet
    from tmaseg.pipeline.parts import Segment
    from tmaseg.video.source import Source


@dataclass(frozen=True, kw_only=True)
class Report:
    """What every run reports."""

    input: str
    output: str | None  # the video or folder that was written; None without one
    frames: int  # frames segmented and written
    seconds: float  # wall time from the first frame read to the last one written
    stages: dict[str, float]
    """Busy seconds of decode, model, render and encode, the last two over all outputs; they overlap."""
    weights: str
    device: str
    precision: str
    memory_frames: int  # T: past frames in memory
    smooth: bool = False  # whether class probabilities were averaged over them
    memory_resets: int  # how often the memory was emptied: a scene cut, a gap in time, or a new size
    peak_rss_mb: float  # largest resident memory of the process so far, in MB of 2**20 bytes
    peak_device_mb: float | None = None  # peak memory of tensors on a GPU, in the same unit; None without one
    compiled: bool = False  # whether the network was compiled at the end
    classes: tuple[str, ...]  # names of the class ids 0, 1, 2 ..
    warnings: tuple[str, ...] = ()  # sentences for the user, damage included
    damaged: bool = False  # whether the input was damaged or incomplete
    interrupted: bool = False

    @property
    def fps(self) -> float:
        """Frames a second, all stages together."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def memory(self) -> str:
        """Peak memory, in words."""
        words = f"{self.peak_rss_mb:.0f} MB at most"
        return words if self.peak_device_mb is None else f"{words} and {self.peak_device_mb:.0f} on the GPU"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: rounded, and None for what could not be measured."""
        values = asdict(self) | {"fps": self.fps}
        return {name: _plain(value) for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class RunReport(Report):
    """What a run did with one video."""

    segments: tuple[str, ...] = ()  # the numbered files that `output` was cut into
    masks: str | None = None
    stats: str | None = None
    events: str | None = None
    width: int  # pixels of the input's upright picture
    height: int
    decoder: str = ""  # codec of the input, and the device that decoded it where that was not the CPU
    key_frames: int = 1  # k: the network ran on every k-th frame, and on those after cuts and gaps
    network_frames: int  # frames the network ran on; the labels of the others were warped along the motion
    encoder: str | None = None
    damaged_packets: int = 0
    live: bool = False  # whether the source had no end
    dropped_frames: int = 0  # frames of a live source that the network had no time for
    reconnects: int = 0  # how often a live source was lost and found again
    latency_median_ms: float | None = None
    """Time from the arrival of a frame from a live source to its painted picture: half of the frames take at most this,
    in milliseconds."""
    latency_p95_ms: float | None = None  # the same for 95 of 100 frames
    resumed_frames: int = 0  # frames that were done when an unfinished run was resumed


@dataclass(frozen=True, kw_only=True)
class FramesReport(Report):
    """What a run did with a folder of images."""

    formats: tuple[str, ...]
    sequences: int  # folders with images
    skipped: int = 0  # images whose PNGs existed already
    missing: int = 0  # numbers missing in the sequences
    unreadable: tuple[str, ...] = field(default=())
    """Paths of images that could not be read, relative to the input folder."""


def network_facts(segmenter: "FrameSegmenter", weights: str, labels: "LabelSet") -> dict[str, Any]:
    """The fields of `Report` that describe the network and the memory it took."""
    from tmaseg.inference.device import peak_memory_mb

    peak = peak_memory_mb(segmenter.device)
    return {
        "weights": weights,
        "device": str(segmenter.device),
        "precision": segmenter.precision,
        "memory_frames": segmenter.memory_frames,
        "smooth": segmenter.smooth,
        "memory_resets": segmenter.memory_resets,
        "peak_rss_mb": peak["peak_rss_mb"],
        "peak_device_mb": peak.get("peak_device_mb"),
        "compiled": segmenter.compiled,
        "classes": labels.names,
    }


def facts_so_far(source: "Source", segmenter: "FrameSegmenter", before: "Segment | None" = None) -> dict[str, Any]:
    """The fields of `RunReport` that grow while a video is read; `before` is the end of an earlier attempt."""
    damage = source.damage
    warnings = (*(before.warnings if before else ()), *source.warnings, *damage.lines(), *segmenter.warnings)
    return {
        "warnings": list(dict.fromkeys(warnings)),
        "damaged_packets": damage.packets + (before.damaged_packets if before else 0),
        "damaged": bool(damage) or bool(before and before.damaged),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value
