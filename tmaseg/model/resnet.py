"""The dilated ResNet: stride turned into dilation where the output stride asks for it.

B batch, H W frame, C channels; a stage's output has stride 4, 8, 16 or 32 against the frame.
"""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from tmaseg.model.config import OutputStride, Stem
from tmaseg.model.layers import Features

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
        block, counts = _BLOCKS[name]
        if stem == "deep":
            self.stem = _deep_stem(width)
        else:
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        strides = {8: (1, 2, 1, 1), 16: (1, 2, 2, 1)}[output_stride]
        dilation, channels, stages = 1, width, []
        for stage, (count, stride) in enumerate(zip(counts, strides, strict=True)):
            entry = dilation
            if stage > 0 and stride == 1:
                dilation *= 2
            planes = width * 2**stage
            stages.append(_stage(block, channels, planes, count, stride=stride, entry=entry, dilation=dilation))
            channels = planes * block.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = (channels // 8, channels // 2, channels)
        _initialise(self)

    def forward(self, frames: Tensor) -> Features:
        """frames (B, 3, H, W), normalised -> Features."""
        x = self.stem(frames) if hasattr(self, "stem") else self.relu(self.bn1(self.conv1(frames)))
        stage1 = self.layer1(self.maxpool(x))
        stage3 = self.layer3(self.layer2(stage1))
        return Features(stage1, stage3, self.layer4(stage3))


def _deep_stem(width: int) -> nn.Sequential:
    half = width // 2
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, half, 2), (half, half, 1), (half, width, 1)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    channels: int,
    planes: int,
    count: int,
    *,
    stride: int,
    entry: int,
    dilation: int,
) -> nn.Sequential:
    """`count` blocks; the 3x3 convolution that holds the stride has dilation `entry`, all after it `dilation`."""
    blocks: list[nn.Module] = []
    for index in range(count):
        first = index == 0
        shortcut = None
        if first and (stride != 1 or channels != planes * block.expansion):
            shortcut = nn.Sequential(
                nn.Conv2d(channels, planes * block.expansion, 1, stride=stride, bias=False),
                nn.BatchNorm2d(planes * block.expansion),
            )
        made = block(channels, planes, stride if first else 1, shortcut)
        strided = "conv1" if block is BasicBlock else "conv2"
        for name, conv in made.named_children():
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                _dilate(conv, entry if first and name == strided else dilation)
        blocks.append(made)
        channels = planes * block.expansion
    return nn.Sequential(*blocks)


def _dilate(conv: nn.Conv2d, dilation: int) -> None:
    # torchvision's BasicBlock refuses dilation in its constructor; the convolution itself does not mind.
    conv.dilation = (dilation, dilation)
    conv.padding = (dilation, dilation)


def _initialise(backbone: ResNet) -> None:
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)  # each block starts as the identity, as in torchvision's recipe
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
