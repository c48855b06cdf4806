"""`tmaseg run`: video in, video out."""

from glob import has_magic
from typing import Annotated

import typer

from tmaseg.cli.command import ConsoleOptions, finish
from tmaseg.options import BatchOptions, InputOptions, ModelOptions, OutputOptions, PaintOptions, RunOptions


def run(
    input: InputOptions,  # noqa: A002
    model: ModelOptions,
    paint: PaintOptions,
    output: OutputOptions,
    sharing: BatchOptions,
    console: ConsoleOptions,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Videos, streams, camera:0, screen:, images, folders, patterns; - is stdin.",
            show_default=False,
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Take the clip that ships with tmaseg as SOURCE.", rich_help_panel="Input")
    ] = False,
) -> None:
    """Segment videos: paint the classes over them.

    The output has the input's size, time stamps and sound. It appears under its name when it is complete. Several
    sources get an output each, in the folder OUT.
    """
    if bool(sources) == demo:
        raise typer.BadParameter("give a SOURCE, or --demo for the clip that ships with it", param_hint="SOURCE")
    if not output.wanted:
        text = "nothing to write: give -o OUT, --masks DIR, --stats FILE, --events FILE or --preview PORT"
        raise typer.BadParameter(text, param_hint="--output")
    if output.events == "-" and console.json:
        raise typer.BadParameter("--events - and --json both take standard output: give one a file")
    if output.preview and len(sources or ()) > 1:
        raise typer.BadParameter("--preview shows one source: give one, or leave it out")
    from tmaseg.video import DEMO, check_exists

    if sources and len(sources) == 1 and not has_magic(sources[0]):  # of several, one that is missing stops no other
        check_exists(sources[0])
    model.weights_info()
    from tmaseg.cli.batch import Batch
    from tmaseg.cli.screen import Screen
    from tmaseg.pipeline.jobs import plan_jobs

    input.read_options()  # wrong values are reported once, not for each source
    output.write_options(input)
    options = RunOptions(input=input, model=model, paint=paint, output=output)
    jobs = plan_jobs(sources or [str(DEMO)], options, recursive=sharing.recursive)
    batch = Batch(jobs, sharing, Screen(quiet=console.quiet))
    batch.run()
    if console.json:
        batch.print_json()
    finish(damaged=batch.damaged, interrupted=batch.exit_code, failed=bool(batch.failed), strict=console.strict)
