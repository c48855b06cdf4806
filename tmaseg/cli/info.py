"""`tmaseg info`: what is this file, and what does this machine have."""

import json as json_format
from collections.abc import Iterator
from typing import Annotated

import typer

from tmaseg.cli.options import ConsoleOptions, Only


def info(
    console: Annotated[ConsoleOptions, Only("json", "debug")],
    spec: Annotated[
        str | None, typer.Argument(metavar="WEIGHTS|VIDEO", help="Weights, or a video, URL or folder of images.")
    ] = None,
) -> None:
    """Describe weights, a video, or this machine.

    Of a machine: versions, devices, encoders that work, and weights that ship.
    """
    from tmaseg.cli.describe import describe, describe_machine

    facts = describe_machine() if spec is None else describe(spec)
    typer.echo(json_format.dumps(facts) if console.json else "\n".join(_lines(facts)))


def _lines(facts: dict[str, object], indent: str = "") -> Iterator[str]:
    """`name: value`, nested values indented; what is empty is left out."""
    width = max((len(name) for name in facts), default=0) + 1
    for name, value in facts.items():
        if value in (None, "", [], {}, ()):
            continue
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        yield f"{indent}{name + ':':<{width}} {text}"
