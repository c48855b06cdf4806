"""`tmaseg eval`: accuracy and temporal consistency on a data set, or flicker on any video."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmaseg.cli.options import ConsoleOptions, Omit
from tmaseg.cli.tables import show_data_set, show_json, show_video
from tmaseg.errors import ConfigError, OutputError
from tmaseg.pipeline.options import ModelOptions

if TYPE_CHECKING:
    from tmaseg.cli.screen import Screen
    from tmaseg.data import Dataset
    from tmaseg.evaluation import EvalOptions, Evaluation, Shard, VideoEvaluation
    from tmaseg.inference.loading import LoadedNetwork

_WORST = 6


def _measure_option(*flags: str, **about: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Measurement", **about)


def _input(*flags: str, **about: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Input", **about)


def _output(*flags: str, **about: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Output", **about)


@dataclass(frozen=True, kw_only=True)
class MeasuredInput:
    """What is measured: a data set or a video."""

    dataset: Annotated[
        str | None,
        _input(
            help="Data set: camvid, cityscapes, cityscapes256, kitti, kitti-step, vspw, folder, or a YAML file.",
            metavar="NAME|FILE.yaml",
        ),
    ] = None
    data: Annotated[
        Path | None,
        _input(help="Folder of the data set; else $CAMVID_DATASET and the like, else ./data/NAME.", metavar="DIR"),
    ] = None
    video: Annotated[
        str | None, _input(help="Measure flicker on a video, URL or folder of images.", metavar="SOURCE")
    ] = None
    split: Annotated[str | None, _input(help="Split of the data set; val by default.", metavar="NAME")] = None
    limit: Annotated[int | None, _input(help="Score at most this many frames.", metavar="N")] = None

    def __post_init__(self) -> None:
        if (self.dataset is None) == (self.video is None):
            raise typer.BadParameter("give either --dataset NAME or --video SOURCE")


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """How it is measured."""

    compare_memory: Annotated[
        bool,
        _measure_option("--compare-memory", help="Measure with memory and without; always so with --video."),
    ] = False
    scales: Annotated[
        str,
        _measure_option(help="Scales at which probabilities are averaged, such as 0.75,1,1.25.", metavar="FACTOR,..."),
    ] = "1"
    flip: Annotated[bool, _measure_option("--flip", help="Average with the mirrored frame.")] = False
    batch: Annotated[int, _measure_option(help="Frames in a batch, where none depends on another.", metavar="N")] = 1
    no_temporal: Annotated[bool, _measure_option("--no-temporal", help="Leave out VC, TC and flicker.")] = False
    score_void: Annotated[
        bool, _measure_option("--score-void", help="Score void as a class, as the authors do (12-class CamVid).")
    ] = False


@dataclass(frozen=True, kw_only=True)
class MeasureOutputs:
    """What is written."""

    save: Annotated[Path | None, _output(help="Folder for masks and error maps.", metavar="DIR")] = None
    submit: Annotated[
        Path | None, _output(help="Folder for files of a benchmark server: cityscapes, kitti.", metavar="DIR")
    ] = None
    report: Annotated[Path | None, _output(help="Self-contained HTML report.", metavar="FILE.html")] = None


def evaluate(
    source: MeasuredInput,
    model: Annotated[ModelOptions, Omit("compile")],
    measure: MeasureOptions,
    output: MeasureOutputs,
    console: Annotated[ConsoleOptions, Omit("strict")],
) -> None:
    """Measure accuracy and temporal consistency on a data set, or flicker on any video: --dataset or --video.

    Under torchrun, the sequences are divided among the processes and their counts summed.
    """
    from tmaseg.video import check_exists

    if source.video is not None:
        check_exists(source.video)
    info = model.weights_info()
    if measure.compare_memory and not info.config.memory_frames:
        raise ConfigError("--compare-memory has nothing to compare: these weights have no memory; leave it out")
    both = info.config.memory_frames and (measure.compare_memory or (source.video and model.memory_frames != 0))
    from tmaseg.cli.screen import Screen
    from tmaseg.data import open_dataset
    from tmaseg.video.source import open_source

    scales, first = _scales(measure.scales), os.environ.get("RANK", "0") == "0"
    screen = Screen(quiet=console.quiet or not first)
    with ExitStack() as stack:
        dataset = open_dataset(source.dataset, source.data) if source.dataset is not None else None
        video = stack.enter_context(open_source(source.video)) if source.video is not None and first else None
        from tmaseg.evaluation import EvalOptions, evaluate_video, open_shard
        from tmaseg.inference.loading import load_network

        options = EvalOptions(
            split=source.split,
            memories=(model.memory_frames, 0) if both else (model.memory_frames,),
            geometry=model.geometry,
            scales=scales,
            flip=measure.flip,
            limit=source.limit,
            batch=measure.batch,
            key_frames=model.key_frames,
            temporal=not measure.no_temporal,
            score_void=measure.score_void,
            save=output.save,
            submit=output.submit,
            report=output.report,
            worst=_WORST if output.report else 0,
        )
        shard = stack.enter_context(open_shard())
        weights = load_network(model.weights, device=shard.device(model.device), precision=model.precision)
        result: Evaluation | VideoEvaluation | None = None
        if dataset is not None:
            result = _data_set(dataset, weights, options, shard, screen)
        elif video is not None:
            with screen.progress(Path(str(source.video)).name) as update:
                result = evaluate_video(video, weights, options, progress=update)
    if result is not None:
        _show(result, output.report, screen, json=console.json)


def _show(result: "Evaluation | VideoEvaluation", report: Path | None, screen: "Screen", *, json: bool) -> None:
    from tmaseg.evaluation import VideoEvaluation, write_report

    for note in result.notes:
        screen.say(f"note: {note}")
    if report:
        write_report(result, report)
        screen.say(f"report: {report}")
    if json:
        show_json(result.to_dict())
    elif isinstance(result, VideoEvaluation):
        show_video(result)
    else:
        show_data_set(result)


def _data_set(
    dataset: "Dataset", weights: "LoadedNetwork", options: "EvalOptions", shard: "Shard", screen: "Screen"
) -> "Evaluation | None":
    from tmaseg.evaluation import check_submission, evaluate

    screen.warn(dataset.problems)
    with screen.progress(dataset.name) as update:
        result = evaluate(dataset, weights, options, shard=shard, progress=update)
    if result and options.submit and not options.limit:
        frames = [frame for clip in dataset.split(options.split) for frame in clip.frames if frame.wanted]
        problems = check_submission(dataset, frames, options.submit)
        if problems:
            raise OutputError(f"{options.submit}: a server would refuse it: {'; '.join(problems[:3])}")
        screen.say(f"submission: {len(frames)} files in {options.submit}")
    return result


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"--scales is {text!r}; write numbers with commas between, such as 0.5,1,1.5") from error
