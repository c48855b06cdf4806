"""`tmaseg eval`: accuracy and temporal consistency on a data set, or flicker on any video."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmaseg.cli import options as shared
from tmaseg.cli.tables import show_data_set, show_json, show_video
from tmaseg.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from tmaseg.cli.screen import Screen
    from tmaseg.evaluation import EvalOptions, Evaluation, Shard, VideoEvaluation, Weights

_HELP = (
    "Data set: camvid, cityscapes, cityscapes256, kitti, kitti-step, vspw, folder, or a YAML file that describes one."
)
_WORST = 6

DataSet = Annotated[str | None, typer.Option(help=_HELP, metavar="NAME|FILE.yaml")]
Data = Annotated[
    Path | None, typer.Option(help="Its folder; else $CAMVID_DATASET and the like, else ./data/NAME.", metavar="DIR")
]
Video = Annotated[
    str | None,
    typer.Option(help="Measure flicker on a video, URL or folder of images; no ground truth.", metavar="SOURCE"),
]
CompareMemory = Annotated[
    bool, typer.Option("--compare-memory", help="With memory and without, side by side; always so for --video.")
]
Scales = Annotated[
    str, typer.Option(help="Sizes to see each frame at and average, such as 0.75,1,1.25.", metavar="FACTOR,...")
]
ScoreVoid = Annotated[
    bool, typer.Option("--score-void", help="Score void as a class, as the authors do: 12-class CamVid.")
]
Submit = Annotated[
    Path | None, typer.Option(help="Write files for a benchmark's server: cityscapes, kitti.", metavar="DIR")
]


def evaluate(
    dataset: DataSet = None,
    data: Data = None,
    video: Video = None,
    split: Annotated[str | None, typer.Option(help="Which split; the usual one is val.", metavar="NAME")] = None,
    weights: shared.Weights = "street",
    device: shared.Device = "auto",
    precision: shared.Precision = "auto",
    size: shared.Size = None,
    memory: shared.Memory = None,
    compare_memory: CompareMemory = False,
    window: shared.Window = None,
    stride: shared.Stride = None,
    key_frames: shared.KeyFrames = 1,
    scales: Scales = "1",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored frame.")] = False,
    limit: Annotated[int | None, typer.Option(help="Score at most this many frames.", metavar="N")] = None,
    batch: Annotated[int, typer.Option(help="Frames at once, where none remembers another.", metavar="N")] = 1,
    no_temporal: Annotated[bool, typer.Option("--no-temporal", help="Leave out VC, TC and flicker.")] = False,
    score_void: ScoreVoid = False,
    save: Annotated[Path | None, typer.Option(help="Write masks and error maps.", metavar="DIR")] = None,
    submit: Submit = None,
    report: Annotated[Path | None, typer.Option(help="Write a self-contained report.", metavar="FILE.html")] = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (the guard takes it)
) -> None:
    """Measure accuracy and temporal consistency on a data set, or flicker on any video: --dataset or --video.

    Under torchrun, sequences are shared out among the processes and their counts summed.
    """
    from tmaseg.cli.screen import Screen
    from tmaseg.evaluation import EvalOptions, Weights, open_shard
    from tmaseg.model.checkpoint import View

    if (dataset is None) == (video is None):
        raise typer.BadParameter("give either --dataset NAME or --video SOURCE")
    options = EvalOptions(
        split=split,
        memories=(memory, 0) if compare_memory or (video and memory != 0) else (memory,),
        view=View(size=size, window=window, stride=stride),
        scales=_scales(scales),
        flip=flip,
        limit=limit,
        batch=batch,
        key_frames=key_frames,
        temporal=not no_temporal,
        score_void=score_void,
        save=save,
        submit=submit,
        report=report,
        worst=_WORST if report else 0,
    )
    with open_shard() as shard:
        screen = Screen(quiet=quiet or not shard.first)
        ready = Weights.load(weights, device=shard.device(device), precision=precision)
        if not ready.net.config.memory_frames:
            options = _without_memory(options, compare_memory)
        result = _measure(dataset, data, video, ready, options, shard, screen)
    if result is not None:
        _tell(result, report, screen, json=json)


def _tell(result: "Evaluation | VideoEvaluation", report: Path | None, screen: "Screen", *, json: bool) -> None:
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
    dataset: str | None,
    data: Path | None,
    video: str | None,
    weights: "Weights",
    options: "EvalOptions",
    shard: "Shard",
    screen: "Screen",
) -> "Evaluation | VideoEvaluation | None":
    """What this process has to tell: the first one all, the others nothing."""
    if video is None:
        return _data_set(str(dataset), data, weights, options, shard, screen)
    return _video(video, weights, options, screen) if shard.first else None


def _data_set(
    name: str, data: Path | None, weights: "Weights", options: "EvalOptions", shard: "Shard", screen: "Screen"
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
        screen.say(f"submission: {len(frames)} files in {options.submit}, as a server takes them")
    return result


def _video(source: str, weights: "Weights", options: "EvalOptions", screen: "Screen") -> "VideoEvaluation":
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
