"""How dataclasses of options become the options of a command, and the options that all commands share."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from inspect import Parameter
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from tmaseg.errors import ConfigError

CONSOLE = "Console"

Command = Callable[..., None]


class Omit:
    """Beside a dataclass in `Annotated`: these fields are no options of the command; they keep their defaults."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)


class Only:
    """Beside a dataclass in `Annotated`: no other fields than these are options of the command."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)


def _console(*flags: str, help: str) -> Any:  # noqa: A002
    return typer.Option(*flags, help=help, rich_help_panel=CONSOLE)


@dataclass(frozen=True, kw_only=True)
class ConsoleOptions:
    """What is printed, and where."""

    strict: Annotated[bool, _console("--strict", help="Exit with 3 if the input was damaged or incomplete.")] = False
    json: Annotated[bool, _console("--json", help="Print one JSON object on standard output.")] = False
    quiet: Annotated[bool, _console("--quiet", "-q", help="Print errors and results only.")] = False
    debug: Annotated[bool, _console("--debug", help="Print a traceback with an error.")] = False


def with_options(command: Command) -> Command:
    """A command whose parameters may be dataclasses: each field of these becomes an option of the command line.

    A field is annotated as a parameter of Typer is. One of type `tuple[T, ...]` may be repeated and takes values with
    commas between; where T is a Literal, other values are wrong usage; float is converted. The command gets the
    objects that are built.
    """
    parameters: list[Parameter] = []
    groups: dict[str, tuple[type, list[_Option]]] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind, options = _group(parameter.annotation)
        if kind is None:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
        else:
            groups[parameter.name] = (kind, options)
            parameters += [option.parameter() for option in options]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, (kind, options) in groups.items():
            values[name] = kind(**{option.name: option.value(values.pop(option.name)) for option in options})
        command(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__doc__ = "\n\n".join(" ".join(each.split()) for each in inspect.cleandoc(command.__doc__ or "").split("\n\n"))
    return run


class _Option:
    """A field of a dataclass as an option of the command line."""

    def __init__(self, field: Field[Any], annotation: Any) -> None:
        self.name = field.name
        self._default: Any = Parameter.empty if field.default is MISSING else field.default
        self._annotation = annotation
        base, self._option = get_args(annotation)[:2]
        tuples = [each for each in (base, *get_args(base)) if get_origin(each) is tuple]
        self._element = get_args(tuples[0])[0] if tuples else None
        """T of a field `tuple[T, ...]`, with or without None."""

    def parameter(self) -> Parameter:
        """As Typer takes it."""
        annotation, default = self._annotation, self._default
        if self._element is not None:
            annotation, default = Annotated[list[str] | None, self._option], default and list(map(str, default))
        return Parameter(self.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    def value(self, given: Any) -> Any:
        """The field's value from what Typer gives. Raises typer.BadParameter, and ConfigError for what is no number."""
        if self._element is None or given is None:
            return given
        flag = str(self._option.default)  # in Annotated, Typer takes the first name for the default
        parts = tuple(dict.fromkeys(part.strip() for value in given for part in value.split(",") if part.strip()))
        if self._element is float:
            try:
                return tuple(map(float, parts))
            except ValueError as error:
                text = f"{flag} is {','.join(given)!r}; write numbers with commas between, such as 0.5,1,1.5"
                raise ConfigError(text) from error
        allowed = get_args(self._element) if get_origin(self._element) is Literal else parts
        for part in parts:
            if part not in allowed:
                raise typer.BadParameter(f"{part!r} is not one of {', '.join(allowed)}", param_hint=flag)
        return parts


def _group(annotation: Any) -> tuple[type | None, list[_Option]]:
    """The dataclass that a parameter is annotated with, if it is one, and those of its fields that are options."""
    kind, notes = annotation, []
    if get_origin(annotation) is Annotated:
        kind, *notes = get_args(annotation)
    if not is_dataclass(kind):
        return None, []
    kind = cast("type", kind)
    chosen = {field.name: field for field in fields(kind)}
    for note in notes:
        if isinstance(note, Omit | Only):
            assert note.names <= chosen.keys(), note.names
            chosen = {name: each for name, each in chosen.items() if (name in note.names) == isinstance(note, Only)}
    hints = get_type_hints(kind, include_extras=True)
    return kind, [_Option(field, hints[name]) for name, field in chosen.items()]


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
