"""`tmaseg bench`: what a frame costs on this machine."""

from typing import Annotated

from tmaseg.cli.command import ConsoleOptions, Omit, Only
from tmaseg.cli.screen import Screen
from tmaseg.cli.tables import show_bench, show_json
from tmaseg.errors import OutputError
from tmaseg.options import BenchOptions, ModelOptions


def bench(
    model: Annotated[ModelOptions, Only("weights", "device")],
    options: BenchOptions,
    console: Annotated[ConsoleOptions, Omit("strict")],
) -> None:
    """Measure what a frame costs here: streaming against recomputing, precisions, and each stage of a run.

    clip: T + 1 frames recomputed; stream: one step with memory; alone: memory off. GMACs are multiply-adds, in all and
    as the paper counts them (without attention). Peak MB is of the process (on a GPU, of tensors there), working MB
    what of it was not held before.
    """
    if options.plot and options.plot.is_dir():  # known before minutes of measuring
        raise OutputError(f"{options.plot} is a folder; give --plot the name of a file in it")
    from tmaseg.benchmark import draw_curves, run_bench

    screen = Screen(quiet=console.quiet)
    report = run_bench(
        options,
        weights=model.weights,
        device=model.device,
        progress=lambda line: screen.say(f"measuring {line}"),
    )
    if options.plot and report.curves:
        draw_curves(report.curves, report.headline, options.plot)
        screen.say(f"curves: {options.plot}")
    if console.json:
        show_json(report.to_dict())
    else:
        show_bench(report)
