"""What `tmaseg eval` and `tmaseg bench` measure, and how."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import typer

from tmaseg.errors import ConfigError
from tmaseg.model.config import InputGeometry
from tmaseg.options.option import BENCHMARK, INPUT, MEASUREMENT, OUTPUT, option

_LEAST_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What is evaluated and how. Raises ConfigError, naming the option, for values that cannot work."""

    split: str | None = option(INPUT, "Split of the data set; val by default.", "NAME")
    limit: int | None = option(INPUT, "Score at most this many frames.", "N")
    scales: tuple[float, ...] = option(
        MEASUREMENT, "Scales at which probabilities are averaged, such as 0.75,1.", "FACTOR,...", default=(1.0,)
    )
    flip: bool = option(MEASUREMENT, "Average with the mirrored frame.", default=False)
    batch: int = option(MEASUREMENT, "Frames in a batch, where none depends on another.", "N", default=1)
    smooth: bool = option(
        MEASUREMENT, "Average the classes over the frames in memory, as `run` does by itself.", default=False
    )
    no_temporal: bool = option(MEASUREMENT, "Leave out VC, TC and flicker.", default=False)
    palette: str | None = option(
        MEASUREMENT, "Score the classes of this JSON or YAML file, whose `union` says what each is made of.", "FILE"
    )
    score_void: bool = option(MEASUREMENT, "Score void as a class, as the authors do (12-class CamVid).", default=False)
    save: Path | None = option(OUTPUT, "Folder for masks and error maps.", "DIR")
    submit: Path | None = option(OUTPUT, "Folder for files of a benchmark server: cityscapes, kitti.", "DIR")
    report: Path | None = option(OUTPUT, "Self-contained HTML report.", "FILE.html")

    # From the options of the network:
    memories: tuple[int | None, ...] = (None,)
    """Memory frames of each pass over the data; None: as the weights were trained; 0: each frame alone."""
    geometry: InputGeometry = field(default_factory=InputGeometry)
    """Size, window and stride, where they replace those of the weights."""
    key_frames: int = 1  # the network runs on every k-th frame; labels between follow the optical flow

    def __post_init__(self) -> None:
        if not self.scales or any(not 0.1 <= scale <= 4 for scale in self.scales):
            listed = ",".join(f"{scale:g}" for scale in self.scales)
            raise ConfigError(f"--scales is {listed!r}; it must be numbers from 0.1 to 4, such as 0.5,1,1.5")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit is {self.limit}; it must be 1 or more frames")
        if self.batch < 1:
            raise ConfigError(f"--batch is {self.batch}; it must be 1 or more frames")
        if self.smooth and self.batch > 1:
            raise ConfigError(f"--batch is {self.batch}, but --smooth averages over frames in order: leave one out")
        if self.batch > 1 and (self.augmented or self.geometry.window):
            raise ConfigError(
                f"--batch is {self.batch}, but --scales, --flip and --window take frames one by one: leave one out"
            )
        if self.palette and (self.score_void or self.submit):
            raise ConfigError("--palette gives other classes than --score-void and --submit: leave one out")
        if self.key_frames < 1:
            raise ConfigError(f"--key-frames is {self.key_frames}; it must be 1 (all frames) or more")
        if self.key_frames > 1 and (self.augmented or self.batch > 1):
            raise ConfigError(
                f"--key-frames is {self.key_frames}, which needs each frame once and alone: "
                "leave it out, or --scales, --flip and --batch"
            )

    @property
    def augmented(self) -> bool:
        """Whether the network runs on each frame more than once."""
        return self.flip or self.scales != (1.0,)


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What is benchmarked.

    Raises ConfigError for values that do not go together, typer.BadParameter for a `frame` that is no size.
    """

    paper: Literal["camvid", "cityscapes"] | None = option(
        BENCHMARK, "Measure the authors' network for this data set instead, without weights."
    )
    changes: list[str] | None = option(
        BENCHMARK,
        "Value of the network's configuration, such as memory_frames=8; repeatable.",
        "NAME=VALUE",
        "--set",
    )
    frame: str = option(BENCHMARK, "Size of the network's input.", "WIDTHxHEIGHT", default="480x360")
    precisions: tuple[str, ...] = option(BENCHMARK, "Precisions to compare.", "NAME,...", default=("fp32", "bf16"))
    compile: Literal["on", "off"] = option(
        BENCHMARK, "Measure the compiled network (torch.compile) too.", default="off"
    )
    video: Path | None = option(BENCHMARK, "Video whose stages are measured; the demo clip by default.", "FILE")
    plot: Path | None = option(BENCHMARK, "Plot of cost against T and against frame size.", "FILE.png")
    count_only: bool = option(BENCHMARK, "Count multiply-adds without running anything.", default=False)
    repeats: int = option(BENCHMARK, "Number of rounds; medians are reported.", "N", default=5, min=1)

    def __post_init__(self) -> None:
        if min(self.size_hw) < _LEAST_SIDE:
            raise ConfigError(f"--frame is {self.frame}; each side must be at least {_LEAST_SIDE} pixels")
        if not self.precisions:
            raise ConfigError("--precisions names none; give one or more of fp32, bf16 and fp16, with commas between")
        if self.repeats < 1:
            raise ConfigError(f"--repeats is {self.repeats}; it must be 1 or more")
        if self.count_only and (self.plot or self.compile == "on" or self.video):
            raise ConfigError("--count-only runs nothing: leave out --plot, --compile and --video, or --count-only")
        if self.plot and self.plot.suffix.lower() != ".png":
            raise ConfigError(f"--plot is {str(self.plot)!r}; curves are written as PNG: give a name that ends in .png")

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        width, _, height = self.frame.lower().partition("x")
        if not (width.isdecimal() and height.isdecimal()):
            raise typer.BadParameter(f"{self.frame!r}; write WIDTHxHEIGHT, such as 480x360", param_hint="--frame")
        return int(height), int(width)

    def config_changes(self) -> dict[str, object]:
        """`changes` by name, each value a number, true, false or a word. Raises ConfigError."""
        found: dict[str, object] = {}
        for text in self.changes or ():
            name, equals, value = (part.strip() for part in text.partition("="))
            if not (name and equals and value):
                raise ConfigError(f"--set is {text!r}; write NAME=VALUE, such as memory_frames=8")
            try:
                found[name] = json.loads(value)
            except ValueError:
                found[name] = value
        return found
