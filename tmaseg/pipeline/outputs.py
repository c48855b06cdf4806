"""What is written of every frame: the video, PNGs in one format or several, and tables."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tmaseg.arrays import RGB, Labels
from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import check_not_read
from tmaseg.labels import LabelSet
from tmaseg.options import PictureFormat, RunOptions
from tmaseg.pipeline.parts import UnfinishedRun
from tmaseg.pipeline.stages import Output
from tmaseg.pipeline.tables import EventsFile, Region, StatsFile
from tmaseg.render import Painter
from tmaseg.video.image_source import ImageSource
from tmaseg.video.images import Existing, ImageWriter
from tmaseg.video.segments import JoinedSink, SegmentedSink
from tmaseg.video.sink import StreamSink, VideoSink
from tmaseg.video.source import Frame, Source, StreamInfo

VideoOutput = VideoSink | SegmentedSink | StreamSink | JoinedSink


@dataclass(frozen=True)
class Outputs:
    """What is written of one video."""

    labels: LabelSet
    relabel: Labels | None  # as of `PaintOptions.classes_of`
    each: list[Output]  # all of it
    tables: "dict[str, StatsFile | EventsFile]"
    """Lines of text that an unfinished run goes on with after those of its last segment."""
    video: VideoOutput | None


def open_outputs(stack: ExitStack, source: Source, options: RunOptions, run: UnfinishedRun | None = None) -> Outputs:
    """Every output of one video, entered on `stack` so that the video is the first to be completed.

    Outputs of a `run` go on where it ends; its video is a JoinedSink. Raises OutputError where one cannot be written or
    would replace an input, and ConfigError and LabelError for painting that cannot work.
    """
    wanted = options.output
    if not wanted.wanted:
        raise ConfigError("nothing to write: give -o OUT, --masks DIR, --stats FILE, --events FILE or --preview PORT")
    _check_not_inputs(source, options)
    labels, relabel = options.paint.classes_of(options.model.weights_info().labels)
    painter = options.paint.painter(labels)
    outputs: list[Output] = []
    tables: dict[str, StatsFile | EventsFile] = {}
    sink: VideoOutput | None = None
    again = wanted.overwrite or bool(run and run.begun)
    if wanted.events:
        size, regions = run.size_of("events") if run else 0, [Region.parse(text) for text in wanted.regions or ()]
        events = stack.enter_context(EventsFile(wanted.events, labels, regions, overwrite=again, size=size))
        tables["events"] = events
        outputs.append(Output(events.write))
    if wanted.stats:
        stats = stack.enter_context(StatsFile(wanted.stats, labels, overwrite=wanted.overwrite, run=run))
        tables["stats"] = stats
        outputs.append(Output(stats.write))
    if wanted.masks:
        outputs += picture_outputs(
            folders_of(wanted.masks, wanted.mask_formats),
            wanted.mask_formats,
            options.paint.painter(labels, "overlay"),
            existing="replace" if again else "refuse",
        )
    if wanted.output:
        sink = _video_sink(source.info, options, run)
        stack.enter_context(sink)
        outputs.append(_painted(sink.write, painter.paint))
    return Outputs(labels, relabel, outputs, tables, sink)


def _video_sink(info: StreamInfo, options: RunOptions, run: UnfinishedRun | None) -> VideoOutput:
    """The video file, numbered files, or stream that `options` name. Raises OutputError."""
    wanted, written = options.output, options.output.write_options(options.input)
    if wanted.stream:
        return StreamSink(wanted.stream, info, written)
    assert wanted.video is not None
    if run is not None:
        return JoinedSink(wanted.video, info, written)
    if wanted.segment is None:
        return VideoSink(wanted.video, info, written)
    return SegmentedSink(wanted.video, info, written, length=Fraction(wanted.segment))


def picture_outputs(
    folders: Sequence[Path],
    formats: Sequence[PictureFormat],
    painter: Painter,
    *,
    name: Callable[[Frame], str] | None = None,
    existing: Existing = "refuse",
) -> list[Output]:
    """PNGs in each of `formats`, in the folder beside it in `folders`; `name` and `existing` as in `ImageWriter`.

    Raises OutputError.
    """
    outputs, table = [], painter.table
    for folder, kind in zip(folders, formats, strict=True):
        sink = ImageWriter(folder, palette=table if kind == "indexed" else None, name=name, existing=existing)
        if kind == "overlay":
            outputs.append(_painted(sink.write, painter.paint))
        elif kind == "color":
            outputs.append(_painted(sink.write, lambda _, labels: table[labels]))
        else:
            outputs.append(Output(sink.write, confidence=kind == "confidence"))
    return outputs


def folders_of(folder: Path, formats: Sequence[PictureFormat]) -> list[Path]:
    """Where each format goes: one alone into `folder` itself, several into a sub-folder each, named after them."""
    return [folder / kind if len(formats) > 1 else folder for kind in formats]


def _check_not_inputs(source: Source, options: RunOptions) -> None:
    """Raises OutputError when an output would replace an input, or lie in a folder of images that is read."""
    images = source.paths if isinstance(source, ImageSource) else ()
    named = (source.info.name, options.model.weights, options.paint.palette)
    check_not_read(options.output.paths, [*(Path(name) for name in named if name), *images])
    if options.output.masks:
        folders = folders_of(options.output.masks, options.output.mask_formats)
        check_no_images(folders, {path.parent for path in images})


def check_no_images(folders: Iterable[Path], read: Iterable[Path]) -> None:
    """Raises OutputError when one of `folders` is among those whose images are read."""
    there = {folder.resolve() for folder in read}
    for folder in folders:
        if folder.resolve() in there:
            raise OutputError(f"{folder} holds images that are read; write the masks to another folder")


def _painted(write: Callable[[Frame], None], paint: Callable[[RGB, Labels], RGB]) -> Output:
    return Output(lambda frame, _: write(frame), render=lambda frame, labels: frame.with_rgb(paint(frame.rgb, labels)))
