"""Options of the commands, each declared once: its name, type, default, and what `--help` says of it.

The fields of these dataclasses are the options of `tmaseg run`, `frames`, `eval` and `bench`, and the keyword arguments
of `tmaseg.segment_video`. Nothing here imports torch, so that a wrong value is reported at once.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from tmaseg.errors import ConfigError

if TYPE_CHECKING:
    from tmaseg.inference.segmenter import Segmenter
    from tmaseg.labels import LabelSet
    from tmaseg.model.geometry import InputGeometry
    from tmaseg.model.weights import WeightsInfo
    from tmaseg.render import Painter
    from tmaseg.video.encoder import WriteOptions
    from tmaseg.video.facts import ReadOptions

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Mode = Literal["overlay", "mask", "side-by-side"]
PictureFormat = Literal["ids", "indexed", "color", "overlay"]


def parse_rate(text: str | Fraction) -> Fraction:
    """A frame rate such as 25, 29.97 or 30000/1001. Raises typer.BadParameter."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"{text!r} is no number such as 25 or 30000/1001") from error


def _input(*flags: str, **about: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Input", **about)


def _network(*flags: str, **about: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Network", **about)


def _paint(*flags: str, **about: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Painting", **about)


def _output(*flags: str, **about: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Output", **about)


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How the input is read."""

    start: Annotated[float | None, _input(help="Time of the first frame to segment.", metavar="SECONDS")] = None
    end: Annotated[float | None, _input(help="Time at which to stop.", metavar="SECONDS")] = None
    every: Annotated[int, _input(help="Segment every N-th frame only.", metavar="N")] = 1
    rate: Annotated[
        Fraction | None,
        _input(
            help="Frame rate of images (default 25) and of raw streams (default their own), such as 30000/1001.",
            metavar="RATE",
            parser=parse_rate,
        ),
    ] = None
    colorspace: Annotated[
        Literal["bt601", "bt709", "bt2020"] | None, _input(help="Override the input's colour matrix.")
    ] = None
    no_autorotate: Annotated[bool, _input("--no-autorotate", help="Ignore the input's rotation.")] = False
    deinterlace: Annotated[bool, _input("--deinterlace", help="Deinterlace the input (bwdif).")] = False
    timeout: Annotated[float, _input(help="Longest wait for data of a URL or pipe.", metavar="SECONDS")] = 10.0
    hardware: Annotated[
        bool, _input("--hardware", help="Decode and encode on a GPU or media engine if one is available.")
    ] = False

    def read_options(self) -> "ReadOptions":
        """As `tmaseg.video` takes them. Raises ConfigError for a value out of range."""
        from tmaseg.video.facts import ReadOptions

        values = vars(self).copy()
        return ReadOptions(autorotate=not values.pop("no_autorotate"), **values)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which network runs, where, and what it is given."""

    weights: Annotated[str, _network(help="Name of shipped weights, or a .safetensors file.", metavar="NAME|FILE")] = (
        "street"
    )
    device: Annotated[str, _network(help="Device: auto, cpu, cuda, cuda:N, mps or xpu.", metavar="DEVICE")] = "auto"
    precision: Annotated[Precision, _network(help="Arithmetic of the network; auto takes the device's fastest.")] = (
        "auto"
    )
    size: Annotated[
        int | None,
        _network(help="Short side of the network's input; outputs keep the input's size.", metavar="PIXELS"),
    ] = None
    memory_frames: Annotated[
        int | None,
        _network("--memory", help="Past frames in memory; 0 segments each frame alone.", metavar="N"),
    ] = None
    window: Annotated[int | None, _network(help="Side of square sliding windows.", metavar="PIXELS")] = None
    stride: Annotated[int | None, _network(help="Step between sliding windows.", metavar="PIXELS")] = None
    key_frames: Annotated[
        int,
        _network(help="Run the network on every K-th frame; labels between follow the optical flow.", metavar="K"),
    ] = 1
    compile: Annotated[
        Literal["auto", "on", "off"],
        _network(help="Compile the network (torch.compile); auto does so if the input is long enough."),
    ] = "auto"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", self.device):
            raise ConfigError(f"--device is {self.device!r}; it must be auto, cpu, cuda, cuda:N, mps or xpu")
        if self.precision not in get_args(Precision):
            raise ConfigError(f"--precision is {self.precision!r}; it must be {', '.join(get_args(Precision))}")
        if self.key_frames < 1:
            raise ConfigError(f"--key-frames is {self.key_frames}; it must be 1 (all frames) or more")

    @property
    def geometry(self) -> "InputGeometry":
        """The part of it that replaces the weights' own."""
        from tmaseg.model.geometry import InputGeometry

        return InputGeometry(self.size, self.window, self.stride)

    def weights_info(self) -> "WeightsInfo":
        """The metadata of the weights, after a check that these options fit them. Imports no torch.

        Raises CheckpointError and ConfigError.
        """
        from tmaseg.model.weights import read_weights_info

        info = read_weights_info(self.weights)
        info.geometry.overridden_by(self.geometry).check()
        info.config.checked_memory_frames(self.memory_frames)
        return info

    def load(self) -> "Segmenter":
        """The network, ready for a first frame. Raises CheckpointError and ConfigError."""
        from tmaseg.inference.segmenter import load

        return load(
            self.weights,
            device=self.device,
            precision=self.precision,
            geometry=self.geometry,
            memory_frames=self.memory_frames,
            compile=self.compile,
            key_frames=self.key_frames,
        )


@dataclass(frozen=True, kw_only=True)
class PaintOptions:
    """How class ids become colours; see `tmaseg.render.Painter`."""

    mode: Annotated[Mode, _paint(help="Content of the video.")] = "overlay"
    opacity: Annotated[float, _paint(help="Opacity of the colours in an overlay, 0 to 1.", metavar="ALPHA")] = 0.5
    palette: Annotated[
        str | None,
        _paint(
            help="Colours, matched by class name: cityscapes, camvid, camvid32, voc, or a JSON or YAML file.",
            metavar="NAME|FILE",
        ),
    ] = None
    classes: Annotated[
        tuple[str, ...] | None, _paint(help="Paint these classes only, such as road,car.", metavar="NAME,...")
    ] = None
    legend: Annotated[bool, _paint("--legend", help="Add a legend of class names.")] = False

    def painter(self, labels: "LabelSet", mode: Mode | None = None) -> "Painter":
        """For `labels`, in another mode where one is given. Raises ConfigError and LabelError."""
        from tmaseg.render import Painter

        return Painter(
            labels,
            mode=mode or self.mode,
            opacity=self.opacity,
            palette=self.palette,
            classes=self.classes or None,
            legend=self.legend,
        )

    def warnings(self, labels: "LabelSet") -> tuple[str, ...]:
        """Classes that the palette has no colour for."""
        missing = self.painter(labels).missing
        return (f"the palette {self.palette} has no class for {', '.join(missing)}: not painted",) if missing else ()


Overwrite = Annotated[bool, _output("--overwrite", help="Replace existing outputs.")]
SkipExisting = Annotated[bool, _output("--skip-existing", help="Keep existing outputs and make the others.")]


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written of a video: at least one of `output`, `masks` and `stats`."""

    output: Annotated[
        str | None, _output("--output", "-o", help="Video file; a folder for several sources.", metavar="OUT")
    ] = None
    masks: Annotated[Path | None, _output(help="Folder for a PNG mask of each frame.", metavar="DIR")] = None
    mask_formats: Annotated[
        tuple[PictureFormat, ...],
        _output("--mask-format", help="Formats of the masks: ids, indexed, color, overlay.", metavar="FORMAT,..."),
    ] = ("ids",)
    stats: Annotated[
        Path | None, _output(help="CSV of the area that each class covers in each frame, 0 to 1.", metavar="FILE.csv")
    ] = None
    encoder: Annotated[str | None, _output(help="FFmpeg's name of the video encoder.", metavar="NAME")] = None
    crf: Annotated[float | None, _output(help="Constant rate factor of the encoder; lower is better.", metavar="N")] = (
        None
    )
    preset: Annotated[str | None, _output(help="Preset of the encoder, such as fast or slow.", metavar="NAME")] = None
    lossless: Annotated[bool, _output("--lossless", help="Write exact colours: FFV1 in .mkv.")] = False
    no_audio: Annotated[bool, _output("--no-audio", help="Leave out the sound.")] = False
    overwrite: Overwrite = False
    skip_existing: SkipExisting = False

    def __post_init__(self) -> None:
        _check_formats("--mask-format", self.mask_formats)
        _check_existing(self.overwrite, self.skip_existing)
        _check_no_stream(self.paths)

    @property
    def video(self) -> Path | None:
        """`output` as a path."""
        return Path(self.output) if self.output else None

    @property
    def paths(self) -> list[Path]:
        """Every file and folder that is written."""
        return [path for path in (self.video, self.masks, self.stats) if path]

    def write_options(self, source: InputOptions) -> "WriteOptions":
        """As `tmaseg.video` takes them. Raises ConfigError for values that contradict each other."""
        from tmaseg.video.encoder import WriteOptions

        return WriteOptions(
            encoder=self.encoder,
            crf=self.crf,
            preset=self.preset,
            lossless=self.lossless,
            audio=not self.no_audio,
            overwrite=self.overwrite,
            hardware=source.hardware,
            timeout=source.timeout,
        )


@dataclass(frozen=True, kw_only=True)
class FramesOutputOptions:
    """What is written of a folder of images."""

    output: Annotated[Path, _output("--output", "-o", help="Folder for the PNGs.", metavar="OUT_DIR")]
    formats: Annotated[
        tuple[PictureFormat, ...],
        _output(
            "--format",
            help="Formats of the PNGs: ids, indexed, color, overlay; several get a sub-folder each.",
            metavar="FORMAT,...",
        ),
    ] = ("ids",)
    overwrite: Overwrite = False
    skip_existing: SkipExisting = False

    def __post_init__(self) -> None:
        _check_formats("--format", self.formats)
        _check_existing(self.overwrite, self.skip_existing)
        _check_no_stream([self.output])


def _check_formats(flag: str, formats: tuple[str, ...]) -> None:
    known = get_args(PictureFormat)
    if not formats or not {*formats} <= {*known}:
        raise ConfigError(f"{flag} is {','.join(formats)!r}; choose from {', '.join(known)}")


def _check_no_stream(paths: list[Path]) -> None:
    if {"-", "/dev/stdout"} & {str(path) for path in paths}:
        raise ConfigError("standard output cannot be an output: what is written is completed as a file; give a name")


def _check_existing(overwrite: bool, skip_existing: bool) -> None:
    if overwrite and skip_existing:
        raise ConfigError("--overwrite and --skip-existing contradict each other; give one of them")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """All options of one video."""

    output: OutputOptions
    input: InputOptions = InputOptions()
    model: ModelOptions = ModelOptions()
    paint: PaintOptions = PaintOptions()
