"""`tmaseg export`: one streaming step of a network as an ONNX file."""

import re
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tmaseg.cli.command import ConsoleOptions, Omit, Only
from tmaseg.cli.screen import Screen
from tmaseg.cli.tables import show_json
from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import check_output_file
from tmaseg.model.config import OnnxSpec
from tmaseg.options import EvalOptions, OutputOptions
from tmaseg.options.option import INPUT, MEASUREMENT, NETWORK, OUTPUT, option

if TYPE_CHECKING:
    from tmaseg.model.checkpoint import WeightsInfo


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Raises ConfigError for values that do not go together, typer.BadParameter for a `frame` that is no size."""

    size: int | None = option(NETWORK, "Short side of the network's input; the weights' by default.", "PIXELS")
    memory_frames: int | None = option(NETWORK, "Past frames in memory; 0: each frame alone.", "N", "--memory")
    precision: Literal["fp32", "fp16", "int8"] = option(
        NETWORK, "Arithmetic; int8: of the convolutions.", default="fp32"
    )
    frame: str = option(
        INPUT, "Size of the frames it will take, or dynamic: any.", "WIDTHxHEIGHT|dynamic", default="640x360"
    )
    calibrate: Path | None = option(INPUT, "Folder of pictures, or a video, to calibrate int8 on.", "DIR")
    logits: bool = option(OUTPUT, "Put out the logits, too.", default=False)
    dataset: str | None = option(MEASUREMENT, "Data set on whose val split the file is scored.", "NAME|FILE.yaml")
    data: Path | None = option(MEASUREMENT, "Folder of the data set.", "DIR")
    limit: int | None = option(MEASUREMENT, "Score at most this many frames.", "N")
    output: Path = option(OUTPUT, "The file to write.", "OUT.onnx", "--output", "-o", default=MISSING)

    def __post_init__(self) -> None:
        if (self.precision == "int8") != (self.calibrate is not None):
            raise ConfigError(
                "int8 needs pictures to calibrate on, and nothing else does: give both --precision int8 and "
                "--calibrate DIR, or neither"
            )
        if self.frame != "dynamic" and not re.fullmatch(r"[1-9]\d*x[1-9]\d*", self.frame.lower()):
            text = f"{self.frame!r}; write WIDTHxHEIGHT, such as 640x360, or dynamic"
            raise typer.BadParameter(text, param_hint="--frame")

    def spec(self, info: "WeightsInfo", weights: str) -> OnnxSpec:
        """For these weights. Raises ConfigError where they cannot be exported so."""
        from tmaseg.model.config import InputGeometry

        geometry = info.geometry.overridden_by(InputGeometry(self.size))
        geometry.check()
        width, _, height = self.frame.lower().partition("x")
        return OnnxSpec(
            memory_frames=info.config.checked_memory_frames(self.memory_frames),
            size=geometry.size,
            frame_hw=None if self.frame == "dynamic" else (int(height), int(width)),
            precision=self.precision,
            logits=self.logits,
            weights=weights,
        )


def export(
    options: ExportOptions,
    console: Annotated[ConsoleOptions, Omit("strict")],
    writing: Annotated[OutputOptions, Only("overwrite")],
    weights: Annotated[str, typer.Argument(metavar="WEIGHTS", help="Name of shipped weights, or a file.")] = "street",
) -> None:
    """Export a network as an ONNX file: one streaming step, from a frame's pixels to its labels.

    Inputs: frame (1, H, W, 3) uint8, and the memory: keys, values, count; zeros begin a video. Outputs: labels
    (1, H, W) uint8, and the memory for the next frame. The file is compared with torch at once; one that differs is
    not kept.
    """
    from tmaseg.model.checkpoint import read_weights_info
    from tmaseg.video import check_exists

    output = options.output
    if output.suffix != ".onnx":
        raise OutputError(f"the output {output} must end in .onnx")
    check_output_file(output, overwrite=writing.overwrite)
    if options.calibrate:
        check_exists(options.calibrate)
    info = read_weights_info(weights)
    spec = options.spec(info, weights)
    from tmaseg.inference.onnx_export import export_onnx, read_calibration
    from tmaseg.model.checkpoint import load_checkpoint

    screen = Screen(quiet=console.quiet)
    if info.geometry.window:
        screen.say(f"note: {weights} takes frames in windows of {info.geometry.window}, the file takes each undivided")
    pictures = read_calibration(options.calibrate, spec.frame_hw) if options.calibrate else []
    parity = export_onnx(load_checkpoint(weights), output, spec, calibration=pictures, progress=screen.say)
    screen.say(f"{output}: {spec.precision}, frames {spec.frame}, T = {spec.memory_frames}: {parity}")
    miou = _score(options, screen) if options.dataset else None
    if console.json:
        show_json({"output": str(output), "frame": spec.frame, **vars(spec), **vars(parity), "miou": miou})


def _score(options: ExportOptions, screen: Screen) -> float:
    """Mean IoU of the file on the val split, 0 to 1."""
    from tmaseg.data import open_dataset
    from tmaseg.evaluation import evaluate
    from tmaseg.inference.segmenter import open_network

    assert options.dataset
    dataset, scored = open_dataset(options.dataset, options.data), EvalOptions(limit=options.limit, no_temporal=True)
    with screen.progress(options.dataset) as progress:
        result = evaluate(dataset, open_network(options.output, device="cpu"), scored, progress=progress)
    assert result is not None  # there is one process
    miou = result.passes[0].matrix.compute().miou
    screen.say(f"{options.output}: mIoU {100 * miou:.2f} on {result.frames} frames of {options.dataset}")
    return miou
