"""`tmaseg convert`: a checkpoint of the authors' code becomes one of ours."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from tmaseg.cli.command import ConsoleOptions, Only
from tmaseg.cli.info import describe_weights
from tmaseg.cli.screen import Screen
from tmaseg.errors import OutputError
from tmaseg.files import check_not_read, check_output_file
from tmaseg.options import OutputOptions


def convert(
    *,
    console: Annotated[ConsoleOptions, Only("quiet", "debug")],
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A .pth file of the authors' code.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The .safetensors file to write.", metavar="OUT", rich_help_panel="Output"),
    ],
    preset: Annotated[
        Literal["cityscapes", "camvid"] | None,
        typer.Option(help="Input geometry of this data set; guessed from the number of outputs by default."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Label set of the outputs; the preset's by default.", metavar="NAME|FILE")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store convolutions in float16: half the size.", rich_help_panel="Output")
    ] = False,
    writing: Annotated[OutputOptions, Only("overwrite")],
) -> None:
    """Import a checkpoint of the authors' code.

    Every parameter must be present and have the right shape. No code in the file is run.
    """
    from tmaseg.labels import get_labels
    from tmaseg.model.checkpoint import read_weights_info, save_checkpoint
    from tmaseg.model.upstream import convert_upstream, guess_preset, read_upstream

    screen = Screen(quiet=console.quiet)
    if output.suffix != ".safetensors":
        raise OutputError(f"the output {output} must end in .safetensors")
    check_output_file(output, overwrite=writing.overwrite)
    check_not_read([output], [checkpoint, Path(labels or "")])
    state = read_upstream(checkpoint)
    converted = convert_upstream(state, preset=preset, labels=get_labels(labels) if labels else None)
    converted = replace(converted, provenance={**converted.provenance, "file": checkpoint.name})
    save_checkpoint(output, converted, half=half)
    if preset is None:
        classes = converted.config.classes
        screen.say(f"preset {guess_preset(classes)}, guessed from the {classes} outputs (--preset says otherwise)")
    screen.say(f"{output}: {describe_weights(read_weights_info(output))['summary']}")
