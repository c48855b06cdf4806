"""Reports: what a run did, as values for people and as JSON for programs."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Report:
    """What every run tells."""

    input: str
    output: str | None
    """The file or folder that was written; None where only masks or statistics were."""
    frames: int
    """Frames segmented and written."""
    seconds: float
    """Wall time from the first frame read to the last one written."""
    stages: dict[str, float]
    """Busy seconds of decode, model, render and encode, the last two over all outputs; they overlap."""
    weights: str
    device: str
    precision: str
    memory_frames: int
    """Past frames that each frame could read."""
    memory_resets: int
    """How often a scene cut, a gap in time or a new size emptied the memory."""
    peak_rss_mb: float
    """Largest resident memory of the process so far, in MB of 2**20 bytes."""
    peak_device_mb: float | None = None
    """Most memory that tensors took on a GPU; None without one."""
    compiled: bool = False
    """Whether the network was compiled at the end."""
    classes: tuple[str, ...]
    """What the class ids 0, 1, 2 ... mean."""
    warnings: tuple[str, ...] = ()
    """Sentences a user should read, damage included."""
    damaged: bool = False
    """Whether anything of the input was damaged or missing."""
    interrupted: bool = False

    @property
    def fps(self) -> float:
        """Frames a second, all stages together."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def memory(self) -> str:
        """The most memory that was taken, in words."""
        words = f"{self.peak_rss_mb:.0f} MB at most"
        return words if self.peak_device_mb is None else f"{words} and {self.peak_device_mb:.0f} on the GPU"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: rounded, and None for what could not be measured."""
        values = asdict(self) | {"fps": self.fps}
        return {name: _plain(value) for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class RunReport(Report):
    """What became of one video."""

    masks: str | None = None
    stats: str | None = None
    width: int
    """Pixels of the input's upright picture."""
    height: int
    decoder: str = ""
    """Codec of the input, and the device that decoded it where that was not the CPU."""
    key_frames: int = 1
    """The network saw every k-th frame, and those after cuts and gaps."""
    network_frames: int
    """Frames the network saw; the labels of the others followed the motion."""
    encoder: str | None = None
    damaged_packets: int = 0


@dataclass(frozen=True, kw_only=True)
class FramesReport(Report):
    """What became of a folder of images."""

    formats: tuple[str, ...]
    sequences: int
    """Folders with images."""
    skipped: int = 0
    """Images whose pictures were there already."""
    missing: int = 0
    """Numbers that the sequences lack."""
    unreadable: tuple[str, ...] = field(default=())
    """Paths of images that could not be read, from the input folder."""


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value
