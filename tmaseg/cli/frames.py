"""`tmaseg frames`: a folder of images in, PNG masks out."""

import json as json_format
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tmaseg.cli.command import ConsoleOptions, Omit, Only, finish
from tmaseg.cli.screen import Screen
from tmaseg.options import BatchOptions, FramesOutputOptions, ModelOptions, PaintOptions
from tmaseg.signals import StopRequest


def frames(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images, and of folders of images.")],
    model: Annotated[ModelOptions, Omit("key_frames")],
    paint: Annotated[PaintOptions, Omit("mode")],
    output: FramesOutputOptions,
    sharing: Annotated[BatchOptions, Only("devices")],
    console: ConsoleOptions,
) -> None:
    """Segment a folder of images into PNG masks.

    Masks have the names and sizes of the images, which are taken in natural order. Sub-folders are sequences of their
    own. With --skip-existing the result is that of one pass: the images before the missing masks fill the memory again.
    """
    from tmaseg.pipeline.frames import run_frames

    screen, devices = Screen(quiet=console.quiet), []
    if sharing.devices:
        from tmaseg.pipeline.workers import choose_devices

        devices = choose_devices(sharing.devices)
        model = replace(model, device=devices[0])
    with StopRequest(lambda: screen.say("finishing the images begun")) as stop, screen.progress(str(folder)) as update:
        report = run_frames(folder, output, model, paint, devices=devices, progress=update, stop=stop)
    screen.warn(report.warnings)
    screen.say(
        f"{output.output}: {report.frames} images written, {report.skipped} existed, from {report.sequences} "
        f"{'sequence' if report.sequences == 1 else 'sequences'} ({report.fps:.1f} frames/s, {report.memory})"
    )
    if console.json:
        typer.echo(json_format.dumps(report.to_dict(), allow_nan=False))
    finish(damaged=report.damaged, interrupted=stop.exit_code if report.interrupted else 0, strict=console.strict)
