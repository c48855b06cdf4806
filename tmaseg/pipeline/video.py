"""One video through the network and into every output: `run_video`, and `segment_video` for the library."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmaseg.options import InputOptions, ModelOptions, OutputOptions, PaintOptions, RunOptions
from tmaseg.pipeline.outputs import open_outputs
from tmaseg.pipeline.report import RunReport, network_facts
from tmaseg.pipeline.stages import segment
from tmaseg.video.source import Source, open_source

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import FrameSegmenter


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
    groups: dict[str, dict[str, Any]] = {"input": {}, "model": {}, "paint": {}, "output": {}}
    classes = {"input": InputOptions, "model": ModelOptions, "paint": PaintOptions, "output": OutputOptions}
    output = None if output is None else str(output)
    for name, value in {"output": output, "weights": str(weights), **options}.items():
        group = next((key for key, each in classes.items() if name in {field.name for field in fields(each)}), None)
        if group is None:
            raise TypeError(f"segment_video() got an unexpected option {name!r}")
        groups[group][name] = Path(value) if name in ("masks", "stats") and value is not None else value
    run = RunOptions(**{key: classes[key](**values) for key, values in groups.items()})
    with open_source(source, run.input.read_options()) as frames:
        return run_video(frames, run.model.load, run, progress=progress, stop=stop)


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
    far. On any other way out the video and the statistics leave nothing behind. Raises TmasegError.
    """
    labels = options.model.weights_info().labels
    with ExitStack() as stack:
        outputs, sink = open_outputs(stack, source, labels, options)
        segmenter = load()
        segmenter.reset()
        segmenter.expect(source.info.frames)
        outcome = segment(source, segmenter, outputs, progress=progress, stop=stop)
        if outcome.interrupted and not outcome.frames:
            raise KeyboardInterrupt  # nothing to finish
        if outcome.interrupted and sink:
            sink.cut_sound()
    output, damage = options.output, source.damage
    return RunReport(
        **network_facts(segmenter, options.model.weights, outcome.memory_resets),
        input=source.info.name,
        output=output.output,
        masks=_name(output.masks),
        stats=_name(output.stats),
        frames=outcome.frames,
        seconds=outcome.seconds,
        stages=outcome.stages,
        warnings=(
            *source.warnings,
            *damage.lines(),
            *segmenter.warnings,
            *(sink.warnings if sink else ()),
            *options.paint.warnings(labels),
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


def _name(path: Path | None) -> str | None:
    return None if path is None else str(path)
