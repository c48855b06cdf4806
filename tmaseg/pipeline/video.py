"""One video through the network and into every output: `run_video`, and `segment_video` for the library."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmaseg.labels import LabelSet
from tmaseg.options import InputOptions, Mode, ModelOptions, OutputOptions, PaintOptions, RunOptions
from tmaseg.pipeline.outputs import Outputs, open_outputs
from tmaseg.pipeline.parts import UnfinishedRun, check_no_parts
from tmaseg.pipeline.preview import Preview
from tmaseg.pipeline.report import RunReport, facts_so_far, network_facts
from tmaseg.pipeline.resume import segment_slices
from tmaseg.pipeline.stages import Live, Outcome, Output, segment
from tmaseg.video.address import hidden
from tmaseg.video.live import LiveSource
from tmaseg.video.segments import JoinedSink, SegmentedSink
from tmaseg.video.source import Source, open_source

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import FrameSegmenter
    from tmaseg.render import Painter


def segment_video(
    source: str | Path,
    output: str | Path | None = None,
    *,
    weights: str | Path = "street",
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> RunReport:
    """`tmaseg run` as a function: segments a video, URL, image or folder of images and writes its outputs.

    `output` is the video file; with `masks` (a folder) or `stats` (a CSV file) among the options it may be None.
    `weights` is a name of shipped weights or a file. `options` are those of the command line, by the names of the
    fields of `InputOptions`, `ModelOptions`, `PaintOptions` and `OutputOptions` in `tmaseg.options`:
    `segment_video("in.mp4", "out.mp4", palette="cityscapes", memory_frames=2, start=10.0)`. `progress` is called with
    the number of frames done; `stop` is called between frames, and True ends the outputs early, complete up to there.

    Returns what was done. Raises TmasegError, and TypeError for an option that does not exist.
    """
    classes = {"input": InputOptions, "model": ModelOptions, "paint": PaintOptions, "output": OutputOptions}
    groups = {field.name: group for group, each in classes.items() for field in fields(each)}
    values = {"output": None if output is None else str(output), "weights": str(weights), **options}
    if unknown := values.keys() - groups:
        raise TypeError(f"segment_video() got an unexpected option {min(unknown)!r}")
    values |= {name: Path(values[name]) for name in ("masks", "stats") if values.get(name) is not None}
    run = RunOptions(
        **{key: each(**{name: values[name] for name in values if groups[name] == key}) for key, each in classes.items()}
    )
    with open_source(source, run.input.read_options()) as frames:
        return run_video(frames, run.load, run, progress=progress, stop=stop)


def run_video(
    source: Source,
    load: Callable[[], "FrameSegmenter"],
    options: RunOptions,
    *,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> RunReport:
    """Segments all of `source`, as a new video, and writes the outputs that `options` name.

    `load` gives the Segmenter of `options.model`; it is called when the outputs are open. `progress` is called with
    the number of frames done; when `stop()` is true between two frames, the outputs are completed with the frames so
    far. On any other way out the video and the statistics leave nothing behind; but with `resume`, what is complete is
    kept for the next attempt, whatever ends this one. Raises TmasegError.
    """
    with ExitStack() as stack:
        live = Live(keep_all=options.input.keep_all, duration=options.input.duration) if source.info.live else None
        run = UnfinishedRun(options, source) if options.output.resume else None
        if run is None and options.output.paths:
            check_no_parts(options)
        outputs = open_outputs(stack, source, options, run)
        sink = outputs.video
        preview = _open_preview(stack, outputs.labels, options)
        segmenter = load()
        segmenter.reset()
        if isinstance(source, LiveSource):  # the first frame takes longest: it must not make a camera's wait
            segmenter.step(source.first.rgb)
            segmenter.reset()
        look_ahead = None if live else stack.enter_context(segmenter.looking_ahead())
        segmenter.expect(source.info.frames)
        if preview:
            preview.facts = partial(_preview_facts, source, segmenter, live)
            outputs.each.append(Output(preview.write))
        if run is None:
            outcome = segment(
                source,
                segmenter.step,
                outputs.each,
                progress=progress,
                stop=stop,
                live=live,
                relabel=outputs.relabel,
                look_ahead=look_ahead,
            )
        else:
            outcome = segment_slices(
                run, source, segmenter, outputs, options, progress=progress, stop=stop, look_ahead=look_ahead
            )
        if outcome.interrupted and (run or not outcome.frames):
            raise KeyboardInterrupt  # nothing to finish
        if outcome.interrupted and sink and not isinstance(sink, JoinedSink):
            sink.cut_sound()
    report = _report(source, segmenter, options, outcome, outputs, live, run)
    if run:
        run.remove()
    return report


def _report(
    source: Source,
    segmenter: "FrameSegmenter",
    options: RunOptions,
    outcome: Outcome,
    outputs: Outputs,
    live: Live | None,
    run: UnfinishedRun | None,
) -> RunReport:
    info, written, sink = source.info, options.output, outputs.video
    facts = run.facts if run else facts_so_far(source, segmenter)
    facts["warnings"] = (
        *facts["warnings"],
        *(sink.warnings if sink else ()),
        *options.paint.warnings(segmenter.labels),
    )
    return RunReport(
        **network_facts(segmenter, options.model.weights, outputs.labels),
        **facts,
        **(_live_facts(source, live) if live else {}),
        input=info.name,
        width=info.width,
        height=info.height,
        decoder=info.codec + (f" on {info.device}" if info.device else ""),
        output=hidden(written.output) if written.output else None,
        segments=tuple(map(str, sink.completed)) if isinstance(sink, SegmentedSink) else (),
        masks=str(written.masks) if written.masks else None,
        stats=str(written.stats) if written.stats else None,
        events=written.events,
        encoder=sink.encoder if sink else None,
        frames=outcome.frames,
        seconds=outcome.seconds,
        stages=outcome.stages,
        interrupted=outcome.interrupted,
        key_frames=segmenter.key_frames,
        network_frames=segmenter.network_frames,
    )


def _open_preview(stack: ExitStack, labels: LabelSet, options: RunOptions) -> Preview | None:
    if options.output.preview is None:
        return None
    views: tuple[Mode, ...] = ("overlay", "side-by-side")
    painters: dict[str, Painter] = {view: options.paint.painter(labels, view) for view in views}
    return stack.enter_context(Preview(options.output.preview, labels, painters))


def _preview_facts(source: Source, segmenter: "FrameSegmenter", live: Live | None) -> dict[str, Any]:
    return {
        "input": source.info.name,
        "dropped": live.dropped if live else 0,
        "resets": segmenter.memory_resets,
        "reconnects": source.reconnects,
    }


def _live_facts(source: Source, live: Live) -> dict[str, Any]:
    median, p95 = (None if each is None else 1000 * each for each in map(live.latency.quantile, (0.5, 0.95)))
    return {
        "live": True,
        "dropped_frames": live.dropped,
        "reconnects": source.reconnects,
        "latency_median_ms": median,
        "latency_p95_ms": p95,
    }
