"""What a run is told: which network, what is painted, what is written. Names follow the command line's flags."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tmaseg.errors import ConfigError
from tmaseg.inference.compiler import CompileChoice
from tmaseg.inference.economy import Thrift
from tmaseg.inference.segmenter import Segmenter, load
from tmaseg.labels import LabelSet
from tmaseg.model.checkpoint import View
from tmaseg.render import Mode, Painter
from tmaseg.video.sink import WriteOptions

PictureFormat = Literal["ids", "indexed", "color", "overlay"]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which network, where, and how it looks at frames."""

    weights: str = "street"
    """Name of shipped weights, or a checkpoint file."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: str = "auto"
    """auto, fp32, bf16 or fp16."""
    size: int | None = None
    """Short side in pixels fed to the network; None: as the weights were made for."""
    memory: int | None = None
    """Past frames remembered; None: as the weights were trained; 0: each frame alone."""
    window: int | None = None
    """Side of square windows in pixels; None: as the weights were made for."""
    stride: int | None = None
    """Step between windows in pixels."""
    compile: CompileChoice = "auto"
    """auto (where the video is long enough to repay it), on or off."""
    max_memory: float | None = None
    """MB not to be passed: of the process, or of tensors on a GPU; None: what there is."""
    key_frames: int = 1
    """The network sees every k-th frame; labels between follow the motion."""

    def load(self) -> Segmenter:
        """The network, ready for a first frame. Raises CheckpointError and ConfigError."""
        return load(
            self.weights,
            device=self.device,
            precision=self.precision,
            view=View(self.size, self.window, self.stride),
            memory_frames=self.memory,
            compiling=self.compile,
            thrift=Thrift(self.max_memory),
            key_frames=self.key_frames,
        )


@dataclass(frozen=True, kw_only=True)
class PaintOptions:
    """How classes become colours; see `Painter`."""

    mode: Mode = "overlay"
    opacity: float = 0.5
    palette: str | None = None
    """Name of a label set or a file; None: the colours that come with the weights."""
    classes: tuple[str, ...] | None = None
    """Classes to paint; None: all."""
    legend: bool = False

    def painter(self, labels: LabelSet, mode: Mode | None = None) -> Painter:
        """For `labels`, in another mode where one is given. Raises ConfigError and LabelError."""
        return Painter(
            labels,
            mode=mode or self.mode,
            opacity=self.opacity,
            palette=self.palette,
            classes=self.classes,
            legend=self.legend,
        )

    def warnings(self, labels: LabelSet) -> tuple[str, ...]:
        """What a user should know about the choice of palette."""
        missing = self.painter(labels).missing
        if not missing:
            return ()
        return (f"the palette {self.palette} has no class for {', '.join(missing)}: not painted",)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Where the results of one video go; at least one is set."""

    video: Path | None = None
    masks: Path | None = None
    """Folder of PNGs."""
    stats: Path | None = None
    """CSV file."""

    def __post_init__(self) -> None:
        if not (self.video or self.masks or self.stats):
            raise ConfigError("nothing to write: give -o OUT, --masks DIR or --stats FILE")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How one video is run."""

    model: ModelOptions = ModelOptions()
    paint: PaintOptions = PaintOptions()
    write: WriteOptions = field(default_factory=WriteOptions)
    mask_formats: tuple[PictureFormat, ...] = ("ids",)


@dataclass(frozen=True, kw_only=True)
class FramesOptions:
    """How a folder of images is run."""

    model: ModelOptions = ModelOptions()
    paint: PaintOptions = PaintOptions()
    formats: tuple[PictureFormat, ...] = ("ids",)
    overwrite: bool = False
    """Replace existing pictures."""
    skip_existing: bool = False
    """Keep existing pictures and make those that lack."""

    def __post_init__(self) -> None:
        if self.overwrite and self.skip_existing:
            raise ConfigError("--overwrite and --skip-existing contradict each other; give one of them")
