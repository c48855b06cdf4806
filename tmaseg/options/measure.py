"""What `tmaseg eval` and `tmaseg bench` measure, and how."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer

from tmaseg.errors import ConfigError
from tmaseg.model.config import InputGeometry
from tmaseg.options.panels import BENCHMARK, INPUT, MEASUREMENT, OUTPUT, option

_LEAST_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class EvalInput:
    """What is evaluated on. Raises typer.BadParameter unless it is either a data set or a video."""

    dataset: Annotated[
        str | None,
        option(
            INPUT,
            help="Data set: camvid, cityscapes, cityscapes256, kitti, kitti-step, vspw, folder, or a YAML file.",
            metavar="NAME|FILE.yaml",
        ),
    ] = None
    data: Annotated[
        Path | None,
        option(
            INPUT, help="Folder of the data set; else $CAMVID_DATASET and the like, else ./data/NAME.", metavar="DIR"
        ),
    ] = None
    video: Annotated[
        str | None, option(INPUT, help="Measure flicker on a video, URL or folder of images.", metavar="SOURCE")
    ] = None

    def __post_init__(self) -> None:
        if (self.dataset is None) == (self.video is None):
            raise typer.BadParameter("give either --dataset NAME or --video SOURCE")


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What is evaluated and how. Raises ConfigError, naming the option, for values that cannot work."""

    split: Annotated[str | None, option(INPUT, help="Split of the data set; val by default.", metavar="NAME")] = None
    limit: Annotated[int | None, option(INPUT, help="Score at most this many frames.", metavar="N")] = None
    scales: Annotated[
        tuple[float, ...],
        option(
            MEASUREMENT,
            "--scales",
            help="Scales at which probabilities are averaged, such as 0.75,1.",
            metavar="FACTOR,...",
        ),
    ] = (1.0,)
    flip: Annotated[bool, option(MEASUREMENT, "--flip", help="Average with the mirrored frame.")] = False
    batch: Annotated[
        int, option(MEASUREMENT, help="Frames in a batch, where none depends on another.", metavar="N")
    ] = 1
    no_temporal: Annotated[bool, option(MEASUREMENT, "--no-temporal", help="Leave out VC, TC and flicker.")] = False
    palette: Annotated[
        str | None,
        option(
            MEASUREMENT,
            help="Score the classes of this JSON or YAML file, whose `union` says what each is made of.",
            metavar="FILE",
        ),
    ] = None
    score_void: Annotated[
        bool, option(MEASUREMENT, "--score-void", help="Score void as a class, as the authors do (12-class CamVid).")
    ] = False
    save: Annotated[Path | None, option(OUTPUT, help="Folder for masks and error maps.", metavar="DIR")] = None
    submit: Annotated[
        Path | None, option(OUTPUT, help="Folder for files of a benchmark server: cityscapes, kitti.", metavar="DIR")
    ] = None
    report: Annotated[Path | None, option(OUTPUT, help="Self-contained HTML report.", metavar="FILE.html")] = None

    # From the options of the network:
    memories: tuple[int | None, ...] = (None,)
    """Memory frames of each pass over the data; None: as the weights were trained; 0: each frame alone."""
    geometry: InputGeometry = field(default_factory=InputGeometry)
    """Size, window and stride, where they replace those of the weights."""
    key_frames: int = 1
    """The network runs on every k-th frame; labels between follow the optical flow."""

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

    paper: Annotated[
        Literal["camvid", "cityscapes"] | None,
        option(BENCHMARK, help="Measure the authors' network for this data set instead, without weights."),
    ] = None
    changes: Annotated[
        list[str] | None,
        option(
            BENCHMARK,
            "--set",
            help="Value of the network's configuration, such as memory_frames=8; repeatable.",
            metavar="NAME=VALUE",
            show_default=False,
        ),
    ] = None
    frame: Annotated[str, option(BENCHMARK, help="Size of the network's input.", metavar="WIDTHxHEIGHT")] = "480x360"
    precisions: Annotated[
        tuple[str, ...], option(BENCHMARK, "--precisions", help="Precisions to compare.", metavar="NAME,...")
    ] = ("fp32", "bf16")
    compile: Annotated[
        Literal["on", "off"], option(BENCHMARK, help="Measure the compiled network (torch.compile) too.")
    ] = "off"
    video: Annotated[
        Path | None,
        option(BENCHMARK, help="Video whose stages are measured; the demo clip by default.", metavar="FILE"),
    ] = None
    plot: Annotated[
        Path | None, option(BENCHMARK, help="Plot of cost against T and against frame size.", metavar="FILE.png")
    ] = None
    count_only: Annotated[
        bool, option(BENCHMARK, "--count-only", help="Count multiply-adds without running anything.")
    ] = False
    repeats: Annotated[int, option(BENCHMARK, help="Number of rounds; medians are reported.", metavar="N", min=1)] = 5

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
