"""BenchOptions: what is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tmaseg.errors import ConfigError

Paper = Literal["camvid", "cityscapes"]

_LEAST_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Names follow the command line's flags. Raises ConfigError for values that do not go together."""

    weights: str = "street"
    """Shipped weights by name, or a checkpoint file."""
    paper: Paper | None = None
    """The authors' network for this data set instead, with weights of no meaning: cost does not depend on them."""
    changes: Mapping[str, object] = field(default_factory=dict)
    """Values of the configuration to change, by name; the weights then have no meaning."""
    size_hw: tuple[int, int] = (360, 480)
    """(H, W) of the network's input."""
    precisions: tuple[str, ...] = ("fp32", "bf16")
    """To compare; stages and curves are measured in the one that a run would take if it is among them, or the first."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N, mps or xpu."""
    compiled: bool = False
    """Whether streaming and single frames are measured compiled, too."""
    video: Path | None = None
    """Video or folder of images whose stages are measured; None: the demo clip."""
    repeats: int = 5
    """Rounds; the median counts."""
    curves: bool = False
    """Whether to measure cost against memory length and frame size."""
    count_only: bool = False
    """Whether only multiply-adds are counted, on tensors without contents, and nothing is run."""

    def __post_init__(self) -> None:
        if min(self.size_hw) < _LEAST_SIDE:
            height, width = self.size_hw
            raise ConfigError(f"--frame is {width}x{height}; each side must be at least {_LEAST_SIDE} pixels")
        if not self.precisions:
            raise ConfigError("--precisions names none; give one or more of fp32, bf16 and fp16, with commas between")
        if self.repeats < 1:
            raise ConfigError(f"--repeats is {self.repeats}; it must be 1 or more")
        if self.paper and self.weights != BenchOptions.weights:
            raise ConfigError(f"--paper {self.paper} is measured without weights: leave out --weights or --paper")
        if self.count_only and (self.curves or self.compiled or self.video):
            raise ConfigError("--count-only runs nothing: leave out --plot, --compile and --video, or --count-only")
