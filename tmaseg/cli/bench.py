"""`tmaseg bench`: what a frame costs on this machine."""

import json as json_format
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tmaseg.cli.options import ConsoleOptions, Omit, Only
from tmaseg.errors import ConfigError, OutputError
from tmaseg.pipeline.options import ModelOptions


def _benchmark(*flags: str, **about: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Benchmark", **about)


def parse_size(text: str) -> tuple[int, int]:
    """(H, W) of a size such as 480x360. Raises typer.BadParameter."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise typer.BadParameter(f"{text!r}; write WIDTHxHEIGHT, such as 480x360", param_hint="--frame")
    return int(height), int(width)


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured."""

    paper: Annotated[
        Literal["camvid", "cityscapes"] | None,
        _benchmark(help="Measure the authors' network for this data set instead, without weights."),
    ] = None
    changes: Annotated[
        list[str] | None,
        _benchmark(
            "--set",
            help="Value of the network's configuration, such as memory_frames=8; repeatable.",
            metavar="NAME=VALUE",
            show_default=False,
        ),
    ] = None
    frame: Annotated[str, _benchmark(help="Size of the network's input.", metavar="WIDTHxHEIGHT")] = "480x360"
    precisions: Annotated[
        tuple[str, ...], _benchmark("--precisions", help="Precisions to compare.", metavar="NAME,...")
    ] = ("fp32", "bf16")
    compiled: Annotated[
        Literal["on", "off"], _benchmark("--compile", help="Measure the compiled network (torch.compile) too.")
    ] = "off"
    video: Annotated[
        Path | None, _benchmark(help="Video whose stages are measured; the demo clip by default.", metavar="FILE")
    ] = None
    plot: Annotated[
        Path | None, _benchmark(help="Plot of cost against T and against frame size.", metavar="FILE.png")
    ] = None
    count_only: Annotated[bool, _benchmark("--count-only", help="Count multiply-adds without running anything.")] = (
        False
    )
    repeats: Annotated[int, _benchmark(help="Number of rounds; medians are reported.", metavar="N", min=1)] = 5


def bench(
    model: Annotated[ModelOptions, Only("weights", "device")],
    benchmark: BenchmarkOptions,
    console: Annotated[ConsoleOptions, Omit("strict")],
) -> None:
    """Measure what a frame costs here: streaming against recomputing, precisions, and each stage of a run.

    clip: T + 1 frames recomputed; stream: one step with memory; alone: memory off. GMACs are multiply-adds, in all and
    as the paper counts them (without attention). Peak MB is of the process (on a GPU, of tensors there), working MB
    what of it was not held before.
    """
    from tmaseg.benchmark import BenchOptions, draw_curves, run_bench
    from tmaseg.cli.screen import Screen
    from tmaseg.cli.tables import show_bench, show_json

    plot = benchmark.plot
    if plot:
        _check_png(plot)
    options = BenchOptions(
        weights=model.weights,
        paper=benchmark.paper,
        changes=_changes(benchmark.changes or ()),
        size_hw=parse_size(benchmark.frame),
        precisions=benchmark.precisions,
        device=model.device,
        compiled=benchmark.compiled == "on",
        video=benchmark.video,
        repeats=benchmark.repeats,
        curves=benchmark.plot is not None,
        count_only=benchmark.count_only,
    )
    screen = Screen(quiet=console.quiet)
    report = run_bench(options, lambda line: screen.say(f"measuring {line}"))
    if plot and report.curves:
        draw_curves(report.curves, report.headline, plot)
        screen.say(f"curves: {plot}")
    if console.json:
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
