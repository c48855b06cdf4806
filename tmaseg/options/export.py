"""What `tmaseg export` writes."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tmaseg.errors import ConfigError
from tmaseg.model.onnx_file import OnnxSpec
from tmaseg.options.panels import INPUT, MEASUREMENT, NETWORK, OUTPUT, option

if TYPE_CHECKING:
    from tmaseg.model.checkpoint import WeightsInfo


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Raises ConfigError for values that do not go together, typer.BadParameter for a `frame` that is no size."""

    size: Annotated[
        int | None,
        option(NETWORK, help="Short side of the network's input; the weights' by default.", metavar="PIXELS"),
    ] = None
    memory_frames: Annotated[
        int | None, option(NETWORK, "--memory", help="Past frames in memory; 0: each frame alone.", metavar="N")
    ] = None
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], option(NETWORK, help="Arithmetic; int8: of the convolutions.")
    ] = "fp32"
    frame: Annotated[
        str, option(INPUT, help="Size of the frames it will take, or dynamic: any.", metavar="WIDTHxHEIGHT|dynamic")
    ] = "640x360"
    calibrate: Annotated[
        Path | None, option(INPUT, help="Folder of pictures, or a video, to calibrate int8 on.", metavar="DIR")
    ] = None
    logits: Annotated[bool, option(OUTPUT, "--logits", help="Put out the logits, too.")] = False
    dataset: Annotated[
        str | None,
        option(MEASUREMENT, help="Data set on whose val split the file is scored.", metavar="NAME|FILE.yaml"),
    ] = None
    data: Annotated[Path | None, option(MEASUREMENT, help="Folder of the data set.", metavar="DIR")] = None
    limit: Annotated[int | None, option(MEASUREMENT, help="Score at most this many frames.", metavar="N")] = None

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
