"""Fields of dataclasses as options of the command line, and the panels of `--help`."""

from dataclasses import field
from typing import Any

INPUT, NETWORK, PAINTING, OUTPUT = "Input", "Network", "Painting", "Output"
MEASUREMENT, BENCHMARK = "Measurement", "Benchmark"


def option(panel: str, help: str, metavar: str | None = None, *flags: str, default: Any = None, **about: Any) -> Any:  # noqa: A002
    """A field that is an option, `--name-of-the-field` without `flags`; `about`: what else `typer.Option` takes.

    MISSING as default: the option is required.
    """
    return field(
        default=default, metadata={"flags": flags, "help": help, "metavar": metavar, "rich_help_panel": panel, **about}
    )
