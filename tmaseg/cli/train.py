"""`tmaseg train`: weights from data sets, by a recipe."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmaseg.cli import options as shared
from tmaseg.cli.guard import INTERRUPTED
from tmaseg.signals import StopRequest

if TYPE_CHECKING:
    from tmaseg.training import Job, Outcome, Recipe

_DATASET = "Data set: camvid, cityscapes, cityscapes256, kitti, kitti-step, vspw, folder, or a YAML file; repeatable."
_PRESET = (
    "Recipe: paper-camvid, paper-cityscapes, finetune, scratch, street, camvid, or a .toml file. "
    "Without one: finetune, or scratch with --init none."
)

_REPEAT_SECONDS = 2.0  # torchrun passes on what its children have got from the terminal already

Dataset = Annotated[list[str] | None, typer.Option(help=_DATASET, metavar="NAME|FILE.yaml", show_default=False)]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of each data set but YAML files, in order; else $CAMVID_DATASET and the like, else ./data/NAME.",
        metavar="DIR",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder of the run.", metavar="DIR", show_default=False)
]
Init = Annotated[
    str | None,
    typer.Option(help="Begin from weights, from imagenet, or from none.", metavar="WEIGHTS|imagenet|none"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any value of the recipe, such as lr=0.01; repeatable.",
        metavar="NAME=VALUE",
        show_default=False,
    ),
]
ShowPreset = Annotated[
    bool, typer.Option("--show-preset", help="Print the recipe, all values as they would be used, and exit.")
]
Size = Annotated[
    int | None, typer.Option(help="Short side at which pictures are shown; 0: their own.", metavar="PIXELS")
]
Labels = Annotated[
    str | None, typer.Option(help="Classes of the network; those of the first data set.", metavar="NAME|FILE")
]
Precision = Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16, of the convolutions.", metavar="NAME")]


def train(
    dataset: Dataset = None,
    data: Data = None,
    output: Output = None,
    init: Init = None,
    preset: Annotated[str | None, typer.Option(help=_PRESET, metavar="NAME|FILE.toml")] = None,
    settings: Settings = None,
    show_preset: ShowPreset = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder, exactly.")] = False,
    steps: Annotated[int | None, typer.Option(help="Length of the run.", metavar="N")] = None,
    minutes: Annotated[float | None, typer.Option(help="Length of the run by time instead.", metavar="MINUTES")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step, over all processes.", metavar="N")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.", metavar="RATE")] = None,
    crop: Annotated[str | None, typer.Option(help="Size of crops.", metavar="WIDTHxHEIGHT")] = None,
    size: Size = None,
    labels: Labels = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.", metavar="N")] = None,
    threads: Annotated[int | None, typer.Option(help="That make batches ahead.", metavar="N")] = None,
    device: shared.Device = "auto",
    precision: Precision = None,
    compile_: Annotated[bool, typer.Option("--compile", help="Compile the network first.")] = False,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (the guard takes it)
) -> None:
    """Train a network on one or several data sets; weights, log and pictures go to the run's folder.

    Ctrl-C writes the run down; --resume goes on. Under torchrun the processes share each step's crops.
    """
    from tmaseg.training import to_toml

    flags: dict[str, object] = {
        "steps": steps,
        "minutes": minutes,
        "batch": batch,
        "lr": lr,
        "crop": crop,
        "size": size,
        "labels": labels,
    }
    flags |= {"seed": seed, "threads": threads, "precision": precision, "compile": compile_ or None, "init": init}
    given = (*_settings(flags), *(settings or []))
    if show_preset:
        typer.echo(to_toml(_recipe(preset, init, given)), nl=False)
        return
    if output is None:
        raise typer.BadParameter("say where the run is to be kept: -o DIR")
    job = _job(output, dataset or [], data or [], device, given, (preset, init, resume))
    stop = StopRequest(repeat_seconds=_REPEAT_SECONDS)
    outcome = _run(job, stop, quiet=quiet)
    first = os.environ.get("RANK", "0") == "0"
    if json and first:
        typer.echo(_json(outcome))
    if outcome.interrupted:
        raise typer.Exit(stop.exit_code or INTERRUPTED)  # another process may have got the signal


def _run(job: "Job", stop: StopRequest, *, quiet: bool) -> "Outcome":
    from tmaseg.cli.screen import duration
    from tmaseg.cli.watch import Watch
    from tmaseg.training import train

    first = os.environ.get("RANK", "0") == "0"
    with Watch(quiet=quiet or not first) as watch, stop:
        outcome = train(job, watch, stop=stop)
    done = f"{outcome.steps} steps in {duration(outcome.seconds)}"
    if outcome.interrupted:
        watch.say(f"stopped after {done}; go on with: tmaseg train --resume -o {job.output}")
    else:
        watch.say(f"{done}: try it with: tmaseg run VIDEO -o OUT.mp4 --weights {job.best}")
    return outcome


def _placed(names: list[str], folders: list[Path]) -> list[tuple[str, Path | None]]:
    """Each data set with its folder; YAML files may go without one."""
    from tmaseg.data import is_described

    needing = [name for name in names if not is_described(name)]
    if folders and len(folders) not in (len(names), len(needing)):
        raise typer.BadParameter(
            f"{len(names)} --dataset but {len(folders)} --data: give one folder for each, or for each that is no YAML "
            "file, or none"
        )
    left = iter(folders)
    return [(name, next(left, None) if name in needing or len(folders) == len(names) else None) for name in names]


def _job(
    output: Path,
    names: list[str],
    folders: list[Path],
    device: str,
    settings: tuple[str, ...],
    start: tuple[str | None, str | None, bool],
) -> "Job":
    """`start`: preset, init and whether to go on."""
    from tmaseg.files import check_not_read
    from tmaseg.training import Job, Source, check_shares, resumed

    preset, init, resume = start
    sources = tuple(Source(name, folder) for name, folder in _placed(names, folders))
    if resume:
        if preset:
            raise typer.BadParameter("--resume goes on with the run's own recipe: leave out --preset")
        return resumed(output, settings, sources=sources, device=device)
    if not sources:
        raise typer.BadParameter("say what to train on: --dataset NAME --data DIR")
    check_not_read([output / "recipe.toml"], [Path(preset or "")])
    recipe = _recipe(preset, init, settings)
    check_shares(settings, sources)
    return Job(recipe, sources, output, device)


def _recipe(preset: str | None, init: str | None, settings: tuple[str, ...]) -> "Recipe":
    from tmaseg.training import load_recipe, override

    if preset is None and init == "imagenet":
        settings = ("stem=plain", *settings)  # the stem that ImageNet weights exist for
    return override(load_recipe(preset or ("scratch" if init in ("none", "imagenet") else "finetune")), settings)


def _settings(flags: dict[str, object]) -> list[str]:
    """Flags that were given, as settings."""
    return [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in flags.items()
        if value is not None
    ]


def _json(outcome: "Outcome") -> str:
    import json

    from tmaseg.evaluation.result import plain

    scores = outcome.scores if outcome.scores and outcome.scores.miou else None  # without a val split: no figures
    return json.dumps(
        {
            "output": str(outcome.output),
            "steps": outcome.steps,
            "seconds": round(outcome.seconds, 1),
            "interrupted": outcome.interrupted,
            "scored_step": scores.step if scores else None,
            "miou": {name: plain(value) for name, value in scores.miou.items()} if scores else None,
            "best_miou": outcome.best,
        }
    )
