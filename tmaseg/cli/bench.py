"""`tmaseg bench`: what a frame costs on this machine."""

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from tmaseg.cli import options as shared
from tmaseg.cli.values import listed, sides
from tmaseg.errors import ConfigError, OutputError

_SET_HELP = "Change a value of the configuration, such as memory_frames=8 or backbone=resnet50; repeatable."
Paper = Annotated[
    Literal["camvid", "cityscapes"] | None,
    typer.Option(help="Measure the authors' network for this data set instead, without weights."),
]
Changes = Annotated[list[str] | None, typer.Option("--set", help=_SET_HELP, metavar="NAME=VALUE", show_default=False)]
FrameSize = Annotated[str, typer.Option(help="Size of the network's input.", metavar="WIDTHxHEIGHT")]


def bench(
    weights: shared.Weights = "street",
    paper: Paper = None,
    changes: Changes = None,
    frame: FrameSize = "480x360",
    precisions: Annotated[str, typer.Option(help="Precisions to compare.", metavar="NAME,...")] = "fp32,bf16",
    compiled: Annotated[
        Literal["on", "off"], typer.Option("--compile", help="Measure streaming compiled (torch.compile), too.")
    ] = "off",
    video: Annotated[
        Path | None, typer.Option(help="Video whose stages are measured; the demo clip otherwise.", metavar="FILE")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw cost against T and against frame size.", metavar="FILE.png")
    ] = None,
    count_only: Annotated[
        bool, typer.Option("--count-only", help="Count multiply-adds and run nothing: any size, at once.")
    ] = False,
    repeats: Annotated[int, typer.Option(help="Rounds; the median counts.", metavar="N", min=1)] = 5,
    device: shared.Device = "auto",
    json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (the guard takes it)
) -> None:
    """Measure what a frame costs here: streaming against recomputing, precisions, and each stage of a run.

    clip: T + 1 frames recomputed; stream: one step with memory; alone: memory off. GMACs are multiply-adds: whole, and
    as the paper counts them (attention left out). Peak MB is of the process (on a GPU, of tensors there), working MB
    what of it was not held before.
    """
    from tmaseg.benchmark import BenchOptions, draw_curves, run_bench
    from tmaseg.cli.screen import Screen
    from tmaseg.cli.tables import show_bench, show_json

    if plot:
        _check_png(plot)
    options = BenchOptions(
        weights=weights,
        paper=paper,
        changes=_changes(changes or ()),
        size_hw=sides(frame, "--frame"),
        precisions=listed([precisions]),
        device=device,
        compiled=compiled == "on",
        video=video,
        repeats=repeats,
        curves=plot is not None,
        count_only=count_only,
    )
    screen = Screen(quiet=quiet)
    report = run_bench(options, lambda line: screen.say(f"measuring {line}"))
    if plot and report.curves:
        draw_curves(report.curves, report.headline, plot)
        screen.say(f"curves: {plot}")
    if json:
        show_json(report.to_dict())
    else:
        show_bench(report)


def _check_png(path: Path) -> None:
    """Before minutes of measuring."""
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--plot is {str(path)!r}; curves are written as PNG: give a name that ends in .png")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give --plot the name of a file in it")


def _changes(texts: Sequence[str]) -> dict[str, object]:
    """NAME=VALUE, where a value is a number, true, false or a word."""
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"--set is {text!r}; write NAME=VALUE, such as memory_frames=8")
        try:
            found[name] = json_format.loads(value)
        except ValueError:
            found[name] = value
    return found
