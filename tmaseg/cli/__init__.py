"""The command line: one thin module a command. It parses, makes one library call, prints, and sets the exit code."""

import os
import sys
import threading
import warnings
from typing import Annotated, Any

import typer

from tmaseg.cli.bench import bench
from tmaseg.cli.command import CONSOLE, SMALLER, SMALLER_STEP, PanelCommand, PanelGroup, guarded, with_options
from tmaseg.cli.convert import convert
from tmaseg.cli.data import check
from tmaseg.cli.eval import evaluate
from tmaseg.cli.export import export
from tmaseg.cli.frames import frames
from tmaseg.cli.info import info
from tmaseg.cli.run import run
from tmaseg.cli.train import train
from tmaseg.files import keep_freed_memory
from tmaseg.signals import DECODE_THREAD


def _group(help: str, **about: Any) -> typer.Typer:  # noqa: A002
    return typer.Typer(
        cls=PanelGroup,
        help=help,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        **about,
    )


app = _group(
    "Video semantic segmentation: a class for every pixel of every frame, with a memory of the frames before.",
    name="tmaseg",
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 damaged with --strict, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_sets = _group("Check data sets.")
for group, name, command in (
    (app, "run", run),
    (app, "frames", frames),
    (app, "eval", evaluate),
    (app, "bench", bench),
    (app, "train", train),
    (app, "convert", convert),
    (app, "export", export),
    (app, "info", info),
    (data_sets, "check", check),
):
    smaller = SMALLER_STEP if command is train else SMALLER
    group.command(name, cls=PanelCommand)(guarded(with_options(command), smaller=smaller))
app.add_typer(data_sets, name="data")


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
    keep_freed_memory()
    try:
        app()
    except SystemExit as end:
        if any(thread.name == DECODE_THREAD for thread in threading.enumerate()):
            # It waits inside FFmpeg for a silent camera, and would return into an interpreter that has been taken down.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else 0)
        raise
