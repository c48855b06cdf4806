"""Which network runs, on which devices, and what it is given."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from tmaseg.errors import ConfigError
from tmaseg.options.option import INPUT, NETWORK, option

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import FrameSegmenter
    from tmaseg.model.checkpoint import WeightsInfo
    from tmaseg.model.config import InputGeometry, OnnxSpec

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which network runs, where, and what it is given."""

    weights: str = option(
        NETWORK, "Name of shipped weights, or a .safetensors or .onnx file.", "NAME|FILE", default="street"
    )
    device: str = option(NETWORK, "Device: auto, cpu, cuda, cuda:N, mps or xpu.", "DEVICE", default="auto")
    precision: Precision = option(
        NETWORK, "Arithmetic of the network; auto takes the device's fastest.", default="auto"
    )
    size: int | None = option(NETWORK, "Short side of the network's input; outputs keep the input's size.", "PIXELS")
    memory_frames: int | None = option(NETWORK, "Past frames in memory; 0 segments each frame alone.", "N", "--memory")
    smooth: bool = option(
        NETWORK,
        "Average the classes over the frames in memory, moved along the optical flow; not with --window.",
        None,
        "--smooth/--no-smooth",
        default=True,
    )
    window: int | None = option(NETWORK, "Side of square sliding windows.", "PIXELS")
    stride: int | None = option(NETWORK, "Step between sliding windows.", "PIXELS")
    key_frames: int = option(
        NETWORK, "Run the network on every K-th frame; labels between follow the optical flow.", "K", default=1
    )
    compile: Literal["auto", "on", "off"] = option(
        NETWORK, "Compile the network (torch.compile); auto does so if the input is long enough.", default="auto"
    )

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
        from tmaseg.inference.segmenter import TorchNetwork, open_network

        network = open_network(self.weights, device=self.device, precision=self.precision)
        return network.segmenter(
            geometry=self.geometry,
            memory_frames=self.memory_frames,
            smooth=self.smooth and isinstance(network, TorchNetwork),
            compile=self.compile,
            key_frames=None if follow else self.key_frames,
        )


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How several sources are found and shared out. Raises ConfigError for values that cannot work."""

    recursive: bool = option(INPUT, "Take every video and folder of images below the folders given.", default=False)
    devices: tuple[str, ...] | None = option(
        NETWORK,
        "Share the work out among devices, a process each: auto (all), or such as cuda:0,cuda:1,cpu.",
        "DEVICE,...",
    )
    cluster: str | None = option(
        NETWORK,
        "Run each source as a task of a Ray cluster: ray (RAY_ADDRESS or the local one) or ray://HOST:PORT.",
        "ray|ADDRESS",
    )

    def __post_init__(self) -> None:
        for name in self.devices or ():
            check_device(name, "--devices")
        if self.cluster is not None and self.cluster != "ray" and not self.cluster.startswith("ray://"):
            raise ConfigError(f"--cluster is {self.cluster!r}; it must be ray, or an address such as ray://host:10001")
        if self.cluster and self.devices:
            raise ConfigError("--cluster takes the devices that Ray gives each task: leave out --devices")


def check_device(name: str, flag: str) -> None:
    """Raises ConfigError unless `name`, given with `flag`, may be a device; whether it is there, torch knows."""
    if not re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", name):
        raise ConfigError(f"{flag} is {name!r}; it must be auto, cpu, cuda, cuda:N, mps or xpu")
