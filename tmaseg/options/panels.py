"""Panels of `--help`, and an option in one."""

from typing import Any

import typer

INPUT, NETWORK, PAINTING, OUTPUT = "Input", "Network", "Painting", "Output"
MEASUREMENT, BENCHMARK = "Measurement", "Benchmark"


def option(panel: str, *flags: str, **about: Any) -> Any:
    """What `typer.Option` gives, listed in `panel`."""
    return typer.Option(*flags, rich_help_panel=panel, **about)
