"""run_video: one video through the network and into every output asked for."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tmaseg.errors import OutputError
from tmaseg.files import check_not_read, peak_memory_mb
from tmaseg.inference.segmenter import Segmenter
from tmaseg.pipeline.options import RunOptions, Targets
from tmaseg.pipeline.outputs import PictureWriter, StatsFile, folders_of
from tmaseg.pipeline.report import RunReport
from tmaseg.pipeline.stages import Outcome, Output, segment
from tmaseg.video.image_source import ImageSource
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Source


def run_video(
    source: Source,
    segmenter: Segmenter,
    targets: Targets,
    options: RunOptions,
    *,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> RunReport:
    """Segments the whole source, as a new video, and writes what `targets` asks for.

    `progress` is told how many frames are done; `stop` is asked between frames
    whether to end early, which finishes the outputs with the frames so far. On any other way out video and statistics
    leave nothing behind. Raises TmasegError.
    """
    segmenter.reset()
    segmenter.expect(source.info.frames)
    with ExitStack() as stack:
        outputs, sink = _open(stack, source, segmenter, targets, options)
        outcome = segment(source, segmenter, outputs, progress=progress, stop=stop)
        if outcome.interrupted and not outcome.frames:
            raise KeyboardInterrupt  # nothing to finish
        if outcome.interrupted and sink:
            sink.cut_sound()
    return _report(source, segmenter, targets, options, outcome, sink)


def _report(
    source: Source,
    segmenter: Segmenter,
    targets: Targets,
    options: RunOptions,
    outcome: Outcome,
    sink: VideoSink | None,
) -> RunReport:
    damage, peak = source.damage, peak_memory_mb(segmenter.device)
    return RunReport(
        input=source.info.name,
        output=_name(targets.video),
        masks=_name(targets.masks),
        stats=_name(targets.stats),
        frames=outcome.frames,
        seconds=outcome.seconds,
        stages=outcome.stages,
        weights=options.model.weights,
        device=str(segmenter.device),
        precision=segmenter.precision,
        memory_frames=segmenter.memory_frames,
        memory_resets=outcome.memory_resets,
        peak_rss_mb=peak["peak_rss_mb"],
        peak_device_mb=peak.get("peak_device_mb"),
        compiled=segmenter.engine.compiled,
        classes=segmenter.labels.names,
        warnings=(
            *source.warnings,
            *damage.lines(),
            *segmenter.warnings,
            *(sink.warnings if sink else ()),
            *options.paint.warnings(segmenter.labels),
        ),
        damaged=bool(damage),
        interrupted=outcome.interrupted,
        width=source.info.width,
        height=source.info.height,
        decoder=source.info.codec + (f" on {source.info.device}" if source.info.device else ""),
        key_frames=segmenter.key_frames,
        network_frames=segmenter.network_frames,
        encoder=sink.encoder if sink else None,
        damaged_packets=damage.packets,
    )


def _open(
    stack: ExitStack, source: Source, segmenter: Segmenter, targets: Targets, options: RunOptions
) -> tuple[list[Output], VideoSink | None]:
    """Every output, entered on the stack so that the video is the first to be finished."""
    _check_not_inputs(source, targets, options)
    outputs: list[Output] = []
    sink: VideoSink | None = None
    if targets.stats:
        stats = StatsFile(targets.stats, segmenter.labels, overwrite=options.write.overwrite)
        outputs.append(Output(stack.enter_context(stats).write))
    if targets.masks:
        pictures = PictureWriter(
            folders_of(targets.masks, options.mask_formats),
            options.mask_formats,
            paint=options.paint,
            labels=segmenter.labels,
            existing="replace" if options.write.overwrite else "refuse",
        )
        outputs += pictures.outputs
    if targets.video:
        sink = stack.enter_context(VideoSink(targets.video, source.info, options.write))
        painter, writer = options.paint.painter(segmenter.labels), sink
        outputs.append(
            Output(
                write=lambda frame, _: writer.write(frame),
                render=lambda frame, labels: frame.with_rgb(painter.paint(frame.rgb, labels)),
            )
        )
    return outputs, sink


def _check_not_inputs(source: Source, targets: Targets, options: RunOptions) -> None:
    """Raises OutputError when an output would replace what is read, or lie in a folder of images that is read."""
    images = source.paths if isinstance(source, ImageSource) else ()
    named = (source.info.name, options.model.weights, options.paint.palette)
    inputs = [*(Path(name) for name in named if name), *images]
    check_not_read([target for target in (targets.video, targets.masks, targets.stats) if target], inputs)
    if targets.masks:
        read = {path.parent.resolve() for path in images}
        for folder in folders_of(targets.masks, options.mask_formats):
            if folder.resolve() in read:
                raise OutputError(f"{folder} holds images that are read; write the masks to another folder")


def _name(path: object) -> str | None:
    return None if path is None else str(path)
