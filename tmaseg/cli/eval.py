"""`tmaseg eval`: accuracy and temporal consistency on a data set, or flicker on any video."""

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmaseg.cli.command import ConsoleOptions, Omit, Only
from tmaseg.cli.screen import Screen
from tmaseg.cli.tables import show_data_set, show_json, show_video
from tmaseg.errors import ConfigError
from tmaseg.options import BatchOptions, EvalOptions, ModelOptions
from tmaseg.options.option import INPUT, option
from tmaseg.video import check_exists

if TYPE_CHECKING:
    from tmaseg.evaluation import Evaluation, VideoEvaluation


@dataclass(frozen=True, kw_only=True)
class EvalInput:
    """What is evaluated on. Raises typer.BadParameter unless it is either a data set or a video."""

    dataset: str | None = option(
        INPUT,
        "Data set: camvid, cityscapes, cityscapes256, kitti, kitti-step, vspw, folder, or a YAML file.",
        "NAME|FILE.yaml",
    )
    data: Path | None = option(
        INPUT, "Folder of the data set; else $CAMVID_DATASET and the like, else ./data/NAME.", "DIR"
    )
    video: str | None = option(INPUT, "Measure flicker on a video, URL or folder of images.", "SOURCE")

    def __post_init__(self) -> None:
        if (self.dataset is None) == (self.video is None):
            raise typer.BadParameter("give either --dataset NAME or --video SOURCE")


def evaluate(
    *,
    source: EvalInput,
    model: Annotated[ModelOptions, Omit("compile", "smooth")],
    compare_memory: Annotated[
        bool,
        typer.Option(
            "--compare-memory",
            help="Measure with memory and without; always so with --video.",
            rich_help_panel="Measurement",
        ),
    ] = False,
    options: EvalOptions,
    sharing: Annotated[BatchOptions, Only("devices")],
    console: Annotated[ConsoleOptions, Omit("strict")],
) -> None:
    """Measure accuracy and temporal consistency on a data set, or flicker on any video: --dataset or --video.

    With --devices, or under torchrun, the sequences are divided among processes and their counts summed.
    """
    if source.video is not None:
        check_exists(source.video)
    info = model.weights_info()
    if compare_memory and not info.config.memory_frames:
        raise ConfigError("--compare-memory has nothing to compare: these weights have no memory; leave it out")
    both = info.config.memory_frames and (compare_memory or (source.video and model.memory_frames != 0))
    memories = (model.memory_frames, 0) if both else (model.memory_frames,)
    options = replace(options, memories=memories, geometry=model.geometry, key_frames=model.key_frames)
    from tmaseg.data import open_dataset
    from tmaseg.video.source import open_source

    first = os.environ.get("RANK", "0") == "0"
    screen = Screen(quiet=console.quiet or not first)
    result: Evaluation | VideoEvaluation | None = None
    with ExitStack() as stack:
        dataset = open_dataset(source.dataset, source.data) if source.dataset is not None else None
        video = stack.enter_context(open_source(source.video)) if source.video is not None and first else None
        if sharing.devices:
            model = replace(model, device=_device_of_process(sharing.devices, shared=dataset is not None))
        from tmaseg import evaluation
        from tmaseg.inference.segmenter import open_network

        shard = stack.enter_context(evaluation.open_shard())
        weights = open_network(model.weights, device=shard.device(model.device), precision=model.precision)
        if dataset is not None:
            screen.warn(dataset.problems)
            with screen.progress(dataset.name) as progress:
                result = evaluation.evaluate(dataset, weights, options, shard=shard, progress=progress)
        elif video is not None:
            with screen.progress(Path(str(source.video)).name) as progress:
                result = evaluation.evaluate_video(video, weights, options, progress=progress)
    if result is not None:
        _show(result, options, screen, json=console.json)


def _device_of_process(names: tuple[str, ...], *, shared: bool) -> str:
    """This process's device. Where there are several, the program is replaced by torchrun, with a process for each."""
    from tmaseg.pipeline.workers import choose_devices

    devices = choose_devices(names)
    if "RANK" not in os.environ and shared and len(devices) > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(devices))))
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={len(devices)}"]
        os.execv(sys.executable, [*torchrun, "-m", "tmaseg", *sys.argv[1:]])
    return devices[int(os.environ.get("LOCAL_RANK", "0"))]


def _show(result: "Evaluation | VideoEvaluation", options: EvalOptions, screen: Screen, *, json: bool) -> None:
    from tmaseg.evaluation import VideoEvaluation, write_report

    if options.submit and not isinstance(result, VideoEvaluation):
        screen.say(f"submission: {len(list(options.submit.glob('*.png')))} files in {options.submit}")
    for note in result.notes:
        screen.say(f"note: {note}")
    if options.report:
        write_report(result, options.report)
        screen.say(f"report: {options.report}")
    if json:
        show_json(result.to_dict())
    elif isinstance(result, VideoEvaluation):
        show_video(result)
    else:
        show_data_set(result)
