"""TMANetConfig: the hyperparameters of a network. InputGeometry, OnnxSpec: how it is fed and exported. No torch."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tmaseg.errors import ConfigError

BackboneName = Literal[
    "resnet18", "resnet34", "resnet50", "resnet101", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"
]
Stem = Literal["plain", "deep"]
OutputStride = Literal[8, 16]
EncoderKind = Literal["1x1", "3x3", "1x1+3x3"]
Aggregation = Literal["concat", "sum", "decoder"]
MemoryEncoderKind = Literal["shared", "per-slot"]

# Mean and standard deviation of RGB in 0..255 that each family's ImageNet weights were trained with.
_NORMALISATION = {
    "resnet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "efficientnet": ((127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
}

_Triple = tuple[float, float, float]  # red, green, blue

_LEAST_SIDE = 16
_LEAST_WINDOW = 32
_LONGEST = 8  # times the short side; beyond it, `size` would make an input of any number of pixels
_LEAST = {"width": 2, "memory_frames": 0}  # other whole numbers are at least 1


@dataclass(frozen=True, kw_only=True)
class TMANetConfig:
    """Hyperparameters of a TMANet. The defaults are the paper's CamVid network with a shared memory encoder.

    Raises ConfigError when a value is not one that the network can be built with.
    """

    classes: int
    """Number of output classes."""
    backbone: BackboneName = "resnet50"
    """Name of the backbone."""
    mean: _Triple | None = None
    """Mean of RGB (0 to 255) subtracted from a frame; None: that of the backbone's ImageNet weights."""
    std: _Triple | None = None
    """Standard deviation of RGB that a frame is divided by; None: that of the backbone's ImageNet weights."""
    stem: Stem = "deep"
    """Stem of a ResNet. "plain": one 7x7 convolution. "deep": three 3x3 convolutions ("v1c")."""
    width: int = 64
    """Channels of the stem and base width of the stages of a ResNet; 64 is the paper's."""
    output_stride: OutputStride = 8
    """Stride of stage 4 against the input; stages that would pass it are dilated instead."""
    memory_frames: int = 4
    """T. 0 builds no memory at all: the FCN baseline of the paper's table 1."""
    key_channels: int = 64
    """Ck. The values have Cv = 4 Ck channels (paper, section 2.3)."""
    encoder: EncoderKind = "1x1+3x3"
    """The convolutions of each key and value encoder (paper, table 3)."""
    aggregation: Aggregation = "concat"
    """How the query's value and what is read from memory are joined (paper, section 2.4)."""
    memory_encoder: MemoryEncoderKind = "shared"
    """One encoder for every memory frame (the paper's text), or one for each slot (the authors' code)."""
    self_in_memory: bool = False
    """Whether a frame also reads its own key and value, beside those of the T frames before it: a position that finds
    nothing like itself in the past finds itself. Only with a shared memory encoder; no effect without memory."""
    reach: float = 0.0
    """How far around itself a position reads memory, up, down and sideways, as a fraction of the feature map's height;
    0: everywhere, as in the paper. Things move little from frame to frame, and like things elsewhere mislead."""
    align_corners: bool = False
    """How bilinear resizing places the corner samples."""
    head_channels: int = 512
    """Channels of the bottleneck after the aggregation."""
    decoder_channels: int = 128
    """Channels at stride 4 of the aggregation "decoder"."""
    separable: bool = False
    """Whether the 3x3 convolutions of encoders and head are depthwise ones, each followed by a 1x1 convolution."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value, least = getattr(self, name), _LEAST.get(name, 1)
            if get_origin(kind) is Literal and value not in get_args(kind):
                listed = ", ".join(repr(choice) for choice in get_args(kind))
                raise ConfigError(f"{name} is {value!r}; it must be one of {listed}")
            if kind is int and (type(value) is not int or value < least):
                raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least {least}")
            if kind is bool and type(value) is not bool:
                raise ConfigError(f"{name} is {value!r}; it must be true or false")
        if self.classes > 255:
            raise ConfigError(f"classes is {self.classes}; at most 255, because labels are stored as 8-bit ids")
        if self.width % 2:
            raise ConfigError(f"width is {self.width}; it must be even, because the deep stem starts at half of it")
        if isinstance(self.reach, bool) or not self.reach >= 0:
            raise ConfigError(
                f"reach is {self.reach!r}; it must be 0 (everywhere) or a fraction of the height, such as 0.3"
            )
        if self.self_in_memory and self.memory_encoder == "per-slot":
            raise ConfigError(
                "self_in_memory is true, but with memory_encoder 'per-slot' there is no slot for the frame itself: "
                "use memory_encoder 'shared'"
            )
        self._set_normalisation()

    def _set_normalisation(self) -> None:
        family = "resnet" if self.backbone.startswith("resnet") else "efficientnet"
        for name, usual in zip(("mean", "std"), _NORMALISATION[family], strict=True):
            values = tuple(usual if getattr(self, name) is None else getattr(self, name))
            if len(values) != 3 or not all(isinstance(value, int | float) and value >= 0 for value in values):
                raise ConfigError(f"{name} is {values!r}; it must be three numbers, for red, green and blue")
            object.__setattr__(self, name, tuple(float(value) for value in values))

    @property
    def value_channels(self) -> int:
        """Cv = 4 Ck."""
        return 4 * self.key_channels

    @property
    def slots(self) -> int:
        """Number of memory encoders: 1 when shared, T when each slot has its own, 0 without memory."""
        if self.memory_frames == 0:
            return 0
        return self.memory_frames if self.memory_encoder == "per-slot" else 1

    def checked_memory_frames(self, frames: int | None) -> int:
        """T of a stream: `frames`, or that of training if None. Raises ConfigError where the weights forbid it."""
        trained = self.memory_frames
        if frames is None:
            return trained
        if frames < 0:
            raise ConfigError(f"--memory is {frames}; it must be 0 (each frame alone) or a number of past frames")
        if frames and not trained:
            raise ConfigError(f"--memory is {frames} but these weights have no memory: leave it out or give 0")
        if frames not in (0, trained) and self.slots > 1:
            raise ConfigError(
                f"--memory is {frames} but these weights have an encoder for each of {trained} slots: "
                f"give {trained} or 0"
            )
        return frames

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TMANetConfig":
        """The configuration written by `to_dict`. Raises ConfigError for a name it does not know.

        Older checkpoints have a ResNet's `depth` in place of the backbone's name.
        """
        if "depth" in values:
            values = {"backbone": f"resnet{values['depth']}", **values}
            del values["depth"]
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ConfigError(
                f"unknown configuration value {', '.join(unknown)}: written by a newer tmaseg? upgrade it"
            )
        return cls(**values)


@dataclass(frozen=True)
class InputGeometry:
    """Input size and sliding windows, in pixels."""

    size: int | None = None
    """Short side of the network's input; None: the frame's own."""
    window: int | None = None
    """Side of square windows, in pixels of the network's input; None: the entire frame at once."""
    stride: int | None = None
    """Step between windows; None: their side."""

    def overridden_by(self, other: "InputGeometry") -> "InputGeometry":
        """This geometry with the values that `other` sets."""
        return replace(self, **{name: value for name, value in vars(other).items() if value is not None})

    def check(self) -> None:
        """Raises ConfigError for values that are too small or do not go together."""
        if self.size is not None and self.size < _LEAST_SIDE:
            raise ConfigError(f"--size is {self.size}; the network needs a short side of at least {_LEAST_SIDE} pixels")
        if self.stride is not None and self.window is None:
            raise ConfigError("--stride came without --window: say how large the windows are")
        if self.window is None:
            return
        if self.window < _LEAST_WINDOW:
            raise ConfigError(
                f"--window is {self.window}; the network needs windows of at least {_LEAST_WINDOW} pixels"
            )
        if self.stride is not None and not 0 < self.stride <= self.window:
            raise ConfigError(f"--stride is {self.stride}; with windows of {self.window} it must be 1 to {self.window}")

    def input_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the network's input for a frame of `size_hw`, whose proportions stay.

        Where its sides differ more than 8 to 1, `size` is that of a frame of 8 to 1 with as many pixels.
        """
        if self.size is None or (min(size_hw) == self.size and not self.is_bounded(size_hw)):
            return size_hw
        short, long = sorted(size_hw)
        scale = self.size / short * min(1.0, (_LONGEST * short / long) ** 0.5)
        height, width = (max(1, round(side * scale)) for side in size_hw)
        return height, width

    def is_bounded(self, size_hw: tuple[int, int]) -> bool:
        """Whether a frame's sides differ so much that its short side is fed to the network smaller than `size`."""
        return self.size is not None and max(size_hw) > _LONGEST * min(size_hw)

    def window_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """How much of the input for a frame of `size_hw` passes the network at once: a window, or all of it."""
        height, width = self.input_hw(size_hw)
        return min(self.window or height, height), min(self.window or width, width)


@dataclass(frozen=True, kw_only=True)
class OnnxSpec:
    """How a network is exported: one streaming step, with everything fixed that a run might choose."""

    memory_frames: int
    """T; 0: a step has no state."""
    size: int | None
    """Short side of the network's input; None: the frame's own."""
    frame_hw: tuple[int, int] | None = None
    """(H, W) of the frames it takes; None: any."""
    precision: str = "fp32"
    """fp32, fp16, or int8: convolutions in 8 bits, the rest in fp32."""
    logits: bool = False
    """Whether it puts out logits, too."""
    weights: str = ""
    """What it was exported from, as the user gave it."""

    @property
    def frame(self) -> str:
        """WIDTHxHEIGHT, or "dynamic"."""
        return f"{self.frame_hw[1]}x{self.frame_hw[0]}" if self.frame_hw else "dynamic"
