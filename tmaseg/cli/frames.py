"""`tmaseg frames`: a folder of images in, PNG masks out."""

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from tmaseg.cli import options as shared
from tmaseg.cli.guard import finish
from tmaseg.cli.values import formats, listed
from tmaseg.signals import StopRequest

Formats = Annotated[
    list[str] | None,
    typer.Option(
        help="ids, indexed, color, overlay: several get a sub-folder each [default: ids]", metavar="FORMAT,..."
    ),
]


def frames(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images, and of folders of images.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the PNGs.", metavar="OUT_DIR")],
    format: Formats = None,  # noqa: A002  (the flag's name)
    palette: shared.Palette = None,
    opacity: shared.Opacity = 0.5,
    classes: shared.Classes = None,
    legend: shared.Legend = False,
    weights: shared.Weights = "street",
    device: shared.Device = "auto",
    precision: shared.Precision = "auto",
    size: shared.Size = None,
    memory: shared.Memory = None,
    window: shared.Window = None,
    stride: shared.Stride = None,
    compile_: shared.Compile = "auto",
    max_memory: shared.MaxMemory = None,
    overwrite: shared.Overwrite = False,
    skip_existing: shared.SkipExisting = False,
    strict: shared.Strict = False,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (the guard takes it)
) -> None:
    """Segment a folder of images into PNG masks.

    Masks have the names and sizes of the images, which are taken in natural order. Sub-folders are sequences of their
    own. With --skip-existing the result is that of one pass: the memory is filled again from the images before.
    """
    from tmaseg.cli.screen import Screen
    from tmaseg.pipeline import FramesOptions, ModelOptions, PaintOptions, run_frames

    options = FramesOptions(
        model=ModelOptions(
            weights=weights,
            device=device,
            precision=precision,
            size=size,
            memory=memory,
            window=window,
            stride=stride,
            compile=compile_,
            max_memory=max_memory,
        ),
        paint=PaintOptions(opacity=opacity, palette=palette, classes=listed(classes) or None, legend=legend),
        formats=formats(format, "--format"),
        overwrite=overwrite,
        skip_existing=skip_existing,
    )
    screen = Screen(quiet=quiet)
    with StopRequest(lambda: screen.say("finishing the images begun")) as stop, screen.progress(str(folder)) as tell:
        report = run_frames(folder, output, options, progress=tell, stop=stop)
    screen.warn(report.warnings)
    screen.say(
        f"{output}: {report.frames} images written, {report.skipped} there already, from {report.sequences} "
        f"{'sequence' if report.sequences == 1 else 'sequences'} ({report.fps:.1f} frames/s, {report.memory})"
    )
    if json:
        typer.echo(json_format.dumps(report.to_dict(), allow_nan=False))
    finish(damaged=report.damaged, interrupted=stop.exit_code if report.interrupted else 0, strict=strict)
