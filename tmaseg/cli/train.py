"""`tmaseg train`: weights from data sets, by a recipe."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmaseg.cli.command import INTERRUPTED, ConsoleOptions, Omit, Only
from tmaseg.cli.screen import Screen, duration
from tmaseg.options import ModelOptions
from tmaseg.options.option import option
from tmaseg.signals import StopRequest

if TYPE_CHECKING:
    from tmaseg.training import Recipe, TrainJob, TrainResult

_REPEAT_SECONDS = 2.0  # torchrun repeats the signal that the terminal has sent to its processes

_RUN, _SETTINGS = "Run", "Settings of the recipe"


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """On what, from what, and where to."""

    dataset: list[str] | None = option(
        _RUN,
        "Data set: camvid, cityscapes, cityscapes256, kitti, kitti-step, vspw, folder, or a YAML file; repeatable.",
        "NAME|FILE.yaml",
    )
    data: list[Path] | None = option(
        _RUN,
        "Folder of each data set that is no YAML file, in order; else $CAMVID_DATASET and the like, else ./data/NAME.",
        "DIR",
    )
    output: Path | None = option(_RUN, "Folder of the run.", "DIR", "--output", "-o")
    init: str | None = option(
        _RUN, "Initial weights: a name or file, imagenet for the backbone's, or none.", "WEIGHTS|imagenet|none"
    )
    preset: str | None = option(
        _RUN,
        "Recipe: paper-camvid, paper-cityscapes, finetune, scratch, street, camvid, or a .toml file; finetune by "
        "default, or scratch with --init none.",
        "NAME|FILE.toml",
    )
    show_preset: bool = option(_RUN, "Print the recipe with all its values and exit.", default=False)
    resume: bool = option(_RUN, "Continue the run in the folder.", default=False)


@dataclass(frozen=True, kw_only=True)
class RecipeSettings:
    """Values of the recipe with an option of their own, by the recipe's names."""

    steps: int | None = option(_SETTINGS, "Number of optimizer steps.", "N")
    minutes: float | None = option(_SETTINGS, "Duration of the run, instead of --steps.", "MINUTES")
    batch: int | None = option(_SETTINGS, "Crops in a step, over all processes.", "N")
    lr: float | None = option(_SETTINGS, "Peak learning rate.", "RATE")
    crop: str | None = option(_SETTINGS, "Size of crops.", "WIDTHxHEIGHT")
    size: int | None = option(_SETTINGS, "Short side of pictures; 0 keeps theirs.", "PIXELS")
    labels: str | None = option(_SETTINGS, "Label set of the network; the first data set's by default.", "NAME|FILE")
    seed: int | None = option(_SETTINGS, "Random seed.", "N")
    threads: int | None = option(_SETTINGS, "Data-loading threads; processes for a GPU.", "N")
    precision: str | None = option(_SETTINGS, "Arithmetic of convolutions: auto, fp32, bf16 or fp16.", "NAME")
    compile: bool = option(_SETTINGS, "Compile the network (torch.compile).", default=False)
    settings: list[str] | None = option(
        _SETTINGS, "Any value of the recipe, such as lr=0.01; repeatable.", "NAME=VALUE", "--set"
    )

    def given(self, init: str | None) -> tuple[str, ...]:
        """The values that were given, as NAME=VALUE."""
        flags: dict[str, object] = {**vars(self), "init": init, "compile": self.compile or None, "settings": None}
        named = (
            f"{name}={str(value).lower() if isinstance(value, bool) else value}"
            for name, value in flags.items()
            if value is not None
        )
        return (*named, *(self.settings or ()))


def train(
    run: TrainingRun,
    settings: RecipeSettings,
    model: Annotated[ModelOptions, Only("device")],
    console: Annotated[ConsoleOptions, Omit("strict")],
) -> None:
    """Train a network on one or several data sets; weights, log and pictures go to the run's folder.

    Ctrl-C saves the run; --resume continues it. Under torchrun the processes divide the crops of each step.
    """
    from tmaseg.training import to_toml

    given = settings.given(run.init)
    if run.show_preset:
        typer.echo(to_toml(_recipe(run.preset, run.init, given)), nl=False)
        return
    if run.output is None:
        raise typer.BadParameter("give the folder of the run: -o DIR")
    stop = StopRequest(repeat_seconds=_REPEAT_SECONDS)
    outcome = _train(_job(run, run.output, given, model.device), stop, quiet=console.quiet)
    if console.json and os.environ.get("RANK", "0") == "0":
        typer.echo(_json(outcome))
    if outcome.interrupted:
        raise typer.Exit(stop.exit_code or INTERRUPTED)  # another process may have got the signal


def _train(job: "TrainJob", stop: StopRequest, *, quiet: bool) -> "TrainResult":
    from tmaseg.cli.training_screen import TrainingScreen
    from tmaseg.training import train

    screen = Screen(quiet=quiet or os.environ.get("RANK", "0") != "0")
    with screen.status() as show, stop:
        outcome = train(job, TrainingScreen(screen, show), stop=stop)
    done = f"{outcome.steps} steps in {duration(outcome.seconds)}"
    if outcome.interrupted:
        screen.say(f"stopped after {done}; go on with: tmaseg train --resume -o {job.output}")
    else:
        screen.say(f"{done}: try it with: tmaseg run VIDEO -o OUT.mp4 --weights {job.best}")
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


def _job(run: TrainingRun, output: Path, settings: tuple[str, ...], device: str) -> "TrainJob":
    from tmaseg.files import check_not_read
    from tmaseg.training import Source, TrainJob, check_mixture, resumed

    sources = tuple(Source(name, folder) for name, folder in _placed(run.dataset or [], run.data or []))
    if run.resume:
        if run.preset:
            raise typer.BadParameter("--resume continues with the run's own recipe: leave out --preset")
        return resumed(output, settings, sources=sources, device=device)
    if not sources:
        raise typer.BadParameter("give a data set to train on: --dataset NAME --data DIR")
    check_not_read([output / "recipe.toml"], [Path(run.preset or "")])
    recipe = _recipe(run.preset, run.init, settings)
    check_mixture(settings, sources)
    return TrainJob(recipe, sources, output, device)


def _recipe(preset: str | None, init: str | None, settings: tuple[str, ...]) -> "Recipe":
    from tmaseg.training import load_recipe, override

    if preset is None and init == "imagenet":
        settings = ("stem=plain", *settings)  # the stem that ImageNet weights exist for
    return override(load_recipe(preset or ("scratch" if init in ("none", "imagenet") else "finetune")), settings)


def _json(outcome: "TrainResult") -> str:
    from tmaseg.evaluation.scores import none_if_nan

    scores = outcome.scores if outcome.scores and outcome.scores.miou else None  # without a val split: no figures
    return json.dumps(
        {
            "output": str(outcome.output),
            "steps": outcome.steps,
            "seconds": round(outcome.seconds, 1),
            "interrupted": outcome.interrupted,
            "scored_step": scores.step if scores else None,
            "miou": {name: none_if_nan(value) for name, value in scores.miou.items()} if scores else None,
            "best_miou": outcome.best,
        }
    )
