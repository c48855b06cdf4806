"""`tmaseg export`: one streaming step of a network as an ONNX file."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tmaseg.cli.options import ConsoleOptions, Only
from tmaseg.errors import ConfigError, OutputError
from tmaseg.options import EvalOptions, Overwrite
from tmaseg.options.panels import INPUT, MEASUREMENT, NETWORK, OUTPUT, option

if TYPE_CHECKING:
    from tmaseg.cli.screen import Screen


def export(
    console: Annotated[ConsoleOptions, Only("json", "quiet", "debug")],
    output: Annotated[Path, option(OUTPUT, "--output", "-o", help="The .onnx file to write.", metavar="OUT.onnx")],
    weights: Annotated[str, typer.Argument(metavar="WEIGHTS", help="Name of shipped weights, or a file.")] = "street",
    size: Annotated[
        int | None,
        option(NETWORK, help="Short side of the network's input; the weights' by default.", metavar="PIXELS"),
    ] = None,
    memory_frames: Annotated[
        int | None, option(NETWORK, "--memory", help="Past frames in memory; 0: each frame alone.", metavar="N")
    ] = None,
    frame: Annotated[
        str, option(INPUT, help="Size of the frames it will take, or dynamic: any.", metavar="WIDTHxHEIGHT|dynamic")
    ] = "640x360",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], option(NETWORK, help="Arithmetic; int8: of the convolutions.")
    ] = "fp32",
    logits: Annotated[bool, option(OUTPUT, "--logits", help="Put out the logits, too.")] = False,
    calibrate: Annotated[
        Path | None, option(INPUT, help="Folder of pictures, or a video, to calibrate int8 on.", metavar="DIR")
    ] = None,
    dataset: Annotated[
        str | None,
        option(MEASUREMENT, help="Data set on whose val split the file is scored.", metavar="NAME|FILE.yaml"),
    ] = None,
    data: Annotated[Path | None, option(MEASUREMENT, help="Folder of the data set.", metavar="DIR")] = None,
    limit: Annotated[int | None, option(MEASUREMENT, help="Score at most this many frames.", metavar="N")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Export a network as an ONNX file: one streaming step, from a frame's pixels to its labels.

    Inputs: frame (1, H, W, 3) uint8, and the memory: keys, values, count; zeros begin a video. Outputs: labels
    (1, H, W) uint8, and the memory for the next frame. The file is compared with torch at once; one that differs is
    not kept.
    """
    from tmaseg.model.checkpoint import read_weights_info
    from tmaseg.model.onnx_file import OnnxSpec
    from tmaseg.video import check_exists

    if output.suffix != ".onnx":
        raise OutputError(f"the output {output} must end in .onnx")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already; give --overwrite to replace it, or another name")
    if (precision == "int8") != (calibrate is not None):
        raise ConfigError(
            "int8 needs pictures to calibrate on, and nothing else does: give both --precision int8 and "
            "--calibrate DIR, or neither"
        )
    if calibrate:
        check_exists(calibrate)
    info = read_weights_info(weights)
    geometry = replace(info.geometry, size=size or info.geometry.size)
    geometry.check()
    spec = OnnxSpec(
        memory_frames=info.config.checked_memory_frames(memory_frames),
        size=geometry.size,
        frame_hw=_frame_hw(frame),
        precision=precision,
        logits=logits,
        weights=weights,
    )
    from tmaseg.cli.screen import Screen
    from tmaseg.inference.onnx_export import export_onnx, read_calibration
    from tmaseg.model.checkpoint import load_checkpoint

    screen = Screen(quiet=console.quiet)
    if geometry.window:
        screen.say(f"note: {weights} sees frames in windows of {geometry.window}; the file takes each as a whole")
    pictures = read_calibration(calibrate, spec.frame_hw) if calibrate else []
    parity = export_onnx(load_checkpoint(weights), output, spec, calibration=pictures, progress=screen.say)
    screen.say(f"{output}: {spec.precision}, frames {spec.frame}, T = {spec.memory_frames}: {parity}")
    if dataset:
        _score(str(output), dataset, data, limit, screen)


def _score(path: str, dataset: str, data: Path | None, limit: int | None, screen: "Screen") -> None:
    from tmaseg.data import open_dataset
    from tmaseg.evaluation import evaluate
    from tmaseg.inference.onnx_runtime import OnnxNetwork

    with screen.progress(dataset) as progress:
        result = evaluate(
            open_dataset(dataset, data),
            OnnxNetwork.load(path, "cpu"),
            EvalOptions(limit=limit, no_temporal=True),
            progress=progress,
        )
    assert result is not None
    miou = 100 * result.passes[0].scores.matrix.compute().miou
    screen.say(f"{path}: mIoU {miou:.2f} on {result.frames} frames of {dataset}")


def _frame_hw(text: str) -> tuple[int, int] | None:
    if text == "dynamic":
        return None
    if not (sides := re.fullmatch(r"(\d+)x(\d+)", text.lower())) or "0" in sides.groups():
        raise typer.BadParameter(f"{text!r}; write WIDTHxHEIGHT, such as 640x360, or dynamic", param_hint="--frame")
    return int(sides[2]), int(sides[1])
