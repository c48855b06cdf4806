"""EvalOptions: what is evaluated and how, in checked values named after the command line's flags."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmaseg.errors import ConfigError
from tmaseg.model.geometry import InputGeometry

KEY_FRAMES_NOTE = (
    "between key frames labels follow the very motion that TC and flicker are measured along: both are flattered"
)


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Raises ConfigError, naming the flag, for a value that cannot work."""

    split: str | None = None
    """Which split; None: the data set's usual one."""
    memories: tuple[int | None, ...] = (None,)
    """Memory frames of each pass over the data; None: as the weights were trained; 0: each frame alone."""
    geometry: InputGeometry = field(default_factory=InputGeometry)
    """Size, window and stride, where they replace those of the weights."""
    scales: tuple[float, ...] = (1.0,)
    """Scales of each frame; their probabilities are averaged."""
    flip: bool = False
    """Whether the mirrored frame's probabilities are averaged, too."""
    limit: int | None = None
    """At most this many scored frames, from the start of the split."""
    batch: int = 1
    """Frames in a batch, where none has others in memory."""
    key_frames: int = 1
    """The network sees every k-th frame; labels between follow the motion."""
    temporal: bool = True
    """Whether VC, TC and flicker are measured where labelled frames follow each other."""
    score_void: bool = False
    """Whether void is scored as one more class: the authors' 12-class CamVid."""
    save: Path | None = None
    """Folder for masks and error maps."""
    submit: Path | None = None
    """Folder for files that a benchmark's server takes."""
    report: Path | None = None
    """File of the report that is written afterwards; it must be none that is read."""
    worst: int = 0
    """How many of the worst frames to keep as pictures, for the report."""

    def __post_init__(self) -> None:
        if not self.scales or any(not 0.1 <= scale <= 4 for scale in self.scales):
            listed = ",".join(f"{scale:g}" for scale in self.scales)
            raise ConfigError(f"--scales is {listed!r}; it must be numbers from 0.1 to 4, such as 0.5,1,1.5")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit is {self.limit}; it must be 1 or more frames")
        if self.batch < 1:
            raise ConfigError(f"--batch is {self.batch}; it must be 1 or more frames")
        if self.batch > 1 and (self.augmented or self.geometry.window):
            raise ConfigError(
                f"--batch is {self.batch}, but --scales, --flip and --window see frames one by one: leave one out"
            )

        if self.key_frames < 1:
            raise ConfigError(f"--key-frames is {self.key_frames}; it must be 1 (the network sees every frame) or more")
        if self.key_frames > 1 and (self.augmented or self.batch > 1):
            raise ConfigError(
                f"--key-frames is {self.key_frames}, which needs each frame once and alone: "
                "leave it out, or --scales, --flip and --batch"
            )

    def input_facts(self) -> dict[str, Any]:
        """How frames are fed to the network, as plain values, besides the geometry."""
        return {"scales": list(self.scales), "flip": self.flip, "batch": self.batch, "key_frames": self.key_frames}

    @property
    def augmented(self) -> bool:
        """Whether the network runs on each frame more than once."""
        return self.flip or self.scales != (1.0,)
