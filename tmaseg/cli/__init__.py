"""The command line: one thin module a command. It parses, makes one library call, prints, and sets the exit code."""

import os
import sys
import threading
import warnings
from typing import Annotated

import typer

from tmaseg.cli import data
from tmaseg.cli.bench import bench
from tmaseg.cli.command import CONSOLE, SMALLER, SMALLER_STEP, Command, PanelCommand, PanelGroup, guarded, with_options
from tmaseg.cli.convert import convert
from tmaseg.cli.eval import evaluate
from tmaseg.cli.export import export
from tmaseg.cli.frames import frames
from tmaseg.cli.info import info
from tmaseg.cli.run import run
from tmaseg.cli.train import train
from tmaseg.signals import DECODE_THREAD

app = typer.Typer(
    name="tmaseg",
    cls=PanelGroup,
    help="Video semantic segmentation: a class for every pixel of every frame, with a memory of the frames before.",
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 damaged with --strict, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: dict[str, Command] = {
    "run": run,
    "frames": frames,
    "eval": evaluate,
    "bench": bench,
    "train": train,
    "convert": convert,
    "export": export,
    "info": info,
}
for name, command in _COMMANDS.items():
    smaller = SMALLER_STEP if command is train else SMALLER
    app.command(name, cls=PanelCommand)(guarded(with_options(command), smaller=smaller))
app.add_typer(data.app, name="data")


def _show_version(wanted: bool) -> None:
    if wanted:
        import tmaseg

        typer.echo(f"tmaseg {tmaseg.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print the version and exit.",
            rich_help_panel=CONSOLE,
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """The program `tmaseg`. What libraries say of a file on standard error is left out: tmaseg says what matters."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        app()
    except SystemExit as end:
        if any(thread.name == DECODE_THREAD for thread in threading.enumerate()):
            # It waits inside FFmpeg for a silent camera, and would return into an interpreter that has been taken down.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else 0)
        raise
