"""The dilated ResNet: stride turned into dilation where the output stride asks for it.

B batch, H W frame, C channels; a stage's output has stride 4, 8, 16 or 32 against the frame.
"""

from typing import NamedTuple

from torch import Tensor, nn

from tmaseg.errors import ConfigError
from tmaseg.model.config import OutputStride, Stem


class Features(NamedTuple):
    """Features of a batch of frames. C1, C3 and C channels are a backbone's `channels`."""

    stage1: Tensor  # (B, C1, H/4, W/4)
    stage3: Tensor | None  # (B, C3, h', w') at stride 8 or 16; None from a network that has no auxiliary head
    stage4: Tensor  # (B, C, h, w) at the output stride, or what the encoders read in its place where they are joined


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: ResNet-18 and 34.

    The convolution that holds the stride has dilation `entry`, one after it `dilation`. Names are torchvision's.
    """

    expansion = 1

    def __init__(self, inputs: int, planes: int, *, stride: int, entry: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, planes, 3, stride=stride, dilation=entry), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = _conv(planes, planes, 3, dilation=dilation), nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(inputs, planes, stride)
        nn.init.zeros_(self.bn2.weight)  # each block starts as the identity, as in torchvision's recipe

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, planes, ceil(H / stride), ceil(W / stride))."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        summed: Tensor = self.relu(out + self.downsample(x))
        return summed


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut: ResNet-50 and 101. The 3x3 one has the stride and `entry`."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, *, stride: int, entry: int, dilation: int) -> None:  # noqa: ARG002
        super().__init__()
        outputs = self.expansion * planes
        self.conv1, self.bn1 = _conv(inputs, planes, 1), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = _conv(planes, planes, 3, stride=stride, dilation=entry), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = _conv(planes, outputs, 1), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(inputs, outputs, stride)
        nn.init.zeros_(self.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, 4 planes, ceil(H / stride), ceil(W / stride))."""
        out = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        summed: Tensor = self.relu(self.bn3(self.conv3(out)) + self.downsample(x))
        return summed


_BLOCKS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """ResNet-18/34/50/101 (`name` is "resnet18" and so on) without its pooling and classifier.

    Parameter names are torchvision's, so its ImageNet weights load into the plain stem as they are. A stage past the
    output stride keeps its resolution: its stride-2 convolution runs at stride 1 and every later convolution at twice
    the dilation, which computes exactly the undilated features, at every position instead of every other one.
    """

    def __init__(self, name: str, *, stem: Stem, width: int, output_stride: OutputStride) -> None:
        super().__init__()
        self.name = name
        block, counts = _BLOCKS[name]
        if stem == "deep":
            self.stem = _deep_stem(width)
        else:
            self.conv1 = _conv(3, width, 7, stride=2)
            self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        strides = {8: (1, 2, 1, 1), 16: (1, 2, 2, 1)}[output_stride]
        entry, channels, stages = 1, width, []
        for stage, (count, stride) in enumerate(zip(counts, strides, strict=True)):
            dilation = 2 * entry if stage > 0 and stride == 1 else entry
            planes, blocks = width * 2**stage, []
            for index in range(count):
                first = index == 0
                step = {"stride": stride, "entry": entry} if first else {"stride": 1, "entry": dilation}
                blocks.append(block(channels, planes, dilation=dilation, **step))
                channels = planes * block.expansion
            stages.append(nn.Sequential(*blocks))
            entry = dilation
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = (channels // 8, channels // 2, channels)

    def forward(self, frames: Tensor) -> Features:
        """frames (B, 3, H, W), normalised -> Features."""
        x = self.stem(frames) if hasattr(self, "stem") else self.relu(self.bn1(self.conv1(frames)))
        stage1 = self.layer1(self.maxpool(x))
        stage3 = self.layer3(self.layer2(stage1))
        return Features(stage1, stage3, self.layer4(stage3))

    def load_imagenet(self) -> None:
        """Takes torchvision's ImageNet weights, downloaded where they are not at hand.

        Raises ConfigError when there are none for this stem and width, or when they cannot be fetched.
        """
        if hasattr(self, "stem") or self.conv1.out_channels != 64:
            raise ConfigError(
                "ImageNet weights exist for the plain stem at width 64: use stem 'plain', or start without them"
            )
        from torchvision.models import get_model_weights

        try:
            state = get_model_weights(self.name).DEFAULT.get_state_dict(progress=False, check_hash=True)
        except Exception as error:  # urllib, ssl, OSError and a damaged cache all mean the same to the user
            raise ConfigError(
                f"the ImageNet weights of {self.name} could not be fetched ({error}): connect to the internet once, "
                "or start without pretrained_backbone (tmaseg train: --init none)"
            ) from error
        self.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")})


def _deep_stem(width: int) -> nn.Sequential:
    half = width // 2
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, half, 2), (half, half, 1), (half, width, 1)):
        layers += [_conv(inputs, outputs, 3, stride=stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _downsample(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The convolution of a shortcut, where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(_conv(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))


def _conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(
        inputs, outputs, kernel, stride=stride, padding=dilation * (kernel // 2), dilation=dilation, bias=False
    )
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
