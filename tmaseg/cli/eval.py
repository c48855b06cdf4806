"""`tmaseg eval`: accuracy and temporal consistency on a data set, or flicker on any video."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmaseg.cli.options import ConsoleOptions, Omit
from tmaseg.cli.tables import show_data_set, show_json, show_video
from tmaseg.errors import ConfigError, OutputError
from tmaseg.pipeline.options import ModelOptions

if TYPE_CHECKING:
    from tmaseg.cli.screen import Screen
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
    from tmaseg.cli.screen import Screen
    from tmaseg.evaluation import EvalOptions, open_shard
    from tmaseg.inference.loading import load_network
    from tmaseg.model.geometry import InputGeometry

    model.labels()  # wrong weights are reported at once
    both = measure.compare_memory or (source.video and model.memory_frames != 0)
    options = EvalOptions(
        split=source.split,
        memories=(model.memory_frames, 0) if both else (model.memory_frames,),
        geometry=InputGeometry(size=model.size, window=model.window, stride=model.stride),
        scales=_scales(measure.scales),
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
    with open_shard() as shard:
        screen = Screen(quiet=console.quiet or not shard.first)
        weights = load_network(model.weights, device=shard.device(model.device), precision=model.precision)
        if not weights.net.config.memory_frames:
            options = _without_memory(options, measure.compare_memory)
        result = _measure(source, weights, options, shard, screen)
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


def _measure(
    source: MeasuredInput, weights: "LoadedNetwork", options: "EvalOptions", shard: "Shard", screen: "Screen"
) -> "Evaluation | VideoEvaluation | None":
    """The result, in the first process; None in the others."""
    if source.dataset is not None:
        return _data_set(source.dataset, source.data, weights, options, shard, screen)
    return _video(str(source.video), weights, options, screen) if shard.first else None


def _data_set(
    name: str, data: Path | None, weights: "LoadedNetwork", options: "EvalOptions", shard: "Shard", screen: "Screen"
) -> "Evaluation | None":
    from tmaseg.data import open_dataset
    from tmaseg.evaluation import check_submission, evaluate

    dataset = open_dataset(name, data)
    screen.warn(dataset.problems)
    with screen.progress(dataset.name) as tell:
        result = evaluate(dataset, weights, options, shard=shard, progress=tell)
    if result and options.submit and not options.limit:
        frames = [frame for clip in dataset.split(options.split) for frame in clip.frames if frame.wanted]
        problems = check_submission(dataset, frames, options.submit)
        if problems:
            raise OutputError(f"{options.submit}: a server would refuse it: {'; '.join(problems[:3])}")
        screen.say(f"submission: {len(frames)} files in {options.submit}")
    return result


def _video(source: str, weights: "LoadedNetwork", options: "EvalOptions", screen: "Screen") -> "VideoEvaluation":
    from tmaseg.evaluation import evaluate_video
    from tmaseg.video.source import open_source

    with open_source(source) as frames, screen.progress(Path(source).name) as tell:
        return evaluate_video(frames, weights, options, progress=tell)


def _without_memory(options: "EvalOptions", compare_memory: bool) -> "EvalOptions":
    """For weights that have none: one pass, since two would be the same."""
    if compare_memory:
        raise ConfigError("--compare-memory has nothing to compare: these weights have no memory; leave it out")
    return replace(options, memories=options.memories[:1])


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"--scales is {text!r}; write numbers with commas between, such as 0.5,1,1.5") from error
