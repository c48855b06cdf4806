"""How class ids are painted, and what is written."""

from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from tmaseg.errors import ConfigError
from tmaseg.options.inputs import InputOptions, parse_seconds
from tmaseg.options.network import ModelOptions
from tmaseg.options.option import OUTPUT, PAINTING, option
from tmaseg.video.address import is_stream

if TYPE_CHECKING:
    from tmaseg.arrays import Labels
    from tmaseg.inference.frame_segmenter import FrameSegmenter
    from tmaseg.labels import LabelSet
    from tmaseg.render import Painter
    from tmaseg.video.encoder import WriteOptions

Mode = Literal["overlay", "mask", "side-by-side"]
PictureFormat = Literal["ids", "indexed", "color", "overlay", "confidence"]


@dataclass(frozen=True, kw_only=True)
class PaintOptions:
    """How class ids become colours; see `tmaseg.render.Painter`."""

    mode: Mode = option(PAINTING, "Content of the video.", default="overlay")
    opacity: float = option(PAINTING, "Opacity of the colours in an overlay, 0 to 1.", "ALPHA", default=0.5)
    palette: str | None = option(
        PAINTING,
        "Colours, matched by class name: cityscapes, camvid, camvid32, voc, or a JSON or YAML file; the classes, too, "
        "where the file says what they are made of (union).",
        "NAME|FILE",
    )
    classes: tuple[str, ...] | None = option(PAINTING, "Paint these classes only, such as road,car.", "NAME,...")
    legend: bool = option(PAINTING, "Add a legend of class names.", default=False)

    def classes_of(self, network: "LabelSet") -> "tuple[LabelSet, Labels | None]":
        """The classes that are painted, written and counted, and (256,) where the network's class ids go among them.

        Those of a palette that says what they are made of; else the network's, and None. Raises LabelError.
        """
        from tmaseg.labels import map_to_groups

        groups = self._groups()
        return (groups, map_to_groups(network, groups).table) if groups else (network, None)

    def _groups(self) -> "LabelSet | None":
        """The palette, where it says what its classes are made of."""
        from tmaseg.labels import get_labels

        palette = get_labels(self.palette) if self.palette else None
        return palette if palette and palette.unions else None

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

    def warnings(self, network: "LabelSet") -> tuple[str, ...]:
        """Classes of the network that the palette has no colour for."""
        from tmaseg.labels import map_to_groups

        groups = self._groups()
        missing = map_to_groups(network, groups).missing if groups else self.painter(network).missing
        return (f"the palette {self.palette} has no class for {', '.join(missing)}: not painted",) if missing else ()


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written of a video: at least one of `output`, `masks` and `stats`."""

    output: str | None = option(
        OUTPUT, "Video file, folder for several sources, or URL of a stream.", "OUT", "--output", "-o"
    )
    segment: float | None = option(
        OUTPUT,
        "Cut the video into numbered files of this length, such as 10m, each complete at once.",
        "TIME",
        parser=parse_seconds,
    )
    masks: Path | None = option(OUTPUT, "Folder for a PNG mask of each frame.", "DIR")
    mask_formats: tuple[PictureFormat, ...] = option(
        OUTPUT,
        "Formats of the masks: ids, indexed, color, overlay, confidence.",
        "FORMAT,...",
        "--mask-format",
        default=("ids",),
    )
    stats: Path | None = option(OUTPUT, "CSV of the area that each class covers in each frame, 0 to 1.", "FILE.csv")
    events: str | None = option(
        OUTPUT, "JSON line for each frame: time, shares of classes; - is standard output.", "-|FILE"
    )
    regions: list[str] | None = option(
        OUTPUT,
        "Polygon whose shares the events have, too: corners in shares of width and height; repeatable.",
        "NAME=x,y,x,y,...",
        "--region",
    )
    preview: str | None = option(
        OUTPUT,
        "Serve a web page that shows the run, on this machine only unless a host is given.",
        "[HOST:]PORT",
    )
    encoder: str | None = option(OUTPUT, "FFmpeg's name of the video encoder.", "NAME")
    crf: float | None = option(OUTPUT, "Constant rate factor of the encoder; lower is better.", "N")
    preset: str | None = option(OUTPUT, "Preset of the encoder, such as fast or slow.", "NAME")
    lossless: bool = option(OUTPUT, "Write exact colours: FFV1 in .mkv.", default=False)
    no_audio: bool = option(OUTPUT, "Leave out the sound.", default=False)
    overwrite: bool = option(OUTPUT, "Replace existing outputs.", default=False)
    skip_existing: bool = option(OUTPUT, "Keep existing outputs and make the others.", default=False)
    resume: bool = option(OUTPUT, "Write so that a run that is killed goes on when it is started again.", default=False)

    def __post_init__(self) -> None:
        _check_formats("--mask-format", self.mask_formats)
        _check_existing(self.overwrite, self.skip_existing)
        _check_no_stream(self.paths)
        if self.regions and not self.events:
            raise ConfigError("--region is for events: give --events - or --events FILE as well")
        if self.segment and not self.video:
            raise ConfigError("--segment cuts a video file: give -o OUT.mp4")
        if self.resume and (self.segment or not self.paths or self.stream):
            raise ConfigError("--resume is for outputs that are files: leave it out, or --segment and the stream")

    @property
    def stream(self) -> str | None:
        """`output` where it is the URL of a stream."""
        return self.output if is_stream(self.output) else None

    @property
    def video(self) -> Path | None:
        """`output` where it is a path."""
        return Path(self.output) if self.output and not self.stream else None

    @property
    def paths(self) -> list[Path]:
        """Every file and folder that is written."""
        events = Path(self.events) if self.events and self.events != "-" else None
        return [path for path in (self.video, self.masks, self.stats, events) if path]

    @property
    def wanted(self) -> bool:
        """Whether anything is written."""
        return bool(self.paths or self.events or self.stream or self.preview)

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

    output: Path = option(OUTPUT, "Folder for the PNGs.", "OUT_DIR", "--output", "-o", default=MISSING)
    formats: tuple[PictureFormat, ...] = option(
        OUTPUT,
        "Formats of the PNGs: ids, indexed, color, overlay, confidence; several get a sub-folder each.",
        "FORMAT,...",
        "--format",
        default=("ids",),
    )
    overwrite: bool = option(OUTPUT, "Replace existing outputs.", default=False)
    skip_existing: bool = option(OUTPUT, "Keep existing outputs and make the others.", default=False)

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
    input: InputOptions = field(default_factory=InputOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    paint: PaintOptions = field(default_factory=PaintOptions)

    def load(self) -> "FrameSegmenter":
        """The network, ready for a first frame. Raises CheckpointError and ConfigError."""
        return self.model.load(follow=self.input.keep_all)
