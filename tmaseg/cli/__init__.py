"""The command line: one thin module a command. It parses, makes one library call, prints, and sets the exit code."""

from typing import Annotated

import typer

from tmaseg.cli import data
from tmaseg.cli.bench import bench
from tmaseg.cli.convert import convert
from tmaseg.cli.eval import evaluate
from tmaseg.cli.frames import frames
from tmaseg.cli.guard import SMALLER_STEP, guarded
from tmaseg.cli.info import info
from tmaseg.cli.run import run
from tmaseg.cli.train import train

# Plain help: the coloured one costs a fifth of a second at every start.
app = typer.Typer(
    name="tmaseg",
    help="Video semantic segmentation: a class for every pixel of every frame, with a memory of the frames before.",
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 damaged with --strict, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(guarded(run))
app.command()(guarded(frames))
app.command()(guarded(train, smaller=SMALLER_STEP))
for command in (convert, info, bench):
    app.command()(guarded(command))
app.command("eval")(guarded(evaluate))
app.add_typer(data.app, name="data")


def _show_version(asked: bool) -> None:
    if asked:
        import tmaseg

        typer.echo(f"tmaseg {tmaseg.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The program `tmaseg`."""
    app()
