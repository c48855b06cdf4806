"""`tmaseg export`: one streaming step of a network as an ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmaseg.cli.options import ConsoleOptions, Omit
from tmaseg.cli.tables import show_json
from tmaseg.errors import OutputError
from tmaseg.options import EvalOptions, ExportOptions, Overwrite
from tmaseg.options.panels import OUTPUT, option

if TYPE_CHECKING:
    from tmaseg.cli.screen import Screen


def export(
    options: ExportOptions,
    console: Annotated[ConsoleOptions, Omit("strict")],
    output: Annotated[Path, option(OUTPUT, "--output", "-o", help="The file to write.", metavar="OUT.onnx")],
    weights: Annotated[str, typer.Argument(metavar="WEIGHTS", help="Name of shipped weights, or a file.")] = "street",
    overwrite: Overwrite = False,
) -> None:
    """Export a network as an ONNX file: one streaming step, from a frame's pixels to its labels.

    Inputs: frame (1, H, W, 3) uint8, and the memory: keys, values, count; zeros begin a video. Outputs: labels
    (1, H, W) uint8, and the memory for the next frame. The file is compared with torch at once; one that differs is
    not kept.
    """
    from tmaseg.model.checkpoint import read_weights_info
    from tmaseg.video import check_exists

    if output.suffix != ".onnx":
        raise OutputError(f"the output {output} must end in .onnx")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already; give --overwrite to replace it, or another name")
    if options.calibrate:
        check_exists(options.calibrate)
    info = read_weights_info(weights)
    spec = options.spec(info, weights)
    from tmaseg.cli.screen import Screen
    from tmaseg.inference.onnx_export import export_onnx, read_calibration
    from tmaseg.model.checkpoint import load_checkpoint

    screen = Screen(quiet=console.quiet)
    if info.geometry.window:
        screen.say(f"note: {weights} takes frames in windows of {info.geometry.window}, the file takes each undivided")
    pictures = read_calibration(options.calibrate, spec.frame_hw) if options.calibrate else []
    parity = export_onnx(load_checkpoint(weights), output, spec, calibration=pictures, progress=screen.say)
    screen.say(f"{output}: {spec.precision}, frames {spec.frame}, T = {spec.memory_frames}: {parity}")
    miou = _score(output, options, screen) if options.dataset else None
    if console.json:
        show_json({"output": str(output), "frame": spec.frame, **vars(spec), **vars(parity), "miou": miou})


def _score(path: Path, options: ExportOptions, screen: "Screen") -> float:
    """Mean IoU of the file on the val split, 0 to 1."""
    from tmaseg.data import open_dataset
    from tmaseg.evaluation import evaluate
    from tmaseg.inference.onnx_runtime import OnnxNetwork

    assert options.dataset
    dataset, scored = open_dataset(options.dataset, options.data), EvalOptions(limit=options.limit, no_temporal=True)
    with screen.progress(options.dataset) as progress:
        result = evaluate(dataset, OnnxNetwork.load(path, "cpu"), scored, progress=progress)
    assert result is not None  # there is one process
    miou = result.passes[0].scores.matrix.compute().miou
    screen.say(f"{path}: mIoU {100 * miou:.2f} on {result.frames} frames of {options.dataset}")
    return miou
