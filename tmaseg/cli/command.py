"""What makes a function a command: options from dataclasses, help in panels, errors as one line and an exit code."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from inspect import Parameter
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from tmaseg.errors import ConfigError, TmasegError
from tmaseg.options.option import option
from tmaseg.signals import Interrupted, StopRequest
from tmaseg.video.address import without_secrets

CONSOLE = "Console"
FAILED = 1
DAMAGED = 3
INTERRUPTED = 130
SMALLER = "give a smaller --size, --precision bf16, or --device cpu"
SMALLER_STEP = "give a smaller --batch or --crop, or --set accumulate=2 to split each step in two"

Command = Callable[..., None]

# Options --------------------------------------------------------------------------------------------------------------


class Omit:
    """Beside a dataclass in `Annotated`: these fields are no options of the command; they keep their defaults."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)


class Only:
    """Beside a dataclass in `Annotated`: no other fields than these are options of the command."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)


@dataclass(frozen=True, kw_only=True)
class ConsoleOptions:
    """What is printed, and where."""

    strict: bool = option(CONSOLE, "Exit with 3 if the input was damaged or incomplete.", default=False)
    json: bool = option(CONSOLE, "Print one JSON object on standard output.", default=False)
    quiet: bool = option(CONSOLE, "Print errors and results only.", None, "--quiet", "-q", default=False)
    debug: bool = option(CONSOLE, "Print a traceback with an error.", default=False)


def with_options(command: Command) -> Command:
    """A command whose parameters may be dataclasses: each field made by `option` becomes an option of the command line.

    One of type `tuple[T, ...]` may be repeated and takes values with commas between; where T is a Literal, other
    values are wrong usage; float is converted. The command gets the objects that are built.
    """
    parameters: list[Parameter] = []
    groups: dict[str, tuple[Any, list[_Option]]] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        is_annotated = get_origin(parameter.annotation) is Annotated
        kind, *notes = get_args(parameter.annotation) if is_annotated else [parameter.annotation]
        if is_dataclass(kind):
            options = _options_of(kind, notes)
            groups[parameter.name] = (kind, options)
            parameters += [each.parameter for each in options]
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, (kind, options) in groups.items():
            values[name] = kind(**{each.name: each.value(values.pop(each.name)) for each in options})
        command(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__doc__ = "\n\n".join(" ".join(each.split()) for each in inspect.cleandoc(command.__doc__ or "").split("\n\n"))
    return run


def _options_of(kind: Any, notes: list[Any]) -> "list[_Option]":
    """The fields of a dataclass that are options of a command, where `notes` stand beside it."""
    hints = get_type_hints(kind)
    chosen = {field.name: _Option(field, hints[field.name]) for field in fields(kind) if "flags" in field.metadata}
    for note in notes:
        assert note.names <= chosen.keys(), note.names
        chosen = {name: each for name, each in chosen.items() if (name in note.names) == isinstance(note, Only)}
    return list(chosen.values())


class _Option:
    """A field of a dataclass as an option of the command line."""

    def __init__(self, field: Field[Any], kind: Any) -> None:
        about = dict(field.metadata)
        flags = about.pop("flags") or (f"--{field.name.replace('_', '-')}",)
        self.name, self._flag = field.name, flags[0]
        default: Any = Parameter.empty if field.default is MISSING else field.default
        tuples = [each for each in (kind, *get_args(kind)) if get_origin(each) is tuple]
        self._element = get_args(tuples[0])[0] if tuples else None  # T of a field `tuple[T, ...]`, with or without None
        if tuples:
            kind, default = list[str] | None, default and list(map(str, default))
        annotation = Annotated[kind, typer.Option(*flags, **about)]
        self.parameter = Parameter(self.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        """As Typer takes it."""

    def value(self, given: Any) -> Any:
        """The field's value from what Typer gives. Raises typer.BadParameter, and ConfigError for what is no number."""
        if self._element is None or given is None:
            return given
        parts = tuple(dict.fromkeys(part.strip() for value in given for part in value.split(",") if part.strip()))
        if self._element is float:
            try:
                return tuple(map(float, parts))
            except ValueError as error:
                text = f"{self._flag} is {','.join(given)!r}; write numbers with commas between, such as 0.5,1,1.5"
                raise ConfigError(text) from error
        allowed = get_args(self._element) if get_origin(self._element) is Literal else parts
        for part in parts:
            if part not in allowed:
                raise typer.BadParameter(f"{part!r} is not one of {', '.join(allowed)}", param_hint=self._flag)
        return parts


# Help -----------------------------------------------------------------------------------------------------------------


class _PanelHelp:
    """`--help` in Rich's panels; wrong usage stays one plain line, with the user's text as it is."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        from typer import rich_utils  # a fifth of a second, which other calls need not pay

        for each in self.get_params(ctx):  # type: ignore[attr-defined]
            if isinstance(each, TyperArgument):  # its metavar says it
                each.display_type_rich = lambda ctx: None  # type: ignore[method-assign]  # noqa: ARG005
            elif each.is_flag:
                each.metavar = ""
        rich_utils.rich_format_help(obj=self, ctx=ctx, markup_mode="rich")  # type: ignore[arg-type]

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        option.rich_help_panel = CONSOLE
        return option


class PanelCommand(_PanelHelp, TyperCommand):
    """A command with help in panels."""


class PanelGroup(_PanelHelp, TyperGroup):
    """A group of commands with help in panels."""


# Errors ---------------------------------------------------------------------------------------------------------------


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
            say_error(error, smaller=smaller)
            raise typer.Exit(FAILED) from error

    return run


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
