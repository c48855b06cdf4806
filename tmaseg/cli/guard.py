"""What surrounds every command: errors become one line and an exit code."""

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from tmaseg.errors import TmasegError
from tmaseg.signals import Interrupted, StopRequest
from tmaseg.video.address import without_secrets

FAILED = 1
DAMAGED = 3
INTERRUPTED = 130
SMALLER = "give a smaller --size, --precision bf16, or --device cpu"
SMALLER_STEP = "give a smaller --batch or --crop, or --set accumulate=2 to split each step in two"


def guarded(command: Callable[..., None], *, smaller: str = SMALLER) -> Callable[..., None]:
    """The command, with every error as one line on standard error; with `--debug`, as a traceback.

    `smaller` is the remedy when memory runs out.
    """

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            with StopRequest(at_once=True):
                command(*args, **options)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(error.exit_code if isinstance(error, Interrupted) else INTERRUPTED) from None
        except Exception as error:
            if options.get("debug"):
                raise
            fail(error, smaller=smaller)

    return run


def fail(error: Exception, *, smaller: str = SMALLER) -> NoReturn:
    """Print the error and exit with 1; `smaller` is the remedy when memory runs out."""
    say_error(error, smaller=smaller)
    raise typer.Exit(FAILED) from error


def say_error(error: Exception, *, smaller: str = SMALLER) -> None:
    """`error: ...`, on one line of standard error."""
    typer.echo(f"error: {without_secrets(' '.join(_explain(error, smaller).split()))}", err=True)


def finish(*, damaged: bool, interrupted: int, failed: bool = False, strict: bool = False) -> None:
    """Exit with the code of the outcome; returns when all is well. `interrupted`: the exit code of a signal, or 0."""
    if interrupted:
        raise typer.Exit(interrupted)
    if failed:
        raise typer.Exit(FAILED)
    if damaged and strict:
        raise typer.Exit(DAMAGED)


def _explain(error: Exception, smaller: str) -> str:
    text = str(error)
    if isinstance(error, TmasegError):
        return text
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text.lower():
        return f"out of memory; {smaller}"
    first = text.splitlines()[0] if text else ""
    return f"{type(error).__name__}: {first} (a fault of tmaseg itself; run it again with --debug and report that)"
