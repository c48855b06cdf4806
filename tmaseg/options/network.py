"""Which network runs, where, and what it is given."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from tmaseg.errors import ConfigError
from tmaseg.options.panels import NETWORK, option

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import FrameSegmenter
    from tmaseg.model.checkpoint import WeightsInfo
    from tmaseg.model.config import InputGeometry
    from tmaseg.model.onnx_file import OnnxSpec

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which network runs, where, and what it is given."""

    weights: Annotated[
        str, option(NETWORK, help="Name of shipped weights, or a .safetensors or .onnx file.", metavar="NAME|FILE")
    ] = "street"
    device: Annotated[str, option(NETWORK, help="Device: auto, cpu, cuda, cuda:N, mps or xpu.", metavar="DEVICE")] = (
        "auto"
    )
    precision: Annotated[
        Precision, option(NETWORK, help="Arithmetic of the network; auto takes the device's fastest.")
    ] = "auto"
    size: Annotated[
        int | None,
        option(NETWORK, help="Short side of the network's input; outputs keep the input's size.", metavar="PIXELS"),
    ] = None
    memory_frames: Annotated[
        int | None,
        option(NETWORK, "--memory", help="Past frames in memory; 0 segments each frame alone.", metavar="N"),
    ] = None
    window: Annotated[int | None, option(NETWORK, help="Side of square sliding windows.", metavar="PIXELS")] = None
    stride: Annotated[int | None, option(NETWORK, help="Step between sliding windows.", metavar="PIXELS")] = None
    key_frames: Annotated[
        int,
        option(
            NETWORK, help="Run the network on every K-th frame; labels between follow the optical flow.", metavar="K"
        ),
    ] = 1
    compile: Annotated[
        Literal["auto", "on", "off"],
        option(NETWORK, help="Compile the network (torch.compile); auto does so if the input is long enough."),
    ] = "auto"

    def __post_init__(self) -> None:
        check_device(self.device, "--device")
        if self.precision not in get_args(Precision):
            raise ConfigError(f"--precision is {self.precision!r}; it must be {', '.join(get_args(Precision))}")
        if self.key_frames < 1:
            raise ConfigError(f"--key-frames is {self.key_frames}; it must be 1 (all frames) or more")

    @property
    def geometry(self) -> "InputGeometry":
        """The part of it that replaces the weights' own."""
        from tmaseg.model.config import InputGeometry

        return InputGeometry(self.size, self.window, self.stride)

    def weights_info(self) -> "WeightsInfo":
        """The metadata of the weights, after a check that these options fit them. Imports no torch.

        Raises CheckpointError and ConfigError.
        """
        from tmaseg.model.checkpoint import read_weights_info

        info = read_weights_info(self.weights)
        info.geometry.overridden_by(self.geometry).check()
        info.config.checked_memory_frames(self.memory_frames)
        if info.onnx:
            self._check_fixed(info.onnx)
        return info

    def _check_fixed(self, spec: "OnnxSpec") -> None:
        """Raises ConfigError for what an exported file fixes in another way."""
        fixed = (
            ("--size", self.size, spec.size),
            ("--memory", self.memory_frames, spec.memory_frames),
            ("--window", self.window, None),
            ("--stride", self.stride, None),
            ("--precision", None if self.precision == "auto" else self.precision, spec.precision),
            ("--compile", None if self.compile in ("auto", "off") else self.compile, None),
        )
        for flag, wanted, there in fixed:
            if wanted not in (None, there):
                has = "has no such choice" if there is None else f"was exported with {there}"
                raise ConfigError(f"{flag} is {wanted} but {self.weights} {has}: leave it out, or export it again")

    def load(self, *, follow: bool = False) -> "FrameSegmenter":
        """The network, ready for a first frame. Raises CheckpointError and ConfigError.

        `follow`: `FrameSegmenter.step` says which frames it runs on, instead of `key_frames`.
        """
        key_frames = None if follow else self.key_frames
        if Path(self.weights).suffix.lower() == ".onnx":
            from tmaseg.inference.onnx_runtime import OnnxNetwork

            return OnnxNetwork.load(self.weights, self.device).segmenter(key_frames=key_frames)
        from tmaseg.inference.segmenter import load

        return load(
            self.weights,
            device=self.device,
            precision=self.precision,
            geometry=self.geometry,
            memory_frames=self.memory_frames,
            compile=self.compile,
            key_frames=key_frames,
        )


def check_device(name: str, flag: str) -> None:
    """Raises ConfigError unless `name`, given with `flag`, may be a device; whether it is there, torch knows."""
    if not re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", name):
        raise ConfigError(f"{flag} is {name!r}; it must be auto, cpu, cuda, cuda:N, mps or xpu")
